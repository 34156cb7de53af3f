#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP client against servers that behave and servers that don't."""
import json
import os
import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

from net_world import (BUSY_MS, CANARY, Case, closed_port, main, probe, reset, respond, wait_for_the_end)


def say_hello(_server, connection, _request):
    respond(connection, 200, b"hello", X_Mixed_Case="yes")


def echo(_server, connection, request):
    """What arrived, as JSON; /to?URL redirects there."""
    if request.target.startswith("/to?"):
        query = parse_qs(urlsplit(request.target).query)
        respond(connection, int(query.get("status", ["302"])[0]), Location=query["url"][0])
        return
    body = {"method": request.method, "target": request.target, "body": request.body.decode(),
            "headers": {k.lower(): v for k, v in request.headers.items()}}
    respond(connection, 200, json.dumps(body).encode())


def raw(*chunks, pause_s=0.0, end=wait_for_the_end):
    def answer(server, connection, _request):
        for chunk in chunks:
            connection.sendall(chunk)
            time.sleep(pause_s)
        if end is reset:
            reset(connection)
        elif end:
            end(server)
        return False
    return answer


class Trust(Case):
    def untrusted(self, result, *words):
        """No other attempt makes it trusted: a machine must not start over for it."""
        self.fails(result, "TL_E_NET_TLS_UNTRUSTED", *words)
        self.assertEqual(result["class"], "denied")

    def one(self, leaf, *options, env=None):
        server = self.serve(say_hello, leaf)
        result, = probe(*options, "http", server.url + "/", env=env)
        return result, server

    def test_a_certificate_of_the_given_authority_is_trusted(self):
        result, _ = self.one("good", "--ca", self.ca)
        self.assertEqual((result["r"], result["status"], result["body"]), (0, 200, "hello"))
        self.assertEqual(result["headers"]["x-mixed-case"], "yes")

    def test_a_foreign_authority_is_refused_and_sees_no_request(self):
        foreign = self.certificates.path("foreign-ca.pem")
        result, server = self.one("good", "--ca", foreign, "--auth", CANARY)
        self.untrusted(result, "127.0.0.1", "not trusted")
        self.assertTrue(result["is_ret_unchanged"])
        self.assertEqual(server.requests, [])

    def test_without_a_bundle_the_system_decides_whatever_the_environment_says(self):
        env = {"SSL_CERT_FILE": self.ca, "CURL_CA_BUNDLE": self.ca, "SSL_CERT_DIR": "/"}
        result, server = self.one("good", env=env)
        self.untrusted(result)
        self.assertEqual(server.requests, [])

    def test_a_wrong_name_is_refused(self):
        result, server = self.one("wrong-name", "--ca", self.ca)
        self.untrusted(result, "127.0.0.1")
        self.assertEqual(server.requests, [])

    def test_an_expired_certificate_is_refused(self):
        result, server = self.one("expired", "--ca", self.ca)
        self.untrusted(result, "expired")
        self.assertEqual(server.requests, [])

    def test_a_bundle_that_is_not_there_is_named_a_file_problem(self):
        result, _ = self.one("good", "--ca", self.certificates.path("absent.pem"))
        self.fails(result, "TL_E_IO", "certificates")

    def test_trust_is_not_carried_over_to_another_bundle_by_a_kept_connection(self):
        server = self.serve(say_hello, "good")
        result, = probe("--ca", self.ca, "http", server.url + "/")
        self.assertEqual(result["r"], 0)
        result, = probe("--ca", self.certificates.path("foreign-ca.pem"), "http", server.url + "/")
        self.untrusted(result)

    def test_a_server_without_tls_is_refused(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def answer_in_the_clear():
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer_in_the_clear)
        thread.start()
        result, = probe("--ca", self.ca, "http", "https://127.0.0.1:%d/" % listener.getsockname()[1])
        thread.join()
        self.fails(result, "TL_E_NET_TLS")
        self.assertEqual(result["class"], "retry")


