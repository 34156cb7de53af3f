#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kinds of tokens: what the launcher asks for (token-options.json), PKI by openssl's own check of the
certificates, tags for AWS, and what is refused.

verifier_tokens.py BINARY [unittest arguments]
"""
import base64
import json
import os
import ssl
import sys
import tempfile
import unittest

import verifier
import verifier_evidence as ev
import verifier_signatures
from signatures import Signer

path = verifier.path
VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors",
                       "token-options.json")
IMAGE = "sha256:" + "ab" * 32  # of verifier_evidence's launch
TAGS = "https://aws.amazon.com/tags"


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        super().start(folder, binary)
        cls.daemon.stop()
        root, middle = ev.Authority(folder, "pki-root"), ev.Authority(folder, "pki-middle")
        for name, make in (("pki-rsa", ("-algorithm", "RSA")), ("pki-ecc", ())):
            key = ev.make_key(path(name), *make)
            chain = issue(middle, key + ".pub", "leaf", "ak") + \
                issue(root, public_of(middle.key), "pki-middle", "ca")
            ev.write(path(name + ".pem"), chain + (ev.read(root.pem) if make else b""))
        cls.root = root
        cls.old, cls.new = path("ecc.key"), ev.make_key(path("next.key"), "-algorithm", "RSA")
        cls.daemon = verifier.Daemon("rsa", [cls.old], [
            "--pki-key", path("pki-rsa"), "--pki-chain", path("pki-rsa.pem")])
        cls.ecc = verifier.Daemon("ecc", [cls.new], [
            "--pki-key", path("pki-ecc"), "--pki-chain", path("pki-ecc.pem"),
            "--token-ttl-s", "86400"])
        cls.plain = verifier.Daemon("plain", [cls.old], [])


def pem(der):
    return ev.run("openssl", "x509", "-inform", "DER", data=der)


def public_of(key):
    return ev.write(key + ".pub", ev.run("openssl", "pkey", "-in", key, "-pubout"))


def issue(authority, public, subject, kind):
    """PEM, valid for a day."""
    config = authority.config("", "TRUE")
    ev.run("openssl", "req", "-new", "-key", authority.key, "-config", config, "-subj",
           "/CN=" + subject, "-out", path("csr"))
    return ev.run("openssl", "x509", "-req", "-in", path("csr"), "-CA", authority.pem, "-CAkey",
                  authority.key, "-days", "1", "-extfile", config, "-extensions", kind,
                  "-set_serial", "0x" + os.urandom(15).hex(), "-force_pubkey", public)


def parts_of(token):
    header, claims, _ = token.split(".")
    return json.loads(verifier.b64url(header)), json.loads(verifier.b64url(claims))


class Tokens(unittest.TestCase):
    def ask(self, options, daemon=None, verb="verifyConfidentialSpace", **fields):
        daemon = daemon or World.daemon
        name, nonce = daemon.challenge()
        key = "options" if verb == "verifyConfidentialSpace" else "tokenOptions"
        return daemon.verify(name, World.paper.evidence(nonce), verb, **{key: options}, **fields)

    def token(self, *args, **kwargs):
        status, body = self.ask(*args, **kwargs)
        self.assertEqual(status, 200, body)
        return body.get("attestationToken") or body["oidcClaimsToken"]

    def refused(self, reply, code, *words):
        status, body = reply
        self.assertEqual((status, body["error"]["status"]), (400, "INVALID_ARGUMENT"), body)
        self.assertEqual([d["reason"] for d in body["error"]["details"]], [code])
        for word in words:
            self.assertIn(word, body["error"]["message"])

    def test_what_the_launcher_asks_for(self):
        with open(VECTORS, encoding="utf-8") as f:
            cases = json.load(f)["cases"]
        for case in cases:
            with self.subTest(case["id"]):
                want = case["expect_options"]
                header, claims = parts_of(self.token(want))
                self.assertEqual("x5c" in header, want.get("signatureType") == 2)
                self.assertNotEqual("x5c" in header, "kid" in header)
                self.assertEqual(TAGS in claims, want["tokenProfile"] == 2)
                self.assertEqual("submods" in claims, want["tokenProfile"] == 1)
                nonces = want.get("nonce", [])
                self.assertEqual(claims.get("aud"), want.get("audience") or (
                    None if nonces else "https://sts.googleapis.com"))
                self.assertEqual(claims.get("eat_nonce"), (
                    nonces[0] if len(nonces) == 1 else nonces or None))
        self.assertGreaterEqual(len(cases), 15)

    def test_pki_tokens_are_good_for_who_has_the_root_alone(self):
        for daemon, alg, count, ask in (
                (World.daemon, "RS256", 3, {"signatureType": "SIGNATURE_TYPE_PKI"}),
                (World.ecc, "ES256", 2, {"signatureType": 2, "nonce": ["x" * 8] * 6})):
            token = self.token(ask, daemon)
            header, claims = parts_of(token)
            self.assertEqual((header["alg"], header["typ"], len(header["x5c"])), (alg, "JWT", count))
            for i, cert in enumerate(header["x5c"]):
                ev.write(path("x5c-%d" % i), pem(base64.b64decode(cert, validate=True)))
            ev.run("openssl", "verify", "-x509_strict", "-CAfile", World.root.pem, "-untrusted",
                   path("x5c-1"), path("x5c-0"))
            signature = verifier.b64url(token.rsplit(".", 1)[1])
            if alg == "ES256":
                signature = verifier.der(0x30, verifier.der_integer(signature[:32]),
                                         verifier.der_integer(signature[32:]))
            ev.write(path("x5c.sig"), signature)
            ev.write(path("x5c.pub"), ev.run("openssl", "x509", "-in", path("x5c-0"), "-noout",
                                             "-pubkey"))
            ev.run("openssl", "dgst", "-sha256", "-verify", path("x5c.pub"), "-signature",
                   path("x5c.sig"), data=token.rsplit(".", 1)[0].encode())
            self.assertIn("submods", claims)
            self.assertLessEqual(claims["exp"], claims["iat"] + (
                3600 if daemon is World.daemon else 86400))
        # A certificate of one day, made before: the token doesn't outlive it.
        end = ev.run("openssl", "x509", "-in", path("x5c-0"), "-noout", "-enddate").decode()
        self.assertEqual(claims["exp"], ssl.cert_time_to_seconds(end.strip().split("=")[1]))

    def test_both_endpoints_know_numbers_and_names(self):
        for number, name, is_pki, has_submods, has_tags in (
                (0, "TOKEN_TYPE_UNSPECIFIED", False, True, False),
                (1, "TOKEN_TYPE_OIDC", False, True, False),
                (2, "TOKEN_TYPE_PKI", True, True, False),
                (3, "TOKEN_TYPE_LIMITED_AWS", False, False, False),
                (4, "TOKEN_TYPE_AWS_PRINCIPALTAGS", False, False, True)):
            for value in (number, name):
                header, claims = parts_of(self.token({"tokenType": value},
                                                     verb="verifyAttestation"))
                self.assertEqual(("x5c" in header, "submods" in claims, TAGS in claims),
                                 (is_pki, has_submods, has_tags), value)
        for value in (2, "TOKEN_PROFILE_AWS"):
            self.assertIn(TAGS, parts_of(self.token({"tokenProfile": value}))[1])

    def test_tags_are_what_aws_can_read(self):
        claims = parts_of(self.token({"tokenProfile": 2}))[1]
        self.assertEqual(claims[TAGS], {"principal_tags": {
            "hwmodel": ["PAPER"], "swname": ["CONFIDENTIAL_SPACE"],
            "dbgstat": ["disabled-since-boot"], "gce.project_id": ["demo-project"],
            "gce.zone": ["us-central1-a"], "container.image_digest": [IMAGE]}})
        self.assertEqual(claims["sub"].rsplit("/", 1)[1], "demo-vm")

    def key_tags(self, signers, wanted):
        entities = [{"containerImageSignatures": [
            {"payload": ev.b64(p), "signature": ev.b64(s)}
            for p, s in (signer.signature(IMAGE) for signer in signers)]}]
        return self.ask({"tokenProfile": 2, "awsPrincipalTagsOptions": {"allowedPrincipalTags": {
            "containerImageSignatures": {"keyIds": wanted}}}}, signedEntities=entities)

    def test_signature_tags_name_checked_keys_that_were_asked_for(self):
        signers = World.signers + [Signer(World.dir, "fourth", "ECDSA_P256_SHA256")]
        ids = [s.key_id for s in signers]
        for wanted, expected in ((ids[:1], ids[:1]), (ids[:3] + ["unknown"], sorted(ids[:3])),
                                 (["unknown"], None)):
            status, body = self.key_tags(signers, wanted)
            self.assertEqual(status, 200, body)
            tags = parts_of(body["attestationToken"])[1][TAGS]["principal_tags"]
            self.assertEqual(tags.get("container.signatures.key_ids"),
                             ["=".join(expected)] if expected else None)
            self.assertNotIn("container.image_digest", tags)
        self.refused(self.key_tags(signers, ids), "TL1024", "256 characters")

    def test_options_that_are_refused_name_field_limit_and_length(self):
        tags = {"allowedPrincipalTags": {"containerImageSignatures": {"keyIds": ["k"]}}}
        for options, words in (
                ({"audience": "a" * 513}, ("'options.audience'", "513", "512")),
                ({"nonce": ["x" * 7]}, ("'options.nonce[0]'", "7 bytes", "8 to 88")),
                ({"nonce": ["x" * 89]}, ("'options.nonce[0]'", "89 bytes", "8 to 88")),
                ({"nonce": ["x" * 8] * 7}, ("'options.nonce'", "7 elements", "limit is 6")),
                ({"tokenProfile": 3}, ("'options.tokenProfile'", "0 to 2")),
                ({"tokenProfile": "AWS"}, ("'options.tokenProfile'", "TOKEN_PROFILE_DEFAULT_EAT")),
                ({"signatureType": -1}, ("'options.signatureType'", "0 to 2")),
                ({"signatureType": 2, "tokenProfile": 2}, ("'signatureType'", "'tokenProfile'")),
                ({"awsPrincipalTagsOptions": tags}, ("'awsPrincipalTagsOptions'",)),
                ({"tokenProfile": 2, "awsPrincipalTagsOptions": {"allowedPrincipalTags": {
                    "containerImageSignatures": {"keyIds": ["k"] * 65}}}}, ("65", "64")),
        ):
            self.refused(self.ask(options), "TL1024", *words)
        self.refused(self.ask({"tokenType": 5}, verb="verifyAttestation"), "TL1024",
                     "'tokenOptions.tokenType'", "0 to 4")
        for options, word in (({"colour": 1}, "'options.colour'"), ({"nonce": "x" * 8}, "array"),
                              ({"awsPrincipalTagsOptions": {"tags": 1}}, "Options.tags'"),
                              ({"tokenType": 1}, "'options.tokenType'")):
            self.refused(self.ask(options), "TL1001", word)

    def test_without_a_certificate_there_is_no_pki_token_and_no_challenge_is_spent(self):
        name, nonce = World.plain.challenge()
        evidence = World.paper.evidence(nonce)
        self.refused(World.plain.verify(name, evidence, options={"signatureType": 2}), "TL1002",
                     "--pki-key")
        self.assertEqual(World.plain.verify(name, evidence)[0], 200)

    def test_pki_files_that_do_not_belong_together(self):
        certs = ev.read(path("pki-rsa.pem")).split(b"-----BEGIN")[1:]
        certs = [b"-----BEGIN" + c for c in certs]
        for chain, word in ((b"", "missing"), (certs[1], "isn't that of the PKI key"),
                            (certs[0] + certs[2], "didn't sign"),
                            (certs[0] + certs[1][:-60], "no PEM"),
                            (certs[0] + certs[1] + certs[2] * 5, "too many")):
            ev.write(path("bad.pem"), chain)
            with self.assertRaises(AssertionError) as caught:
                verifier.Daemon("bad", [World.old], ["--pki-key", path("pki-rsa"), "--pki-chain",
                                                     path("bad.pem")])
            self.assertIn("TL1025", str(caught.exception))
            self.assertIn(word, str(caught.exception))


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        World.start(folder, binary)
        try:
            result = unittest.main(exit=False).result
        finally:
            codes = [d.stop() for d in (World.daemon, World.ecc, World.plain)]
    sys.exit(not result.wasSuccessful() or codes != [0, 0, 0])


if __name__ == "__main__":
    main()
