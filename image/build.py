#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the VM image: a disk that firmware starts, with a root that only the build could write.

Needs no root and changes nothing but DIR and the cache. The same packages, programs and overlay
give the same bits, wherever, whenever and by whomever it is built.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(HERE)
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import disk  # noqa: E402
import elf  # noqa: E402
import initrd  # noqa: E402
import measure  # noqa: E402
import packages  # noqa: E402
import sbom  # noqa: E402
import tables  # noqa: E402
import tree  # noqa: E402

KERNEL = "linux-image-cloud-amd64"
SCHEMA = "teelaunch.image-measurements/1"
NAME = "teelaunch"
# Packages that hold libraries; of others only what files.conf names is looked at.
LIBRARY = re.compile(r"lib(?!.*-perl$).*|zlib1g")
LISTS_AGE_MAX_S = 12 * 3600


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--flavour", choices=("production", "debug"), default="production")
    p.add_argument("--out", required=True, metavar="DIR", help="where the image goes")
    p.add_argument("--build", default=os.path.join(TOP, "build", "release"), metavar="DIR",
                   help="the CMake build whose teelaunchd, units and init go in [build/release]")
    p.add_argument("--overlay", action="append", default=[], metavar="TREE",
                   help="files laid over the root last: drop-ins for units, certificates, keys")
    p.add_argument("--teelaunchd", metavar="FILE", help="another teelaunchd than the build's")
    p.add_argument("--cache", default=os.path.join(TOP, "build", "image-cache"), metavar="DIR",
                   help="downloaded packages and package lists [build/image-cache]")
    p.add_argument("--update", action="store_true", help="fetch the package lists anew")
    p.add_argument("--keep-tree", action="store_true", help="leave the root's tree in DIR/root")
    return p.parse_args()


class Steps:
    """Prints what takes how long."""

    def __init__(self):
        self.begun = time.monotonic()

    def done(self, what):
        now = time.monotonic()
        print("image: %5.1f s  %s" % (now - self.begun, what), flush=True)
        self.begun = now


def epoch():
    """Time of the version, for every time stamp in the image."""
    line = subprocess.run(["dpkg-parsechangelog", "-l", os.path.join(TOP, "debian", "changelog"),
                           "-S", "Timestamp"], check=True, capture_output=True, text=True).stdout
    return int(line)


def packages_choose(a, apt):
    """({name: fields of apt's record} of what is needed, name of the kernel's package)"""
    wanted = tables.files(a.flavour)
    kernel = apt.kernel(KERNEL)
    alone = [name for name, section in wanted.items() if section["alone"]] + [kernel]
    closure = apt.closure([name for name, section in wanted.items() if not section["alone"]])
    chosen = [p for p in closure if p[0] in wanted or LIBRARY.fullmatch(p[0])]
    return apt.stanzas(sorted(set(chosen + apt.alone(alone)))), kernel


