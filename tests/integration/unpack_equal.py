# SPDX-License-Identifier: Apache-2.0
"""teelaunch-unpack makes of a layer what containerd's own Apply makes of it, file by file; or it says
that it doesn't. Usage: unpack_equal.py LAYER-DRIVER [TEST...]"""
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import containerd  # noqa: E402
import images  # noqa: E402
import layer_tar  # noqa: E402
import layer_world  # noqa: E402
import unpack_cases  # noqa: E402
import unpack_cases_above  # noqa: E402,F401

DRIVER = None
PROGRAM = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch-unpack")
IS_LONG = "TL_LONG" in os.environ


def setUpModule():
    global folder, store, reference
    folder = tempfile.TemporaryDirectory(prefix="tlu-")
    store = containerd.Containerd(folder.name + "/c", snapshotter="overlayfs", with_parent=True)
    store.start()
    reference = layer_world.Reference(DRIVER, store, folder.name)


def tearDownModule():
    reference.close()
    store.stop()
    layer_world.remove_tree(folder.name)


def diff_id_of(layer):
    """By Python's own means, where the wrapping is plain."""
    if layer[:2] == b"\x1f\x8b":
        layer = zlib.decompress(layer, 31)
    return "sha256:" + hashlib.sha256(layer).hexdigest()


class Layers(unittest.TestCase):
    def both(self, layer, parents=(), media_type=layer_world.OCI_LAYER + "+gzip"):
        """What each side made of `layer`: (name or None, what was said), and the differences. `parents`:
        (name, folder) of those below, the topmost first."""
        name, *said = reference.apply(layer, parents[0][0] if parents else "-", media_type)
        errors = os.path.join(folder.name, "stderr")
        open(errors, "w").close()
        # On containerd's file system: not every one holds the same.
        with tempfile.TemporaryDirectory(dir=store.root) as top:
            os.mkdir(top + "/fs")
            ours = layer_world.unpack(PROGRAM, top + "/fs", layer, [p[1] for p in parents], stderr=errors)
            different = []
            if name and ours["kind"] == layer_world.EXTRACTED:
                different = layer_world.differences(layer_world.tree_of(said[0]),
                                                    layer_world.tree_of(top + "/fs"))
                if ours["diff_id"] != said[1]:
                    different.append("diff id %s, not %s" % (ours["diff_id"], said[1]))
            layer_world.remove_tree(top + "/fs")
        with open(errors, encoding="utf-8") as f:
            self.assertEqual(f.read(), "")
        return name, said, ours, different

    def verdict(self, name, said, ours, different):
        """SAME, REFUSED or DECLINED; or, in words, what must not be."""
        if ours["kind"] == layer_world.EXTRACTED:
            if not name:
                return "containerd says '%s', the unpacker takes it" % said[1]
            return "\n".join(different[:20]) or unpack_cases.SAME
        if ours["why"] not in ("broken", "unsupported"):
            return "the unpacker says %s: %s" % (ours["why"], ours["text"])
        if not name:
            return unpack_cases.REFUSED
        if ours["why"] == "unsupported":
            return unpack_cases.DECLINED
        return "containerd takes it, the unpacker says " + ours["text"]

    def assert_same(self, *layers):
        """A whole image, each layer on those before."""
        parents = []
        for layer in layers:
            name, said, ours, different = self.both(layer, parents)
            self.assertEqual(self.verdict(name, said, ours, different), unpack_cases.SAME)
            self.assertEqual(ours["diff_id"], diff_id_of(layer))
            parents.insert(0, (name, said[0]))
        return ours


class Nasty(Layers):
    def lay(self, base):
        """The layers of a case's base, by containerd: (name, folder), the topmost first."""
        parents = []
        for tar in base if isinstance(base, list) else [base]:
            name, where, _ = reference.apply(layer_tar.gzip_of(tar), parents[0][0] if parents else "-")
            parents.insert(0, (name, where))
        return parents

    def test_every_case(self):
        declined = []
        for case in unpack_cases.CASES:
            with self.subTest(case.name):
                parents = self.lay(case.base) if case.base else []
                name, said, ours, different = self.both(case.layer, parents,
                                                        layer_world.OCI_LAYER + case.media_type)
                got = self.verdict(name, said, ours, different)
                if got == unpack_cases.DECLINED:
                    declined.append("%s (%s)" % (case.name, ours["text"]))
                self.assertEqual(got, case.expected, (said[-1], ours.get("text")))
        print("%d cases, declined %d:" % (len(unpack_cases.CASES), len(declined)), *declined, sep="\n  ")

    def test_names_of_cases_are_unique(self):
        names = [c.name for c in unpack_cases.CASES]
        self.assertEqual(len(names), len(set(names)))


class Real(Layers):
    def tar(self, *what, options=()):
        made = subprocess.run(["tar", "-c", "--numeric-owner", "--one-file-system", "-C", "/",
                               *options, *what], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=600, check=False)
        self.assertIn(made.returncode, (0, 1))  # 1: a file changed meanwhile
        return made.stdout

    def test_etc(self):
        for form in ("gnu", "posix", "ustar") if IS_LONG else ("posix",):
            with self.subTest(form):
                self.assert_same(layer_tar.gzip_of(self.tar("etc", options=[
                    "--format=" + form, *(["--xattrs"] if form == "posix" else [])])))

    def test_a_debian_in_three_layers(self):
        first = self.tar("bin", "lib", "usr/lib/x86_64-linux-gnu/perl-base", "etc", "var/mail", "var/local",
                         "usr/bin/passwd", "usr/bin/chage", "usr/bin/mount", "var/lib/dpkg/alternatives",
                         "dev/null", "tmp", options=["--exclude=tmp/*", "--exclude=lib/?*"])
        second = layer_tar.tar(layer_tar.entry("etc/.wh.passwd"), layer_tar.entry("usr/bin/new", b"#!"),
                               layer_tar.entry("var/lib/dpkg/alternatives/.wh..wh..opq"))
        third = self.tar("etc/ssl", "usr/share/zoneinfo/Europe", options=["--format=posix"])
        self.assert_same(*map(layer_tar.gzip_of, (first, second, third)))

    def test_the_images_of_the_other_tests(self):
        made = images.Images(os.path.join(folder.name, "images"), None)
        made.prepare()
        content = os.path.join(made.folder, "content")
        os.mkdir(content)
        images.fill_files(content, 0, 3_000_000, images.random.Random(7))
        made.umoci("insert", "--image", made.layout + ":base", content, "/data")
        made.umoci("insert", "--image", made.layout + ":base", "--opaque", content, "/data")
        made.umoci("insert", "--image", made.layout + ":base", "--whiteout", "/data")
        with open(os.path.join(made.layout, "index.json"), encoding="utf-8") as f:
            manifest = json.load(f)["manifests"][0]
        with open(made.blob(manifest["digest"]), encoding="utf-8") as f:
            layers = json.load(f)["layers"]
        self.assertEqual(len(layers), 4)
        blobs = []
        for layer in layers:
            with open(made.blob(layer["digest"]), "rb") as f:
                blobs.append(f.read())
        self.assert_same(*blobs)

    if IS_LONG:
        def test_much_of_this_machine(self):
            self.assert_same(layer_tar.gzip_of(self.tar("etc", "usr/sbin", "usr/share/perl", "usr/lib/python3")),
                             layer_tar.gzip_of(self.tar("usr/include", "usr/share/doc", options=["--format=posix"])))


if __name__ == "__main__":
    DRIVER = sys.argv.pop(1)
    unittest.main(verbosity=2)
