#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The metadata client against a server that behaves and servers that don't."""
import json

from net_world import BUSY_MS, CANARY, Case, closed_port, main, probe, reset, respond, wait_for_the_end

ROOT = "/computeMetadata/v1/"
ATTRIBUTES = "instance/attributes/?recursive=true"
ACCESS = "instance/service-accounts/default/token"
IDENTITY = "instance/service-accounts/default/identity?audience=%s&format=full"
VALUES = {
    ATTRIBUTES: '{"tee-image-reference":"r"}\n',
    "project/project-id": " proj-1\n",
    "instance/zone": "projects/123/zones/us-central1-a\n",
    "instance/id": "42",
    "instance/name": "vm-1",
    ACCESS: json.dumps({"access_token": CANARY, "expires_in": 3599, "token_type": "Bearer"}),
    IDENTITY % "aud": CANARY + ".b.c",
}


class Metadata(Case):
    """`self.faults` is a list of answers for the first requests; then the values answer."""

    def setUp(self):
        self.values = dict(VALUES)
        self.faults = []
        self.server = self.serve(self.answer)

    def answer(self, server, connection, request):
        if self.faults:
            return self.faults.pop(0)(server, connection, request)
        assert request.target.startswith(ROOT), request.target
        value = self.values.get(request.target[len(ROOT):])
        status = 404 if value is None else 200
        return respond(connection, status, (value or "").encode("latin-1"),
                       Metadata_Flavor="Google")

    def ask(self, *operations, options=()):
        return probe(*options, "metadata", self.server.url[7:], *operations)

    def one(self, operation, options=()):
        result, = self.ask(operation, options=options)
        return result

    def refused(self, operation, value, code, *words):
        path = {"access": ACCESS, "identity": IDENTITY % "aud", "zone": "instance/zone",
                "region": "instance/zone", "project": "project/project-id"}[operation]
        self.values[path] = value
        self.fails(self.one(operation), code, path.split("?")[0], *words)


class Values(Metadata):
    def test_all_values_are_read_as_the_contract_says(self):
        got = self.ask("attributes", "project", "zone", "region", "id", "name", "access",
                       "identity")
        self.assertEqual([g.get("value") for g in got],
                         ['{"tee-image-reference":"r"}\n', "proj-1", "us-central1-a", "us-central1",
                          "42", "vm-1", CANARY, CANARY + ".b.c"], got)

    def test_every_request_says_who_asks_and_that_it_means_it(self):
        self.ask("attributes", "project", "access", "identity")
        for request in self.server.requests:
            self.assertEqual(request.method, "GET")
            self.assertEqual(request.headers["Metadata-Flavor"], "Google")
            self.assertEqual(request.headers["User-Agent"], "gcloud-golang/0.1")
        self.assertEqual(self.server.connections, 1)

    def test_nothing_is_read_twice(self):
        for operation in ("attributes", "project", "zone", "id", "name"):
            self.server.requests.clear()
            got = self.ask(operation, operation, "region" if operation == "zone" else operation)
            self.assertEqual([g["r"] for g in got], [0, 0, 0])
            self.assertEqual(len(self.server.requests), 1)

    def test_the_audience_is_escaped_as_a_form(self):
        self.values[IDENTITY % "a+b%2Fc%3Ad%26%3D~%C3%BC"] = "a.b.c"
        got = self.one("identity", ("--body", "a b/c:d&=~\u00fc"))
        self.assertEqual(got.get("value"), "a.b.c", got)

    def test_values_that_are_no_word_are_refused(self):
        for value in ("", " \n", "a b", "a\nb", "a\x1bb", "a\0b", "\xe4"):
            with self.subTest(value=value):
                self.refused("project", value, "TL_E_METADATA_VALUE")

    def test_a_zone_without_a_region_is_refused(self):
        for value in ("projects/1/zones/nowhere", "projects/1/zones/-a", "-"):
            self.refused("region", value, "TL_E_METADATA_VALUE", "us-central1-a")

    def test_a_value_that_is_too_large_is_refused(self):
        self.refused("project", "x" * 2000, "TL_E_NET_TOO_LARGE")
        self.values[ATTRIBUTES] = "x" * (1 << 20)
        self.assertEqual(len(self.one("attributes")["value"]), 1 << 20)
        self.values[ATTRIBUTES] += "x"
        self.fails(self.one("attributes"), "TL_E_NET_TOO_LARGE")

    def test_a_host_that_is_none_is_refused_before_any_request(self):
        for host in ("a/b", "user@host", "a b", "host?x", "host#x", "a%41", "x" * 300):
            result, = probe("metadata", host, "project")
            self.fails(result, "TL_E_METADATA_HOST")


