# SPDX-License-Identifier: Apache-2.0
"""Every program's hardening, read from the file itself by readelf, not from the compiler's flags."""

import glob
import os
import re

import arch
from test_symbols import bin_folder, libraries

# Those that must be there; whatever else the build puts beside them is judged as well.
PROGRAMS = ("teelaunch", "teelaunchd", "teelaunch-unpack", "teeverifierd")
# Below the build's own folder; static, so that its libraries' calls say nothing of ours.
INIT = "image/teelaunch-init"
CET = re.compile(r"x86 feature: .*IBT.*SHSTK")

# Property -> (options of readelf, what its output must say, what it must not say).
PROPERTIES = {
    "position independent": ("-hd", r"Type:\s+DYN.*Flags:.*\bPIE\b", None),
    "relocations read-only": ("-l", r"GNU_RELRO", None),
    "bound at start": ("-d", r"BIND_NOW|Flags:.*\bNOW\b", None),
    "stack not executable": ("-l", r"GNU_STACK\s+\S+\s+\S+\s+\S+\s+\S+\s+\S+\s+RW\s", None),
    "no segment writable and executable": ("-l", r"LOAD", r"LOAD.*\bRWE\b"),
    "no text relocations": ("-d", r"Dynamic section", r"TEXTREL"),
    "no search path": ("-d", r"Dynamic section", r"RPATH|RUNPATH"),
    "stack protector": ("-s", r"__stack_chk_fail", None),
    "checked library calls": ("-s", r"__\w+_chk\b", None),
}


def readelf(options, path):
    return arch.run(["readelf", "--wide", options, path], check=True).stdout


def lacks(path, properties=None):
    """The names of the properties that the file doesn't have."""
    for what, (options, must, must_not) in (properties or PROPERTIES).items():
        out = readelf(options, path)
        if not re.search(must, out, re.S) or (must_not and re.search(must_not, out)):
            yield what


def programs(build):
    """Name -> path of each ELF file among the programs."""
    found = {}
    for path in sorted(glob.glob(os.path.join(bin_folder(build), "*"))):
        with open(path, "rb") as f:
            if f.read(4) == b"\x7fELF":
                found[os.path.basename(path)] = path
    return found


def programs_are_hardened(tree, build):
    found = programs(build)
    bad = ["%s: not built in %s" % (p, build) for p in PROGRAMS if p not in found]
    return bad + ["%s: not so: %s" % (p, what) for p, path in found.items() for what in lacks(path)]


def the_images_first_program_is_hardened(tree, build):
    path = os.path.join(build, INIT)
    if not os.path.exists(path):
        return ["%s: not built in %s" % (INIT, build)]
    own = {k: v for k, v in PROPERTIES.items() if k != "checked library calls"}
    bad = ["%s: not so: %s" % (INIT, what) for what in lacks(path, own)]
    if re.search(r"\bNEEDED\b|\bINTERP\b", readelf("-ld", path)):
        bad.append("%s: not so: static" % INIT)
    for part in glob.glob(os.path.join(build, "image", "**", "init.c.o"), recursive=True):
        if "checked library calls" not in lacks(part):
            return bad
    return bad + ["%s: not so: checked library calls" % INIT]


def objects_carry_the_cet_note(tree, build):
    """Ours always; a program only where the C library's start files do (Debian 12's don't), for
    the linker keeps the note only if every object has it."""
    if "x86-64" not in arch.run(["readelf", "-h", "/proc/self/exe"]).stdout.lower():
        return []
    bad = []
    for name, path in sorted(libraries(build).items()):
        for part in re.split(r"^File: ", readelf("-n", path), flags=re.M)[1:]:
            if not CET.search(part):
                bad.append("%s: no CET note: %s" % (name, part.split("\n", 1)[0]))
    mains = [f for where in ("src", "image") for f in
             glob.glob(os.path.join(build, where, "CMakeFiles", "tee*.dir", "*.c.o"))]
    bad += ["%s: no CET note" % os.path.relpath(f, build) for f in sorted(mains)
            if not CET.search(readelf("-n", f))]
    start = arch.run(["gcc", "-print-file-name=Scrt1.o"], check=True).stdout.strip()
    if CET.search(readelf("-n", start)):
        bad += ["%s: no CET note" % name for name, path in programs(build).items()
                if not CET.search(readelf("-n", path))]
    return bad


if __name__ == "__main__":
    arch.main(programs_are_hardened, the_images_first_program_is_hardened, objects_carry_the_cet_note)
