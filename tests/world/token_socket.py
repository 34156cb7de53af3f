# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 over the launcher's token socket, by hand: a test says each byte, and holds connections open."""
import json
import socket


class Link:
    """One connection; requests one after the other."""

    def __init__(self, path, timeout_s=30):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)  # blocking: it waits while the queue of the socket is full
        self.socket.settimeout(timeout_s)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, method, path, body=None, **headers):
        data = json.dumps(body).encode() if body is not None else b""
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: teeserver"]
        lines += ["%s: %s" % (k.replace("_", "-"), v) for k, v in headers.items()]
        if data:
            lines.append("Content-Length: %d" % len(data))
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        return self.hear()

    def hear(self):
        status = int(self.file.readline().split()[1])
        headers = {}
        for line in iter(self.file.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", "0"))).decode()


def ask(path, method, target, body=None, **headers):
    link = Link(path)
    try:
        return link.ask(method, target, body, **headers)
    finally:
        link.close()
