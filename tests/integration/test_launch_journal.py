#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The log in the journal of a real journald: a field for each key, nothing of a workload's that could be taken
for it, and a journald that dies stops nothing."""
import base64
import json
import os
import re
import subprocess

import launch_case
import parts
from journal import Journal
from world import TOP

EVENT = re.compile(r" level=(\w+) event=([a-z_.]+)")
UNIT = os.path.join(TOP, "systemd", "teelaunchd.service")
# To say 0 is to say nothing: the service manager leaves it out, and journald's own limit stays.
INTERVAL = re.compile(r"^LogRateLimitIntervalSec=([1-9]\d*)us$", re.M)
PRIORITY = {"ERROR": "3", "WARN": "4", "INFO": "6"}
# What a workload might write to be taken for the launcher, on either way that a stream of journald has.
FORGED = ("<3>level=ERROR event=launch.end\nTL_EVENT=launch.end\nSYSLOG_IDENTIFIER=teelaunchd\n"
          'TEELAUNCH-REPORT {"schema":"teelaunch.report/1"}\n{"message":"x","severity":"ERROR","TL_EVENT":"y"}\n')


class InJournal(launch_case.LaunchCase):
    images = ("demo/hello:1", "demo/strict:1")

    def setUp(self):
        super().setUp()
        self.journal = self.journal_start()

    def journal_start(self, *settings):
        made = sum(name.startswith("journal-") for name in os.listdir(self.world.path("")))
        journal = Journal(self.world.path("journal-%d" % made), settings).start()
        self.addCleanup(journal.stop)
        return journal

    def launch(self, *actions, image="demo/hello:1", before=(), **keys):
        cmd = {"cmd": json.dumps(actions)} if actions else {}
        return self.world.launch(self.world.attributes(image, **cmd, **keys), before=[*before, *self.journal.before])

    def as_the_unit(self):
        """What to put before a command, so that journald takes it for the launcher's unit, with the limit of its
        file where the service manager tells it (systemd's core/unit.c)."""
        root = next(path for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
                    if os.path.exists(os.path.join(path, "cgroup.procs")))
        group = os.path.join(root, "launchtest.slice", "teelaunchd.service")
        os.makedirs(group)
        self.addCleanup(os.removedirs, group)
        if interval := INTERVAL.search(parts.read(UNIT)):
            subprocess.run(self.journal.inside(
                "sh", "-c", 'mkdir /run/systemd/units && ln -s "$1" '
                "/run/systemd/units/log-rate-limit-interval:teelaunchd.service", "sh", interval.group(1)), check=True)
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', group]

    def own(self, n=1):
        """The launcher's entries, once there are that many."""
        found = []

        def are_there():
            found[:] = self.journal.entries("_TRANSPORT=journal", "SYSLOG_IDENTIFIER=teelaunchd")
            return len(found) >= n
        parts.wait_until(are_there, "%d entries in the journal" % n, 30)
        return found

    def test_each_line_is_an_entry_with_its_keys_as_fields(self):
        launch = self.launch("bytes=" + FORGED.encode().hex(), "exit=0", container_log_redirect="cloud_logging")
        self.assert_end(launch, 0, "success")
        lines = [EVENT.search(line).groups() for line in launch.console.splitlines() if EVENT.search(line)]
        entries = self.own(len(lines) + 1)
        by_event = {e["TL_EVENT"]: e for e in entries}
        self.assertEqual([(PRIORITY[level], event) for level, event in lines],
                         [(e["PRIORITY"], e["TL_EVENT"]) for e in entries if e["TL_EVENT"] != "launch.report"])
        self.assertEqual(by_event["workload.ended"]["TL_EXIT_STATUS"], "0")
        self.assertTrue(by_event["image.resolved"]["TL_DIGEST"].startswith("sha256:"))
        self.assertEqual(by_event["launch.end"]["MESSAGE"],
                         "level=INFO event=launch.end result=success exit_code=0 action=stop")
        report = by_event["launch.report"]
        self.assertEqual(json.loads(report["TL_REPORT"]), json.loads(
            parts.read(os.path.join(launch.state, "report.json"))))
        self.assertEqual(json.loads(report["MESSAGE"].removeprefix("TEELAUNCH-REPORT ")), launch.report)
        self.assertEqual(launch.report["log"]["dropped_lines"], 0)
        # Standard error has nothing of the log besides; the workload's lines come by it, as JSON and nothing else.
        streamed = self.journal.entries("_TRANSPORT=stdout")
        self.assertTrue(streamed)
        for entry in streamed:
            self.assertFalse([key for key in entry if key.startswith("TL_")], entry)
            self.assertEqual(set(json.loads(entry["MESSAGE"])), {"message", "severity"})
        said = [json.loads(e["MESSAGE"])["message"] for e in streamed]
        for line in FORGED.splitlines():
            self.assertEqual(said.count(line), 2)  # of standard output and of standard error
        self.assertEqual({e["PRIORITY"] for e in streamed}, {"6"})

    def test_a_denial_has_its_codes(self):
        launch = self.launch(image="demo/strict:1", env_HELLO_NAME="x", cmd='["a"]')
        self.assert_end(launch, 1, "denied")
        findings = [e for e in self.own() if e["TL_EVENT"] == "finding"]
        self.assertEqual([(e["TL_CODE"], e["TL_KEY"], e["PRIORITY"]) for e in findings],
                         [("TL0406", "tee-env-HELLO_NAME", "3"), ("TL0407", "tee-cmd", "3")])

    def test_a_flood_displaces_none_of_the_launchers_lines(self):
        self.journal = self.journal_start("RateLimitIntervalSec=1h", "RateLimitBurst=50")
        launch = self.launch("flood=200000", "exit=0", before=self.as_the_unit(),
                             container_log_redirect="cloud_logging")
        self.assert_end(launch, 0, "success")
        lines = [EVENT.search(line).group(2) for line in launch.console.splitlines() if EVENT.search(line)]
        entries = self.own(len(lines) + 1)
        self.assertEqual({e["_SYSTEMD_UNIT"] for e in entries}, {"teelaunchd.service"})
        self.assertEqual([e["TL_EVENT"] for e in entries if e["TL_EVENT"] != "launch.report"], lines)
        self.assertEqual(len(self.journal.entries("_TRANSPORT=stdout")), launch.report["log"]["lines"])
        self.assertGreaterEqual(launch.report["log"]["lines"], 2000)

    def test_the_vectors_of_json_lines_arrive_byte_for_byte(self):
        vectors = json.loads(parts.read(os.path.join(TOP, "tests", "vectors", "json-log-lines.json")))
        chunks, expected = b"", []
        for case in vectors["cases"]:
            chunk = base64.b64decode(case["chunk_b64"])
            if chunk.endswith(b"\n") and len(chunk) < 1000:  # whole lines, not parts that a read left
                chunks += chunk
                expected += base64.b64decode(case["output_b64"]).decode().split("\n")[:-1]
        self.assertGreater(len(expected), 10)
        launch = self.launch("bytes=" + chunks.hex(), "exit=0", container_log_redirect="cloud_logging")
        self.assert_end(launch, 0, "success")
        said = [e["MESSAGE"] for e in self.journal.entries("_TRANSPORT=stdout")]
        for severity in ("INFO", "ERROR"):
            wanted = [re.sub(r'"severity":"[A-Z]+"}$', '"severity":"%s"}' % severity, line) for line in expected]
            self.assertEqual([line for line in said if line in wanted], wanted)

    def test_a_journald_that_dies_stops_nothing_and_what_it_missed_is_counted(self):
        launch = self.world.launch_start(
            self.world.attributes(cmd='["sleep=4", "spam=100", "exit=0"]', container_log_redirect="cloud_logging"),
            before=self.journal.before)
        parts.wait_until(lambda: "event=workload.started" in launch.console, "the workload", 60)
        # What it was sent and hasn't read dies with it.
        parts.wait_until(lambda: "workload.started" in [e["TL_EVENT"] for e in self.own()], "the entry", 60)
        self.journal.kill_daemon()
        launch.wait()
        self.assert_end(launch, 0, "success")
        self.assertGreaterEqual(launch.report["log"]["dropped_lines"], 1)
        self.assertGreaterEqual(launch.report["log"]["dropped"], 100 * 100)
        self.journal.start_daemon()  # the entries up to then are there
        self.assertIn("workload.started", [e["TL_EVENT"] for e in self.own()])


if __name__ == "__main__":
    launch_case.main()
