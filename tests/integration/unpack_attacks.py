# SPDX-License-Identifier: Apache-2.0
"""Layers, streams and messages that want more of teelaunch-unpack than it may give, and what it could
do if one of them took it over. Usage: unpack_attacks.py ROOM-PROBE [TEST...]"""
import contextlib
import errno
import fcntl
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import layer_tar as t  # noqa: E402
import layer_world as w  # noqa: E402
import parts  # noqa: E402

PROBE = None
PROGRAM = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch-unpack")
IS_LONG = "TL_LONG" in os.environ
MIB = 1 << 20
# Of its address space, whatever the layer: two buffers, the libraries, and a window of zstd.
MEMORY_MAX = 64 * MIB
# Read and changed so long ago that every reading is noted, whatever the mount's options.
OLD = (1, 2)


class Case(unittest.TestCase):
    def setUp(self):
        top = tempfile.TemporaryDirectory(prefix="tlu-")
        self.addCleanup(top.cleanup)
        self.top = top.name
        self.target = os.path.join(self.top, "snapshot", "fs")
        os.makedirs(self.target)

    def spawn(self, layer=None, **kwargs):
        u = w.Unpacker(PROGRAM, self.target, layer, **kwargs)
        self.addCleanup(u.kill)
        return u

    def fresh(self):
        w.remove_tree(self.target)
        os.mkdir(self.target)
        os.utime(os.path.dirname(self.target), OLD)

    def until_confined(self, u):
        parts.wait_until(lambda: self.status(u)["Seccomp"] == "2", "the room is entered")

    @staticmethod
    def status(u):
        with open("/proc/%d/status" % u.pid, encoding="ascii") as f:
            return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)

    def assert_fails(self, why, layer, limits=(0, 0, 0), memory=MEMORY_MAX):
        u = self.spawn(start=False)
        resource.prlimit(u.pid, resource.RLIMIT_AS, (memory, memory))
        u.start(self.target, limits)
        fed = Feeder(u, layer)
        answer = u.hear()
        self.assertEqual((answer["kind"], answer.get("why")), (w.FAILED, why), answer)
        self.assertGreater(u.wait(), 0)
        return fed.join()


class Feeder:
    """Writes a layer that may be endless; join() says how many bytes were taken."""

    def __init__(self, u, pieces):
        self.taken = 0
        self.pieces = [pieces] if isinstance(pieces, bytes) else pieces
        u.writer = threading.Thread(target=u.feed, args=(self.count(),), daemon=True)
        u.writer.start()
        self.u = u

    def count(self):
        for piece in self.pieces:
            yield piece
            self.taken += len(piece)

    def join(self):
        self.u.writer.join(60)
        return self.taken


