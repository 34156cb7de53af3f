#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whoever vouches beside the usual verifier, in whole launches: service accounts that are impersonated,
Intel Trust Authority, and the certificates above the attestation key's. The services are ours, with the
API of theirs; what differs from production is their address and their root."""
import base64
import json
import os
import signal
import tempfile
import time

import launch_case
import metadata
import net_world
import parts
import token_check
from test_launch_socket import ask

FIRST, SECOND = "first@demo-project.iam.gserviceaccount.com", "second@other.iam.gserviceaccount.com"
API_KEY = "canary-ita-api-key"
TOKEN = "attestation_verifier_claims_token"


def account_token(folder, account, audience):
    """As IAM makes it: no machine in it (RFC 7519; Google's generateIdToken with includeEmail)."""
    now = int(time.time())
    return metadata.sign(folder, {"aud": audience, "azp": "1", "email": account, "email_verified": True, "exp": now + 3600,
                                  "iat": now, "iss": metadata.ISSUER, "sub": "1"})


class Clients(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.certificates = net_world.Certificates(cls.folder.name)
        cls.ca = cls.certificates.path("ca.pem")
        cls.tpms = 0

    def setUp(self):
        super().setUp()
        self.calls, self.replies, self.launch = [], [], None
        self.iam = self.serve(self.iam_answer)
        self.ita = self.serve(self.ita_answer)

    def tearDown(self):
        if self.launch and self.launch.is_running():  # a test failed half-way
            self.end()

    def serve(self, answer, leaf="good"):
        server = net_world.Server(answer, self.certificates.path(leaf) if leaf else None)
        self.addCleanup(server.close)
        return server

    def iam_answer(self, _server, connection, request):
        path, body = request.target, json.loads(request.body)
        account = path[len("/v1/projects/-/serviceAccounts/"):-len(":generateIdToken")]
        assert request.headers["Authorization"] == "Bearer " + metadata.ACCESS_TOKEN
        assert body["includeEmail"] is True and "/challenges/" in body["audience"]
        self.calls.append(account)
        if self.replies:
            return net_world.respond(connection, *self.replies.pop(0))
        token = account_token(self.world.metadata.folder, account, body["audience"])
        return net_world.respond(connection, 200, json.dumps({"token": token}).encode())

    def ita_answer(self, _server, connection, request):
        assert request.headers["x-api-key"] == API_KEY
        self.calls.append(request.target)
        nonce = {name: base64.b64encode(os.urandom(32)).decode() for name in ("val", "iat", "signature")}
        return net_world.respond(connection, 200, json.dumps(nonce).encode())

    def options(self):
        return ["--iam", self.iam.url, "--google-roots", self.ca, "--ita", self.ita.url, "--ita-roots", self.ca]

    def begin(self, *options, other=None, **keys):
        attributes = dict(self.world.attributes(cmd='["trap", "sleep=200"]', **keys), **(other or {}))
        launch = self.world.launch_start(attributes, options=[*self.options(), *options])
        self.launch = launch.wait_for("event=workload.started")
        self.socket = os.path.join(launch.shared, "teeserver.sock")

    def end(self):
        self.launch.send(signal.SIGTERM)
        self.launch.wait()
        self.assert_clean(self.launch)

    def checked(self, token):
        return token_check.check(token, self.world.verifier.get("/.well-known/jwks.json"))

    def test_impersonated_accounts_are_named_by_the_token(self):
        self.begin(impersonate_service_accounts="%s,%s" % (FIRST, SECOND))
        claims = self.checked(parts.read(os.path.join(self.launch.shared, TOKEN)))
        self.assertEqual(claims["google_service_accounts"], [metadata.ACCOUNT, FIRST, SECOND])
        self.assertEqual(self.calls, [FIRST, SECOND])
        status, _, token = ask(self.socket, "POST", "/v1/token", {"audience": "https://mine.example",
                                                                  "token_type": "OIDC"})
        self.assertEqual(status, 200, token)
        self.assertEqual(self.checked(token)["google_service_accounts"], [metadata.ACCOUNT, FIRST, SECOND])
        status, _, text = ask(self.socket, "GET", "/v1/intel/token")
        self.assertEqual((status, text), (500, "no ITA verifier client present - ensure ITA Region and Key are "
                                          "defined in metadata"))
        self.end()
        self.note("both accounts in the token file's token and in one of the socket")

    def test_an_account_that_is_refused_ends_the_launch_by_its_name(self):
        words = json.dumps({"error": {"message": "Permission 'iam.serviceAccounts.getOpenIdToken' denied"}})
        self.replies = [(403, words.encode())]
        launch = self.world.launch(self.world.attributes(impersonate_service_accounts=FIRST), options=self.options())
        report = self.assert_end(launch, 1, "denied", "TL0815")
        self.assertIn(FIRST, report["message"])
        self.assertIn("getOpenIdToken", report["message"])
        self.assertEqual(self.calls, [FIRST])
        self.assertFalse(launch.token)
        self.note("refused: %s", report["message"])

    def test_another_account_s_token_is_no_proof(self):
        """IAM answers for somebody else's challenge: the verifier notices."""
        token = account_token(self.world.metadata.folder, FIRST, "projects/p/locations/r/challenges/other")
        self.replies = [(200, json.dumps({"token": token}).encode())]
        launch = self.world.launch(self.world.attributes(impersonate_service_accounts=FIRST), options=self.options())
        report = self.assert_end(launch, 1, "denied")
        self.assertIn("audience", report["message"])

    def test_faults_of_iam_are_tried_again_from_a_new_challenge(self):
        self.replies = [(503, b""), (429, b""), (200, b"{}")]
        self.begin(impersonate_service_accounts=FIRST)
        self.assertEqual(self.calls, [FIRST] * 4)
        self.end()
        self.assertEqual(self.launch.report["token"]["attempts"], 4)
        self.note("503, 429 and a reply without token: a token at the fourth attempt")

    def test_intel_trust_authority_without_tdx_is_told_and_the_rest_goes_on(self):
        self.begin(other={"ita-region": "us", "ita-api-key": API_KEY})
        self.assertEqual(os.listdir(self.launch.shared), ["teeserver.sock"])
        status, _, text = ask(self.socket, "GET", "/v1/intel/token")
        self.assertEqual(status, 500, text)
        self.assertIn("TDX", text)
        self.assertEqual(self.calls, ["/appraisal/v2/nonce"])
        status, _, token = ask(self.socket, "GET", "/v1/token")
        self.assertEqual(status, 200, token)
        self.checked(token)
        self.end()
        self.assertIn("code=TL0814", self.launch.stderr)
        for text in (self.launch.stderr, self.launch.console):
            self.assertNotIn(API_KEY, text)
        self.note("no token file; /v1/intel/token names TDX, /v1/token answers")

    def test_a_region_that_is_none_is_refused_before_anything_is_fetched(self):
        launch = self.world.launch(self.world.attributes() | {"ita-region": "DE", "ita-api-key": API_KEY},
                                   options=self.options())
        self.assert_end(launch, 1, "denied", "TL0327")
        self.assertEqual(self.calls, [])
        self.assertNotIn(API_KEY, launch.stderr + launch.console)

    def with_tpm(self, *options):
        """Another TPM in place of the world's; the verifier trusts its root alone."""
        type(self).tpms += 1
        tpm = type(self.world.tpm)(self.world.path("tpm-%d" % self.tpms))
        tpm.start(*options)
        self.addCleanup(tpm.stop)
        usual = self.world.tpm

        def back():
            self.world.tpm, self.world.verifier.ak_roots = usual, usual.file("ak-root.pem")
            self.world.verifier.process.stop()
            self.world.verifier.launch()
        self.addCleanup(back)
        self.world.tpm, self.world.verifier.ak_roots = tpm, tpm.file("ak-root.pem")
        self.world.is_fresh_boot = False
        self.world.verifier.process.stop()
        self.world.verifier.launch()
        return tpm

    def test_the_chain_is_fetched_by_the_address_in_the_certificate(self):
        pages = []
        server = self.serve(lambda _s, c, _r: net_world.respond(c, *pages), None)
        host = "127.0.0.1:%d" % server.port
        tpm = self.with_tpm("--intermediate", "--aia", "http://%s/ca.crt" % host)
        with open(tpm.file("ca/intermediate.pem"), "rb") as f:
            pages[:] = [200, f.read()]
        self.begin("--aia-host", host)
        for _ in range(2):
            status, _, token = ask(self.socket, "GET", "/v1/token", Cache_Control="no-cache")
            self.assertEqual(status, 200, token)
        self.end()
        self.assertEqual(len(server.requests), 1)
        self.assertIn("event=ak_chain.fetched certificates=1", self.launch.stderr)
        # Who isn't on the list isn't asked; this verifier, which lacks the certificate, refuses.
        launch = self.world.launch(self.world.attributes(), options=self.options())
        report = self.assert_end(launch, 1, "denied", "TL0805")
        self.assertIn("code=TL0817", launch.stderr)
        self.assertEqual(len(server.requests), 1)
        self.note("fetched once for three tokens; without the host on the list: %s", report["message"])


if __name__ == "__main__":
    launch_case.main()
