#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The verifier client against a fake of the service: what the protocol's edges do to it.

The fake checks no evidence; the real counterpart of the client is teeverifierd.
"""
import base64
import email.utils
import json
import time

from net_world import BUSY_MS, CANARY, Case, closed_port, main, probe, respond, wait_for_the_end

LOCATION = "projects/proj-1/locations/us-central1"
QUERY = "?%24alt=json%3Benum-encoding%3Dint"
TOKEN_FIELDS = {"verifyConfidentialSpace": "attestationToken",
                "verifyAttestation": "oidcClaimsToken"}


def jwt(**claims):
    parts = [json.dumps({"alg": "RS256"}).encode(), json.dumps(claims).encode(), CANARY.encode()]
    return ".".join(base64.urlsafe_b64encode(p).decode().rstrip("=") for p in parts)


def fails_with(status, message="", name="", **headers):
    body = json.dumps({"error": {"code": status, "message": message, "status": name}}).encode()
    return lambda _server, connection, _request: respond(connection, status, body, **headers)


def breaks_off(_server, connection, _request):
    connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\n{")
    return False


def hangs(server, _connection, _request):
    wait_for_the_end(server)
    return False


def says(text):
    return lambda _server, connection, _request: respond(connection, 200, text.encode())


class Service(Case):
    """`self.faults[step]`: answers for the first requests of that step; then it behaves."""

    asks = {}  # what the challenge has beside Google's fields

    def setUp(self):
        self.records = []
        self.faults = {"location": [], "list": [], "challenge": [], "verify": []}
        self.nonces = []
        self.token = jwt(exp=int(time.time()) + 3600, iat=int(time.time()), aud="a")
        self.reply = {}
        self.server = self.serve(self.answer, "good")

    def answer(self, server, connection, request):
        path, _, query = request.target.partition("?")
        assert "?" + query == QUERY, request.target
        assert path.startswith("/v1/projects/"), path
        name = path[len("/v1/"):]
        step = ("list" if name.endswith("/locations") else
                "challenge" if name.endswith("/challenges") else
                "verify" if ":" in name else "location")
        if self.faults[step]:
            return self.faults[step].pop(0)(server, connection, request)
        return respond(connection, 200, json.dumps(getattr(self, step)(name, request)).encode())

    def list(self, _name, _request):
        return {"locations": [{"locationId": "us-west1"}, {"locationId": "asia\x1b"}, {"x": 1}]}

    def location(self, name, request):
        assert name == LOCATION and request.method == "GET", name
        return {"name": LOCATION, "locationId": "us-central1", "unknown": [1]}

    def challenge(self, name, request):
        assert name == LOCATION + "/challenges" and request.body == b"{}", name
        self.nonces.append(b"nonce-%d" % len(self.nonces))
        return {"name": LOCATION + "/challenges/c%d" % len(self.nonces),
                "tpmNonce": base64.b64encode(self.nonces[-1]).decode(), **self.asks}

    def verify(self, name, request):
        challenge, call = name.split(":")
        body = json.loads(request.body)
        assert challenge == body["challenge"] == LOCATION + "/challenges/c%d" % len(self.nonces)
        quote, = body["tpmAttestation"]["quotes"]
        assert base64.b64decode(quote["rawQuote"]) == self.nonces[-1]
        # Google's parser refuses what it doesn't know.
        assert set(body["tpmAttestation"]) - {"launchRecordLog"} <= {
            "quotes", "tcgEventLog", "canonicalEventLog", "akCert", "certChain"}, body
        self.records.append(body["tpmAttestation"].get("launchRecordLog"))
        return {TOKEN_FIELDS[call]: self.token, **self.reply}

    def attest(self, *options):
        return probe("--ca", self.ca, *options, "attest", self.server.url)[-1]

    def steps(self):
        return [r.target.split("?")[0].split("/")[-1].split(":")[-1] for r in self.server.requests]


class Good(Service):
    def test_both_calls_of_the_api_yield_the_token(self):
        for call in TOKEN_FIELDS:
            self.server.requests.clear()
            got = self.attest("--api", call, "--auth", CANARY, "--identity", CANARY)
            self.assertEqual((got["r"], got.get("token"), got["attempts"]), (0, self.token, 1), got)
            self.assertGreater(got["exp"], time.time())
            self.assertEqual(self.steps(), ["us-central1", "challenges", call])

    def test_the_launch_record_goes_only_to_whom_asks_for_it(self):
        for asks, sent in (({}, None), ({"launchRecord": False}, None), ({"launchRecord": "yes"}, None),
                           ({"launchRecord": True}, base64.b64encode(b"record").decode())):
            self.asks = asks
            for call in TOKEN_FIELDS:
                self.assertEqual(self.attest("--api", call)["r"], 0)
                self.assertEqual(self.records.pop(), sent, asks)

    def test_requests_carry_the_headers_of_the_api(self):
        self.attest("--auth", CANARY)
        routing = ["name=projects%2Fproj-1%2Flocations%2Fus-central1",
                   "parent=projects%2Fproj-1%2Flocations%2Fus-central1",
                   "challenge=projects%2Fproj-1%2Flocations%2Fus-central1%2Fchallenges%2Fc1"]
        for request, params in zip(self.server.requests, routing):
            self.assertEqual(request.headers["Authorization"], "Bearer " + CANARY)
            self.assertEqual(request.headers["Content-Type"], "application/json")
            self.assertEqual(request.headers["x-goog-request-params"], params)
        self.assertEqual(self.server.connections, 1)

    def test_identity_tokens_are_made_for_the_challenge(self):
        self.attest("--identity", CANARY)
        body = json.loads(self.server.requests[-1].body)
        self.assertEqual(body["gcpCredentials"]["serviceAccountIdTokens"],
                         [CANARY + ".%d.%s/challenges/c1" % (i, LOCATION) for i in range(2)])
        self.assertEqual(body["options"], {"audience": "https://sts.googleapis.com",
                                           "tokenProfile": 1, "signatureType": 1})
        self.assertIsNone(self.server.requests[-1].headers["Authorization"])

    def test_partial_errors_come_back_as_warnings(self):
        self.reply = {"partialErrors": [{"code": 3, "message": "a\x1b " + self.token}, {"code": 4}]}
        got = self.attest()
        self.assertEqual(got["warnings"], ["a\x1b [...]", "no message"])


class Retried(Service):
    def recovers(self, step, *faults, options=(), collected=None):
        self.faults[step] = list(faults)
        got = self.attest("--identity", "id", *options)
        self.assertEqual((got["r"], got["attempts"]), (0, len(faults) + 1), got)
        if step == "verify":
            self.assertEqual(len(self.nonces), len(faults) + 1)
            self.assertEqual(got["collected"], len(faults) + 1)
        return got

    def test_each_retry_begins_with_a_new_challenge_and_new_evidence(self):
        self.recovers("verify", fails_with(500), fails_with(503), fails_with(429),
                      fails_with(409, name="ABORTED"))
        challenges = [json.loads(r.body)["challenge"] for r in self.server.requests
                      if ":" in r.target.split("?")[0]]
        self.assertEqual(len(set(challenges)), 5)
        self.assertEqual(self.steps().count("us-central1"), 1)

    def test_each_step_is_retried(self):
        for step in ("location", "challenge", "verify"):
            with self.subTest(step=step):
                self.nonces.clear()
                self.recovers(step, fails_with(500), breaks_off)

    def test_retry_after_is_honoured_in_seconds_and_as_a_date(self):
        self.assertGreaterEqual(self.recovers("verify", fails_with(429, Retry_After="1"))["took_ms"],
                                1000)
        self.nonces.clear()
        date = email.utils.formatdate(time.time() + 2, usegmt=True)
        self.assertGreaterEqual(self.recovers("verify", fails_with(503, Retry_After=date))["took_ms"],
                                900)

    def test_a_call_that_hangs_is_given_up_and_made_again(self):
        got = self.recovers("verify", hangs, options=("--try", "500"))
        self.assertGreaterEqual(got["took_ms"], 500)
        self.assertLess(got["took_ms"], 2500 + BUSY_MS)

    def test_a_call_that_hangs_is_given_twenty_seconds(self):
        """The launcher's own limit: without --try."""
        took_ms = self.recovers("verify", hangs)["took_ms"]
        self.assertGreaterEqual(took_ms, 20000)
        self.assertLess(took_ms, 22000 + BUSY_MS)

    def test_replies_that_cannot_be_read_are_asked_for_again(self):
        self.recovers("location", says("{}"), says('{"name":"projects/../x"}'))
        self.recovers("challenge", says("<html>"), says("{}"))
        self.recovers("challenge", says('{"name":"%s/challenges/c","tpmNonce":"!"}' % LOCATION),
                      says('{"name":"%s/challenges/c","tpmNonce":""}' % LOCATION))
        long_nonce = base64.b64encode(b"x" * 65).decode()
        self.recovers("challenge", says('{"name":"../../x","tpmNonce":"AAAA"}'),
                      says('{"name":"%s/challenges/c","tpmNonce":"%s"}' % (LOCATION, long_nonce)))

    def test_a_token_that_is_missing_malformed_or_expired_is_asked_for_again(self):
        bad = ["", "x", jwt(exp=int(time.time()) - 1), jwt(iat=1)]
        replies = [says("{}")] + [says(json.dumps({"attestationToken": t})) for t in bad]
        for reply in replies:
            self.nonces.clear()
            self.recovers("verify", reply)

    def test_s36_each_fault_at_each_call_is_got_over(self):
        """Twelve of them, each in an attestation of its own: a token at the second attempt."""
        faults = {"429": fails_with(429, "slow down", Retry_After="0"), "503": fails_with(503),
                  "half a reply": breaks_off, "silence": hangs}
        for step in ("location", "challenge", "verify"):
            for name, fault in faults.items():
                with self.subTest("%s at %s" % (name, step)):
                    self.nonces.clear()
                    got = self.recovers(step, fault, options=("--try", "400"))
                    self.assertEqual(got["token"], self.token)

    def test_s32_hostile_tokens_are_refused_and_never_quoted(self):
        def raw(head, claims):
            return ".".join(base64.urlsafe_b64encode(p.encode()).decode().rstrip("=")
                            for p in (head, claims, CANARY))
        now = int(time.time())
        head, good = '{"alg":"RS256"}', '{"exp":%d}' % (now + 3600)
        hostile = {"no alg": raw("{}", good), "an unknown alg": raw('{"alg":"rot13"}', good),
                   "2 MB of claims": raw(head, '{"exp":%d,"a":"%s"}' % (now + 3600, "x" * 1400000)),
                   "expired": raw(head, '{"exp":%d}' % now), "no exp": raw(head, '{"a":"%s"}' % CANARY),
                   "exp 2^63": raw(head, '{"exp":9223372036854775808}'), "exp -1": raw(head, '{"exp":-1}'),
                   "no ASCII": raw(head, good).replace(".", ".\u00e9", 1), "two parts": "e30.e30",
                   "NUL": raw(head, good) + "\0", "a line end": raw(head, good) + "\n"}
        for name, token in hostile.items():
            with self.subTest(name):
                self.faults["verify"] = [says(json.dumps({"attestationToken": token}))] * 99
                for budget_ms in (200, 2000, 10000):  # on a busy machine an attempt can end at the deadline
                    got = self.attest("--budget", str(budget_ms))
                    if got.get("code") != "TL_E_NET_TIMEOUT":
                        break
                self.assertLess(got["r"], 0)
                self.assertIn(got["code"], ("TL_E_TOKEN_MALFORMED", "TL_E_TOKEN_EXPIRED",
                                            "TL_E_VERIFIER_RESPONSE", "TL_E_NET_TOO_LARGE"))
                self.assertNotIn(token[-20:], got["msg"])
                self.assertNotIn("token", got)
        # The workload doesn't trust it, the relying party checks it: as the reference has it.
        self.token = raw('{"alg":"none"}', good)
        self.faults["verify"] = []
        self.assertEqual(self.attest()["token"], self.token)


