#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd against evidence it must accept, and against everything it must refuse.

verifier.py BINARY [unittest arguments]
"""
import base64
import http.client
import json
import os
import ssl
import struct
import subprocess
import sys
import tempfile
import time
import unittest

import verifier_evidence as ev

LOCATION = "/v1/projects/demo-project/locations/local"
REQUEST, UNSUPPORTED, TOO_LARGE, ROUTE, CALLER = "TL1001", "TL1002", "TL1003", "TL1004", "TL1005"
FORGED, EXPIRED, USED = "TL1006", "TL1007", "TL1008"
AK_CERT, AK_CHAIN, INSTANCE = "TL1009", "TL1010", "TL1011"
BANKS, QUOTE, NONCE, SIGNATURE, PCR_DIGEST = "TL1012", "TL1013", "TL1014", "TL1015", "TL1016"
FIRMWARE_LOG, FIRMWARE_REPLAY, BOOT_CLAIMS = "TL1017", "TL1018", "TL1019"
LAUNCH_LOG, LAUNCH_REPLAY, LAUNCH_EVENTS = "TL1020", "TL1021", "TL1022"
IDENTITY, TOKEN_OPTIONS, KEYS, SERVER = "TL1023", "TL1024", "TL1025", "TL1026"
CALLER_TOKEN = "canary-caller-token-0123456789"


def path(*parts):
    return os.path.join(World.dir, *parts)


class Client:
    """Calls of one teeverifierd; not for two threads."""

    def __init__(self, daemon):
        self.port, self.context, self.connection = daemon.port, daemon.context, None

    def call(self, method, url, body=None, headers=None):
        """(status, JSON), over one connection that is kept."""
        for attempt in (1, 2):
            if not self.connection:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20,
                                                              context=self.context)
            try:
                self.connection.request(method, url, body, headers or {})
                response = self.connection.getresponse()
                return response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException):  # an idle connection may be gone
                self.connection = None
                if attempt == 2:
                    raise
        return None

    def challenge(self, headers=None):
        status, body = self.call("POST", LOCATION + "/challenges", "{}", headers)
        assert status == 200, body
        return body["name"], base64.b64decode(body["tpmNonce"])

    def verify(self, challenge, evidence, verb="verifyConfidentialSpace", headers=None, **fields):
        body = {"challenge": challenge, "tpmAttestation": evidence.tpm_attestation()}
        body.update(fields)
        return self.call("POST", "/v1/%s:%s" % (challenge, verb), json.dumps(body), headers)


class Daemon(Client):
    """One teeverifierd; its standard error is kept."""

    def __init__(self, name, token_keys, options):
        self.port_file, self.log = path(name + ".port"), path(name + ".log")
        command = [World.binary, "--listen", "127.0.0.1:0", "--port-file", self.port_file,
                   "--tls-cert", path("tls.pem"), "--tls-key", path("tls.key"),
                   "--ak-roots", "PAPER=" + World.ca.pem, "--challenge-key", path("challenge.key")]
        for key in token_keys:
            command += ["--token-key", key]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command + options, stderr=log)
        deadline = time.monotonic() + 20
        while not os.path.exists(self.port_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(ev.read(self.log).decode())
            time.sleep(0.01)
        self.port = int(ev.read(self.port_file))
        self.context = ssl.create_default_context(cafile=path("tls-ca.pem"))
        super().__init__(self)

    def stop(self):
        if self.connection:
            self.connection.close()
        self.process.terminate()
        return self.process.wait(timeout=20)


class World:
    """What all tests share."""

    @classmethod
    def start(cls, folder, binary):
        cls.dir, cls.binary = folder, binary
        cls.ca = ev.Authority(folder, "paper-ca")
        cls.foreign_ca = ev.Authority(folder, "foreign-ca")
        cls.paper = ev.Paper(folder, cls.ca)
        cls.tpm = ev.Tpm(path("tpm"), ["sha1", "sha256", "sha384"])
        cls.tpm.measure(ev.GOOD_EVENTS)
        tls = ev.Authority(folder, "tls-ca")
        ev.write(path("tls.pem"), ev.run(
            "openssl", "x509", "-inform", "DER",
            data=tls.issue(ev.make_key(path("tls.key")) + ".pub", kind="tls")))
        ev.write(path("tls-ca.pem"), ev.read(tls.pem))
        ev.secret(path("challenge.key"), os.urandom(32))
        ev.secret(path("callers"), CALLER_TOKEN + "\n")
        rsa = ev.make_key(path("rsa.key"), "-algorithm", "RSA")
        ecc = ev.make_key(path("ecc.key"))
        cls.issuer_key = ev.make_key(path("issuer.key"), "-algorithm", "RSA")
        ev.write(path("issuer.jwks"), json.dumps({"keys": [rsa_jwk(cls.issuer_key, "issuer-1")]}))
        cls.rs = Daemon("rs", [rsa, ecc], [
            "--ak-roots", "WORLD=" + path("tpm", "ak-root.pem"), "--issuer", "https://issuer.test",
            "--identity-jwks", path("issuer.jwks"), "--identity-issuer", "https://accounts.test"])
        cls.es = Daemon("es", [ecc], ["--challenge-ttl-s", "5", "--callers", path("callers"),
                                      "--swname", "OTHER", "--swversion", "7",
                                      "--token-ttl-s", "600"])

    @classmethod
    def stop(cls):
        codes = [d.stop() for d in (cls.rs, cls.es)]
        cls.tpm.stop()
        return codes


# --- tokens, judged by openssl

def b64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def der(kind, *parts):
    value = b"".join(parts)
    n = len(value)
    size = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else b"\x82" + struct.pack(">H", n)
    return bytes([kind]) + size + value


def der_integer(data):
    data = data.lstrip(b"\0") or b"\0"
    return der(2, (b"\0" if data[0] & 0x80 else b"") + data)


def jwk_pem(jwk):
    """SubjectPublicKeyInfo (RFC 5280, 4.1.2.7) of a JWK."""
    if jwk["kty"] == "RSA":
        algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101"), b"\5\0")
        key = der(0x30, der_integer(b64url(jwk["n"])), der_integer(b64url(jwk["e"])))
    else:
        algorithm = der(0x30, bytes.fromhex("06072a8648ce3d0201"),
                        bytes.fromhex("06082a8648ce3d030107"))
        key = b"\4" + b64url(jwk["x"]) + b64url(jwk["y"])
    return ev.run("openssl", "pkey", "-pubin", "-inform", "DER",
                  data=der(0x30, algorithm, der(3, b"\0" + key)))


def rsa_jwk(key, kid):
    text = ev.run("openssl", "rsa", "-in", key, "-noout", "-modulus").decode()
    number = bytes.fromhex(text.strip().split("=")[1])
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "e": "AQAB",
            "n": base64.urlsafe_b64encode(number).rstrip(b"=").decode()}


def token_claims(daemon, token):
    """The claims of a token whose signature openssl accepts under the published key."""
    header, claims, signature = (b64url(p) for p in token.split("."))
    header = json.loads(header)
    status, discovery = daemon.call("GET", "/.well-known/openid-configuration")
    assert status == 200 and discovery["jwks_uri"].endswith("/.well-known/jwks.json"), discovery
    assert header["alg"] in discovery["id_token_signing_alg_values_supported"]
    _, jwks = daemon.call("GET", "/.well-known/jwks.json")
    keys = [k for k in jwks["keys"] if k["kid"] == header["kid"]]
    assert len(keys) == 1 and keys[0]["alg"] == header["alg"] and "d" not in keys[0], jwks
    if header["alg"] == "ES256":
        assert len(signature) == 64
        signature = der(0x30, der_integer(signature[:32]), der_integer(signature[32:]))
    ev.write(path("token.pem"), jwk_pem(keys[0]))
    ev.write(path("token.sig"), signature)
    ev.run("openssl", "dgst", "-sha256", "-verify", path("token.pem"), "-signature",
           path("token.sig"), data=token.rsplit(".", 1)[0].encode())
    claims = json.loads(claims)
    assert claims["iss"] == discovery["issuer"]
    return claims


def identity_token(audience, key=None, **changes):
    now = int(time.time())
    claims = {"iss": "https://accounts.test", "aud": audience, "iat": now, "exp": now + 600,
              "email": "robot@demo.test", "email_verified": True}
    header = {"alg": "RS256", "kid": "issuer-1"}
    header.update(changes.pop("header", {}))
    claims.update(changes)
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
                    for part in (header, claims))
    signature = ev.run("openssl", "dgst", "-sha256", "-sign", key or World.issuer_key,
                       data=text.encode())
    return text + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


class Case(unittest.TestCase):
    def accepted(self, reply, field="attestationToken", daemon=None):
        status, body = reply
        self.assertEqual(status, 200, body)
        self.assertEqual(set(body) - {"partialErrors"}, {field})
        return token_claims(daemon or World.rs, body[field])

    def refused(self, reply, *codes, status=403):
        """Exactly these checks failed."""
        got, body = reply
        self.assertNotIn("attestationToken", body)
        self.assertNotIn("oidcClaimsToken", body)
        self.assertEqual({d["reason"] for d in body["error"]["details"]}, set(codes), body)
        self.assertEqual(got, status, body)
        self.assertEqual(body["error"]["code"], status)
        for code in codes:
            self.assertIn(code + ": ", body["error"]["message"])
        return body["error"]

    def paper(self, change=None, daemon=None, **made):
        """Evidence on paper for a new challenge, changed, sent."""
        daemon = daemon or World.rs
        name, nonce = daemon.challenge()
        paper = made.pop("by", World.paper)
        evidence = paper.evidence(nonce, **made)
        if change:
            change(evidence)
        return daemon.verify(name, evidence)


class Accepts(Case):
    def test_a_real_quote_and_the_claims_say_what_was_measured(self):
        name, nonce = World.rs.challenge()
        now = time.time()
        claims = self.accepted(World.rs.verify(
            name, World.tpm.evidence(nonce), gcpCredentials={"serviceAccountIdTokens": [
                identity_token(name)]}, signedEntities=[{}]))
        self.assertLess(abs(claims["iat"] - now), 60)
        self.assertEqual(claims["nbf"], claims["iat"])
        self.assertEqual(claims["exp"], claims["iat"] + 3600)
        for key in ("iat", "nbf", "exp", "eat_profile"):
            claims.pop(key)
        self.assertEqual(claims, {
            "iss": "https://issuer.test", "aud": "https://sts.googleapis.com",
            "sub": "https://www.googleapis.com/compute/v1/projects/demo-project/zones/"
                   "us-central1-a/instances/demo-vm",
            "secboot": True, "oemid": 11129, "hwmodel": "WORLD", "swname": "CONFIDENTIAL_SPACE",
            "swversion": [], "dbgstat": "disabled-since-boot",
            "google_service_accounts": ["robot@demo.test"],
            "submods": {
                "confidential_space": {"monitoring_enabled": {"memory": False}},
                "teelaunch_image": {"known": False}, "launch_record": {"known": False},
                "gce": {"zone": "us-central1-a", "project_id": "demo-project",
                        "project_number": "1234567890", "instance_name": "demo-vm",
                        "instance_id": "4242424242424242424"},
                "container": {
                    "image_reference": "registry.example/demo/hello:1",
                    "image_digest": "sha256:" + "ab" * 32, "image_id": "sha256:" + "cd" * 32,
                    "restart_policy": "Never", "args": ["/hello", "--name=w\u00f6rld"],
                    "env": {"PATH": "/bin", "GREETING": "hi=there"},
                    "cmd_override": ["--name=w\u00f6rld"],
                    "env_override": {"GREETING": "hi=there"}}}})

    def test_verify_attestation_with_an_rsa_key_in_the_sha384_bank_by_another_replica(self):
        headers = {"Authorization": "Bearer " + CALLER_TOKEN}
        key = ev.make_key(path("ak-rsa.key"), "-algorithm", "RSA")
        paper = ev.Paper(World.dir, World.ca, ("sha384",), key, instance="")
        name, nonce = World.rs.challenge()
        claims = self.accepted(World.es.verify(
            name, paper.evidence(nonce, events=ev.GOOD_EVENTS[:3] + [(9, b"\1"), ev.SEPARATOR],
                                 boot=ev.good_boot("/vmlinuz ro", secure=False)),
            "verifyAttestation", headers,
            confidentialSpaceInfo={"signedEntities": [{}]},
            tokenOptions={"audience": "me", "nonce": ["nonce-1.", "nonce-2."],
                          "tokenType": "TOKEN_TYPE_OIDC"}), "oidcClaimsToken", World.es)
        self.assertEqual(claims["iss"], "https://127.0.0.1:%d" % World.es.port)
        self.assertEqual(claims["aud"], "me")
        self.assertEqual(claims["eat_nonce"], ["nonce-1.", "nonce-2."])
        self.assertEqual(claims["exp"] - claims["iat"], 600)
        self.assertRegex(claims["sub"], "^urn:teelaunch:ak:[0-9a-f]{64}$")
        self.assertEqual((claims["secboot"], claims["dbgstat"], claims["hwmodel"]),
                         (False, "enabled", "PAPER"))
        self.assertEqual((claims["swname"], claims["swversion"]), ("OTHER", ["7"]))
        self.assertNotIn("oemid", claims)
        self.assertNotIn("gce", claims["submods"])
        self.assertEqual(claims["submods"]["container"]["image_id"], "")
        self.assertTrue(claims["submods"]["confidential_space"]["monitoring_enabled"]["memory"])

    def test_what_is_not_checked_is_said_and_claims_nothing(self):
        headers = {"Authorization": "Bearer " + CALLER_TOKEN}
        name, nonce = World.es.challenge(headers)
        status, body = World.es.verify(
            name, World.paper.evidence(nonce), headers=headers,
            gcpCredentials={"serviceAccountIdTokens": [identity_token(name)]},
            signedEntities=[{"containerImageSignatures": [{"payload": "", "signature": ""}]}])
        self.assertEqual([e["code"] for e in body["partialErrors"]], [3, 12], body)
        claims = self.accepted((status, body), daemon=World.es)
        self.assertEqual(claims["google_service_accounts"], [])
        self.assertNotIn("image_signatures", claims["submods"]["container"])

    def test_one_nonce_is_a_string_and_stands_without_audience(self):
        name, nonce = World.rs.challenge()
        claims = self.accepted(World.rs.verify(
            name, World.paper.evidence(nonce), options={
                "nonce": ["just-one"], "tokenProfile": 1, "signatureType": 1}))
        self.assertEqual(claims["eat_nonce"], "just-one")
        self.assertNotIn("aud", claims)

    def test_the_hardened_flag_decides_about_debug(self):
        for arguments, status in (("confidential-space.hardened=false", "enabled"), ("", "enabled"),
                                  ('x="y confidential-space.hardened=true"', "enabled"),
                                  ("confidential-space.hardened=true", "disabled-since-boot")):
            claims = self.accepted(self.paper(boot=ev.good_boot("/vmlinuz " + arguments)))
            self.assertEqual(claims["dbgstat"], status, arguments)

    def test_location_health_and_challenge_documents(self):
        self.assertEqual(World.rs.call("GET", "/healthz"), (200, {"status": "ok"}))
        self.assertEqual(World.rs.call("GET", LOCATION + "?%24alt=json%3Benum-encoding%3Dint"),
                         (200, {"name": LOCATION[4:], "locationId": "local"}))
        _, body = World.rs.call("POST", LOCATION + "/challenges", "{}")
        self.assertEqual(set(body), {"name", "createTime", "expireTime", "used", "tpmNonce", "launchRecord"})
        _, jwks = World.rs.call("GET", "/.well-known/jwks.json")
        self.assertEqual([k["alg"] for k in jwks["keys"]], ["RS256", "ES256"])


class RefusesChallenges(Case):
    def test_wrong_nonce(self):
        name, _ = World.rs.challenge()
        self.refused(World.rs.verify(name, World.tpm.evidence(os.urandom(32))), NONCE)

    def test_replayed_quote(self):
        name, nonce = World.rs.challenge()
        old = World.tpm.evidence(nonce)
        self.accepted(World.rs.verify(name, old))
        self.refused(World.rs.verify(name, old), USED, status=409)
        name, _ = World.rs.challenge()
        self.refused(World.rs.verify(name, old), NONCE)

    def test_expired_challenge(self):
        headers = {"Authorization": "Bearer " + CALLER_TOKEN}
        name, nonce = World.es.challenge(headers)
        time.sleep(5.1)
        error = self.refused(World.es.verify(name, World.paper.evidence(nonce), headers=headers),
                             EXPIRED, status=409)
        self.assertEqual(error["status"], "ABORTED")

    def test_forged_challenge(self):
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(nonce)
        head, text = name.rsplit("/", 1)
        raw = b64url(text)
        for at in (0, 1, 8, 9, 24, 25, len(raw) - 1):  # version, expiry, random, MAC
            forged = base64.urlsafe_b64encode(ev.flip(raw, at)).rstrip(b"=").decode()
            self.refused(World.rs.verify(head + "/" + forged, evidence), FORGED, status=409)
        self.refused(World.rs.verify(head + "/" + text[:-4], evidence), FORGED, status=409)
        elsewhere = name.replace("demo-project", "other-project")
        self.refused(World.rs.verify(elsewhere, evidence), FORGED, status=409)
        self.accepted(World.rs.verify(name, evidence))

    def test_body_for_another_challenge(self):
        name, nonce = World.rs.challenge()
        other, _ = World.rs.challenge()
        body = {"challenge": other, "tpmAttestation": World.paper.evidence(nonce).tpm_attestation()}
        self.refused(World.rs.call("POST", "/v1/%s:verifyConfidentialSpace" % name,
                                   json.dumps(body)), REQUEST, status=400)


class RefusesKeys(Case):
    def test_foreign_root(self):
        cert = World.foreign_ca.issue(World.paper.key + ".pub")
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", cert)), AK_CHAIN)

    def test_foreign_root_sent_along(self):
        def change(e):
            e.ak_cert = World.foreign_ca.issue(World.paper.key + ".pub")
            e.chain = [ev.run("openssl", "x509", "-in", World.foreign_ca.pem, "-outform", "DER")]
        self.refused(self.paper(change), AK_CHAIN)

    def test_certificate_of_another_key(self):
        cert = World.ca.issue(ev.make_key(path("ak2.key")) + ".pub")
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", cert)), SIGNATURE)

    def test_real_tpm_with_a_certificate_that_belongs_to_nobody_known(self):
        name, nonce = World.rs.challenge()
        evidence = World.tpm.evidence(nonce)
        evidence.chain = []
        self.refused(World.rs.verify(name, evidence), AK_CHAIN)

    def test_certificates_between_may_be_the_verifiers_own(self):
        """Then the request needs none; and they are no roots."""
        def reply(name, *options):
            daemon = Daemon(name, [path("ecc.key")], [*options, "--ak-intermediates", path("tpm", "ak-chain.pem")])
            try:
                challenge, nonce = daemon.challenge()
                evidence = World.tpm.evidence(nonce)
                evidence.chain = []
                return daemon.verify(challenge, evidence)
            finally:
                self.assertEqual(daemon.stop(), 0)
        self.assertEqual(reply("between", "--ak-roots", "WORLD=" + path("tpm", "ak-root.pem"))[0], 200)
        self.refused(reply("between-alone"), AK_CHAIN)

    def test_quote_by_another_key_of_the_same_tpm(self):
        World.tpm.create_key("other.ctx", "o")
        name, nonce = World.rs.challenge()
        self.refused(World.rs.verify(name, World.tpm.evidence(nonce, "other.ctx")), SIGNATURE)

    def test_truncated_or_padded_certificate(self):
        for cut in (lambda c: c[:-1], lambda c: c[:40], lambda c: b"", lambda c: c + b"\0"):
            self.refused(self.paper(lambda e, f=cut: setattr(e, "ak_cert", f(e.ak_cert))), AK_CERT)

    def test_changed_certificate(self):
        # The last byte is the CA's signature's: the certificate still parses.
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", ev.flip(
            e.ak_cert, len(e.ak_cert) - 1))), AK_CHAIN)

    def test_expired_certificate(self):
        cert = World.ca.issue(World.paper.key + ".pub", days=0)
        time.sleep(1.1)
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", cert)), AK_CHAIN)

    def test_instance_that_is_not_production(self):
        cert = World.ca.issue(World.paper.key + ".pub", production="FALSE")
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", cert)), INSTANCE)

    def test_weak_or_foreign_key_types(self):
        for kind in (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
                     ("-algorithm", "ED25519"),
                     ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1")):
            cert = World.ca.issue(ev.make_key(path("odd.key"), *kind) + ".pub")
            self.refused(self.paper(lambda e, c=cert: setattr(e, "ak_cert", c)), AK_CERT)

    def test_a_ca_or_a_key_that_may_not_sign_as_attestation_key(self):
        for kind in ("ca_that_signs", "no_signatures"):
            cert = World.ca.issue(World.paper.key + ".pub", kind=kind)
            self.refused(self.paper(lambda e, c=cert: setattr(e, "ak_cert", c)), AK_CERT)

    def test_certificate_signed_over_sha1(self):
        cert = World.ca.issue(World.paper.key + ".pub", digest="sha1")
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", cert)), AK_CHAIN)

    def test_instance_extension_that_cannot_be_read(self):
        for text in ("ASN1:UTF8:zone", "ASN1:SEQUENCE:security", "DER:3000", "DER:05000500"):
            cert = World.ca.issue(World.paper.key + ".pub",
                                  instance="1.3.6.1.4.1.11129.2.1.21 = " + text)
            self.refused(self.paper(lambda e, c=cert: setattr(e, "ak_cert", c)), INSTANCE)

    def test_instance_extension_twice(self):
        first = World.ca.issue(World.paper.key + ".pub", instance=(
            "1.3.6.1.4.1.11129.2.1.21 = ASN1:SEQUENCE:instance\n"
            "1.3.6.1.4.1.11129.2.1.22 = ASN1:SEQUENCE:instance"))
        oid, other = (bytes.fromhex("060a2b06010401d6790201" + n) for n in ("15", "16"))
        self.assertEqual((first.count(oid), first.count(other)), (1, 1))
        twice = World.ca.sign_again(first.replace(other, oid))
        self.refused(self.paper(lambda e: setattr(e, "ak_cert", twice)), INSTANCE)


class RefusesQuotes(Case):
    def quote_of(self, e):
        return e.quotes["sha256"]

    def test_changed_signature(self):
        def change(e):
            q = self.quote_of(e)
            q["signature"] = ev.flip(q["signature"], len(q["signature"]) - 1)
        self.refused(self.paper(change), SIGNATURE)

    def test_changed_pcr_value(self):
        for pcr, codes in ((0, {PCR_DIGEST, FIRMWARE_REPLAY}), (13, {PCR_DIGEST, LAUNCH_REPLAY}),
                           (23, {PCR_DIGEST})):
            def change(e, i=pcr):
                pcrs = self.quote_of(e)["pcrs"]
                pcrs[i] = ev.flip(pcrs[i], 5)
            self.refused(self.paper(change), *codes)

    def test_values_that_do_not_match_the_selection(self):
        self.refused(self.paper(lambda e: self.quote_of(e)["pcrs"].pop(17)), QUOTE, PCR_DIGEST)

    def test_selection_that_leaves_out_what_claims_need(self):
        self.refused(self.paper(mask=0xFFFFFF & ~(1 << 8)), BANKS)

    def test_not_made_by_a_tpm_or_not_a_quote(self):
        self.refused(self.paper(magic=0xFF544348), QUOTE)
        self.refused(self.paper(kind=0x8017), QUOTE)

    def test_truncated_quote_and_signature(self):
        for field in ("quote", "signature"):
            def change(e, f=field):
                self.quote_of(e)[f] = self.quote_of(e)[f][:-1]
            codes = {"quote": (QUOTE, SIGNATURE), "signature": (QUOTE,)}[field]
            self.refused(self.paper(change), *codes)

    def test_sha1_alone(self):
        self.refused(self.paper(by=ev.Paper(World.dir, World.ca, ("sha1",), World.paper.key)),
                     BANKS)

    def test_no_quote_and_a_bank_twice(self):
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(nonce)
        att = evidence.tpm_attestation()
        for quotes in ([], att["quotes"] * 2, att["quotes"] * 5):
            body = json.dumps({"tpmAttestation": dict(att, quotes=quotes)})
            self.refused(World.rs.call("POST", "/v1/%s:verifyConfidentialSpace" % name, body),
                         REQUEST, status=400)

    def test_quote_of_another_bank_under_this_name(self):
        name, nonce = World.rs.challenge()
        both = ev.Paper(World.dir, World.ca, ("sha1", "sha256"), World.paper.key).evidence(nonce)
        both.quotes["sha256"]["quote"] = both.quotes["sha1"]["quote"]
        both.quotes["sha256"]["signature"] = both.quotes["sha1"]["signature"]
        self.refused(World.rs.verify(name, both), QUOTE, PCR_DIGEST)

    def test_banks_quoted_in_different_boots(self):
        name, nonce = World.rs.challenge()
        paper = ev.Paper(World.dir, World.ca, ("sha256", "sha384"), World.paper.key)
        first = paper.evidence(nonce)
        paper.reset_count = 2
        first.quotes["sha384"] = paper.evidence(nonce).quotes["sha384"]
        self.refused(World.rs.verify(name, first), QUOTE)


class RefusesLaunchLogs(Case):
    def test_a_flipped_bit_in_any_region(self):
        banks, good = World.paper.banks, ev.GOOD_EVENTS
        size = len(ev.launch_log(good, banks))
        last = len(ev.launch_log(good[:-1], banks))
        # All of the first and the last record, and a sample of the rest.
        for at in sorted({*range(90), *range(last, size), *range(0, size, 41)}):
            status, body = self.paper(lambda e, i=at: setattr(e, "launch", ev.flip(e.launch, i)))
            self.assertEqual(status, 403, at)
            self.assertLessEqual({d["reason"] for d in body["error"]["details"]},
                                 {LAUNCH_LOG, LAUNCH_REPLAY, LAUNCH_EVENTS}, at)

    def test_a_real_log_with_an_event_left_out_or_doubled(self):
        for events in (World.tpm.events[:4] + World.tpm.events[5:],
                       World.tpm.events[:5] + World.tpm.events[4:]):
            name, nonce = World.rs.challenge()
            evidence = World.tpm.evidence(nonce)
            evidence.launch = ev.launch_log(events, World.tpm.banks)
            self.refused(World.rs.verify(name, evidence), LAUNCH_REPLAY)

    def test_events_that_no_launch_has_though_they_were_measured(self):
        good = ev.GOOD_EVENTS
        for what, events in {
            "image digest missing": good[:1] + good[2:],
            "reference missing": good[1:],
            "policy missing": good[:2] + good[3:],
            "separator missing": good[:-1],
            "nothing at all": [],
            "reference doubled": good[:1] + good,
            "digest doubled": good[:2] + good[1:],
            "policy doubled": good[:3] + good[2:],
            "image id doubled": good[:4] + good[3:],
            "separator doubled": good + [ev.SEPARATOR],
            "event after the separator": good + [(4, b"--late")],
            "unknown type": good[:-1] + [(42, b"?"), ev.SEPARATOR],
            "GPU, which is not checked": good[:-1] + [(10, b"ON"), ev.SEPARATOR],
            "separator of a failed launch": good[:-1] + [(8, b"failed")],
            "unknown policy": [(2, b"Sometimes") if e[0] == 2 else e for e in good],
            "digest that is none": [(1, b"sha256:12") if e[0] == 1 else e for e in good],
            "variable without =": good[:-1] + [(5, b"NAME"), ev.SEPARATOR],
            "variable with an odd name": good[:-1] + [(5, b"my.var=1"), ev.SEPARATOR],
            "variable that starts with a digit": good[:-1] + [(7, b"1A=1"), ev.SEPARATOR],
            "variable with two values": good[:-1] + [(5, b"PATH=/other"), ev.SEPARATOR],
            "argument with NUL": good[:-1] + [(4, b"a\0b"), ev.SEPARATOR],
            "argument that is not UTF-8": good[:-1] + [(4, b"\xff"), ev.SEPARATOR],
            "memory monitor of two bytes": [(9, b"\0\0") if e[0] == 9 else e for e in good],
        }.items():
            with self.subTest(what):
                self.refused(self.paper(events=events), LAUNCH_EVENTS)

    def test_another_register_number_or_form(self):
        banks = World.paper.banks
        for log in (ev.launch_log(ev.GOOD_EVENTS, banks, index=14),
                    ev.launch_log(ev.GOOD_EVENTS, banks, index=4, form=0x6C),
                    ev.launch_log(ev.GOOD_EVENTS, banks, form=2),
                    ev.launch_log(ev.GOOD_EVENTS, banks, first=1),
                    ev.launch_log(ev.GOOD_EVENTS[:1], banks) +
                    ev.launch_log(ev.GOOD_EVENTS[1:], banks, index=4, form=0x6C, first=1)):
            self.refused(self.paper(lambda e, x=log: setattr(e, "launch", x)), LAUNCH_LOG)

    def test_a_log_without_digests_of_a_quoted_bank(self):
        paper = ev.Paper(World.dir, World.ca, ("sha256", "sha384"), World.paper.key)
        log = ev.launch_log(ev.GOOD_EVENTS, ["sha256"])
        self.refused(self.paper(lambda e: setattr(e, "launch", log), by=paper), LAUNCH_REPLAY)


class RefusesFirmwareLogs(Case):
    def test_a_flipped_bit_is_refused_or_changes_nothing(self):
        def stable(claims):
            return {k: v for k, v in claims.items() if k not in ("iat", "nbf", "exp")}

        good = stable(self.accepted(self.paper()))
        size = len(World.paper.evidence(bytes(32)).firmware)
        refused = 0
        for at in range(0, size, 13):
            status, body = self.paper(
                lambda e, i=at: setattr(e, "firmware", ev.flip(e.firmware, i)))
            if status == 200:  # a byte that nothing was measured of: a type, a description
                self.assertEqual(stable(token_claims(World.rs, body["attestationToken"])), good, at)
                continue
            refused += 1
            self.assertLessEqual({d["reason"] for d in body["error"]["details"]},
                                 {FIRMWARE_LOG, FIRMWARE_REPLAY, BOOT_CLAIMS}, at)
        self.assertGreater(refused, size / 13 / 2)

    def test_every_digest_counts(self):
        boot = ev.good_boot()
        for i, event in enumerate(boot):
            other = boot[:i] + [ev.firmware_log.Event(event.pcr, event.kind, event.logged,
                                                      event.hashed + b"!")] + boot[i + 1:]
            log = ev.firmware_log.encode_log(other, World.paper.banks)
            _, body = self.paper(lambda e, x=log: setattr(e, "firmware", x))
            self.assertIn(FIRMWARE_REPLAY, {d["reason"] for d in body["error"]["details"]}, i)

    def test_missing_event_and_missing_log(self):
        log = ev.firmware_log.encode_log(ev.good_boot()[1:], World.paper.banks)
        self.refused(self.paper(lambda e: setattr(e, "firmware", log)), FIRMWARE_REPLAY)
        self.refused(self.paper(lambda e: setattr(e, "firmware", b"")), FIRMWARE_LOG)
        self.refused(self.paper(lambda e: setattr(e, "firmware", e.firmware[:-1])), FIRMWARE_LOG)

    def test_registers_beyond_the_firmware(self):
        """14 is shim's and must replay if the log has it; 11 is extended later too, and claims nothing."""
        fw = ev.firmware_log
        for pcr, codes in ((14, (FIRMWARE_REPLAY,)), (11, ())):
            log = fw.encode_log(ev.good_boot() + [fw.Event(pcr, fw.EV_IPL, b"more")],
                                World.paper.banks)
            reply = self.paper(lambda e, x=log: setattr(e, "firmware", x))
            if codes:
                self.refused(reply, *codes)
            else:
                self.accepted(reply)

    def test_log_without_the_quoted_bank(self):
        log = ev.firmware_log.encode_log(ev.good_boot(), ["sha384"])
        self.refused(self.paper(lambda e: setattr(e, "firmware", log)), FIRMWARE_REPLAY,
                     BOOT_CLAIMS)

    def test_forged_debug_claim(self):
        """The text says production, the digest in the log is the one of the debug text."""
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(nonce, boot=ev.good_boot(
            "/vmlinuz ro confidential-space.hardened=fals3"))
        evidence.firmware = evidence.firmware.replace(b"hardened=fals3\0", b"hardened=true \0")
        self.refused(World.rs.verify(name, evidence), BOOT_CLAIMS)

    def test_real_boot_in_debug_with_a_forged_line(self):
        name, nonce = World.rs.challenge()
        evidence = World.tpm.evidence(nonce)
        self.assertIn(b"hardened=true\0", evidence.firmware)
        evidence.firmware = evidence.firmware.replace(b"hardened=true\0", b"hardened=trve\0")
        self.refused(World.rs.verify(name, evidence), BOOT_CLAIMS)

    def boot_with(self, extra, cmdline="/vmlinuz ro", drop=()):
        """A boot with more or fewer measurements, at GRUB's time."""
        kept = [e for e in ev.good_boot(cmdline) if e.kind not in drop]
        return kept + extra

    def test_contradictory_boots_though_they_were_measured(self):
        fw = ev.firmware_log
        flag = "confidential-space.hardened="
        secure = fw.efi_variable("SecureBoot", fw.EFI_GLOBAL, b"\1")
        for what, boot in {
            "flag twice": ev.good_boot("/vmlinuz %strue %strue" % (flag, flag)),
            "flag both ways": ev.good_boot("/vmlinuz %strue %sfalse" % (flag, flag)),
            "flag with another value": ev.good_boot("/vmlinuz %syes" % flag),
            "second kernel": self.boot_with([fw.grub_string("kernel_cmdline: ",
                                                            "/vmlinuz %strue" % flag)]),
            "command called a command line": self.boot_with(
                [fw.grub_string("kernel_cmdline: ", "echo /vmlinuz %strue" % flag)]),
            "command called a command line where no kernel was": [
                e for e in ev.good_boot() if not e.logged.startswith(b"kernel_c")] +
                [fw.grub_string("kernel_cmdline: ", "echo %strue" % flag)],
            "command line called a command": [
                fw.grub_string("grub_cmd: ", "/vmlinuz ro") if e.logged.startswith(b"kernel_c")
                else e for e in ev.good_boot("/vmlinuz ro")],
            "text of PCR 8 under another prefix": self.boot_with(
                [fw.grub_string("module_cmdline: ", "/vmlinuz")]),
            "digest of another text": self.boot_with(
                [fw.Event(8, fw.EV_IPL, b"grub_cmd: boot\0", b"exit")]),
            "SecureBoot after the separator": self.boot_with([secure]),
            "SecureBoot twice": [secure] + ev.good_boot(),
            "SecureBoot with another value": [
                fw.efi_variable("SecureBoot", fw.EFI_GLOBAL, b"\2")
                if b"S\0e\0c\0u\0r\0e\0B" in e.logged else e for e in ev.good_boot()],
            "no separator": self.boot_with([], drop=(fw.EV_SEPARATOR,)),
            "separator under another type": [
                fw.Event(7, fw.EV_IPL, bytes(4)) if (e.pcr, e.kind) == (7, fw.EV_SEPARATOR) else e
                for e in ev.good_boot()],
            "other data than was measured": [
                fw.Event(7, e.kind, e.logged, e.hashed + b"!") if b"d\0b\0" in e.logged else e
                for e in ev.good_boot()],
            "separator of a firmware error": self.boot_with(
                [fw.Event(7, fw.EV_SEPARATOR, b"\1\0\0\0")]),
        }.items():
            with self.subTest(what):
                self.refused(self.paper(boot=boot), BOOT_CLAIMS)


