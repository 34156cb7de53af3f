#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The gate against growing slower or larger: instructions of the pure parts of a launch, counted by
valgrind, and bytes of the stripped programs, beside those of tests/bench/baseline.json.

    gate.py COUNTED PROGRAMS [--update]

Counts, not times: a busy machine changes nothing. Of each part two numbers: the instructions in this
project's own code, and all of them, libraries included. The libraries are told to use nothing of the
processor that another one may lack. With another compiler or C library than the recorded ones the numbers
say less, and have more room; that is printed, never passed over."""
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
BASELINE = os.path.join(HERE, "baseline.json")
PROGRAMS = ("teelaunchd", "teelaunch-unpack", "teelaunch", "teeverifierd")
# How much more is let pass: for a change of no weight; with other tools; of all code, not our own.
ROOM, ROOM_OTHER_TOOLS, ROOM_TOTAL = 1.03, 1.25, 1.10
# As many as any x86-64 has.
PLAIN_PROCESSOR = {
    "OPENSSL_ia32cap": "0:0",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-BMI1,-BMI2,-LZCNT,-MOVBE,-ERMS,-FSRM,-SSE4_1,-SSE4_2,-SSSE3",
}


def run(*argv, env=None):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          env={"PATH": os.environ["PATH"], "LC_ALL": "C", **(env or {})}).stdout


def tools():
    return {"compiler": run("gcc", "-dumpfullversion").strip(),
            "libc": run("dpkg-query", "-W", "-f", "${Version}", "libc6"),
            "machine": os.uname().machine}


def costs(path, program):
    """(instructions in the program itself, in all) of a file of callgrind's, whose format is in valgrind's
    manual, "Callgrind Format Specification": "ob=" names the object of the cost lines that follow, and the line
    after "calls=" is the cost of the call, counted where it was made already."""
    names, here, own, total, is_call = {}, None, 0, 0, False
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            named = re.match(r"ob=\((\d+)\)(?: (.+))?$", line)
            if named:
                if named.group(2):
                    names[named.group(1)] = named.group(2)
                here = names[named.group(1)]
            elif line.startswith("calls="):
                is_call = True
            elif re.match(r"[+*\-0-9]", line):
                if not is_call:
                    count = int(line.split()[1])
                    total += count
                    own += count if here == program else 0
                is_call = False
            else:
                defined = re.match(r"cob=\((\d+)\) (.+)$", line)
                if defined:
                    names[defined.group(1)] = defined.group(2)
    return own, total


def count(counted, part, times=1):
    program = os.path.realpath(counted)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        run("valgrind", "--tool=callgrind", "--toggle-collect=run_part", "--callgrind-out-file=" + out, program, part,
            str(times), env=PLAIN_PROCESSOR)
        return costs(out, program)


def measure(counted, programs):
    with tempfile.TemporaryDirectory() as folder:
        sizes = {}
        for name in PROGRAMS:
            if os.path.exists(os.path.join(programs, name)):
                stripped = os.path.join(folder, name)
                run("strip", "-o", stripped, os.path.join(programs, name))
                sizes[name] = os.path.getsize(stripped)
    parts = {}
    for part in run(counted).split():
        parts[part] = dict(zip(("own", "total"), count(counted, part)))
    return {"tools": tools(), "instructions": parts, "bytes": sizes}


def judge(was, now):
    """Sentences about what grew."""
    is_same = was["tools"] == now["tools"]
    if not is_same:
        print("gate: recorded with %s, compared with %s: %.0f %% of room instead of %.0f %%" % (
            was["tools"], now["tools"], (ROOM_OTHER_TOOLS - 1) * 100, (ROOM - 1) * 100))
    room = ROOM if is_same else ROOM_OTHER_TOOLS
    rows = [("bytes of " + n, was["bytes"].get(n), b, room) for n, b in now["bytes"].items()]
    for part, counts in now["instructions"].items():
        before = was["instructions"].get(part, {})
        rows += [("instructions of '%s' in our own code" % part, before.get("own"), counts["own"], room),
                 ("instructions of '%s'" % part, before.get("total"), counts["total"], max(room, ROOM_TOTAL))]
    grown = []
    for what, before, after, most in rows:
        print("%-48s %9d %9s  %s" % (what, after, before, "%.3f" % (after / before) if before else "new"))
        if not before or after > before * most:
            grown.append("%s: %d, was %s" % (what, after, before))
    gone = sorted((set(was["bytes"]) - set(now["bytes"])) | (set(was["instructions"]) - set(now["instructions"])))
    return grown + ["%s is no longer measured" % name for name in gone]


class Gate(unittest.TestCase):
    counted = programs = None

    def test_nothing_grew(self):
        with open(BASELINE, encoding="ascii") as f:
            self.assertEqual(judge(json.load(f), measure(self.counted, self.programs)), [],
                             "if it is worth it: %s COUNTED PROGRAMS --update" % os.path.basename(__file__))

    def test_a_part_that_does_its_work_twice_is_noticed(self):
        own, total = count(self.counted, "verdict")
        again, all_again = count(self.counted, "verdict", 2)
        self.assertGreater(own, 10000)
        self.assertGreater(total, own)
        was = {"tools": tools(), "bytes": {}, "instructions": {"verdict": {"own": own, "total": total}}}
        now = {**was, "instructions": {"verdict": {"own": again, "total": all_again}}}
        self.assertEqual(len(judge(was, now)), 2)
        self.assertEqual(judge(now, now), [])

    def test_the_same_work_has_the_same_count(self):
        self.assertEqual(count(self.counted, "events"), count(self.counted, "events"))

    def test_what_is_judged(self):
        was = {"tools": {"compiler": "1"}, "bytes": {"a": 1000}, "instructions": {"p": {"own": 100, "total": 1000}}}

        def now(own=100, total=1000, size=1000, compiler="1"):
            return {"tools": {"compiler": compiler}, "bytes": {"a": size}, "instructions": {"p": {"own": own, "total": total}}}
        for change, n in (({}, 0), ({"own": 104}, 1), ({"own": 103}, 0), ({"total": 1101}, 1), ({"size": 1031}, 1),
                          ({"own": 10, "total": 10, "size": 10}, 0), ({"own": 120, "compiler": "2"}, 0),
                          ({"own": 126, "compiler": "2"}, 1)):
            with self.subTest(change=change):
                self.assertEqual(len(judge(was, now(**change))), n)
        self.assertEqual(judge(was, {**now(), "bytes": {}}), ["a is no longer measured"])
        self.assertEqual(len(judge({**was, "bytes": {}}, now())), 1)


def main():
    arguments = [a for a in sys.argv[1:] if a != "--update"]
    Gate.counted, Gate.programs = arguments
    if "--update" in sys.argv:
        with open(BASELINE, "w", encoding="ascii") as f:
            json.dump(measure(*arguments), f, indent=1, sort_keys=True)
            f.write("\n")
        return
    unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
