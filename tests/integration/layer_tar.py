# SPDX-License-Identifier: Apache-2.0
"""Tar archives byte by byte, so that they can be wrong on purpose, and what they are wrapped in.

Formats: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's manual, "Basic Tar Format"; RFC 1952;
RFC 8878.
"""
import struct
import subprocess
import zlib

USTAR = b"ustar\0" + b"00"
GNU = b"ustar  \0"
V7 = bytes(8)
BLOCK = 512
END = bytes(2 * BLOCK)
MTIME = 1_400_000_000


def octal(value, width):
    return b"%0*o\0" % (width - 1, value)


def binary(value, width):
    """GNU's base-256: big endian, the first bit set."""
    number = (value & ((1 << (8 * width)) - 1)).to_bytes(width, "big")
    return bytes([number[0] | 0x80]) + number[1:]


def field(value, width):
    if isinstance(value, bytes):
        return value.ljust(width, b"\0")
    return octal(value, width) if 0 <= value < 8 ** (width - 1) else binary(value, width)


def as_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def header(name, size=0, kind=b"0", mode=0o644, uid=0, gid=0, mtime=MTIME, link=b"", magic=USTAR,
           prefix=b"", major=0, minor=0, changes=(), checksum=None):
    """One header. Numbers may be given as bytes, to stand there as they are. `changes`: (offset, bytes),
    made before the checksum, which is right unless it is given."""
    block = bytearray().join([
        field(as_bytes(name)[:100], 100), field(mode, 8), field(uid, 8), field(gid, 8),
        field(size, 12), field(mtime, 12), b" " * 8, kind, field(as_bytes(link)[:100], 100),
        magic, bytes(64), field(major, 8) if magic != V7 else bytes(8),
        field(minor, 8) if magic != V7 else bytes(8), field(prefix, 155), bytes(12)])
    for at, data in changes:
        block[at:at + len(data)] = data
    block[148:156] = checksum if checksum is not None else b"%06o\0 " % sum(block)
    assert len(block) == BLOCK
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def entry(name, data=b"", **kwargs):
    kwargs.setdefault("size", len(data))
    return header(name, **kwargs) + padded(data)


def folder(name, mode=0o755, **kwargs):
    return entry(name, kind=b"5", mode=mode, **kwargs)


def symlink(name, target, **kwargs):
    return entry(name, kind=b"2", mode=0o777, link=target, **kwargs)


def hardlink(name, target, **kwargs):
    return entry(name, kind=b"1", link=target, **kwargs)


def record(key, value):
    """One record of a pax header: "LENGTH KEY=VALUE\\n", the length counts itself."""
    body = b" " + as_bytes(key) + b"=" + as_bytes(value) + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


def pax(*records, kind=b"x", name="PaxHeaders/0", body=None, **kwargs):
    """An extended header: (key, value) pairs, or `body` as it is."""
    data = b"".join(record(*r) for r in records) if body is None else body
    return entry(name, data, kind=kind, **kwargs)


def xattrs(**values):
    return pax(*(("SCHILY.xattr." + k.replace("__", "."), v) for k, v in values.items()))


def gnu_long(text, kind=b"L", terminator=b"\0"):
    return entry("././@LongLink", as_bytes(text) + terminator, kind=kind, magic=GNU)


def tar(*parts, end=END):
    return b"".join(parts) + end


# --- what an archive is wrapped in ----------------------------------------------------------------

def gzip_member(data, level=1, flags=0, extra=b"", crc=None, size=None, header_crc=None):
    """One member (RFC 1952, 2.3); what belongs to `flags` comes as `extra`."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    head = struct.pack("<2sBBIBB", b"\x1f\x8b", 8, flags, 0, 0, 255) + extra
    if header_crc is not None:
        head += struct.pack("<H", header_crc if header_crc >= 0 else zlib.crc32(head) & 0xffff)
    crc = zlib.crc32(data) if crc is None else crc
    return head + body + struct.pack("<II", crc, (len(data) if size is None else size) & 0xffffffff)


def gzip_of(data, piece=None):
    """As one member, or as one for each `piece` bytes and an empty one, as eStargz has them."""
    if not piece:
        return gzip_member(data)
    return b"".join(gzip_member(data[i:i + piece]) for i in range(0, len(data), piece)) + gzip_member(b"")


def zstd_skippable(data, number=0):
    """RFC 8878, 3.1.2."""
    return struct.pack("<II", 0x184D2A50 + number, len(data)) + data



def zstd_of(data, *options):
    """As one frame, by zstd(1)."""
    return subprocess.run(["zstd", "-q", "-c", *(options or ("-1",))], input=data,
                          stdout=subprocess.PIPE, check=True, timeout=60).stdout
