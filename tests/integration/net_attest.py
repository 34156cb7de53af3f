#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Metadata, TPM, verifier client and token file against the local world: teeverifierd checks all of it.

net_attest.py NET_ATTEST TEEVERIFIERD
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import metadata as world_metadata  # noqa: E402
import token_check  # noqa: E402
import verifier as world_verifier  # noqa: E402
import world  # noqa: E402


class Machine:
    def __init__(self, folder, tool, programs):
        self.folder, self.tool = folder, tool
        self.tpm = world.Tpm(os.path.join(folder, "tpm"))
        self.tpm.start()
        try:
            self.metadata = world_metadata.Metadata(os.path.join(folder, "metadata"), True).start()
            self.verifier = world_verifier.Verifier(
                os.path.join(folder, "verifier"), programs, True,
                self.tpm.file("ak-root.pem"), self.metadata.jwks).start()
        except BaseException:
            self.tpm.stop()
            raise

    def stop(self):
        self.verifier.stop()
        self.metadata.process.stop()
        self.tpm.stop()

    def launch(self):
        """Power cycle, so that nothing is measured yet; the tool's lines."""
        self.tpm.reset()
        done = subprocess.run(
            [self.tool, self.metadata.host, self.verifier.url, self.verifier.ca, self.tpm.tcti,
             self.tpm.file("binary_bios_measurements"), self.folder],
            capture_output=True, timeout=60, check=False)
        assert b"canary" not in done.stdout + done.stderr, done
        return done.stdout.decode().splitlines()

    def claims(self, name):
        with open(os.path.join(self.folder, name, "attestation_verifier_claims_token"),
                  encoding="ascii") as f:
            token = f.read()
        return token_check.check(token, self.verifier.get("/.well-known/jwks.json"))


def check_good(machine):
    assert machine.launch() == ["ok 1", "ok 1"], "no token"
    for name in ("a", "b"):
        claims = machine.claims(name)
        assert claims["aud"] == "https://sts.googleapis.com", claims
        container = claims["submods"]["container"]
        assert container["image_reference"] == "127.0.0.1:5000/demo/hello:1", container
        assert container["args"] == ["/hello"], container
        with open(os.path.join(machine.folder, name, "token.status"), encoding="ascii") as f:
            status = json.load(f)
        assert status["expires_at"] == claims["exp"] and status["state"] == "valid", status


def check_faults(machine):
    paths = "instance/service-accounts/default/"
    machine.metadata.behave({"path": paths, "from": 1, "to": 2, "status": 503})
    assert machine.launch() == ["ok 1", "ok 1"], "faults of the metadata server"
    machine.metadata.behave({"path": paths + "identity", "status": 404})
    line, = machine.launch()
    assert line.startswith("TL0203 denied ") and paths + "identity" in line, line
    machine.metadata.behave()
    # Another machine's identity: refused by the verifier, in its own words.
    machine.metadata.behave({"path": paths + "identity", "status": 200, "body": "e30.e30.c2ln"})
    line, = machine.launch()
    assert line.startswith("TL0804 denied ") or line.startswith("TL0805 denied "), line
    machine.metadata.behave()
    machine.verifier.stop()
    line, = machine.launch()
    assert line.startswith("TL0008 retry no token in "), line


def main():
    tool, daemon = (os.path.abspath(a) for a in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(folder, tool, os.path.dirname(daemon))
        try:
            check_good(machine)
            check_faults(machine)
        finally:
            machine.stop()
    print("ok")


if __name__ == "__main__":
    main()
