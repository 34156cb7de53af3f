# SPDX-License-Identifier: Apache-2.0
"""What firmware and stub will measure of a UKI, computed from the finished file alone."""

import hashlib
import struct

ALGORITHMS = ("sha1", "sha256", "sha384")
# systemd-stub 252, src/boot/efi/stub.c: sections it measures into PCR 11, in this order.
STUB_SECTIONS = (".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb")
# TCG PC Client Platform Firmware Profile: what precedes the first boot application in PCR 4.
BOOT_ACTION = b"Calling EFI Application from Boot Option"
SEPARATOR = b"\0\0\0\0"


class Pe:
    """As little of the PE format as measuring needs; a reader of its own, not the builder's."""

    def __init__(self, data):
        self.data = data
        self.head = struct.unpack_from("<I", data, 60)[0]
        if data[self.head:self.head + 4] != b"PE\0\0":
            raise ValueError("not a PE file")
        sections, = struct.unpack_from("<H", data, self.head + 6)
        optional, = struct.unpack_from("<H", data, self.head + 20)
        self.optional = self.head + 24
        if struct.unpack_from("<H", data, self.optional)[0] != 0x20b:
            raise ValueError("not PE32+")
        self.headers_bytes, = struct.unpack_from("<I", data, self.optional + 60)
        self.sections = []
        for i in range(sections):
            at = self.optional + optional + 40 * i
            size, _, raw, offset = struct.unpack_from("<IIII", data, at + 8)
            self.sections.append((data[at:at + 8].rstrip(b"\0").decode(), size, raw, offset))

    def section(self, name):
        """Its content, without the padding to the file's alignment; None if it isn't there."""
        for found, size, raw, offset in self.sections:
            if found == name:
                return self.data[offset:offset + min(size, raw)]
        return None

    def authenticode(self, algorithm):
        """Microsoft, "Windows Authenticode Portable Executable Signature Format": everything but
        the checksum, the entry of the certificate table, and that table."""
        checksum, certificates = self.optional + 64, self.optional + 112 + 4 * 8
        table, length = struct.unpack_from("<II", self.data, certificates)
        h = hashlib.new(algorithm)
        h.update(self.data[:checksum])
        h.update(self.data[checksum + 4:certificates])
        h.update(self.data[certificates + 8:self.headers_bytes])
        done = self.headers_bytes
        for _, _, raw, offset in sorted(self.sections, key=lambda s: s[3]):
            if raw:
                h.update(self.data[offset:offset + raw])
                done += raw
        rest = len(self.data) - done - (length if table else 0)
        if rest > 0:
            h.update(self.data[done:done + rest])
        return h.hexdigest()


def event(pcr, name, digest):
    return {"pcr": pcr, "name": name, "digests": {a: digest(a) for a in ALGORITHMS}}


def plain(data):
    return lambda algorithm: hashlib.new(algorithm, data).hexdigest()


def extend(events, algorithm):
    value = bytes(hashlib.new(algorithm).digest_size)
    for each in events:
        value = hashlib.new(algorithm, value + bytes.fromhex(each["digests"][algorithm])).digest()
    return value.hex()


def stub_events(uki):
    """PCR 11: for each section its name with a NUL, then its content."""
    events = []
    for name in STUB_SECTIONS:
        content = uki.section(name)
        if content is not None:
            events.append(event(11, name + " name", plain(name.encode() + b"\0")))
            events.append(event(11, name, plain(content)))
    return events


def measure(path):
    """(registers, events) of the UKI in the file @path."""
    with open(path, "rb") as f:
        uki = Pe(f.read())
    kernel = Pe(uki.section(".linux"))
    cmdline = uki.section(".cmdline").rstrip(b"\0")
    applications = [event(4, "uki", uki.authenticode), event(4, "kernel", kernel.authenticode)]
    before = [event(4, "action", plain(BOOT_ACTION)), event(4, "separator", plain(SEPARATOR))]
    # The kernel's own EFI stub: the command line as UTF-16 with its NUL, then the initrd.
    options = (cmdline.decode() + "\0").encode("utf-16-le")
    loaded = [event(9, "cmdline", plain(options)), event(9, "initrd", plain(uki.section(".initrd")))]
    sections = stub_events(uki)
    registers = {4: before + applications, 9: loaded, 11: sections, 12: []}
    return ({str(pcr): {a: extend(events, a) for a in ALGORITHMS}
             for pcr, events in registers.items()}, applications + loaded + sections, cmdline.decode())
