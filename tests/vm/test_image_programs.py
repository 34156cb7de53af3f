#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_image_programs.py: the programs and the image, both built from the sources in two folders of
different length, with different umask, time zone, language and number of jobs: the same bits."""
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

import guest
import image_guest

PROGRAMS = ("bin/teelaunchd", "bin/teelaunch", "bin/teeverifierd", "release/image/teelaunch-init")
ENDINGS = (".raw", ".efi", ".measurements.json", ".spdx.json")
BUILD_LIMIT_S = 1200


def run(argv, **how):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=BUILD_LIMIT_S, check=False, **how)
    if done.returncode != 0:
        raise guest.GuestError("%s: exit %d\n%s" % (" ".join(argv), done.returncode,
                                                    done.stdout.decode(errors="replace")[-4000:]))
    return done.stdout


def sources(origin, folder):
    """A copy of the tree @origin as it is, changes that aren't committed included."""
    if not os.path.exists(os.path.join(origin, ".git")):
        shutil.copytree(origin, folder, symlinks=True, ignore=shutil.ignore_patterns("build"))
        return
    run(["git", "clone", "-q", "--no-hardlinks", "--no-checkout", origin, folder])
    names = run(["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"], cwd=origin)
    for name in names.decode().split("\0"):
        source, target = os.path.join(origin, name), os.path.join(folder, name)
        if name and os.path.lexists(source):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target, follow_symlinks=False)
            if not os.path.islink(source) and os.access(source, os.X_OK):
                os.chmod(target, 0o755)


def build(folder, umask, jobs, **environment):
    # No compiler cache: it would hand out the other folder's objects.
    kept = {k: v for k, v in os.environ.items() if "CCACHE" not in k and "LAUNCHER" not in k}
    how = {"umask": umask, "env": dict(kept, **environment)}
    run(["cmake", "--preset", "release"], cwd=folder, **how)
    run(["cmake", "--build", "build/release", "-j", str(jobs), "--target", "src/all", "image/all",
         "docs/man/all"], cwd=folder, **how)
    stem = image_guest.build(os.path.join(folder, "out"), os.path.join(folder, "build", "release"),
                             builder=os.path.join(folder, "image", "build.py"), **how)
    return {name: os.path.join(folder, "build", name) for name in PROGRAMS} | {
        os.path.basename(stem) + ending: stem + ending for ending in ENDINGS}


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def main():
    with tempfile.TemporaryDirectory(prefix="teelaunch-twice.") as folder:
        first, second = os.path.join(folder, "a"), os.path.join(folder, "another", "and longer")
        # Both copies before either build: somebody may be working on the tree.
        sources(guest.TOP, first)
        shutil.copytree(first, second, symlinks=True, copy_function=shutil.copy)
        one = build(first, 0o022, 2, TZ="UTC", LC_ALL="C.UTF-8")
        two = build(second, 0o077, 1, TZ="Asia/Kathmandu", LC_ALL="C", LANG="tr_TR.UTF-8",
                    USER="somebody", HOME="/")
        differ = [name for name in one if digest(one[name]) != digest(two[name])]
        for name in one:
            print("reproducible: %s %s" % (digest(one[name]), name))
        assert not differ, differ
    return 0


if __name__ == "__main__":
    sys.exit(main())
