#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""lint.py TOOL BUILD: one static analyser over every C file of ours that BUILD compiles.

A file that passed is remembered by the hash of all that the verdict depends on: its preprocessed
text, the command, the tool's version and configuration. So a second run costs seconds.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import shlex
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JOBS = len(os.sched_getaffinity(0))
ONE_FILE_TIMEOUT_S = 600

# Warnings of gcc 12's -fanalyzer that are off, with the reason.
ANALYZER_OFF = (
    # Loses a pointer that is stored through the result of realloc(), and calls that a leak.
    # AddressSanitizer's leak checker runs in every test.
    "-Wno-analyzer-malloc-leak",
    # Sees one source at a time: a call elsewhere may return 0 and leave its out-parameter NULL.
    # UndefinedBehaviorSanitizer finds the real ones.
    "-Wno-analyzer-null-dereference",
)


def tidy(entry, options):
    # The file that defines them can't have them as macros.
    contracts = [] if entry["file"].endswith("/src/core/error.c") else \
        ["--extra-arg=-include" + os.path.join(TOP, "tests/lint/contracts.h")]
    return ["clang-tidy", "--quiet", "-p", entry["build"], *contracts, entry["file"]]


def analyzer(entry, options):
    # Without optimisation: the analyser sees the code as written.
    return ["gcc", "-std=gnu17", *options, "-O0", "-Werror", "-fanalyzer", *ANALYZER_OFF,
            "-c", entry["file"], "-o", "/dev/null"]


def cppcheck(entry, options):
    return ["cppcheck", "--quiet", "--std=c11", "--enable=warning,performance,portability",
            "--error-exitcode=1", "--inline-suppr", "--template=gcc",
            "--library=" + os.path.join(TOP, "tests/lint/cppcheck.cfg"),
            "--suppressions-list=" + os.path.join(TOP, "tests/lint/cppcheck.txt"),
            *[o for o in options if not o.startswith("-D_FORTIFY")], entry["file"]]


# Tool -> (command, its version, its configuration, whether it reads the tests too).
TOOLS = {
    "clang-tidy": (tidy, ["clang-tidy", "--version"], (".clang-tidy", "tests/lint/contracts.h"),
                   True),
    "analyzer": (analyzer, ["gcc", "--version"], (), False),
    "cppcheck": (cppcheck, ["cppcheck", "--version"], ("tests/lint/cppcheck.txt", "tests/lint/cppcheck.cfg"),
                 True),
}


def run(argv, **more):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=ONE_FILE_TIMEOUT_S,
                          errors="replace", **more)


def preprocessor_options(command):
    """-I, -isystem and -D of a compile command; the defines of warnings and sanitizers don't count."""
    argv = shlex.split(command)
    options = []
    for i, word in enumerate(argv):
        if re.match(r"-[ID].", word):
            options.append(word)
        elif word in ("-I", "-D", "-isystem"):
            options += ["-I", argv[i + 1]] if word == "-isystem" else [word, argv[i + 1]]
    return options


def entries(build, with_tests):
    """Our sources only: what a generator wrote into the build tree is its author's."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        rows = {row["file"]: row for row in json.load(f)}
    for name, row in sorted(rows.items()):
        inside = os.path.relpath(name, TOP)
        if inside.startswith("build/") or inside.startswith(".."):
            continue
        if with_tests or not inside.startswith("tests/"):
            yield {**row, "build": build}


def judge(tool, entry, identity, cache):
    """Returns "" or the tool's complaint."""
    make_command = TOOLS[tool][0]
    options = preprocessor_options(entry["command"])
    command = make_command(entry, options)
    text = run(["gcc", "-std=gnu17", *options, "-E", "-C", entry["file"]], cwd=entry["directory"]).stdout
    key = hashlib.sha256("\0".join([identity, *command, text]).encode()).hexdigest()
    remembered = os.path.join(cache, key)
    if os.path.exists(remembered):
        return ""
    done = run(command, cwd=entry["directory"])
    if done.returncode == 0 and not re.search(r"(warning|error):", done.stdout):
        with open(remembered, "w", encoding="utf-8"):
            return ""
    return done.stdout or "%s: exit code %d\n" % (entry["file"], done.returncode)


def main():
    tool, build = sys.argv[1], os.path.abspath(sys.argv[2])
    _, version, configuration, with_tests = TOOLS[tool]
    identity = run(version, check=True).stdout
    for name in configuration:
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            identity += f.read()
    cache = os.path.join(TOP, "build", "lint", tool)
    os.makedirs(cache, exist_ok=True)
    todo = list(entries(build, with_tests))
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        complaints = [c for c in pool.map(lambda e: judge(tool, e, identity, cache), todo) if c]
    sys.stdout.write("".join(complaints))
    print("%s: %d files, %d with complaints" % (tool, len(todo), len(complaints)))
    return 1 if complaints or not todo else 0


if __name__ == "__main__":
    sys.exit(main())
