#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How a launch ends decides what becomes of the VM: every cell of the table of outcomes, by real
launches. Outcome of the workload or the launcher x restart policy x production or debug."""
import contextlib
import os
import signal

import launch_case
import parts

STOP_OK, STOP, RESTART, HOLD = 0, 1, 3, 4

# Class of the outcome -> exit code in production, by restart policy; debug always holds.
TABLE = {
    "success": {"Never": STOP_OK, "OnFailure": STOP_OK, "Always": RESTART},
    "workload": {"Never": STOP, "OnFailure": RESTART, "Always": RESTART},
    "retry": {"Never": STOP, "OnFailure": RESTART, "Always": RESTART},
    "denied": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
}
# What happens -> (class, image, more metadata, what the report says of the workload)
ENDS = {
    "exits with 0": ("success", "demo/hello:1", {"cmd": '["exit=0"]'}, {"exit_status": 0}),
    "exits with 1": ("workload", "demo/hello:1", {"cmd": '["exit=1"]'}, {"exit_status": 1}),
    "exits with 137": ("workload", "demo/hello:1", {"cmd": '["exit=137"]'}, None),
    "is killed (signal 9)": ("workload", "demo/hello:1", {"cmd": '["sleep=60"]'}, {"signal": 9}),
    "crashes (signal 11)": ("workload", "demo/hello:1", {"cmd": '["crash"]'}, {"signal": 11}),
    "has no entrypoint file": ("workload", "test/missing:1", {}, None),
    "is denied by policy": ("denied", "demo/strict:1", {"cmd": '["x"]'}, None),
}


class Exit(launch_case.LaunchCase):
    def cell(self, what, policy, is_hardened):
        kind, image, more, workload = ENDS[what]
        want = TABLE[kind][policy] if is_hardened else HOLD
        launch = self.world.launch_start(self.world.attributes(image, restart_policy=policy, **more),
                                         hardened=is_hardened)
        if "killed" in what:
            os.kill(self.workload_pid(launch), signal.SIGKILL)
        launch.wait()
        with self.subTest(what=what, policy=policy, is_hardened=is_hardened):
            report = self.assert_end(launch, want, kind)
            if workload:
                self.assertEqual({k: report["workload"].get(k) for k in workload}, workload)
        self.note("%-24s %-9s %-10s -> %d %-7s %-8s %s", what, policy,
                  "production" if is_hardened else "debug", launch.exit_code, launch.report["action"],
                  launch.report["result"], launch.report.get("code", ""))

    def workload_pid(self, launch):
        """The process of the container, once it runs the image's program."""
        def found():
            for pid in self.world.containerd.pids():
                with contextlib.suppress(OSError):
                    if os.readlink("/proc/%d/exe" % pid) == "/hello":
                        return pid
            return None
        launch.wait_for("event=workload.started")
        return parts.wait_until(found, "the workload's process")

    def column(self, what):
        for policy in ("Never", "OnFailure", "Always"):
            for is_hardened in (True, False):
                self.cell(what, policy, is_hardened)

    def test_the_workload_exits_with_0(self):
        self.column("exits with 0")

    def test_the_workload_exits_with_1(self):
        self.column("exits with 1")

    def test_the_workload_exits_with_137_by_itself(self):
        self.cell("exits with 137", "OnFailure", True)

    def test_the_workload_is_killed(self):
        self.column("is killed (signal 9)")

    def test_the_workload_crashes(self):
        self.column("crashes (signal 11)")

    def test_the_entrypoint_is_missing(self):
        self.column("has no entrypoint file")

    def test_the_policy_denies(self):
        self.column("is denied by policy")

    def test_a_registry_that_is_down_is_a_reason_to_try_again(self):
        self.world.registry.process.stop()
        try:
            for policy in ("Never", "OnFailure", "Always"):
                for is_hardened in (True, False):
                    launch = self.world.launch(self.world.attributes(restart_policy=policy),
                                               hardened=is_hardened)
                    with self.subTest(policy=policy, is_hardened=is_hardened):
                        self.assert_end(launch, TABLE["retry"][policy] if is_hardened else HOLD, "retry")
                    self.note("%-24s %-9s %-10s -> %d %s", "registry is down", policy,
                              "production" if is_hardened else "debug", launch.exit_code,
                              launch.report["code"])
        finally:
            self.world.registry.launch()

    def test_no_metadata_counts_as_never(self):
        self.world.metadata.behave({"path": "instance/attributes/", "status": 404, "body": "no"})
        launch = self.world.launch(self.world.attributes(restart_policy="Always"))
        self.assertEqual(launch.exit_code, STOP, launch.stderr)
        self.note("no metadata: %d %s %s", launch.exit_code, launch.report["result"],
                  launch.report["message"])

    def test_the_launcher_being_killed_leaves_what_the_next_one_cleans_up(self):
        launch = self.world.launch_start(self.world.attributes(cmd='["sleep=60"]'))
        parts.wait_until(lambda: "first instruction" in launch.console or not launch.is_running() or
                         "stage=token" in launch.stderr, "the workload runs")
        launch.send(9)
        launch.wait()
        again = self.world.launch(self.world.attributes(cmd='["exit=0"]'))
        self.assert_end(again, STOP_OK, "success")
        self.note("killed launcher: the next launch cleans up after it and succeeds")


if __name__ == "__main__":
    launch_case.main()
