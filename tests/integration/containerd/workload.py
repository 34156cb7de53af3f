# SPDX-License-Identifier: Apache-2.0
"""Workloads in a real containerd and runc: how they end, what of them is seen, what is left."""

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import unittest

import scratch
import rpc_proxy  # found by way of scratch

HERE = os.path.dirname(os.path.abspath(__file__))
DRIVER = sys.argv.pop(1) if len(sys.argv) > 1 else None
PASSWD = b"root:x:0:0::/:/\nworker:x:1234:2345::/:/\nbroken:x:zero:0::/:/\n"
GROUP = b"root:x:0:\nworker:x:2345:worker\nextra:x:77:root,worker\nadm:x:88:worker\n"


class Run:
    """One run of the driver; a context that ends it."""

    def __init__(self, world, image, attributes, **options):
        self.world = world
        self.dir = world.path("run-%d" % time.monotonic_ns())
        os.mkdir(self.dir, 0o700)
        spec = {"tee-image-reference": "example.test/a:1"}
        spec.update(attributes)
        for name, data in (("config", image["config"]), ("attributes", json.dumps(spec).encode())):
            with open(self.path(name), "wb") as f:
                f.write(data)
        arguments = {
            "socket": world.socket, "namespace": scratch.NAMESPACE, "chain_id": image["chain_id"],
            "shared_dir": world.path("shared"), "fifo_dir": self.dir,
            "image_config": self.path("config"), "attributes": self.path("attributes"),
            "report": self.path("report"), "console": self.path("console"),
            "pause_dir": self.dir}
        arguments.update(options)
        self.out, self.err = open(self.path("out"), "wb"), open(self.path("err"), "wb")
        self.process = subprocess.Popen(
            [DRIVER] + ["%s=%s" % item for item in arguments.items()],
            stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.out.close()
        self.err.close()

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def until(self, what, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError("never: %s\n%s\n%s" % (what, self.report_text(), self.read("err")))
            time.sleep(0.02)

    def until_console(self, text):
        self.until("console %r" % text, lambda: os.path.exists(self.path("console")) and
                   text in self.read("console"))

    def until_started(self):
        """containerd has said so: the workload may have written something before that."""
        self.until("started", lambda: "started=1" in self.report_text())

    def until_at(self, where):
        self.until("at " + where, lambda: os.path.exists(self.path("at-" + where)))

    def go(self):
        open(self.path("go"), "w").close()

    def report_text(self):
        return self.read("report").decode(errors="replace") if os.path.exists(
            self.path("report")) else ""

    def finish(self, seconds=60):
        """The report as a dict; repeated keys become lists."""
        status = self.process.wait(seconds)
        report = {"driver_status": status, "arg": [], "env": []}
        if b"Sanitizer" in self.read("err"):
            raise AssertionError(self.read("err").decode())
        for line in self.report_text().splitlines():
            key, value = line.split("=", 1)
            if key in ("arg", "env"):
                report[key].append(value)
            else:
                report.setdefault(key, value)
        return report


class Workload(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = scratch.Scratch().__enter__()
        cls.addClassCleanup(cls.world.__exit__)
        program = cls.world.compile(os.path.join(HERE, "program.c"))
        os.mkdir(cls.world.path("shared"), 0o755)
        cls.world.write("shared/token", b"the token\n")
        base = cls.world.layer({"program": (0o755, program), "noexec": (0o644, program),
                                "etc": (0o755, None), "tmp": (0o777, None),
                                "etc/passwd": (0o644, "../lib/passwd"), "lib": (0o755, None)})
        upper = cls.world.layer({"lib/passwd": (0o644, PASSWD), "etc/group": (0o644, GROUP)})
        # One layer: the links lead nowhere, so there are no users in it.
        cls.one = cls.world.image("test/one:1", [base], {"Entrypoint": ["/program"]})
        cls.image = cls.world.image("test/two:1", [base, upper], {
            "Entrypoint": ["/program"], "Cmd": ["say=from Cmd"], "Env": ["A=image", "B=2"],
            "User": "worker", "WorkingDir": "/tmp"})

    @classmethod
    def tearDownClass(cls):
        """A shim takes a second to go, so processes are looked for once."""
        end = time.monotonic() + 10
        while cls.world.store.leftovers():
            if time.monotonic() > end:
                raise AssertionError(cls.world.store.leftovers())
            time.sleep(0.1)

    def left(self):
        return [x for x in self.world.store.leftovers() if not x.startswith("process ")]

    def no_bundle_is_left(self):
        """containerd 1.6 removes a task's folder under a hidden name (atomicDelete in runtime/v2/bundle.go).
        What its runc still writes there then, or a kill in the middle, leaves that one for good, and the
        next removal of the same name fails of it. It is containerd's, so it is only printed; a machine
        has an empty /run after each boot."""
        end = time.monotonic() + 10
        while self.world.store.bundles() and time.monotonic() < end:
            time.sleep(0.02)
        left = {b: sorted(os.listdir(b)) for b in self.world.store.bundles()}
        for bundle in left:
            shutil.rmtree(bundle)
        hidden = [b for b in left if os.path.basename(b).startswith(".")]
        if hidden:
            print("containerd left what it was removing:", [left.pop(b) for b in hidden])
        self.assertEqual(left, {}, self.world.store.process.words()[-6000:])

    def runs_runc(self, number):
        """Whether a runc of this world runs; each is sent the signal."""
        found = False
        for pid in self.world.store.pids():
            with contextlib.suppress(OSError):  # it may end between the looks
                with open("/proc/%d/cmdline" % pid, "rb") as f:  # empty: a zombie
                    if os.path.basename(f.read().split(b"\0")[0]) == b"runc":
                        found = True
                        os.kill(pid, number)
        return found

    def runc_forgets(self):
        """A containerd that was killed, or lost its own state, no longer ends what its runc still knows: the
        next creation of the same name would fail of it once. As above: containerd's, and /run's."""
        for number in (0, signal.SIGKILL):  # a creation may still go on; one without a start stays
            end = time.monotonic() + 5
            while self.runs_runc(number) and time.monotonic() < end:
                time.sleep(0.02)
        left = self.world.store.runc_states()
        for path in left:
            shutil.rmtree(path)
        if left:
            print("containerd left to runc:", [os.path.basename(path) for path in left])

    def tearDown(self):
        """Nothing of ours is left in containerd or runc, and no folder of FIFOs on the disk."""
        self.assertEqual(self.left(), [])
        self.no_bundle_is_left()
        end = time.monotonic() + 10
        while self.world.store.runc_states() and time.monotonic() < end:
            time.sleep(0.02)
        self.assertEqual(self.world.store.runc_states(), [])
        left = subprocess.run(["find", self.world.top, "-path", "*/c", "-prune", "-o", "-type", "p",
                               "-print"], stdout=subprocess.PIPE, check=True).stdout.decode()
        self.assertEqual([p for p in left.split() if "/output-" in p], [])

    def start(self, *acts, image=None, redirect="serial", attributes=None, **options):
        # A comma may not be part of an argument: metadata splits no arguments, but ours have none.
        spec = {"tee-container-log-redirect": redirect}
        if acts:
            spec["tee-cmd"] = json.dumps(list(acts))
        spec.update(attributes or {})
        return Run(self.world, image or self.image, spec, **options)

    def run_to_end(self, *acts, **more):
        with self.start(*acts, **more) as run:
            report = run.finish()
            report["console"] = run.read("console").decode(errors="replace")
            report["out"] = run.read("out").decode(errors="replace")
            report["err"] = run.read("err").decode(errors="replace")
            return report

    def assert_end(self, report, status, code=None, signal_number=0):
        self.assertNotIn("failed", report, report)
        self.assertEqual((report["exit_status"], report["signal"], report.get("code")),
                         (str(status), str(signal_number), code), report)
        self.assertEqual((report["dropped"], report["cut"]), ("0", "0"))

    def test_success(self):
        report = self.run_to_end()
        self.assert_end(report, 0)
        self.assertEqual(report["console"], "from Cmd\n")
        self.assertEqual(report["arg"], ["/program", "say=from Cmd"])

    def test_status(self):
        self.assert_end(self.run_to_end("exit=1"), 1, "TL_E_WORKLOAD_STATUS")

    def test_crash_by_signal(self):
        self.assert_end(self.run_to_end("say=before", "crash"), 139,
                        "TL_E_WORKLOAD_SIGNAL", signal.SIGSEGV)

    def test_status_that_looks_like_a_signal(self):
        """137 chosen by the program reads as SIGKILL: the message keeps both."""
        report = self.run_to_end("exit=137")
        self.assert_end(report, 137, "TL_E_WORKLOAD_SIGNAL", signal.SIGKILL)
        self.assertIn("or chose status 137", report["message"])

    def test_killed_from_outside(self):
        with self.start("say=up", "sleep=60") as run:
            run.until_console(b"up")
            self.world.ctr("tasks", "kill", "-s", "KILL", "tee-container")
            self.assert_end(run.finish(), 137, "TL_E_WORKLOAD_SIGNAL", signal.SIGKILL)

    def test_environment_user_and_folders(self):
        report = self.run_to_end(
            "env=A", "env=N", "env=HOSTNAME", "ids", "cat=/run/container_launcher/token",
            "write=/run/container_launcher/token", "cat=/proc/self/oom_score_adj",
            attributes={"tee-env-N": "new", "tee-env-A": "operator"})
        self.assert_end(report, 0)
        self.assertEqual(report["console"].splitlines(), [
            "A=operator", "N=new", "HOSTNAME=test-host",
            "uid=1234 gid=2345 groups=77,88,2345 cwd=/tmp", "the token",
            "write /run/container_launcher/token: Read-only file system", "1000"])
        spec = json.loads(report["spec"])
        self.assertEqual(spec["process"]["args"], report["arg"])
        self.assertEqual(spec["process"]["env"], report["env"])
        self.assertEqual(report["env"], ["A=operator", "B=2", "N=new", "HOSTNAME=test-host"])

    def test_json_lines_and_raw_console(self):
        report = self.run_to_end("say=one <two>", "complain=three", redirect="true")
        self.assert_end(report, 0)
        self.assertEqual(report["out"],
                         '{"message":"one \\u003ctwo\\u003e","severity":"INFO"}\n')
        self.assertEqual(report["err"], '{"message":"three","severity":"ERROR"}\n')
        self.assertEqual(sorted(report["console"].splitlines()), ["one <two>", "three"])

    def test_output_nowhere(self):
        report = self.run_to_end("say=unseen", "exit=3", redirect="false")
        self.assert_end(report, 3, "TL_E_WORKLOAD_STATUS")
        self.assertEqual((report["console"], report["out"], report["err"]), ("", "", ""))

    def test_a_burst_is_seen_whole(self):
        report = self.run_to_end("burst=1024", "exit=0")
        self.assert_end(report, 0)
        lines = report["console"].splitlines()
        self.assertEqual(len(lines), 1024 * 16 + 1)
        self.assertEqual(lines[-1], "the last line")
        self.assertTrue(all(lines[i].startswith("%08d " % i) for i in range(1024 * 16)))
        self.assertEqual(int(report["bytes"]), len(report["console"]))

    def test_a_stuck_console_does_not_stop_the_workload(self):
        fifo = self.world.path("stuck-console")
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)  # never read from
        try:
            started = time.monotonic()
            with self.start("burst=1024", redirect="true", console=fifo) as run:
                report = run.finish()
                took = time.monotonic() - started
                self.assertEqual(report["exit_status"], "0")
                self.assertGreater(int(report["dropped"]), 500000)
                self.assertIn(b"the last line", run.read("out"))
                self.assertEqual(run.read("out").count(b"\n"), 1024 * 16 + 1)
                self.assertLess(took, 15)
        finally:
            os.close(reader)

    def test_missing_program(self):
        image = self.world.image("test/none:1", [self.world.layer({"a": (0o644, b"")})],
                                 {"Entrypoint": ["/none"]})
        report = self.run_to_end(image=image)
        self.assertEqual((report["failed"], report["code"], report["class"]),
                         ("create", "TL_E_WORKLOAD_PROGRAM", "workload"), report)
        self.assertIn('/none', report["message"])

    def test_program_that_is_not_executable(self):
        image = dict(self.image, config=json.dumps(dict(
            json.loads(self.image["config"]), config={"Entrypoint": ["/noexec"]})).encode())
        report = self.run_to_end(image=image)
        self.assertEqual((report["failed"], report["code"]), ("create", "TL_E_WORKLOAD_PROGRAM"))

    def with_config(self, **config):
        return dict(self.image, config=json.dumps(dict(
            json.loads(self.image["config"]), config=config)).encode())

    def test_no_program_of_the_image(self):
        for acts, config, words in ((("/program",), {}, "tee-cmd"), ((), {}, "nothing to run")):
            report = self.run_to_end(*acts, image=self.with_config(**config))
            self.assertEqual((report["failed"], report["code"], report["class"]),
                             ("create", "TL_E_CONTAINER_ARGS", "denied"), report)
            self.assertIn(words, report["message"])

    def test_user_that_is_not_listed(self):
        for user in ("nobody", "broken", "worker:nogroup", "a:b:c"):
            report = self.run_to_end(image=self.with_config(Entrypoint=["/program"], User=user))
            self.assertEqual((report["failed"], report["code"], report["class"]),
                             ("create", "TL_E_CONTAINER_USER", "denied"), report)

    def test_users_as_numbers_and_without_files(self):
        for user, ids in (("77:88", "uid=77 gid=88 groups=88"), ("1234", "uid=1234 gid=2345"),
                          ("", "uid=0 gid=0 groups=0,77")):
            report = self.run_to_end("ids", image=self.with_config(Entrypoint=["/program"],
                                                                   User=user))
            self.assert_end(report, 0)
            self.assertIn(ids, report["console"])
        report = self.run_to_end("ids", image=self.one)
        self.assertIn("uid=0 gid=0 groups=0 ", report["console"])

    def test_relative_working_dir(self):
        report = self.run_to_end(image=self.with_config(Entrypoint=["/program"], WorkingDir="tmp"))
        self.assertEqual((report["failed"], report["code"]), ("create", "TL_E_CONTAINER_INPUT"))

    def test_sigterm_is_relayed(self):
        with self.start("trap=15", "say=ready", "wait=got it", "exit=42") as run:
            run.until_console(b"ready")
            run.process.send_signal(signal.SIGTERM)
            report = run.finish()
            self.assert_end(report, 42, "TL_E_WORKLOAD_STATUS")
            self.assertTrue(run.read("console").endswith(b"got it\n"))

    def test_sigterm_before_the_start_is_not_lost(self):
        path = self.world.path("calls.sock")
        with rpc_proxy.RpcProxy(path, self.world.socket, lambda _path, _nth: None) as proxy, \
                self.start("sleep=60", pause_at="created", kill_grace_ms=3000, socket=path) as run:
            run.until_at("created")
            run.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            run.go()
            # PID 1 of a namespace ignores a signal it has no handler for: the grace ends it.
            self.assert_end(run.finish(), 137, "TL_E_WORKLOAD_SIGNAL", signal.SIGKILL)
        calls = [c.rpartition("/")[2] for c in proxy.calls if ".Tasks/" in c]
        start = calls.index("Start")
        self.assertNotIn("Kill", calls[:start])
        self.assertGreaterEqual(calls[start:].count("Kill"), 2, calls)  # SIGTERM, then SIGKILL

    def test_sigkill_after_the_grace(self):
        with self.start("ignore=15", "say=ready", "sleep=60", kill_grace_ms=500) as run:
            run.until_console(b"ready")
            run.process.send_signal(signal.SIGTERM)
            report = run.finish(20)
            self.assert_end(report, 137, "TL_E_WORKLOAD_SIGNAL", signal.SIGKILL)

    def test_sigkill_at_once_on_an_alarm(self):
        with self.start("ignore=15", "say=ready", "sleep=60", kill_grace_ms=60000) as run:
            run.until_console(b"ready")
            run.process.send_signal(signal.SIGUSR1)
            report = run.finish(20)
            self.assert_end(report, 137, "TL_E_WORKLOAD_SIGNAL", signal.SIGKILL)

    def test_nothing_runs_before_the_start(self):
        with self.start("say=ran", pause_at="created") as run:
            run.until_at("created")
            time.sleep(0.5)
            self.assertEqual(run.read("console"), b"")
            self.assertIn("CREATED", self.world.ctr("tasks", "ls"))
            run.go()
            self.assert_end(run.finish(), 0)
            self.assertEqual(run.read("console"), b"ran\n")

    def test_leftovers_of_a_killed_launcher_are_removed(self):
        with self.start("say=first", "sleep=300") as run:
            run.until_console(b"first")
            run.process.kill()
            run.process.wait()
        self.assertEqual(self.world.names("tasks", "ls"), ["tee-container"])
        report = self.run_to_end("say=second")
        self.assert_end(report, 0)
        self.assertEqual(report["console"], "second\n")
        subprocess.run(["rm", "-rf", run.dir], check=True)

    def test_leftovers_of_a_killed_creation_are_removed(self):
        with self.start("sleep=300", pause_at="created") as run:
            run.until_at("created")
            run.process.kill()
            run.process.wait()
        self.assert_end(self.run_to_end("say=second"), 0)
        subprocess.run(["rm", "-rf", run.dir], check=True)

    def test_a_snapshot_that_stayed_alone_is_removed(self):
        self.world.ctr("snapshots", "prepare", "tee-snapshot", self.image["chain_id"])
        self.assert_end(self.run_to_end("say=second"), 0)

    def test_containerd_restarts_during_the_run(self):
        with self.start("trap=15", "say=up", "wait=still here", "exit=5") as run:
            run.until_console(b"up")
            self.world.stop(signal.SIGKILL)
            time.sleep(0.5)
            self.world.start()
            run.process.send_signal(signal.SIGTERM)
            self.assert_end(run.finish(), 5, "TL_E_WORKLOAD_STATUS")
            self.assertEqual(run.read("console"), b"up\nstill here\n")

    def test_workload_ends_while_containerd_is_away(self):
        with self.start("say=up", "sleep=1", "burst=256", "exit=6") as run:
            run.until_console(b"up")
            run.until_started()
            self.world.stop(signal.SIGTERM)
            time.sleep(2)
            self.world.start()
            self.assert_end(run.finish(), 6, "TL_E_WORKLOAD_STATUS")
            self.assertIn(b"the last line", run.read("console"))

    def test_a_workload_that_containerd_forgot_is_lost(self):
        with self.start("say=up", "sleep=60") as run:
            run.until_console(b"up")
            run.until_started()
            self.world.stop(signal.SIGKILL)
            for pid in self.world.store.pids():
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.world.path("c", "state", "io.containerd.runtime.v2.task"),
                          ignore_errors=True)
            self.world.start()
            report = run.finish()
            self.assertEqual((report["failed"], report["code"], report["class"]),
                             ("wait", "TL_E_WORKLOAD_LOST", "retry"), report)
        self.runc_forgets()

    def test_containerd_restarts_between_creation_and_start(self):
        with self.start("say=ran", "exit=7", pause_at="created") as run:
            run.until_at("created")
            self.world.stop(signal.SIGKILL)
            self.world.start()
            run.go()
            self.assert_end(run.finish(), 7, "TL_E_WORKLOAD_STATUS")

    def test_containerd_goes_away_during_creation(self):
        """Wherever it hits: either it worked, or one clear error of class retry and nothing left."""
        outcomes = set()
        for delay_ms in (5, 20, 40, 60, 90, 130):
            with self.start("say=ran", pause_at="begin") as run:
                run.until_at("begin")
                run.go()
                time.sleep(delay_ms / 1000)
                self.world.stop(signal.SIGKILL)
                time.sleep(0.3)
                self.world.start()
                report = run.finish()
                if "failed" in report:
                    self.assertEqual((report["driver_status"], report["class"]), (0, "retry"),
                                     report)
                outcomes.add(report.get("failed", "worked"))
            self.assertEqual(self.left(), [])
            self.no_bundle_is_left()
            self.runc_forgets()
        print("containerd away during creation:", sorted(outcomes))

    def test_containerd_away_from_the_start(self):
        self.world.stop()
        try:
            report = self.run_to_end("say=ran")
        finally:
            self.world.start()
        self.assertEqual((report["failed"], report["code"], report["class"]),
                         ("create", "TL_E_CONTAINER_LEFTOVER", "retry"), report)

    def test_a_workload_runs_out_of_memory(self):
        """The limit is set from outside, on cgroup v1 or v2: the specification has none."""
        with self.start("eat=200", pause_at="created") as run:
            run.until_at("created")
            cgroups = os.path.join("/proc", str(self.world.store.process.pid), "root", "sys/fs/cgroup/")
            name = scratch.NAMESPACE + "/tee-container"
            limits = [p for p in (cgroups + "memory/%s/memory.limit_in_bytes" % name,
                                  cgroups + name + "/memory.max") if os.path.exists(p)]
            self.assertEqual(len(limits), 1, "the kernel has no memory controller")
            with open(limits[0], "w") as f:
                f.write("33554432")
            run.go()
            report = run.finish()
            self.assert_end(report, 137, "TL_E_WORKLOAD_OOM", signal.SIGKILL)
            self.assertEqual(report["oom"], "1")


if __name__ == "__main__":
    unittest.main(verbosity=2)
