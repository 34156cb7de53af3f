#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Signatures of the image from a registry to the token: the claims of the token file and of the token
socket are what openssl signed, a refresh picks up a new one, and no request of the workload asks a
repository."""
import os
import re
import signal
import socket
import threading

import launch_case
import parts
import signatures
import token_check
from signatures import Signer
from test_launch_socket import ask

LIFE_S = 5
NAME = "attestation_verifier_claims_token"


class Signatures(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.signers = [Signer(cls.world.folder, name, name) for name in signatures.ALGORITHMS]
        cls.digest = cls.world.images.inspect("demo/hello:1")[0]

    def tearDown(self):
        if self.launch.is_running():  # a test failed half-way
            self.end()
        self.world.verifier.process.stop()
        self.world.verifier.launch()

    def begin(self, *repos, life_s=3600, options=(), **keys):
        self.world.verifier.process.stop()
        self.world.verifier.launch(token_ttl_s=str(life_s))
        attributes = self.world.attributes(cmd='["trap", "sleep=200"]', signed_image_repos=",".join(repos), **keys)
        self.launch = self.world.launch_start(attributes, options=options).wait_for("event=workload.started")
        return self.launch

    def end(self):
        self.launch.send(signal.SIGTERM)
        self.launch.wait()
        self.assert_clean(self.launch)

    def claim(self, token):
        claims = token_check.check(token, self.world.verifier.get("/.well-known/jwks.json"))
        return claims["submods"]["container"].get("image_signatures")

    def file_claim(self):
        return self.claim(parts.read(os.path.join(self.launch.shared, NAME)))

    def ask(self, *arguments):
        status, _, token = ask(os.path.join(self.launch.shared, "teeserver.sock"), *arguments)
        self.assertEqual(status, 200, token)
        return token

    def push(self, repo, signed):
        signatures.push(self.world.registry, repo, self.digest, [pair for _, pair in signed])
        return self.world.registry.ref(repo)

    def test_from_the_registry_to_every_token(self):
        signed = [(s, s.signature(self.digest)) for s in self.signers]
        expect = signatures.claims(*((s, sig) for s, (_, sig) in signed))
        other = self.signers[0].signature("sha256:" + "00" * 32)
        forged = (self.signers[1].payload(self.digest), self.signers[2].sign(self.signers[1].payload(self.digest)))
        one = self.push("sigs/one", signed[:2])
        two = self.push("sigs/two", [signed[2], (None, other), (None, forged)])
        launch = self.begin(one, two)
        self.assertEqual(self.file_claim(), expect)
        mark = self.world.registry.mark()
        self.assertEqual(self.claim(self.ask("GET", "/v1/token")), expect)
        for i in range(3):
            self.assertEqual(self.claim(self.ask("POST", "/v1/token", {
                "audience": "https://mine.example", "nonces": ["nonce-%d-abc" % i], "token_type": "OIDC"})), expect)
        self.assertEqual(self.world.registry.requests(mark), [])
        self.assertIn("event=signatures.dropped repo='%s' code=TL0813 msg='it signs another image'" % two, launch.stderr)
        self.assertIn("count=4 dropped=1", launch.stderr)
        # Once an attestation: the first, and those that the workload asked for.
        self.assertEqual(launch.stderr.count("Found container image signatures"),
                         launch.stderr.count("Successfully created challenge"))
        self.assertGreater(launch.stderr.count("Found container image signatures"), 3)
        self.assertEqual(launch.stderr.count("event=token.warning"), 1)
        self.assertRegex(launch.stderr, "event=token.warning.*image signature 4 is dropped: it doesn")
        self.assertNotIn("tee-signed-image-repos has no effect", launch.stderr)
        self.end()
        self.note("3 algorithms, 2 repositories, a foreign payload and a forged signature: the token has the 3 good ones")

    def test_a_refresh_picks_up_a_signature_that_came_later(self):
        launch = self.begin(self.world.registry.ref("sigs/later"), life_s=LIFE_S)
        self.assertIsNone(self.file_claim())
        self.assertIn("event=signatures.none", launch.stderr)
        self.assertNotIn("Found container image signatures", launch.stderr)
        signed = [(s, s.signature(self.digest)) for s in self.signers[:2]]
        self.push("sigs/later", signed)
        expect = signatures.claims(*((s, sig) for s, (_, sig) in signed))
        parts.wait_until(lambda: self.file_claim() == expect, "a token with both signatures", 6 * LIFE_S)
        self.assertEqual(self.claim(self.ask("POST", "/v1/token", {
            "audience": "https://mine.example", "token_type": "OIDC"})), expect)
        self.assertIn("Found container image signatures", launch.stderr)
        self.end()
        self.note("no signatures, no claim; two that were pushed after the launch are in the token of a refresh")

    def test_an_outage_at_the_launch_is_made_good_without_a_token_of_the_launchers(self):
        """tee-disable-gca-refresh: no refresh of a token asks for them."""
        good = (self.signers[0], self.signers[0].signature(self.digest))
        self.push("sigs/outage", [good])
        with socket.create_server(("127.0.0.1", 0)) as held:  # nobody answers yet, and nobody else gets the port
            port = held.getsockname()[1]
            is_open = threading.Event()
            way = threading.Thread(target=self.forward, args=(held, is_open), daemon=True)
            way.start()
            self.begin("127.0.0.1:%d/sigs/outage" % port, disable_gca_refresh="true", options=[
                "--registry-roots", "127.0.0.1:%d=%s" % (port, self.world.registry.ca)])
            self.assertIn("event=signatures.unreachable", self.launch.stderr)
            self.assertIsNone(self.claim(self.ask("GET", "/v1/token")))
            is_open.set()
            want = signatures.claims((good[0], good[1][1]))
            parts.wait_until(lambda: "event=signatures.found" in self.launch.stderr, "signatures", 90)
            self.assertEqual(self.claim(self.ask("POST", "/v1/token", {
                "audience": "https://mine.example", "token_type": "OIDC"})), want)
            self.end()
            held.shutdown(socket.SHUT_RDWR)
        self.note("a repository that could not be reached at the launch: its signatures are there a little later")

    def forward(self, listener, is_open):
        """Connections to the registry; until it is open they are cut."""
        host, port = self.world.registry.host.rsplit(":", 1)
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if not is_open.is_set():
                near.close()
                continue
            far = socket.create_connection((host, int(port)))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        finally:
            source.close()

    def test_what_cannot_be_had_ends_no_launch(self):
        good = (self.signers[0], self.signers[0].signature(self.digest))
        repo = self.push("sigs/good", [good])
        with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and says nothing
            slow = "127.0.0.1:%d/slow" % silent.getsockname()[1]
            gone, odd = "127.0.0.1:1/gone", "not a repository"
            launch = self.begin(gone, odd, slow, "user:canary-password@host/path", repo, "", disable_gca_refresh="true",
                                options=["--first-token-budget-ms", "12000"])
        self.assertEqual(self.claim(self.ask("GET", "/v1/token")), signatures.claims((good[0], good[1][1])))
        stage = next(s for s in launch.stderr.splitlines() if "event=stage.done stage=token" in s)
        self.assertLess(int(re.search(r"took_ms=(\d+)", stage).group(1)), 11000)
        self.assertNotIn("canary-password", launch.stderr + launch.console)
        for what in (gone, odd, slow, "[REDACTED]@host/path"):
            self.assertIn("event=signatures.unreachable repo='%s' code=TL" % what, launch.stderr)
        self.end()
        self.note("unreachable, silent and unreadable repositories are warnings; the rest is in the token")


if __name__ == "__main__":
    launch_case.main()
