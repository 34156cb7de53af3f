#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunch verify`: evidence and tokens that it must accept, each way to refuse them, and what is malformed.
Evidence is made by tpm2-tools out of a software TPM, or by hashlib and openssl alone (verifier_evidence.py);
tokens by openssl. Real launches: test_launch_predicted.py."""
import base64
import functools
import hashlib
import hmac
import http.server
import json
import os
import random
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import verifier_image as vi  # first: its folder has another verifier.py than tests/world
import verifier_evidence as ev
import token_check

TEELAUNCH = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch")
LABEL = b"WORKLOAD_ATTESTATION"
CHALLENGE = b"a challenge of the reader's own"
AK_CHAIN, QUOTE, NONCE, SIGNATURE, PCR_DIGEST = "TL1010", "TL1013", "TL1014", "TL1015", "TL1016"
FIRMWARE_LOG, FIRMWARE_REPLAY, LAUNCH_LOG, LAUNCH_REPLAY = "TL1017", "TL1018", "TL1020", "TL1021"
IMAGE_LOG, IMAGE = "TL1028", "TL1029"
ISSUER = "https://verifier.example"


def sha256(data):
    return hashlib.sha256(data).digest()


def socket_nonce(challenge, extra=None):
    """What the launcher's quotes carry: H(label || H(challenge || [H(extra)]))."""
    return sha256(LABEL + sha256(challenge + (b"" if extra is None else sha256(extra))))


def vm_attestation(e, challenge=CHALLENGE, **more):
    """The answer of /v1/evidence, as the launcher's socket writes it."""
    return {"label": ev.b64(LABEL), "challenge": ev.b64(challenge), "quote": {"tpmQuote": {
        "quotes": [{"hashAlgorithm": ev.ALGORITHM_IDS[bank],
                    "pcrValues": {str(i): ev.b64(v) for i, v in q["pcrs"].items()},
                    "tpmsAttest": ev.b64(q["quote"]), "tpmtSignature": ev.b64(q["signature"])}
                   for bank, q in e.quotes.items()],
        "pcclientBootEventLog": ev.b64(e.firmware), "celLaunchEventLog": ev.b64(e.launch),
        "endorsement": {"akCertEndorsement": {"akCert": ev.b64(e.ak_cert),
                                              "akCertChain": [ev.b64(c) for c in e.chain]}}}}, **more}


class World:
    """Keys and authorities, made once."""

    @classmethod
    def start(cls, folder):
        cls.dir = folder
        cls.ca = ev.Authority(folder, "paper-ca")
        cls.foreign_ca = ev.Authority(folder, "foreign-ca")
        cls.paper = ev.Paper(folder, cls.ca, ("sha256", "sha384"))
        cls.keys = {}
        for kid, alg, how in (("r", "RS256", ("-algorithm", "RSA")), ("p", "PS256", ("-algorithm", "RSA")),
                              ("e", "ES256", ())):
            cls.keys[kid] = (alg, ev.make_key(os.path.join(folder, kid + ".key"), *how))
        cls.jwks = {"keys": [jwk(kid) for kid in cls.keys]}


def path(name):
    return os.path.join(World.dir, name)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(kid):
    """By openssl's words for a public key."""
    alg, key = World.keys[kid]
    der = ev.run("openssl", "pkey", "-in", key, "-pubout", "-outform", "DER")
    if alg == "ES256":
        return {"kty": "EC", "crv": "P-256", "alg": alg, "use": "sig", "kid": kid, "x": b64url(der[-64:-32]),
                "y": b64url(der[-32:])}
    modulus = ev.run("openssl", "rsa", "-pubin", "-inform", "DER", "-noout", "-modulus", data=der)
    return {"kty": "RSA", "alg": alg, "use": "sig", "kid": kid, "e": "AQAB",
            "n": b64url(bytes.fromhex(modulus.decode().strip().partition("=")[2]))}