def packages_get(a, work):
    """Unpacks the packages; (stanzas, folder, name of the kernel's package)."""
    folder = os.path.join(work, "packages")
    os.makedirs(a.cache, exist_ok=True)
    with open(os.path.join(a.cache, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        apt = packages.Apt(a.cache)
        age_s = apt.lists_age_s()
        if a.update or age_s > LISTS_AGE_MAX_S:
            apt.update()
            age_s = 0
        stanzas, kernel = packages_choose(a, apt)
        try:
            debs = apt.fetch(stanzas)
        except RuntimeError:
            # The mirror has replaced a package since the lists were fetched.
            if age_s == 0:
                raise
            apt.update()
            stanzas, kernel = packages_choose(a, apt)
            debs = apt.fetch(stanzas)
        packages.unpack(debs, folder)
    return stanzas, folder, kernel


def install(a, work):
    """What the project installs, in a folder."""
    folder = os.path.join(work, "install")
    subprocess.run(["cmake", "--install", a.build, "--prefix", "/usr"], check=True,
                   stdout=subprocess.DEVNULL, env=dict(os.environ, DESTDIR=folder))
    daemon = os.path.join(folder, "usr/sbin/teelaunchd")
    if a.teelaunchd:
        shutil.copyfile(a.teelaunchd, daemon)
    unpacker = os.path.join(folder, "usr/libexec/teelaunch/teelaunch-unpack")
    subprocess.run(["strip", "--strip-all", "--enable-deterministic-archives", daemon, unpacker], check=True)
    return folder


def os_release(a, version):
    return ('NAME="teelaunch"\nID=teelaunch\nID_LIKE=debian\nVERSION_ID=%s\nVARIANT_ID=%s\n'
            'PRETTY_NAME="teelaunch %s (%s)"\n' % (version, a.flavour, version, a.flavour))


def root_build(a, work, stanzas, folder, kernel, version):
    """The tree; (Tree, kernel version, modules of the initrd)."""
    t = tree.Tree(os.path.join(work, "root"), folder)
    for name, section in tables.files(a.flavour).items():
        t.take(name, section["patterns"])
    release, modules = t.modules(kernel)
    ours = install(a, work)
    for name in tree.walk(ours):
        if re.match(r"usr/sbin/teelaunchd$|usr/libexec/teelaunch/|(usr/)?lib/systemd/system/teelaunchd", name):
            t.put(os.path.join(ours, name), tree.merged(name))
    t.put_all(os.path.join(HERE, "root"))
    if a.flavour == "debug":
        t.put_all(os.path.join(HERE, "root-debug"))
    t.libraries()
    t.certificates()
    t.text("usr/lib/os-release", os_release(a, version))
    t.link("../usr/lib/os-release", "etc/os-release")
    # Empty: systemd makes one up for this boot and mounts it over.
    t.text("etc/machine-id", "")
    t.link("../lib/systemd/systemd", "usr/sbin/init")
    for overlay in a.overlay:
        t.put_all(overlay)
    t.libraries()
    t.enable()
    t.finish()
    t.used &= set(stanzas)
    return t, release, modules


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def version_of(daemon):
    """(version, commit) as `teelaunchd --version` prints them."""
    line = subprocess.run([daemon, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.fullmatch(r"teelaunchd (\S+) \((\S+)\)\n", line)
    return found.group(1), found.group(2)


def assemble(a, work, steps):
    when = epoch()
    daemon = a.teelaunchd or os.path.join(os.path.dirname(a.build), "bin", "teelaunchd")
    if not os.path.exists(daemon):
        daemon = os.path.join(a.build, "bin", "teelaunchd")
    version, commit = version_of(daemon)
    stanzas, folder, kernel = packages_get(a, work)
    steps.done("packages: %d" % len(stanzas))
    t, release, modules = root_build(a, work, stanzas, folder, kernel, version)
    steps.done("tree: %d files out of %d packages" % (len(tree.walk(t.root)), len(t.used)))

    root = os.path.join(work, "root.img")
    roothash, blocks = disk.root(t.root, when, root)
    steps.done("root: %d KiB, and its hash tree" % (blocks * 4))
    cmdline = tables.cmdline(a.flavour, {"roothash": roothash, "root_blocks": blocks})
    init = os.path.join(a.build, "image", "teelaunch-init")
    interpreter, libraries, _ = elf.needs(init)
    if interpreter or libraries:
        raise RuntimeError("%s isn't linked statically" % init)
    initrd.build(init, modules, os.path.join(work, "initrd"))
    vmlinuz = os.path.join(folder, kernel, "boot", "vmlinuz-" + release)
    uki = os.path.join(a.out, stem(a) + ".efi")
    disk.uki([(".osrel", write(work + "/osrel", os_release(a, version).encode())),
              (".cmdline", write(work + "/cmdline", cmdline.encode())),
              (".uname", write(work + "/uname", release.encode())),
              (".initrd", os.path.join(work, "initrd")), (".linux", vmlinuz)], uki)
    image = os.path.join(a.out, stem(a) + ".raw")
    disk.esp(uki, when, os.path.join(work, "esp"))
    disk.gpt(os.path.join(work, "esp"), root, roothash, image)
    steps.done("disk: %d KiB" % (os.path.getsize(image) // 1024))

    registers, events, measured = measure.measure(uki)
    if measured != cmdline:
        raise RuntimeError("the UKI holds another command line than it was given")
    document = {
        "schema": SCHEMA, "name": NAME, "version": version, "commit": commit, "flavour": a.flavour,
        "hardened": a.flavour == "production", "cmdline": cmdline, "roothash": roothash,
        "sha256": {"image": sha256(image), "uki": sha256(uki), "kernel": sha256(vmlinuz),
                   "initrd": sha256(work + "/initrd"), "root": sha256(root),
                   "teelaunchd": sha256(os.path.join(t.root, "usr/sbin/teelaunchd"))},
        "pcrs": registers, "events": events}
    write(os.path.join(a.out, stem(a) + ".measurements.json"),
          json.dumps(document, indent=1).encode() + b"\n")
    listing = sbom.document(stem(a), version, when, document["sha256"]["image"],
                            {name: stanzas[name] for name in t.used}, folder)
    write(os.path.join(a.out, stem(a) + ".spdx.json"), json.dumps(listing, indent=1).encode() + b"\n")
    if a.keep_tree:
        shutil.rmtree(os.path.join(a.out, "root"), ignore_errors=True)
        shutil.copytree(t.root, os.path.join(a.out, "root"), symlinks=True)
    steps.done("measurements and package list")
    return document


def stem(a):
    return "%s-%s" % (NAME, a.flavour)


def main():
    a = arguments()
    # No mode, order of names, date or language of whoever builds.
    os.umask(0o022)
    os.environ.update(LC_ALL="C.UTF-8", TZ="UTC")
    os.makedirs(a.out, exist_ok=True)
    steps = Steps()
    with tempfile.TemporaryDirectory(prefix="build.", dir=a.out) as work:
        document = assemble(a, work, steps)
    for name, value in document["sha256"].items():
        print("image: sha256 %-10s %s" % (name, value))
    print("image: roothash          %s" % document["roothash"])
    for pcr, values in document["pcrs"].items():
        print("image: PCR %-2s sha256     %s" % (pcr, values["sha256"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