class Clocks(Service):
    """The machine's clock and the verifier's are apart; it is all the same which of them is wrong."""

    def told_at(self, ahead_s, date=True):
        """A verifier whose clock is ahead by so much gives a token that lives ten minutes."""
        now_s = int(time.time()) + ahead_s
        body = json.dumps({"attestationToken": jwt(iat=now_s, exp=now_s + 600)}).encode()
        headers = {"Date": email.utils.formatdate(now_s, usegmt=True)} if date else {}
        self.nonces.clear()
        self.faults["verify"] = [lambda _s, c, _r: respond(c, 200, body, **headers)]
        return self.attest()

    def test_clocks_an_hour_apart_end_nothing_and_are_told(self):
        for ahead_s in (-3600, 3600):
            got = self.told_at(ahead_s)
            self.assertIn("token", got)
            self.assertEqual(got["attempts"], 1)
            self.assertAlmostEqual(got["skew_s"], -ahead_s, delta=3)

    def test_without_a_date_the_own_clock_is_believed(self):
        self.assertEqual(self.told_at(-3600, date=False)["attempts"], 2)  # expired; the next one is good
        got = self.told_at(3600, date=False)
        self.assertEqual(got["attempts"], 1)
        self.assertAlmostEqual(got["skew_s"], -3600, delta=3)  # by the token's iat

    def test_a_clock_that_is_days_off_is_none(self):
        got = self.told_at(-2 * 86400)
        self.assertEqual(got["attempts"], 2)
        self.assertLess(abs(got["skew_s"]), 3)  # of the second one


