# SPDX-License-Identifier: Apache-2.0
"""A layer unpacked twice: by containerd's own Apply, and by teelaunch-unpack over its protocol
(launcher/unpack/protocol.h); and a look at every fact of a tree, so that the two can be compared."""
import contextlib
import ctypes
import fcntl
import hashlib
import os
import selectors
import signal
import socket
import stat
import struct
import subprocess
import threading
import time

import parts

VERSION = 1
START, EXTRACTED, FAILED, FINISH, DONE = range(1, 6)
WHY = {1: "broken", 2: "unsupported", 3: "no space", 4: "io", 5: "limit", 6: "protocol"}
MESSAGE_MAX = 4096
CONTROL_FD = 3
PIPE_BYTES = 1 << 20  # /proc/sys/fs/pipe-max-size, as it is set everywhere
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
# What carries the time at which it was unpacked differs from run to run.
STARTED_NS = time.time_ns()


SYS_OPEN_TREE, SYS_MOUNT_SETATTR = 428, 442  # asm-generic/unistd.h
AT_EMPTY_PATH, OPEN_TREE_CLONE = 0x1000, 1
READ_ONLY, NO_SUID, NO_DEVICES, NO_EXEC = 1, 2, 4, 8  # linux/mount.h, MOUNT_ATTR_


def view_of(path):
    """A descriptor of a lower layer's root as the launcher gives it out (launcher/unpack/view.h)."""
    fd = parts.libc.syscall(SYS_OPEN_TREE, -1, os.fsencode(path), OPEN_TREE_CLONE | os.O_CLOEXEC)
    if fd < 0 or parts.libc.syscall(SYS_MOUNT_SETATTR, fd, b"", AT_EMPTY_PATH, struct.pack(
            "=QQQQ", READ_ONLY | NO_SUID | NO_DEVICES | NO_EXEC, 0, 0, 0), 32) < 0:
        raise OSError(ctypes.get_errno(), "a view of " + path)
    return fd


class Unpacker:
    """One process that unpacks one layer. `layer` is bytes, an iterable of bytes, or None: then the
    test writes to `pipe` itself."""

    def __init__(self, program, target, layer=None, limits=(0, 0, 0), start=True, stderr=None):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        source, self.pipe = os.pipe()
        fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        actions = [(os.POSIX_SPAWN_DUP2, source, 0),
                   (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
                   (os.POSIX_SPAWN_OPEN, 2, stderr or "/dev/null", os.O_WRONLY | os.O_APPEND, 0)]
        # dup2() of a descriptor to itself would leave it to be closed on exec.
        spare = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)
        actions.append((os.POSIX_SPAWN_DUP2, spare, CONTROL_FD))
        self.pid = os.posix_spawn(program, [program], {}, file_actions=actions)
        os.close(spare)
        theirs.close()
        os.close(source)
        self.control = ours
        self.control.settimeout(60)
        self.status = None
        self.writer = None
        if start:
            self.start(target, limits)
        if layer is not None:
            self.writer = threading.Thread(target=self.feed, daemon=True,
                                           args=([layer] if isinstance(layer, bytes) else layer,))
            self.writer.start()

    def feed(self, pieces):
        with contextlib.suppress(BrokenPipeError), os.fdopen(self.pipe, "wb", buffering=0) as pipe:
            self.pipe = None
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[pipe.write(view):]

    def say(self, kind, body=b"", fds=(), version=VERSION):
        socket.send_fds(self.control, [struct.pack("=II", version, kind) + body], list(fds))

    def start(self, target, limits=(0, 0, 0)):
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        self.say(START, struct.pack("=QQQ", *limits), [fd])
        os.close(fd)

    def hear(self):
        """The next answer as a dict, or None when the unpacker has hung up."""
        try:
            data = self.control.recv(MESSAGE_MAX)
        except ConnectionResetError:
            return None
        if not data:
            return None
        version, kind = struct.unpack_from("=II", data)
        assert version == VERSION, data
        if kind == EXTRACTED:
            diff_id, *counts = struct.unpack("=32sQQQ", data[8:])
            return {"kind": EXTRACTED, "diff_id": "sha256:" + diff_id.hex(),
                    **dict(zip(("bytes", "entries", "implicit_dirs"), counts))}
        if kind == FAILED:
            why, error, text = struct.unpack("=Ii256s", data[8:])
            text, _, rest = text.partition(b"\0")
            assert not rest.strip(b"\0") and text and all(0x20 <= c < 0x7f for c in text), data
            return {"kind": FAILED, "why": WHY[why], "errno": error, "text": text.decode()}
        assert kind == DONE and len(data) == 8, data
        return {"kind": DONE}

    def finish(self, lowers):
        fds = [view_of(p) for p in lowers]
        try:
            self.say(FINISH, fds=fds)
        finally:
            for fd in fds:
                os.close(fd)

    def wait(self):
        """How it ended: its exit code, or the negative number of a signal. Then nothing is left."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.close()
        return self.status

    def close(self):
        self.control.close()
        if self.writer:
            self.writer.join(60)
        elif self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def kill(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def unpack(program, target, layer, lowers=(), limits=(0, 0, 0), stderr=None):
    """All of it: what EXTRACTED said, after DONE; or what FAILED said. Checks the exit code."""
    u = Unpacker(program, target, layer, limits, stderr=stderr)
    try:
        answer = u.hear()
        if answer and answer["kind"] == EXTRACTED:
            u.finish(lowers)
            last = u.hear()
            answer = answer if last and last["kind"] == DONE else last
        if answer is None:
            return {"kind": None, "why": "silence", "text": "ended with %d" % u.wait()}
        if answer["kind"] == EXTRACTED:
            assert u.wait() == 0, "DONE, then exit code %d" % u.status
        else:
            assert answer["kind"] == FAILED and u.wait() > 0, (answer, u.status)
        return answer
    finally:
        u.kill()


class Reference:
    """containerd's own unpacking, by layer_driver; a chain that was there already is not done again."""

    def __init__(self, driver, store, folder):
        self.folder = folder
        self.child = subprocess.Popen([driver, store.socket], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE)
        self.done = {}

    def apply(self, layer, parent="-", media_type=OCI_LAYER + "+gzip"):
        """(name, folder, diff id), or (None, None, what containerd said)."""
        name = hashlib.sha256(("%s %s " % (parent, media_type)).encode() + layer).hexdigest()
        if name not in self.done:
            path = os.path.join(self.folder, "layer")
            with open(path, "wb") as f:
                f.write(layer)
            self.child.stdin.write(("%s %s %s %s\n" % (name, parent, media_type, path)).encode())
            self.child.stdin.flush()
            word, _, rest = self.child.stdout.readline().decode().rstrip("\n").partition(" ")
            assert word in ("ok", "no"), "layer_driver ended: " + word
            self.done[name] = (name, *rest.split(" ")) if word == "ok" else (None, None, rest)
        return self.done[name]

    def close(self):
        self.child.stdin.close()
        self.child.stdout.close()
        assert self.child.wait(60) == 0


