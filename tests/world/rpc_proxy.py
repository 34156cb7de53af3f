# SPDX-License-Identifier: Apache-2.0
"""Stands between containerd and a launcher, and lets calls fail: gRPC over HTTP/2 (RFC 9113), as far as it
takes for a client that makes each call on a connection of its own, as the launcher does.

A rule is asked about each call by its path, "/containerd.services.tasks.v1.Tasks/Start", and gives None or
(status, is_done): the status that the client gets, and whether containerd does what is asked before."""
import contextlib
import os
import socket
import threading

from valve import FRAME_HEAD, HEADERS, PREFACE, exactly, listen_on

DATA, SETTINGS = 0, 4
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20
ACK = 0x1
TALKS = ("/containerd.services.content.v1.Content/Write",)  # calls in which both sides send in turns
PATH_NAMES = (4, 5)  # RFC 7541, appendix A: ":path"
# RFC 7541, appendix B: the code is canonical, so the lengths say all; what paths of calls are made of.
LENGTHS = {5: "012aceiost", 6: " %-./3456789=A_bdfghlmnpru", 7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"}


def huffman_table():
    table, code, last = {}, 0, 5
    for length, characters in LENGTHS.items():
        code <<= length - last
        last = length
        for character in characters:
            table[length, code] = character
            code += 1
    return table


TABLE = huffman_table()


def huffman(data):
    text, code, length = "", 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            if (length, code) in TABLE:
                text, code, length = text + TABLE[length, code], 0, 0
    return text


def number(block, at, bits):
    """RFC 7541, 5.1: (the number, where it ends)"""
    n, at = block[at] & (1 << bits) - 1, at + 1
    if n == (1 << bits) - 1:
        for shift in range(0, 35, 7):
            byte, at = block[at], at + 1
            n += (byte & 0x7F) << shift
            if not byte & 0x80:
                break
    return n, at


def string(block, at):
    n, end = number(block, at, 7)
    data = block[end:end + n]
    return huffman(data) if block[at] & 0x80 else data.decode(), end + n


def path_of(block):
    """The first header block of a connection: no entry of it is in the dynamic table."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            _, at = number(block, at, 7)
        elif first & 0xE0 == 0x20:
            _, at = number(block, at, 5)
        else:
            name, at = number(block, at, 6 if first & 0x40 else 4)
            if name == 0:
                _, at = string(block, at)
            value, at = string(block, at)
            if name in PATH_NAMES:
                return value
    raise ValueError("a call without a path: " + block.hex())


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return b"\0" + b"".join(bytes([len(t)]) + t.encode() for t in (name, value))


def refusal(stream, status, is_begun=False):
    """The answer of a server that has nothing to say but a status: ":status: 200", and what gRPC wants. If it
    has said something, the end of that."""
    block = literal("grpc-status", str(status)) + literal("grpc-message", "injected")
    if not is_begun:
        block = b"\x88" + literal("content-type", "application/grpc") + block
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, block)


def read_frame(stream):
    head = exactly(stream, FRAME_HEAD)
    return head[3], head[4], int.from_bytes(head[5:9], "big"), head + exactly(stream, int.from_bytes(head[:3], "big"))


class RpcProxy:
    def __init__(self, where, target, rule):
        self.where, self.target, self.rule = where, target, rule
        self.lock = threading.Lock()
        self.calls = []

    def __enter__(self):
        self.listener = listen_on(self.where)
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.unlink(self.where)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client, contextlib.suppress(OSError):
            self.call(client)

    def call(self, client):
        """One connection, one call."""
        stream = client.makefile("rb")
        begin, kind = exactly(stream, PREFACE), None
        while kind != HEADERS:
            kind, flags, number_of_stream, data = read_frame(stream)
            begin += data
        block = data[FRAME_HEAD + (flags & PADDED and 1) + (flags & PRIORITY and 5):]
        with self.lock:
            path = path_of(block)
            self.calls.append(path)
            harm = self.rule(path, self.calls.count(path))
        if harm and not harm[1]:
            client.sendall(frame(SETTINGS, 0, 0, b"") + frame(SETTINGS, ACK, 0, b"") +
                           refusal(number_of_stream, harm[0]))
            while stream.read1(1 << 16):  # what it still wants to say
                pass
            return
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self.target)
            server.sendall(begin)
            back = threading.Thread(target=self.to_client, args=(server, client, path, harm), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := stream.read1(1 << 16):
                    server.sendall(data)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            back.join()

    @staticmethod
    def to_client(server, client, path, harm):
        """With harm the end of the call is another one; what came before it is kept back, unless the client
        has to hear of it to say the rest."""
        stream = server.makefile("rb")
        with contextlib.suppress(OSError):
            while True:
                kind, flags, number_of_stream, data = read_frame(stream)
                is_end = flags & END_STREAM
                if not harm or kind not in (HEADERS, DATA) or path in TALKS and not is_end:
                    client.sendall(data)
                elif is_end:
                    client.sendall(refusal(number_of_stream, harm[0], path in TALKS))
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
