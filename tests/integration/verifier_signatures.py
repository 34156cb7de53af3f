#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd and the signatures of images: good ones become claims that openssl agrees with, all others
are dropped and said.

verifier_signatures.py BINARY [unittest arguments]
"""
import base64
import json
import os
import sys
import tempfile
import unittest

import verifier
import verifier_evidence as ev
import signatures
from signatures import Signer

IMAGE = "sha256:" + "ab" * 32  # of verifier_evidence's launch
OTHER = "sha256:" + "cd" * 32


class World(verifier.World):
    """The verifier's test world without its TPM: evidence is on paper."""

    @classmethod
    def start(cls, folder, binary):
        verifier.World.dir, verifier.World.binary = folder, binary
        verifier.World.ca = ev.Authority(folder, "paper-ca")
        cls.paper = ev.Paper(folder, verifier.World.ca)
        tls = ev.Authority(folder, "tls-ca")
        ev.write(verifier.path("tls.pem"), ev.run(
            "openssl", "x509", "-inform", "DER",
            data=tls.issue(ev.make_key(verifier.path("tls.key")) + ".pub", kind="tls")))
        ev.write(verifier.path("tls-ca.pem"), ev.read(tls.pem))
        ev.secret(verifier.path("challenge.key"), os.urandom(32))
        cls.daemon = verifier.Daemon("signatures", [ev.make_key(verifier.path("ecc.key"))], [])
        cls.signers = [Signer(folder, name, name) for name in signatures.ALGORITHMS]


