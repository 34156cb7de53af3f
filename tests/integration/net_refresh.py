#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The token keeper in real time, against a service that fails once at a refresh: each kind of fault at each
call. The next attempt comes before the token expires, so there is a fresh one before that."""
import base64
import concurrent.futures
import json
import os
import tempfile
import time

from net_verifier import Service, breaks_off, fails_with, hangs, jwt
from net_world import main, probe, respond

LIFE_S = 300  # a refresh at 210 s to 270 s; the next attempt 15 s to 30 s after a failure
FAULTS = {"429": fails_with(429, "slow down", Retry_After="1"), "503": fails_with(503),
          "half a reply": breaks_off, "silence": hangs}
REFRESHED, FAILED = 0, 1


class Refresh(Service):
    def keep(self, step, fault):
        """What one keeper tells: [event, ...]"""
        calls = {"challenge": 0, "verify": 0}

        def answer(server, connection, request):
            name = request.target.partition("?")[0][len("/v1/"):]
            at = "challenge" if name.endswith("/challenges") else "verify" if ":" in name else "location"
            if at in calls:
                calls[at] += 1
                if at == step and calls[at] == 2:
                    return FAULTS[fault](server, connection, request)
            now = int(time.time())
            reply = {"location": {"name": name}, "verify": {"attestationToken": jwt(exp=now + LIFE_S, iat=now)},
                     "challenge": {"name": name + "/c", "tpmNonce": base64.b64encode(b"n").decode()}}
            return respond(connection, 200, json.dumps(reply[at]).encode())
        server = self.serve(answer, "good")
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(folder + "/token")
            return probe("--ca", self.ca, "--try", "2000", "keep", server.url, folder + "/token", LIFE_S + 15,
                         timeout_s=LIFE_S + 60)

    def test_s36_a_fault_at_a_refresh_leaves_a_fresh_token_before_expiry(self):
        cases = [(step, fault) for step in ("challenge", "verify") for fault in FAULTS]
        with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
            results = list(pool.map(lambda case: self.keep(*case), cases))
        for case, events in zip(cases, results):
            with self.subTest("%s at %s" % case[::-1]):
                self.assertEqual([(e["event"], e["state"]) for e in events],
                                 [(FAILED, "stale"), (REFRESHED, "valid")], events)
                self.assertEqual(events[0]["class"], "retry")
                self.assertGreater(events[0]["left_s"], 0)
                self.assertGreater(events[1]["left_s"], LIFE_S - 5)
                self.assertLess(events[1]["ended_ms"] - events[0]["ended_ms"], 1000 * events[0]["left_s"])


del Service  # its cases are net_verifier.py's

if __name__ == "__main__":
    main()
