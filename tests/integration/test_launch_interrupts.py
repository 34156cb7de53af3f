#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Harm at every step: SIGTERM, and containerd killed and restarted, at each call that the launcher makes
to containerd. Each launch must end in time and with a clear report, and leave nothing behind."""
import os
import signal
import time

import launch_case
import parts
from valve import Valve

ENDS_WITHIN_S = 20
# `make check-long` does harm at every call, `make check` at every seventh; the second call is among them,
# for the stage that connects makes only a few.
STEP = int(os.environ.get("TL_STEP", "7"))
FIRST = 2 if STEP > 1 else 1


class Interrupts(launch_case.LaunchCase):
    def through_valve(self, on_call, **keys):
        """A launch whose calls to containerd pass a valve; gives the launch and the valve."""
        path = self.world.path("valve.sock")
        keys.setdefault("cmd", '["exit=0"]')
        self.forget_images()
        with Valve(path, self.world.containerd.socket, on_call=lambda n: on_call(launch, n)) as valve:
            self.world.boot("--hardened")
            launch = self.world.launch_start(self.world.attributes(**keys), options=["--containerd", path])
            launch.wait(ENDS_WITHIN_S + 40)
        return launch, valve

    def forget_images(self):
        """So that the next launch pulls again."""
        ctr = self.world.containerd.ctr
        for name in ctr("images", "list", "-q").split():
            ctr("images", "remove", "--sync", name)

    def count_calls(self):
        """How many calls a whole launch makes, and it must succeed."""
        launch, valve = self.through_valve(lambda launch, n: None)
        self.assert_end(launch, 0, "success")
        return valve.calls

    def last_stage(self, launch):
        return launch.report["stages"][-1]["name"]

    def test_sigterm_at_every_call_is_undone(self):
        ends = {}
        for at in range(FIRST, self.count_calls() + 1, STEP):
            def on_call(launch, n, at=at):
                if n == at:
                    launch.send(signal.SIGTERM)
            launch, _ = self.through_valve(on_call)
            with self.subTest(at=at):
                # At the very end the workload may be over already; a shutdown never restarts.
                self.assertIn(launch.exit_code, (0, 1), launch.stderr)
                self.assertLess(launch.took_s, ENDS_WITHIN_S)
                self.assert_end(launch, launch.exit_code)
            ends.setdefault((self.last_stage(launch), launch.report["result"]), []).append(at)
        for (stage, result), calls in ends.items():
            self.note("SIGTERM at calls %s: ends in '%s' as %s, nothing left", ranges(calls), stage, result)

    def test_containerd_restarted_at_every_call(self):
        ends = {}
        for at in range(FIRST, self.count_calls() + 1, STEP):
            def on_call(_, n, at=at):
                if n == at:
                    self.world.containerd.process.stop(number=signal.SIGKILL)
                    self.world.containerd.launch()
            launch, _ = self.through_valve(on_call, restart_policy="OnFailure")
            with self.subTest(at=at):
                self.assertIn(launch.exit_code, (0, 3), launch.stderr)
                self.assert_end(launch, launch.exit_code, "success" if launch.exit_code == 0 else "retry")
                self.assertLess(launch.took_s, ENDS_WITHIN_S)
            ends.setdefault((self.last_stage(launch), launch.report["result"],
                             launch.report.get("code", "")), []).append(at)
        for (stage, result, code), calls in ends.items():
            self.note("containerd killed and restarted at calls %s: ends in '%s' as %s %s, nothing left",
                      ranges(calls), stage, result, code)

    def test_containerd_stops_and_restarts_while_the_workload_runs(self):
        launch = self.world.launch_start(self.world.attributes(
            cmd='["sleep=2", "show=HELLO_NAME", "exit=5"]', container_log_redirect="true"))
        launch.wait_for("first instruction")
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.world.containerd.process.stop(number=number)
            self.world.containerd.launch()
        launch.wait()
        report = self.assert_end(launch, 1, "workload")
        self.assertEqual(report["workload"]["exit_status"], 5)
        self.assertIn("HELLO_NAME=world", launch.console)
        self.note("containerd restarted twice under a running workload: its exit code 5 and output came")

    def test_containerd_gone_for_good(self):
        self.world.containerd.process.stop()
        try:
            launch = self.world.launch(self.world.attributes(restart_policy="Always"), timeout_s=120)
        finally:
            self.world.containerd.launch()
        report = self.assert_end(launch, 3, "retry")
        self.note("containerd gone: %s after %.1f s: %s", report["code"], launch.took_s, report["message"])

    def test_sigterm_is_relayed_to_the_workload(self):
        launch = self.world.launch_start(self.world.attributes(
            cmd='["trap", "sleep=30", "exit=0"]', container_log_redirect="true",
            restart_policy="Always"))
        launch.wait_for("this line goes to standard error")
        time.sleep(0.1)  # between that line and the trap
        launch.send(signal.SIGTERM)
        launch.wait()
        report = self.assert_end(launch, 0)
        self.assertEqual(report["decided_by"], "operator")
        self.assertLess(launch.took_s, ENDS_WITHIN_S)
        self.note("SIGTERM with a workload that handles it: ended after %.1f s, decided by %s",
                  launch.took_s, report["decided_by"])

    def test_sigterm_ends_a_workload_that_is_deaf(self):
        launch = self.world.launch_start(self.world.attributes(
            cmd='["sleep=60"]', container_log_redirect="true", restart_policy="Always"),
            options=["--stop-grace-ms", "500"])
        launch.wait_for("this line goes to standard error")
        launch.send(signal.SIGTERM)
        launch.wait(ENDS_WITHIN_S + 60)
        self.assertLess(launch.took_s, ENDS_WITHIN_S + 20)
        report = self.assert_end(launch, 1, code="TL0903")
        self.assertEqual(report["workload"]["signal"], signal.SIGKILL)
        self.note("SIGTERM with a workload that ignores it (PID 1 does): ended after %.1f s",
                  launch.took_s)

    def test_s41_sigterm_in_each_stage_is_undone(self):
        """By the words of its log; the workload that is deaf to SIGTERM is killed. Then neither token nor
        socket nor container is left, and the machine stops whatever the policy."""
        stages = ("start", "machine", "metadata", "spec", "connect", "resolve", "policy", "tpm", "pull", "create",
                  "measure", "token", "serve", "open", "run")
        launches = []
        for stage in stages[::1 if STEP == 1 else 3]:
            said = {"start": "event=launch.start", "run": "event=workload.started"}.get(
                stage, "event=stage.done stage=" + stage)
            launch = self.world.launch_start(self.world.attributes(cmd='["sleep=60"]', restart_policy="Always"),
                                             options=["--stop-grace-ms", "300"])
            launches.append(launch.wait_for(said))
            launch.send(signal.SIGTERM)
            launch.wait()
            with self.subTest(stage=stage):
                report = launch.report
                self.assertEqual((launch.exit_code, report["exit_code"], report["action"], report["decided_by"]),
                                 (1, 1, "stop", "operator"), launch.stderr)
                if "workload" in report:
                    self.assertEqual((report["code"], report["workload"]["signal"]), ("TL0903", 9))
                else:
                    self.assertEqual(report["code"], "TL0005")
                self.assertEqual(os.listdir(launch.shared), [])
            self.note("SIGTERM after '%s': %s in '%s'", stage, report["code"], self.last_stage(launch))
        for launch in launches:
            self.assert_clean(launch)

    def held(self, what, attributes=None):
        """SIGTERM while something else than containerd keeps the launcher waiting."""
        launch = self.world.launch_start(attributes or self.world.attributes())
        parts.wait_until(lambda: what() or not launch.is_running(), "the launcher waits")
        launch.send(signal.SIGTERM)
        sent = time.monotonic()
        launch.wait()
        return launch, time.monotonic() - sent

    def test_sigterm_while_the_metadata_server_is_silent(self):
        self.world.metadata.behave({"path": "instance/attributes/", "delay_s": 30})
        seen = len(self.world.metadata.requests())
        launch, took = self.held(lambda: len(self.world.metadata.requests()) > seen)
        self.assert_end(launch, 1)
        self.assertLess(took, 10)
        self.note("SIGTERM in 'metadata': ended after %.0f ms", took * 1000)

    def stopped(self, pid, stage):
        os.kill(pid, signal.SIGSTOP)
        try:
            launch = self.world.launch_start(self.world.attributes())
            launch.wait_for("stage=" + stage)
            time.sleep(0.2)  # into the next stage, which can't go on
            launch.send(signal.SIGTERM)
            sent = time.monotonic()
            launch.wait(40)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assert_end(launch, 1)
        took = time.monotonic() - sent
        self.note("SIGTERM in '%s', whose server hangs: ended after %.0f ms", self.last_stage(launch),
                  took * 1000)
        self.assertLess(took, 20)

    def test_sigterm_while_the_registry_hangs(self):
        self.stopped(self.world.registry.process.pid, "spec")

    def test_sigterm_while_the_verifier_hangs(self):
        self.stopped(self.world.verifier.process.pid, "measure")


def ranges(numbers):
    """[1, 2, 3, 7] -> "1-3, 7"."""
    out = []
    for n in numbers:
        if out and n == out[-1][1] + 1:
            out[-1][1] = n
        else:
            out.append([n, n])
    return ", ".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in out)


if __name__ == "__main__":
    launch_case.main()
