#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py BUILD [--only FOLDER] [--update DOCUMENT] [--missing FILE] [--floors] [--run [CTEST-OPTION...]]: the lines
and branches of our own code, folder by folder, that the tests of a build with counters (preset coverage) went through.

--run empties the counters and runs ctest, with these options or all tests, a part of the fault injection and the tests
of launcher/disk and src/vm in virtual machines among them; without it what the counters hold is told. --update writes
the table into DOCUMENT, between its two marks; --missing writes what no test took: functions never called, then
branches, each with its line. With --floors a folder that is below the floor of tests/check/floors.txt is a failure, and
so is a folder without a floor or a floor without a folder.

gcov's numbers: a branch is an edge out of a condition, at -O0, so `a && b` has four. Programs that are killed write no
counters; nor does teelaunch-unpack, which may open no file once it parses, nor what runs in the VM image."""

import argparse
import collections
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FLOORS = os.path.join(TOP, "tests", "check", "floors.txt")
OURS = re.compile(r"(src|policy|attest|launcher|image)/")
# The folder that isn't one: what makes, encodes, decodes and replays the logs that are extended into registers.
EVENT_LOG = ("the event log", ("attest/cel_decode.c", "attest/event_log.c", "attest/launch_events.c",
                               "attest/record_log.c"))
BEGIN, END = "<!-- coverage.py writes from here -->", "<!-- to here, by coverage.py -->"
FLOOR = re.compile(r"^(\S[^:]*): (\d+) (\d+)$")
TESTS_TIMEOUT_S = 10800
GUESTS = "guests"
# Of each part of launch_injected_long and vm_disk_injected_long. The first is drawn in the order of the seed, so that
# each run makes the same calls fail; the second begins with our own calls.
INJECTED_MINUTES, INJECTED_SEED = "7", "1"
WITH_COUNTERS = (
    ["-L", "^(unit|fuzz-replay|integration)$", "-LE", "^long$", "-E", "^launch_memory$"],  # which measures memory
    ["-R", "^launch_injected_long$"],
    ["-R", "^vm_(disk|tool)", "-E", "^vm_(disk|tool)_injected$"],
)


def documents(build):
    """What gcov says of each object file with notes; one process a folder."""
    for folder, _, names in os.walk(build):
        notes = sorted(n for n in names if n.endswith(".gcno"))
        if not notes or "/tests/" in folder[len(build):] + "/":
            continue
        out = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--branch-counts", "--stdout", *notes],
                             cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for line in filter(None, out.splitlines()):
            yield json.loads(line)


def source_name(name, folder):
    """The path beneath the top of the sources; None if it isn't ours, or a header."""
    if not os.path.isabs(name):
        name = os.path.normpath(os.path.join(folder, name)) if name.startswith("..") else os.path.join(TOP, name)
    name = os.path.relpath(os.path.realpath(name), TOP)
    return name if OURS.match(name) and name.endswith(".c") else None


class Source:
    """The counters of one source file; a file that is compiled twice has the sum of both."""

    def __init__(self):
        self.lines = collections.Counter()
        self.branches = collections.defaultdict(list)  # line -> counts
        self.functions = {}  # name -> [line, calls]
        self.function_of = {}

    def add(self, file):
        for function in file["functions"]:
            old = self.functions.setdefault(function["name"], [function["start_line"], 0])
            old[1] += function["execution_count"]
        here = collections.defaultdict(list)
        for line in file["lines"]:
            self.lines[line["line_number"]] += line["count"]
            self.function_of[line["line_number"]] = line.get("function_name", "")
            here[line["line_number"]] += [b["count"] for b in line["branches"]]
        for number, counts in here.items():
            old = self.branches[number]
            if len(old) == len(counts):
                counts = [a + b for a, b in zip(old, counts)]
            elif old:
                raise SystemExit("line %d has %d branches in one object file and %d in another" % (
                    number, len(old), len(counts)))
            self.branches[number] = counts


def sources(build):
    found = collections.defaultdict(Source)
    for document in documents(build):
        for file in document["files"]:
            name = source_name(file["file"], document["current_working_directory"])
            if name:
                found[name].add(file)
    return found


class Sum:
    def __init__(self):
        self.numbers = [0, 0, 0, 0]  # lines taken and all, branches taken and all

    def add(self, source):
        counts = [c for branches in source.branches.values() for c in branches]
        for i, n in enumerate((sum(c > 0 for c in source.lines.values()), len(source.lines),
                               sum(c > 0 for c in counts), len(counts))):
            self.numbers[i] += n

    def percents(self):
        lines, all_lines, branches, all_branches = self.numbers
        return 100.0 * lines / max(all_lines, 1), 100.0 * branches / max(all_branches, 1)


def folders(found):
    sums = collections.defaultdict(Sum)
    for name, source in found.items():
        sums[os.path.dirname(name)].add(source)
        if name in EVENT_LOG[1]:
            sums[EVENT_LOG[0]].add(source)
    return dict(sums)


