#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The client of Intel Trust Authority against a server of ours with the service's API: what it sends,
byte for byte, and what happens when the service doesn't play along."""
import base64
import hashlib
import json
import os
import ssl
import time
import warnings

from net_world import CANARY, Case, main, probe, respond, wait_for_the_end

NONCE_PATH, TOKEN_PATH = "/appraisal/v2/nonce", "/appraisal/v2/attest/gcp/confidentialspace"
KEY = CANARY + "-api-key"
FIELDS = {"policy_must_match", "tdx", "token_signing_alg", "gcpcs"}


def b64(data):
    return base64.b64encode(data).decode()


def jwt(**claims):
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), CANARY.encode()]
    return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts)


def says(status, text, **headers):
    return lambda _server, connection, _request: respond(connection, status, text.encode(), **headers)


def hangs(server, _connection, _request):
    wait_for_the_end(server)
    return False


def breaks_off(_server, connection, _request):
    connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{")
    return False


class Service(Case):
    """`self.faults[step]`: answers for the first requests of that step; then it behaves."""

    def setUp(self):
        self.faults = {"nonce": [], "token": []}
        self.nonces, self.bodies = [], []
        self.token = jwt(exp=int(time.time()) + 3600, iat=int(time.time()), aud="a")
        self.server = self.serve(self.answer, "good")

    def answer(self, server, connection, request):
        assert request.headers["x-api-key"] == KEY and request.headers["Accept"] == "application/json"
        assert request.headers["Authorization"] is None
        step = {("GET", NONCE_PATH): "nonce", ("POST", TOKEN_PATH): "token"}[request.method, request.target]
        if step == "token":
            assert request.headers["Content-Type"] == "application/json"
            self.bodies.append(json.loads(request.body))
        if self.faults[step]:
            return self.faults[step].pop(0)(server, connection, request)
        reply = self.nonce() if step == "nonce" else {"token": self.token}
        return respond(connection, 200, json.dumps(reply).encode())

    def nonce(self):
        self.nonces.append((os.urandom(32) + b"\0\xff", b"iat-%d" % len(self.nonces), os.urandom(384)))
        return dict(zip(("val", "iat", "signature"), map(b64, self.nonces[-1])), unknown=1)

    def attest(self, *options):
        return probe("--ca", self.ca, "--region", "US", "--key", KEY, *options, "ita", self.server.url)[-1]


class Good(Service):
    def test_the_request_is_the_services(self):
        got = self.attest("--identity", "id")
        self.assertEqual((got["r"], got.get("token"), got["attempts"]), (0, self.token, 1), got)
        body, = self.bodies
        (val, iat, signature), = self.nonces
        challenge = hashlib.sha512(val + iat).digest()
        audience = (b"ita://" + val).hex()
        self.assertEqual(body, {
            "policy_must_match": True,
            "tdx": {"event_log": b64(b"ccel\xff"), "canonical_event_log": b64(b"cel"), "quote": b64(challenge),
                    "verifier_nonce": {"val": b64(val), "iat": b64(iat), "signature": b64(signature)}},
            "token_signing_alg": "RS256",
            "gcpcs": {"gcp_credentials": ["id.%d.%s" % (i, audience) for i in range(2)], "ak_cert": b64(b"ak"),
                      "intermediate_certs": None,
                      "confidential_space_info": {
                          "signed_entities": None,
                          "token_options": {
                              "audience": "https://sts.googleapis.com", "nonce": None, "token_type": "OIDC",
                              "token_type_options": {"allowed_principal_tags": {
                                  "container_image_signatures": {"key_ids": None}}}}}}})
        self.assertEqual(self.server.connections, 1)

    def test_options_of_a_custom_token(self):
        self.assertEqual(self.attest("--audience", "https://mine.example")["r"], 0)
        space = self.bodies[0]["gcpcs"]["confidential_space_info"]
        self.assertEqual((space["token_options"]["audience"], space["token_options"]["nonce"]),
                         ("https://mine.example", ["nonce-1"]))
        self.assertIsNone(self.bodies[0]["gcpcs"]["gcp_credentials"])

    def test_a_region_in_any_case_and_no_other(self):
        self.assertEqual(self.attest("--region", "eu")["r"], 0)
        for region in ("", "DE", "us-central1", "U\u0130"):
            self.fails(self.attest("--region", region), "TL_E_ITA_REGION", "US and EU")


class Retried(Service):
    def test_each_step_is_retried_from_a_new_nonce(self):
        for step in ("nonce", "token"):
            for fault in (says(500, "x"), says(503, ""), says(429, "slow down", Retry_After="0"), breaks_off,
                          says(200, "[]"), says(200, "{}")):
                self.nonces.clear()
                self.faults[step] = [fault]
                got = self.attest()
                self.assertEqual((got["r"], got["attempts"]), (0, 2), got)
                self.assertEqual(len(self.nonces), 2 if step == "token" else 1)

    def test_nonces_that_cannot_be_used(self):
        good = {"val": "AAAA", "iat": "AAAA", "signature": "AAAA"}
        for name in good:
            for value in (None, 7, "", "!", "AAA", b64(b"x" * 4097)):
                self.faults["nonce"] = [says(200, json.dumps(dict(good, **{name: value})))] * 99
                for budget_ms in (100, 1000, 5000):  # on a busy machine an attempt can end at the deadline
                    got = self.attest("--budget", str(budget_ms))
                    if got["code"] != "TL_E_NET_TIMEOUT":
                        break
                self.fails(got, "TL_E_VERIFIER_RESPONSE", "'%s'" % name)

    def test_a_silent_service_ends_with_the_budget(self):
        self.faults["token"] = [hangs] * 9
        got = self.attest("--budget", "700", "--try", "400")
        self.fails(got, "TL_E_NET_TIMEOUT")
        self.assertEqual(got["class"], "retry")
        self.faults["nonce"] = [hangs]
        self.cancelled_at_once(probe("--ca", self.ca, "--region", "US", "--key", KEY, "--cancel", "300", "ita",
                                     self.server.url))


class Refused(Service):
    def test_a_machine_without_tdx_is_told_so(self):
        got = self.attest("--tdx", "0")
        self.fails(got, "TL_E_ITA_TDX", "Intel Trust Authority", "TDX")
        self.assertEqual((got["class"], self.bodies), ("denied", []))

    def test_permanent_refusals_end_at_once_and_never_hold_the_key(self):
        for status, code in ((400, "REFUSED"), (401, "CREDENTIALS"), (403, "CREDENTIALS"), (404, "REFUSED"),
                             (409, "REFUSED"), (302, "REFUSED")):
            for step in ("nonce", "token"):
                self.faults[step] = [says(status, 'no: %s, nor "%s"' % (KEY, self.token), Location="https://x/")]
                got = self.attest()
                self.fails(got, "TL_E_VERIFIER_" + code, "status %d" % status)
                self.assertEqual(got["class"], "denied")
                self.assertNotIn(self.token[:20], got["msg"])

    def test_a_key_that_is_no_header_value(self):
        got = probe("--ca", self.ca, "--region", "US", "--key", CANARY + "\nX-Other: 1", "ita", self.server.url)[-1]
        self.fails(got, "TL_E_NET_URL", "control character")
        self.assertEqual(self.server.requests, [])

    def test_untrusted_tls_sees_no_key(self):
        for leaf, ca in (("good", "foreign-ca.pem"), ("wrong-name", "ca.pem"), ("expired", "ca.pem")):
            server = self.serve(self.answer, leaf)
            got, = probe("--ca", self.certificates.path(ca), "--region", "US", "--key", KEY, "ita", server.url)
            self.fails(got, "TL_E_NET_TLS_UNTRUSTED")
            self.assertEqual((got["class"], server.requests), ("denied", []))

    def test_plain_http_and_weak_ciphers_are_refused(self):
        self.fails(self.attest_at("http://127.0.0.1:1"), "TL_E_NET_URL")
        for version, ciphers, is_good in ((ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-GCM-SHA384", True),
                                          (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", False),
                                          (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0", False)):
            server = self.serve(self.answer, "good")
            with warnings.catch_warnings():  # of versions that are old on purpose
                warnings.simplefilter("ignore")
                server.context.minimum_version = ssl.TLSVersion.TLSv1
                server.context.maximum_version = version
            server.context.set_ciphers(ciphers)
            got = self.attest_at(server.url)
            if is_good:
                self.assertEqual(got["r"], 0, got)
            else:
                self.fails(got, "TL_E_NET_TLS")
                self.assertEqual(server.requests, [])

    def attest_at(self, url):
        return probe("--ca", self.ca, "--region", "US", "--key", KEY, "--budget", "2000", "ita", url)[-1]


if __name__ == "__main__":
    main()
