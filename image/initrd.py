# SPDX-License-Identifier: Apache-2.0
"""The initial RAM disk: init, and modules in the order of their loading. A cpio archive, "newc"."""

import os
import subprocess

S_IFDIR, S_IFREG = 0o040000, 0o100000


def entry(number, name, mode, data=b""):
    """One member. No owner, no time, one link: nothing of the builder's machine."""
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def build(init, modules, path):
    """Writes the archive, compressed, to @path."""
    members = [("dev", S_IFDIR | 0o755, b""), ("init", S_IFREG | 0o755, read(init)),
               ("modules", S_IFDIR | 0o755, b"")]
    for i, module in enumerate(modules):
        members.append(("modules/%02d-%s" % (i, os.path.basename(module)), S_IFREG | 0o644,
                        read(module)))
    archive = b"".join(entry(i + 1, *member) for i, member in enumerate(members))
    archive += entry(0, "TRAILER!!!", 0)
    done = subprocess.run(["zstd", "-q", "-19", "--single-thread", "--no-check", "-c"],
                          input=archive, stdout=subprocess.PIPE, check=True)
    with open(path, "wb") as f:
        f.write(done.stdout)