class Urls(Case):
    def test_plain_http_is_refused_before_a_connection(self):
        server = self.serve(say_hello)
        result, = probe("http", server.url + "/")
        self.fails(result, "TL_E_NET_PLAIN")
        self.assertEqual(server.connections, 0)

    def test_urls_that_cannot_be_used_are_refused(self):
        for url in ("", "https://", "https:///x", "ftp://127.0.0.1/", "file:///etc/passwd",
                    "https://u:CANARY@127.0.0.1/", "https://CANARY@127.0.0.1/", "/x",
                    "gopher://127.0.0.1/", "https://127.0.0.1:99999/", "https://a b/",
                    "https://127.0.0.1/\nx"):
            with self.subTest(url=url):
                result, = probe("--plain", "1", "http", url)
                self.fails(result, "TL_E_NET_URL")

    def test_headers_cannot_be_injected(self):
        server = self.serve(echo)
        for option, value in (("--header", "X: a\r\nX-Evil: CANARY"),
                              ("--auth", "Bearer CANARY\r\nX-Evil: 1")):
            result, = probe("--plain", "1", option, value, "http", server.url + "/")
            self.fails(result, "TL_E_NET_URL")
        self.assertEqual(server.connections, 0)

    def test_a_name_that_does_not_exist_and_a_closed_port_are_told_apart(self):
        result, = probe("http", "https://nowhere.invalid/CANARY?CANARY")
        self.fails(result, "TL_E_NET_RESOLVE", "nowhere.invalid")
        result, = probe("http", "https://127.0.0.1:%d/CANARY" % closed_port())
        self.fails(result, "TL_E_NET_CONNECT", "127.0.0.1")


    def test_a_handle_stays_usable_after_each_kind_of_failure(self):
        server = self.serve(say_hello)
        nowhere = "http://nowhere.invalid/"
        closed = "http://127.0.0.1:%d/" % closed_port()
        urls = [nowhere, nowhere, closed, nowhere, server.url + "/", nowhere, server.url + "/"]
        results = probe("--plain", "1", "http", *urls)
        self.assertEqual(len(results), len(urls))
        for url, result in zip(urls, results):
            if url.startswith(server.url):
                self.assertEqual((result["r"], result["body"]), (0, "hello"))
                continue
            self.fails(result, "TL_E_NET_RESOLVE" if url is nowhere else "TL_E_NET_CONNECT")
            self.assertEqual(result["class"], "retry")


class Isolation(Case):
    def test_proxies_and_netrc_of_the_environment_are_ignored(self):
        trap = self.serve(say_hello)
        server = self.serve(echo)
        home = self.certificates.path("home")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, ".netrc"), "w", encoding="ascii") as f:
            f.write("machine 127.0.0.1 login CANARY password CANARY\n")
        env = {name: trap.url for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY",
                                           "all_proxy", "ALL_PROXY")}
        result, = probe("--plain", "1", "http", server.url + "/", env=dict(env, HOME=home))
        self.assertNotIn("authorization", json.loads(result["body"])["headers"])
        tls = self.serve(say_hello, "good")
        result, = probe("--ca", self.ca, "http", tls.url + "/", env=env)
        self.assertEqual(result["body"], "hello")
        self.assertEqual(trap.connections, 0)

    def test_cookies_are_not_kept(self):
        def answer(server, connection, request):
            if request.target == "/set":
                respond(connection, 200, b"", Set_Cookie="c=CANARY")
            else:
                echo(server, connection, request)
        server = self.serve(answer)
        _, result = probe("--plain", "1", "http", server.url + "/set", server.url + "/get")
        self.assertNotIn("cookie", json.loads(result["body"])["headers"])

    def test_content_is_not_decoded_nor_a_coding_asked_for(self):
        seen = []

        def answer(_server, connection, request):
            seen.append(request.headers.get("Accept-Encoding"))
            respond(connection, 200, b"\x1f\x8bnot gzip", Content_Encoding="gzip")
        server = self.serve(answer)
        result, = probe("--plain", "1", "http", server.url + "/")
        self.assertEqual(result["body"], "\x1f\x8bnot gzip")
        self.assertEqual(seen, [None])

    def test_requests_carry_what_was_asked_for_and_nothing_else(self):
        server = self.serve(echo)
        result, = probe("--plain", "1", "--method", "POST", "--body", '{"a":1}', "--header",
                        "Content-Type: application/json", "--auth", "Bearer x", "http",
                        server.url + "/p?q=1")
        got = json.loads(result["body"])
        self.assertEqual((got["method"], got["target"], got["body"]), ("POST", "/p?q=1", '{"a":1}'))
        self.assertEqual(got["headers"], {
            "host": server.url[7:], "user-agent": "net-probe/1", "accept": "*/*",
            "content-type": "application/json", "authorization": "Bearer x", "content-length": "7"})

    def test_connections_are_reused(self):
        for leaf, options in ((None, ("--plain", "1")), ("good", ("--ca", self.ca))):
            server = self.serve(say_hello, leaf)
            results = probe(*options, "http", *[server.url + "/"] * 5)
            self.assertEqual([r["status"] for r in results], [200] * 5)
            self.assertEqual(server.connections, 1)

    def test_head_has_no_body_and_keeps_the_connection(self):
        def answer(_server, connection, _request):
            connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 99999999\r\n\r\n")
        server = self.serve(answer)
        results = probe("--plain", "1", "--method", "HEAD", "--max", "10", "http",
                        *[server.url + "/"] * 2)
        self.assertEqual([r["body_bytes"] for r in results], [0, 0])
        self.assertEqual(results[0]["headers"]["content-length"], "99999999")
        self.assertEqual(server.connections, 1)


