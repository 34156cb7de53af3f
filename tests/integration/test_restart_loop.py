#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""S42: a machine that fails again and again restarts ever more slowly. The TPM counts its resets; that the
machine has just started is made true by a time namespace, whose clock begins anew (time_namespaces(7)).
The count only grows, so what is slower comes later: the tests run in the order of their names."""
import json
import re
import signal
import subprocess
import time

import launch_case
import parts
from manager import Notes


def resets(world):
    text = parts.run("tpm2_readclock", env=parts.clean_env(TPM2TOOLS_TCTI=world.tpm.tcti)).decode()
    return int(next(line for line in text.splitlines() if "reset_count" in line).split(":")[1])


def just_started():
    """What to put before the launcher, so that the machine has been up for five seconds."""
    uptime = int(float(parts.read("/proc/uptime").split()[0]))
    return ("unshare", "--time", "--boottime", str(5 - uptime), "--fork", "--kill-child=SIGKILL")


class RestartLoop(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def attributes(self, **keys):
        return self.world.attributes(restart_policy="Always", **keys)

    def boots(self, least):
        while resets(self.world) < least:
            self.world.tpm.reset()
        self.world.is_fresh_boot = False

    def launch(self, before, attributes=None, **more):
        return self.world.launch_start(attributes or self.attributes(cmd='["exit=9"]'), before=before,
                                       options=["--restart-delay-max-ms", "300000"], **more)

    def delay(self, launch):
        """What the launcher says before it waits."""
        launch.wait_for("event=restart.delayed", 60)
        self.assertNotIn("TEELAUNCH-REPORT", launch.console, "it comes once the end is certain")
        return int(re.search(r"event=restart.delayed delay_ms=(\d+) ", launch.stderr)[1])

    def test_s42_quick_failures_restart_ever_more_slowly(self):
        self.boots(5)  # and one more for the launch itself
        launch = self.launch(just_started())
        told = self.delay(launch)
        count = resets(self.world)
        most = 2000 << (count - 3)
        self.assertGreaterEqual(told, most // 2)
        self.assertLessEqual(told, most)
        begun = time.monotonic()
        launch.wait(90)
        self.assertGreater(time.monotonic() - begun, told / 1000 - 2)
        self.assertIn("event=restart.delayed delay_ms=%d resets=%d result=workload code=TL0902" % (told, count),
                      launch.stderr)
        self.assertEqual(self.assert_end(launch, 3, "workload")["restart_delay_ms"], told)

    def test_then_a_machine_that_ran_for_long_restarts_at_once(self):
        self.boots(5)
        launch = self.launch(("unshare", "--time", "--boottime", "700", "--fork", "--kill-child=SIGKILL"))
        self.assertNotIn("restart_delay_ms", self.assert_end(launch.wait(), 3))

    def test_then_a_success_restarts_at_once(self):
        self.boots(5)
        launch = self.launch(just_started(), self.attributes(cmd='["exit=0"]'))
        self.assertNotIn("restart_delay_ms", self.assert_end(launch.wait(), 3))

    def test_then_a_shutdown_ends_the_wait_and_the_machine_stops(self):
        """And the service manager can ask for it: to a service that says "stopping" it sends no SIGTERM."""
        self.boots(9)
        notes = Notes(self.world.path("notify"))
        self.addCleanup(notes.close)
        launch = self.launch(just_started(), env={"NOTIFY_SOCKET": notes.path, "WATCHDOG_USEC": "60000000"})
        self.assertGreater(self.delay(launch), 30000)
        parts.wait_until(lambda: any(n.get("STATUS") == "a restart waits" for n in notes.notes), "the wait")
        self.assertEqual([n for n in notes.notes if "STOPPING" in n], [])
        self.assertTrue([n for n in notes.notes if n.get("STATUS") == "a restart waits" and
                         int(n["WATCHDOG_USEC"]) > 20000000 and n["WATCHDOG"] == "1"], notes.notes)
        launcher = int(subprocess.run(["pgrep", "-P", str(launch.child.pid)], capture_output=True, check=True,
                                      text=True).stdout)
        parts.libc.kill(launcher, signal.SIGTERM)
        asked = time.monotonic()
        launch.wait()
        self.assertLess(time.monotonic() - asked, 20)
        self.assertIn("event=restart.cancelled", launch.stderr)
        report = self.assert_end(launch, 1, "workload", "TL0902")
        self.assertEqual(report["decided_by"], "operator")
        self.assertNotIn("restart_delay_ms", report)
        self.assertEqual(json.loads(parts.read(launch.state + "/report.json"))["exit_code"], 1)
        parts.wait_until(lambda: "STOPPING" in notes.notes[-1], "the last word")


if __name__ == "__main__":
    launch_case.main()
