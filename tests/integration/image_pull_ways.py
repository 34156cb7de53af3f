# SPDX-License-Identifier: Apache-2.0
"""Which way a layer goes, from the registry into a real containerd, and what becomes of it when that way fails.
Usage: image_pull_ways.py DRIVER PROGRAM"""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import image_pull as base  # noqa: E402
import image_world as w  # noqa: E402
import parts  # noqa: E402

setUpModule, tearDownModule = base.setUpModule, base.tearDownModule

# What comes instead of the program: it takes a layer of no compression, and ends as END says.
STAND_IN = """#!/usr/bin/python3 -IS
import hashlib, os, socket, struct, sys
control = socket.socket(fileno=3)
control.recv(4096)
data = sys.stdin.buffer.read()
diff_id = bytes(32) if "%(end)s" == "another" else hashlib.sha256(data).digest()
control.send(struct.pack("=II32sQQQ", 1, 2, diff_id, len(data), 1, 1))
head = control.recv(4096)
text = b"the stand-in says so" + b" and was given 77" * os.path.exists("/proc/self/fd/77")
control.send(struct.pack("=IIIi256s", 1, 3, %(why)d, 0, text))
"""


class Case(base.Case):
    def two(self, first=None, second=None, kinds=None):
        return self.put(w.Image([first or w.tar_of({"one": b"1"}), second or w.tar_of({"two": b"2"})], kinds))

    def ways(self, got):
        return [got["layer.%d" % i].split(" ", 4)[0] for i in range(int(got["layers"]))]

    def reason(self, got, layer):
        return got["layer.%d" % layer].split(" ", 4)[4]

    def stand_in(self, end, why=2):
        folder = tempfile.mkdtemp(prefix="stand-in-", dir=base.folder.name)
        path = os.path.join(folder, "program")
        with open(path, "w") as f:
            f.write(STAND_IN % {"end": end, "why": why})
        os.chmod(path, 0o755)
        return path

    def assert_files(self, **names):
        for name, text in names.items():
            path, = glob.glob(base.store.root + "/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/" + name)
            with open(path, "rb") as f:
                self.assertEqual(f.read(), text)

    def stalled(self, image, layer, act, *options):
        """Pull; act(pid of the unpacker) when half of that layer is there. (Exit code, values, text)"""
        digest = image.layers[layer]["digest"]
        body, reached = image.blobs[digest], threading.Event()
        self.release = threading.Event()
        base.fake.hooks.clear()

        def change(handler, before):
            if before:
                return False
            handler.reply(200, body[:len(body) // 2], length=len(body))
            handler.wfile.flush()
            reached.set()
            self.release.wait(30)
            try:
                handler.wfile.write(body[len(body) // 2:])
            except OSError:
                pass
            return True
        self.hook_blob(digest, change)
        with subprocess.Popen([base.DRIVER, "pull", *self.options("--stall-ms", "30000", *options), self.reference()],
                              stdout=subprocess.PIPE) as child:
            self.assertTrue(reached.wait(30))
            parts.wait_until(lambda: len(self.committed()) == layer and len(base.unpackers()) == 1,
                             "one unpacker is at work")
            act(int(base.unpackers()[0].split("/")[2]))
            self.release.set()
            text = child.communicate(timeout=60)[0].decode()
        return child.returncode, dict(line.split("=", 1) for line in text.splitlines() if "=" in line), text


class Ways(Case):
    def test_auto_is_the_own_way_where_it_is_sure(self):
        self.two()
        got = self.assert_pulls("--unpack", "auto")
        self.assertEqual((self.ways(got), got["own"]), (["own", "own"], "2"))
        self.assertGreater(int(got["unpacked_bytes"]), 2 * 1024)
        self.assertLessEqual(int(got["downloaded_at_ms"]), int(got["unpacked_at_ms"]))
        self.assertLessEqual(int(got["unpacked_at_ms"]), int(got["took_ms"]))

    def test_a_layer_that_it_is_not_sure_of_is_left_to_containerd_and_no_other(self):
        """At the bottom, a whiteout; above, a window that only containerd's reader takes."""
        image = self.two(w.tar_of({"one": b"1", ".wh.none": b""}))
        got = self.assert_pulls("--unpack", "auto")
        self.assertEqual((self.ways(got), got["own"], got["unpacked"]), (["containerd", "own"], "1", "2"))
        self.assertIn("whiteouts in a layer without a parent", self.reason(got, 0))
        self.assert_files(one=b"1", two=b"2")
        self.assertEqual(self.blobs(), {image.digest, image.config_digest, image.layers[0]["digest"]})
        self.assertEqual(base.store.leftovers(), [])
        wide = subprocess.run(["zstd", "-q", "-1", "--long=24", "-c"], stdout=subprocess.PIPE, check=True,
                              input=w.tar_of({"two": base.noise(18 * base.MIB, 1)}), timeout=60).stdout
        image = w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": base.noise(18 * base.MIB, 1)})], ["gzip", "tar"])
        image.blobs[w.digest_of(wide)] = wide
        image.layers[1].update(mediaType=w.OCI_LAYER + "+zstd", digest=w.digest_of(wide), size=len(wide))
        self.put(image.seal(), tag="wide")
        got = self.assert_pulls("--unpack", "auto", name="demo/image:wide")
        self.assertEqual(self.ways(got), ["own", "containerd"])
        self.assertIn("window", self.reason(got, 1))

    def test_own_means_own(self):
        self.two(w.tar_of({"one": b"1", ".wh.none": b""}))
        self.assert_fails("TL_E_UNPACK", "denied", "whiteouts")

    def test_what_is_stored_is_not_fetched_again(self):
        image = self.two()
        self.assert_pulls("--unpack", "containerd", "--boot-id", "first")
        got = self.assert_pulls("--unpack", "auto", "--boot-id", "second")
        self.assertEqual((self.ways(got), got["downloaded"]), (["containerd", "containerd"], "0"))
        self.assertIn("content store", self.reason(got, 0))
        got = self.assert_pulls("--unpack", "auto", "--boot-id", "second")
        self.assertEqual((self.ways(got), got["snapshots_reused"]), (["reused", "reused"], "2"))
        self.collect()
        self.assertEqual(self.blobs(), {image.digest, *image.blobs})

    def test_what_the_own_way_unpacked_is_used_by_containerds(self):
        image = self.two()
        self.assert_pulls()
        got = self.assert_pulls("--unpack", "containerd")
        self.assertEqual((self.ways(got), got["unpacked"]), (["reused", "reused"], "0"))
        self.collect()
        self.assertEqual(self.blobs(), {image.digest, *image.blobs})

    def test_a_container_runs_after_garbage_collection_though_no_layer_is_stored(self):
        def renew():
            """A shim that ended stays in the table of processes as long as its containerd."""
            base.store.stop()
            base.store = base.containerd.Containerd(base.folder.name + "/d", snapshotter="overlayfs", with_parent=True)
            base.store.start()
        self.addCleanup(renew)
        with open(shutil.which("busybox"), "rb") as f:
            self.two(w.tar_of({"busybox": f.read()}))
        self.assert_pulls()
        self.collect()
        self.assertEqual(len(self.committed()), 2)
        # Ends with the exit code of what ran.
        base.store.ctr("run", "--rm", "--net-host", "--null-io", self.reference(), "x", "/busybox", "grep", "-qx", "2",
                       "/two")

    def test_more_layers_than_wait_with_a_process(self):
        """Each has a directory that it doesn't name, and the lowest comes last."""
        tars = [w.tar_of({"d/f%d" % i: b"%d" % i}) for i in range(40)]
        image = self.put(w.Image(tars))
        most = []

        def change(handler, before):
            most.append(len(base.unpackers()))
            self.release.wait(1)
            return False
        self.hook_blob(image.layers[0]["digest"], change)
        watch = threading.Thread(target=lambda: [most.append(len(base.unpackers())) or self.release.wait(0.02)
                                                 for _ in range(100)])
        watch.start()
        got = self.assert_pulls("--downloads", "8")
        self.release.set()
        watch.join()
        self.assertEqual((set(self.ways(got)), got["unpacked"]), ({"own"}, "40"))
        self.assertLessEqual(max(most), 16 + 8)
        self.assertGreater(max(most), 8)


class Faults(Case):
    """The way fails: containerd's is taken, or the pull ends, and nothing is left either way."""

    def test_no_program(self):
        """TL_E_UNPACKER"""
        self.two()
        none = ("--unpack-program", "/nowhere/teelaunch-unpack")
        got = self.assert_pulls("--unpack", "auto", *none)
        self.assertEqual(self.ways(got), ["containerd", "containerd"])
        for i in range(2):
            self.assertIn("No such file or directory", self.reason(got, i))
        self.clean_up()
        self.assert_fails("TL_E_UNPACKER", "retry", "/nowhere/teelaunch-unpack", options=none)

    def test_a_program_that_says_nothing(self):
        self.two()
        for program, said in (("/bin/false", "exit code 1"), ("/bin/cat", "exit code 0")):
            got = self.assert_pulls("--unpack", "auto", "--unpack-program", program)
            self.assertEqual(self.ways(got), ["containerd", "containerd"])
            self.assertIn(said, self.reason(got, 0))
            self.clean_up()
            self.assert_fails("TL_E_UNPACKER", "retry", said, options=("--unpack-program", program))

    def test_unsure_at_the_end(self):
        self.two(kinds=["tar", "tar"])
        got = self.assert_pulls("--unpack", "auto", "--unpack-program", self.stand_in("finish"))
        self.assertEqual(self.ways(got), ["containerd", "containerd"])
        self.assertIn("the stand-in says so", self.reason(got, 1))
        self.assert_files(one=b"1", two=b"2")
        self.clean_up()
        self.assert_fails("TL_E_UNPACK", "denied", "the stand-in says so",
                          options=("--unpack-program", self.stand_in("finish")))

    def test_broken_at_the_end(self):
        self.two(kinds=["tar", "tar"])
        for way in "auto", "own":
            self.assert_fails("TL_E_DISK_SPACE", "denied", "the stand-in says so",
                              options=("--unpack", way, "--unpack-program", self.stand_in("finish", 3)))

    def test_another_diff_id(self):
        self.two(kinds=["tar", "tar"])
        self.assert_fails("TL_E_DIFF_ID", "fatal", "0" * 64,
                          options=("--unpack", "auto", "--unpack-program", self.stand_in("another")))

    def test_killed_in_mid_layer(self):
        image = self.two(second=w.tar_of({"two": base.noise(3 * base.MIB, 2)}))
        code, got, text = self.stalled(image, 1, lambda pid: os.kill(pid, signal.SIGKILL), "--unpack", "auto")
        self.assertEqual((code, self.ways(got)), (0, ["own", "containerd"]), text)
        self.assertIn("signal 9", self.reason(got, 1))
        self.clean_up()
        self.put(image)
        code, got, text = self.stalled(image, 1, lambda pid: os.kill(pid, signal.SIGSYS))
        self.assertEqual((code, got["code"]), (1, "TL_E_UNPACKER"), text)
        self.assertIn("signal 31", got["error"])

    def test_snapshots_that_cannot_be_written(self):
        self.two()
        for how, said in (("mount --bind %(root)s %(root)s && mount -o remount,bind,ro %(root)s", "Read-only"),
                          ("mount -t tmpfs none %(root)s", "No such file")):
            script = how % {"root": base.store.root + "/io.containerd.snapshotter.v1.overlayfs"}
            prefix = ("unshare", "--mount", "sh", "-ec", script + '; exec "$@"', "sh")
            got = self.assert_pulls("--unpack", "auto", prefix=prefix)
            self.assertEqual(self.ways(got), ["containerd", "containerd"])
            self.assertIn(said, self.reason(got, 0))
            self.clean_up()
            self.assert_fails("TL_E_UNPACKER", "retry", said, prefix=prefix)


class Process(Case):
    def look(self, pid):
        with open("/proc/%d/status" % pid) as f:
            self.status = dict(re.findall(r"(\w+):\s*(.*)", f.read()))
        self.fds = {int(fd): os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)}
        root = os.stat("/proc/%d/root/." % pid)
        self.is_in_scratch = any(os.path.samestat(root, os.stat(path)) for path in glob.glob(
            base.store.root + "/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs"))
        with open("/proc/%d/environ" % pid) as f:
            self.environ = f.read()
        with open("/proc/%d/cmdline" % pid) as f:
            self.cmdline = f.read()
        self.rdev = os.stat("/proc/%d/fd/1" % pid).st_rdev

    def test_s44_an_unpacker_has_its_own_descriptors_and_no_other(self):
        """Even the sockets of libcurl, which it opens without O_CLOEXEC."""
        image = self.two(second=w.tar_of({"two": base.noise(3 * base.MIB, 2)}))
        code, _, text = self.stalled(image, 1, self.look)
        self.assertEqual(code, 0, text)
        self.assertEqual(self.cmdline, "teelaunch-unpack\0")
        self.assertEqual(self.environ, "")
        self.assertTrue(self.fds[0].startswith("pipe:"), self.fds)
        self.assertTrue(self.fds[3].startswith("socket:"), self.fds)
        self.assertEqual(self.rdev, os.makedev(1, 3))
        # The rest lies in its root, a mount of its own of the scratch.
        self.assertTrue(self.is_in_scratch)
        self.assertLessEqual({name for fd, name in self.fds.items() if fd > 3}, {"/", "/two"})
        self.assertEqual((self.status["Seccomp"], self.status["NoNewPrivs"]), ("2", "1"))
        self.assertEqual(int(self.status["SigBlk"], 16), 0)

    def test_s44_no_unpacker_is_started_with_what_is_open_here(self):
        """The program closes what it doesn't need, too: this one doesn't."""
        self.two(kinds=["tar", "tar"])
        has_77 = ["/bin/bash", "-c", 'exec 77</dev/null; exec "$@"', "x"]
        subprocess.run([*has_77, "test", "-e", "/proc/self/fd/77"], check=True)
        _, got, text = self.pull("--unpack", "auto", "--unpack-program", self.stand_in("finish"), prefix=has_77)
        self.assertIn("the stand-in says so", self.reason(got, 1), text)
        self.assertNotIn("77", self.reason(got, 1), text)


if __name__ == "__main__":
    base.DRIVER, base.WAY, base.PROGRAM = sys.argv.pop(1), "own", sys.argv.pop(1)
    unittest.main()
