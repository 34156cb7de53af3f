#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Identity tokens of impersonated accounts, against a server of ours with the API of Google's IAM."""
import json

from net_world import CANARY, Case, main, probe, respond, wait_for_the_end

ACCOUNT = "a-1@proj.iam.gserviceaccount.com"
AUDIENCE = "projects/p/locations/r/challenges/c"
TOKEN = "aGVhZA.Y2xhaW1z.c2ln"


class Account(Case):
    def setUp(self):
        self.replies = []
        self.server = self.serve(self.answer, "good")

    def answer(self, _server, connection, request):
        assert request.method == "POST" and request.headers["Content-Type"] == "application/json"
        assert request.headers["Authorization"] == "Bearer " + CANARY
        status, body = self.replies.pop(0) if self.replies else (200, json.dumps({"token": TOKEN, "x": 1}))
        return respond(connection, status, body if isinstance(body, bytes) else body.encode())

    def get(self, *accounts, options=("--audience", AUDIENCE), ca=None, url=None):
        return probe("--ca", ca or self.ca, "--auth", CANARY, "--try", "1000", *options, "account",
                     url or self.server.url, *accounts)

    def test_one_call_for_each_account_on_one_connection(self):
        for got in self.get(ACCOUNT, "b_2.c+d@x.example"):
            self.assertEqual((got["r"], got["token"]), (0, TOKEN), got)
        self.assertEqual([r.target for r in self.server.requests],
                         ["/v1/projects/-/serviceAccounts/%s:generateIdToken" % a
                          for a in (ACCOUNT, "b_2.c+d@x.example")])
        self.assertEqual(json.loads(self.server.requests[0].body), {"audience": AUDIENCE, "includeEmail": True})
        self.assertEqual(self.server.connections, 1)

    def test_an_audience_of_any_bytes_becomes_text_as_go_does_it(self):
        raw = b"ita://\x00\xff\xe2\x82\xac\xe2\x82\xed\xa0\x80\"\xf0"
        self.get(ACCOUNT, options=("--hex", raw.hex()))
        sent = json.loads(self.server.requests[0].body.decode())["audience"]
        self.assertEqual(sent, "ita://\0\ufffd\u20ac\ufffd\ufffd\ufffd\ufffd\ufffd\"\ufffd")

    def test_names_that_are_no_address_are_never_asked_for(self):
        for name in ("", "a", "@b", "a@", "a@b@c", "a@b/c", "a@b:x", "../a@b", "a..b@c", "a@b?x", "a@b%2e", "a @b",
                     "a" * 320 + "@b"):
            got, = self.get(name)
            self.fails(got, "TL_E_IMPERSONATE", "not an e-mail address")
            self.assertEqual(got["class"], "denied")
        self.fails(self.get(ACCOUNT, options=("--audience", ""))[0], "TL_E_IMPERSONATE")
        self.assertEqual(self.server.requests, [])

    def test_a_refusal_names_the_account_and_ends_it(self):
        words = {"error": {"message": "Permission 'iam.serviceAccounts.getOpenIdToken' denied, " + "t" * 60}}
        for status in (400, 401, 403, 404, 409, 302):
            self.replies = [(status, json.dumps(words))]
            got, = self.get(ACCOUNT)
            self.fails(got, "TL_E_IMPERSONATE", ACCOUNT, "status %d" % status, "getOpenIdToken", "[...]")
            self.assertEqual(got["class"], "denied")

    def test_faults_of_the_service_are_worth_another_try(self):
        bad = [(429, ""), (500, "x"), (503, "{}"), (408, ""), (200, ""), (200, "[]"), (200, "{}"),
               (200, '{"token":7}'), (200, '{"token":""}'), (200, '{"token":"a b"}'),
               (200, json.dumps({"token": "x" * 16385})), (200, b'{"token":"\xff"}')]
        for reply in bad:
            self.replies = [reply]
            got, = self.get(ACCOUNT)
            self.fails(got, "TL_E_IMPERSONATE_BUSY", ACCOUNT)
            self.assertEqual(got["class"], "retry")

    def test_a_huge_reply_and_a_silent_service_end(self):
        self.replies = [(200, '{"token":"%s"}' % ("x" * 1100000))]
        self.fails(self.get(ACCOUNT)[0], "TL_E_NET_TOO_LARGE", ACCOUNT)
        silent = self.serve(lambda server, _c, _r: wait_for_the_end(server) or False, "good")
        self.fails(self.get(ACCOUNT, url=silent.url)[0], "TL_E_NET_TIMEOUT", ACCOUNT)

    def test_untrusted_tls_sees_no_access_token(self):
        for leaf, ca in (("good", "foreign-ca.pem"), ("wrong-name", "ca.pem"), ("expired", "ca.pem")):
            server = self.serve(self.answer, leaf)
            self.fails(self.get(ACCOUNT, url=server.url, ca=self.certificates.path(ca))[0], "TL_E_NET_TLS_UNTRUSTED")
            self.assertEqual(server.requests, [])
        self.fails(self.get(ACCOUNT, url="http://127.0.0.1:1")[0], "TL_E_NET_URL")


if __name__ == "__main__":
    main()