class Redirects(Case):
    def setUp(self):
        self.first, self.second = self.serve(echo, "good"), self.serve(echo, "good")

    def go(self, url, *options, start=None):
        start = start or self.first
        result, = probe("--ca", self.ca, "--redirects", "5", "--auth", "Bearer " + CANARY, *options,
                        "http", "%s/to?url=%s" % (start.url, url))
        return result

    def test_the_same_origin_keeps_the_credential(self):
        for url in ("/here", self.first.url + "/here", "here"):
            result = self.go(url)
            got = json.loads(result["body"])
            self.assertEqual(got["headers"]["authorization"], "Bearer " + CANARY)
            self.assertEqual(result["final_url"], self.first.url + "/here")

    def test_another_port_loses_the_credential(self):
        got = json.loads(self.go(self.second.url + "/there")["body"])
        self.assertNotIn("authorization", got["headers"])
        self.assertEqual(got["target"], "/there")

    def test_another_name_of_the_same_host_loses_the_credential(self):
        url = self.first.url.replace("127.0.0.1", "localhost")
        self.assertNotIn("authorization", json.loads(self.go(url + "/x")["body"])["headers"])

    def test_a_credential_once_lost_does_not_come_back(self):
        back = "%s/to?url=%s/back" % (self.second.url, self.first.url)
        got = json.loads(self.go(back)["body"])
        self.assertEqual(got["target"], "/back")
        self.assertNotIn("authorization", got["headers"])

    def test_https_to_http_is_refused_even_where_http_is_allowed(self):
        plain = self.serve(echo)
        for options in ((), ("--plain", "1")):
            self.fails(self.go(plain.url + "/", *options), "TL_E_NET_PLAIN", self.first.url)
        self.assertEqual(plain.connections, 0)

    def test_other_protocols_and_users_are_refused(self):
        for url in ("file:///etc/passwd", "ftp://127.0.0.1/", "https://u:CANARY@127.0.0.1/"):
            self.fails(self.go(url), "TL_E_NET_URL")

    def test_their_number_is_limited(self):
        server = self.serve(lambda _s, c, _r: respond(c, 301, Location="/again"), "good")
        result, = probe("--ca", self.ca, "--redirects", "3", "http", server.url + "/")
        self.fails(result, "TL_E_NET_REDIRECT", "3 redirects")
        self.assertEqual(len(server.requests), 4)

    def test_a_location_that_is_no_url_is_refused(self):
        server = self.serve(lambda _s, c, _r: respond(c, 302, Location="https://:::/"), "good")
        result, = probe("--ca", self.ca, "--redirects", "3", "http", server.url + "/")
        self.fails(result, "TL_E_NET_REDIRECT")

    def test_without_permission_or_location_the_response_stands(self):
        result, = probe("--ca", self.ca, "http", self.first.url + "/to?url=/here")
        self.assertEqual((result["status"], result["headers"]["location"]), (302, "/here"))
        server = self.serve(lambda _s, c, _r: respond(c, 302, b"no location"), "good")
        result, = probe("--ca", self.ca, "--redirects", "3", "http", server.url + "/")
        self.assertEqual((result["status"], result["body"]), (302, "no location"))

    def test_a_post_is_never_redirected(self):
        result = self.go("/here", "--method", "POST", "--body", "x")
        self.assertEqual(result["status"], 302)

    def test_all_kinds_are_followed_and_no_body_of_theirs_is_kept(self):
        for status in (301, 302, 303, 307, 308):
            result = self.go("/here&status=%d" % status, "--sink", "1000")
            self.assertEqual((result["status"], result["body"]), (200, ""))
            self.assertGreater(result["sink_bytes"], 50)