class RefusesIdentities(Case):
    def test_identity_tokens_that_are_not_for_this_challenge_by_this_issuer(self):
        stranger = ev.make_key(path("stranger.key"), "-algorithm", "RSA")
        for what, change in {
            "audience": {"audience": "https://sts.googleapis.com"},
            "issuer": {"iss": "https://accounts.evil"},
            "expired": {"exp": int(time.time()) - 1},
            "future": {"iat": int(time.time()) + 300},
            "email": {"email_verified": False},
            "signature": {"key": stranger},
            "no algorithm": {"header": {"alg": "none"}},
            "another algorithm": {"header": {"alg": "HS256"}},
            "unknown key": {"header": {"kid": "issuer-2"}},
            "critical": {"header": {"crit": ["b64"]}},
        }.items():
            with self.subTest(what):
                name, nonce = World.rs.challenge()
                token = identity_token(change.pop("audience", name), **change)
                self.refused(World.rs.verify(
                    name, World.paper.evidence(nonce),
                    gcpCredentials={"serviceAccountIdTokens": [token]}), IDENTITY)

    def test_all_failed_checks_are_named(self):
        def change(e):
            e.ak_cert = World.foreign_ca.issue(World.paper.key + ".pub")
            e.launch = ev.launch_log(ev.GOOD_EVENTS[:-1], World.paper.banks)
            e.firmware = b"junk"
            e.quotes["sha256"]["pcrs"][20] = bytes(32)
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(os.urandom(32))
        change(evidence)
        self.refused(World.rs.verify(name, evidence), AK_CHAIN, NONCE, PCR_DIGEST, FIRMWARE_LOG,
                     LAUNCH_REPLAY, LAUNCH_EVENTS)
        self.assertEqual(len(nonce), 32)