def table(sums):
    """The lowest first."""
    yield "| folder | lines | branches | lines | branches |"
    yield "|---|---|---|---|---|"
    for name, one in sorted(sums.items(), key=lambda item: (item[1].percents()[1], item[0])):
        lines, branches = one.percents()
        yield "| %s | %d of %d | %d of %d | %.1f %% | %.1f %% |" % (name, *one.numbers, lines, branches)


def missing(found):
    """Function by function: what was never called, then where a branch wasn't taken."""
    for name in sorted(found):
        source = found[name]
        with open(os.path.join(TOP, name), encoding="utf-8") as f:
            text = f.read().split("\n")
        never = {function for function, (_, calls) in source.functions.items() if calls == 0}
        for function in sorted(never, key=lambda f: source.functions[f][0]):
            yield "%s:%d: %s() is never called" % (name, source.functions[function][0], function)
        for line in sorted(source.branches):
            function = source.function_of[line]
            untaken = source.branches[line].count(0)
            if untaken and function not in never:
                yield "%s:%d: %s(): %d of %d: %s" % (name, line, function, untaken, len(source.branches[line]),
                                                     text[line - 1].strip())


def floors_read(path=FLOORS):
    """{folder: (lines, branches)}, in percent."""
    with open(path, encoding="utf-8") as f:
        rows = [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]
    found = {}
    for row in rows:
        match = FLOOR.match(row)
        if not match:
            raise SystemExit("%s: no row: %s" % (path, row))
        found[match.group(1)] = (int(match.group(2)), int(match.group(3)))
    return found


def faults(sums, floors):
    for name, floor in sorted(floors.items()):
        if name not in sums:
            yield "%s has a floor, and no code" % name
            continue
        for what, is_now, least in zip(("lines", "branches"), sums[name].percents(), floor):
            if is_now < least:
                yield "%s: %.1f %% of the %s are covered, the floor is %d %%" % (name, is_now, what, least)
    yield from ("%s has no floor" % name for name in sorted(set(sums) - set(floors)))


def guests_unpack(build):
    """What programs in virtual machines counted (tests/vm/guest.py): a folder for each boot, with the notes that
    gcov needs beside the counters."""
    for path in glob.glob(os.path.join(build, GUESTS, "*.tar.gz")):
        to = path.removesuffix(".tar.gz")
        shutil.rmtree(to, ignore_errors=True)
        with tarfile.open(path) as archive:
            counters = [m for m in archive.getmembers() if m.isfile() and m.name.endswith(".gcda")]
            for member in counters:
                member.name = os.path.normpath(member.name)
                if member.name.startswith(("/", "..")):
                    raise SystemExit("%s: %s" % (path, member.name))
            archive.extractall(to, counters)
        for member in counters:
            notes = member.name.removesuffix("da") + "no"
            shutil.copy2(os.path.join(build, notes), os.path.join(to, notes))


def run(build, options):
    shutil.rmtree(os.path.join(build, GUESTS), ignore_errors=True)
    for folder, _, names in os.walk(build):
        for name in names:
            if name.endswith(".gcda"):
                os.unlink(os.path.join(folder, name))
    env = {**os.environ, "TL_MINUTES": INJECTED_MINUTES, "TL_SEED": INJECTED_SEED,
           "TL_COUNTERS": os.path.join(os.path.abspath(build), GUESTS)}
    failed = 0
    for chosen in [options] if options else WITH_COUNTERS:
        failed |= subprocess.run(["ctest", "--test-dir", build, "--timeout", "900", "--output-on-failure",
                                  "--no-tests=error", *chosen], timeout=TESTS_TIMEOUT_S, check=False, env=env).returncode
    guests_unpack(build)
    return failed


def update(path, rows, begin=BEGIN, end=END):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit("%s hasn't got the two marks once each" % path)
    before, rest = text.split(begin)
    _, after = rest.split(end)
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + begin + "\n" + "\n".join(rows) + "\n" + end + after)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("build")
    options.add_argument("--only")
    options.add_argument("--run", nargs=argparse.REMAINDER)
    options.add_argument("--update")
    options.add_argument("--missing")
    options.add_argument("--floors", action="store_true")
    chosen = options.parse_args()
    failed = run(chosen.build, chosen.run) if chosen.run is not None else 0
    found = sources(os.path.abspath(chosen.build))
    sums, floors = folders(found), floors_read() if chosen.floors else {}
    if chosen.only:
        sums, floors = ({name: d[name] for name in d if name == chosen.only} for d in (sums, floors))
    print("\n".join(table(sums)))
    if chosen.update and not failed and not chosen.only:
        update(chosen.update, table(sums))
    if chosen.missing:
        with open(chosen.missing, "w", encoding="utf-8") as f:
            f.writelines(line + "\n" for line in missing(found))
    wrong = list(faults(sums, floors)) if chosen.floors else []
    if not sums:
        wrong.append("nothing was counted")
    print("\n".join(wrong))
    return 1 if failed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
