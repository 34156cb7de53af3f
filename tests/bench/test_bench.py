#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The bench runs: every section that needs no virtual machine, once and small; what it writes has what its readers
want. How fast anything was is not judged here."""
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "world"), HERE]

import bench  # noqa: E402
import bench_document  # noqa: E402
import bench_images  # noqa: E402
import bench_memory  # noqa: E402
import bench_stats  # noqa: E402
import bench_targets  # noqa: E402
import parts  # noqa: E402
import stopwatch  # noqa: E402


class Computed(unittest.TestCase):
    def test_a_ratio_is_of_each_round(self):
        rows = bench_stats.Rows()
        for ours, theirs in ((1.0, 2.0), (30.0, 10.0), (4.0, 4.0)):
            rows.add_columns("r", "ms", {"a": ours, "b": theirs})
        row = rows.document()[0]
        self.assertEqual(row["ratios"]["a / b"]["median"], 1.0)
        self.assertEqual((row["ratios"]["a / b"]["least"], row["ratios"]["a / b"]["most"]), (0.5, 3.0))
        self.assertEqual(row["spread"]["a"], {"n": 3, "median": 4.0, "least": 1.0, "most": 30.0, "p99": 30.0})

    def test_waits_that_overlap_count_once(self):
        waits = [(0.0, 2.0), (5.0, 6.0), (1.0, 3.0), (5.2, 5.4), (9.0, 20.0)]
        self.assertAlmostEqual(stopwatch.union_s(waits, 0.5, 10.0), 2.5 + 1.0 + 1.0)
        self.assertEqual(stopwatch.union_s([], 0.0, 10.0), 0.0)

    def test_figures_read_well(self):
        self.assertEqual(bench_stats.cell([1500.0], "ms"), "1,500 ms")
        self.assertEqual(bench_stats.cell([2500.0, 2400.0, 2600.0], "ms"), "2.50 s (2.40 to 2.60)")
        self.assertEqual(bench_stats.cell([2048.0], "KiB"), "2 MiB")
        self.assertEqual(bench_stats.cell([], "ms"), "-")

    def test_a_memory_that_two_have_counts_once(self):
        """Between its fork and its exec a child of posix_spawn() has its parent's."""
        program = os.path.join(self.folder(), "spawner")
        subprocess.run(["gcc", "-x", "c", "-o", program, "-"], check=True, text=True, input="""
            #include <stdio.h>
            #include <unistd.h>
            int main(void) { if (vfork() == 0) { printf("%d\\n", getpid()); fflush(stdout); pause(); } return 0; }""")
        with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as process:
            child = int(process.stdout.readline())
            try:
                self.assertEqual(bench_memory.own_memory([process.pid, child]), [process.pid])
                self.assertEqual(bench_memory.own_memory([process.pid, os.getpid()]), [process.pid, os.getpid()])
            finally:
                os.kill(child, 9)

    def folder(self):
        folder = tempfile.mkdtemp(prefix="tlb-")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def test_the_choice_of_files_is_the_same_each_time(self):
        chosen = [list(bench_images.walk(3e6, 1e6)) for _ in range(2)]
        self.assertEqual(chosen[0], chosen[1])
        self.assertGreater(len(chosen[0]), 10)


