#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunchd exit`: the machine ends as the launcher's end says, by the service manager, or by the
kernel if the manager doesn't act. The kernel's part is real, in a PID namespace (exit_unit.py)."""
import json
import os
import pty
import shutil
import signal
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import exit_unit  # noqa: E402
import parts  # noqa: E402
from manager import Manager  # noqa: E402
from world import REPORT_PREFIX  # noqa: E402

POWER_OFF, RESTART, HELD = -signal.SIGINT, -signal.SIGHUP, 0
LAST_LINE = "event=launch.exiting msg='TEE container launcher exiting' exit_code=%d "
PRODUCTION, DEBUG = "confidential-space.hardened=true", "confidential-space.hardened=false"
GET = "org.freedesktop.DBus.Properties.Get"


class Exit(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="tlx-")
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def manager(self, **how):
        manager = Manager(self.path("manager"), **how)
        self.addCleanup(manager.close)
        return manager

    def exit(self, ended, cmdline=PRODUCTION, options=(), wait_ms=500, before=()):
        """What the namespace's first process ended with; @ended is result, code, status."""
        parts.write(self.path("cmdline"), cmdline + "\n")
        parts.write(self.path("console"), "")
        started = time.monotonic()
        done = exit_unit.run(ended, self.path("cmdline"), self.path("console"), self.path("manager"), before=before,
                             options=["--manager-wait-ms", str(wait_ms), "--containerd", self.path("containerd"),
                                      "--containerd-wait-ms", "100", *options])
        self.took_s = time.monotonic() - started
        self.said = done.stderr
        self.console = parts.read(self.path("console"))
        return done.returncode

    def report(self):
        lines = [line for line in self.console.splitlines() if line.startswith(REPORT_PREFIX)]
        self.assertLessEqual(len(lines), 1)
        return json.loads(lines[0][len(REPORT_PREFIX):]) if lines else None

    def test_the_launchers_status_decides(self):
        manager = self.manager()
        for status, method in ((0, "PowerOff"), (1, "PowerOff"), (3, "Reboot"), (4, "PowerOff")):
            manager.calls.clear()
            ended = ("exit-code" if status else "success", "exited", str(status))
            self.assertEqual(self.exit(ended), exit_unit.BY_MANAGER, self.said)
            self.assertEqual(manager.calls, [GET, method])
            self.assertIsNone(self.report())
            self.assertIn("event=exit end=exited status=%d mode=production" % status, self.console)
            self.assertLess(self.took_s, 10)
            manager.calls.clear()
            self.assertEqual(self.exit(ended, DEBUG), HELD, self.said)
            self.assertEqual(manager.calls, [])

    def test_a_launcher_that_could_not_decide_stops_production_and_holds_debug(self):
        """TL_E_LAUNCHER_DIED"""
        manager = self.manager()
        for ended in (("signal", "killed", "KILL"), ("core-dump", "dumped", "SEGV"),
                      ("watchdog", "dumped", "ABRT"), ("oom-kill", "killed", "KILL"),
                      ("timeout", "killed", "TERM"), ("exit-code", "exited", "203"), ("exit-code", "exited", "2"),
                      ("success", "killed", "TERM"), ("words", "of", "tomorrow")):
            manager.calls.clear()
            self.assertEqual(self.exit(ended), exit_unit.BY_MANAGER, self.said)
            self.assertEqual(manager.calls, [GET, "PowerOff"])
            report = self.report()
            self.assertEqual((report["code"], report["action"], report["exit_code"], report["result"]),
                             ("TL0906", "stop", 1, "fatal"))
            self.assertIn(ended[2], report["message"])
            self.assertIn(LAST_LINE % 1, self.console)
            manager.calls.clear()
            self.assertEqual(self.exit(ended, DEBUG), HELD, self.said)
            self.assertEqual(manager.calls, [])
            self.assertIn(LAST_LINE % 4, self.console)
            self.assertEqual((self.report()["action"], self.report()["exit_code"]), ("hold", 4))

    def test_a_machine_that_cannot_say_what_it_is_counts_as_production(self):
        """TL_E_CMDLINE_CONTRADICTS"""
        manager = self.manager()
        self.assertEqual(self.exit(("signal", "killed", "KILL"), DEBUG + " " + PRODUCTION),
                         exit_unit.BY_MANAGER, self.said)
        self.assertEqual(manager.calls, [GET, "PowerOff"])
        self.assertIn("TL0101", self.console)

    def test_a_power_off_that_was_asked_for_never_becomes_a_restart(self):
        manager = self.manager(state="stopping")
        self.assertEqual(self.exit(("exit-code", "exited", "3")), 0, self.said)
        self.assertEqual(manager.calls, [GET])
        self.assertIn("event=exit.asked", self.console)

    def by_kernel(self):
        for status, end in (("0", POWER_OFF), ("1", POWER_OFF), ("3", RESTART)):
            self.assertEqual(self.exit(("exit-code", "exited", status)), end, self.said)
            self.assertIn("TL0907", self.console)
        self.assertEqual(self.exit(("signal", "killed", "KILL")), POWER_OFF, self.said)
        self.assertLess(self.took_s, 10)

    def test_without_a_manager_the_kernel_ends_the_machine(self):
        """TL_E_MANAGER"""
        self.by_kernel()

    def test_a_manager_that_refuses_is_passed_by(self):
        self.manager(on_end="refuse")
        self.by_kernel()
        self.assertIn("not for you", self.console)

    def test_a_manager_that_says_nothing_is_passed_by(self):
        self.manager(on_end="mute")
        self.by_kernel()

    def test_a_manager_that_accepts_and_does_nothing_is_passed_by(self):
        self.manager(on_end="deaf")
        self.by_kernel()
        self.assertGreater(self.took_s, 0.5)

    def test_what_neither_ends_is_a_failure_of_the_unit(self):
        """TL_E_REBOOT"""
        no_boot = ("setpriv", "--bounding-set", "-sys_boot")
        self.assertEqual(self.exit(("exit-code", "exited", "0"), before=no_boot), 1, self.said)
        self.assertIn("TL0908", self.console)

    def test_a_person_at_a_shell_does_not_mean_it(self):
        self.assertEqual(self.exit(()), 2)
        self.assertIn("TL0003", self.said)
        self.assertEqual(self.exit(("success", "exited", "0"), options=["--manager-wait-ms", "0"]), 2)
        self.assertIn("--manager-wait-ms", self.said)

    def test_a_terminal_as_console_gets_the_lines_before_the_end(self):
        manager = self.manager()
        ours, terminal = pty.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, terminal)
        self.assertEqual(self.exit(("success", "exited", "0"), options=["--console", os.ttyname(terminal)]),
                         exit_unit.BY_MANAGER, self.said)
        self.assertIn(b"event=exit end=exited", os.read(ours, 65536))
        self.assertEqual(manager.calls, [GET, "PowerOff"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
