# SPDX-License-Identifier: Apache-2.0
"""A proxy on loopback that passes bytes on and notes when its client waited for the server: from the last bytes
of the client that came here until the last of the server's answer has been handed back. So what this proxy
takes itself counts as the server's, and what the client takes to say its request doesn't."""
import contextlib
import select
import socket
import threading
import time

# What comes later than this after the bytes before it is no part of that answer: a connection's end, say.
PAUSE_S = 0.25


class Stopwatch:
    def __init__(self, address):
        """`address`: "host:port" of the server."""
        host, _, port = address.rpartition(":")
        self.target = (host, int(port))
        self.connections = self.up_bytes = self.down_bytes = 0  # of the connection's payload, TLS included
        self.waits = []  # [from, until] on CLOCK_MONOTONIC, in s, in the order of their ends
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.host = "127.0.0.1:%d" % self.port
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.close()

    @property
    def took_s(self):
        """All waits, one added to the other, also where two connections waited at once."""
        return sum(until - since for since, until in self.waits)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        asked, wait = None, None
        with contextlib.suppress(OSError), client, socket.create_connection(self.target) as server:
            for link in (client, server):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            while True:
                for link in select.select([client, server], [], [])[0]:
                    data = link.recv(1 << 18)
                    now = time.monotonic()
                    if not data:
                        return
                    if link is client:
                        self.up_bytes += len(data)
                        server.sendall(data)
                        asked = now
                        continue
                    self.down_bytes += len(data)
                    client.sendall(data)
                    if asked is not None:
                        wait = [asked, time.monotonic()]
                        self.waits.append(wait)
                        asked = None
                    elif wait and now - wait[1] < PAUSE_S:
                        wait[1] = time.monotonic()


def union_s(waits, since, until):
    """How much of [since, until] is in at least one of the waits."""
    total, reached = 0.0, since
    for begin, end in sorted(waits):
        begin, end = max(begin, reached), min(end, until)
        if end > begin:
            total += end - begin
            reached = end
    return total
