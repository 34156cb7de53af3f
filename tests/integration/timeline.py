#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teelaunch timeline: what is drawn is what the report says, whoever wrote it."""
import json
import os
import random
import re
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = os.environ["TEELAUNCH"]
SVG = "{http://www.w3.org/2000/svg}"
MADE, MALFORMED, FAILED = 0, 3, 1


def stage(name, start_ms, took_ms, outcome="ok"):
    return {"name": name, "start_ms": start_ms, "took_ms": took_ms, "outcome": outcome}


def report(stages, **fields):
    return {"schema": "teelaunch.report/1", "result": "success", "exit_code": 0, "stages": stages, **fields}


def in_turn(*pairs):
    at, stages = 0, []
    for name, took_ms in pairs:
        stages.append(stage(name, at, took_ms))
        at += took_ms
    return stages


def run(text, *options, path="-"):
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    return subprocess.run([PROGRAM, "timeline", *options, path], input=data, capture_output=True, timeout=60,
                          check=False)


class Drawn:
    """The picture as a reader of XML sees it."""

    def __init__(self, data):
        self.root = xml.etree.ElementTree.fromstring(data)
        self.texts = ["".join(t.itertext()) for t in self.root.iter(SVG + "text")]
        self.names = ["".join(t.itertext()) for t in self.root.iter(SVG + "text") if t.get("text-anchor") == "end"]
        self.bars = [r for r in self.root.iter(SVG + "rect") if r.get("rx")]

    def bar(self, name, top=86, row=24):
        y = str(top + row * self.names.index(name))
        found = [b for b in self.bars if b.get("y") == y]
        return found[0] if found else None

    def critical(self):
        return {n for n in self.names if self.bar(n) is not None and self.bar(n).get("class") in ("c", "f")}

    def words(self, name):
        y = self.texts.index(name)
        return self.texts[y + 1]


