#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Monitoring, as tee-monitoring-enable asks for it and the image's labels allow it: what the samples say is
compared with what the kernel says to python; that PCR 13 tells of it, with what hashlib computes. And the
image's HEALTHCHECK, in a real container."""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import time

import launch_case
import measured
import metadata
import parts
from net_world import Server, respond, wait_for_the_end

STATES = ("used", "free", "buffered", "cached", "slab")
FAST = ("--monitoring-period-ms", "1000")
MEMORY = {"metrics", "memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_buffered_bytes",
          "memory_cached_bytes", "memory_slab_bytes", "workload_memory_bytes", "workload_memory_max_bytes",
          "workload_oom_kills", "period_ms", "memory_stall_ms", "memory_stall_full_ms", "workload_memory_stall_ms",
          "workload_memory_stall_full_ms"}


def samples(text):
    """The key=value pairs of each line health.sample."""
    return [dict(re.findall(r"(\w+)=(\S+)", line.split("event=health.sample ")[1]))
            for line in text.splitlines() if "event=health.sample " in line]


def memory_total():
    return int(re.search(r"MemTotal:\s+(\d+) kB", parts.read("/proc/meminfo")).group(1)) * 1024


class Health(launch_case.LaunchCase):
    images = ("test/memory-always:1", "test/memory-debugonly:1", "test/memory-never:1", "test/wide:1",
              "test/probed:1", "test/hung:1", "test/shell-less:1", "test/unknown-check:1", "test/unchecked:1",
              "test/brief:1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tls = cls.world.path("monitoring")
        os.makedirs(cls.tls)
        parts.make_tls(cls.tls, "teelaunch test monitoring")
        for new, old in (("leaf.pem", "cert.pem"), ("leaf.key", "key.pem")):
            os.rename(os.path.join(cls.tls, old), os.path.join(cls.tls, new))

    def serve(self, answer):
        server = Server(answer, os.path.join(self.tls, "leaf"))
        self.addCleanup(server.close)
        return server

    def monitoring(self, answer=None):
        """Cloud Monitoring, as it answers projects.timeSeries.create: each series once in a request and with
        one point, later than the one before. `answer(number of the request)` is a status, None: take it."""
        self.points, self.wrong = {}, []

        def take(series):
            key = json.dumps([series["metric"], series["resource"]], sort_keys=True)
            point, = series["points"]
            if self.points.get(key, [{}])[-1].get("interval", {}).get("endTime", "") >= point["interval"]["endTime"]:
                self.wrong.append(key)
            self.points.setdefault(key, []).append({**point, "series": series})

        def serve(server, connection, request):
            status = answer(len(server.requests)) if answer else None
            if status:
                return respond(connection, status, b'{"error":{"code":1,"message":"canary of the service"}}')
            for series in json.loads(request.body)["timeSeries"]:
                take(series)
            return respond(connection, 200, b"{}")
        return self.serve(serve)

    def to(self, url):
        return (*FAST, "--cloud-monitoring", url, "--google-roots", os.path.join(self.tls, "ca.pem"))

    def launch(self, image, *actions, options=FAST, hardened=True, **keys):
        cmd = {"cmd": '["%s"]' % '","'.join(actions)} if actions else {}
        self.attributes = self.world.attributes(image, **cmd, **keys)
        self.image = self.world.images.inspect(image)
        return self.world.launch(self.attributes, options=options, hardened=hardened)

    def launch_until(self, image, fact, options=FAST, **keys):
        """A launch whose workload runs until `fact(launch)` is true."""
        self.attributes = self.world.attributes(image, cmd='["trap","sleep=600","exit=0"]', **keys)
        self.image = self.world.images.inspect(image)
        launch = self.world.launch_start(self.attributes, options=options)
        try:
            parts.wait_until(lambda: fact(launch) or not launch.is_running(), "what is waited for", timeout_s=60)
        finally:
            if launch.is_running():
                launch.send(signal.SIGTERM)
            launch.wait()
        self.assert_end(launch, 0, "success")
        return launch

    def assert_measured(self, launch):
        """PCR 13 and 15 are what python makes of the attributes, and so tell what is monitored."""
        events = measured.events(self.attributes, self.image)
        self.assertEqual(self.world.tpm.pcr(13), measured.register(events))
        self.assertEqual(launch.report["measured"]["pcr13"], measured.register(events))
        return dict(events)[measured.MEMORY_MONITOR]

    def test_memory_alone_is_sampled_where_the_image_allows_it(self):
        server = self.monitoring()
        launch = self.launch_until("test/memory-always:1", lambda launch: len(samples(launch.stderr)) > 1,
                                   options=self.to(server.url), monitoring_memory_enable="true")
        found = samples(launch.stderr)
        self.assertGreaterEqual(len(found), 2, launch.stderr)
        for sample in found:
            self.assertLessEqual(set(sample), MEMORY)
            self.assertEqual(sample["metrics"], "memoryOnly")
            self.assertEqual(int(sample["memory_total_bytes"]), memory_total())
            states = sum(int(sample["memory_%s_bytes" % s]) for s in STATES)
            self.assertEqual(states, memory_total())
            # One static program: a few pages, and those of its group.
            self.assertTrue(0 < int(sample["workload_memory_bytes"]) < 64 << 20, sample)
            self.assertEqual(sample.get("workload_oom_kills", "0"), "0")
        self.assertEqual(samples(launch.console), [])  # a console is slow
        self.assertIn("Health Monitoring is enabled by the VM operator: memory/bytes_used enabled", launch.console)
        self.assertEqual(self.assert_measured(launch), b"\1")
        self.assertEqual({p[0]["series"]["metric"]["type"] for p in self.points.values()},
                         {"compute.googleapis.com/guest/memory/bytes_used"})

    def test_all_is_memory_and_processors_and_disk(self):
        """And what couldn't be written at first is written when the service is well again."""
        server = self.monitoring(lambda n: 503 if n == 1 else None)
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        launch = self.launch_until("test/wide:1", lambda launch: "cloud_monitoring.writing" in launch.stderr and
                                   len(samples(launch.stderr)) > 1, options=self.to(server.url), monitoring_enable="ALL")
        found = samples(launch.stderr)
        first, last = found[0], found[-1]
        self.assertEqual(first["metrics"], "all")
        self.assertTrue(before - 1 <= int(first["uptime_s"]) <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1)
        disk = os.statvfs(self.world.containerd.root)
        self.assertAlmostEqual(int(first["disk_free_bytes"]), disk.f_bavail * disk.f_frsize, delta=1 << 30)
        self.assertTrue(0 < int(last["cpu_busy_ms"]) <= os.cpu_count() * (int(last["period_ms"]) + 100), last)
        self.assertIn("workload_cpu_ms", last)
        self.assertIn("All health monitoring metrics enabled", launch.console)
        # "All" is said by PCR 15; the event is about memory alone.
        self.assertEqual(self.assert_measured(launch), b"\0")
        record = measured.record(self.attributes, launch.command, self.world.metadata.host, nofile=measured.nofile())
        self.assertEqual(record["operator"]["monitoring"], "all")
        self.assertEqual(self.world.tpm.pcr(15), measured.record_register(record))
        self.assert_written(server, found)
        self.assertRegex(launch.console, r"event=cloud_monitoring.end written=%d dropped=0 failures=1" % len(found))
        self.assertNotIn(metadata.ACCESS_TOKEN, launch.console + launch.stderr)

    def assert_written(self, server, found):
        """The samples of the log are the points of the service."""
        request = server.requests[0]
        self.assertEqual((request.method, request.target), ("POST", "/v3/projects/%s/timeSeries" % metadata.PROJECT))
        self.assertEqual(request.headers["Authorization"], "Bearer " + metadata.ACCESS_TOKEN)
        self.assertEqual(self.wrong, [])
        points_of = {}
        for points in self.points.values():
            series = points[0]["series"]
            labels, kind = dict(series["metric"]["labels"]), series["metric"]["type"].split("/guest/")[1]
            self.assertEqual(series["resource"], {"type": "gce_instance", "labels": {
                "project_id": metadata.PROJECT, "instance_id": metadata.INSTANCE_ID, "zone": metadata.ZONE}})
            self.assertEqual(labels.pop("instance_name"), metadata.INSTANCE_NAME)
            points_of.setdefault(kind, {})[labels.get("state", "")] = points
        for state in STATES:
            self.assertEqual([p["value"]["int64Value"] for p in points_of["memory/bytes_used"][state]],
                             [s["memory_%s_bytes" % state] for s in found])
        begin = {p["interval"]["startTime"] for p in points_of["cpu/usage_time"]["user"]}
        self.assertEqual(len(begin), 1)  # one series, though samples are many
        self.assertIn("system/uptime", points_of)

    def test_the_labels_decide(self):
        """Each once; all combinations are vectors of the policy."""
        rows = (("test/memory-never:1", "memoryOnly", False, False), ("test/memory-debugonly:1", "memoryOnly", True, False),
                ("test/memory-debugonly:1", "memoryOnly", False, True))
        for image, level, is_hardened, is_allowed in rows:
            with self.subTest(image=image, level=level, is_hardened=is_hardened):
                launch = self.launch(image, "exit=0", hardened=is_hardened, monitoring_enable=level)
                self.assert_end(launch, 4 if not is_hardened else 0 if is_allowed else 1,
                                "success" if is_allowed else "denied", None if is_allowed else "TL0409")
                self.assertEqual(bool(samples(launch.stderr)), is_allowed)

    def probed(self, image, *wanted):
        """A launch with the image's HEALTHCHECK, until the log has had these states: its report's word on it."""
        launch = self.launch_until(image, lambda launch: self.changes(launch)[:len(wanted)] == list(wanted))
        self.assertEqual(self.changes(launch), list(wanted), launch.console)
        return launch, launch.report["workload"].get("health")

    @staticmethod
    def changes(launch):
        found = re.findall(r"event=workload.health status=(\w+) .*exit_status=(-?\d+) timed_out=(\d)", launch.console)
        return [(s, int(e), int(t)) for s, e, t in found]

    def test_a_healthcheck_is_run_in_the_container_and_its_changes_are_said(self):
        launch, health = self.probed("test/probed:1", ("starting", 0, 0), ("unhealthy", 1, 0), ("healthy", 0, 0),
                                     ("unhealthy", 1, 0))
        self.assertEqual(health["status"], "unhealthy")
        self.assertEqual(health["failures"], health["probes"] - 1)
        # What a probe says goes nowhere: the program prints its arguments when it starts.
        self.assertNotIn("turns=", launch.console + launch.stderr)
        events = re.findall(r"event=(\S+)", launch.console)
        self.assertLess(events.index("workload.started"), events.index("workload.ended"))
        self.assertNotIn("workload.health", events[events.index("workload.ended"):])
        # Nothing of the image's before the separator, which is in the stage "measure".
        self.assertLess(launch.console.index("event=stage.done stage=measure"), launch.console.index("workload.health"))
        self.assert_measured(launch)

    def test_a_healthcheck_that_hangs_is_killed(self):
        """And the launch doesn't wait for the next one, which hangs by then."""
        launch, health = self.probed("test/hung:1", ("starting", 0, 0), ("unhealthy", -1, 1))
        self.assertGreaterEqual(health["failures"], 1)

    def test_a_containerd_that_hangs_says_nothing_about_the_workload(self):
        """Probes that it doesn't start in time aren't counted, and the end waits for none of them."""
        containerd = self.world.containerd.process.pid
        self.attributes = self.world.attributes("test/brief:1", cmd='["trap","sleep=600","exit=0"]')
        launch = self.world.launch_start(self.attributes, options=FAST)
        launch.wait_for("event=workload.started")
        os.kill(containerd, signal.SIGSTOP)
        try:
            time.sleep(6)  # two probes were due, and their second is over
            self.assertEqual(self.changes(launch), [("starting", 0, 0)], launch.console)
        finally:
            os.kill(containerd, signal.SIGCONT)
        parts.wait_until(lambda: len(self.changes(launch)) > 1, "a probe", timeout_s=60)
        launch.send(signal.SIGTERM)
        launch.wait()
        self.assertEqual(self.changes(launch)[1], ("healthy", 0, 0))
        self.assertEqual(self.assert_end(launch, 0, "success")["workload"]["health"]["failures"], 0)

    def test_a_healthcheck_that_cannot_be_run_is_a_failure(self):
        launch = self.launch_until("test/shell-less:1", lambda launch: len(self.changes(launch)) == 2)
        (first, _, _), (second, status, _) = self.changes(launch)
        self.assertEqual((first, second), ("starting", "unhealthy"))
        self.assertNotEqual(status, 0)
        health = launch.report["workload"]["health"]
        self.assertEqual(health["failures"], health["probes"])

    def test_nothing_is_done_that_nobody_asked_for(self):
        """No samples, no probes."""
        server = self.monitoring()
        for image, is_said in (("test/unchecked:1", False), ("test/unknown-check:1", True)):
            launch = self.launch(image, "exit=0", options=self.to(server.url))
            self.assertNotIn("health", self.assert_end(launch, 0, "success")["workload"])
            self.assertEqual(self.changes(launch), [])
            self.assertEqual("event=healthcheck.ignored" in launch.console, is_said)
            self.assertEqual(samples(launch.stderr), [])
            self.assertIn("Health Monitoring is disabled", launch.console)
            self.assertEqual(self.assert_measured(launch), b"\0")
        self.assertEqual(server.requests, [])

    def ready(self, port, method="GET", path="/ready"):
        """(status, document), or None where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    def test_readiness_is_told_once_all_is_measured_and_the_workload_is_healthy(self):
        port, seen = parts.free_port(), []

        def ask(launch):
            seen.append((self.ready(port), launch.console))
            return [s for s, _ in seen if s and s[0] == 200] and len(self.changes(launch)) == 4 and seen[-1][0][0] == 503
        self.assertIsNone(self.ready(port))
        launch = self.launch_until("test/probed:1", ask, options=(*FAST, "--readiness", str(port)))
        self.assertIsNone(self.ready(port))
        self.assertIsNone(seen[0][0])
        for answer, console_after in seen:
            if answer:
                self.assertIn("event=stage.done stage=measure", console_after)
                self.assertIn(answer, [(200, {"ready": True})] + [(503, {"ready": False, "reason": r}) for r in (
                    "the workload doesn't run", "the health check is starting", "the health check is unhealthy")])
        self.assertIn((503, {"ready": False, "reason": "the health check is unhealthy"}), [a for a, _ in seen])

    def test_readiness_answers_nothing_else(self):
        port = parts.free_port()
        answers = {}

        def ask(launch):
            if "event=workload.started" in launch.console:
                answers.update({(m, p): self.ready(port, m, p) for m, p in (
                    ("GET", "/ready"), ("HEAD", "/ready"), ("POST", "/ready"), ("GET", "/"), ("GET", "/ready/"))})
                # Slow ones are cut off, and don't keep the others out for longer.
                slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(16)]
                for one in slow:
                    one.sendall(b"GET /ready HTTP/1.1\r\nX: ")
                parts.wait_until(lambda: self.ready_soon(port), "an answer beside slow clients", timeout_s=30)
                for one in slow:
                    one.close()
            return answers
        launch = self.launch_until("test/unchecked:1", ask, options=(*FAST, "--readiness", str(port)))
        self.assertEqual({k: a[0] for k, a in answers.items()}, {
            ("GET", "/ready"): 200, ("HEAD", "/ready"): 200, ("POST", "/ready"): 405, ("GET", "/"): 404,
            ("GET", "/ready/"): 404})
        self.assertEqual(measured.unit(launch.command)["readiness"], str(port))

    def ready_soon(self, port):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ready(port)
        return None

    def test_a_service_that_fails_neither_stops_nor_delays_a_launch(self):
        cases = [("status %d" % s, self.monitoring(lambda _, s=s: s).url) for s in (401, 429)]
        cases += [("silent", self.serve(lambda server, *_: wait_for_the_end(server)).url),
                  ("not there", "https://127.0.0.1:1")]
        for name, url in cases:
            with self.subTest(name):
                launch = self.launch("test/wide:1", "exit=0", options=self.to(url), monitoring_enable="all")
                self.assert_end(launch, 0, "success")
                self.note("%-12s %.2f s", name, launch.took_s)
                self.assertLess(launch.took_s, 40)  # two of them by design: the last words
                self.assertEqual(launch.console.count("event=cloud_monitoring.failing"), 1)
                self.assertEqual("canary of the service" in launch.console, name.startswith("status"))
                self.assertRegex(launch.console, r"event=cloud_monitoring.end written=0 dropped=[1-9]\d* failures=[1-9]")


if __name__ == "__main__":
    launch_case.main()