class RefusesRequests(Case):
    def post(self, body, daemon=None):
        name, _ = World.rs.challenge()
        return (daemon or World.rs).call("POST", "/v1/%s:verifyConfidentialSpace" % name, body)

    def test_bodies_that_are_no_request(self):
        for body in ("", "{", "[]", "null", "{}", '{"tpmAttestation":1}', '{"a":1,"a":2}',
                     '{"unknown":1}', '{"tpmAttestation":{"quotes":[{}]}}', "\xff"):
            self.refused(self.post(body.encode("latin-1")), REQUEST, status=400)

    def test_evidence_and_tokens_of_kinds_that_are_not_served(self):
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(nonce)
        for fields in ({"nvidiaAttestation": {}},
                       {"options": {"signatureType": 2}},
                       {"options": {"signatureType": "SIGNATURE_TYPE_PKI"}}):
            self.refused(World.rs.verify(name, evidence, **fields), UNSUPPORTED, status=400)

    def test_token_options_out_of_their_limits(self):
        name, nonce = World.rs.challenge()
        evidence = World.paper.evidence(nonce)
        for options in ({"audience": "a" * 513}, {"nonce": ["seven.."]}, {"nonce": ["x" * 89]},
                        {"nonce": ["eight..."] * 7}):
            self.refused(World.rs.verify(name, evidence, options=options), TOKEN_OPTIONS,
                         status=400)
        self.accepted(World.rs.verify(name, evidence, options={
            "audience": "a" * 512, "nonce": ["eight...", "x" * 88] * 3}))

    def test_bodies_above_the_limit(self):
        name, _ = World.rs.challenge()
        url = "/v1/%s:verifyConfidentialSpace" % name
        connection = World.rs.connection
        connection.putrequest("POST", url)  # announced only: refused before a byte of it is sent
        connection.putheader("Content-Length", str(8 * 1024 * 1024 + 1))
        connection.endheaders()
        response = connection.getresponse()
        self.refused((response.status, json.loads(response.read())), TOO_LARGE, status=413)

        def chunks():
            for _ in range(140):
                yield b" " * 65536
        self.refused(World.rs.call("POST", url, chunks()), TOO_LARGE, status=413)

    def test_paths_and_methods_that_are_not_served(self):
        name, _ = World.rs.challenge()
        for method, url in (("GET", "/"), ("GET", "/v1/projects/a/locations"),
                            ("GET", "/v1/projects/a%20b/locations/c"), ("GET", "/v1/" + name),
                            ("POST", "/v1/%s:verify" % name), ("GET", LOCATION + "/challenges"),
                            ("POST", "/v1/projects/a/locations/b:verifyAttestation"),
                            ("DELETE", "/healthz"), ("GET", "/v1/projects/%s/locations/b" %
                                                     ("a" * 200))):
            self.refused(World.rs.call(method, url), ROUTE, status=404)

    def test_unknown_callers(self):
        for headers in ({}, {"Authorization": "Bearer nobody-knows-this-one"},
                        {"Authorization": CALLER_TOKEN}):
            self.refused(World.es.call("POST", LOCATION + "/challenges", "{}", headers), CALLER,
                         status=401)
        self.assertEqual(World.es.call("GET", "/.well-known/jwks.json")[0], 200)


