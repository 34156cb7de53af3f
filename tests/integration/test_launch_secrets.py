#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""No secret in any output: canary values are put wherever a secret can be, then every file that the
launch and the world wrote is searched for them, plain and in base64."""
import base64
import json
import os

import launch_case
import metadata
import token_check

VALUE = "canary-variable-value"
EMPTY_DENIED = "canary-denied-value"
API_KEY = "canary-api-key"
# Files in which a secret has its place.
KEPT = ("attributes.json", "behaviour.json", "identity.key", "ca.key", "key.pem", "token-rs256.pem",
        "token-es256.pem")


class Secrets(launch_case.LaunchCase):
    def assert_nowhere(self, secrets, launch):
        forms = {}
        for name, secret in secrets.items():
            raw = secret.encode()
            forms[raw] = name
            for skip in range(3):  # base64 of the secret at any offset; its ends depend on the neighbours
                forms[base64.b64encode(b"\0" * skip + raw)[4:-4]] = name + " in base64"
        searched = 0
        for path, folders, files in os.walk(self.world.folder):
            # containerd's own storage holds the container's specification, as it must
            folders[:] = [f for f in folders if os.path.join(path, f) not in (
                self.world.containerd.root, self.world.path("images"), self.world.path("tpm"),
                self.world.path("registry", "data"))]
            for name in files:
                if name in KEPT or not os.path.isfile(os.path.join(path, name)):
                    continue
                with open(os.path.join(path, name), "rb") as f:
                    text = f.read()
                searched += 1
                for form, what in forms.items():
                    self.assertNotIn(form, text, "%s in %s" % (what, os.path.join(path, name)))
        self.assertTrue(launch.stderr)
        return searched

    def test_an_allowed_launch_tells_no_secret(self):
        keys = {"env_HELLO_SECRET": VALUE, "cmd": '["exit=3"]', "container_log_redirect": "true"}
        attributes = dict(self.world.attributes(**keys), **{"ita-api-key": API_KEY, "ita-region": "US"})
        launch = self.world.launch(attributes, options=["--log-level", "debug"])
        self.assert_end(launch, 1, "workload")
        self.assertFalse(launch.token)  # there is no token file with Intel Trust Authority
        self.assert_nowhere({"a variable's value": VALUE, "an API key": API_KEY}, launch)
        for words in (" Cmd:[[REDACTED]] ", " Envs:[{Name:HELLO_SECRET Value:[REDACTED]}] ",
                      " ITAConfig:{ITARegion:US ITAKey:%s} " % ("*" * len(API_KEY))):
            self.assertIn(words, launch.console)
        launch = self.world.launch(self.world.attributes(**keys), options=["--log-level", "debug"])
        self.assert_end(launch, 1, "workload")
        self.assertTrue(launch.token)
        n = self.assert_nowhere({"a variable's value": VALUE, "the token": launch.token,
                                 "the signature of the token": launch.token.split(".")[2],
                                 "the access token": metadata.ACCESS_TOKEN, "an API key": API_KEY}, launch)
        self.note("variable, token, access token and API key: in none of %d files", n)
        claims = json.loads(token_check.unbase64url(launch.token.split(".")[1]))
        self.assertIn(metadata.ACCOUNT, claims["google_service_accounts"])
        for told in (metadata.ACCOUNT, "google_service_accounts", "eat_profile", "oemid"):
            self.assertNotIn(told, launch.console + launch.stderr)

    def test_identity_tokens_are_told_nowhere(self):
        fixed = metadata.identity_token(self.world.metadata.folder, "canary-audience")
        self.world.metadata.behave({"path": "instance/service-accounts/default/identity", "status": 200,
                                    "body": fixed})
        launch = self.world.launch(self.world.attributes(), options=["--log-level", "debug"])
        self.assertNotEqual(launch.report["result"], "success", "a token for somebody else was accepted")
        self.world.metadata.behave()
        n = self.assert_nowhere({"the identity token": fixed.split(".")[2]}, launch)
        self.note("identity token for another audience: refused, in none of %d files (%s)", n,
                  launch.report["code"])

    def test_denied_values_are_not_quoted(self):
        for keys in ({"env_FORBIDDEN": EMPTY_DENIED}, {"env_bad-name": EMPTY_DENIED},
                     {"cmd": json.dumps([EMPTY_DENIED]), "env_X": EMPTY_DENIED}):
            launch = self.world.launch(self.world.attributes("demo/strict:1", **keys))
            self.assert_end(launch, 1, "denied")
            n = self.assert_nowhere({"a variable's value": EMPTY_DENIED}, launch)
            self.note("denied %s: its value in none of %d files", sorted(keys), n)


if __name__ == "__main__":
    launch_case.main()
