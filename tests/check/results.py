# SPDX-License-Identifier: Apache-2.0
"""Results: what passed, failed, was skipped; and how they are told."""

import re
import threading
import xml.etree.ElementTree

import capabilities

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# What says in one line why a test failed: unittest's, cmocka's, the sanitizers'.
REASON = re.compile(r"^(?:FAIL|ERROR): .*|^\w*(?:Error|Exception|Failure): .*|^\[  FAILED  \].*|"
                    r"^.*error: Failure!.*|^.*(?:ERROR|WARNING): \w+Sanitizer.*|^\((?:failed|not run).*", re.M | re.I)
REASONS_MAX, REASON_CHARS_MAX = 8, 200
FIRST_CHARS_MAX = 4000

# A program that reports success although it left something out.
HIDDEN_SKIP = re.compile(r"^\[  SKIPPED \]|^OK \(.*skipped=", re.M)


# What no second run makes good.
FOR_GOOD = re.compile(r"\w+Sanitizer|^==\d+== |runtime error: |SEGV|SegFault|SIGABRT|Abort", re.M)


class Result:
    def __init__(self, name, state, took_s, output):
        self.name, self.state, self.took_s, self.output = name, state, took_s, output
        self.first = None  # output of the first run, if only the second one passed

    def may_run_again(self):
        return self.state == FAILED and not FOR_GOOD.search(self.output)


class Results:
    """All results of a run; lanes add to it at the same time."""

    def __init__(self):
        self._all = []
        self._lock = threading.Lock()

    def add(self, result):
        with self._lock:
            self._all.append(result)
            if result.state != PASSED:
                print("  %s: %s" % (result.state.upper(), result.name), flush=True)

    def claim(self, name, faults, took_s=0.0):
        """One check of the runner's own: it passes when there are no faults."""
        self.add(Result(name, FAILED if faults else PASSED, took_s, "\n".join(faults)))

    def having(self, state):
        return [r for r in self._all if r.state == state]

    def slowest(self, n):
        return sorted(self._all, key=lambda r: -r.took_s)[:n]

    def tell(self):
        print("\nslowest:")
        for r in self.slowest(8):
            print("  %7.1f s  %s" % (r.took_s, r.name))
        for r in self.having(SKIPPED):
            print("\nskipped: %s\n  %s" % (r.name, r.output.strip().replace("\n", "\n  ")))
        for r in self._all:
            if r.first is not None:
                print("\n==== UNSTEADY: %s passed only when it was run again, alone. The first run:\n%s" %
                      (r.name, r.first.rstrip()[-FIRST_CHARS_MAX:]))
        if self.having(FAILED):
            print("\nwhat failed, in short:")
        for r in self.having(FAILED):
            print("  %s\n    %s" % (r.name, "\n    ".join(reasons(r.output))))
        for r in self.having(FAILED):
            print("\n==== FAILED: %s\n%s" % (r.name, r.output.rstrip()))

    def second_run(self, failed, result):
        """@result is what came of running @failed once more."""
        with self._lock:
            if result.state == PASSED:
                failed.first, failed.state, failed.output = failed.output, PASSED, result.output
                print("  unsteady: %s" % failed.name, flush=True)
            else:
                failed.output += "\n(run again, alone: failed, too)\n" + result.output

    def last_line(self):
        return ", ".join("%d %s" % (len(self.having(s)), s) for s in (PASSED, FAILED, SKIPPED))


def reasons(output):
    """The lines of a failed test's output that say why; its last line where none is known to."""
    found = [m.group(0).strip()[:REASON_CHARS_MAX] for m in REASON.finditer(output)]
    return found[:REASONS_MAX] or output.strip().splitlines()[-1:]


def judge(name, is_skip, is_pass, output):
    """(state, output): a skip counts only where the named capability is absent."""
    if is_skip:
        missing = capabilities.absent(output)
        if missing:
            return SKIPPED, output
        return FAILED, output + "\n(skipped, but it names no capability that is absent here)"
    if is_pass and HIDDEN_SKIP.search(output):
        return FAILED, output + "\n(passed, but it left tests out)"
    return (PASSED if is_pass else FAILED), output


def from_junit(path, prefix):
    """Results out of ctest's --output-junit."""
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        fault = case.find("failure")
        if fault is not None:
            output += "\n(%s)" % (fault.get("message") or "failed")
        skipped = case.find("skipped")
        is_skip = skipped is not None and "SKIP" in (skipped.get("message") or "")
        if skipped is not None and not is_skip:
            output += "\n(not run: %s)" % skipped.get("message")
        name = "%s %s" % (prefix, case.get("name"))
        state, output = judge(name, is_skip, case.get("status") == "run", output)
        yield Result(name, state, float(case.get("time") or 0), output)
