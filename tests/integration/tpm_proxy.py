# SPDX-License-Identifier: Apache-2.0
"""Stands between a TPM and its client on loopback, and does what a host could do to both.

The data channel passes through here; the control channel, which swtpm has on the next port, is
forwarded untouched. The TCTI connects anew for each command.
"""
import socket
import struct
import threading

CC_NV_READ = 0x0000014E
CC_QUOTE = 0x00000158
CC_GET_CAPABILITY = 0x0000017A
CC_PCR_READ = 0x0000017E
CC_PCR_EXTEND = 0x00000182


def pcr_extend(pcr, fill):
    """TPM2_PCR_Extend of the SHA-256 bank with an empty password: TPM 2.0 part 3, 22.2."""
    session = struct.pack(">IHBH", 0x40000009, 0, 0, 0)
    body = struct.pack(">II", pcr, len(session)) + session
    body += struct.pack(">IH", 1, 0x000B) + bytes([fill]) * 32
    return struct.pack(">HII", 0x8002, 10 + len(body), CC_PCR_EXTEND) + body


def receive(sock):
    """One TPM command or response: its size stands at offset 2."""
    data = b""
    while len(data) < 10 or len(data) < struct.unpack(">I", data[2:6])[0]:
        part = sock.recv(4096)
        if not part:
            return None
        data += part
    return data


class Proxy:
    """`rule(code, command, send)` returns the answer for the client (None: hang up); `send` asks
    the real TPM."""

    def __init__(self, tcti, rule):
        self.port = int(tcti.rsplit("=", 1)[1])
        self.rule = rule
        self.lock = threading.Lock()
        self.listeners = []
        while len(self.listeners) < 2:
            self.close()
            first = socket.create_server(("127.0.0.1", 0))
            self.listeners = [first]
            try:
                second = socket.create_server(("127.0.0.1", first.getsockname()[1] + 1))
            except OSError:
                continue
            self.listeners.append(second)
        self.tcti = "swtpm:host=127.0.0.1,port=%d" % self.listeners[0].getsockname()[1]
        for listener, serve in zip(self.listeners, (self.serve_data, self.serve_control)):
            threading.Thread(target=self.accept, args=(listener, serve), daemon=True).start()

    def close(self):
        for listener in self.listeners:
            listener.close()
        self.listeners = []

    def accept(self, listener, serve):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                try:
                    serve(client)
                except OSError:
                    pass

    def send(self, command):
        with self.lock, socket.create_connection(("127.0.0.1", self.port), 20) as tpm:
            tpm.sendall(command)
            return receive(tpm)

    def serve_data(self, client):
        while True:
            command = receive(client)
            if command is None:
                return
            answer = self.rule(struct.unpack(">I", command[6:10])[0], command, self.send)
            if answer is None:
                return
            client.sendall(answer)

    def serve_control(self, client):
        with socket.create_connection(("127.0.0.1", self.port + 1), 20) as control:
            request = client.recv(4096)
            control.sendall(request)
            client.sendall(control.recv(4096))
