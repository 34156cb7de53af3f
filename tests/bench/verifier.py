#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Verifications a second and core of teeverifierd's checks, by kind of attestation key and token key.

    /usr/bin/python3 -B tests/bench/verifier.py [RUNS]

With verifier_bench of build/, or of $TL_BENCH. What it prints is what docs/PERFORMANCE.md shows.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import verifier_evidence as ev  # noqa: E402

BENCH = os.environ.get("TL_BENCH", os.path.join(HERE, "..", "..", "build", "tests", "verifier_bench"))
KEYS = {"P-256": (), "RSA 2048": ("-algorithm", "RSA")}


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| attestation key | token | banks | verifications a second and core (median of 5) |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
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
                    rates = [float(subprocess.run([BENCH, body, "05" * 32, ca.pem, key, str(runs)], check=True,
                                                  stdout=subprocess.PIPE).stdout) for _ in range(5)]
                    print("| %s | %s | %s | %.0f (%.0f to %.0f) |" % (
                        ak, "ES256" if token == "P-256" else "RS256", ", ".join(banks),
                        statistics.median(rates), min(rates), max(rates)))


if __name__ == "__main__":
    main()
