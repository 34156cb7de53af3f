#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""S40: how a launch ends decides what becomes of the VM. Real launches, and after each the exit unit with a
service manager that writes down what it is asked for: the exit code, the report and what the machine does.

Each outcome has its row of the table, walked in full by one cause (restart policy x production or debug);
every other cause is one cell of it. TL_LONG=1 walks the whole table with each cause."""
import contextlib
import datetime
import glob
import json
import os
import signal

import exit_unit
import launch_case
import parts
from manager import Manager

STOP_OK, STOP, RESTART, HOLD = 0, 1, 3, 4
POLICIES = ("Never", "OnFailure", "Always")
GET = "org.freedesktop.DBus.Properties.Get"
# From the workload's drained end to the request for the machine's end. It takes less than 2 s; a busy
# machine is forgiven more.
ASKED_WITHIN_S = 10

# Outcome -> exit code in production, by restart policy; debug always holds.
TABLE = {
    "success": {"Never": STOP_OK, "OnFailure": STOP_OK, "Always": RESTART},
    "workload": {"Never": STOP, "OnFailure": RESTART, "Always": RESTART},
    "retry": {"Never": STOP, "OnFailure": RESTART, "Always": RESTART},
    "denied": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
    "fatal": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
    # A shutdown that was asked for never restarts.
    "success, asked": {"Never": STOP_OK, "OnFailure": STOP_OK, "Always": STOP_OK},
    "workload, asked": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
    "retry, asked": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
    # The exit unit decides then, and reports.
    "died": {"Never": STOP, "OnFailure": STOP, "Always": STOP},
}


class Cause:
    """One way to end. @harm is done to the running launch; @said is what the report says of the workload."""

    def __init__(self, outcome, code=None, cmd=(), image="demo/hello:1", harm=None, said=None, options=()):
        self.outcome, self.code, self.cmd, self.image = outcome, code, cmd, image
        self.harm, self.said, self.options = harm, said or {}, options


def status(number):
    """The workload ends with that status; from 129 on, runc's way of naming a signal can't be told from it."""
    signal_number = number - 128 if 128 < number <= 128 + signal.SIGRTMAX else 0
    said = {"signal": signal_number} if signal_number else {"exit_status": number}
    code = None if number == 0 else "TL0903" if signal_number else "TL0902"
    return Cause("workload" if number else "success", code, ["exit=%d" % number], said=dict(said, oom_killed=False))


def killed(test, launch):
    os.kill(test.workload_pid(launch), signal.SIGKILL)


def memory_runs_out(test, launch):
    test.limit_memory(launch, 32 << 20)


def terminated(test, launch):
    launch.wait_for("hello: this line goes to standard error")
    parts.wait_until(lambda: test.catches_sigterm(launch) or not launch.is_running(), "the workload's trap")
    launch.send(signal.SIGTERM)


def terminated_though_deaf(_, launch):
    launch.wait_for("event=workload.started")
    launch.send(signal.SIGTERM)


def terminated_before_it_runs(_, launch):
    launch.wait_for("stage=spec")
    launch.send(signal.SIGTERM)


def launcher_killed(_, launch):
    launch.wait_for("event=workload.started")
    launch.send(signal.SIGKILL)


def launcher_stuck(_, launch):
    """As the watchdog finds it, and ends it."""
    launch.wait_for("event=workload.started")
    launch.send(signal.SIGSTOP)
    launch.send(signal.SIGABRT)
    launch.send(signal.SIGCONT)


ROWS = {
    "exits with 0": status(0),
    "exits with 1": status(1),
    "finds no verifier": Cause("retry", "TL0008", options=("--verifier", "https://127.0.0.1:1",
                                                           "--first-token-budget-ms", "300")),
    "is denied by policy": Cause("denied", "TL0407", ["x"], "demo/strict:1"),
    "has no protected disk": Cause("fatal", "TL0103", options=("--disk", "protected")),
}
OTHERS = {
    **{"exits with %d" % n: status(n) for n in (127, 129, 193, 255)},
    "is killed": Cause("workload", "TL0903", ["sleep=60"], harm=killed, said={"signal": 9, "oom_killed": False}),
    "crashes": Cause("workload", "TL0903", ["crash"], said={"signal": 11}),
    "runs out of memory": Cause("workload", "TL0904", ["trap", "sleep=60", "eat=200"], harm=memory_runs_out,
                                said={"signal": 9, "oom_killed": True}),
    "has no entrypoint file": Cause("workload", "TL0901", image="test/missing:1"),
    "hears SIGTERM": Cause("success, asked", None, ["trap", "sleep=60", "exit=0"], harm=terminated,
                           said={"exit_status": 0}),
    "hears SIGTERM and fails": Cause("workload, asked", "TL0902", ["trap", "sleep=60", "exit=7"],
                                     harm=terminated, said={"exit_status": 7}),
    "is deaf to SIGTERM": Cause("workload, asked", "TL0903", ["sleep=60"], harm=terminated_though_deaf,
                                said={"signal": 9}, options=("--stop-grace-ms", "300")),
    "is asked to stop early": Cause("retry, asked", "TL0005", harm=terminated_before_it_runs),
    "loses its launcher (killed)": Cause("died", "TL0906", ["sleep=60"], harm=launcher_killed),
    "loses its launcher (watchdog)": Cause("died", "TL0906", ["sleep=60"], harm=launcher_stuck),
}
# For a long test: more of the same, and what takes its time.
SLOW = {
    **{"exits with %d" % n: status(n) for n in (2, 42, 126, 128, 137, 143, 192)},
    "finds no registry": Cause("retry", "TL0008", image="127.0.0.1:1/none:1"),
    "finds no containerd": Cause("retry", "TL0602", options=("--containerd", "/nonexistent/containerd.sock")),
}


class Exit(launch_case.LaunchCase):
    def setUp(self):
        super().setUp()
        self.manager = Manager(self.world.path("manager"))
        self.addCleanup(self.manager.close)
        self.launches = []

    def tearDown(self):
        """Nothing is left of any; looked for once, as a shim takes two seconds to go. A launcher that died
        leaves files in memory, which goes with the machine."""
        for launch in self.launches:
            if launch.exit_code >= 0:
                self.assert_clean(launch)

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

    def catches_sigterm(self, launch):
        with contextlib.suppress(OSError):
            text = parts.read("/proc/%d/status" % self.workload_pid(launch))
            return int(text.split("SigCgt:")[1].split()[0], 16) >> (signal.SIGTERM - 1) & 1
        return False

    def limit_memory(self, launch, limit_bytes):
        """From outside, on cgroup v1 or v2; then the workload goes on by SIGTERM."""
        parts.wait_until(lambda: self.catches_sigterm(launch), "the workload's trap")
        pid = self.workload_pid(launch)
        groups = dict(line.split(":", 2)[1:] for line in parts.read("/proc/%d/cgroup" % pid).splitlines())
        name = os.path.basename(groups.get("memory", groups.get("", "")))
        top = os.path.join("/proc", str(self.world.containerd.process.pid), "root", "sys/fs/cgroup/")
        files = glob.glob(top + "memory/**/%s/memory.limit_in_bytes" % name, recursive=True) + \
            glob.glob(top + "**/%s/memory.max" % name, recursive=True)
        self.assertEqual(len(files), 1, (groups, files))
        parts.write(files[0], str(limit_bytes))
        os.kill(pid, signal.SIGTERM)

    def exit_unit(self, launch):
        """What the exit unit makes of the launch's end: the words that it asked the manager for."""
        self.manager.calls.clear()
        done = exit_unit.run(exit_unit.ended(launch.exit_code), self.world.tpm.file("cmdline"),
                             launch.console_file, self.manager.path,
                             options=["--containerd", self.world.containerd.socket])
        calls = [c for c in self.manager.calls if c != GET]
        self.assertEqual(done.returncode, exit_unit.BY_MANAGER if calls else 0, done.stderr)
        return calls

    def seconds_to_the_request(self, launch):
        """From the workload's drained end to the exit unit's act, by the stamps on the console."""
        def stamp(event):
            line = next(line for line in launch.console.splitlines() if "event=%s " % event in line)
            return datetime.datetime.fromisoformat(line.split("time=")[1].split("Z ")[0])
        return (stamp("exit") - stamp("workload.ended")).total_seconds()

    def launch_cell(self, cause, policy, is_hardened):
        keys = {"restart_policy": policy}
        if cause.cmd:
            keys["cmd"] = json.dumps(list(cause.cmd))
        if cause.image == "demo/hello:1":
            keys["container_log_redirect"] = "true"
        attributes = self.world.attributes(cause.image, **keys)
        if cause.image.startswith("127.0.0.1:1/"):
            attributes["tee-image-reference"] = cause.image
        launch = self.world.launch_start(attributes, hardened=is_hardened, options=cause.options)
        self.launches.append(launch)
        if cause.harm:
            cause.harm(self, launch)
        return launch.wait(120)

    def cell(self, what, policy, is_hardened):
        cause = {**ROWS, **OTHERS, **SLOW}[what]
        want = TABLE[cause.outcome][policy] if is_hardened else HOLD
        launch = self.launch_cell(cause, policy, is_hardened)
        calls = self.exit_unit(launch)
        with self.subTest(what=what, policy=policy, is_hardened=is_hardened):
            report = launch.report  # exactly one is on the console, the exit unit's included
            if cause.outcome == "died":
                self.assertLess(launch.exit_code, 0, launch.stderr)
                self.assertIn("event=exit.workload_gone", launch.console)
                self.assertFalse(os.path.exists(launch.state + "/report.json"))
            else:
                self.assertEqual(launch.exit_code, want, launch.stderr)
                self.assertEqual(json.loads(parts.read(launch.state + "/report.json"))["exit_code"], want)
            result = "fatal" if cause.outcome == "died" else cause.outcome.split(",")[0]
            action = {STOP_OK: "stop", STOP: "stop", RESTART: "restart", HOLD: "hold"}[want]
            self.assertEqual((report["result"], report.get("code"), report["exit_code"], report["action"]),
                             (result, cause.code, want, action), launch.stderr)
            if result != "success":
                self.assertTrue(report["message"].strip())
            by = "operator" if "asked" in cause.outcome else "workload" if "workload" in report else "launcher"
            self.assertEqual(report["decided_by"], by)
            self.assertEqual(calls, {"stop": ["PowerOff"], "restart": ["Reboot"], "hold": []}[action])
            self.assertEqual({k: report.get("workload", {}).get(k) for k in cause.said}, cause.said)
        took = ""
        if "event=workload.ended" in launch.console:
            seconds = self.seconds_to_the_request(launch)
            self.assertLess(seconds, ASKED_WITHIN_S)
            took = "asked after %.2f s" % seconds
        self.note("%-30s %-9s %-10s -> %2d %-7s %-8s %-6s %s", what, policy,
                  "production" if is_hardened else "debug", launch.exit_code, report["action"],
                  report["result"], report.get("code", ""), took)

    def row(self, what):
        for policy in POLICIES:
            for is_hardened in (True, False):
                self.cell(what, policy, is_hardened)

    def test_s40_each_outcome_in_each_cell_of_the_table(self):
        self.assertEqual({ROWS[what].outcome for what in ROWS},
                         {"success", "workload", "retry", "denied", "fatal"})
        for what in ROWS:
            self.row(what)

    def test_s40_each_cause_has_its_outcome(self):
        """With the policy that restarts, if any does: what asks for a restart and gets none shows so."""
        for what in {**OTHERS, **SLOW} if os.environ.get("TL_LONG") else OTHERS:
            if os.environ.get("TL_LONG"):
                self.row(what)
            else:
                self.cell(what, "Always", True)

    def test_no_metadata_counts_as_never(self):
        self.world.metadata.behave({"path": "instance/attributes/", "status": 404, "body": "no"})
        launch = self.world.launch(self.world.attributes(restart_policy="Always"))
        self.assert_end(launch, STOP, "denied", "TL0203")

    def test_a_held_machine_keeps_no_workload_without_a_launcher(self):
        launch = self.world.launch_start(self.world.attributes(cmd='["sleep=60"]'), hardened=False)
        pid = self.workload_pid(launch)
        launch.send(signal.SIGKILL)
        launch.wait()
        self.assertTrue(os.path.exists("/proc/%d" % pid), "it runs on")
        self.assertEqual(self.exit_unit(launch), [])
        parts.wait_until(lambda: not os.path.exists("/proc/%d" % pid), "the workload's end")
        self.assertEqual((launch.report["action"], launch.report["code"]), ("hold", "TL0906"))

    def test_the_launcher_being_killed_leaves_what_the_next_one_cleans_up(self):
        launch = self.world.launch_start(self.world.attributes(cmd='["sleep=60"]'))
        parts.wait_until(lambda: "first instruction" in launch.console or not launch.is_running() or
                         "stage=token" in launch.stderr, "the workload runs")
        launch.send(signal.SIGKILL)
        launch.wait()
        again = self.world.launch(self.world.attributes(cmd='["exit=0"]'))
        self.assert_end(again, STOP_OK, "success")
        self.note("killed launcher: the next launch cleans up after it and succeeds")


if __name__ == "__main__":
    launch_case.main()
