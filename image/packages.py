# SPDX-License-Identifier: Apache-2.0
"""Debian packages: which are wanted, from the machine's own sources, checked by apt, unpacked."""

import glob
import hashlib
import math
import os
import re
import subprocess
import time

# Only Debian's own packages, whatever else the machine's sources offer.
PREFERENCES = """Package: *
Pin: release o=Debian
Pin-Priority: 900

Package: *
Pin: release o=*
Pin-Priority: -1
"""
ARCHITECTURE = "amd64"


class Apt:
    """apt with its own state below @folder: sees the machine's sources, touches nothing of it."""

    def __init__(self, folder):
        self.debs = os.path.join(folder, "debs")
        state = os.path.join(folder, "apt")
        for name in ("lists/partial", "cache/archives/partial", "preferences.d"):
            os.makedirs(os.path.join(state, name), exist_ok=True)
        os.makedirs(self.debs, exist_ok=True)
        for name, text in (("status", ""), ("preferences", PREFERENCES)):
            with open(os.path.join(state, name), "w", encoding="utf-8") as f:
                f.write(text)
        self.lists = os.path.join(state, "lists")
        self.stamp = os.path.join(folder, "lists.stamp")
        self.options = []
        for key, value in (
                ("Dir::State", state), ("Dir::State::status", state + "/status"),
                ("Dir::State::lists", self.lists), ("Dir::Cache", state + "/cache"),
                ("Dir::Etc::preferences", state + "/preferences"),
                ("Dir::Etc::preferencesparts", state + "/preferences.d"),
                ("APT::Sandbox::User", ""), ("APT::Install-Recommends", "false"),
                ("APT::Architecture", ARCHITECTURE), ("APT::Architectures", ARCHITECTURE),
                ("Acquire::Languages", "none"), ("Acquire::Retries", "3")):
            self.options += ["-o", "%s=%s" % (key, value)]

    def run(self, tool, *arguments, cwd=None):
        done = subprocess.run([tool, *self.options, *arguments], cwd=cwd, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False,
                              env=dict(os.environ, LC_ALL="C.UTF-8", DEBIAN_FRONTEND="noninteractive"))
        if done.returncode != 0:
            raise RuntimeError("%s %s: %s" % (tool, " ".join(arguments)[:200],
                                              done.stderr.strip()[-2000:]))
        return done.stdout

    def update(self):
        self.run("apt-get", "-q", "update")
        with open(self.stamp, "w", encoding="utf-8"):
            pass

    def lists_age_s(self):
        """How long ago the lists were fetched; infinite if they never were."""
        if not glob.glob(self.lists + "/*Packages*") or not os.path.exists(self.stamp):
            return math.inf
        return time.time() - os.path.getmtime(self.stamp)

    def closure(self, names):
        """(package, version) of @names and all that they depend on."""
        out = self.run("apt-get", "-qq", "-y", "--print-uris", "install", *names)
        return [self.name_and_version(line.split()[1]) for line in out.splitlines()
                if line.startswith("'")]

    def alone(self, names):
        """The same without what they depend on."""
        if not names:
            return []
        out = self.run("apt-get", "-qq", "--print-uris", "download", *names)
        return [self.name_and_version(line.split()[1]) for line in out.splitlines()
                if line.startswith("'")]

    @staticmethod
    def name_and_version(file):
        name, version = file.split("_")[:2]
        return name, version.replace("%3a", ":")

    def stanzas(self, packages):
        """{name: {field: value}} of packages (name, version)."""
        out = self.run("apt-cache", "--no-all-versions", "show",
                       *["%s=%s" % p for p in packages])
        ret = {}
        for text in re.split(r"\n\n+", out.strip()):
            fields = dict(re.findall(r"^([A-Za-z0-9-]+): *(.*)$", text, re.M))
            ret[fields["Package"]] = fields
        return ret

    def kernel(self, meta):
        """The package with the kernel that the package @meta stands for."""
        depends = self.stanzas([(meta, self.alone([meta])[0][1])])[meta]["Depends"]
        return depends.split()[0]

    def fetch(self, stanzas):
        """{name: path of its .deb}; downloads what isn't there, and checks what is."""
        paths = {name: os.path.join(self.debs, "%s_%s_%s.deb" % (
            name, s["Version"].replace(":", "%3a"), s["Architecture"]))
            for name, s in stanzas.items()}
        wanted = ["%s=%s" % (name, stanzas[name]["Version"]) for name, path in paths.items()
                  if not self.is_good(path, stanzas[name])]
        if wanted:
            self.run("apt-get", "-q", "download", *wanted, cwd=self.debs)
        for name, path in paths.items():
            if not self.is_good(path, stanzas[name]):
                raise RuntimeError("%s: not what the signed list of packages says" % path)
        return paths

    @staticmethod
    def is_good(path, stanza):
        if not os.path.exists(path):
            return False
        with open(path, "rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest() == stanza["SHA256"]


def unpack(debs, folder):
    """Each package's files below @folder/NAME."""
    for name, path in sorted(debs.items()):
        where = os.path.join(folder, name)
        os.makedirs(where)
        subprocess.run(["dpkg-deb", "--extract", path, where], check=True)
