#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd against clients that mean no good: more connections than there are places, slow senders, bodies and
headers without end, requests one behind the other and inside one another.

verifier_hostile.py BINARY [unittest arguments]
"""
import json
import os
import socket
import ssl
import sys
import tempfile
import time
import unittest

import verifier
import verifier_evidence as ev
import verifier_signatures

path = verifier.path
HERE = os.path.dirname(os.path.abspath(__file__))
PLACES = 256
GIGABYTE = 1 << 30


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        super().start(folder, binary)
        cls.daemon.stop()
        cls.daemon = verifier.Daemon("hostile", [path("ecc.key")], ["--threads", "2"])


def resident():
    """Bytes (proc_pid_status(5), VmRSS)."""
    with open("/proc/%d/status" % World.daemon.process.pid, encoding="ascii") as f:
        return int(f.read().split("VmRSS:")[1].split()[0]) * 1024


def plain():
    return socket.create_connection(("127.0.0.1", World.daemon.port), 20)


def connect():
    return World.daemon.context.wrap_socket(plain(), server_hostname="127.0.0.1")


def answer(connection):
    """The statuses of all replies until the other side ends."""
    data = b""
    try:
        while True:
            part = connection.recv(65536)
            if not part:
                break
            data += part
    except (OSError, ssl.SSLError):
        pass
    return [int(p.split(b" ")[0]) for p in data.split(b"HTTP/1.1 ")[1:]]


class Hostile(unittest.TestCase):
    def tearDown(self):
        """Whatever was done: the next honest client is served, by evidence and all."""
        client = verifier.Client(World.daemon)
        deadline = time.monotonic() + 60
        while True:
            try:
                name, nonce = client.challenge()
                status, body = client.verify(name, World.paper.evidence(nonce))
                break
            except (OSError, ssl.SSLError):
                client.connection = None
                self.assertLess(time.monotonic(), deadline, "an honest client is not served")
        self.assertEqual(status, 200, body)
        client.connection.close()
        self.assertIsNone(World.daemon.process.poll())

    def test_more_connections_than_places(self):
        """Those that say nothing give way in seconds."""
        before, held = resident(), []
        try:
            for _ in range(2 * PLACES):
                s = socket.socket()
                s.setblocking(False)
                s.connect_ex(("127.0.0.1", World.daemon.port))
                held.append(s)
            begin, client = time.monotonic(), verifier.Client(World.daemon)
            while True:
                try:
                    client.challenge()
                    break
                except (OSError, ssl.SSLError):
                    client.connection = None
                    self.assertLess(time.monotonic() - begin, 60)
            client.connection.close()
            self.assertLess(resident() - before, 64 << 20)
        finally:
            for s in held:
                s.close()

    def test_a_signal_before_it_serves_is_heeded_once_it_does(self):
        library = path("early_signal.so")
        ev.run("gcc", "-shared", "-fPIC", "-D_GNU_SOURCE", "-o", library, os.path.join(HERE, "early_signal.c"), "-ldl")
        os.environ["LD_PRELOAD"] = library
        try:
            early = verifier.Daemon("early", [path("ecc.key")], [])
        finally:
            del os.environ["LD_PRELOAD"]
        try:
            deadline = time.monotonic() + 20
            while "verifier.reloaded" not in ev.read(early.log).decode():
                self.assertLess(time.monotonic(), deadline, ev.read(early.log).decode())
                time.sleep(0.01)
            self.assertEqual(early.call("GET", "/healthz")[0], 200)
        finally:
            self.assertEqual(early.stop(), 0)

    def test_slow_senders_give_way_when_all_places_are_taken(self):
        """Of a TLS record of 512 bytes (RFC 8446, 5.1) there is always a byte more to come: the other side can
        neither read it nor find anything wrong with it, so nothing but its own clock ends the connection."""
        record = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(506)
        slow, sent = [], 0
        for _ in range(PLACES):
            try:
                s = plain()
                s.settimeout(0.2)
                slow.append(s)
            except OSError:
                break
        begin, ended = time.monotonic(), 0
        while time.monotonic() - begin < 30 and ended < PLACES // 2:
            ended = 0
            for s in slow:  # a byte now and then keeps an idle timer from running out
                try:
                    s.send(record[sent:sent + 1])
                except OSError:
                    ended += 1
            sent += 1
            self.assertLess(sent, len(record), "the record came to its end")
            time.sleep(0.5)
        for s in slow:
            s.close()
        self.assertGreaterEqual(ended, PLACES // 2, "slow senders kept their places")

    def test_a_body_of_a_gigabyte_is_never_held(self):
        before = resident()
        for head in ("Content-Length: %d" % GIGABYTE, "Transfer-Encoding: chunked"):
            c = connect()
            c.sendall(("POST %s/challenges HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % (
                verifier.LOCATION, head)).encode())
            sent = 0
            try:
                while sent < 64 << 20:
                    c.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n" if "chunked" in head else b" " * 65536)
                    sent += 65536
            except (OSError, ssl.SSLError):
                pass
            c.close()
            self.assertLess(resident() - before, 32 << 20, head)

    def test_many_bodies_that_stop_short_of_their_end_take_bounded_memory(self):
        """Nobody has said yet who they are, and 140 of them would be a gigabyte."""
        before, held = resident(), []
        body = b" " * 65536
        try:
            for _ in range(60):
                c = connect()
                held.append(c)
                c.settimeout(5)
                try:
                    c.sendall(b"POST /v1/x:verifyConfidentialSpace HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (8 << 20))
                    for _ in range(127):
                        c.sendall(body)
                except (OSError, ssl.SSLError):
                    pass
            if "TL_SHADOW_MEMORY" not in os.environ:
                self.assertLess(resident() - before, 400 << 20)
        finally:
            for c in held:
                c.close()

    def test_a_long_body_where_no_evidence_goes_is_not_taken(self):
        for where in ("/nowhere", verifier.LOCATION + "/challenges"):
            c = connect()
            c.sendall(("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (where, 65537)).encode())
            self.assertEqual(answer(c), [413])
            c.close()

    def test_headers_without_end(self):
        before = resident()
        for line in (b"X: " + b"y" * 65536, b"X: y\r\n" * 20000, b"GET /" + b"a" * 65536):
            c = connect()
            try:
                c.sendall((b"" if line.startswith(b"GET") else b"GET /healthz HTTP/1.1\r\nHost: x\r\n") +
                          line + b"\r\n")
            except (OSError, ssl.SSLError):
                pass
            statuses = answer(c)
            c.close()
            self.assertNotIn(200, statuses)
            self.assertTrue(all(s in (400, 413, 414, 431) for s in statuses), statuses)
        self.assertLess(resident() - before, 16 << 20)

    def test_pipelined_requests_are_answered_one_by_one_in_order(self):
        c = connect()
        one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        two = b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"
        c.sendall((one + two) * 100 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        self.assertEqual(answer(c), [200, 404] * 100 + [200])
        c.close()

    def test_a_request_can_not_hide_in_another_ones_body(self):
        hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        head = b"POST %s/challenges HTTP/1.1\r\nHost: x\r\n" % verifier.LOCATION.encode()
        for fields in (b"Content-Length: 4\r\nContent-Length: %d\r\n" % len(hidden),
                       b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (len(hidden) + 5),
                       b"Content-Length: -1\r\n", b"Content-Length: 0x10\r\n",
                       b"Transfer-Encoding: chunked, identity\r\nContent-Length: 4\r\n"):
            c = connect()
            c.sendall(head + fields + b"\r\n" + b"0\r\n\r\n" + hidden)
            c.settimeout(3)
            statuses = answer(c)
            c.close()
            self.assertNotIn(200, statuses, fields)

    def test_what_is_no_tls_and_tls_of_another_time(self):
        c = plain()
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(answer(c), [])
        c.close()
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, OSError, ValueError)):
            old.wrap_socket(plain())

    def test_bodies_of_deep_or_many_values(self):
        name, _ = World.daemon.challenge()
        for body in ("[" * 100000, '{"a":' * 100000, "[" + "1," * 200000 + "1]",
                     json.dumps({"k%d" % i: i for i in range(150000)})):
            status, reply = World.daemon.call("POST", "/v1/%s:verifyConfidentialSpace" % name, body)
            self.assertEqual(status, 413, reply)


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        World.start(folder, binary)
        try:
            result = unittest.main(exit=False).result
        finally:
            code = World.daemon.stop()
    sys.exit(not result.wasSuccessful() or code != 0)


if __name__ == "__main__":
    main()
