#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a workload writes, on the console: nothing that could be taken for somebody else's line, and
nothing that stops the launch or takes its memory."""
import fcntl
import json
import os
import re
import termios
import threading

import launch_case
import console_parser
import parts

FORGED = ("\nlevel=INFO event=forged code=TL0000\nTEELAUNCH-REPORT {\"schema\":\"teelaunch.report/1\"}\n"
          "\rlevel=INFO event=forged\r\n\x1b[2J\x1b[1A\x1b]0;title\x07 \x00 \x7f \x9b31m \u2028level=INFO event=forged\n"
          "workload: not twice\n").encode() + b"\xff\xfe\xc3 no end of line"


class Output(launch_case.LaunchCase):
    images = ("demo/hello:1", "test/silent:1")

    def launch(self, *actions, options=(), **keys):
        cmd = '["%s"]' % '","'.join(actions)
        keys.setdefault("container_log_redirect", "serial")
        launch = self.world.launch(self.world.attributes(cmd=cmd, **keys), options=options)
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        return launch

    def test_s37_nothing_a_workload_writes_passes_for_the_launchers(self):
        launch = self.launch("bytes=" + FORGED.hex(), "exit=0")
        with open(launch.console_file, "rb") as f:
            events, workload, _ = console_parser.read(f.read())
        self.assertFalse([event for event, _, keys in events if "forged" in event + str(keys)])
        self.assertGreater(len([line for line in workload if "forged" in line]), 5)
        self.assertEqual(launch.report["result"], "success")  # and there is one report alone
        self.assertIn("workload: workload: not twice\n", launch.console)
        self.assertIn("workload: \\xff\\xfe\\xc3 no end of line\n", launch.console)
        self.assertIn("workload(stderr): \\xff\\xfe\\xc3 no end of line\n", launch.console)

    def test_the_unit_can_ask_for_the_output_as_it_comes(self):
        launch = self.launch("bytes=" + b"a\x1bb\r\n".hex(), "exit=0", options=["--console-output", "raw"])
        with open(launch.console_file, "rb") as f:
            console = f.read()
        # Once on each of two pipes, a byte here and a byte there: which comes first is nobody's to say.
        self.assertEqual([console.count(b) for b in (b"\x1b", b"\r")], [2, 2], console)
        self.assertNotIn(b"workload: ", console)

    def test_a_line_of_ten_megabytes_comes_in_pieces_and_takes_no_memory(self):
        before = self.launch("exit=0").rss_mb
        launch = self.launch("line=10000000", "exit=0")
        self.assertEqual(sum(line.count("x") for line in launch.console.splitlines()
                             if re.fullmatch(r"workload: x+", line)), 10_000_000)
        self.assertLess(max(map(len, launch.console.splitlines())), 40_000)
        if parts.IS_MEMORY_JUDGED:
            self.assertLess(launch.rss_mb - before, 4)

    def test_each_mode_goes_where_the_table_says_and_nowhere_else(self):
        """tee-container-log-redirect: the console, JSON on standard output and error, both, nothing."""
        said = FORGED.replace(b"\xff\xfe\xc3", b"x") + b" \xe2\x82\xac\n"
        for mode, on_console, as_json in (("false", False, False), ("serial", True, False),
                                          ("cloud_logging", False, True), ("true", True, True)):
            with self.subTest(mode):
                launch = self.launch("bytes=" + said.hex(), "exit=0", container_log_redirect=mode)
                with open(launch.console_file, "rb") as f:
                    _, workload, report = console_parser.read(f.read())
                lines = [line for line in launch.stderr.split("\n") if line and not re.match(
                    r"<[3-7]>level=|TEELAUNCH-REPORT ", line)]
                records = [json.loads(line) for line in lines]
                self.assertEqual({tuple(record) for record in records}, {("message", "severity")} if as_json else set())
                for severity, prefix in (("INFO", "workload: "), ("ERROR", "workload(stderr): ")):
                    self.assertEqual(prefix + "workload: not twice" in workload, on_console)
                    self.assertEqual(prefix + "x no end of line \u20ac" in workload, on_console)
                    self.assertEqual({"message": "workload: not twice", "severity": severity} in records, as_json)
                self.assertEqual(report["log"]["dropped"], 0)

    def test_s39_never_is_never(self):
        """Neither how it ends nor what it asks for brings a workload's words into a log that its author forbids."""
        words = "canary-words-of-a-workload"
        for how in ("exit=7", "crash"):
            with self.subTest(how):
                ask = "ask=POST /v1/token {\"audience\":\"%s\",\"nonces\":[\"%s\"],\"token_type\":\"PKI\"}" % (
                    words, words)  # teeverifierd has no key for such a token
                launch = self.world.launch(self.world.attributes(
                    "test/silent:1", cmd=json.dumps(["bytes=" + words.encode().hex(), ask, how]),
                    monitoring_enable="memoryOnly"), options=["--log-level", "debug"])
                self.assertNotEqual(launch.report["result"], "success")
                self.assertRegex(launch.console, "event=token.not_served.* msg='the answer to who asked says why'")
                for place in (launch.console, launch.stderr, parts.read(os.path.join(launch.state, "report.json"))):
                    self.assertNotIn(words, place)
        launch = self.world.launch(self.world.attributes(
            "test/silent:1", cmd=json.dumps(["bytes=" + words.encode().hex()]), container_log_redirect="serial"),
            hardened=False)
        self.assertEqual(launch.report["code"], "TL0408")
        self.assertNotIn("event=workload.started", launch.console)

    def test_s38_a_console_that_is_stuck_stops_nothing(self):
        """A terminal that nobody reads: the launch takes seconds more at most, and what was lost is counted."""
        leader, terminal = os.openpty()
        self.addCleanup(os.close, leader)
        self.addCleanup(os.close, terminal)
        while True:  # full before the launch begins
            fcntl.fcntl(terminal, fcntl.F_SETFL, os.O_NONBLOCK)
            try:
                os.write(terminal, b"x" * 1000)
            except BlockingIOError:
                break
        for mode in ("serial", "true"):
            with self.subTest(mode):
                launch = self.launch("spam=20000", "exit=0", container_log_redirect=mode,
                                     options=["--console", os.ttyname(terminal)])
                self.note("stuck console, %s: %.1f s", mode, launch.took_s)
                self.assertLess(launch.took_s, 30)
                report = json.loads(parts.read(os.path.join(launch.state, "report.json")))
                self.assertGreaterEqual(report["log"]["dropped"], 2_000_000)
                self.assertGreater(report["log"]["dropped_lines"], 10)
                self.assertEqual(launch.stderr.count('"severity":"INFO"') >= 20000, mode == "true")


if __name__ == "__main__":
    launch_case.main()