def sign(kid, text):
    alg, key = World.keys[kid]
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest") if alg == "PS256" else ()
    der = ev.run("openssl", "dgst", "-sha256", "-sign", key, *options, data=text.encode())
    if alg != "ES256":
        return der
    numbers, at = [], 2
    for _ in range(2):
        n = der[at + 1]
        numbers.append(der[at + 2:at + 2 + n].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + n
    return b"".join(numbers)


def claims(**changed):
    now = int(time.time())
    all_of_them = {"iss": ISSUER, "aud": "https://reader.example", "iat": now, "nbf": now, "exp": now + 600,
                   "sub": "x", "submods": {"container": {"image_digest": "sha256:" + "ab" * 32}}, **changed}
    return {k: v for k, v in all_of_them.items() if v is not None}


def token(kid="r", header=None, signature=None, **changed):
    head = {"alg": World.keys[kid][0], "kid": kid, "typ": "JWT", **(header or {})}
    head = {k: v for k, v in head.items() if v is not None}
    text = "%s.%s" % tuple(b64url(json.dumps(part).encode()) for part in (head, claims(**changed)))
    return "%s.%s" % (text, b64url(sign(kid, text) if signature is None else signature(text.encode())))


class Case(unittest.TestCase):
    def file(self, content, name="input"):
        if not isinstance(content, (bytes, str)):
            content = json.dumps(content)
        return ev.write(path(name), content)

    def run_it(self, *options, status=0, **more):
        done = subprocess.run([TEELAUNCH, "verify", *options], capture_output=True, timeout=60, check=False, **more)
        self.assertEqual(done.returncode, status, done.stderr.decode() + done.stdout.decode())
        return done

    def judged(self, *options, codes=()):
        """The document; refused for exactly these reasons, or good."""
        document = json.loads(self.run_it(*options, "--json", status=2 if codes else 0).stdout)
        self.assertEqual(document["schema"], "teelaunch.verify/1")
        self.assertEqual(document["verdict"], "refused" if codes else "good")
        self.assertEqual("claims" in document, not codes)
        self.assertEqual({r["code"] for r in document["reasons"]}, set(codes), document["reasons"])
        return document


class EvidenceCase(Case):
    def options(self, document, nonce=CHALLENGE, roots=None, expect=()):
        out = ["--evidence", self.file(document), "--nonce", nonce.hex(), "--ak-roots", roots or World.ca.pem]
        for i, content in enumerate(expect):
            out += ["--expect", self.file(content, "expect-%d" % i)]
        return out

    def verify(self, document, *codes, **options):
        return self.judged(*self.options(document, **options), codes=codes)

    @functools.lru_cache  # one quote serves many cases
    def good(self):
        return World.paper.evidence(socket_nonce(CHALLENGE))

    def changed(self, change, *codes, **options):
        e = self.good().copy()
        change(e)
        return self.verify(vm_attestation(e), *codes, **options)


class AcceptsEvidence(EvidenceCase):
    def test_evidence_of_the_socket(self):
        got = self.verify(vm_attestation(self.good()))
        container = got["claims"]["submods"]["container"]
        self.assertEqual(container["args"], ["/hello", "--name=w\u00f6rld"])
        self.assertEqual(container["env_override"], {"GREETING": "hi=there"})
        self.assertEqual(got["claims"]["dbgstat"], "disabled-since-boot")
        self.assertEqual(len(got["unchecked"]), 2)

    def test_without_what_a_field_mask_leaves_out(self):
        document = vm_attestation(self.good())
        del document["label"], document["challenge"]
        self.verify(document)

    def test_extra_data_belongs_to_the_nonce(self):
        for extra in (b"", b"more"):
            e = World.paper.evidence(socket_nonce(CHALLENGE, extra))
            self.verify(vm_attestation(e, extraData=ev.b64(extra)))
            self.verify(vm_attestation(e), NONCE)

    def test_a_recorded_request_of_either_kind(self):
        e = World.paper.evidence(b"the verifier's nonce")
        for more in ({"challenge": "projects/p/locations/l/challenges/c", "options": {"audience": "x"}},
                     {"confidentialSpaceInfo": {}, "tokenOptions": {"audience": "x"}}):
            self.verify({"tpmAttestation": e.tpm_attestation(), **more}, nonce=b"the verifier's nonce")
            self.verify({"tpmAttestation": e.tpm_attestation(), **more}, NONCE)

    def test_evidence_of_a_real_tpm_that_others_accept_too(self):
        tpm = ev.Tpm(tempfile.mkdtemp(dir=World.dir), ["sha1", "sha256", "sha384"])
        self.addCleanup(tpm.stop)
        tpm.measure(ev.GOOD_EVENTS)
        nonce = socket_nonce(CHALLENGE)
        e = tpm.evidence(nonce)
        self.verify(vm_attestation(e), roots=tpm.path("ak-root.pem"))
        key = self.file(ev.run("openssl", "x509", "-in", tpm.path("ak-cert.pem"), "-noout", "-pubkey"), "ak.pub")
        for bank, q in e.quotes.items():
            ev.run("tpm2_checkquote", "-u", key, "-m", self.file(q["quote"], "m"), "-s", self.file(q["signature"], "s"),
                   "-q", nonce.hex(), "-g", "sha256")
            value = bytes(hashlib.new(bank).digest_size)
            for event in ev.GOOD_EVENTS:
                value = ev.extend(bank, value, hashlib.new(bank, ev.content_tlv(event)).digest())
            self.assertEqual(value, q["pcrs"][13], bank)
        self.verify(vm_attestation(e), AK_CHAIN)

    def test_from_standard_input_and_for_people(self):
        data = json.dumps(vm_attestation(self.good())).encode()
        out = self.run_it("--evidence", "-", "--nonce", CHALLENGE.hex(), "--ak-roots", World.ca.pem, input=data).stdout
        for words in (b"verdict: good (evidence)", b"not checked\n  what was launched", b'"dbgstat": "disabled-since-boot"'):
            self.assertIn(words, out)
        out = self.run_it("--evidence", "-", "--nonce", "00", "--ak-roots", World.ca.pem, input=data, status=2).stdout
        for words in (b"verdict: refused", b"reasons\n  TL1014 ", b"         -> ", b"nobody vouches for it"):
            self.assertIn(words, out)
        self.assertTrue(all(0x20 <= c < 0x7F or c == 0x0A for c in out))


class RefusesEvidence(EvidenceCase):
    def test_another_nonce(self):
        got = self.verify(vm_attestation(self.good()), NONCE, nonce=b"other")
        self.assertEqual(len(got["reasons"]), 3)  # the document says so, and the quote of each bank
        # the raw challenge in the quote, as a verifier's request has it, is not bound to the socket
        self.verify(vm_attestation(World.paper.evidence(CHALLENGE)), NONCE)
        self.verify(vm_attestation(self.good(), label=ev.b64(b"OTHER")), NONCE)

    def test_another_root(self):
        self.verify(vm_attestation(self.good()), AK_CHAIN, roots=World.foreign_ca.pem)

    def test_a_changed_register(self):
        for pcr, codes in ((0, {PCR_DIGEST, FIRMWARE_REPLAY}), (13, {PCR_DIGEST, LAUNCH_REPLAY}), (23, {PCR_DIGEST})):
            def change(e, i=pcr):
                values = e.quotes["sha256"]["pcrs"]
                values[i] = ev.flip(values[i], 3)
            self.changed(change, *codes)

    def test_a_changed_byte_of_a_log(self):
        size = len(self.good().launch)
        for at in (0, size // 2, size - 1):
            e = self.good().copy()
            e.launch = ev.flip(e.launch, at)
            done = self.run_it(*self.options(vm_attestation(e)), "--json", status=2)
            codes = {r["code"] for r in json.loads(done.stdout)["reasons"]}
            self.assertTrue(codes & {LAUNCH_LOG, LAUNCH_REPLAY}, codes)
        self.changed(lambda e: setattr(e, "firmware", ev.flip(e.firmware, 5)), FIRMWARE_LOG)
        at = self.good().firmware.index(hashlib.sha256(bytes(4)).digest())
        self.changed(lambda e: setattr(e, "firmware", ev.flip(e.firmware, at)), FIRMWARE_REPLAY)

    def test_a_quote_of_another_machine(self):
        other = ev.Paper(World.dir, World.ca, World.paper.banks, ev.make_key(path("other.key")))
        foreign = other.evidence(socket_nonce(CHALLENGE))
        self.changed(lambda e: setattr(e, "quotes", foreign.quotes), SIGNATURE)
        self.verify(vm_attestation(foreign))

    def test_all_reasons_at_once(self):
        def change(e):
            e.quotes["sha256"]["pcrs"][13] = ev.flip(e.quotes["sha256"]["pcrs"][13], 0)
        self.changed(change, NONCE, AK_CHAIN, PCR_DIGEST, LAUNCH_REPLAY, nonce=b"x", roots=World.foreign_ca.pem)

    def test_what_is_no_evidence_is_malformed(self):
        good = vm_attestation(self.good())
        quote = good["quote"]["tpmQuote"]
        for document in ("", "[]", "{", "{}", "[" * 200000, {"quote": {}}, dict(good, more=1), dict(good, label="!"),
                         {"quote": {"tdxCcelQuote": {}}}, {"quote": {"tpmQuote": dict(quote, quotes=[])}},
                         {"quote": {"tpmQuote": dict(quote, quotes=quote["quotes"] * 2)}},
                         {"quote": {"tpmQuote": {k: v for k, v in quote.items() if k != "celLaunchEventLog"}}},
                         {"quote": {"tpmQuote": dict(quote, celLaunchEventLog="x" * (3 << 20))}},
                         {"tpmAttestation": {}}, {"tdCcel": {}}, '{"quote": 1, "quote": 2}'):
            done = self.run_it(*self.options(document), "--json", status=3)
            self.assertEqual(done.stdout, b"")
            self.assertRegex(done.stderr.decode(), r"^teelaunch verify: TL10\d\d: ")

    def test_a_report_that_nobody_here_judges_is_not_passed_over(self):
        e = World.paper.evidence(CHALLENGE)
        body = {"tpmAttestation": e.tpm_attestation()}
        self.verify(body)
        for more in ({}, {"tokenOptions": {}}):
            done = self.run_it(*self.options({**body, **more, "sevSnpAttestation": {"report": "AA=="}}), status=3)
            self.assertRegex(done.stderr.decode(), "TL1002: 'sevSnpAttestation'")

    def test_wrong_use(self):
        file = self.file(vm_attestation(self.good()))
        base = ["--evidence", file, "--nonce", CHALLENGE.hex(), "--ak-roots", World.ca.pem]
        for options in ((), base[:2], base[:4], base + ["--token", file], base + ["--audience", "x"],
                        base + ["--jwks", file], ["--token", file], base[:2] + ["--nonce", "0"] + base[4:],
                        base[:2] + ["--nonce", "xy"] + base[4:], ["--evidence", "/none"] + base[2:],
                        base[:4] + ["--ak-roots", "/none"], base + ["--expect", "/none"], base + ["more"]):
            done = self.run_it(*options, status=1)
            self.assertEqual(done.stdout, b"")
            self.assertTrue(done.stderr)
        self.run_it(*base[:4], "--ak-roots", file, status=3)


class HeldAgainstExpectations(EvidenceCase):
    def prediction(self, events=None, holes=False):
        """teelaunch's words for the events, checked by measure.py; here only what it is compared with."""
        events = ev.GOOD_EVENTS if events is None else events
        values = {b: World.paper.pcrs(b, (), events)[13].hex() for b in World.paper.banks}
        texts = {t: [c.decode() for k, c in events if k == t] for t in range(10)}
        env = dict(e.split("=", 1) for e in texts[5])
        container = {"image_reference": texts[0][0], "image_digest": texts[1][0], "restart_policy": texts[2][0],
                     "image_id": texts[3][0], "args": texts[4], "env": env, "cmd_override": texts[6],
                     "env_override": dict(e.split("=", 1) for e in texts[7])}
        return {"schema": "teelaunch.measure/1", "pcr13": None if holes else values,
                "claims": {"submods": {"container": container}}}

    def difference(self, change, name, found):
        want = self.prediction()
        change(want)
        got = self.verify(vm_attestation(self.good()), "TL1032", expect=[want])
        self.assertEqual(len(got["reasons"]), 1, got["reasons"])
        self.assertTrue(got["reasons"][0]["message"].startswith(name + ": expected "), got["reasons"])
        self.assertIn("found " + found, got["reasons"][0]["message"])

    def test_a_prediction_that_came_true(self):
        got = self.verify(vm_attestation(self.good()), expect=[self.prediction()])
        self.assertEqual(len(got["unchecked"]), 1)

    def test_each_difference_is_named(self):
        def container(want):
            return want["claims"]["submods"]["container"]
        self.difference(lambda w: w["pcr13"].update(sha256="00" * 32), "PCR 13 of bank sha256", "")
        self.difference(lambda w: container(w).update(image_digest="x"), "image_digest", '"sha256:abab')
        self.difference(lambda w: container(w).update(args=[]), "args", '["/hello"')
        self.difference(lambda w: container(w)["env"].update(PATH="/x"), "env.PATH", '"/bin"')
        self.difference(lambda w: container(w)["env"].update(MORE=""), "env.MORE", "nothing")
        self.difference(lambda w: container(w)["env"].pop("GREETING"), "env.GREETING", '"hi=there"')
        self.difference(lambda w: container(w).update(env_override={}), "env_override.GREETING", '"hi=there"')
        got = self.verify(vm_attestation(self.good()), "TL1032", expect=[dict(self.prediction(), pcr13={"sha512": "00"})])
        self.assertIn("no bank", got["reasons"][0]["message"])

    def test_another_launch_differs_in_all_that_differs(self):
        events = [(0, b"r.example/other:1"), *ev.GOOD_EVENTS[1:4], (4, b"/other"), *ev.GOOD_EVENTS[6:]]
        got = self.verify(vm_attestation(self.good()), "TL1032", expect=[self.prediction(events)])
        names = sorted(r["message"].partition(":")[0] for r in got["reasons"])
        self.assertEqual(names, ["PCR 13 of bank sha256", "PCR 13 of bank sha384", "args", "image_reference"])

    def test_a_host_name_that_was_not_predicted_is_not_compared(self):
        e = World.paper.evidence(socket_nonce(CHALLENGE), events=[*ev.GOOD_EVENTS[:-2], (5, b"HOSTNAME=vm-7"),
                                                                 *ev.GOOD_EVENTS[-2:]])
        self.verify(vm_attestation(e), expect=[self.prediction(holes=True)])
        self.verify(vm_attestation(e), "TL1032", expect=[self.prediction()])

    def test_the_vm_image(self):
        e = World.paper.evidence(socket_nonce(CHALLENGE), boot=vi.boot("production"))
        got = self.verify(vm_attestation(e), expect=[vi.reference("production"), self.prediction()])
        self.assertEqual(got["unchecked"], [])
        self.assertTrue(got["claims"]["submods"]["teelaunch_image"]["known"])
        self.verify(vm_attestation(self.good()), IMAGE_LOG, IMAGE, expect=[vi.reference("production")])

    def test_expectations_that_are_none(self):
        good = self.options(vm_attestation(self.good()))
        for content in ("", "[]", {}, {"schema": "x"}, {"schema": "teelaunch.measure/1"},
                        {"schema": "teelaunch.image-measurements/1"}, "[" * 200000):
            done = self.run_it(*good, "--expect", self.file(content, "expect"), status=3)
            self.assertIn(b"TL1027", done.stderr)
        both = ["--expect", self.file(self.prediction(), "expect")] * 2
        self.run_it(*good, *both, status=3)


class TokenCase(Case):
    def options(self, text, jwks=None, audience="https://reader.example"):
        return ["--token", self.file(text), "--jwks", self.file(jwks or World.jwks, "jwks"), "--audience", audience]

    def verify(self, text, *codes, **options):
        return self.judged(*self.options(text, **options), codes=codes)


class Tokens(TokenCase):
    def test_good_ones_of_each_algorithm(self):
        for kid in World.keys:
            got = self.verify(token(kid) + "\n")
            self.assertEqual(got["claims"]["iss"], ISSUER)
        for kid in "re":  # openssl says the same
            self.assertEqual(token_check.check(token(kid), World.jwks)["iss"], ISSUER)
        self.verify(token(aud=["x", "https://reader.example"]))
        document = self.judged("--token", path("input"), "--jwks", path("jwks"))
        self.assertEqual(len(document["unchecked"]), 3)
        self.verify(token(header={"kid": None}), jwks={"keys": [jwk("r")]})

    def test_a_debug_machine_or_a_surplus_in_the_record_is_not_what_was_predicted(self):
        predicted = {"schema": "teelaunch.measure/1", "pcr13": None, "pcr15": None, "holes": ["tags"],
                     "launch_record": {"hardened": True, "disk": {"mode": "protected"}, "operator": {"a": 1}},
                     "claims": {"submods": {"container": {"image_reference": "x"}}}}
        options = ["--token", path("input"), "--jwks", path("jwks"), "--expect", self.file(predicted, "expect")]

        def judge(dbgstat, change, codes):
            record = json.loads(json.dumps(dict(predicted["launch_record"], known=True)))
            change(record)
            self.file(token(dbgstat=dbgstat, submods={"container": {"image_reference": "x"},
                                                      "launch_record": record}))
            return self.judged(*options, codes=codes)
        self.verify(token())  # writes the keys
        production = "disabled-since-boot"
        got = judge(production, lambda r: None, [])
        self.assertIn("what the prediction leaves open: see its holes", got["unchecked"])
        judge("enabled", lambda r: None, ["TL1032"])
        judge(None, lambda r: None, ["TL1032"])
        judge(production, lambda r: r["operator"].update(privileged=True), ["TL1032"])
        judge(production, lambda r: r.update(more=1), ["TL1032"])
        got = judge(production, lambda r: (r.clear(), r.update(known=False)), [])
        self.assertTrue([u for u in got["unchecked"] if "launch record" in u])

    def test_another_key_or_algorithm(self):
        public = ev.read(World.keys["r"][1] + ".pub")

        def mac(text):
            return hmac.new(public, text, "sha256").digest()
        for bad in (token(header={"alg": "none"}), token(header={"alg": "none"}, signature=lambda t: b""),
                    token(header={"alg": "HS256"}, signature=mac), token(signature=mac),
                    token("p", header={"kid": "r"}), token("p", header={"kid": "r", "alg": "RS256"}),
                    token("e", header={"kid": "r"}), token("r", header={"alg": "PS256"}), token(header={"alg": None}),
                    token(header={"kid": "unknown"}), token(header={"kid": None}), token(header={"kid": 1}),
                    token(header={"crit": ["exp"]}), token("e", signature=lambda t: bytes(64)),
                    token("e", signature=lambda t: sign("e", t.decode())[:-1]), token(signature=lambda t: b"")):
            self.verify(bad, "TL1030")
        self.verify(token(), "TL1030", jwks={"keys": [jwk("e")]})

    def test_a_flipped_bit_anywhere(self):
        text, rng = token(), random.Random(5)
        for at in rng.sample(range(len(text)), 60):
            other = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1:]
            done = subprocess.run([TEELAUNCH, "verify", *self.options(other)], capture_output=True, timeout=30, check=False)
            self.assertIn(done.returncode, (2, 3), at)

    def test_dates_and_audience(self):
        now = int(time.time())
        for bad in (token(exp=now - 1), token(exp=None), token(exp="9999999999"), token(nbf=now + 3600), token(iat=now + 3600),
                    token(iat=None), token(iat=-1), token(aud="other"), token(aud=None), token(aud=[]), token(iss=None)):
            self.verify(bad, "TL1031")
        self.verify(token(iat=now + 20, nbf=now + 20))

    def test_all_reasons_at_once(self):
        got = self.verify(token("e", header={"kid": "r"}, exp=1, nbf=1 << 37, aud="other"), "TL1030", "TL1031")
        self.assertEqual(len(got["reasons"]), 4)
        self.assertEqual(got["refused_claims"]["aud"], "other")

    def test_a_prediction(self):
        want = {"schema": "teelaunch.measure/1", "pcr13": None,
                "claims": {"submods": {"container": {"image_digest": "sha256:" + "ab" * 32}}}}
        options = self.options(token())
        self.judged(*options, "--expect", self.file(want, "expect"))
        want["claims"]["submods"]["container"]["image_digest"] = "sha256:" + "cd" * 32
        self.judged(*options, "--expect", self.file(want, "expect"), codes=["TL1032"])
        self.run_it(*options, "--expect", vi.stored("production.measurements.json"), status=1)

    def test_what_is_no_token_or_key_set_is_malformed(self):
        for text in ("", "a", "a.b", "a.b.c", "e30.e30", "e30.e30.!", "e30.WzFd.AA", "." * 2, "e30=.e30.AA",
                     token() + ".x", b64url(b"{\"a\":1,\"a\":2}") + ".e30.AA", b64url(b"[" * 3000) + ".e30.AA", "x" * (1 << 20)):
            done = self.run_it(*self.options(text), status=3)
            self.assertIn(b"TL0807", done.stderr)
            if len(text) > 8:  # it may be a token all the same
                self.assertNotIn(text.encode()[:64], done.stderr)
        for keys in ("{", {}, {"keys": []}, {"keys": [{"kty": "oct", "k": "AA"}]},
                     {"keys": [dict(jwk("r"), use="enc")]}, {"keys": [dict(jwk("r"), alg="RS512")]}):
            self.run_it("--token", self.file(token()), "--jwks", self.file(keys, "jwks"), status=3)

    def test_key_sets_by_url(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802  pylint: disable=invalid-name
                body = json.dumps(World.jwks).encode() if self.path == "/jwks" else b"x" * (300 << 10)
                self.send_response(404 if self.path == "/none" else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass
        tls = ev.Authority(World.dir, "tls-ca")
        cert = self.file(ev.run("openssl", "x509", "-inform", "DER", data=tls.issue(
            ev.make_key(path("tls.key")) + ".pub", kind="tls")), "tls.pem")
        urls = []
        for is_tls in (False, True):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            if is_tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(cert, path("tls.key"))
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            urls.append("http%s://127.0.0.1:%d" % ("s" if is_tls else "", server.server_port))
        base = ["--token", self.file(token()), "--jwks"]
        self.judged(*base, urls[0] + "/jwks")
        self.judged(*base, urls[1] + "/jwks", "--jwks-roots", tls.pem)
        self.run_it(*base, urls[1] + "/jwks", status=1)
        for bad in (urls[0] + "/none", urls[0] + "/large"):
            self.run_it(*base, bad, status=1)
        for bad in ("http://127.0.0.1.example/jwks", "http://localhost/jwks", "http://x@127.0.0.1/jwks", "http://192.0.2.1/"):
            done = self.run_it(*base, bad, status=1)
            self.assertRegex(done.stderr.decode(), "TL0015|TL0013")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tl-verify-") as directory:
        World.start(directory)
        unittest.main(verbosity=2)
