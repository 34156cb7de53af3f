#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""run.py [--long]: builds with gcc, clang and the sanitizers, runs the tests on each, lints.

Prints the time of every phase, the log of every failure in full, and at the very end one line
"N passed, N failed, N skipped". Logs stay in build/check/.
"""

import os
import re
import resource
import subprocess
import sys
import threading
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOGS = os.path.join(TOP, "build", "check")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import leftovers  # noqa: E402
import results  # noqa: E402

BUILDS = ("release", "clang", "asan-ubsan", "tsan")
# What of a build the short form needs, if not all.
SHORT_TARGETS = {"tsan": "thread_unit_tests"}
BUILD_TIMEOUT_S = 1500
TESTS_TIMEOUT_S = 2400
LONG_TESTS_TIMEOUT_S = 7200
LINT_TIMEOUT_S = 1800  # it gives way to the tests
JOBS = str(max(2, len(os.sched_getaffinity(0))))

# Sets of tests that need only a processor: name, preset, labels, as ctest reads them.
QUICK = (
    ("release", ("^(unit|fuzz-replay|arch|arch-binary)$",)),
    ("clang", ("^(unit|fuzz-replay|arch-binary)$",)),
    ("asan-ubsan", ("^(unit|fuzz-replay)$",)),
)
# Tests that start daemons; they hold RESOURCE_LOCKs (tests/CMakeLists.txt). Those marked asan run with the
# sanitizers too, beside the others: each has a world of its own.
SLOW = (
    ("release", ("^integration$",)),
)
SANITIZED = (
    ("asan-ubsan", ("^integration$", "^asan$")),
)
# ThreadSanitizer makes a program some ten times slower: whole launches are for the long form.
THREADED = (
    ("tsan", ("^unit$", "^threads$")),
)
THREADED_LONG = (
    ("tsan", ("^integration$", "^threads$")),
)
# Tests in virtual machines, which meet none of the others.
VIRTUAL = (
    ("release", ("^vm$",)),
)
AGAIN_MAX = 3
AGAIN_TIMEOUT_S = 300
LINT = ("clang-tidy", "analyzer", "cppcheck")
# No lane waits for these: tests, which measure time, go first.
PATIENT = ["nice", "-n", "10"]


class Check:
    def __init__(self, is_long):
        self.is_long = is_long
        self.started = time.time()
        self.results = results.Results()
        self.with_daemons = []  # results of tests that started daemons
        os.makedirs(LOGS, exist_ok=True)
        self.watch = leftovers.Watch(LOGS)
        # Worlds with equal options share a provisioned TPM's state.
        self.environment = {**self.watch.environment(), "TL_TPM_CACHE": os.path.join(self.watch.tmp, "tpm-cache")}
        self.built = {preset: threading.Event() for preset in BUILDS}
        self.is_built = set()

    def run(self, argv, log, timeout_s):
        """(exit code, output); the output is kept in LOGS. A timeout is exit code 124."""
        path = os.path.join(LOGS, log + ".log")
        with open(path, "w", encoding="utf-8") as f:
            try:
                code = subprocess.run(argv, cwd=TOP, stdin=subprocess.DEVNULL, stdout=f,
                                      stderr=subprocess.STDOUT, timeout=timeout_s,
                                      env=self.environment, check=False).returncode
            except subprocess.TimeoutExpired:
                code = 124
        with open(path, encoding="utf-8", errors="replace") as f:
            return code, f.read()

    def build(self, preset):
        begun = time.time()
        try:
            code, output = self.run(["cmake", "--preset", preset], "configure-" + preset, BUILD_TIMEOUT_S)
            if code == 0:
                target = None if self.is_long else SHORT_TARGETS.get(preset)
                code, output = self.run(["cmake", "--build", "build/" + preset, *(["--target", target] if target else [])],
                                        "build-" + preset, BUILD_TIMEOUT_S)
            self.results.claim("build " + preset, [output] if code else [], time.time() - begun)
            if code == 0:
                self.is_built.add(preset)
        finally:
            self.built[preset].set()

    def after(self, preset, function, *arguments):
        """Once that build is there; never, if it failed, which is told as a failure of its own."""
        self.built[preset].wait()
        if preset in self.is_built:
            function(*arguments)

    def test(self, preset, labels):
        log = "-".join(["test", preset] + re.findall("integration|vm", labels[0]))
        junit = os.path.join(LOGS, log + ".xml")
        if os.path.exists(junit):
            os.unlink(junit)
        argv = ["ctest", "--test-dir", "build/" + preset, "--output-junit", junit, "-j", JOBS,
                "--timeout", "600", "--test-output-size-passed", "1000000",
                "--test-output-size-failed", "10000000", "--no-tests=ignore"]
        for label in labels:
            argv += ["-L", label]
        if not self.is_long:
            argv += ["-LE", "^long$"]
        code, output = self.run(argv, log, LONG_TESTS_TIMEOUT_S if self.is_long else TESTS_TIMEOUT_S)
        found = list(results.from_junit(junit, preset)) if os.path.exists(junit) else []
        for result in found:
            self.results.add(result)
        if {"^integration$", "^vm$"} & set(labels):
            self.with_daemons += found
        if not found or (code and all(r.state == results.PASSED for r in found)):
            self.results.claim("%s: tests %s" % (preset, " and ".join(labels)), [output])

    def again(self):
        """Tests with daemons that failed beside others are run once more, alone, and named as unsteady if they
        pass: a busy machine isn't a fault of the product. Not if there are many, nor after a crash."""
        failed = [r for r in self.with_daemons if r.state == results.FAILED]
        if len(failed) > AGAIN_MAX or not all(r.may_run_again() for r in failed):
            return
        for i, result in enumerate(failed):
            preset, name = result.name.split(" ", 1)
            junit = os.path.join(LOGS, "again-%d.xml" % i)
            if os.path.exists(junit):
                os.unlink(junit)
            self.run(["ctest", "--test-dir", "build/" + preset, "--output-junit", junit, "--timeout", "600",
                      "--test-output-size-failed", "10000000", "-R", "^%s$" % re.escape(name)],
                     "again-%d" % i, AGAIN_TIMEOUT_S)
            if os.path.exists(junit):
                for second in results.from_junit(junit, preset):
                    if second.name == result.name:
                        self.results.second_run(result, second)

    def policy_coverage(self):
        """Every branch of policy/ is taken by a unit test, or a table says why not."""
        begun = time.time()
        code, output = self.run(["cmake", "--preset", "coverage"], "configure-coverage",
                                BUILD_TIMEOUT_S)
        if code == 0:
            code, output = self.run([*PATIENT, "cmake", "--build", "build/coverage", "--target",
                                     "policy_coverage"], "policy-coverage", BUILD_TIMEOUT_S)
        self.results.claim("branch coverage of policy/", [output] if code else [],
                           time.time() - begun)

    def event_log_coverage(self):
        """Not below its floor in tests/check/floors.txt."""
        if not os.path.exists(os.path.join(TOP, "build", "coverage", "build.ninja")):
            return  # told by policy_coverage()
        begun = time.time()
        code, output = self.run([*PATIENT, "cmake", "--build", "build/coverage", "--target", "event_log_coverage"],
                                "event-log-coverage", BUILD_TIMEOUT_S)
        self.results.claim("branch coverage of the event log", [output] if code else [], time.time() - begun)

    def coverage(self):
        """Of each folder, by all tests that write counters; one build's daemons at a time, so after all others."""
        begun = time.time()
        code, output = self.run(["cmake", "--build", "build/coverage"], "build-coverage", BUILD_TIMEOUT_S)
        if code == 0:
            code, output = self.run(["/usr/bin/python3", "-B", "tests/check/coverage.py", "build/coverage", "--floors",
                                     "--missing", os.path.join(LOGS, "missing.txt"), "--run"], "coverage",
                                    LONG_TESTS_TIMEOUT_S)
        self.results.claim("coverage of every folder", [output] if code else [], time.time() - begun)

    def mutants(self):
        """Each check that is taken out is missed by the test that the checklist names."""
        begun = time.time()
        code, output = self.run(["/usr/bin/python3", "-B", "tests/check/mutants.py", os.path.join(LOGS, "mutants")],
                                "mutants", LONG_TESTS_TIMEOUT_S)
        self.results.claim("checks taken out", [output] if code else [], time.time() - begun)

    def lint(self, tool):
        begun = time.time()
        code, output = self.run([*PATIENT, "/usr/bin/python3", "-B", "tests/lint/lint.py", tool,
                                 "build/clang"], "lint-" + tool, LINT_TIMEOUT_S)
        self.results.claim("lint " + tool, [output] if code else [], time.time() - begun)

    def nothing_is_left(self):
        programs = {name[:15] for preset in BUILDS for folder in ("tests", "bin")
                    for name in self.programs(preset, folder)}
        self.results.claim("no process is left", self.watch.processes())
        self.results.claim("no mount is left", self.watch.mounts())
        self.results.claim("no sanitizer reported", self.watch.sanitizer_reports())
        self.results.claim("nothing dumped core", self.watch.core_dumps(
            [os.path.join(TOP, "build")], self.started, programs))
        self.watch.done()

    @staticmethod
    def programs(preset, folder):
        for path in (os.path.join(TOP, "build", preset, folder), os.path.join(TOP, "build", folder)):
            if os.path.isdir(path):
                yield from os.listdir(path)


