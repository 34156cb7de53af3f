#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""memcheck.py BUILD: each unit test of BUILD under valgrind's memcheck: no error, no leak; and that
memcheck finds the faults of BUILD/tests/broken.

The integration test launch_memory has whole launches under it.
"""
import concurrent.futures
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
JOBS = len(os.sched_getaffinity(0))
ONE_TEST_TIMEOUT_S = 1500
ERROR = 99
SUPPRESSIONS = os.path.join(HERE, "..", "integration", "valgrind.supp")
VALGRIND = ("valgrind", "--quiet", "--error-exitcode=%d" % ERROR, "--leak-check=full", "--num-callers=30",
            "--errors-for-leak-kinds=definite,indirect,possible", "--show-leak-kinds=definite,indirect,possible",
            "--fair-sched=yes", "--suppressions=" + SUPPRESSIONS)
# Test -> why it can't run so; AddressSanitizer has it.
OPENAT2 = "openat2(2), which Debian 12's valgrind (3.19) doesn't know"
LEFT_OUT = {
    "test_confine": "seccomp(2), which that valgrind doesn't know; and its own code is written while it runs",
    "test_confine_faults": "as test_confine",
    "test_token_share": "looks for its own name as the kernel has it, which is valgrind's",
    "test_tree": OPENAT2,
    "test_unpacker": "posix_spawn() of a program that isn't there succeeds: valgrind makes a fork of a vfork",
    "test_view": OPENAT2,
    "test_workload": OPENAT2,
}
# Argument of `broken` -> what memcheck calls it.
FAULTS = {"leak": "definitely lost", "read": "Invalid read", "unset": "uninitialised"}


def unit_tests(build):
    """Name -> command, of those that are programs of ours."""
    out = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1", "-L", "^unit$"], check=True,
                         stdout=subprocess.PIPE).stdout
    own = os.path.join(build, "tests") + os.sep
    return {t["name"]: t["command"] for t in json.loads(out)["tests"] if t["command"][0].startswith(own)}


def watched(command):
    """(exit code, output)"""
    try:
        done = subprocess.run([*VALGRIND, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=ONE_TEST_TIMEOUT_S, check=False)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        return 124, (late.stdout or b"").decode(errors="replace")


def faults_seen(build):
    """Complaints about memcheck itself."""
    for fault, words in FAULTS.items():
        code, output = watched([os.path.join(build, "tests", "broken"), fault])
        if code != ERROR or words not in output:
            yield "memcheck doesn't see the fault '%s':\n%s" % (fault, output)


def main():
    build = os.path.abspath(sys.argv[1])
    bad = list(faults_seen(build))
    tests = unit_tests(build)
    lost = sorted(set(LEFT_OUT) - set(tests))
    if lost or not tests:
        bad.append("no such test: %s" % lost)

    def run(name):
        begun = time.monotonic()
        code, output = watched(tests[name])
        print("%6.1f s  %s" % (time.monotonic() - begun, name), flush=True)
        return "" if code == 0 else "%s: exit code %d\n%s" % (name, code, output)

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        bad += [b for b in pool.map(run, sorted(set(tests) - set(LEFT_OUT))) if b]
    for name, why in sorted(LEFT_OUT.items()):
        print("left out: %s: %s" % (name, why))
    print("\n".join(bad))
    print("memcheck: %d unit tests, %d left out, %d complaints" % (len(tests), len(LEFT_OUT), len(bad)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
