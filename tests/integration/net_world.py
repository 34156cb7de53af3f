# SPDX-License-Identifier: Apache-2.0
"""Servers on loopback that behave, or misbehave on purpose, and certificates for them."""
import contextlib
import http.client
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

PROBE = sys.argv.pop(1) if len(sys.argv) > 1 and "net_probe" in sys.argv[1] else None

# What a secret of these tests looks like; it may turn up where it was sent to, and nowhere else.
CANARY = "CANARY-3f9a"

# What a busy machine may add to any time. What is waited for in vain takes far longer.
BUSY_MS = 3000


class Certificates:
    """Two authorities; leaves of the first one, made by openssl, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("ca", "foreign-ca"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                         "-nodes", "-keyout", self.path(name + ".key"), "-out",
                         self.path(name + ".pem"), "-days", "30", "-subj", "/CN=" + name)
        self.leaf("good", "IP:127.0.0.1,DNS:localhost")
        self.leaf("wrong-name", "DNS:elsewhere.invalid")
        self.leaf("expired", "IP:127.0.0.1", "-not_after", "20240102000000Z")

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *args):
        subprocess.run(("openssl",) + args, check=True, capture_output=True, timeout=60,
                       cwd=self.folder)

    def leaf(self, name, names, *dates):
        key, request, out = (self.path(name + e) for e in (".key", ".csr", ".pem"))
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                     "-keyout", key, "-out", request, "-subj", "/CN=" + name)
        if not dates:
            dates = ("-days", "30")
        else:
            dates = ("-startdate", "20240101000000Z", "-enddate", dates[1])
        extensions = self.path(name + ".ext")
        with open(extensions, "w", encoding="ascii") as f:
            f.write("subjectAltName=%s\n" % names)
        index, serial = self.path(name + ".index"), self.path(name + ".serial")
        with open(index, "w", encoding="ascii"):
            pass
        with open(serial, "w", encoding="ascii") as f:
            f.write("01\n")
        config = self.path(name + ".cnf")
        with open(config, "w", encoding="ascii") as f:
            f.write("[ca]\ndefault_ca=d\n[d]\ndatabase=%s\nserial=%s\nnew_certs_dir=%s\n"
                    "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
                    % (index, serial, self.folder))
        self.openssl("ca", "-batch", "-notext", "-config", config, "-cert", self.path("ca.pem"),
                     "-keyfile", self.path("ca.key"), "-extfile", extensions, "-in", request,
                     "-out", out, *dates)


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body


class Server:
    """One thread a connection; `answer(connection, request)` writes the raw response."""

    def __init__(self, answer, leaf=None):
        self.answer = answer
        self.context = None
        if leaf:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(leaf + ".pem", leaf + ".key")
        self.connections = 0
        self.requests = []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.socket.getsockname()[1]
        self.url = "%s://127.0.0.1:%d" % ("https" if leaf else "http", self.port)
        self.ended = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while not self.ended.is_set():
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        self.connections += 1
        with contextlib.suppress(OSError, ssl.SSLError, ValueError), connection:
            connection.settimeout(30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while self.serve_request(connection, stream):
                    pass

    def serve_request(self, connection, stream):
        line = stream.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return False
        headers = http.client.parse_headers(stream)
        body = stream.read(int(headers.get("Content-Length", "0")))
        request = Request(line[0], line[1], headers, body)
        self.requests.append(request)
        return self.answer(self, connection, request) is not False

    def close(self):
        self.ended.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def respond(connection, status, body=b"", **headers):
    lines = ["HTTP/1.1 %d X" % status, "Content-Length: %d" % len(body)]
    lines += ["%s: %s" % (name.replace("_", "-"), value) for name, value in headers.items()]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body)


def reset(connection):
    """End it with RST, not FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for_the_end(server):
    server.ended.wait(30)


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def probe(*args, env=None, timeout_s=90):
    """Run the probe; its lines as objects, without the line of a cancellation."""
    done = subprocess.run((PROBE,) + tuple(str(a) for a in args), capture_output=True, timeout=timeout_s,
                          env=dict(os.environ, **(env or {})), check=False)
    if done.returncode != 0:
        raise AssertionError("probe: exit %d, %s" % (done.returncode, done.stderr.decode()))
    return [json.loads(line) for line in done.stdout.splitlines()]


class Case(unittest.TestCase):
    """One folder with certificates for all; servers end with their test."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.certificates = Certificates(cls.folder.name)
        cls.ca = cls.certificates.path("ca.pem")

    def serve(self, answer, leaf=None):
        server = Server(answer, leaf and self.certificates.path(leaf))
        self.addCleanup(server.close)
        return server

    def fails(self, result, code, *words):
        self.assertLess(result["r"], 0, result)
        self.assertEqual(result["code"], code, result)
        for word in words:
            self.assertIn(word, result["msg"])
        self.assertNotIn("CANARY", result["msg"])

    def cancelled_at_once(self, lines):
        """The line of the cancellation, then the result at once."""
        when = next(line["cancelled_ms"] for line in lines if "cancelled_ms" in line)
        result = next(line for line in lines if "r" in line)
        self.fails(result, "TL_E_INTERRUPTED")
        self.assertLess(result["ended_ms"] - when, 100 + BUSY_MS)


def main():
    if not PROBE:
        sys.exit("usage: %s .../net_probe" % sys.argv[0])
    unittest.main(verbosity=1)


__all__ = ["CANARY", "Case", "Server", "closed_port", "main", "probe", "reset", "respond", "time",
           "wait_for_the_end"]