class Outside(Case):
    """What is around the target: nothing of it may be made, changed or read."""

    def setUp(self):
        super().setUp()
        self.canary = os.path.join(self.top, "canary")
        os.makedirs(os.path.join(self.canary, "dir", "below"), mode=0o750)
        for path in ("file", "dir/file", "../snapshot/beside"):
            parts.write(os.path.join(self.canary, path), "untouched", mode=0o640)
        os.symlink("file", os.path.join(self.canary, "link"))
        self.lower = os.path.join(self.top, "lower")
        os.makedirs(self.lower)
        os.symlink(self.canary, os.path.join(self.lower, "absolute"))
        os.symlink("../canary/dir", os.path.join(self.lower, "relative"))
        os.chmod(os.path.join(self.canary, "dir"), 0o2751)
        os.setxattr(os.path.join(self.canary, "dir"), "user.canary", b"1")
        for folder, _, files in os.walk(self.top, topdown=False):
            for path in [folder] + [os.path.join(folder, f) for f in files]:
                os.utime(path, OLD, follow_symlinks=False)

    def around(self):
        found = w.tree_of(os.fsencode(self.top))
        return {path: facts for path, facts in found.items() if not path.startswith(b"snapshot/fs/") and
                path not in (b"snapshot/fs", b"")}

    def layers(self):
        c, up = self.canary, "../" * 12
        f, d, s, h = t.entry, t.folder, t.symlink, t.hardlink
        odd = t.xattrs(user__a="1")
        yield "names", [f(up + "canary/new", b"x"), f(c + "/new", b"x"), f("../beside", b"x"),
                        f("a/../../../canary/file", b"x"), d(up + "canary/dir", mode=0o777), d("..", mode=0o777)]
        for name, to in (("absolute", c), ("relative", "../../canary"), ("far", up + c[1:])):
            yield name + ": a file behind a link", [s("l", to), f("l/file", b"x"), f("l/dir/new", b"x")]
            yield name + ": a file over a link", [s("l", to + "/file"), odd, f("l", b"x", mode=0o777)]
            yield name + ": a folder over a link", [s("l", to + "/dir"), odd, d("l", mode=0o777), f("l/new")]
            yield name + ": attributes of a link", [odd, s("l", to + "/file", uid=5, mtime=5)]
            yield name + ": a whiteout behind a link", [s("l", to), f("l/.wh.file"), f("l/.wh..wh..opq")]
            yield name + ": a hard link", [h("h", to + "/file", mode=0o777)]
            yield name + ": a hard link behind a link", [s("l", to), h("h", "l/file", mode=0o777), f("h", b"x")]
            yield name + ": a hard link of a link", [s("l", to + "/file"), h("h", "l", mode=0o777), f("h", b"x")]
            yield name + ": a link for a folder", [d("a"), f("a/f"), s("a", to), f("a/file", b"x")]
            yield name + ": a link for a folder in use", [d("a/b"), f("a/b/f"), f("a/b", b"x"), s("a/b", to),
                                                          f("a/b/file", b"x"), d("a/b/dir", mode=0o777)]
            yield name + ": two links", [s("l", "m/dir"), s("m", to), f("l/file", b"x")]
            yield name + ": a chain of '..'", [d("x/y"), s("x/y/l", "../../../.."), f("x/y/l/canary/file", b"x")]
            yield name + ": a device's link", [f("p", kind=b"6"), s("p", to + "/file"), f("p", b"x", mode=0o777)]
            yield name + ": a folder's time", [s("l", to), d("l/dir", mode=0o777, mtime=5)]
        yield "a pipe", [f("p", kind=b"6"), h("q", "p", mode=0o600), f("p", b"x")]
        yield "whiteouts of above", [f("../.wh.beside"), f(".wh..."), f(".wh.../x"), f(".wh...wh..opq")]
        yield "folders of lower layers", [f("absolute/dir/new", b"x"), f("relative/new", b"x")]
        yield "this process", [s("l", "/proc/self/root"), f("l/x", b"x"), s("m", "/proc/self/fd/0"), f("m", b"x"),
                               s("n", "/dev/fd/3"), h("o", "n"), f("/proc/self/mem", b"x")]

    def test_nothing_around_the_target_is_made_changed_or_read(self):
        before = self.around()
        verdicts = {}
        for name, entries in self.layers():
            with self.subTest(name):
                # As they are, and each entry alone behind the first, in case one ends it all.
                for some in [entries] + [[entries[0], e] for e in entries[1:]]:
                    self.fresh()
                    answer = w.unpack(PROGRAM, self.target, t.gzip_of(t.tar(*some)), [self.lower])
                    verdicts[answer.get("why")] = verdicts.get(answer.get("why"), 0) + 1
                    self.assertIn(answer.get("why"), (None, "broken", "unsupported"), answer)
                    self.assertEqual(w.differences(before, self.around()), [])
        # That the attacks came so far.
        self.assertGreater(verdicts[None], 20)

    def test_a_folder_takes_nothing_from_where_a_lower_layers_link_leads_out(self):
        answer = w.unpack(PROGRAM, self.target, t.tar(t.entry("absolute/dir/new"), t.entry("relative/new")),
                          [self.lower])
        if answer["kind"] == w.EXTRACTED:
            made = w.tree_of(os.fsencode(self.target))
            for path in (b"absolute/dir", b"relative"):
                self.assertEqual((made[path]["mode"], made[path]["xattrs"]), (oct(0o40755), {}))

    def test_this_test_notices(self):
        before = self.around()
        path = os.path.join(self.canary, "dir", "file")
        with open(path, encoding="ascii") as f:
            f.read()
        self.assertEqual(len(w.differences(before, self.around())), 1)
        os.chmod(path, 0o600)
        os.link(path, path + "2")
        self.assertGreater(len(w.differences(before, self.around())), 3)