# --- every fact of a tree -------------------------------------------------------------------------

def time_fact(ns, ended_ns):
    return "now" if STARTED_NS <= ns <= ended_ns else ns


def xattrs_of(directory, name):
    path = b"/proc/self/fd/%d/%s" % (directory, name)
    return {key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)}


def content_of(directory, name):
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NOATIME, dir_fd=directory)
    with os.fdopen(fd, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def facts_of(directory, name, s, ended_ns):
    facts = {"mode": oct(s.st_mode), "owner": (s.st_uid, s.st_gid),
             "mtime": time_fact(s.st_mtime_ns, ended_ns), "xattrs": xattrs_of(directory, name)}
    if not stat.S_ISLNK(s.st_mode):  # walking through a link counts as reading it
        facts["atime"] = time_fact(s.st_atime_ns, ended_ns)
    if stat.S_ISREG(s.st_mode):
        facts["content"] = (s.st_size, content_of(directory, name))
    elif stat.S_ISLNK(s.st_mode):
        facts["target"] = os.readlink(name, dir_fd=directory)
    elif stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode):
        facts["device"] = (os.major(s.st_rdev), os.minor(s.st_rdev))
    return facts


def tree_of(root):
    """{path: facts} of all beneath `root`, however deep, and of b"" the extended attributes only: its
    mode and owner are the snapshot's. Files with several names have those of the group among them."""
    found, groups, ended_ns = {}, {}, time.time_ns()
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME)
    found[b""] = {"xattrs": xattrs_of(top, b".")}
    folders = [b""]
    while folders:
        path = folders.pop()
        directory = os.open(path or b".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOATIME, dir_fd=top)
        for name in map(os.fsencode, os.listdir(directory)):
            s = os.stat(name, dir_fd=directory, follow_symlinks=False)
            below = path + b"/" + name if path else name
            found[below] = facts_of(directory, name, s, ended_ns)
            if stat.S_ISDIR(s.st_mode):
                folders.append(below)
            elif s.st_nlink > 1:
                groups.setdefault(s.st_ino, []).append(below)
                found[below]["links"] = s.st_nlink
        os.close(directory)
    os.close(top)
    for paths in groups.values():
        for path in paths:
            found[path]["group"] = sorted(paths)
    return found


def differences(theirs, ours):
    """As lines. A time of unpacking of containerd's is not compared: it is no fact of the layer."""
    found = []
    for path in sorted(theirs.keys() | ours.keys()):
        a, b = theirs.get(path), ours.get(path)
        if a is None or b is None:
            found.append("%r: only %s has it" % (path, "containerd" if b is None else "the unpacker"))
            continue
        found += ["%r: %s: containerd %r, the unpacker %r" % (path, key, a.get(key), b.get(key))
                  for key in sorted(a.keys() | b.keys())
                  if a.get(key) != b.get(key) and not (key in ("mtime", "atime") and a.get(key) == "now")]
    return found


def remove_tree(path):
    """shutil.rmtree() needs a descriptor for every level; this doesn't, and takes what rm(1) takes."""
    subprocess.run(["rm", "-rf", "--", path], check=True, timeout=120)


def wait_for_exit(pid, timeout_s):
    """True if a child ended in time; it stays to be waited for."""
    fd = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector, os.fdopen(fd, "rb"):
        selector.register(fd, selectors.EVENT_READ)
        return bool(selector.select(timeout_s))
