# SPDX-License-Identifier: Apache-2.0
"""What verifier_bench is given: evidence of each kind of attestation key, and a key of each kind for the token."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import verifier_evidence as ev  # noqa: E402

KEYS = {"P-256": (), "RSA 2048": ("-algorithm", "RSA")}


def cases(folder):
    """(kind of attestation key, token's algorithm, banks, the arguments of verifier_bench but the last)"""
    ca = ev.Authority(folder, "ca")
    for ak, make_ak in KEYS.items():
        for token, make_token in KEYS.items():
            for banks in (("sha256",), ("sha1", "sha256", "sha384")):
                if (ak != "P-256" or token != "P-256") and len(banks) > 1:
                    continue
                paper = ev.Paper(folder, ca, banks, ev.make_key(os.path.join(folder, "ak.key"), *make_ak))
                body = ev.write(os.path.join(folder, "body"), json.dumps(
                    {"tpmAttestation": paper.evidence(b"\5" * 32).tpm_attestation()}))
                key = ev.make_key(os.path.join(folder, "token.key"), *make_token)
                yield ak, "ES256" if token == "P-256" else "RS256", banks, (body, "05" * 32, ca.pem, key)
