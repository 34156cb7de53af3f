#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rule of the soak can fail: leaks of each kind break it, noise and a warm-up don't. And what is made of the
results says so."""
import json
import os
import random
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "world"), os.path.join(HERE, "..", "bench"), HERE]

import parts  # noqa: E402
import soak_document  # noqa: E402
import soak_rule  # noqa: E402


def series(value, n=100, step=1000):
    return [(i * step, value(i * step)) for i in range(n)]


class Rule(unittest.TestCase):
    def flat(self, points, bound):
        return soak_rule.judge(points, bound)["is_flat"]

    def test_a_constant_is_flat(self):
        self.assertTrue(self.flat(series(lambda _: 7), 0))

    def test_a_leak_above_what_is_seen_breaks_it_and_one_below_does_not(self):
        least = soak_rule.judge(series(lambda _: 5000), 512)["seen_from"]
        self.assertAlmostEqual(least * 1024, 7.8, delta=0.3)  # bytes each, of 100,000
        self.assertFalse(self.flat(series(lambda x: 5000 + 1.02 * least * x), 512))
        self.assertTrue(self.flat(series(lambda x: 5000 + 0.98 * least * x), 512))

    def test_one_descriptor_in_a_thousand_tokens_breaks_it(self):
        self.assertFalse(self.flat(series(lambda x: 20 + x // 1000), 1))

    def test_a_step_in_the_middle_breaks_it(self):
        self.assertFalse(self.flat(series(lambda x: 1 if x < 50_000 else 2), 0))

    def test_noise_and_a_single_peak_do_not(self):
        dice = random.Random(1)
        self.assertTrue(self.flat(series(lambda _: 5000 + dice.randint(-40, 40)), 64))
        self.assertTrue(self.flat(series(lambda x: 900 if x == 95_000 else 5), 0))

    def test_the_warm_up_is_not_judged(self):
        self.assertTrue(self.flat(series(lambda x: min(5000, x)), 0))

    def test_a_fall_is_flat(self):
        self.assertTrue(self.flat(series(lambda x: 9000 - x / 100), 0))

    def test_few_samples_are_no_proof(self):
        for n in (0, 1, 8):
            with self.assertRaises(soak_rule.TooFew):
                soak_rule.judge(series(lambda _: 1, n), 0)
        soak_rule.judge(series(lambda _: 1, 10), 0)


def result(phase, last):
    points = [[i, 5 if i < 50 else last] for i in range(100)]
    return {"phase": phase, "unit": "tokens", "asked": 1000, "done": 990, "took_s": 61.0, "facts": {"of them <made>": 9},
            "commit": "abc", "at": "2026-01-01", "series": {
                "launcher: descriptors": {"unit": "", "points": points, **soak_rule.judge(points, 1)}}}


class Document(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.docs = scratch.name
        self.page = os.path.join(self.docs, "ASSURANCE.md")
        parts.write(self.page, "before\n%s\nold\n%s\nafter\n" % (soak_document.BEGIN, soak_document.END))

    def write(self, last):
        parts.write(os.path.join(self.docs, "tokens.json"), json.dumps(result("tokens", last)))
        soak_document.write(self.docs, self.docs)
        return parts.read(self.page), parts.read(os.path.join(self.docs, "soak-tokens.svg"))

    def test_the_page_and_the_plot_show_what_was_run(self):
        for _ in range(2):  # and again over itself
            page, plot = self.write(5)
        self.assertTrue(page.startswith("before\n") and page.endswith("after\n") and "\nold\n" not in page)
        self.assertIn("| launcher: descriptors | 5 | 5 | 0 | 1 | yes |", page)
        self.assertIn("990 tokens (of 1,000)", page)
        root = xml.etree.ElementTree.fromstring(plot)
        self.assertEqual(len([e for e in root if e.tag.endswith("polyline")]), 1)

    def test_what_is_not_flat_is_said(self):
        page, _ = self.write(50)
        self.assertIn("| launcher: descriptors | 5 | 50 | 45 | 1 | **no** |", page)

    def test_a_page_without_the_marks_is_left_alone(self):
        parts.write(self.page, "text\n")
        with self.assertRaises(parts.Failure):
            self.write(5)
        self.assertEqual(sorted(os.listdir(self.docs)), ["ASSURANCE.md", "tokens.json"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