class Bombs(Case):
    def zeros(self, mib):
        """Pieces of a gzip member of so many MiB of zeros behind the header of a file of that size."""
        pack = zlib.compressobj(9, zlib.DEFLATED, 31)
        yield pack.compress(t.header("bomb", size=mib * MIB))
        for _ in range(mib):
            yield pack.compress(bytes(MIB))
        yield pack.compress(t.END) + pack.flush()

    def test_a_layer_of_zeros_ends_at_the_limit_of_bytes(self):
        self.assert_fails("limit", self.zeros(200), limits=(8 * MIB, 0, 0))
        self.assertLessEqual(os.stat(self.target + "/bomb").st_size, 8 * MIB)

    def test_zeros_after_the_archive_count(self):
        def much():
            pack = zlib.compressobj(9, zlib.DEFLATED, 31)
            yield pack.compress(t.END)
            for _ in range(200):
                yield pack.compress(bytes(MIB))
            yield pack.flush()
        self.assertLess(self.assert_fails("limit", much(), limits=(8 * MIB, 0, 0)), MIB)

    def test_zstd_ends_at_the_ratio(self):
        layer = subprocess.run(["zstd", "-q", "-c"], input=t.END + bytes(300 * MIB), timeout=60, check=True,
                               stdout=subprocess.PIPE).stdout
        self.assertLess(len(layer) * 1100, 300 * MIB)
        self.assert_fails("limit", layer)
        # What gzip can say passes.
        u = self.spawn(t.gzip_of(t.END + bytes(300 * MIB)))
        self.assertEqual(u.hear()["bytes"], 300 * MIB + len(t.END))

    def test_entries_end_at_their_limit(self):
        layer = t.gzip_of(t.tar(*(t.entry("f%d" % i) for i in range(2000))))
        self.assert_fails("limit", layer, limits=(0, 1000, 0))
        self.assertLessEqual(len(os.listdir(self.target)), 1001)

    def test_the_same_entry_over_and_over(self):
        self.assert_fails("limit", t.gzip_of(t.entry("f", b"x") * 6000), limits=(0, 5000, 0))
        self.assertEqual(os.listdir(self.target), ["f"])

    def test_headers_without_an_entry_count_by_their_bytes(self):
        def much():
            pack = zlib.compressobj(9, zlib.DEFLATED, 31)
            some = t.pax(("comment", "x" * 100_000)) + t.gnu_long("x" * 1000)
            for _ in range(3000):
                yield pack.compress(some)
            yield pack.compress(t.END) + pack.flush()
        self.assert_fails("limit", much(), limits=(100 * MIB, 0, 0))

    if IS_LONG:
        def test_folders_that_nobody_names(self):
            name = "/".join(["d"] * 100)
            entries = (t.pax(("path", "%d/%s/f" % (i, name))) + t.entry("f") for i in range(700))
            self.assert_fails("unsupported", t.gzip_of(t.tar(*entries)))

    def test_nesting(self):
        for depth in (300, 1500, 100_000):
            with self.subTest(depth):
                self.fresh()
                layer = t.gzip_of(t.tar(t.pax(("path", "d/" * depth + "f")), t.entry("f")))
                answer = w.unpack(PROGRAM, self.target, layer)
                self.assertIn(answer["why"], ("broken", "unsupported"))

    def test_attributes(self):
        many = t.xattrs(**{"user__%d" % i: "x" * 60_000 for i in range(16)})
        for layer in (many, t.xattrs(**{"user__%d" % i: "" for i in range(5000)})):
            self.fresh()
            answer = w.unpack(PROGRAM, self.target, t.gzip_of(t.tar(layer, t.entry("f"))))
            # ext4 says that there is no space for what an inode can't hold.
            self.assertIn(answer["why"], ("unsupported", "no space"))

    def test_a_file_larger_than_its_limit_is_not_made(self):
        # The size alone: nothing is read of it.
        self.assert_fails("limit", t.header("f", size=1 << 33) + bytes(4 * MIB), limits=(2 * MIB, 0, 0))

    def test_the_memory_of_real_layers_is_bounded(self):
        data = os.urandom(MIB)
        entries = [t.pax(("path", "d%d/%s" % (i % 50, "n" * 200 + str(i)))) + t.entry("f", data[i:i + 1000])
                   for i in range(1000)]
        tar = t.tar(*entries, t.entry("big", data * 20))
        for layer in (t.gzip_of(tar), t.zstd_of(tar), tar):
            self.fresh()
            u = self.spawn(layer)
            self.assertEqual(u.hear()["kind"], w.EXTRACTED)
            self.assertLess(parts.peak_memory_mb(u.pid), 24)
            u.finish([])
            self.assertEqual(u.hear()["kind"], w.DONE)


