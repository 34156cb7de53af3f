#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What changes behind the launcher's back between its checks and the workload's start: a containerd that stores
another specification than it was given (S14), and a container that is dead when it is to be started while the
operator asks for monitoring (quirk 18 of docs/quirks.md). Containerd is real; a valve before it does the harm."""
import os
import re
import signal
import time

import launch_case
import measured
import parts
from valve import FRAME_HEAD, PREFACE, Valve, exactly

DATA = 0


class Forger(Valve):
    """Puts other bytes, as many, into what the client sends; frames keep their lengths. @forged counts them."""

    def __init__(self, where, target, old, new):
        super().__init__(where, target)
        assert len(old) == len(new)
        self.old, self.new, self.forged = old, new, 0

    def to_server(self, client, server):
        stream = client.makefile("rb")
        server.sendall(exactly(stream, PREFACE))
        while True:
            head = exactly(stream, FRAME_HEAD)
            payload = exactly(stream, int.from_bytes(head[:3], "big"))
            if head[3] == DATA:
                with self.lock:
                    self.forged += payload.count(self.old)
                payload = payload.replace(self.old, self.new)
            server.sendall(head + payload)


class Drift(launch_case.LaunchCase):
    images = ("demo/hello:1", "test/memory-always:1")

    def forged_launch(self, old, new, **keys):
        path = self.world.path("forger.sock")
        self.world.boot("--hardened")
        with Forger(path, self.world.containerd.socket, old, new) as forger:
            launch = self.world.launch_start(self.world.attributes(container_log_redirect="true", **keys),
                                             options=["--containerd", path])
            launch.wait()
        return launch, forger

    def test_s14_a_specification_that_containerd_changed_never_runs(self):
        """Arguments, and what confines: each is in the specification alone, and once."""
        for old, new in ((b'"exit=40"', b'"exit=41"'), (b'"noNewPrivileges":true', b'"noNewPrivileges":null')):
            launch, forger = self.forged_launch(old, new, cmd='["exit=40"]', restart_policy="Always")
            with self.subTest(old=old):
                self.assertEqual(forger.forged, 1)
                report = self.assert_end(launch, 1, "fatal", "TL0616")
                self.assertEqual(report["stages"][-1]["name"], "create")
                self.assertNotIn("event=measured", launch.stderr)
                self.assertEqual(launch.workload_lines, [])

    def test_s14_nothing_forged_is_nothing_found(self):
        launch, forger = self.forged_launch(b'"exit=39"', b'"exit=41"', cmd='["exit=40"]')
        self.assertEqual(forger.forged, 0)
        self.assert_end(launch, 1, "workload")

    def test_a_name_that_means_another_image_by_then_changes_nothing(self):
        """Quirk 21: what is measured is what the container was made from, whatever its name means now."""
        path, moved = self.world.path("mover.sock"), []
        ctr, ref = self.world.containerd.ctr, self.world.registry.ref
        name, other = self.images
        self.assert_end(self.world.launch(self.world.attributes(other, cmd='["exit=0"]')), 0, "success")
        attributes = self.world.attributes(name, cmd='["exit=0"]')

        def on_call(_):
            if not moved and "event=stage.done stage=pull" in launch.stderr:
                moved.append(ctr("images", "tag", "--force", ref(other), ref(name)))
        self.world.boot("--hardened")
        with Valve(path, self.world.containerd.socket, on_call=on_call):
            launch = self.world.launch_start(attributes, options=["--containerd", path])
            launch.wait()
        self.assert_end(launch, 0, "success")
        self.assertEqual(len(moved), 1)
        inspect = self.world.images.inspect
        self.assertNotEqual(inspect(name)[0], inspect(other)[0])
        line, = [x for x in ctr("images", "list").splitlines() if x.startswith(ref(name) + " ")]
        self.assertIn(inspect(other)[0], line)  # it really was moved
        self.assertEqual(self.world.tpm.pcr(13), measured.register(measured.events(attributes, inspect(name))))

    def kill_container(self):
        """The process that waits for the start; gone once containerd says so."""
        ctr = self.world.containerd.ctr
        pids = re.findall(r"^\S+\s+(\d+)\s+CREATED", ctr("tasks", "list"), re.M)
        self.assertEqual(len(pids), 1)
        os.kill(int(pids[0]), signal.SIGKILL)
        parts.wait_until(lambda: "STOPPED" in ctr("tasks", "list"), "the end of the container")

    def test_monitoring_ends_with_a_start_that_fails(self):
        """It begins after the container is there, and goes on after no failure: not a sample comes."""
        path, killed = self.world.path("valve.sock"), []

        def on_call(_):
            if not killed and "event=monitoring.started" in launch.stderr:
                killed.append(True)
                self.kill_container()
                time.sleep(1.5)  # a sample would be due
        self.world.boot("--hardened")
        with Valve(path, self.world.containerd.socket, on_call=on_call):
            launch = self.world.launch_start(
                self.world.attributes("test/memory-always:1", monitoring_enable="memoryOnly", cmd='["sleep=60"]'),
                options=["--containerd", path, "--monitoring-period-ms", "1000"])
            launch.wait()
        self.assertEqual(killed, [True])
        report = self.assert_end(launch, 1)
        self.assertEqual(report["stages"][-1]["name"], "run")
        self.assertNotEqual(report["result"], "success")
        events = re.findall(r"event=(\S+)", launch.stderr)
        self.assertLess(events.index("container.created"), events.index("monitoring.started"))
        self.assertNotIn("workload.started", events)
        self.assertNotIn("health.sample", events)
        self.note("the container was killed before its start: %s %s", report["code"], report["message"])


if __name__ == "__main__":
    launch_case.main()