class Limits(Case):
    def one(self, answer, *options):
        server = self.serve(answer)
        result, = probe("--plain", "1", *options, "http", server.url + "/")
        return result

    def test_a_body_at_the_limit_is_taken_and_one_above_is_not(self):
        body = b"x" * 1000
        at = self.one(lambda _s, c, _r: respond(c, 200, body), "--max", "1000")
        self.assertEqual((at["r"], at["body_bytes"]), (0, 1000))
        above = self.one(lambda _s, c, _r: respond(c, 200, body), "--max", "999")
        self.fails(above, "TL_E_NET_TOO_LARGE", "999 bytes")
        self.assertEqual(above["class"], "denied")

    def test_an_endless_body_ends_at_the_limit_with_and_without_a_sink(self):
        chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
        endless = raw(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 300)
        for options in ((), ("--sink", "100000000")):
            result = self.one(endless, "--max", "100000", *options)
            self.fails(result, "TL_E_NET_TOO_LARGE")
            self.assertLessEqual(result["sink_bytes"], 100000)

    def test_headers_above_64_kib_are_refused(self):
        line = b"X-Filler: " + b"y" * 1000 + b"\r\n"
        result = self.one(raw(b"HTTP/1.1 200 X\r\n", *[line] * 70, b"\r\n"))
        self.fails(result, "TL_E_NET_TOO_LARGE", "headers")
        result = self.one(raw(b"HTTP/1.1 200 X\r\n", *[line] * 60, b"Content-Length: 0\r\n\r\n"))
        self.assertEqual(result["r"], 0)

    def test_one_endless_header_and_endless_interim_responses_are_refused(self):
        result = self.one(raw(b"HTTP/1.1 200 X\r\nX: ", *[b"y" * 10000] * 50))
        self.fails(result, "TL_E_NET_TOO_LARGE", "headers")
        result = self.one(raw(*[b"HTTP/1.1 103 Hints\r\nLink: " + b"y" * 900 + b"\r\n\r\n"] * 100))
        self.fails(result, "TL_E_NET_TOO_LARGE", "headers")

    def test_an_error_body_is_cut_and_the_rest_not_read(self):
        result = self.one(lambda _s, c, _r: respond(c, 500, b"e" * 5000))
        self.assertEqual((result["status"], result["body_bytes"]), (500, 4096))
        endless = raw(b"HTTP/1.1 404 X\r\n\r\n", *[b"e" * 10000] * 3)
        result = self.one(endless, "--deadline", "20000")
        self.assertEqual((result["status"], result["body_bytes"]), (404, 4096))
        self.assertLess(result["took_ms"], 2000 + BUSY_MS)

    def test_error_bodies_never_reach_the_sink(self):
        result = self.one(lambda _s, c, _r: respond(c, 404, b"not here"), "--sink", "1000")
        self.assertEqual((result["sink_bytes"], result["body"]), (0, "not here"))

    def test_a_sink_ends_the_request_with_its_own_value(self):
        result = self.one(lambda _s, c, _r: respond(c, 200, b"x" * 1000), "--sink", "10")
        self.assertEqual((result["r"], result["code"]), (-28, ""))
        self.assertEqual(result["sink_status"], 200)