class Tokens(Metadata):
    def test_a_token_is_kept_while_it_has_more_than_a_minute_left(self):
        for life, requests in ((3599, 1), (62, 1), (60, 3), (0, 3), (-5, 3), (1e9, 1), ("9", 3)):
            with self.subTest(life=life):
                self.values[ACCESS] = json.dumps({"access_token": "t", "expires_in":
                                                  int(life) if life == 1e9 else life})
                self.server.requests.clear()
                self.assertEqual([g["value"] for g in self.ask(*["access"] * 3)], ["t"] * 3)
                self.assertEqual(len(self.server.requests), requests)

    def test_a_life_that_is_not_told_counts_as_none(self):
        self.values[ACCESS] = '{"access_token":"t"}'
        self.ask("access", "access")
        self.assertEqual(len(self.server.requests), 2)

    def test_replies_that_are_no_token_are_refused_and_not_shown(self):
        for value in ("", "{", "[]", "{}", '{"access_token":1}', '{"access_token":""}',
                      '{"access_token":"CANARY\\r\\nX: y"}', '{"access_token":"CANARY b"}',
                      '{"access_token":"CANARY\\u0000"}',
                      '{"access_token":"CANARY","x":%s%s}' % ("[" * 40, "]" * 40)):
            with self.subTest(value=value):
                self.refused("access", value, "TL_E_METADATA_VALUE")
        for value in ("", "CANARY b", "CANARY\n", "<html>CANARY", "CANARY\0x"):
            with self.subTest(value=value):
                self.refused("identity", value, "TL_E_METADATA_VALUE")

    def test_without_a_service_account_the_path_is_named(self):
        del self.values[ACCESS]
        self.fails(self.one("access"), "TL_E_METADATA_NOT_DEFINED", ACCESS)


class Failures(Metadata):
    def test_faults_of_the_network_and_the_server_are_retried(self):
        def status(code):
            return lambda _s, c, _r: respond(c, code, Metadata_Flavor="Google")
        self.faults = [status(500), status(503), lambda _s, c, _r: reset(c) or False,
                       lambda _s, _c, _r: False, status(599)]
        got = self.one("project")
        self.assertEqual(got.get("value"), "proj-1", got)
        # A connection that breaks on reuse is asked once more by itself.
        self.assertIn(len(self.server.requests), (6, 7, 8))

    def test_retries_end_after_six_attempts(self):
        self.faults = [lambda _s, c, _r: respond(c, 500, b"CANARY")] * 50
        got = self.one("project")
        self.fails(got, "TL_E_METADATA_UNAVAILABLE", "500")
        self.assertEqual(got["class"], "retry")
        self.assertEqual(len(self.server.requests), 6)
        self.assertLess(got["took_ms"], 3100 + BUSY_MS)

    def test_a_refused_connection_is_retried_within_its_bounds(self):
        got, = probe("metadata", "127.0.0.1:%d" % closed_port(), "project")
        self.fails(got, "TL_E_NET_CONNECT", "project/project-id")
        self.assertLess(got["took_ms"], 3100 + BUSY_MS)

    def test_a_name_that_cannot_be_resolved_is_retried_within_its_bounds(self):
        every = probe("metadata", "nowhere.invalid", "project", "zone")
        for got in every:
            self.fails(got, "TL_E_NET_RESOLVE", "nowhere.invalid")
            self.assertEqual(got["class"], "retry")
        # They did try again: ten waits of a random part of up to 100, 200, ... 1600 ms.
        self.assertGreater(sum(got["took_ms"] for got in every), 500)

    def test_a_server_that_hangs_is_given_five_seconds(self):
        self.faults = [lambda s, _c, _r: wait_for_the_end(s) or False]
        got = self.one("project")
        self.assertEqual(got.get("value"), "proj-1", got)
        self.assertGreaterEqual(got["took_ms"], 5000)
        self.assertLess(got["took_ms"], 6500 + BUSY_MS)

    def test_what_the_server_refuses_is_asked_once(self):
        for status, code in ((400, "TL_E_METADATA_REFUSED"), (403, "TL_E_METADATA_REFUSED"),
                             (404, "TL_E_METADATA_NOT_DEFINED"), (301, "TL_E_METADATA_REFUSED"),
                             (204, "TL_E_METADATA_REFUSED"), (429, "TL_E_METADATA_UNAVAILABLE")):
            with self.subTest(status=status):
                self.server.requests.clear()
                self.faults = [lambda _s, c, _r, status=status: respond(
                    c, status, b"w\x1bhy", Metadata_Flavor="Google", Location="/x")]
                self.fails(self.one("project"), code, str(status))
                self.assertEqual(len(self.server.requests), 1)

    def test_what_is_not_a_metadata_server_is_refused(self):
        for flavor in ({}, {"Metadata_Flavor": "google"}, {"Metadata_Flavor": "Google, x"},
                       {"X_Metadata_Flavor": "Google"}):
            for operation in ("attributes", "access", "identity"):
                self.faults = [lambda _s, c, _r, flavor=flavor: respond(
                    c, 200, CANARY.encode(), **flavor)]
                got = self.one(operation)
                self.fails(got, "TL_E_METADATA_NOT_GENUINE")
                self.assertEqual(got["class"], "fatal")

    def test_cancellation_ends_a_request_and_a_pause_at_once(self):
        self.faults = [lambda s, _c, _r: wait_for_the_end(s) or False]
        self.cancelled_at_once(self.ask("project", options=("--cancel", "300")))
        self.faults = [lambda _s, c, _r: respond(c, 500)] * 50
        self.cancelled_at_once(self.ask("project", options=("--cancel", "100")))


