# SPDX-License-Identifier: Apache-2.0
"""What a program or library of ELF form needs: the interpreter, and other libraries by name."""

import struct

PT_DYNAMIC, PT_INTERP, PT_LOAD = 2, 3, 1
DT_NEEDED, DT_STRTAB, DT_RUNPATH, DT_RPATH = 1, 5, 29, 15


def needs(path):
    """(interpreter or None, [library], [search path]); None if the file is no 64-bit ELF file."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:5] != b"\x7fELF\x02":
        return None
    table, = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    interpreter, entries = None, []
    for kind, _, offset, _, _, length in headers:
        if kind == PT_INTERP:
            interpreter = data[offset:offset + length].rstrip(b"\0").decode()
        if kind == PT_DYNAMIC:
            entries = list(struct.iter_unpack("<QQ", data[offset:offset + length]))
    strings = next((in_file(headers, value) for tag, value in entries if tag == DT_STRTAB), None)

    def text(at):
        return data[strings + at:data.index(b"\0", strings + at)].decode()

    end = next((i for i, (tag, _) in enumerate(entries) if tag == 0), len(entries))
    entries = entries[:end]
    libraries = [text(value) for tag, value in entries if tag == DT_NEEDED]
    paths = [p for tag, value in entries if tag in (DT_RUNPATH, DT_RPATH)
             for p in text(value).split(":")]
    return interpreter, libraries, paths


def in_file(headers, address):
    for kind, _, offset, start, _, length in headers:
        if kind == PT_LOAD and start <= address < start + length:
            return address - start + offset
    raise ValueError("no segment holds the address 0x%x" % address)
