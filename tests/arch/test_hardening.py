# SPDX-License-Identifier: Apache-2.0
"""Every program's hardening, read from the file itself by readelf, not from the compiler's flags."""

import os
import re

import arch
from test_symbols import bin_folder, libraries

PROGRAMS = ("teelaunch", "teelaunchd", "teelaunch-unpack", "teeverifierd")
CET = re.compile(r"x86 feature: .*IBT.*SHSTK")


def readelf(options, path):
    return arch.run(["readelf", "--wide", options, path], check=True).stdout


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


def programs_are_hardened(tree, build):
    bad = []
    for program in PROGRAMS:
        path = os.path.join(bin_folder(build), program)
        if not os.path.exists(path):
            bad.append("%s: not built in %s" % (program, build))
            continue
        for what, (options, must, must_not) in PROPERTIES.items():
            out = readelf(options, path)
            if not re.search(must, out, re.S) or (must_not and re.search(must_not, out)):
                bad.append("%s: not so: %s" % (program, what))
    return bad


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
    start = arch.run(["gcc", "-print-file-name=Scrt1.o"], check=True).stdout.strip()
    if CET.search(readelf("-n", start)):
        for program in PROGRAMS:
            path = os.path.join(bin_folder(build), program)
            if os.path.exists(path) and not CET.search(readelf("-n", path)):
                bad.append("%s: no CET note" % program)
    return bad


if __name__ == "__main__":
    arch.main(programs_are_hardened, objects_carry_the_cet_note)