class Checklist(Metadata):
    """Items S01 and S02 of docs/THREAT_MODEL.md."""

    def test_s01_metadata_that_changes_after_the_first_read_is_not_seen(self):
        def flip(_server, connection, _request):
            seen.append(1)
            return respond(connection, 200, b'{"tee-image-reference":"%d"}' % len(seen),
                           Metadata_Flavor="Google")
        seen = []
        self.faults = [flip] * 50
        got = self.ask(*["attributes"] * 5)
        self.assertEqual({g["value"] for g in got}, {'{"tee-image-reference":"1"}'})
        self.assertEqual(len(self.server.requests), 1)
        # What is kept isn't replaced by a failure either.
        self.faults = [flip, lambda _s, c, _r: respond(c, 500)] * 20
        got = self.ask("attributes", "project", "attributes")
        self.assertEqual(got[0]["value"], got[2]["value"])

    def test_s02_a_hostile_server_gets_a_typed_error_in_bounded_time(self):
        def raw(*chunks, pause_s=0.0):
            def answer(server, connection, _request):
                for chunk in chunks:
                    connection.sendall(chunk)
                    if pause_s:
                        server.ended.wait(pause_s)
                return False
            return answer
        good = b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n"
        endless = [good + b"\r\n"] + [b"x" * 65536] * 40
        attacks = (
            ("a body that is cut", raw(good + b"Content-Length: 100\r\n\r\n{"), None, 6),
            ("a body without an end", raw(*endless), "TL_E_NET_TOO_LARGE", 1),
            ("a length that lies", raw(good + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 70000),
             "TL_E_NET_TOO_LARGE", 1),
            ("headers without an end", raw(good, *[b"X: %s\r\n" % (b"y" * 60000)] * 30), None, 6),
            ("another language", raw(b"SSH-2.0-OpenSSH\r\n"), None, 6),
            ("a redirect", raw(b"HTTP/1.1 302 X\r\nMetadata-Flavor: Google\r\nContent-Length: 0\r\n"
                               b"Location: http://127.0.0.1:1/\r\n\r\n"), "TL_E_METADATA_REFUSED", 1),
            ("another flavor", raw(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Evil\r\n"
                                   b"Content-Length: 2\r\n\r\n{}"), "TL_E_METADATA_NOT_GENUINE", 1),
        )
        for what, attack, code, most in attacks:
            with self.subTest(what):
                self.server.requests.clear()
                self.faults = [attack] * 50
                got = self.one("attributes")
                self.assertLess(got["r"], 0, got)
                self.assertRegex(got["code"], "^TL_E_(NET|METADATA)_", got)
                if code:
                    self.assertEqual(got["code"], code, got)
                self.assertLessEqual(len(self.server.requests), 2 * most)
                self.assertLess(got["took_ms"], 10000)

    def test_s02_a_body_that_drips_is_given_five_seconds(self):
        def drip(server, connection, _request):
            connection.sendall(b"HTTP/1.1 200 OK\r\nMetadata-Flavor: Google\r\n"
                               b"Content-Length: 1000\r\n\r\n")
            for _ in range(1000):
                if server.ended.wait(0.2):
                    break
                try:
                    connection.sendall(b"x")
                except OSError:
                    break
            return False
        self.faults = [drip]
        got = self.one("attributes")
        self.assertEqual(got.get("value"), VALUES[ATTRIBUTES], got)
        self.assertGreaterEqual(got["took_ms"], 4900)
        self.assertLess(got["took_ms"], 7000 + BUSY_MS)


if __name__ == "__main__":
    main()
