#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The words that tools of the Confidential Space launcher's users look for in its log: each comes once, in a line
of the event that tests/vectors/log-lines.json says, in the launches it says; and the last line is the last one."""
import datetime
import json
import os
import re
import signal

import launch_case
import console_parser
import parts
import signatures
from world import TOP

VECTOR = json.loads(parts.read(os.path.join(TOP, "tests", "vectors", "log-lines.json")))
SECRET = "canary-in-a-variable"


class Words(launch_case.LaunchCase):
    images = ("demo/hello:1", "demo/strict:1", "test/mislabelled:1", "test/quiet:1", "test/wide:1")

    def check(self, name, launch):
        """All rows of the vector that name this launch; returns the values of its events."""
        with open(launch.console_file, "rb") as f:
            raw = f.read()
        events, _, report = console_parser.read(raw)
        rows = [row for row in VECTOR["lines"] if name in row.get("launches", ())]
        self.assertTrue(rows)
        for row in rows:
            with self.subTest(row["fragment"]):
                found = [(event, keys) for event, _, keys in events if row["fragment"] in str(keys)]
                if row["event"] != "finding":
                    self.assertEqual([event for event, _ in found], [row["event"]])
                else:
                    self.assertEqual({event for event, _ in found} - {"stage.failed"}, {"finding"})
                found = [keys for event, keys in found if event == row["event"]]
                for key in row["keys"]:
                    self.assertIn(key, found[0])
        never = [row["fragment"] for row in VECTOR["lines"] if "reason" in row]
        self.assertEqual([f for f in never if f in raw.decode()], [])
        self.assertNotRegex(raw.decode(), r"%(z|l|ll)?[sdvu]\b|BADKEY")  # a format without its value
        last = raw.decode().split("\n")[-2]
        self.assertRegex(last, r"event=launch.exiting msg='TEE container launcher exiting' exit_code=%d exit_msg='[^']+'$"
                         % launch.exit_code)
        self.assertEqual(report["exit_code"], launch.exit_code)
        self.assertTrue(launch.stderr.rstrip("\n").endswith(last.split(" ", 1)[1]))
        return {event: keys for event, _, keys in events}

    @staticmethod
    def seconds(launch, *events):
        """From the first of two events to the second, by the log's own times."""
        times = [datetime.datetime.fromisoformat(re.search(r"time=(\S+)Z .*event=%s " % re.escape(event),
                                                           launch.console).group(1)) for event in events]
        return (times[1] - times[0]).total_seconds()

    def test_a_launch_that_succeeds(self):
        launch = self.world.launch(self.world.attributes(cmd='["exit=0"]'))
        self.assert_end(launch, 0, "success")
        values = self.check("success", launch)
        setup_s = float(values["workload.setup"]["setup_sec"])
        ran = values["workload.ended"]["workload_execution_sec"]
        # The workload's time, not the process's: what it took to get there isn't in it.
        self.assertLess(float(ran), self.seconds(launch, "workload.setup", "workload.ended") + setup_s / 2)
        self.assertEqual(values["workload.completed"]["workload_execution_sec"], ran)
        self.assertIn("projects/", values["attest.challenge"]["challenge_name"])

    def test_a_workload_that_fails(self):
        launch = self.world.launch(self.world.attributes(cmd='["exit=3"]', restart_policy="Always",
                                                         container_log_redirect="cloud_logging"))
        self.assert_end(launch, 3, "workload")
        self.check("workload", launch)
        self.assertNotIn("Workload completed", launch.console)

    def test_a_launch_that_is_denied(self):
        launch = self.world.launch(self.world.attributes(
            "demo/strict:1", env_HELLO_NAME=SECRET, cmd='["a"]', mount="type=tmpfs,source=tmpfs,destination=/x",
            added_capabilities='["CAP_CHOWN"]', cgroup_ns="true", monitoring_enable="all", container_log_redirect="true"))
        self.assert_end(launch, 1, "denied")
        self.check("denied", launch)
        for words in ("Workload completed", "Workload setup completed", SECRET):
            self.assertNotIn(words, launch.console)
        launch = self.world.launch(self.world.attributes("test/quiet:1", container_log_redirect="serial"))
        self.assert_end(launch, 1, "denied")
        self.check("debugonly", launch)
        launch = self.world.launch(self.world.attributes("test/mislabelled:1"))
        self.assert_end(launch, 1, "denied")
        self.check("mislabelled", launch)

    def test_a_shutdown_of_a_debug_machine(self):
        launch = self.world.launch_start(self.world.attributes(
            cmd='["trap", "sleep=60"]', container_log_redirect="true", monitoring_enable="memoryOnly"), hardened=False)
        parts.wait_until(lambda: "SIGTERM" in launch.console or "first instruction" in launch.console, "the workload", 60)
        launch.send(signal.SIGTERM)
        launch.wait()
        self.assert_end(launch, 4, "success")
        self.check("signal", launch)

    def test_an_image_with_signatures_and_monitoring(self):
        signer = signatures.Signer(self.world.folder, "words", "ECDSA_P256_SHA256")
        digest = self.world.images.inspect("test/wide:1")[0]
        signatures.push(self.world.registry, "sigs/words", digest, [signer.signature(digest)])
        launch = self.world.launch(self.world.attributes(
            "test/wide:1", monitoring_enable="all", signed_image_repos=self.world.registry.ref("sigs/words"), container_log_redirect="serial"))
        self.assert_end(launch, 0, "success")
        self.check("signed", launch)


if __name__ == "__main__":
    launch_case.main()
