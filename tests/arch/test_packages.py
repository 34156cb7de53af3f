# SPDX-License-Identifier: Apache-2.0
"""Debian packages: each file that the build installs is in exactly one of them, and nothing is missing."""

import fnmatch
import os
import re
import subprocess
import tempfile

import arch

PROGRAMS = ("usr/bin/teelaunch", "usr/sbin/teelaunchd", "usr/sbin/teeverifierd")
COMPLETIONS = "usr/share/bash-completion/completions/"


def wanted(tree):
    """(package, pattern) for each line of debian/*.install, in dh_install's words."""
    for name in tree.files:
        if re.fullmatch(r"debian/[\w-]+\.install", name):
            for line in tree.read(name).splitlines():
                if line and not line.startswith("#"):
                    yield os.path.basename(name)[:-len(".install")], line.split()[0]


def is_in(path, pattern):
    return fnmatch.fnmatchcase(path, pattern) or path.startswith(pattern.rstrip("/") + "/")


def installed_by(build):
    """Files below the root, as `cmake --install` puts them for a package."""
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run(["cmake", "--install", build, "--prefix", "/usr"], text=True,
                              env={**os.environ, "DESTDIR": root}, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            raise RuntimeError(done.stdout)
        return sorted(os.path.relpath(os.path.join(folder, name), root)
                      for folder, _, names in os.walk(root) for name in names)


def compare(rows, files):
    """What is wrong between (package, pattern) rows and the files that are installed."""
    bad = ["debian/%s.install:1: '%s' is installed by nothing" % (package, pattern)
           for package, pattern in rows if not any(is_in(f, pattern) for f in files)]
    for path in files:
        packages = {package for package, pattern in rows if is_in(path, pattern)}
        if len(packages) != 1:
            bad.append("debian:1: %s is in %s" % (path, " and ".join(sorted(packages)) or "no package"))
    return bad


def every_file_is_in_one_package(tree, build):
    return compare(list(wanted(tree)), installed_by(build))


def lacking(files, sources):
    """Sources that nothing installs, and programs without a manual page or a completion."""
    names = {os.path.basename(f) for f in files}
    bad = ["%s:1: is not installed" % s for s in sources if os.path.basename(s) not in names]
    for program in PROGRAMS:
        name = os.path.basename(program)
        section = "8" if "/sbin/" in program else "1"
        for need in (program, "usr/share/man/man%s/%s.%s" % (section, name, section), COMPLETIONS + name):
            if need not in files:
                bad.append("%s:1: is not installed" % need)
    return bad


def every_unit_page_and_completion_is_installed(tree, build):
    sources = [f for f in tree.files
               if re.fullmatch(r"systemd/[^/]+|docs/man/[\w-]+\.[1-8]", f)]
    return lacking(installed_by(build), sources)


def a_unit_is_with_its_program(tree, build=None):
    del build
    rows, bad = list(wanted(tree)), []

    def package_of(path):
        return next((package for package, pattern in rows if is_in(path, pattern)), None)

    for unit in (f for f in tree.files if f.startswith("systemd/")):
        own = package_of("usr/lib/systemd/system/" + os.path.basename(unit))
        for program in set(re.findall(r"^ExecStart=/(\S+)", tree.read(unit), re.M)):
            if package_of(program) != own:
                bad.append("%s:1: is in %s, its %s in %s" % (unit, own, program, package_of(program)))
    return bad


if __name__ == "__main__":
    arch.main(every_file_is_in_one_package, every_unit_page_and_completion_is_installed,
              a_unit_is_with_its_program)
