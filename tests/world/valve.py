# SPDX-License-Identifier: Apache-2.0
"""A valve in a connection: forwards bytes between a client and a server, and calls a function at an
exact place of the conversation, so that a test can do harm there and nowhere else.

Two kinds of places: the n-th call of a gRPC client (HTTP/2 HEADERS frames are counted, RFC 9113, 6.2),
or the n-th byte that comes from the server (for TLS, which can't be looked into)."""
import contextlib
import os
import socket
import threading

PREFACE = 24  # the client's "PRI * HTTP/2.0..." (RFC 9113, 3.4)
FRAME_HEAD = 9
HEADERS = 1
CHUNK = 1 << 16


def listen_on(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    s = socket.socket(family)
    s.bind(address)
    s.listen(16)
    return s


class Valve:
    """with Valve(where, target) as valve: a client that connects to `where` talks to `target`.

    on_call(n): called before the n-th call, counted from 1, is forwarded; a unix socket's path is the
    address of such a valve. on_bytes: (count, function): called once, when so many bytes came back;
    then that connection is cut, because what the server had sent already lies in the sockets' buffers.
    While a function runs nothing is forwarded in that direction of that connection."""

    def __init__(self, where, target, on_call=None, on_bytes=None):
        self.where = where
        self.target = target
        self.on_call = on_call
        self.on_bytes = on_bytes
        self.calls = 0
        self.bytes_back = 0
        self.lock = threading.Lock()
        self.harm = threading.Lock()
        self.open = []

    def __enter__(self):
        self.listener = listen_on(self.where)
        self.address = self.listener.getsockname()
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        if isinstance(self.where, str):
            os.unlink(self.where)
        with self.harm:  # what was begun is done before anybody looks
            for s in self.open:
                s.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(client.family if isinstance(self.target, str) else socket.AF_INET)
            try:
                server.connect(self.target)
            except OSError:
                client.close()
                server.close()
                continue
            self.open += [client, server]
            for way in (self.to_server, self.to_client):
                threading.Thread(target=self.pump, args=(way, client, server), daemon=True).start()

    @staticmethod
    def pump(way, client, server):
        with contextlib.suppress(OSError):
            way(client, server)
        for s in (client, server):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def to_client(self, client, server):
        while data := server.recv(CHUNK):
            with self.lock:
                before, self.bytes_back = self.bytes_back, self.bytes_back + len(data)
                is_now = self.on_bytes and before < self.on_bytes[0] <= self.bytes_back
            if is_now:
                with self.harm:
                    self.on_bytes[1]()
                return
            client.sendall(data)

    def to_server(self, client, server):
        if not self.on_call:
            while data := client.recv(CHUNK):
                server.sendall(data)
            return
        stream = client.makefile("rb")
        server.sendall(exactly(stream, PREFACE))
        while True:
            head = exactly(stream, FRAME_HEAD)
            if head[3] == HEADERS:
                with self.lock:
                    self.calls += 1
                    n = self.calls
                with self.harm:
                    self.on_call(n)
            server.sendall(head + exactly(stream, int.from_bytes(head[:3], "big")))


def exactly(stream, n):
    data = stream.read(n)
    if len(data) != n:
        raise ConnectionResetError
    return data