class Run(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tlb-")
        cls.results = os.path.join(cls.folder, "results.json")
        done = subprocess.run([sys.executable, "-B", os.path.join(HERE, "bench.py"), "--quick", "--json", cls.results],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError("bench.py ended with %d:\n%s" % (done.returncode, (done.stdout + done.stderr)[-6000:]))
        cls.document = json.loads(parts.read(cls.results))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def test_the_machine_is_described(self):
        for name in ("system", "kernel", "processors", "processor", "memory_mb", "file_system", "kvm", "packages",
                     "load_at_start", "disk_mb_s", "engine"):
            self.assertIn(name, self.document["machine"])
        self.assertIn("1.6", self.document["machine"]["packages"]["containerd"])

    def test_each_section_has_samples(self):
        wanted = [name for name in bench.SECTIONS if name not in bench.VIRTUAL_MACHINES]
        self.assertEqual(set(self.document["sections"]), set(wanted))
        for name, section in self.document["sections"].items():
            self.assertNotIn("failed", section)
            self.assertTrue(section["rows"], name)
            self.assertTrue({"at", "commit", "load", "took_s", "others"} <= set(section), name)
            for row in section["rows"]:
                self.assertEqual(set(row), {"name", "unit", "columns", "spread", "ratios"})
                self.assertTrue(row["columns"], row)
                for values in row["columns"].values():
                    self.assertTrue(values and all(isinstance(v, (int, float)) for v in values), row)

    def test_what_is_compared_was_measured_on_both_sides(self):
        for section, row, columns in (("launch", "the same without these waits", {"teelaunchd", "ctr"}),
                                      ("pull", "3 MB, 8 layers, gzip", {"teelaunchd", "ctr", "tar -x"}),
                                      ("events", "60 events into two banks", {"teelaunchd", "bare extends"}),
                                      ("socket", "evidence over the socket", {"teelaunchd", "the TPM's own time"})):
            found = bench_stats.find(self.document, section, row)
            self.assertLessEqual(columns, set(found["columns"]))
            self.assertTrue(found["ratios"], row)

    def test_the_waits_are_part_of_the_whole(self):
        whole, waits = (bench_stats.find(self.document, "launch", n)["columns"]["teelaunchd"]
                        for n in ("exec to first instruction", "waiting for any of them"))
        for one, waited in zip(whole, waits):
            self.assertTrue(0 < waited < one, (one, waited))

    def test_each_target_is_judged_by_its_figure(self):
        targets = self.document["targets"]
        self.assertEqual(len(targets), len(bench_targets.AT_MOST) + len(bench_targets.AT_LEAST))
        measured = [t for t in targets if t["figure"] is not None]
        self.assertGreaterEqual(len(measured), 12, targets)
        for t in measured:
            self.assertEqual(t["met"], t["figure"] >= t["limit"] if t["at_least"] else t["figure"] <= t["limit"], t)
        slow = copy.deepcopy(self.document)
        row = bench_stats.find(slow, "denial", "metadata's answer to report")
        row["columns"]["teelaunchd"] = [51.0]
        judged = [t for t in bench_targets.judge(slow) if t["what"].startswith("a denial")][0]
        self.assertEqual((judged["figure"], judged["met"]), (51.0, False))
        self.assertIn("registry", judged["why"])

    def test_the_document_is_made_of_the_results(self):
        page = os.path.join(self.folder, "PERFORMANCE.md")
        parts.write(page, "before\n%s\nold\n%s\nafter\n" % (bench_document.BEGIN, bench_document.END))
        for _ in range(2):  # and again over itself
            bench_document.write(self.document, self.folder)
        text = parts.read(page)
        self.assertTrue(text.startswith("before\n") and text.endswith("after\n") and "\nold\n" not in text)
        for t in self.document["targets"]:
            self.assertIn("| %s | " % t["what"], text)
        for name in self.document["sections"]:
            self.assertIn("### %s\n" % bench_document.WORDS[name][0], text)
        self.assertEqual(json.loads(parts.read(os.path.join(self.folder, "performance.json"))), self.document)
        plot = xml.etree.ElementTree.parse(os.path.join(self.folder, "performance-targets.svg")).getroot()
        bars = [e for e in plot if e.tag.endswith("rect")]
        self.assertEqual(len(bars), sum(t["figure"] is not None for t in self.document["targets"]))

    def test_a_page_without_the_marks_is_left_alone(self):
        other = os.path.join(self.folder, "other")
        os.mkdir(other)
        parts.write(os.path.join(other, "PERFORMANCE.md"), "text\n")
        with self.assertRaises(parts.Failure):
            bench_document.write(self.document, other)
        self.assertEqual(os.listdir(other), ["PERFORMANCE.md"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