class GivenUp(Service):
    def gives_up(self, fault, code, *words, budget_ms=700, step="verify"):
        self.faults[step] = [fault] * 1000
        got = self.attest("--budget", budget_ms, "--try", "400", "--auth", CANARY, "--identity",
                          CANARY)
        self.fails(got, code, *words)
        self.assertEqual(got["class"], "retry")
        self.assertLess(got["took_ms"], budget_ms + BUSY_MS)
        self.assertNotIn("token", got)
        return got

    def test_the_budget_ends_all_retries_and_the_last_cause_is_told(self):
        self.gives_up(fails_with(500, "why"), "TL_E_VERIFIER_UNAVAILABLE", "why", "700 ms",
                      "verifyConfidentialSpace")
        self.gives_up(fails_with(429), "TL_E_VERIFIER_BUSY", "429")
        self.gives_up(hangs, "TL_E_NET_TIMEOUT")
        self.gives_up(says("[]"), "TL_E_VERIFIER_RESPONSE")
        self.gives_up(says(json.dumps({"attestationToken": CANARY})), "TL_E_TOKEN_MALFORMED")
        expired = says(json.dumps({"attestationToken": jwt(exp=1000, c=CANARY)}))
        self.gives_up(expired, "TL_E_TOKEN_EXPIRED", "clock")

    def test_a_retry_after_beyond_the_budget_ends_it_at_once(self):
        got = self.gives_up(fails_with(429, Retry_After="60"), "TL_E_VERIFIER_BUSY", budget_ms=20000)
        self.assertLess(got["took_ms"], 10000)
        self.assertEqual(len(self.nonces), 1)

    def test_a_verifier_that_is_not_there(self):
        got, = probe("--ca", self.ca, "--budget", "1000", "attest",
                     "https://127.0.0.1:%d" % closed_port())
        self.fails(got, "TL_E_NET_CONNECT", "location")
        self.assertLess(got["took_ms"], 1000 + BUSY_MS)

    def test_cancellation_ends_a_call_and_a_pause_at_once(self):
        self.faults["verify"] = [hangs]
        self.cancelled_at_once(probe("--ca", self.ca, "--cancel", "300", "attest", self.server.url))
        self.faults["verify"] = [fails_with(429, Retry_After="30")]
        self.cancelled_at_once(probe("--ca", self.ca, "--cancel", "300", "attest", self.server.url))


