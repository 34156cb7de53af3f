#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs_release.py SECURITY.md: its recipe for a signed release, word for word, with a key for once, and a
dpkg-buildpackage that only copies (tests/packages.sh has the real one); and that its checks refuse what
isn't what was signed."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PAGE = os.path.abspath(sys.argv.pop(1))
VERSION = "1.2.3"
# What it "builds" holds what $BUILT says, if anything, else what was committed.
BUILDER = """#!/bin/sh
{ cat source; eval echo "$BUILT"; } >../tool_%s_amd64.deb
""" % VERSION
CONTROL = "Source: tool\nMaintainer: A person <%s>\n"


def commands(heading):
    """The sh blocks of the page's section."""
    with open(PAGE, encoding="utf-8") as f:
        section = re.split(r"^#+ ", f.read(), flags=re.M)
    text = [s for s in section if s.startswith(heading + "\n")][0]
    return re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)


class Release(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="tl-release.")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        os.makedirs(self.path("bin"))
        self.write("bin/dpkg-buildpackage", BUILDER, 0o755)
        self.env = {"PATH": self.path("bin") + ":/usr/bin:/bin", "HOME": self.folder, "LC_ALL": "C.UTF-8",
                    "GIT_CONFIG_NOSYSTEM": "1", "VERSION": VERSION, "KEY": self.path("key"), "OUT": self.path("out"),
                    "GIT_AUTHOR_NAME": "x", "GIT_AUTHOR_EMAIL": "x@x.example", "GIT_COMMITTER_NAME": "x",
                    "GIT_COMMITTER_EMAIL": "x@x.example"}
        self.key_make("key")
        self.write("release-signers", 'release@teelaunch namespaces="git,teelaunch-release" ' + self.read("key.pub"))
        self.sources("release@tool.example")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def read(self, name):
        with open(self.path(name), encoding="utf-8") as f:
            return f.read()

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(name), mode)

    def key_make(self, name):
        self.sh("ssh-keygen -q -t ed25519 -N '' -C '' -f " + name, ".")

    def sh(self, script, where, **env):
        return subprocess.run(["sh", "-euc", script], cwd=self.path(where), env={**self.env, **env},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False)

    def succeed(self, script, where, **env):
        done = self.sh(script, where, **env)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def refuse(self, script, where, words, **env):
        done = self.sh(script, where, **env)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        self.assertIn(words, done.stdout)

    def sources(self, address):
        shutil.rmtree(self.path("clone"), ignore_errors=True)
        os.makedirs(self.path("clone", "debian"))
        self.write("clone/source", "the sources\n")
        self.write("clone/debian/control", CONTROL % address)
        self.succeed("git init -q -b main && git add . && git commit -q -m x", "clone")

    def release(self):
        """Made and given to a user: the folder `user`, with what was published."""
        make, = commands("Make one")
        os.makedirs(self.path("out"), exist_ok=True)
        self.succeed(make, "clone")
        shutil.copytree(self.path("out", "one"), self.path("user"), ignore=shutil.ignore_patterns("teelaunch"))
        shutil.copy(self.path("release-signers"), self.path("user"))

    def test_what_was_released_passes(self):
        self.release()
        packages, sources = commands("Check one")[:2]
        out = self.succeed(packages, "user")
        self.assertIn("Good \"teelaunch-release\" signature for release@teelaunch", out)
        self.assertIn("tool_%s_amd64.deb: OK" % VERSION, out)
        self.assertIn("Good \"git\" signature", self.succeed(sources, "clone"))

    def test_a_package_that_was_changed(self):
        self.release()
        self.write("user/tool_%s_amd64.deb" % VERSION, "other bits\n")
        self.refuse(commands("Check one")[0], "user", "FAILED")

    def test_a_list_that_was_changed_along_with_the_package(self):
        self.release()
        self.write("user/tool_%s_amd64.deb" % VERSION, "other bits\n")
        self.succeed("sha256sum ./*.deb >SHA256SUMS", "user")
        self.refuse(commands("Check one")[0], "user", "incorrect signature")

    def test_another_key_or_another_purpose(self):
        self.release()
        self.key_make("stranger")
        for key, purpose in (("stranger", "teelaunch-release"), ("key", "other-release")):
            os.unlink(self.path("user", "SHA256SUMS.sig"))
            self.succeed("ssh-keygen -q -Y sign -f ../%s -n %s SHA256SUMS" % (key, purpose), "user")
            self.refuse(commands("Check one")[0], "user", "Could not verify signature")

    def test_a_tag_of_a_stranger(self):
        self.release()
        self.key_make("stranger")
        self.succeed("git tag -d v%s && git -c gpg.format=ssh -c user.signingkey=../stranger tag -s -m x v%s" % (
            VERSION, VERSION), "clone")
        self.refuse(commands("Check one")[1], "clone", "No principal matched")

    def test_packages_that_depend_on_the_place_end_the_release(self):
        os.makedirs(self.path("out"))
        self.refuse(commands("Make one")[0], "clone", "differ", BUILT="$PWD")
        self.assertFalse(os.path.exists(self.path("out/one/SHA256SUMS.sig")))

    def test_nothing_is_released_without_an_address_for_reports(self):
        self.sources("teelaunch@teelaunch.invalid")
        os.makedirs(self.path("out"))
        make, = commands("Make one")
        self.assertNotEqual(self.sh(make, "clone").returncode, 0)
        self.assertEqual(self.succeed("git tag", "clone"), "")
        self.assertEqual(os.listdir(self.path("out")), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
