#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Exactly one report, whatever goes wrong: without a network, with a console that nobody reads, and when
memory runs out. It is the launcher's, or the exit unit's where the launcher died; and the machine ends.
TL_LONG=1 lets memory run out at many more places."""
import fcntl
import json
import os
import threading
import xml.etree.ElementTree

import exit_unit
import launch_case
import parts
from manager import Manager
from world import REPORT_PREFIX

GET = "org.freedesktop.DBus.Properties.Get"
ACTIONS = {"stop": ["PowerOff"], "restart": ["Reboot"], "hold": []}
SVG = "{http://www.w3.org/2000/svg}"
F_SETPIPE_SZ = 1031  # linux/fcntl.h


class Report(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def setUp(self):
        super().setUp()
        self.manager = Manager(self.world.path("manager"))
        self.addCleanup(self.manager.close)

    def end(self, launch, console=None):
        """The exit unit after the launch; the words that it asked the manager for."""
        self.manager.calls.clear()
        done = exit_unit.run(exit_unit.ended(launch.exit_code), self.world.tpm.file("cmdline"),
                             console or launch.console_file, self.manager.path,
                             options=["--containerd", self.world.containerd.socket])
        calls = [c for c in self.manager.calls if c != GET]
        self.assertEqual(done.returncode, exit_unit.BY_MANAGER if calls else 0, done.stderr)
        return calls, done.stderr

    def test_its_stages_can_be_drawn(self):
        launch = self.world.launch(self.world.attributes())
        report = self.assert_end(launch, 0, "success")
        drawn = parts.run(os.path.join(os.environ["TL_PROGRAMS"], "teelaunch"), "timeline", launch.console_file)
        texts = ["".join(t.itertext()) for t in xml.etree.ElementTree.fromstring(drawn).iter(SVG + "text")]
        for stage in report["stages"]:
            self.assertIn(stage["name"], texts)

    def test_the_network_never_came_up(self):
        launch = self.world.launch(self.world.attributes(), env={"GCE_METADATA_HOST": "127.0.0.1:1"},
                                   timeout_s=180)
        report = self.assert_end(launch, 1, "retry")
        self.assertEqual(self.end(launch)[0], ["PowerOff"])
        self.assertIn(report["code"], launch.console)
        self.note("no metadata server: %s after %.1f s", report["code"], launch.took_s)

    def test_nobody_reads_the_console(self):
        """Its buffer is full, and stays so."""
        path = self.world.path("stuck-console")
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
        os.write(writer, b"x" * 4096)
        launch = self.world.launch(self.world.attributes(cmd='["spam=2000", "exit=5"]', restart_policy="OnFailure",
                                                         container_log_redirect="serial"),
                                   options=["--console", path])
        self.assertEqual(launch.exit_code, 3, launch.stderr)
        reports = [line for line in launch.stderr.splitlines() if line.startswith(REPORT_PREFIX)]
        self.assertEqual(len(reports), 1, launch.stderr)
        report = json.loads(reports[0][len(REPORT_PREFIX):])
        self.assertEqual((report["action"], report["workload"]["exit_status"]), ("restart", 5))
        self.assertGreater(report["log"]["dropped"], 100000)
        self.assertEqual(self.end(launch, path)[0], ["Reboot"])
        self.assertEqual(os.read(reader, 65536), b"x" * 4096)
        self.assert_clean(launch)
        self.note("a console that is stuck: %.1f s, report on standard error", launch.took_s)

    def test_a_command_line_that_no_unit_should_have(self):
        """The launcher has begun nothing and reports nothing: the exit unit does."""
        launch = self.world.launch(self.world.attributes(), options=["--drain-ms", "-1"])
        self.assertEqual(launch.exit_code, 2)
        self.assertEqual(self.end(launch)[0], ["PowerOff"])
        self.assertEqual((launch.report["code"], launch.report["action"]), ("TL0906", "stop"))

    def library(self):
        library = self.world.path("failing_memory.so")
        if not os.path.exists(library):
            parts.run("gcc", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", library,
                      os.path.join(launch_case.HERE, "failing_memory.c"))
        return library

    def without_memory(self, number, goes_on):
        """A launch in which that allocation fails, and those after it."""
        env = {"LD_PRELOAD": self.library(), "FAIL_AT": str(number), "FAIL_ON": "1" if goes_on else "0",
               "FAIL_COUNT": self.world.path("count")}
        return self.world.launch(self.world.attributes(cmd='["exit=0"]', restart_policy="OnFailure"), env=env,
                                 options=["--first-token-budget-ms", "2000"], timeout_s=180)

    def test_memory_runs_out(self):
        self.assertEqual(self.without_memory(0, False).exit_code, 0)
        total = int(parts.read(self.world.path("count")))
        self.assertGreater(total, 1000)
        places = 40 if os.environ.get("TL_LONG") else 3
        ends = {}
        for i in range(2 * places):
            number = 1 + i // 2 * total // places
            launch = self.without_memory(number, i % 2 == 1)
            calls, said = self.end(launch)
            with self.subTest(number=number, goes_on=i % 2 == 1):
                reports = [line for line in launch.console.splitlines() if line.startswith(REPORT_PREFIX)]
                self.assertEqual(len(reports), 1, launch.console + launch.stderr + said)
                report = json.loads(reports[0][len(REPORT_PREFIX):])
                self.assertEqual(calls, ACTIONS[report["action"]], launch.stderr)
                self.assertNotEqual(report["action"], "hold")
                if launch.exit_code in (0, 1, 3, 4):
                    self.assertEqual(report["exit_code"], launch.exit_code)
            ends.setdefault((launch.exit_code, report["result"], report.get("code", "")), []).append(number)
        for (code, result, what), numbers in sorted(ends.items()):
            self.note("memory runs out at %d of %d places: %d %s %s", len(numbers), 2 * places, code, result, what)


if __name__ == "__main__":
    launch_case.main()
