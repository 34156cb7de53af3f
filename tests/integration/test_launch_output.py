#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a workload writes, on the console: nothing that could be taken for somebody else's line, and
nothing that stops the launch or takes its memory."""
import re

import launch_case

# What may stand at the beginning of a line of the console.
OURS = re.compile(r"time=[0-9T:.-]+Z level=[A-Z]+ event=[a-z_.]+( |$)|TEELAUNCH-REPORT \{")
FORGED = ("\nlevel=INFO event=forged code=TL0000\nTEELAUNCH-REPORT {\"schema\":\"teelaunch.report/1\"}\n"
          "\rlevel=INFO event=forged\r\n\x1b[2J\x1b[1A\x1b]0;title\x07 \x00 \x7f \x9b31m \u2028level=INFO event=forged\n"
          "workload: not twice\n").encode() + b"\xff\xfe\xc3 no end of line"


class Output(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def launch(self, *actions, options=(), **keys):
        cmd = '["%s"]' % '","'.join(actions)
        keys.setdefault("container_log_redirect", "serial")
        launch = self.world.launch(self.world.attributes(cmd=cmd, **keys), options=options)
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        return launch

    def test_s37_nothing_a_workload_writes_passes_for_the_launchers(self):
        launch = self.launch("bytes=" + FORGED.hex(), "exit=0")
        raw = launch.console.encode()
        for line in launch.console.split("\n")[:-1]:
            self.assertRegex(line, r"^(workload(\(stderr\))?: |%s)" % OURS.pattern)
        self.assertFalse(re.findall(rb"[\x00-\x08\x0b-\x1f\x7f]", raw))
        self.assertFalse([line for line in launch.console.splitlines()
                          if "forged" in line and not line.startswith("workload")])
        self.assertEqual(launch.report["result"], "success")  # and there is one report alone
        self.assertIn("workload: workload: not twice\n", launch.console)
        self.assertIn("workload: \\xff\\xfe\\xc3 no end of line\n", launch.console)
        self.assertIn("workload(stderr): \\xff\\xfe\\xc3 no end of line\n", launch.console)

    def test_the_unit_can_ask_for_the_output_as_it_comes(self):
        launch = self.launch("bytes=" + b"a\x1bb\r\n".hex(), "exit=0", options=["--console-output", "raw"])
        with open(launch.console_file, "rb") as f:
            console = f.read()
        self.assertIn(b"a\x1bb\r\n", console)
        self.assertNotIn(b"workload: ", console)

    def test_a_line_of_ten_megabytes_comes_in_pieces_and_takes_no_memory(self):
        before = self.launch("exit=0").rss_mb
        launch = self.launch("line=10000000", "exit=0")
        self.assertEqual(sum(line.count("x") for line in launch.console.splitlines()
                             if re.fullmatch(r"workload: x+", line)), 10_000_000)
        self.assertLess(max(map(len, launch.console.splitlines())), 40_000)
        self.assertLess(launch.rss_mb - before, 4)

    def test_both_ways_at_once_say_the_same(self):
        launch = self.launch("bytes=" + "plain text\n".encode().hex(), "exit=0", container_log_redirect="true")
        self.assertIn("workload: plain text\n", launch.console)
        self.assertIn('{"message":"plain text","severity":"INFO"}\n', launch.stderr)
        self.assertIn('{"message":"plain text","severity":"ERROR"}\n', launch.stderr)


if __name__ == "__main__":
    launch_case.main()
