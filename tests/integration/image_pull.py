# SPDX-License-Identifier: Apache-2.0
"""Pulling into a real containerd, from a real registry and from one that misbehaves on order.
Usage: image_pull.py DRIVER [WAY PROGRAM]: the way of --unpack ("containerd" if none is named), and what
it unpacks with."""

import glob
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import containerd  # noqa: E402
import image_world as w  # noqa: E402
import parts  # noqa: E402
import registry as real  # noqa: E402

DRIVER = None
WAY, PROGRAM = "containerd", None
MIB = 1 << 20
AMD64 = {"os": "linux", "architecture": "amd64"}

# 8 layers of 25 MB must not need more memory than one of 1 MB, but for what threads and TLS take.
PEAK_MAX_KB = 48 * 1024
PEAK_GROWTH_MAX_KB = 16 * 1024


def noise(size, seed):
    return random.Random(seed).randbytes(size)


def way():
    return ["--unpack", WAY, *(["--unpack-program", PROGRAM] if PROGRAM else [])]


def unpackers():
    """Processes that run PROGRAM."""
    out = []
    for exe in glob.glob("/proc/[0-9]*/exe"):
        try:
            if os.readlink(exe) == PROGRAM:
                out.append(exe)
        except OSError:
            pass
    return out


def setUpModule():
    global folder, store, ca, fake
    folder = tempfile.TemporaryDirectory(prefix="tlp-")
    ca = w.Authority(folder.name + "/ca")
    fake = w.Registry(*ca.issue("127.0.0.1"))
    store = containerd.Containerd(folder.name + "/c", snapshotter="overlayfs", with_parent=True)
    store.start()


def tearDownModule():
    fake.close()
    store.stop()
    folder.cleanup()


class Case(unittest.TestCase):
    def setUp(self):
        fake.reset()
        self.release = threading.Event()
        self.addCleanup(self.clean_up)

    def clean_up(self):
        self.release.set()
        for name in store.ctr("images", "list", "-q").split():
            store.ctr("images", "rm", "--sync", name)
        self.assert_clean()

    # What containerd holds.

    def blobs(self):
        return set(store.ctr("content", "list", "-q").split())

    def kept(self, image):
        """What of it garbage collection keeps in the content store."""
        layers = {layer["digest"] for layer in image.layers} if WAY == "own" else set()
        return {image.digest, *image.blobs} - layers

    def committed(self):
        return [name for name, kind in self.snapshots().items() if kind == "Committed"]

    def snapshots(self):
        rows = [x.split() for x in store.ctr("snapshots", "list").splitlines()[1:]]
        return {row[0]: row[-1] for row in rows}

    def collect(self):
        """Make containerd collect garbage now."""
        store.ctr("leases", "create", "--id", "collect")
        store.ctr("leases", "rm", "--sync", "collect")

    def assert_clean(self):
        self.assertEqual(unpackers(), [])
        self.assertEqual(store.leftovers(), [])
        self.assertEqual(store.ctr("content", "active").splitlines()[1:], [])
        self.assertEqual((self.blobs(), self.snapshots()), (set(), {}))

    # Doing.

    def put(self, image, name="demo/image", tag="1"):
        fake.put(name, tag, image)
        return image

    def options(self, *more):
        return ["--registry-roots", "127.0.0.1:%d=%s" % (fake.port, ca.pem), "--containerd",
                store.socket, "--content-dir", store.root, *way(), *more]

    def reference(self, name="demo/image:1"):
        return "127.0.0.1:%d/%s" % (fake.port, name)

    def pull(self, *more, name="demo/image:1", prefix=()):
        ok, got, text = w.drive(DRIVER, "pull", self.reference(name), *self.options(*more),
                                prefix=prefix)
        self.assertNotIn("progress_fault", got)
        return ok, got, text

    def assert_pulls(self, *more, **kwargs):
        ok, got, text = self.pull(*more, **kwargs)
        self.assertTrue(ok, text)
        return got

    def assert_fails(self, code, klass, *words, options=(), **kwargs):
        ok, got, text = self.pull(*options, **kwargs)
        self.assertFalse(ok, text)
        self.assertEqual((got["code"], got["class"]), (code, klass), text)
        for word in words:
            self.assertIn(word, got["error"])
        self.assertEqual(store.ctr("images", "list", "-q").split(), [])
        self.assert_clean()
        return got

    def hook_blob(self, digest, change):
        """`change(handler, number of earlier requests)` may answer requests for this blob."""
        seen = []

        def hook(handler):
            if not handler.path.endswith("/blobs/" + digest):
                return False
            seen.append(handler.headers.get("Range"))
            return bool(change(handler, len(seen) - 1))
        fake.hooks.append(hook)
        return seen

    def cut(self, body, at):
        """An answer that breaks off after `at` bytes."""
        def change(handler, before):
            if before:
                return False
            handler.reply(200, body[:at], length=len(body))
            handler.hang_up()
            return True
        return change