def phase(check, name, *lanes):
    """Each lane is a list of (function, arguments); lanes run beside one another."""
    begun = time.time()
    print("%s ..." % name, flush=True)

    def walk(lane):
        for function, *arguments in lane:
            try:
                function(*arguments)
            except Exception:  # a broken runner must not look like a passed check
                check.results.claim("runner: %s" % name, [traceback.format_exc()])

    threads = [threading.Thread(target=walk, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("%s: %.0f s" % (name, time.time() - begun), flush=True)


def lanes(check):
    """The longest are the tests that start daemons: they wait for nothing that they don't need."""
    threaded = THREADED + (THREADED_LONG if check.is_long else ())
    return ([(check.build, preset) for preset in BUILDS] + [(check.policy_coverage,), (check.event_log_coverage,)],
            [(check.after, preset, check.test, preset, labels) for preset, labels in SLOW],
            [(check.after, preset, check.test, preset, labels) for preset, labels in VIRTUAL],
            [(check.after, preset, check.test, preset, labels) for preset, labels in QUICK + SANITIZED + threaded],
            [(check.after, "clang", check.lint, tool) for tool in LINT])


def main():
    check = Check("--long" in sys.argv[1:])
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    phase(check, "builds, tests, lint", *lanes(check))
    phase(check, "what failed, once more", [(check.again,)])
    if check.is_long:
        phase(check, "coverage, checks taken out", [(check.coverage,), (check.mutants,)])
    phase(check, "what the tests left", [(check.nothing_is_left,)])
    check.results.tell()
    print("\nall of it: %.0f s; logs in build/check/" % (time.time() - check.started))
    print(check.results.last_line(), flush=True)
    return 1 if check.results.having(results.FAILED) else 0


if __name__ == "__main__":
    sys.exit(main())
