#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The log in Cloud Logging: what is written there, against a server that takes entries as the REST API v2
does (method entries.write), and what a launch does when it doesn't."""
import json
import os
import time

import launch_case
import metadata
import parts
from net_world import Server, respond, wait_for_the_end

SECRET = "canary-in-a-variable"


class CloudLog(launch_case.LaunchCase):
    images = ("demo/hello:1", "demo/strict:1")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tls = cls.world.path("logging")
        os.makedirs(cls.tls)
        parts.make_tls(cls.tls, "teelaunch test logging")
        for new, old in (("leaf.pem", "cert.pem"), ("leaf.key", "key.pem")):
            os.rename(os.path.join(cls.tls, old), os.path.join(cls.tls, new))

    def server(self, answer=None):
        """It keeps what it takes; `answer(number of the request)` is a status, None: take it."""
        self.bodies = []

        def serve(server, connection, request):
            status = answer(len(server.requests)) if answer else None
            if status is None:
                self.bodies.append(json.loads(request.body))
            return respond(connection, status or 200, b"{}")
        return self.serve(serve)

    def serve(self, answer):
        server = Server(answer, os.path.join(self.tls, "leaf"))
        self.addCleanup(server.close)
        return server

    @property
    def entries(self):
        return [entry for body in self.bodies for entry in body["entries"]]

    def launch(self, url, *actions, image="demo/hello:1", **keys):
        cmd = {"cmd": '["%s"]' % '","'.join(actions)} if actions else {}
        return self.world.launch(self.world.attributes(image, **cmd, **keys), options=[
            "--cloud-logging", url, "--google-roots", os.path.join(self.tls, "ca.pem")])

    def test_the_whole_log_and_the_report_are_written(self):
        server = self.server()
        launch = self.launch(server.url, "exit=0", env_HELLO_SECRET=SECRET)
        self.assert_end(launch, 0, "success")
        request, body = server.requests[0], self.bodies[0]
        self.assertEqual((request.method, request.target), ("POST", "/v2/entries:write"))
        self.assertEqual(request.headers["Authorization"], "Bearer " + metadata.ACCESS_TOKEN)
        self.assertEqual(body["logName"], "projects/%s/logs/confidential-space-launcher" % metadata.PROJECT)
        self.assertEqual(body["resource"], {"type": "gce_instance", "labels": {
            "project_id": metadata.PROJECT, "instance_id": metadata.INSTANCE_ID, "zone": metadata.ZONE}})
        entries = self.entries
        self.assertEqual(len({e["insertId"] for e in entries}), len(entries))
        self.assertTrue(all(e["jsonPayload"]["_HOSTNAME"] == metadata.INSTANCE_NAME for e in entries))
        by_event = {e["jsonPayload"].get("event"): e for e in entries}
        self.assertEqual(by_event["launch.start"]["severity"], "INFO")
        self.assertRegex(by_event["launch.start"]["timestamp"], r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        ended = by_event["workload.ended"]["jsonPayload"]
        self.assertEqual((ended["exit_status"], ended["oom_killed"]), (0, 0))
        self.assertEqual(by_event["disk.unprotected"]["severity"], "WARNING")
        self.assertTrue(by_event["image.resolved"]["jsonPayload"]["digest"].startswith("sha256:"))
        report = next(e for e in entries if "report" in e["jsonPayload"])["jsonPayload"]["report"]
        self.assertEqual(report, json.loads(parts.read(os.path.join(launch.state, "report.json"))))
        # Every line of the log of this launch, but the first, before the way was open, and the one of its end.
        events = [line.split("event=")[1].split()[0] for line in launch.console.splitlines() if " event=" in line]
        self.assertEqual(sorted(e["jsonPayload"]["event"] for e in entries if "event" in e["jsonPayload"]),
                         sorted(e for e in events if e not in ("console.open", "cloud_log.end")))
        self.assertRegex(launch.console, r"event=cloud_log.end written=\d+ dropped=0 failures=0")
        self.assertNotIn(SECRET, json.dumps(self.bodies))
        self.assertNotIn(metadata.ACCESS_TOKEN, json.dumps(self.bodies) + launch.console + launch.stderr)

    def test_redirected_output_is_written_where_the_label_allows_it(self):
        server = self.server()
        self.assert_end(self.launch(server.url, "exit=0", container_log_redirect="cloud_logging"), 0)
        lines = [(e["severity"], e["jsonPayload"]["message"]) for e in self.entries if "message" in e["jsonPayload"]]
        self.assertIn(("INFO", "hello: hello, world"), lines)
        self.assertIn(("ERROR", "hello: this line goes to standard error"), lines)
        server = self.server()
        self.assert_end(self.launch(server.url, "exit=0"), 0)
        self.assertFalse([e for e in self.entries if "message" in e["jsonPayload"]])
        self.assertNotIn("hello, world", json.dumps(self.bodies))

    def test_a_denied_launch_is_explained_there(self):
        server = self.server()
        self.assert_end(self.launch(server.url, image="demo/strict:1", env_HELLO_NAME=SECRET), 1, "denied")
        finding = next(e for e in self.entries if e["jsonPayload"].get("event") == "finding")
        self.assertEqual(finding["severity"], "ERROR")
        self.assertEqual(finding["jsonPayload"]["key"], "tee-env-HELLO_NAME")
        self.assertNotIn(SECRET, json.dumps(self.bodies))

    def test_s38_a_service_that_fails_neither_stops_nor_delays_a_launch(self):
        """Refusing, without rights, overloaded, silent, cutting off, not there, not to be trusted."""
        usual = self.launch("off", "exit=0").took_s
        untrusted = Server(lambda *_: True, self.untrusted())
        self.addCleanup(untrusted.close)
        cases = [("status %d" % s, self.server(lambda _, s=s: s).url) for s in (400, 401, 403, 429, 500)]
        cases += [("silent", self.serve(lambda server, *_: wait_for_the_end(server)).url),
                  ("cuts", self.serve(lambda *_: False).url), ("not there", "https://127.0.0.1:1"),
                  ("not trusted", untrusted.url)]
        for name, url in cases:
            with self.subTest(name):
                launch = self.launch(url, "exit=0")
                self.assert_end(launch, 0, "success")
                self.note("%-12s %.2f s (without: %.2f s)", name, launch.took_s, usual)
                self.assertLess(launch.took_s, usual + 15)  # five of them by design: the last words
                self.assertEqual(launch.console.count("event=cloud_log.failing"), 1)
                self.assertRegex(launch.console, r"event=cloud_log.end written=0 dropped=[1-9]\d* failures=[1-9]")
        self.assertEqual(untrusted.requests, [])

    def untrusted(self):
        folder = self.world.path("untrusted")
        os.makedirs(folder)
        parts.make_tls(folder, "somebody else")
        os.rename(os.path.join(folder, "cert.pem"), os.path.join(folder, "leaf.pem"))
        os.rename(os.path.join(folder, "key.pem"), os.path.join(folder, "leaf.key"))
        return os.path.join(folder, "leaf")

    def test_entries_of_a_time_of_failure_are_written_once_it_is_over(self):
        server = self.server(lambda n: 503 if n <= 2 else None)
        launch = self.launch(server.url, "sleep=6", "exit=0")
        self.assert_end(launch, 0, "success")
        events = [e["jsonPayload"].get("event") for e in self.entries]
        self.assertEqual(events.count("launch.start"), 1)
        self.assertEqual(launch.console.count("event=cloud_log.failing"), 1)
        self.assertEqual(launch.console.count("event=cloud_log.writing"), 1)
        self.assertRegex(launch.console, r"event=cloud_log.end written=\d+ dropped=0 failures=2")

    def test_a_flood_of_output_takes_bounded_memory_and_leaves_room_for_the_log(self):
        def slow(n):
            time.sleep(0.2)
        before = self.launch(self.server().url, "exit=0").rss_mb
        launch = self.launch(self.server(slow).url, "spam=200000", "exit=0", container_log_redirect="cloud_logging")
        self.assert_end(launch, 0, "success")
        if parts.IS_MEMORY_JUDGED:
            self.assertLess(launch.rss_mb - before, 16)
        events = [e["jsonPayload"].get("event") for e in self.entries]
        for event in ("launch.start", "workload.ended", "launch.end", "cloud_log.dropped"):
            self.assertIn(event, events)
        self.assertRegex(launch.console, r"event=cloud_log.end written=\d+ dropped=[1-9]")


if __name__ == "__main__":
    launch_case.main()
