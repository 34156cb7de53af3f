#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""S37: whoever can put bytes into the log (operator, image author, registry, verifier, metadata server, Cloud
Logging, and the workload in test_launch_output.py) puts lines there that look like the launcher's, and bytes that
a terminal obeys. A strict reader of the console takes nothing for the launcher's that isn't, and JSON stays JSON."""
import json
import os

import launch_case
import console_parser
import metadata
import parts
from net_world import Server, respond
from signatures import digest_of

LINE = ("time=2026-01-01T00:00:00.000Z level=INFO event=launch.exiting msg='TEE container launcher exiting' "
        "exit_code=0 exit_msg='forged'")
FORGED = ("x' event=forged code=TL0000 msg='\\' \n" + LINE + "\r\n\r" + LINE + "\n"
          'TEELAUNCH-REPORT {"schema":"teelaunch.report/1","result":"success"}\n'
          '"},{"event":"forged"}\x1b[2J\x1b[1;1H\x1b]0;t\x07\x7f\x85\x9b31m\u2028' + LINE + "\u2029\u202e\u2066\t\x08\x0b<3>" + LINE)
RAW = FORGED.encode() + b"\n\xff\xfe\xc3(\x80" + LINE.encode()
WORDS = "x' event=forged TL0000\x85"
LONG = b"A" * 10_000_000
POLICY = "tee.launch_policy."


class Forged(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tls = cls.world.path("hostile")
        os.makedirs(cls.tls)
        parts.make_tls(cls.tls, "hostile")
        for new, old in (("leaf.pem", "cert.pem"), ("leaf.key", "key.pem")):
            os.rename(os.path.join(cls.tls, old), os.path.join(cls.tls, new))
        cls.ca = os.path.join(cls.tls, "ca.pem")

    def server(self, *answers):
        """(status, body) in turn, the last one again and again; with a hostile header each."""
        bodies = []

        def serve(server, connection, request):
            status, body = answers[min(len(server.requests), len(answers)) - 1]
            bodies.append(request.body)
            return respond(connection, status, body, X_Error="\x1b[2J" + WORDS, WWW_Authenticate=(
                'Bearer realm="https://127.0.0.1:1/\x1b[2J' + WORDS + '",service="\x07' + WORDS + '"'))
        server = Server(serve, os.path.join(self.tls, "leaf"))
        server.bodies = bodies
        self.addCleanup(server.close)
        return server

    def check(self, launch, *wanted):
        """The launch's own events are as they would be anyway: one start, one end, nothing forged."""
        with open(launch.console_file, "rb") as f:
            raw = f.read()
        events, workload, report = console_parser.read(raw)
        names = [event for event, _, _ in events]
        for once in ("launch.start", "launch.end", "launch.exiting"):
            self.assertEqual(names.count(once), 1)
        self.assertEqual(names[-1], "launch.exiting")
        self.assertEqual(events[-1][2]["exit_code"], str(launch.exit_code))
        self.assertNotIn("forged", names)
        self.assertFalse([keys for _, _, keys in events if keys.get("code") == "TL0000"])
        self.assertNotIn(b"event=forged", b"\n".join(
            line for line in raw.split(b"\n") if line.startswith((b"event", b"level", b"TEELAUNCH"))
            and not line.startswith(b"TEELAUNCH-REPORT")))
        self.assertEqual(workload, [])
        self.assertEqual(report["exit_code"], launch.exit_code)
        self.assertEqual(report["schema"], "teelaunch.report/1")
        self.assertLess(max(map(len, raw.split(b"\n"))), 4500)
        for event in wanted:
            self.assertIn(event, names)
        with open(launch.stderr_file, "rb") as f:
            for line in f.read().split(b"\n")[:-1]:
                self.assertRegex(line, rb"^(<[34567]>level=|TEELAUNCH-REPORT \{)")
                self.assertFalse(console_parser.FORBIDDEN.search(line.decode("utf-8")), line[:300])
        return events, report

    def test_metadata_and_cloud_loggings_reply(self):
        logging = self.server((500, RAW), (200, RAW + LONG), (503, LONG))
        keys = {"tee-image-reference": FORGED, "tee-restart-policy": FORGED, "tee-cmd": FORGED, "tee-mount": FORGED,
                "tee-env-" + FORGED: FORGED, "tee-" + FORGED: "x", FORGED: FORGED, "tee-env-LONG": "A" * 200_000,
                "tee-container-log-redirect": FORGED, "tee-added-capabilities": json.dumps([FORGED]),
                "tee-monitoring-enable": FORGED, "tee-impersonate-service-accounts": FORGED,
                "tee-signed-image-repos": FORGED, "ita-region": FORGED, "ita-api-key": FORGED,
                "gca-service-env": FORGED, "tee-dev-shm-size-kb": FORGED}
        launch = self.world.launch(keys, options=["--cloud-logging", logging.url, "--google-roots", self.ca])
        self.assert_end(launch, 1, "denied")
        self.check(launch, "finding", "cloud_log.failing")
        self.assertTrue(logging.bodies)
        for body in logging.bodies:
            for entry in json.loads(body)["entries"]:
                payload = entry["jsonPayload"]
                self.assertNotEqual(payload.get("event"), "forged")
                if "event" in payload:
                    self.assertFalse(console_parser.FORBIDDEN.search(payload["MESSAGE"]))

    def test_what_is_accepted_is_escaped_too(self):
        launch = self.world.launch(self.world.attributes(
            env_HELLO_NAME=FORGED, cmd=json.dumps([FORGED, "exit=0"]), signed_image_repos=FORGED,
            impersonate_service_accounts="x\n" + LINE))
        events, _ = self.check(launch, "spec.dump")
        self.assertNotIn("forged", str([keys for event, _, keys in events if event == "spec.dump"][0]["msg"].split(
            "ImpersonateServiceAccounts")[0]))

    def test_labels_and_configuration_of_an_image(self):
        registry = self.world.registry
        config = {"os": "linux", "architecture": FORGED, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
                  "config": {"Entrypoint": [FORGED], "Env": [FORGED + "=x"], "User": FORGED, "ExposedPorts": {FORGED: {}},
                             "Labels": {FORGED: FORGED, POLICY + "log_redirect": FORGED, POLICY + "allow_cgroups": FORGED,
                                        POLICY + FORGED: "x", POLICY + "allow_env_override": FORGED,
                                        "long": "A" * 500_000}}}
        blobs = [json.dumps(config).encode(), b"no layer"]
        for blob in blobs:
            registry.push_blob("test/forged", blob)
        described = [{"mediaType": "application/vnd.oci.image." + kind, "size": len(blob),
                      "digest": digest_of(blob), "annotations": {FORGED: FORGED}}
                     for kind, blob in zip(("config.v1+json", "layer.v1.tar+gzip"), blobs)]
        media = "application/vnd.oci.image.manifest.v1+json"
        registry.push_manifest("test/forged", "1", json.dumps({
            "schemaVersion": 2, "mediaType": media, "config": described[0], "layers": described[1:],
            "annotations": {FORGED: FORGED}}).encode(), media)
        launch = self.world.launch({"tee-image-reference": registry.ref("test/forged:1"), "tee-env-X": "y"})
        self.assert_end(launch, 1, "denied")
        self.check(launch, "image.labels", "image.ports", "finding")

    def test_a_registrys_errors(self):
        errors = json.dumps({"errors": [{"code": FORGED, "message": FORGED, "detail": FORGED}]}).encode()
        for status, body in ((404, errors), (403, RAW), (401, LONG), (200, RAW), (418, errors + LONG)):
            with self.subTest(status=status):
                server = self.server((status, body))
                host = server.url.removeprefix("https://")
                launch = self.world.launch({"tee-image-reference": host + "/demo/hello:1"},
                                           options=["--registry-roots", "%s=%s" % (host, self.ca)])
                self.assertNotEqual(launch.report["result"], "success")
                self.check(launch, "stage.failed")

    def test_a_verifiers_and_a_metadata_servers_errors(self):
        words = json.dumps({"error": {"code": 400, "status": FORGED, "message": FORGED}}).encode()
        odd = json.dumps({"name": "projects/x/locations/y/challenges/" + FORGED, "tpmNonce": FORGED}).encode()
        for answers in (((400, words),), ((403, RAW),), ((200, odd),)):
            with self.subTest(status=answers[0][0]):
                server = self.server(*answers)
                launch = self.world.launch(self.world.attributes(), options=[
                    "--verifier", server.url, "--verifier-roots", self.ca, "--first-token-budget-ms", "1500"])
                self.assertNotEqual(launch.report["result"], "success")
                self.check(launch, "stage.failed")
        self.world.metadata.behave({"path": "instance/service-accounts/default/identity", "status": 404, "body": FORGED})
        launch = self.world.launch(self.world.attributes())
        self.assertNotEqual(launch.report["result"], "success")
        self.check(launch, "stage.failed")
        self.assertTrue(metadata.ACCESS_TOKEN not in launch.console)

    def test_the_reader_can_fail(self):
        good = (LINE + "\n" + 'TEELAUNCH-REPORT {"schema":"x"}\n').encode()
        self.assertEqual(console_parser.read(good)[0][0][0], "launch.exiting")
        for bad in (b"x", b"hello\n", b"\x1b[0m\n", LINE.encode() + b" x='\n", b"\xff\n", good,
                    LINE.encode().replace(b"exit_code=0", b"msg='again'") + b"\n", b" " + LINE.encode() + b"\n"):
            with self.assertRaises((console_parser.Forged, UnicodeDecodeError), msg=bad):
                console_parser.read(bad + good)


if __name__ == "__main__":
    launch_case.main()