class Refused(Service):
    def refused(self, step, fault, code, *words, options=()):
        self.faults[step] = [fault]
        self.server.requests.clear()
        got = self.attest("--auth", CANARY, "--identity", CANARY, *options)
        self.fails(got, code, *words)
        self.assertEqual(got["class"], "denied")
        self.assertEqual(got["attempts"], 0)
        self.assertLess(got["took_ms"], 500 + BUSY_MS)
        return got

    def test_permanent_refusals_end_at_once_with_the_services_words(self):
        for status in (400, 404, 412, 302):
            self.refused("verify", fails_with(status, "bad\x1b nonce"), "TL_E_VERIFIER_REFUSED",
                         "status %d" % status, "bad\\x1b nonce")
            self.assertEqual(self.steps().count("verifyConfidentialSpace"), 1)
        for status in (401, 403):
            for step in ("location", "challenge", "verify"):
                self.refused(step, fails_with(status, "no"), "TL_E_VERIFIER_CREDENTIALS", "no")

    def test_words_are_cut_and_freed_of_tokens(self):
        got = self.refused("verify", fails_with(400, "bad token %s !" % self.token),
                           "TL_E_VERIFIER_REFUSED", "bad token [...] !")
        self.assertNotIn(self.token[:20], got["msg"])
        got = self.refused("verify", fails_with(400, "many words " * 1000), "TL_E_VERIFIER_REFUSED")
        self.assertLess(len(got["msg"]), 400)

    def test_an_unknown_region_is_told_with_the_ones_there_are(self):
        self.refused("location", fails_with(404, "no such"), "TL_E_VERIFIER_LOCATION",
                     "us-central1", "us-west1, asia\\x1b", "no such")
        self.faults["list"] = [fails_with(500)]
        self.refused("location", fails_with(400), "TL_E_VERIFIER_LOCATION", "not told")

    def test_a_huge_reply_is_refused(self):
        self.refused("verify", says('{"attestationToken":"%s"}' % ("x" * 3000000)),
                     "TL_E_NET_TOO_LARGE")

    def test_untrusted_tls_is_not_retried(self):
        got, = probe("--ca", self.certificates.path("foreign-ca.pem"), "--auth", CANARY, "attest",
                     self.server.url)
        self.fails(got, "TL_E_NET_TLS_UNTRUSTED")
        self.assertEqual(got["class"], "denied")
        self.assertLess(got["took_ms"], 500 + BUSY_MS)
        self.assertEqual(self.server.requests, [])

    def test_options_that_cannot_be_used_are_refused_before_any_request(self):
        for url in ("http://127.0.0.1:1", "https://", "https://h/path", "https://h?q", "h",
                    "https://u@h"):
            got, = probe("attest", url)
            self.fails(got, "TL_E_NET_URL", "https://host")
        for option in ("--project", "--region"):
            for value in ("", "a/b", "..", "a b", "a?b", "x" * 101):
                got = self.attest(option, value)
                self.fails(got, "TL_E_VERIFIER_LOCATION")
        self.assertEqual(self.server.requests, [])


if __name__ == "__main__":
    main()