class StartsAndEnds(Case):
    def start_fails(self, code, **changes):
        options = {"listen": "127.0.0.1:0", "tls-cert": path("tls.pem"), "tls-key": path("tls.key"),
                   "token-key": path("ecc.key"), "ak-roots": "A=" + World.ca.pem}
        options.update(changes)
        command = [World.binary] + ["--%s=%s" % o for o in options.items() if o[1] is not None]
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        text = done.stderr.decode()
        self.assertIn("teeverifierd: " + code, text)
        self.assertEqual(text.count("\n"), 1, text)
        return text

    def test_options_and_files_that_cannot_be_used(self):
        junk = ev.secret(path("junk"), "junk\n")
        for changes in ({"token-key": junk}, {"token-key": path("ak-ed.key")},
                        {"ak-roots": "A=" + junk}, {"ak-roots": "A B=" + World.ca.pem}, {"ak-intermediates": junk},
                        {"tls-key": path("ecc.key")}, {"challenge-key": junk}, {"callers": junk},
                        {"identity-jwks": junk, "identity-issuer": "x"}):
            ev.make_key(path("ak-ed.key"), "-algorithm", "ED25519")
            self.start_fails(KEYS, **changes)
        for changes in ({"tls-cert": None}, {"token-key": None}, {"ak-roots": None},
                        {"ak-roots": "x"}, {"issuer": "http://x"}, {"issuer": "https://x/"},
                        {"challenge-ttl-s": "0"}, {"challenge-ttl-s": "3601"},
                        {"token-ttl-s": "1h"}, {"listen": "localhost:1"}, {"listen": "1"},
                        {"identity-jwks": path("issuer.jwks")}, {"log-level": "loud"}):
            self.start_fails("TL0003", **changes)
        for name in ("token-key", "ak-intermediates"):
            self.start_fails("TL0004", **{name: path("no-such-file")})
        self.start_fails(SERVER, listen="127.0.0.1:%d" % World.rs.port)

    def test_the_log_names_decisions_and_no_secret(self):
        name, nonce = World.rs.challenge()
        reply = World.rs.verify(name, World.paper.evidence(nonce))
        self.accepted(reply)
        self.refused(World.rs.verify(name, World.paper.evidence(nonce)), USED, status=409)
        log = ev.read(World.rs.log).decode()
        self.assertRegex(log, "verifier.decided.*verdict=accepted codes='' hwmodel='PAPER' "
                              "instance='demo-vm' image='sha256:(ab){32}'")
        self.assertRegex(log, "verifier.decided.*verdict=refused codes='TL1008'")
        for secret in (reply[1]["attestationToken"], CALLER_TOKEN, name.rsplit("/", 1)[1], "eyJ"):
            self.assertNotIn(secret, log + ev.read(World.es.log).decode())


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        try:
            World.start(folder, binary)
            result = unittest.main(exit=False).result
        finally:
            codes = World.stop()
            for name in ("rs", "es"):
                log = ev.read(os.path.join(folder, name + ".log")).decode()
                if "Sanitizer" in log or "runtime error" in log:
                    print(log[-8000:])
                    codes.append(99)
    if codes != [0, 0]:
        print("teeverifierd didn't end well:", codes)
    sys.exit(not result.wasSuccessful() or codes != [0, 0])


if __name__ == "__main__":
    main()