class Signatures(unittest.TestCase):
    def ask(self, pairs, verb="verifyConfidentialSpace"):
        """(claim or None, partial errors) for (payload, signature) pairs."""
        name, nonce = World.daemon.challenge()
        entities = [{"containerImageSignatures": [{"payload": ev.b64(p), "signature": ev.b64(s)}
                                                  for p, s in pairs]}]
        fields = {"signedEntities": entities} if verb == "verifyConfidentialSpace" else \
            {"confidentialSpaceInfo": {"signedEntities": entities}}
        status, body = World.daemon.verify(name, World.paper.evidence(nonce), verb, **fields)
        self.assertEqual(status, 200, body)
        token = body.get("attestationToken") or body["oidcClaimsToken"]
        claims = verifier.b64url(token.split(".")[1])
        container = json.loads(claims)["submods"]["container"]
        return container.get("image_signatures"), [e["message"] for e in body.get("partialErrors", [])]

    def dropped(self, why, payload, signature):
        claim, errors = self.ask([(payload, signature)])
        self.assertIsNone(claim)
        self.assertEqual(len(errors), 1, errors)
        self.assertIn(why, errors[0])
        self.assertTrue(errors[0].startswith("image signature 1 is dropped: "), errors[0])

    def test_each_algorithm_becomes_a_claim(self):
        signed = [(s, *s.signature(IMAGE)) for s in World.signers]
        expect = signatures.claims(*((s, sig) for s, _, sig in signed))
        for verb in ("verifyConfidentialSpace", "verifyAttestation"):
            for order in (signed, signed[::-1], signed * 2):
                claim, errors = self.ask([(p, sig) for _, p, sig in order], verb)
                self.assertEqual((claim, errors), (expect, []))
        self.assertEqual([c["key_id"] for c in expect], sorted(c["key_id"] for c in expect))
        self.assertEqual(len({c["signature_algorithm"] for c in expect}), 3)

    def test_rsa_of_4096_bits_and_a_padded_key(self):
        for algorithm in ("RSASSA_PSS_SHA256", "RSASSA_PKCS1V15_SHA256"):
            signer = Signer(verifier.World.dir, "large", algorithm,
                            ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"))
            payload, sig = signer.signature(IMAGE, pub=base64.b64encode(signer.pem).decode())
            self.assertEqual(self.ask([(payload, sig)]), (signatures.claims((signer, sig)), []))

    def test_what_is_no_signature_of_this_image_by_this_key_is_dropped(self):
        ecc, pss, pkcs = World.signers
        other = Signer(verifier.World.dir, "other", "ECDSA_P256_SHA256")
        good, sig = ecc.signature(IMAGE)
        self.dropped("doesn't fit", good, other.sign(good))
        self.dropped("doesn't fit", good, ev.flip(sig, len(sig) - 1))
        self.dropped("doesn't fit", good, b"")
        self.dropped("doesn't fit", good + b" ", sig)
        self.dropped("another image", *ecc.signature(OTHER))
        # An attacker's own key is a good signature, but by that key: the claim says which.
        self.assertEqual(self.ask([other.signature(IMAGE)])[0][0]["key_id"], other.key_id)
        for signer in (pss, pkcs):
            wrong = {pss: pkcs, pkcs: pss}[signer].algorithm
            self.dropped("doesn't fit", *signer.signature(IMAGE, sigalg=wrong))

    def test_keys_that_cannot_be_used(self):
        ecc = World.signers[0]
        self.dropped("no public key", *ecc.signature(IMAGE, pub=None))
        self.dropped("no algorithm", *ecc.signature(IMAGE, sigalg=None))
        self.dropped("algorithm is unknown", *ecc.signature(IMAGE, sigalg="ECDSA_P384_SHA384"))
        self.dropped("not one for its algorithm", *ecc.signature(IMAGE, sigalg="RSASSA_PSS_SHA256"))
        self.dropped("not base64", *ecc.signature(IMAGE, pub="%%%"))
        self.dropped("not one in PEM", *ecc.signature(IMAGE, pub="YWJj"))
        private = base64.b64encode(ev.read(ecc.key)).decode()
        self.dropped("not one in PEM", *ecc.signature(IMAGE, pub=private))
        locked = ev.run("openssl", "pkey", "-in", ecc.key, "-aes128", "-passout", "pass:x", "-traditional")
        self.dropped("not one in PEM", *ecc.signature(IMAGE, pub=base64.b64encode(locked).decode()))
        for number, key in enumerate((("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"),
                                      ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1536"))):
            weak = Signer(verifier.World.dir, "weak%d" % number, "RSASSA_PKCS1V15_SHA256", key)
            self.dropped("not one for its algorithm", *weak.signature(IMAGE))
        curve = Signer(verifier.World.dir, "curve", "ECDSA_P256_SHA256",
                       ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"))
        self.dropped("not one for its algorithm", *curve.signature(IMAGE))

    def test_good_ones_stay_among_many_bad_ones(self):
        ecc = World.signers[0]
        good = ecc.signature(IMAGE)
        junk = [(b'{"n": %d}' % i, b"x") for i in range(20)]
        claim, errors = self.ask([*junk[:10], good, *junk[10:]])
        self.assertEqual(claim, signatures.claims((ecc, good[1])))
        self.assertEqual(len(errors), 9)
        self.assertEqual(errors[-1], "and 12 more image signatures are dropped")
        log = ev.read(World.daemon.log).decode()
        self.assertRegex(log, "verdict=accepted.* signatures=1 signatures_dropped=20 signature_problem='image")

    def test_the_most_signatures_there_can_be(self):
        ecc = World.signers[0]
        payloads = [ecc.payload(IMAGE, number=str(i)) for i in range(129)]
        one = ecc.sign(payloads[0])
        claim, errors = self.ask([(p, one) for p in payloads[:128]])
        self.assertEqual((len(claim), len(errors)), (1, 9))
        name, nonce = World.daemon.challenge()
        status, body = World.daemon.verify(name, World.paper.evidence(nonce), signedEntities=[
            {"containerImageSignatures": [{"payload": ev.b64(p), "signature": ev.b64(one)} for p in payloads]}])
        self.assertEqual(status, 400)
        self.assertIn("TL1001", body["error"]["message"])


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        World.start(folder, binary)
        try:
            result = unittest.main(verbosity=1, exit=False).result
        finally:
            code = World.daemon.stop()
    sys.exit(not result.wasSuccessful() or code != 0)


if __name__ == "__main__":
    main()
