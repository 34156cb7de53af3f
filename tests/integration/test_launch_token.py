#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The token while the workload runs: fresh as long as the verifier gives one, an honest word when it
doesn't, fresh again within a minute of its return; and gone with the workload."""
import json
import os
import signal
import time

import launch_case
import parts
import token_check

LIFE_S = 8
NAME = "attestation_verifier_claims_token"


class Token(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def tearDown(self):
        if self.launch.is_running():  # a test failed half-way
            self.end(self.launch)
        self.world.verifier.process.stop()
        self.world.verifier.launch()

    def begin(self, **keys):
        self.world.verifier.process.stop()
        self.world.verifier.launch(token_ttl_s=str(LIFE_S))
        launch = self.world.launch_start(self.world.attributes(cmd='["trap", "sleep=200"]', **keys))
        self.launch = launch.wait_for("event=workload.started")
        return self.launch

    def status(self, launch):
        return json.loads(parts.read(os.path.join(launch.shared, "token.status")))

    def until(self, launch, state, timeout_s):
        begun = time.monotonic()
        parts.wait_until(lambda: self.status(launch)["state"] == state, "token.status says " + state, timeout_s)
        return time.monotonic() - begun

    def claims(self, launch):
        token = parts.read(os.path.join(launch.shared, NAME))
        return token_check.check(token, self.world.verifier.get("/.well-known/jwks.json"))

    def end(self, launch):
        launch.send(signal.SIGTERM)
        launch.wait()
        self.assert_clean(launch)
        return launch.report

    def test_a_token_is_fresh_for_as_long_as_the_verifier_answers(self):
        launch = self.begin()
        first, seen, holes = self.claims(launch), set(), 0
        for _ in range(200):
            claims = self.claims(launch)
            seen.add(claims["iat"])
            holes += claims["exp"] <= time.time()
            time.sleep(0.1)
        last = self.claims(launch)
        self.assertGreaterEqual(len(seen), 3)
        self.assertEqual(holes, 0)
        self.assertEqual({k: v for k, v in first.items() if k not in ("iat", "nbf", "exp", "jti")},
                         {k: v for k, v in last.items() if k not in ("iat", "nbf", "exp", "jti")})
        self.assertIn("successfully refreshed attestation token", launch.stderr)
        report = self.end(launch)
        self.assertEqual(report["token"]["state"], "valid")
        self.assertGreaterEqual(report["token"]["expires_at"], last["exp"])
        self.note("tokens of %d s: %d different ones in 20 s, none expired while it was the last", LIFE_S, len(seen))

    def test_an_outage_is_said_and_its_end_noticed(self):
        launch = self.begin()
        self.world.verifier.process.stop()
        self.until(launch, "stale", 2 * LIFE_S)
        stale = self.status(launch)
        self.until(launch, "expired", 2 * LIFE_S)
        expired = self.status(launch)
        self.world.verifier.launch(token_ttl_s="3600")
        took_s = self.until(launch, "valid", 60)
        self.assertGreater(self.claims(launch)["exp"], time.time() + 3000)
        for status in (stale, expired):
            self.assertEqual(status["schema"], "teelaunch.token-status/1")
            self.assertRegex(status["last_error"]["code"], r"^TL00\d\d$")
            self.assertGreaterEqual(status["attempts"], 1)
            self.assertGreater(status["next_attempt_at"], status["refreshed_at"])
        self.assertIn("event=token.expired", launch.stderr)
        fresh = self.status(launch)
        self.assertEqual((fresh["last_error"], fresh["attempts"]), (None, 0))
        self.end(launch)
        self.note("an outage: stale, then expired (%s); fresh %.0f s after the verifier was back",
                  stale["last_error"]["code"], took_s)

    def test_a_refusal_after_the_first_token_ends_nothing(self):
        """The verifier starts to refuse (other roots): the workload goes on, with a stale token."""
        launch = self.begin()
        other = os.path.join(self.world.folder, "other-root.pem")
        parts.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                  "-keyout", "/dev/null", "-out", other, "-subj", "/CN=other", "-days", "2")
        self.world.verifier.process.stop()
        self.world.verifier.launch(ak_roots="SWTPM=" + other)
        self.until(launch, "stale", 3 * LIFE_S)
        self.assertRegex(self.status(launch)["last_error"]["code"], r"^TL08\d\d$")
        self.assertTrue(launch.is_running())
        report = self.end(launch)
        self.assertIn(report["token"]["state"], ("stale", "expired"))
        self.note("refused later (%s): the workload goes on", report["token"]["state"])

    def test_no_refresh_where_the_operator_wants_none(self):
        launch = self.begin(disable_gca_refresh="true")
        self.assertEqual(os.listdir(launch.shared), ["teeserver.sock"])  # tokens when asked for, none by itself
        self.end(launch)
        self.note("tee-disable-gca-refresh: no token file, no status")


if __name__ == "__main__":
    launch_case.main()
