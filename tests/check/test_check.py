# SPDX-License-Identifier: Apache-2.0
"""The runner decides what counts as passed, so it is tested first."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import capabilities  # noqa: E402
import coverage  # noqa: E402
import leftovers  # noqa: E402
import mutants  # noqa: E402
import results  # noqa: E402
import run  # noqa: E402

JUNIT = """<testsuite>
<testcase name="good" time="1.5" status="run"><system-out>fine</system-out></testcase>
<testcase name="bad" time="0" status="fail"><failure message="SegFault"/></testcase>
<testcase name="lost" time="0" status="notrun"><skipped message="Unable to find executable"/></testcase>
<testcase name="skips" time="0" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
<system-out>SKIP nowhere: not on this machine</system-out></testcase>
<testcase name="lazy" time="0" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/></testcase>
<testcase name="hides" time="0" status="run"><system-out>[  SKIPPED ] one</system-out></testcase>
</testsuite>"""


class Judging(unittest.TestCase):
    def states(self):
        with tempfile.NamedTemporaryFile("w", suffix=".xml") as f:
            f.write(JUNIT)
            f.flush()
            return {r.name.split()[1]: r.state for r in results.from_junit(f.name, "x")}

    def test_only_a_skip_whose_capability_is_absent_is_a_skip(self):
        capabilities.PROBES["nowhere"] = lambda: False
        self.addCleanup(capabilities.PROBES.pop, "nowhere")
        self.assertEqual(self.states(), {
            "good": "passed", "bad": "failed", "lost": "failed", "skips": "skipped",
            "lazy": "failed", "hides": "failed"})

    def test_a_skip_for_what_is_there_is_a_failure(self):
        capabilities.PROBES["nowhere"] = lambda: True
        self.addCleanup(capabilities.PROBES.pop, "nowhere")
        self.assertEqual(self.states()["skips"], "failed")

    def test_the_last_line_counts(self):
        all_of_them = results.Results()
        all_of_them.claim("a", [])
        self.assertEqual(all_of_them.last_line(), "1 passed, 0 failed, 0 skipped")

    def test_the_short_list_says_why_a_test_failed(self):
        said = "ok\n" * 50 + "FAIL: test_it (x.T)\n  File ...\nAssertionError: 1 != 2\n\nFAILED (failures=1)\n(failed)"
        self.assertEqual(results.reasons(said), ["FAIL: test_it (x.T)", "AssertionError: 1 != 2", "(failed)"])
        self.assertEqual(results.reasons("a\nand then it stopped\n"), ["and then it stopped"])
        self.assertEqual(results.reasons(""), [])


class SecondRuns(unittest.TestCase):
    def failed(self, output="AssertionError: 701 not less than 700"):
        all_of_them = results.Results()
        result = results.Result("release slow", results.FAILED, 1, output)
        all_of_them.add(result)
        return all_of_them, result

    def test_a_second_run_that_passes_counts_and_the_first_is_told(self):
        all_of_them, first = self.failed()
        self.assertTrue(first.may_run_again())
        all_of_them.second_run(first, results.Result(first.name, results.PASSED, 1, "fine"))
        self.assertEqual(all_of_them.last_line(), "1 passed, 0 failed, 0 skipped")
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            all_of_them.tell()
        self.assertIn("UNSTEADY: release slow", told.getvalue())
        self.assertIn("701 not less than 700", told.getvalue())

    def test_a_second_run_that_fails_changes_nothing(self):
        for state in (results.FAILED, results.SKIPPED):
            all_of_them, first = self.failed()
            all_of_them.second_run(first, results.Result(first.name, state, 1, "again"))
            self.assertEqual(all_of_them.last_line(), "0 passed, 1 failed, 0 skipped")
            self.assertIn("again", first.output)

    def test_no_second_run_after_a_crash_or_a_finding(self):
        for output in ("ERROR: AddressSanitizer: heap", "x.c:1: runtime error: overflow", "(SegFault)",
                       "==12== Invalid read"):
            self.assertFalse(self.failed(output)[1].may_run_again(), output)


def environment(pid):
    with open("/proc/%d/environ" % pid, "rb") as f:
        return f.read()


class Leftovers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.watch = leftovers.Watch(folder.name)
        self.addCleanup(self.watch.done)

    def test_a_process_left_running_is_found_and_ended(self):
        child = subprocess.Popen(["sleep", "600"], env=self.watch.environment())
        self.addCleanup(child.kill)
        while not environment(child.pid):  # exec has begun when Popen returns, and isn't through yet
            time.sleep(0.01)
        self.assertIn("sleep 600", "\n".join(self.watch.processes(0.2)))
        self.assertEqual(child.wait(10), -9)
        self.assertEqual(self.watch.processes(0.2), [])

    def test_a_sanitizer_report_is_found(self):
        with open(os.path.join(self.watch.reports, "report.1"), "w", encoding="utf-8") as f:
            f.write("heap-use-after-free")
        self.assertEqual(self.watch.sanitizer_reports(), ["heap-use-after-free"])

    def test_a_core_dump_of_ours_is_found_and_a_strangers_is_not(self):
        note = struct.pack("<III8s", 5, 136, leftovers.NT_PRPSINFO, b"CORE") + \
            b"\0" * 40 + b"teelaunchd".ljust(16, b"\0") + b"\0" * 80
        head = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
            "<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        program = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(note), 0, 4)
        with open(os.path.join(self.watch.tmp, "core.7"), "wb") as f:
            f.write(head + program + note)
        self.assertEqual(len(self.watch.core_dumps([], 0, {"teelaunchd"})), 1)
        self.assertEqual(self.watch.core_dumps([], 0, {"other"}), [])


class Recorded(run.Check):
    """Builds nothing: @bad is the build that fails, or breaks the runner."""

    def __init__(self, bad, fault=None):
        super().__init__(False)
        self.bad, self.fault, self.done = bad, fault, []

    def run(self, argv, log, timeout_s):
        is_bad = log == "build-" + self.bad
        if is_bad and self.fault:
            raise self.fault
        return (1 if is_bad else 0), "words of " + log

    def test(self, preset, labels):
        self.done.append((preset, labels))

    def lint(self, tool):
        self.done.append(tool)


class Lanes(unittest.TestCase):
    def walk(self, bad, fault=None):
        logs = run.LOGS
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            run.LOGS = folder
            try:
                check = Recorded(bad, fault)
                run.phase(check, "x", *run.lanes(check))
                check.watch.done()
            finally:
                run.LOGS = logs
        return check

    def test_every_set_of_tests_and_every_linter_runs_once(self):
        check = self.walk("none")
        wanted = [*run.QUICK, *run.SLOW, *run.SANITIZED, *run.THREADED, *run.VIRTUAL, *run.LINT]
        self.assertEqual(sorted(map(str, check.done)), sorted(map(str, wanted)))
        self.assertEqual(check.results.having(results.FAILED), [])

    def test_what_needs_a_build_that_failed_does_not_run_and_the_rest_does(self):
        for bad in run.BUILDS:
            for fault in (None, OSError("no such program")):
                check = self.walk(bad, fault)
                self.assertFalse([d for d in check.done if d[0] == bad])
                self.assertEqual({d[0] for d in check.done if isinstance(d, tuple)}, set(run.BUILDS) - {bad})
                self.assertEqual([d for d in check.done if d in run.LINT], [] if bad == "clang" else list(run.LINT))
                self.assertEqual(len(check.results.having(results.FAILED)), 1)


class Counted(unittest.TestCase):
    """coverage.py and mutants.py."""
    GCOV = {"functions": [{"name": "f", "start_line": 1, "execution_count": 2}],
            "lines": [{"line_number": 2, "count": 2, "function_name": "f", "branches": [{"count": 2}, {"count": 0}]},
                      {"line_number": 3, "count": 0, "function_name": "f", "branches": []}]}

    def sums(self):
        source = coverage.Source()
        source.add(self.GCOV)
        return coverage.folders({"policy/a.c": source})

    def test_what_was_taken_is_counted(self):
        self.assertEqual(self.sums()["policy"].numbers, [1, 2, 1, 2])

    def test_a_folder_below_its_floor_or_without_one_is_a_fault(self):
        self.assertEqual(list(coverage.faults(self.sums(), {"policy": (50, 50)})), [])
        for floors in ({"policy": (51, 50)}, {"policy": (50, 51)}, {}, {"policy": (50, 50), "gone": (0, 0)}):
            self.assertEqual(len(list(coverage.faults(self.sums(), floors))), 1, floors)

    def test_each_folder_has_a_floor(self):
        floors = coverage.floors_read()
        self.assertIn(coverage.EVENT_LOG[0], floors)
        for folder in set(floors) - {coverage.EVENT_LOG[0]}:
            self.assertTrue(os.path.isdir(os.path.join(coverage.TOP, folder)), folder)

    @staticmethod
    def archive(build, boot, names):
        os.makedirs(os.path.join(build, coverage.GUESTS), exist_ok=True)
        with tarfile.open(os.path.join(build, coverage.GUESTS, boot + ".tar.gz"), "w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.size = 1
                archive.addfile(member, io.BytesIO(b"x"))

    def test_what_a_machine_counted_lies_beside_its_notes(self):
        """Each boot has a folder of its own; what isn't a counter stays in the archive."""
        with tempfile.TemporaryDirectory() as build:
            os.makedirs(os.path.join(build, "a"))
            with open(os.path.join(build, "a", "b.c.gcno"), "w", encoding="utf-8") as f:
                f.write("notes")
            for boot in ("disk.1.1", "disk.1.2"):
                self.archive(build, boot, ["./a/b.c.gcda", "./a/other"])
            coverage.guests_unpack(build)
            for boot in ("disk.1.1", "disk.1.2"):
                self.assertEqual(sorted(os.listdir(os.path.join(build, coverage.GUESTS, boot, "a"))),
                                 ["b.c.gcda", "b.c.gcno"])

    def test_an_archive_that_leads_elsewhere_is_refused(self):
        for name in ("../b.c.gcda", "a/../../b.c.gcda", "/b.c.gcda"):
            with tempfile.TemporaryDirectory() as build:
                self.archive(build, "disk.1.1", [name])
                with self.assertRaises(SystemExit):
                    coverage.guests_unpack(build)
                self.assertEqual(os.listdir(os.path.join(build, coverage.GUESTS, "disk.1.1"))
                                 if os.path.isdir(os.path.join(build, coverage.GUESTS, "disk.1.1")) else [], [])

    def test_each_mutant_still_fits_the_code_and_the_checklist(self):
        self.assertEqual(list(mutants.faults()), [])

    def test_a_mutant_that_fits_no_more_is_a_fault(self):
        item, path, old, new, program, test = mutants.MUTANTS[0]
        for row in ((item, path, old + " no more", new, program, test), (item, path, old, old, program, test),
                    (item, path, "\n", new, program, test), (item, path, old, new, program, "no_such_test"),
                    ("S99", path, old, new, program, test)):
            self.assertEqual(len(list(mutants.faults([row]))), 1, row)


if __name__ == "__main__":
    unittest.main()