class Good(Case):
    def test_every_kind_of_layer_ends_as_files(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": b"2"}),
                                  w.tar_of({"three": b"3"})], ["gzip", "zstd", "tar"]))
        got = self.assert_pulls()
        self.assertEqual((got["fetched"], got["unpacked"]), ("3", "3"))
        self.assertEqual(int(got["downloaded"]), int(got["layers_bytes"]))
        self.assertEqual(got["progress"], "3/3/3 %s/%s" % (got["layers_bytes"],
                                                          got["layers_bytes"]))
        self.assertEqual(self.snapshots()[image.chain_id()], "Committed")
        for name, text in (("one", b"1"), ("two", b"2"), ("three", b"3")):
            path, = glob.glob(store.root + "/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs/"
                              + name)
            with open(path, "rb") as f:
                self.assertEqual(f.read(), text)
        # For containerd an image without the blobs of its layers isn't complete.
        self.assertEqual(store.ctr("images", "check", "-q").split(),
                         [] if WAY == "own" else [self.reference()])
        for i in range(3):
            self.assertEqual(got["layer.%d" % i].split()[0], WAY)

    def test_garbage_collection_keeps_exactly_what_is_needed(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": b"2"})]))
        self.assert_pulls()
        self.assertEqual(store.leftovers(), [])
        self.collect()
        self.assertEqual(self.blobs(), self.kept(image))
        self.assertEqual(len(self.snapshots()), 2)
        # clean_up() removes the image and finds nothing left.

    def test_an_index_is_what_the_image_points_at(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"})]))
        arm = self.put(w.Image([w.tar_of({"one": b"arm"})], architecture="arm64"), tag="x")
        index = w.index_of((arm, {"os": "linux", "architecture": "arm64"}), (image, AMD64))
        fake.put_index("demo/image", "2", index)
        self.assert_pulls("--architecture", "amd64", name="demo/image:2")
        self.assertIn(w.digest_of(index), store.ctr("images", "list"))
        self.collect()
        self.assertEqual(self.blobs(), {w.digest_of(index), *self.kept(image)})

    def test_what_is_there_is_not_fetched_again(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": b"2"})]))
        self.assert_pulls()
        before = len(fake.seen())
        got = self.assert_pulls()
        self.assertEqual((got["downloaded"], got["snapshots_reused"]), ("0", "2"))
        self.assertEqual(got["reused"], got["layers_bytes"])
        self.assertEqual([p for _, p, _, _ in fake.seen()[before:]],
                         ["/v2/demo/image/manifests/1",
                          "/v2/demo/image/blobs/" + image.config_digest])
        self.assertEqual(store.leftovers(), [])

    def test_what_an_earlier_boot_unpacked_is_unpacked_anew(self):
        base = w.tar_of({"base": b"base"})
        self.put(w.Image([base, w.tar_of({"one": b"1"})]))
        self.put(w.Image([base, w.tar_of({"two": b"2"})]), "demo/other")
        self.assert_pulls("--boot-id", "first")
        self.assert_pulls("--boot-id", "first", name="demo/other:1")
        got = self.assert_pulls("--boot-id", "second")
        self.assertEqual((got["snapshots_reused"], got["unpacked"]), ("0", "2"))
        self.assertEqual(got["downloaded"], got["layers_bytes"] if WAY == "own" else "0")
        self.assertEqual(len(self.committed()), 2)
        got = self.assert_pulls("--boot-id", "second")
        self.assertEqual((got["snapshots_reused"], got["unpacked"]), ("2", "0"))
        got = self.assert_pulls("--boot-id", "second", name="demo/other:1")
        self.assertEqual((got["snapshots_reused"], got["unpacked"]), ("1", "1"))

    def test_what_an_earlier_boot_unpacked_and_something_uses_is_said(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"})]))
        self.assert_pulls("--boot-id", "first")
        store.ctr("snapshots", "prepare", "container", image.chain_id())
        ok, got, text = self.pull("--boot-id", "second")
        store.ctr("snapshots", "rm", "container")
        self.assertFalse(ok, text)
        self.assertEqual((got["code"], got["class"]), ("TL_E_CONTAINER_LEFTOVER", "retry"))
        self.assertIn("'container'", got["error"])
        self.assert_pulls("--boot-id", "second")

    def test_layers_of_another_image_are_shared(self):
        base = w.tar_of({"base": b"base"})
        self.put(w.Image([base, w.tar_of({"one": b"1"})]))
        other = self.put(w.Image([base, w.tar_of({"two": b"2"})]), "demo/other")
        self.assert_pulls()
        got = self.assert_pulls(name="demo/other:1")
        self.assertEqual(int(got["reused"]), other.layers[0]["size"])
        self.assertEqual((got["snapshots_reused"], got["unpacked"]), ("1", "1"))

    def test_the_same_layer_twice(self):
        tar = w.tar_of({"one": b"1"})
        self.put(w.Image([tar, w.tar_of({"two": b"2"}), tar]))
        got = self.assert_pulls()
        self.assertEqual((got["layers"], got["fetched"], got["unpacked"]), ("3", "2", "3"))
        self.assertEqual(len(self.committed()), 3)

    def test_what_a_killed_pull_left_is_dropped_by_the_next(self):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": noise(3 * MIB, 1)})]))
        body = image.blobs[image.layers[1]["digest"]]
        reached = threading.Event()

        def stall(handler, before):
            if before:
                return False
            handler.reply(200, body[:2 * MIB], length=len(body))
            handler.wfile.flush()
            reached.set()
            self.release.wait(30)
            return True
        self.hook_blob(image.layers[1]["digest"], stall)
        with subprocess.Popen([DRIVER, "pull", *self.options("--stall-ms", "30000"),
                               self.reference()], stdout=subprocess.DEVNULL) as child:
            self.assertTrue(reached.wait(30))
            parts.wait_until(lambda: self.committed() == [image.diff_ids[0]],
                             "the first layer is unpacked")
            child.kill()
        self.assertNotEqual(store.ctr("leases", "list", "-q").split(), [])
        # The second one's scratch, or its ingest.
        self.assertEqual(len(self.snapshots()), 2 if WAY == "own" else 1)
        self.assertEqual(len(store.ctr("content", "active").splitlines()[1:]), WAY != "own")
        parts.wait_until(lambda: unpackers() == [], "the unpackers end with their launcher")
        self.assert_pulls()
        self.assertEqual(store.leftovers(), [])
        self.assertEqual(store.ctr("content", "active").splitlines()[1:], [])


class Broken(Case):
    """Layers that aren't what they should be: nothing is left of them."""

    def image(self, index=1):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": noise(100000, 2)}),
                                  w.tar_of({"three": b"3"})]))
        return image, image.layers[index]["digest"]

    def test_a_layer_with_the_wrong_digest(self):
        _, digest = self.image()
        body = bytearray(fake.blobs[digest])
        body[5000] ^= 1
        fake.blobs[digest] = bytes(body)
        self.assert_fails("TL_E_LAYER_DIGEST", "fatal", digest)

    def test_a_truncated_layer(self):
        _, digest = self.image()
        fake.blobs[digest] = fake.blobs[digest][:-7]
        self.assert_fails("TL_E_LAYER_SIZE", "fatal", digest, "7 bytes before")

    def test_a_layer_that_is_too_long(self):
        _, digest = self.image()
        fake.blobs[digest] += b"x"
        self.assert_fails("TL_E_LAYER_SIZE", "fatal", digest, "more bytes")

    def test_a_layer_that_unpacks_to_something_else(self):
        image, _ = self.image()
        image.config["rootfs"]["diff_ids"][1] = "sha256:" + "0" * 64
        self.put(image.seal())
        self.assert_fails("TL_E_DIFF_ID", "fatal", image.layers[1]["digest"], "sha256:0000")

    def test_layers_that_cannot_be_unpacked(self):
        for kind, body in (("gzip", b"\x1f\x8b" + b"no gzip at all" * 9), ("gzip", b"plain"),
                           ("tar", b"x" * 2048), ("zstd", b"\x28\xb5\x2f\xfd" + b"x" * 100)):
            with self.subTest(kind=kind, body=body[:6]):
                image, _ = self.image()
                media_type = w.OCI_LAYER + ("" if kind == "tar" else "+" + kind)
                image.layers[1] = {"mediaType": media_type, "digest": w.digest_of(body),
                                   "size": len(body)}
                image.blobs[w.digest_of(body)] = body
                self.put(image.seal())
                ok, got, text = self.pull()
                self.assertFalse(ok, text)
                self.assertIn((got["code"], got["class"]),
                              (("TL_E_UNPACK", "denied"), ("TL_E_DIFF_ID", "fatal")), text)
                self.assert_clean()

    def test_refusals_of_a_layer_end_at_once(self):
        for status, code in ((403, "TL_E_REGISTRY_DENIED"), (404, "TL_E_IMAGE_NOT_FOUND"),
                             (401, "TL_E_REGISTRY_DENIED")):
            with self.subTest(status=status):
                fake.reset()
                _, digest = self.image()
                seen = self.hook_blob(digest, lambda h, before, s=status: h.reply(s) or True)
                self.assert_fails(code, "denied", digest, "HTTP %d" % status)
                self.assertEqual(len(seen), 1)

    def test_failures_of_a_layer_are_retried_and_then_given_up(self):
        for status, code in ((500, "TL_E_REGISTRY_SERVER"), (429, "TL_E_REGISTRY_BUSY")):
            with self.subTest(status=status):
                fake.reset()
                _, digest = self.image()
                seen = self.hook_blob(digest, lambda h, before, s=status: h.reply(s) or True)
                got = self.assert_fails(code, "retry", "6 attempts")
                self.assertEqual((len(seen), got["retries"]), (6, "5"))

    def test_no_room_for_the_layers_is_said_before_the_first(self):
        image, _ = self.image()
        small = folder.name + "/small"
        os.makedirs(small, exist_ok=True)
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"', small]
        needed = sum(x["size"] for x in image.layers)
        self.assert_fails("TL_E_DISK_SPACE", "denied", str(needed), "65536", prefix=prefix,
                          options=("--content-dir", small))
        self.assertEqual(sum(fake.count(x["digest"]) for x in image.layers), 0)

    def test_a_disk_that_gets_full_in_mid_pull_ends_it(self):
        self.image()
        small = folder.name + "/reserve"
        os.makedirs(small, exist_ok=True)
        prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                  'mount -t tmpfs -o size=63m tmpfs "$0" && exec "$@"', small]
        self.assert_fails("TL_E_DISK_SPACE", "denied", "have to stay", str(64 << 20),
                          prefix=prefix, options=("--content-dir", small))


