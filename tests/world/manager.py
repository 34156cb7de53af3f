# SPDX-License-Identifier: Apache-2.0
"""A service manager to talk to, as far as the exit unit does: D-Bus on a socket of its own, written
from the D-Bus Specification (not with the library that the launcher uses), and a notify socket."""
import contextlib
import os
import re
import signal
import socket
import struct
import threading

CALL, RETURN, ERROR = 1, 2, 3
MANAGER = "org.freedesktop.systemd1.Manager"


def pad(data, to):
    return data + bytes(-len(data) % to)


def text(value):
    value = value.encode()
    return struct.pack("<I", len(value)) + value + b"\0"


def field(code, kind, value):
    """One header field: a struct of the code and a variant."""
    body = {"u": lambda: struct.pack("<I", value), "s": lambda: text(value),
            "g": lambda: bytes([len(value)]) + value.encode() + b"\0"}[kind]()
    start = bytes([code, 1]) + kind.encode() + b"\0"
    return start + body  # the value is aligned already: 4 bytes lie before it


def message(kind, serial, fields, body=b""):
    packed = b""
    for each in fields:
        packed = pad(packed, 8) + field(*each)
    head = struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), serial, len(packed)) + packed
    return pad(head, 8) + body


def fields_of(data):
    """The header fields of a message as {code: value}."""
    found, at = {}, 0
    while at < len(data):
        at += -at % 8
        code, kind = data[at], chr(data[at + 2])
        at += 4
        if kind == "g":
            size, at = data[at], at + 1
        elif kind in "so":
            size, at = struct.unpack_from("<I", data, at)[0], at + 4
        else:
            found[code], at = struct.unpack_from("<I", data, at)[0], at + 4
            continue
        found[code], at = data[at:at + size].decode(), at + size + 1
    return found


class Manager:
    """Plays PID 1. @state is its SystemState; @on_end says what it does when asked to end the machine:
    "accept" and send SIGTERM as systemd does, "deaf" (accept and do nothing), "refuse", "mute"."""

    def __init__(self, path, state="running", on_end="accept"):
        self.path, self.state, self.on_end = path, state, on_end
        self.calls = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    @property
    def address(self):
        return "unix:path=" + self.path

    def close(self):
        self.listener.close()
        os.unlink(self.path)

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.listener.accept()
                threading.Thread(target=self.talk, args=(peer,), daemon=True).start()

    def talk(self, peer):
        with peer, contextlib.suppress(OSError, EOFError):
            stream = peer.makefile("rwb")
            if self.on_end == "mute":
                stream.read()
                return
            self.authenticate(stream)
            while True:
                self.answer(peer, stream, *self.receive(stream))

    def authenticate(self, stream):
        """EXTERNAL, without an initial response: the socket says who it is."""
        if stream.read(1) != b"\0":
            raise EOFError
        for line in iter(stream.readline, b"BEGIN\r\n"):
            if not line:
                raise EOFError
            stream.write({b"AUTH EXTERNAL\r\n": b"DATA\r\n", b"DATA\r\n": b"OK " + b"0" * 31 + b"1\r\n",
                          b"NEGOTIATE_UNIX_FD\r\n": b"AGREE_UNIX_FD\r\n"}.get(line, b"ERROR\r\n"))
            stream.flush()

    def receive(self, stream):
        head = stream.read(16)
        if len(head) < 16:
            raise EOFError
        order, _, _, _, body_size, serial, size = struct.unpack("<cBBBIII", head)
        assert order == b"l"
        fields = fields_of(stream.read(size + -size % 8)[:size])
        return serial, fields, stream.read(body_size)

    def answer(self, peer, stream, serial, fields, body):
        assert fields[1] == "/org/freedesktop/systemd1", fields
        name = "%s.%s" % (fields[2], fields[3])
        self.calls.append(fields[3] if fields[2] == MANAGER else name)
        if name == "org.freedesktop.DBus.Properties.Get":
            assert body == pad(text(MANAGER), 4) + text("SystemState"), body
            reply = message(RETURN, serial, ((5, "u", serial), (8, "g", "v")),
                            pad(b"\1s\0", 4) + text(self.state))
        elif self.on_end == "refuse":
            reply = message(ERROR, serial, ((4, "s", "org.freedesktop.DBus.Error.AccessDenied"),
                                            (5, "u", serial), (8, "g", "s")), text("not for you"))
        else:
            reply = message(RETURN, serial, ((5, "u", serial),))
        stream.write(reply)
        stream.flush()
        if fields[2] == MANAGER and self.on_end == "accept":
            pid = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
            os.kill(pid, signal.SIGTERM)


class Notes:
    """A notify socket: every datagram as {name: value}, in order, with the time it came."""

    def __init__(self, path):
        self.path = path
        self.notes = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        with contextlib.suppress(OSError):
            while True:
                data = self.socket.recv(8192).decode()
                self.notes.append(dict(re.findall(r"^(\w+)=(.*)$", data, re.M)))

    def close(self):
        self.socket.close()
        os.unlink(self.path)
