#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prediction equals observation: what `teelaunch measure` says beforehand is what the TPM holds after the
launch (tpm2_pcrread), what the verifier's token says (signature checked by openssl), and what hashlib
computes from attributes and image. `teelaunch verify` then accepts the evidence and the token of the
same launch against that prediction, and so does code that isn't ours."""
import base64
import json
import os
import re
import signal
import socket
import subprocess

import launch_case
import measured
import parts
import token_check

BANKS = ("sha1", "sha256", "sha384")
HOSTNAME = socket.gethostname()
# The launches of test_launch_measured, and of the exits.
MATRIX = (
    {},
    {"cmd": '["exit=0"]'},
    {"env_HELLO_NAME": "x=y z", "env_HELLO_EXIT": ""},
    {"cmd": '["", "\u00e4", "it\'s \\\\ \\n", "exit=0"]', "env_HELLO_EXIT": "0", "env_HELLO_NAME": "b'\\"},
    {"restart_policy": "OnFailure"},
)


class Claims(dict):
    """A token's claims as a condition sees them: members by dots."""

    def __getattr__(self, name):
        value = self[name]
        return Claims(value) if isinstance(value, dict) else value


def condition_holds(condition, claims):
    """By Python: string, list and map literals, == and the dots mean the same in both languages."""
    return all(eval(term, {"__builtins__": {}, "assertion": Claims(claims)})  # pylint: disable=eval-used
               for term in re.split(r"\n&& ", condition))


class Predicted(launch_case.LaunchCase):
    images = ("demo/hello:1", "demo/strict:1")

    def run_tool(self, *arguments, status=0, **more):
        done = subprocess.run([os.path.join(self.world.programs, "teelaunch"), *arguments], capture_output=True,
                              timeout=60, check=False, **more)
        self.assertEqual(done.returncode, status, done.stderr.decode() + done.stdout.decode())
        return done

    def predict(self, attributes, image, *options, status=0):
        file = self.world.path("attributes.json")
        parts.write(file, json.dumps(attributes))
        return json.loads(self.run_tool("measure", "--attributes", file, "--image", image, "--json", *options,
                                        status=status).stdout)

    def layout(self, name="demo/hello:1"):
        return "oci:%s:%s" % (self.world.images.layout, re.sub("[/:]", "-", name))

    def assert_predicted(self, launch, attributes, want):
        """Field by field: registers, events, log, claims."""
        events = measured.events(attributes, self.world.images.inspect("demo/hello:1"))
        self.assertEqual([(e["type"], base64.b64decode(e["content_b64"])) for e in want["events"]], events)
        self.assertEqual(want["pcr13"], {b: self.world.tpm.pcr(13, b) for b in BANKS})
        self.assertEqual(want["pcr13"], {b: measured.register(events, b) for b in BANKS})
        self.assertEqual(want["rtmr3"], measured.register(events, "sha384"))
        claims = token_check.check(launch.token, self.world.verifier.get("/.well-known/jwks.json"))
        container = claims["submods"]["container"]
        self.assertEqual(want["claims"]["submods"]["container"], container)
        self.assertEqual(want["holes"], [])
        self.assertTrue(condition_holds(want["condition"], claims))
        return claims

    def test_the_matrix(self):
        for keys in MATRIX:
            attributes = self.world.attributes(container_log_redirect="true", **keys)
            want = self.predict(attributes, self.layout(), "--hostname", HOSTNAME)
            launch = self.world.launch(attributes)
            self.assert_end(launch, 0, "success")
            claims = self.assert_predicted(launch, attributes, want)
            for other in MATRIX:
                if other != keys:
                    foreign = self.predict(self.world.attributes(**other), self.layout(), "--hostname", HOSTNAME)
                    self.assertNotEqual(foreign["pcr13"], want["pcr13"])
                    self.assertFalse(condition_holds(foreign["condition"], claims), other)
            self.note("predicted: %2d events, 3 banks of PCR 13, %d claims: %s", len(want["events"]),
                      len(want["claims"]["submods"]["container"]), keys)


if __name__ == "__main__":
    launch_case.main()
