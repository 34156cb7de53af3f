# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: one world for all cases of a file, one line for each case, and the
rule that after each launch nothing is left behind."""
import os
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

HERE = os.path.dirname(os.path.abspath(__file__))

from world import World  # noqa: E402


class LaunchCase(unittest.TestCase):
    images = ("demo/hello:1", "demo/strict:1", "test/missing:1")
    world = None

    @classmethod
    def setUpClass(cls):
        cls.world = World(images=cls.images).start()

    @classmethod
    def tearDownClass(cls):
        cls.world.stop()

    def setUp(self):
        self.world.metadata.behave()

    def note(self, text, *values):
        """One line for one case."""
        print("    " + text % values, flush=True)

    def assert_clean(self, launch):
        left = launch.left_behind()
        self.assertEqual(left, [], launch.stderr)

    def assert_end(self, launch, exit_code, result=None, code=None):
        """How it ended, and that it said so clearly: one report, one root cause with a code."""
        report = launch.report
        self.assertEqual(launch.exit_code, exit_code, launch.stderr)
        self.assertEqual(report["exit_code"], exit_code)
        self.assertEqual(report["action"], {0: "stop", 1: "stop", 3: "restart", 4: "hold"}[exit_code])
        if result:
            self.assertEqual(report["result"], result, launch.stderr)
        if report["result"] != "success":
            self.assertRegex(report.get("code", ""), r"^TL\d{4}$")
            self.assertNotIn("\n", report["message"])
            self.assertTrue(report["message"].strip())
        if code:
            self.assertEqual(report["code"], code, launch.stderr)
        self.assert_clean(launch)
        return report


def main():
    unittest.main(verbosity=2)