class Time(Case):
    def one(self, answer, *options, leaf=None):
        server = self.serve(answer, leaf)
        trust = ("--ca", self.ca) if leaf else ("--plain", "1")
        result, = probe(*trust, *options, "http", server.url + "/")
        return result

    def within(self, result, least_ms, most_ms):
        self.fails(result, "TL_E_NET_TIMEOUT")
        self.assertGreaterEqual(result["took_ms"], least_ms)
        self.assertLess(result["took_ms"], most_ms + BUSY_MS)

    def test_a_server_that_says_nothing_ends_at_the_deadline(self):
        self.within(self.one(raw(), "--deadline", "300"), 300, 800)

    def test_a_server_that_says_nothing_ends_when_it_stalls(self):
        self.within(self.one(raw(), "--stall", "300", "--deadline", "20000"), 300, 800)

    def test_a_slow_drip_does_not_stall_but_meets_the_deadline(self):
        drip = raw(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n", *[b"x"] * 100, pause_s=0.05)
        self.within(self.one(drip, "--stall", "500", "--deadline", "1200"), 1200, 1800)

    def test_a_body_that_stops_stalls(self):
        stop = raw(b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc")
        self.within(self.one(stop, "--stall", "300", "--deadline", "20000"), 300, 900)

    def test_the_deadline_counts_over_all_redirects(self):
        def answer(_server, connection, _request):
            time.sleep(0.2)
            respond(connection, 302, Location="/again")
        self.within(self.one(answer, "--redirects", "100", "--deadline", "700"), 700, 1300)

    def test_a_tls_handshake_that_hangs_ends_at_the_connect_timeout(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = "https://127.0.0.1:%d/" % silent.getsockname()[1]
            result, = probe("--connect", "300", "--deadline", "20000", "http", url)
            self.within(result, 300, 800)

    def test_cancellation_wakes_a_waiting_request_at_once(self):
        for answer in (raw(), raw(b"HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nabc")):
            server = self.serve(answer)
            self.cancelled_at_once(probe("--plain", "1", "--cancel", "300", "http",
                                         server.url + "/"))

    def test_a_request_after_cancellation_does_not_start(self):
        server = self.serve(raw())
        lines = probe("--plain", "1", "--cancel", "200", "http", *[server.url + "/"] * 2)
        self.fails(lines[-1], "TL_E_INTERRUPTED")
        self.assertEqual(server.connections, 1)


class Breakage(Case):
    def one(self, answer):
        server = self.serve(answer)
        result, = probe("--plain", "1", "http", server.url + "/CANARY?CANARY")
        return result

    def test_a_reset_in_mid_body(self):
        head = b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc"
        self.fails(self.one(raw(head, end=reset)), "TL_E_NET_RESET", "127.0.0.1")

    def test_an_end_in_mid_body(self):
        for head in (b"HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\nabc",
                     b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                     b"HTTP/1.1 200 X\r\nX-Head", b""):
            self.fails(self.one(raw(head, end=None)), "TL_E_NET_RESET")

    def test_what_is_not_http(self):
        for text in (b"SSH-2.0-OpenSSH_9\r\n", b"\0" * 100, b"HTTP/1.1 abc\r\n\r\n",
                     b"HTTP/1.1 200 X\r\nA\0B: c\r\n\r\n"):
            self.fails(self.one(raw(text, end=None)), "TL_E_NET_RESET")

    def test_interim_responses_and_trailers_are_no_breakage(self):
        text = (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", b"HTTP/1.1 200 X\r\nA: final\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: trailer\r\n\r\n")
        result = self.one(raw(*text, end=None))
        self.assertEqual((result["r"], result["body"]), (0, "ok"))
        self.assertEqual(result["headers"]["a"], "final")

    def test_a_kept_connection_that_was_closed_meanwhile_is_opened_anew(self):
        def answer(_server, connection, _request):
            respond(connection, 200, b"ok")
            return False
        server = self.serve(answer)
        results = probe("--plain", "1", "http", *[server.url + "/"] * 3)
        self.assertEqual([r["status"] for r in results], [200] * 3)
        self.assertEqual(server.connections, 3)


if __name__ == "__main__":
    main()
