#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The token socket of a real launch: what a workload gets from it, checked by other code than ours, and
what an abusive one doesn't get. TL_LONG=1: for a minute, with 10,000 connections."""
import base64
import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import statistics
import threading
import time

import launch_case
import measured
import parts
import token_check
from token_socket import Link, ask
from world import TOP

LIFE_S = 8
IS_LONG = os.environ.get("TL_LONG") == "1"
STORM_S, STORM_RATE = (60, 1000) if IS_LONG else (8, 1000)
CONNECTIONS = 10000 if IS_LONG else 2000
RSS_GROWTH_MAX_KB = 2048
RATE_PER_S, BURST = 1, 5  # defaults of --token-rate and --token-burst


def rss_kb(pid):
    return int(re.search(r"VmRSS:\s*(\d+)", parts.read("/proc/%d/status" % pid)).group(1))


class Socket(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def tearDown(self):
        if self.launch.is_running():
            self.end(self.launch)
        self.world.verifier.process.stop()
        self.world.verifier.launch()

    def begin(self, life_s=3600, options=(), **keys):
        self.world.verifier.process.stop()
        self.world.verifier.launch(token_ttl_s=str(life_s))
        attributes = self.world.attributes(cmd='["trap", "sleep=400"]', **keys)
        self.launch = self.world.launch_start(attributes, options=options).wait_for("event=workload.started")
        self.path = os.path.join(self.launch.shared, "teeserver.sock")
        return self.launch

    def end(self, launch):
        launch.send(signal.SIGTERM)
        launch.wait()
        self.assert_clean(launch)
        return launch.report

    def checked(self, token):
        return token_check.check(token, self.world.verifier.get("/.well-known/jwks.json"))

    def ask(self, *arguments, **headers):
        return ask(self.path, *arguments, **headers)

    def test_tokens_are_what_was_asked_for(self):
        launch = self.begin()
        self.assertEqual(os.stat(self.path).st_mode & 0o7777, 0o777)
        status, headers, first = self.ask("GET", "/v1/token")
        self.assertEqual((status, headers["content-type"]), (200, "text/html"))
        claims = self.checked(first)
        self.assertEqual(claims["aud"], "https://sts.googleapis.com")
        self.assertEqual(self.ask("GET", "/v1/token")[2], first)
        time.sleep(1.1)  # dates of tokens are in seconds
        fresh = self.ask("GET", "/v1/token", Cache_Control="no-cache")[2]
        self.assertGreater(self.checked(fresh)["iat"], claims["iat"])
        nonces = ["nonce-%d-abcdefgh" % i for i in range(6)]
        status, _, custom = self.ask("POST", "/v1/token", {"audience": "https://mine.example", "nonces": nonces,
                                                           "token_type": "OIDC"})
        self.assertEqual(status, 200, custom)
        claims = self.checked(custom)
        self.assertEqual((claims["aud"], claims["eat_nonce"]), ("https://mine.example", nonces))
        for body, words in (({"audience": "https://sts.googleapis.com", "token_type": "OIDC"}, "default"),
                            ({"audience": "a", "token_type": "OIDC", "nonces": ["short"]}, "8 to 88"),
                            ({"audience": "a", "token_type": "X"}, "AWS_PRINCIPALTAGS"),
                            ({"audience": "a" * 513, "token_type": "OIDC"}, "512")):
            status, _, text = self.ask("POST", "/v1/token", body)
            self.assertEqual(status, 400, text)
            self.assertIn(words, text)
        for want, request, headers in ((413, ("POST", "/v1/token", {"audience": "a" * 16384}), {}),
                                       (414, ("GET", "/" + "a" * 9000), {}),
                                       (431, ("GET", "/v1/token"), {"X_Long": "a" * 9000})):
            self.assertEqual(self.ask(*request, **headers)[0], want)
        self.assertEqual(self.ask("GET", "/v1/intel/token")[0], 500)
        self.assertEqual(self.ask("GET", "/v1/other")[0], 404)
        self.assertIn("pid=%d uid=%d" % (os.getpid(), os.getuid()), launch.stderr)
        self.assertRegex(launch.stderr, r"event=token\.served [^\n]* cgroup='/[^']*'")
        for secret in (first, fresh, custom):
            self.assertNotIn(secret.split(".")[2], launch.stderr + launch.console)
        report = self.end(launch)
        self.assertEqual((report["token"]["upstream"], report["token"]["refused"]), (3, 0))
        self.assertEqual(report["token"]["requests"], 4)
        self.note("tokens by the socket: default, kept, fresh, custom with 6 nonces; good by openssl")

    def test_the_examples_of_the_manual_work(self):
        """The block of docs/authors.md as it stands there, with this launch's socket."""
        launch = self.begin()
        page = parts.read(os.path.join(TOP, "docs", "authors.md"))
        block = re.search(r"```sh\n(S=.*?)```", page, re.S).group(1)
        self.assertIn("/run/container_launcher/teeserver.sock", block)
        script = block.replace("/run/container_launcher/teeserver.sock", self.path)
        script = script.replace("\n$S", "\necho; $S")  # an answer has no end of line of its own
        answers = parts.run("/bin/sh", "-eu", "-c", script).decode().split()
        default, custom, evidence = (a for a in answers if a)
        self.assertEqual(self.checked(default)["aud"], "https://sts.googleapis.com")
        self.assertEqual(self.checked(custom)["aud"], "https://party.example")
        self.assertEqual(set(json.loads(evidence)), {"challenge", "quote"})
        self.end(launch)
        self.note("the three curl examples of docs/authors.md: two tokens, one evidence")

    def test_the_container_reaches_it_through_its_read_only_folder(self):
        launch = self.begin()
        found = []  # started is not yet: runc still becomes the program
        parts.wait_until(lambda: found.extend(p for p in filter(str.isdigit, os.listdir("/proc")) if self.is_workload(p))
                         or found, "the workload's process")
        pid = found[0]
        inside = os.path.join("/proc", pid, "root", "run/container_launcher/teeserver.sock")
        status, _, token = ask(inside, "GET", "/v1/token")
        self.assertEqual(status, 200)
        self.checked(token)
        with self.assertRaises(OSError):
            os.unlink(inside)
        self.assertEqual(sorted(os.listdir(os.path.dirname(inside))),
                         ["attestation_verifier_claims_token", "teeserver.sock", "token.status"])
        self.end(launch)
        self.note("the same socket inside the container, read-only folder")

    @staticmethod
    def is_workload(pid):
        with contextlib.suppress(OSError):
            return "\0trap\0sleep=400\0" in parts.read("/proc/%s/cmdline" % pid)
        return False

    def test_tokens_are_served_where_no_refresh_is_wanted(self):
        launch = self.begin(disable_gca_refresh="true")
        self.checked(self.ask("GET", "/v1/token")[2])
        self.end(launch)
        self.note("tee-disable-gca-refresh: no file, but tokens on request")

    def check_quote(self, folder, quote, cert, nonce):
        def file(name, data):
            path = os.path.join(folder, name)
            with open(path, "wb") as f:
                f.write(data)
            return path
        key = os.path.join(folder, "ak.pem")
        parts.run("openssl", "x509", "-inform", "DER", "-in", file("ak.der", cert), "-noout", "-pubkey", "-out", key)
        parts.run("tpm2_checkquote", "-Q", "-u", key, "-m", file("attest", base64.b64decode(quote["tpmsAttest"])),
                  "-s", file("signature", base64.b64decode(quote["tpmtSignature"])), "-g", "sha256",
                  "-q", nonce.hex())

    def test_evidence_is_good_by_other_code(self):
        launch = self.begin()
        challenge = os.urandom(40)
        body = {"challenge": base64.b64encode(challenge).decode()}
        status, headers, text = self.ask("POST", "/v1/evidence", body)
        self.assertEqual((status, headers["content-type"]), (200, "application/json"), text)
        got, size = json.loads(text), len(text)
        self.assertEqual(base64.b64decode(got["challenge"]), challenge)
        self.assertEqual(base64.b64decode(got["label"]), b"WORKLOAD_ATTESTATION")
        tpm = got["quote"]["tpmQuote"]
        cert = base64.b64decode(tpm["endorsement"]["akCertEndorsement"]["akCert"])
        nonce = hashlib.sha256(b"WORKLOAD_ATTESTATION" + hashlib.sha256(challenge).digest()).digest()
        for quote in tpm["quotes"]:
            self.check_quote(self.world.folder, quote, cert, nonce)
            with self.assertRaises(parts.Failure):
                self.check_quote(self.world.folder, quote, cert, b"x" * 32)
        sha256 = next(q for q in tpm["quotes"] if q["hashAlgorithm"] == 11)
        predicted = measured.register(measured.events(
            self.world.attributes(cmd='["trap", "sleep=400"]'), self.world.images.inspect("demo/hello:1")))
        self.assertEqual(base64.b64decode(sha256["pcrValues"]["13"]).hex(), predicted)
        self.assertEqual(predicted, self.world.tpm.pcr(13))
        self.assertTrue(tpm["pcclientBootEventLog"] and tpm["celLaunchEventLog"])
        for target, fields in (("?fields=label", {"label"}), ("?$fields=label,challenge", {"label", "challenge"}),
                               ("?fields=deviceReports", set())):
            status, _, text = self.ask("POST", "/v1/evidence" + target, body)
            self.assertEqual((status, set(json.loads(text))), (200, fields))
        took = []
        for _ in range(15):
            begun = time.monotonic()
            self.assertEqual(self.ask("POST", "/v1/evidence", body)[0], 200)
            took.append((time.monotonic() - begun) * 1000)
        self.end(launch)
        self.note("evidence: %d quotes good by tpm2_checkquote, PCR 13 as predicted; %d bytes, p50 %.0f ms",
                  len(tpm["quotes"]), size, statistics.median(took))

    def keeper_watch(self, launch, stop, seen, late):
        """The launcher's own token while all that happens: never expired."""
        path = os.path.join(launch.shared, "attestation_verifier_claims_token")
        while not stop.is_set():
            part = parts.read(path).split(".")[1]
            claims = json.loads(token_check.unbase64url(part))
            seen.add(claims["iat"])
            if claims["exp"] <= time.time():
                late.append(claims["exp"])
            time.sleep(0.1)

    def storm(self, counts):
        """Requests at a rate, on connections that are kept: default tokens, custom ones, evidence."""
        lock, end = threading.Lock(), time.monotonic() + STORM_S

        def worker(number):
            link, n, due = Link(self.path), 0, time.monotonic()
            while due < end:
                n += 1
                if n % 10 == 0:
                    request = ("POST", "/v1/token", {"audience": "a%d-%d" % (number, n), "token_type": "OIDC"})
                elif n % 97 == 0:
                    request = ("POST", "/v1/evidence", {"challenge": base64.b64encode(os.urandom(8)).decode()})
                else:
                    request = ("GET", "/v1/token")
                status = link.ask(*request)[0]
                with lock:
                    counts[status] = counts.get(status, 0) + 1
                due += 8 / STORM_RATE
                time.sleep(max(0, due - time.monotonic()))
            link.close()
        threads = [threading.Thread(target=worker, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_a_storm_of_requests_costs_little_and_delays_no_refresh(self):
        launch = self.begin(life_s=LIFE_S)
        self.ask("GET", "/v1/token")
        for i in range(8):  # what is allocated once is no growth
            self.ask("POST", "/v1/evidence", {"challenge": base64.b64encode(b"warm%d" % i).decode()})
        before_kb = rss_kb(launch.child.pid)
        begun, stop, seen, late, counts = time.monotonic(), threading.Event(), set(), [], {}
        watcher = threading.Thread(target=self.keeper_watch, args=(launch, stop, seen, late))
        watcher.start()
        self.storm(counts)
        took_s = time.monotonic() - begun
        time.sleep(1)
        stop.set()
        watcher.join()
        grown_kb = rss_kb(launch.child.pid) - before_kb
        report = self.end(launch)["token"]
        self.assertEqual(late, [])
        self.assertGreaterEqual(len(seen), took_s / LIFE_S)
        if parts.IS_MEMORY_JUDGED:
            self.assertLess(grown_kb, RSS_GROWTH_MAX_KB)
        self.assertLessEqual(report["upstream"], took_s * RATE_PER_S + BURST + 2)
        self.assertEqual(set(counts) - {200, 429}, set())
        self.assertGreater(report["refused"], 0)
        self.assertGreater(launch.stderr.count("event=token.served"), 0)
        self.assertLess(launch.stderr.count("event=token."), 2 * took_s + 60)
        self.note("%d requests in %.1f s (%.0f a second): %s; %d calls upstream, memory %+d KiB, %d refreshes on time",
                  sum(counts.values()), took_s, sum(counts.values()) / took_s,
                  ", ".join("%d of %d" % (n, s) for s, n in sorted(counts.items())), report["upstream"], grown_kb,
                  len(seen))

    def test_connections_that_say_nothing_and_bodies_without_end(self):
        launch = self.begin(life_s=LIFE_S)
        self.ask("GET", "/v1/token")
        before_kb, silent, peak_kb = rss_kb(launch.child.pid), [], 0
        stop, seen, late = threading.Event(), set(), []
        watcher = threading.Thread(target=self.keeper_watch, args=(launch, stop, seen, late))
        watcher.start()
        for i in range(CONNECTIONS):
            link = socket.socket(socket.AF_UNIX)
            link.connect(self.path)
            link.settimeout(60)
            with contextlib.suppress(OSError):
                link.sendall(b"POST /v1/tok"[:i % 12])
            silent.append(link)
            if len(silent) > 500:  # this process has descriptors to count, too
                silent.pop(0).close()
            peak_kb = max(peak_kb, rss_kb(launch.child.pid)) if i % 50 == 0 else peak_kb
        descriptors = len(os.listdir("/proc/%d/fd" % launch.child.pid))
        begun = time.monotonic()
        self.assertEqual(self.ask("GET", "/v1/token")[0], 200)
        waited_s = time.monotonic() - begun
        for link in silent:
            link.close()
        sent = self.send_gigabyte()
        peak_kb = max(peak_kb, rss_kb(launch.child.pid))
        stop.set()
        watcher.join()
        self.assertEqual(late, [])
        self.assertLess(descriptors, 150)
        if parts.IS_MEMORY_JUDGED:
            self.assertLess(peak_kb - before_kb, RSS_GROWTH_MAX_KB)
        self.assertLess(sent, 4 << 20)
        self.end(launch)
        self.note("%d silent connections: %d descriptors, memory %+d KiB, an honest request waited %.1f s; of a "
                  "1 GB body %d KiB were taken", CONNECTIONS, descriptors, peak_kb - before_kb, waited_s, sent >> 10)

    def send_gigabyte(self):
        link, sent, chunk = Link(self.path), 0, b"10000\r\n" + b"x" * 65536 + b"\r\n"
        link.socket.sendall(b"POST /v1/token HTTP/1.1\r\nHost: l\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            while sent < 1 << 30:
                link.socket.sendall(chunk)
                sent += len(chunk)
        link.close()
        return sent

    def test_the_end_of_the_workload_waits_for_nobody(self):
        launch = self.begin()
        held = [Link(self.path) for _ in range(10)]
        held[0].socket.sendall(b"POST /v1/token HTTP/1.1\r\nHost: l\r\nContent-Length: 100\r\n\r\n{")
        begun = time.monotonic()
        self.end(launch)
        self.assertLess(time.monotonic() - begun, 20)
        self.assertFalse(os.path.exists(self.path))
        for link in held:
            link.close()
        self.note("with 10 connections held open it ended in %.1f s", time.monotonic() - begun)


if __name__ == "__main__":
    launch_case.main()