class Streams(Case):
    def test_byte_by_byte(self):
        layer = t.gzip_of(t.tar(t.entry("f", b"data" * 500), t.symlink("l", "f")))
        u = self.spawn()
        with os.fdopen(u.pipe, "wb", buffering=0) as pipe:
            u.pipe = None
            for i, byte in enumerate(layer):
                pipe.write(bytes([byte]))
                if i % 20 == 0:  # so that it is read before the next comes
                    time.sleep(0.001)
        self.assertEqual(u.hear()["entries"], 2)

    def test_it_waits_for_a_stream_that_is_stuck_and_goes_with_its_parent(self):
        for layer in (b"", t.entry("f", b"x")[:700], t.gzip_of(t.tar(t.entry("f", b"x")))[:50]):
            with self.subTest(len(layer)):
                self.fresh()
                u = self.spawn()
                os.write(u.pipe, layer)
                self.until_confined(u)
                self.assertFalse(w.wait_for_exit(u.pid, 0.2))
                u.close()  # as the kernel does when teelaunchd ends
                self.assertTrue(w.wait_for_exit(u.pid, 20))
                self.assertGreater(u.wait(), 0)

    def test_it_ends_when_nobody_says_finish(self):
        u = self.spawn(t.gzip_of(t.tar(t.entry("f", b"x"))))
        self.assertEqual(u.hear()["kind"], w.EXTRACTED)
        self.assertFalse(w.wait_for_exit(u.pid, 0.2))
        u.close()
        self.assertTrue(w.wait_for_exit(u.pid, 20))
        self.assertGreater(u.wait(), 0)

    def test_its_death_is_seen_on_both_ways(self):
        u = self.spawn()
        os.write(u.pipe, t.header("f", size=1 << 30))
        self.until_confined(u)
        os.kill(u.pid, signal.SIGKILL)
        self.assertIsNone(u.hear())
        self.assertTrue(w.wait_for_exit(u.pid, 20))
        with self.assertRaises(BrokenPipeError):
            os.write(u.pipe, bytes(512))
        self.assertEqual(u.wait(), -signal.SIGKILL)

    def test_no_space_is_said(self):
        small = os.path.join(self.top, "small")
        os.mkdir(small)
        parts.run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small)
        self.addCleanup(parts.run, "umount", small)
        answer = w.unpack(PROGRAM, small, t.gzip_of(t.tar(t.entry("f", bytes(3 * MIB)))))
        self.assertEqual((answer["why"], answer["errno"]), ("no space", errno.ENOSPC))


class Messages(Case):
    def assert_protocol(self, u):
        answer = u.hear()
        self.assertEqual((answer or {}).get("why"), "protocol", answer)
        self.assertGreater(u.wait(), 0)

    def test_what_should_be_start_and_is_not(self):
        folder = os.open(self.target, os.O_RDONLY | os.O_DIRECTORY)
        self.addCleanup(os.close, folder)
        body = struct.pack("=QQQ", 0, 0, 0)
        for what in ((w.FINISH, b"", [folder]), (w.START, body, []), (w.START, body, [folder] * 2),
                     (w.START, body[:-1], [folder]), (w.START, body + b"x", [folder]),
                     (w.START, b"", [folder]), (w.START, bytes(60_000), [folder]), (99, body, [folder]),
                     (w.START, body, [folder] * 200)):
            with self.subTest((what[0], len(what[1]), len(what[2]))):
                u = self.spawn(start=False)
                u.say(*what)
                self.assert_protocol(u)
        u = self.spawn(start=False)
        u.say(w.START, body, [folder], version=2)
        self.assert_protocol(u)

    def test_a_target_that_is_no_folder(self):
        path = os.path.join(self.top, "file")
        parts.write(path, "x")
        fd = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, fd)
        u = self.spawn(start=False)
        u.say(w.START, struct.pack("=QQQ", 0, 0, 0), [fd])
        self.assertEqual(u.hear()["kind"], w.FAILED)
        self.assertGreater(u.wait(), 0)

    def test_nobody_speaks(self):
        u = self.spawn(start=False)
        u.control.shutdown(socket.SHUT_WR)
        self.assert_protocol(u)

    def test_what_should_be_finish_and_is_not(self):
        for body, fds in ((b"x", 0), (b"", 200), (bytes(100), 1)):
            self.fresh()
            u = self.spawn(t.tar(t.entry("d/f")))
            self.assertEqual(u.hear()["implicit_dirs"], 1)
            u.say(w.FINISH, body, [u.control.fileno()] * fds)
            self.assert_protocol(u)

    def test_a_lower_layer_that_is_no_folder(self):
        u = self.spawn(t.tar(t.entry("d/f")))
        self.assertEqual(u.hear()["kind"], w.EXTRACTED)
        u.say(w.FINISH, fds=[u.control.fileno()])
        self.assertEqual(u.hear()["kind"], w.FAILED)
        self.assertGreater(u.wait(), 0)

    def test_as_many_lower_layers_as_there_may_be(self):
        lowers = []
        for i in range(127):
            lowers.append(os.path.join(self.top, "l%d" % i))
            os.makedirs(lowers[-1] + ("/d" if i == 126 else ""))
        os.chmod(lowers[-1] + "/d", 0o711)
        answer = w.unpack(PROGRAM, self.target, t.tar(t.entry("d/f")), lowers)
        self.assertEqual(answer["kind"], w.EXTRACTED)
        self.assertEqual(os.stat(self.target + "/d").st_mode, 0o40711)


