# SPDX-License-Identifier: Apache-2.0
"""What the token socket adds: evidence beside the TPM's own time for its quotes, tokens beside the time of
all that is asked for them. The verifier and the metadata server are reached through stopwatches on loopback;
the TPM is asked for the same quotes by another program, in turns with the launcher (A B A B)."""
import base64
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import threading
import time

import parts

RATIO_P50_MAX, RATIO_P99_MAX, TOKEN_ADDS_MAX_MS = 1.5, 5.0, 10.0


class Stopwatch:
    """Passes bytes on, and adds up how long the server took to give its answers."""

    def __init__(self, host, port):
        self.target = (host, port)
        self.took_s = 0.0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        asked = None
        with contextlib.suppress(OSError), client, socket.create_connection(self.target) as server:
            for link in (client, server):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                for link in select.select([client, server], [], [])[0]:
                    data = link.recv(65536)
                    if not data:
                        return
                    if link is client:
                        server.sendall(data)
                        asked = time.monotonic()
                        continue
                    if asked is not None:
                        now = time.monotonic()
                        self.took_s += now - asked
                        asked = now
                    client.sendall(data)


class Quotes:
    """The TPM's own time for one quote a bank, by a program that does nothing else (quote_time.c)."""

    def __init__(self, programs, tcti):
        program = os.path.join(os.path.dirname(programs), "tests", "quote_time")
        self.child = subprocess.Popen([program, tcti], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ms(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return int(self.child.stdout.readline()) / 1000

    def close(self):
        self.child.stdin.close()
        self.child.wait()
        self.child.stdout.close()


class Bench:
    def __init__(self, world, image):
        self.world = world
        scheme, _, address = world.verifier.url.partition("://")
        self.verifier = Stopwatch(*self.split(address))
        self.metadata = Stopwatch(*self.split(world.metadata.host))
        world.boot("--hardened")
        self.launch = world.launch_start(
            world.attributes(image, cmd='["trap", "sleep=600"]'),
            env={"GCE_METADATA_HOST": "127.0.0.1:%d" % self.metadata.port},
            options=["--verifier", "%s://%s:%d" % (scheme, self.split(address)[0], self.verifier.port),
                     "--token-rate", "10000", "--token-burst", "10000"]).wait_for("event=workload.started")
        self.quotes = Quotes(world.programs, world.tpm.tcti)
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(os.path.join(self.launch.shared, "teeserver.sock"))
        self.file = self.link.makefile("rb")

    @staticmethod
    def split(address):
        host, _, port = address.rstrip("/").rpartition(":")
        return host, int(port)

    def close(self):
        self.file.close()
        self.link.close()
        self.launch.send(signal.SIGTERM)
        self.launch.wait()
        for part in (self.verifier, self.metadata, self.quotes):
            part.close()

    def post(self, path, body):
        """How long it took, in seconds."""
        data = json.dumps(body).encode()
        begun = time.monotonic()
        self.link.sendall(b"POST %s HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n%s" % (
            path.encode(), len(data), data))
        status, length = int(self.file.readline().split()[1]), 0
        for line in iter(self.file.readline, b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        answer = self.file.read(length)
        if status != 200:
            raise parts.Failure("%s: %d %s" % (path, status, answer.decode()))
        return time.monotonic() - begun

    def evidence(self):
        """One request, and the TPM's own time for such quotes just before; in ms."""
        quotes_ms = self.quotes.ms()
        took_s = self.post("/v1/evidence", {"challenge": base64.b64encode(os.urandom(32)).decode()})
        return took_s * 1000, quotes_ms

    def token(self, number):
        """One token: all of it, the verifier's part, the metadata server's, and the TPM's own time for such
        quotes just before; in ms."""
        quotes_ms, before = self.quotes.ms(), (self.verifier.took_s, self.metadata.took_s)
        took_s = self.post("/v1/token", {"audience": "https://bench.example/%d" % number, "token_type": "OIDC"})
        after = self.verifier.took_s, self.metadata.took_s
        return [took_s * 1000] + [(b - a) * 1000 for a, b in zip(before, after)] + [quotes_ms]


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(world, image, runs):
    """Rows of samples, and what is above its bound."""
    bench = Bench(world, image)
    try:
        for i in range(3):  # connections are made, caches are warm
            bench.evidence()
            bench.token(i)
        evidence = [bench.evidence() for _ in range(runs)]
        tokens = [bench.token(10 + i) for i in range(runs)]
    finally:
        bench.close()
    ratios = [ours / theirs for ours, theirs in evidence]
    adds = [whole - sum(others) for whole, *others in tokens]
    rows = {"evidence over the socket (ms)": [e[0] for e in evidence],
            "the TPM's own time for such quotes (ms)": [e[1] for e in evidence],
            "evidence: whole / quotes": ratios,
            "token over the socket (ms)": [t[0] for t in tokens],
            "of which the verifier (ms)": [t[1] for t in tokens],
            "of which the metadata server (ms)": [t[2] for t in tokens],
            "the TPM's own time for such quotes, again": [t[3] for t in tokens],
            "token: what the launcher adds (ms)": adds}
    faults = ["%s is %.2f, above %.2f" % fault for fault in (
        ("evidence p50 / quotes p50", percentile([e[0] for e in evidence], 0.5) /
         percentile([e[1] for e in evidence], 0.5), RATIO_P50_MAX),
        ("evidence p99 / quotes p50", percentile([e[0] for e in evidence], 0.99) /
         percentile([e[1] for e in evidence], 0.5), RATIO_P99_MAX),
        ("what a token adds, p50 in ms", percentile(adds, 0.5), TOKEN_ADDS_MAX_MS)) if fault[1] > fault[2]]
    return rows, faults


def show(rows, faults):
    print("\n%-40s  %8s  %8s  %8s  %8s" % ("the token socket", "p50", "p99", "least", "most"))
    for name, values in rows.items():
        print("%-40s  %8.2f  %8.2f  %8.2f  %8.2f" % (
            name, percentile(values, 0.5), percentile(values, 0.99), min(values), max(values)))
    for fault in faults:
        print("above its bound: %s" % fault)