class Timeline(unittest.TestCase):
    def draw(self, document):
        done = run(document)
        self.assertEqual((done.returncode, done.stderr), (MADE, b""), document)
        self.assertEqual(run(document).stdout, done.stdout)
        return Drawn(done.stdout)

    def refuse(self, text, words):
        done = run(text)
        self.assertEqual((done.returncode, done.stdout), (MALFORMED, b""), done.stderr)
        self.assertIn(words, done.stderr.decode())
        self.assertIn("TL1201", done.stderr.decode())

    def test_stages_in_turn_are_all_critical(self):
        picture = self.draw(report(in_turn(("machine", 3), ("metadata", 20), ("pull", 900), ("token", 77)),
                                   image={"reference": "example.com/a:1"}))
        self.assertEqual(picture.names, ["machine", "metadata", "pull", "token"])
        self.assertEqual(picture.critical(), set(picture.names))
        self.assertEqual(picture.words("pull"), "900 ms, 90 %")
        self.assertIn("Launch: success", picture.texts)
        self.assertIn("example.com/a:1", picture.texts)
        self.assertTrue(any(t.startswith("1.00 s in all") for t in picture.texts), picture.texts)
        # Lengths are to scale, one after the other.
        pull, token = picture.bar("pull"), picture.bar("token")
        self.assertAlmostEqual(float(pull.get("width")) / float(token.get("width")), 900 / 77, delta=0.5)
        self.assertAlmostEqual(float(pull.get("x")) + float(pull.get("width")), float(token.get("x")), delta=1)

    def test_what_ran_beside_and_ended_sooner_is_not_critical(self):
        picture = self.draw(report([stage("connect", 0, 10), stage("tpm", 10, 30), stage("resolve", 10, 90),
                                    stage("policy", 100, 1), stage("signatures", 40, 59), stage("pull", 150, 50),
                                    stage("late", 160, 10)]))
        self.assertEqual(picture.critical(), {"connect", "resolve", "policy", "pull"})
        self.assertEqual(picture.words("pull"), "50 ms, 25 %, after 49 ms")
        self.assertEqual(picture.words("tpm"), "30 ms")

    def test_the_path_is_the_one_that_a_search_backwards_finds(self):
        """Against the definition in teelaunch-timeline(1), computed here."""
        dice = random.Random(7)
        for _ in range(40):
            spans = [stage("s%d" % i, dice.randrange(1000), dice.randrange(5, 400)) for i in range(dice.randrange(1, 30))]
            ends = [s["start_ms"] + s["took_ms"] for s in spans]
            left = max(range(len(spans)), key=lambda i: (ends[i], spans[i]["start_ms"], i))
            path = set()
            while left is not None:
                path.add(left)
                before = [i for i in range(len(spans)) if i not in path and ends[i] <= spans[left]["start_ms"] + 1 and
                          spans[i]["start_ms"] <= spans[left]["start_ms"]]
                left = max(before, key=lambda i: (ends[i], spans[i]["start_ms"], i)) if before else None
            self.assertEqual(self.draw(report(spans)).critical(), {spans[i]["name"] for i in path})

    def test_a_failed_launch_shows_where(self):
        stages = in_turn(("machine", 5), ("pull", 700)) + [stage("create", 705, 0, "skipped")]
        stages[1]["outcome"] = "failed"
        picture = self.draw(report(stages, result="retry", code="TL0502"))
        self.assertIn("Launch: retry, TL0502", picture.texts)
        self.assertEqual(picture.bar("pull").get("class"), "f")
        self.assertIsNone(picture.bar("create"))
        self.assertIn("failed", picture.words("pull"))
        self.assertIn("skipped", picture.words("create"))

    def test_a_long_run_leaves_the_launch_visible(self):
        picture = self.draw(report(in_turn(("pull", 600), ("token", 400), ("run", 30 * 24 * 3600 * 1000))))
        self.assertGreater(float(picture.bar("pull").get("width")), 200)
        self.assertEqual(picture.words("run"), "720 h 00 min")
        self.assertTrue(any("1.00 s until the workload started" in t for t in picture.texts))
        short = self.draw(report(in_turn(("pull", 600), ("run", 300))))
        self.assertAlmostEqual(float(short.bar("pull").get("width")) / float(short.bar("run").get("width")), 2, delta=0.1)

    def test_the_last_report_of_a_consoles_output(self):
        first, last = report(in_turn(("first", 5))), report(in_turn(("last", 5)))
        lines = ["boot messages {", "TEELAUNCH-REPORT " + json.dumps(first), "something",
                 "[ 12.3] TEELAUNCH-REPORT " + json.dumps(last) + "\r", "reboot: Power down", ""]
        self.assertEqual(self.draw("\n".join(lines).encode()).names, ["last"])

    def test_the_text_of_a_stranger_stays_text(self):
        nasty = "</text><script>alert('1')</script>&amp;\"\u0001\u2028é"
        picture = self.draw(report([stage(nasty, 0, 5)], result=nasty, code=nasty, image={"reference": nasty * 90}))
        kinds = {e.tag.replace(SVG, "") for e in picture.root.iter()}
        self.assertLessEqual(kinds, {"svg", "title", "style", "rect", "text", "tspan", "path"})
        self.assertEqual(picture.names, [nasty.replace("\u0001", "?")])
        data = run(report([stage(nasty, 0, 5)])).stdout
        self.assertIsNone(re.search(rb"(href|url\(|@import|<!|<\?|\son\w+=)", data))

    def test_what_is_no_report(self):
        good = report(in_turn(("a", 1)))
        for text, words in ((b"", "no JSON object"), (b"hello", "no JSON object"), (b"{", "expected"), (b"[]", "no JSON"),
                            (b"TEELAUNCH-REPORT nothing", "expected"), (b"{}", "schema"), (b"\0{}", "no JSON"),
                            (b'{"a":' * 5000, "nested"), ({**good, "schema": "teelaunch.report/2"}, "schema"),
                            ({**good, "stages": []}, "no stages"), ({**good, "stages": {}}, "no stages"),
                            ({**good, "stages": [], "truncated": True}, "cut away"),
                            ({**good, "stages": ["a"]}, "no name"), (report([stage(7, 0, 1)]), "no name"),
                            (report([stage("a", 0, 1)] * 65), "more than 64")):
            with self.subTest(text=text):
                self.refuse(text, words)
        for number in (-1, 1.5, "1", None, True, 2 ** 49, 10 ** 18):
            self.refuse(report([stage("a", number, 1)]), "start_ms is no number")
            self.refuse(report([stage("a", 1, number)]), "took_ms is no number")
        for outcome in ("OK", "", None, 1):
            self.refuse(report([stage("a", 0, 1, outcome)]), "isn't known")
        self.refuse(json.dumps(report([stage("a", 0, 1)])).replace("1", "1" * 30).encode(), "TL1201")

    def test_extremes_are_drawn(self):
        for stages in ([stage("a", 0, 0)], [stage("a", 2 ** 48, 2 ** 48)], [stage("", 0, 1)] * 64,
                       [stage("run", 0, 10 ** 9)], [stage("a", 0, 0), stage("run", 0, 10 ** 9)]):
            with self.subTest(stages=len(stages), first=stages[0]):
                self.draw(report(stages))

    def test_files_and_the_command_line(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = os.path.join(folder, "report.json"), os.path.join(folder, "out.svg")
            with open(source, "w", encoding="ascii") as f:
                json.dump(report(in_turn(("a", 1))), f)
            for options in (("-o", target), ("--output", target)):
                done = run(b"", *options, path=source)
                self.assertEqual((done.returncode, done.stdout, done.stderr), (MADE, b"", b""))
                with open(target, "rb") as f:
                    self.assertEqual(f.read(), run(b"", path=source).stdout)
                self.assertEqual(sorted(os.listdir(folder)), ["out.svg", "report.json"])
            for options, path in ((("-o", folder + "/no/where"), source), ((), folder + "/nothing"),
                                  (("--unknown",), source), ((source,), source)):
                done = run(b"", *options, path=path)
                self.assertEqual((done.returncode, done.stdout), (FAILED, b""), options)
                self.assertTrue(done.stderr)
        done = subprocess.run([PROGRAM, "timeline", "--help"], capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("--output FILE", done.stdout)


if __name__ == "__main__":
    unittest.main()