class Interrupted(Case):
    def image(self):
        image = self.put(w.Image([w.tar_of({"big": noise(4 * MIB, 3)}),
                                  w.tar_of({"one": b"1"})]))
        digest = image.layers[0]["digest"]
        return image, digest, image.blobs[digest]

    def test_a_reset_in_mid_layer_is_resumed_where_it_broke(self):
        _, digest, body = self.image()
        seen = self.hook_blob(digest, self.cut(body, 3 * MIB + 77))
        got = self.assert_pulls()
        self.assertEqual(len(seen), 2)
        self.assertIsNone(seen[0])
        offset = int(seen[1][len("bytes="):-1])
        self.assertEqual(offset, 3 * MIB + 77)
        self.assertEqual(got["retries"], "1")

    def test_a_server_that_ignores_ranges_is_read_from_the_start(self):
        _, digest, body = self.image()
        cut = self.cut(body, 3 * MIB)
        seen = self.hook_blob(digest, lambda h, before: cut(h, before) or
                              h.reply(200, body) or True)
        self.assert_pulls()
        self.assertEqual(len(seen), 2)

    def test_resumed_bytes_of_another_file_are_found_out(self):
        _, digest, body = self.image()
        cut = self.cut(body, 3 * MIB)

        def change(handler, before):
            if cut(handler, before):
                return True
            start = int(handler.headers["Range"][len("bytes="):-1])
            handler.reply(206, noise(len(body) - start, 9), {
                "Content-Range": "bytes %d-%d/%d" % (start, len(body) - 1, len(body))})
            return True
        self.hook_blob(digest, change)
        self.assert_fails("TL_E_LAYER_DIGEST", "fatal", digest)

    def test_many_resets_with_progress_are_survived(self):
        _, digest, body = self.image()

        def change(handler, before):
            start = int((handler.headers.get("Range") or "bytes=0-")[len("bytes="):-1])
            if len(body) - start <= MIB + MIB // 2:
                return False
            handler.reply(206 if start else 200, body[start:start + MIB + MIB // 2],
                          length=len(body) - start)
            handler.hang_up()
            return True
        seen = self.hook_blob(digest, change)
        got = self.assert_pulls()
        self.assertEqual((len(seen), int(got["downloaded"])), (3, int(got["layers_bytes"])))

    def test_a_server_that_hangs_in_mid_layer(self):
        _, digest, body = self.image()

        def change(handler, before):
            handler.reply(200, body[:MIB] if not before else b"", length=len(body))
            handler.wfile.flush()
            self.release.wait(30)
            return True
        self.hook_blob(digest, change)
        began = time.monotonic()
        self.assert_fails("TL_E_NET_TIMEOUT", "retry", digest, "attempts",
                          options=("--stall-ms", "200"))
        self.assertLess(time.monotonic() - began, 20)

    def test_the_time_budget_ends_a_pull_that_crawls(self):
        _, digest, body = self.image()

        def change(handler, before):
            handler.reply(200, b"", length=len(body))
            while not self.release.wait(0.05):
                handler.wfile.write(b"x")
                handler.wfile.flush()
            return True
        self.hook_blob(digest, change)
        began = time.monotonic()
        self.assert_fails("TL_E_PULL_DEADLINE", "retry", options=("--pull-ms", "1500"))
        self.assertLess(time.monotonic() - began, 20)

    def test_cancelling_ends_it_soon_and_undoes_it(self):
        image, digest, body = self.image()

        def change(handler, before):
            handler.reply(200, body[:3 * MIB], length=len(body))
            handler.wfile.flush()
            self.release.wait(30)
            return True
        self.hook_blob(digest, change)
        began = time.monotonic()
        self.assert_fails("TL_E_INTERRUPTED", "retry",
                          options=("--cancel-at-bytes", str(MIB), "--stall-ms", "30000"))
        self.assertLess(time.monotonic() - began, 20)


class Containerd(Case):
    """containerd ends in the middle and comes back."""

    def pull_over(self, stop, restart=True, layer=1):
        image = self.put(w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": noise(3 * MIB, 4)})]))
        digest = image.layers[layer]["digest"]
        body = image.blobs[digest]
        reached = threading.Event()

        def change(handler, before):
            handler.reply(200, body[:2 * MIB], length=len(body))
            handler.wfile.flush()
            reached.set()
            self.release.wait(60)
            handler.wfile.write(body[2 * MIB:])
            return True
        self.hook_blob(digest, change)
        with subprocess.Popen([DRIVER, "pull", *self.options("--stall-ms", "30000"),
                               self.reference()], stdout=subprocess.PIPE) as child:
            self.assertTrue(reached.wait(30))
            parts.wait_until(lambda: len(self.committed()) == 1, "the first layer is unpacked")
            store.process.stop(number=stop)
            self.release.set()
            if restart:
                time.sleep(0.5)
                store.launch()
            text = child.communicate(timeout=60)[0].decode()
        if not restart:
            store.launch()
        got = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        self.assertEqual(child.returncode, 1, text)
        self.assertEqual(got["class"], "retry", text)
        self.assertIn("TL_E_CONTAINERD_", got["code"])
        return got

    def test_killed_and_restarted_nothing_is_left(self):
        self.pull_over(signal.SIGKILL)
        self.assert_clean()

    def test_stopped_and_restarted_nothing_is_left(self):
        self.pull_over(signal.SIGTERM)
        self.assert_clean()

    def test_gone_for_good_is_said_in_bounded_time_and_cleared_by_the_next_pull(self):
        began = time.monotonic()
        self.pull_over(signal.SIGKILL, restart=False)
        self.assertLess(time.monotonic() - began, 30)
        fake.hooks.clear()
        self.assert_pulls()
        self.assertEqual(store.leftovers(), [])


class Real(Case):
    """docker-registry, images by skopeo."""

    def setUp(self):
        super().setUp()
        where = tempfile.mkdtemp(prefix="r", dir=folder.name)
        self.registry = real.Registry(where, with_parent=True)
        self.registry.start()
        self.addCleanup(self.registry.stop)

    def push(self, image, name, *options):
        layout = tempfile.mkdtemp(prefix="l", dir=folder.name)
        os.makedirs(layout + "/blobs/sha256")
        for data in [image.manifest, *image.blobs.values()]:
            with open(layout + "/blobs/sha256/" + w.digest_of(data)[7:], "wb") as f:
                f.write(data)
        with open(layout + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')
        with open(layout + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": [
                {"mediaType": w.OCI_MANIFEST, "digest": image.digest, "size": len(image.manifest),
                 "annotations": {"org.opencontainers.image.ref.name": "x"}}]}, f)
        parts.run("skopeo", "--insecure-policy", "copy", "--quiet", *options, "--dest-cert-dir",
                  self.registry.certs_dir, "oci:%s:x" % layout, "docker://" + self.registry.ref(name))

    def pull_real(self, name):
        ok, got, text = w.drive(
            DRIVER, "pull", self.registry.ref(name), "--registry-roots",
            "%s=%s" % (self.registry.host, self.registry.ca), "--containerd", store.socket,
            "--content-dir", store.root, *way(), timeout=120)
        self.assertTrue(ok, text)
        return got

    def test_200_mb_in_8_layers_with_the_memory_of_one_chunk_a_download(self):
        small = w.Image([w.tar_of({"small": noise(MIB, 5)})])
        big = w.Image([w.tar_of({"f%d" % i: noise(25 * 1000 * 1000, 10 + i)}) for i in range(8)])
        self.push(small, "demo/small:1")
        self.push(big, "demo/big:1")
        before = self.pull_real("demo/small:1")
        after = self.pull_real("demo/big:1")
        self.assertEqual(after["target"], big.digest)
        self.assertGreater(int(after["downloaded"]), 200 * 1000 * 1000)
        peaks = int(before["peak_kb"]), int(after["peak_kb"])
        print("peak RSS: %d kB with 1 MB, %d kB with 200 MB; pull took %s ms" %
              (*peaks, after["took_ms"]), file=sys.stderr)
        if "asan" not in DRIVER and "TL_SHADOW_MEMORY" not in os.environ:
            self.assertLess(peaks[1], PEAK_MAX_KB)
            self.assertLess(peaks[1] - peaks[0], PEAK_GROWTH_MAX_KB)

    def test_an_image_in_dockers_format(self):
        image = w.Image([w.tar_of({"one": b"1"}), w.tar_of({"two": b"2"})])
        self.push(image, "demo/docker:1", "--format", "v2s2")
        got = self.pull_real("demo/docker:1")
        self.assertEqual(got["target_type"], "application/vnd.docker.distribution.manifest.v2+json")
        self.assertEqual(got["chain"], image.chain_id())
        self.assertEqual(self.snapshots()[image.chain_id()], "Committed")
        self.collect()
        self.assertEqual(len(self.blobs()), len(self.kept(image)))

    def test_an_image_that_is_not_there(self):
        ok, got, text = w.drive(
            DRIVER, "pull", self.registry.ref("demo/none:1"), "--registry-roots",
            "%s=%s" % (self.registry.host, self.registry.ca), "--containerd", store.socket)
        self.assertFalse(ok, text)
        self.assertEqual((got["code"], got["class"]), ("TL_E_IMAGE_NOT_FOUND", "denied"))
        self.assertIn("MANIFEST_UNKNOWN", got["error"])


if __name__ == "__main__":
    DRIVER = sys.argv.pop(1)
    if len(sys.argv) > 2 and sys.argv[1] in ("auto", "own"):
        WAY, PROGRAM = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