# What a taken-over process could still call, with arguments all 0; on x86-64.
ALLOWED = {
    "read": 0, "write": 1, "close": 3, "fstat": 5, "mmap": 9, "munmap": 11, "brk": 12, "mremap": 25,
    "madvise": 28, "fchdir": 81, "fchmod": 91, "fchown": 93, "fsetxattr": 190, "lsetxattr": 189,
    "fgetxattr": 193, "flistxattr": 196, "restart_syscall": 219, "exit_group": 231, "openat": 257,
    "mkdirat": 258, "fchownat": 260, "newfstatat": 262, "unlinkat": 263, "linkat": 265, "symlinkat": 266,
    "readlinkat": 267, "fchmodat": 268, "utimensat": 280, "openat2": 437}
# With arguments that are not: (number, arguments, whether it is allowed).
ARGUMENTS = [
    (0, (3, 0, 0), False), (0, (4, 0, 0), False),                     # read() of anything but the layer
    (47, (3, 0, 0), True), (47, (0, 0, 0), False),                    # recvmsg()
    (44, (3, 0, 0), True), (44, (1, 0, 0), False),                    # sendto()
    (9, (0, 4096, 4, 0x22), False), (9, (0, 4096, 7, 0x22), False),   # mmap() of what could be executed
    (9, (0, 4096, 3, 0x22), True),
    (259, (4, 0, 0o100644), False), (259, (4, 0, 0o140644), False),   # mknodat() of files and sockets
    (259, (4, 0, 0o20000), True), (259, (4, 0, 0o60000), True), (259, (4, 0, 0o10000), True),
    (263, (4, 0, 0x200), False), (265, (4, 0, 4, 0, 0x1000), False),  # AT_REMOVEDIR, AT_EMPTY_PATH
    (265, (4, 0, 4, 0, 0x400), False),                                # AT_SYMLINK_FOLLOW
    (72, (0, 1030), True), (72, (0, 1), False), (72, (0, 4), False),  # fcntl(): F_DUPFD_CLOEXEC alone
    (72, (0, 0), False),
]
LAST_CALL = 470
# uretprobe() and uprobe(): a kernel that has them asks no filter. Whoever was not sent there by the
# kernel itself gets SIGILL from the one and an error from the other.
UPROBES = {335: -signal.SIGILL, 336: 42}
X32 = 0x40000000
# linux/capability.h: chown, dac_override, fowner, fsetid, sys_admin, mknod, setfcap
CAPABILITIES = sum(1 << n for n in (0, 1, 3, 4, 21, 27, 31))


