#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the service manager is told of a launch: sd_notify(3), read on a socket of our own. Each stage
and its limit, READY when the workload runs, signs of life from then on, STOPPING; and silence from a
launcher that is stuck, which is what the watchdog is for."""
import ctypes
import os
import signal
import time

import launch_case
from manager import Notes

WATCHDOG_S = 1.2
STAGES = ["machine", "disk", "metadata", "spec", "connect", "resolve", "policy", "tpm", "pull", "create",
          "confine", "measure", "token", "serve", "open", "run"]


class Notify(launch_case.LaunchCase):
    def told(self, watchdog=True, **keys):
        path = self.world.path("notify")
        notes = Notes(path)
        self.addCleanup(notes.close)
        env = {"NOTIFY_SOCKET": path}
        if watchdog:
            env["WATCHDOG_USEC"] = str(int(WATCHDOG_S * 1000000))
        return notes, self.world.launch_start(self.world.attributes(**keys), env=env)

    def index(self, notes, **wanted):
        """Where the first note with these values stands."""
        for i, note in enumerate(notes):
            if all(note.get(k) == v for k, v in wanted.items()):
                return i
        self.fail("no %s in %s" % (wanted, notes))

    def test_a_launch_tells_its_stages_and_lives_and_ends(self):
        notes, launch = self.told(cmd='["sleep=3", "exit=0"]')
        launch.wait()
        self.assert_end(launch, 0, "success")
        stages = [n for n in notes.notes if n.get("STATUS", "").startswith("stage ")]
        self.assertEqual([n["STATUS"] for n in stages], ["stage " + s for s in STAGES])
        for note in stages:
            self.assertGreaterEqual(int(note["EXTEND_TIMEOUT_USEC"]), 30 * 1000000)
            self.assertLess(int(note["EXTEND_TIMEOUT_USEC"]), 3600 * 1000000)
        ready = self.index(notes.notes, READY="1")
        undoing = self.index(notes.notes, STATUS="the launch is undone")
        self.assertGreater(ready, self.index(notes.notes, STATUS="stage run"))
        self.assertEqual(sum("READY" in n for n in notes.notes), 1)
        alive = [n for n in notes.notes[ready + 1:undoing] if n == {"WATCHDOG": "1"}]
        self.assertGreaterEqual(len(alive), 3 / WATCHDOG_S, notes.notes)
        self.assertLess(len(alive), 20, "a sign of life at each turn of a loop")
        # Undoing may take longer than the watchdog's interval; and "stopping" is the last word of all.
        self.assertGreater(int(notes.notes[undoing]["WATCHDOG_USEC"]), WATCHDOG_S * 1000000)
        self.assertEqual(self.index(notes.notes, STOPPING="1"), len(notes.notes) - 1)
        self.note("READY after %d notes, %d signs of life in 3 s, STOPPING at the end", ready, len(alive))

    def test_without_a_watchdog_nothing_wakes_the_launcher(self):
        notes, launch = self.told(watchdog=False, cmd='["sleep=2", "exit=0"]')
        launch.wait()
        self.assert_end(launch, 0, "success")
        ready = self.index(notes.notes, READY="1")
        self.assertNotIn({"WATCHDOG": "1"}, notes.notes[ready + 1:])

    def test_a_launch_that_is_denied_is_never_ready(self):
        notes, launch = self.told(image="demo/strict:1", cmd='["x"]')
        launch.wait()
        self.assert_end(launch, 1, "denied")
        self.assertFalse([n for n in notes.notes if "READY" in n])
        undoing = self.index(notes.notes, STATUS="the launch is undone")
        self.assertEqual(notes.notes[undoing - 1]["STATUS"], "stage policy")
        self.assertNotIn("WATCHDOG_USEC", notes.notes[undoing], "it would start the watchdog")

    def test_sigterm_is_told_as_the_end(self):
        notes, launch = self.told(cmd='["trap", "sleep=30", "exit=0"]', container_log_redirect="true")
        launch.wait_for("this line goes to standard error")
        time.sleep(0.1)
        launch.send(signal.SIGTERM)
        launch.wait()
        self.assert_end(launch, 0)
        self.index(notes.notes, STOPPING="1")

    def test_a_main_thread_that_is_stuck_gives_no_sign_of_life(self):
        """Only that thread is stopped: the others go on, and must not speak for it."""
        notes, launch = self.told(cmd='["sleep=60"]')
        launch.wait_for("event=workload.started")
        self.stop_main_thread(launch.child.pid)
        time.sleep(0.3)
        before = len(notes.notes)
        time.sleep(2 * WATCHDOG_S)
        self.assertEqual(notes.notes[before:], [])
        # What systemd does then.
        launch.send(signal.SIGABRT)
        launch.wait()
        self.assertEqual(launch.exit_code, -signal.SIGABRT)
        again = self.world.launch(self.world.attributes(cmd='["exit=0"]'))
        self.assert_end(again, 0, "success")

    def stop_main_thread(self, pid):
        """By ptrace(2), which stops one thread and no other."""
        libc = ctypes.CDLL(None, use_errno=True)
        for request in (0x4206, 0x4207):  # PTRACE_SEIZE, PTRACE_INTERRUPT
            self.assertEqual(libc.ptrace(request, pid, None, None), 0)
        os.waitpid(pid, 0x40000000)  # __WALL


if __name__ == "__main__":
    launch_case.main()
