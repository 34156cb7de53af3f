# SPDX-License-Identifier: Apache-2.0
"""What the token socket adds: evidence beside the TPM's own time for its quotes, tokens beside the time of
all that is asked for them. The verifier and the metadata server are reached through stopwatches on loopback;
the TPM is asked for the same quotes by another program, in turns with the launcher (A B A B)."""
import base64
import json
import os
import signal
import socket
import subprocess
import time

import parts
from stopwatch import Stopwatch



def bench_program(programs, name):
    """A program of tests/bench, of the build that these programs are from."""
    folder = os.path.dirname(os.path.abspath(programs))
    for path in (os.path.join(folder, "tests", name), os.path.join(folder, "release", "tests", name)):
        if os.path.exists(path):
            return path
    raise parts.Failure("%s isn't built beside %s" % (name, programs))


class Quotes:
    """The TPM's own time for one quote a bank, by a program that does nothing else (quote_time.c)."""

    def __init__(self, programs, tcti):
        self.child = subprocess.Popen([bench_program(programs, "quote_time"), tcti], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

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
        self.verifier = Stopwatch(address)
        self.metadata = Stopwatch(world.metadata.host)
        world.boot("--hardened")
        self.launch = world.launch_start(
            world.attributes(image, cmd='["trap", "sleep=600"]'),
            env={"GCE_METADATA_HOST": self.metadata.host},
            options=["--verifier", "%s://%s" % (scheme, self.verifier.host),
                     "--token-rate", "10000", "--token-burst", "10000"]).wait_for("event=workload.started")
        self.quotes = Quotes(world.programs, world.tpm.tcti)
        self.link = socket.socket(socket.AF_UNIX)
        self.link.connect(os.path.join(self.launch.shared, "teeserver.sock"))
        self.file = self.link.makefile("rb")

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
        return self.ask(path, b"POST %s HTTP/1.1\r\nHost: l\r\nContent-Length: %d\r\n\r\n%s" % (
            path.encode(), len(data), data))

    def get(self, path):
        return self.ask(path, b"GET %s HTTP/1.1\r\nHost: l\r\n\r\n" % path.encode())

    def ask(self, path, request):
        begun = time.monotonic()
        self.link.sendall(request)
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


def rate(ask, seconds):
    """Answers a second on one connection, each asked for when the one before has come."""
    asked, begun = 0, time.monotonic()
    while time.monotonic() - begun < seconds:
        ask()
        asked += 1
    return asked / (time.monotonic() - begun)


def measure(world, image, runs, seconds):
    """({"evidence": [(whole, quotes)], "token": [(whole, verifier, metadata server, quotes)]} in ms,
    [(what, answers a second)])"""
    bench = Bench(world, image)
    try:
        for i in range(3):  # connections are made, caches are warm
            bench.evidence()
            bench.token(i)
        samples = {"evidence": [bench.evidence() for _ in range(runs)],
                   "token": [bench.token(10 + i) for i in range(runs)]}
        challenge = {"challenge": base64.b64encode(os.urandom(32)).decode()}
        rates = [("the default token, one connection",
                  rate(lambda: bench.get("/v1/token"), seconds)),
                 ("evidence, one connection", rate(lambda: bench.post("/v1/evidence", challenge), seconds))]
    finally:
        bench.close()
    return samples, rates