class Confined(Case):
    def test_what_the_kernel_says_of_it(self):
        u = self.spawn()
        self.until_confined(u)
        s = self.status(u)
        self.assertEqual((s["NoNewPrivs"], s["Seccomp"], s["Threads"]), ("1", "2", "1"))
        self.assertEqual([int(s[c], 16) for c in ("CapEff", "CapPrm", "CapInh", "CapAmb")],
                         [CAPABILITIES, CAPABILITIES, 0, 0])
        proc = "/proc/%d/" % u.pid
        for link in ("root", "cwd", "fd/4"):
            self.assertTrue(os.path.samefile(proc + link, self.target), link)
        with open(proc + "environ", "rb") as f:
            self.assertEqual(f.read(), b"")
        with open(proc + "cmdline", "rb") as f:
            self.assertEqual(f.read(), PROGRAM.encode() + b"\0")
        limits = {line[:26].strip(): line[26:].split()[:2] for line in parts.read(proc + "limits").splitlines()}
        for name in ("Max processes", "Max core file size", "Max locked memory"):
            self.assertEqual(limits[name], ["0", "0"], name)

    def test_its_descriptors(self):
        u = self.spawn()
        self.until_confined(u)
        where = "/proc/%d/fd/" % u.pid
        found = {int(fd): os.readlink(where + fd) for fd in os.listdir(where)}
        self.assertEqual(set(found), {0, 1, 2, 3, 4})
        self.assertEqual((found[1], found[2]), ("/dev/null", "/dev/null"))
        self.assertTrue(found[0].startswith("pipe:") and found[3].startswith("socket:"), found)

    def test_nothing_big_is_mapped(self):
        u = self.spawn()
        self.until_confined(u)
        mapped = {line.split()[-1] for line in parts.read("/proc/%d/maps" % u.pid).splitlines()
                  if "/" in line}
        names = {os.path.basename(path).split(".so")[0] for path in mapped}
        for one in ("libcurl", "libgrpc", "libxml2", "libicudata", "libcrypto", "libssl"):
            self.assertNotIn(one, names)

    def probe(self, *arguments, verb="call", directory=None):
        """How a process that does this in the room ends: room_probe.c. Zeros on its standard input;
        `directory` is sent as that of a lower layer."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control = fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD_CLOEXEC, 100)
        with ours, theirs:
            pid = os.posix_spawn(PROBE, [PROBE, self.target, verb, *map(str, arguments)], {}, file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/zero", os.O_RDWR, 0),
                (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, 1, 2), (os.POSIX_SPAWN_DUP2, control, w.CONTROL_FD)])
            os.close(control)
            if directory is not None:
                socket.send_fds(ours, [struct.pack("=II", w.VERSION, w.FINISH)], [directory])
            return self.end_of(pid)

    @staticmethod
    def end_of(pid):
        if not w.wait_for_exit(pid, 20):
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def test_every_call_but_a_few_ends_it(self):
        survived = {n for n in range(LAST_CALL) if self.probe(n) != -signal.SIGSYS} - set(UPROBES)
        self.assertEqual(survived - set(ALLOWED.values()), set())
        for number, signalled in UPROBES.items():
            self.assertIn(self.probe(number), (-signal.SIGSYS, signalled))
        # And those are let through; exit_group() ends with its own code.
        for name, number in ALLOWED.items():
            self.assertEqual(self.probe(number), 0 if name == "exit_group" else 42, name)

    def test_arguments_count(self):
        for number, arguments, is_allowed in ARGUMENTS:
            with self.subTest((number, arguments)):
                self.assertEqual(self.probe(number, *arguments), 42 if is_allowed else -signal.SIGSYS)

    def test_the_calls_of_other_architectures_end_it(self):
        for number in (0, 1, 59, 257, 520):
            self.assertEqual(self.probe(X32 + number), -signal.SIGSYS)

    def test_a_lower_layers_directory_leads_nowhere_and_stays_as_it_is(self):
        lower = os.path.join(self.top, "a", "b", "c")
        os.makedirs(lower)
        plain, view = os.open(lower, os.O_RDONLY | os.O_DIRECTORY), w.view_of(lower)
        self.addCleanup(os.close, plain)
        self.addCleanup(os.close, view)
        for verb in ("up", "write"):
            self.assertEqual(self.probe(verb=verb, directory=view), 44, verb)
            # A plain descriptor leads out of the root, and can be written to.
            self.assertEqual(self.probe(verb=verb, directory=plain), 42, verb)

    def test_no_device_can_be_opened(self):
        self.assertEqual(self.probe(1, 5, verb="device"), 44)  # /dev/zero's numbers, which all may open

    def test_this_test_notices(self):
        self.assertEqual(self.probe("x"), 43)
        self.assertEqual(self.probe(ALLOWED["fstat"]), 42)


if __name__ == "__main__":
    PROBE = sys.argv.pop(1)
    with contextlib.suppress(KeyboardInterrupt):
        unittest.main(verbosity=2)
