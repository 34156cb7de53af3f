# SPDX-License-Identifier: Apache-2.0
"""The checklist of docs/THREAT_MODEL.md and the table of docs/quirks.md: each number has a row, each row an
answer, and each test that is named exists and is run by ctest."""

import json
import os
import re

import arch

DOCUMENT = "docs/THREAT_MODEL.md"
QUIRKS = "docs/quirks.md"
VECTORS = "tests/vectors/fixed-quirks.json"
IDS = ["S%02d" % i for i in range(1, 51)]
NUMBERS = range(1, 71)
ROW = re.compile(r"^\| (S\d\d) \|[^|]*\|([^|]*)\|$", re.M)
QUIRK = re.compile(r"^\| (\d+) \|[^|]+\|\s*(\w+)\s*\|([^|]*)\|$", re.M)
TEST = re.compile(r"`([^`]+)`")
# In the rows of quirks, code that is no test has a capital, a hyphen, a slash or a blank in it.
TEST_OF_QUIRK = re.compile(r"`([a-z0-9_]{9,})`")
REASON_CHARS_MIN = 20


def names_of_tests(tree):
    """Functions that a runner calls, and the names by which ctest knows programs and scripts -> their file."""
    found = {}
    for name in tree.files:
        if not name.startswith("tests/"):
            continue
        names = []
        if re.match(r"tests/fuzz/fuzz_\w+\.c$", name):
            names = [name[len("tests/fuzz/"):-2]]
        elif name.endswith(".c"):
            names = re.findall(r"cmocka_unit_test(?:_setup_teardown)?\(\s*(\w+)", tree.read(name))
        elif name.endswith(".py"):
            names = re.findall(r"^    def (test_\w+)\(self", tree.read(name), re.M)
            for listed in re.findall(r"^TESTS = [(\[]([\w,\s]+)[)\]]$", tree.read(name), re.M):
                names += re.findall(r"\w+", listed)
        for test in names:
            found.setdefault(test, []).append(name)
    return found


def names_of_any_build(tree):
    """Tests that CMake's files name; some of them are for builds of one kind alone."""
    return {test for name in tree.files if name.endswith("CMakeLists.txt")
            for test in re.findall(r"\btl_\w+_t(?:est|arget)\(\s*(\w+)", tree.read(name))}


def run_by_ctest(build):
    """The names of ctest's tests, and the files they run: scripts by their path, programs by their name."""
    done = arch.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True).stdout
    tests = json.loads(done[done.index("{"):])["tests"]
    files = set()
    for test in tests:
        for word in test.get("command", ()):
            files.update((os.path.realpath(word), os.path.basename(word)))
    return {test["name"] for test in tests}, files


class Tests:
    def __init__(self, tree, build):
        self.tree = tree
        self.functions = names_of_tests(tree)
        self.names, self.files = run_by_ctest(build)
        self.names |= names_of_any_build(tree)

    def is_run(self, source):
        if source.endswith(".py"):
            return os.path.realpath(self.tree.path(source)) in self.files
        return os.path.basename(source)[:-len(".c")] in self.files

    def fault(self, name):
        """What is wrong with @name as the name of a test; "" if nothing is."""
        if name in self.names:
            return ""
        if name not in self.functions:
            return "there is no test %s" % name
        if not any(map(self.is_run, self.functions[name])):
            return "%s is in %s, which ctest doesn't run" % (name, self.functions[name][0])
        return ""


def every_item_of_the_checklist_has_an_answer(tree, build):
    bad = []
    rows = ROW.findall(tree.read(DOCUMENT))
    found = dict(rows)
    tests = Tests(tree, build)
    for number in IDS:
        if number not in found:
            bad.append("%s:1: %s has no row" % (DOCUMENT, number))
            continue
        if sum(row[0] == number for row in rows) > 1:
            bad.append("%s:1: %s has several rows" % (DOCUMENT, number))
        named = TEST.findall(found[number])
        if not named:
            bad.append("%s:1: %s names no test" % (DOCUMENT, number))
        bad += ["%s:1: %s: %s" % (DOCUMENT, number, fault) for fault in map(tests.fault, named) if fault]
    return bad


def quirk_faults(state, answer, tests):
    named = TEST_OF_QUIRK.findall(answer)
    words = TEST.sub("", answer).strip(" ,;:")
    if state not in ("fixed", "kept", "absent"):
        yield "'%s' is neither fixed nor kept nor absent" % state
    if not named and "no test" not in answer:
        yield "names no test, and doesn't say \"no test\""
    if ("no test" in answer or state == "kept") and len(words) < REASON_CHARS_MIN:
        yield "gives no reason"
    for name in named:
        if tests.fault(name):
            yield tests.fault(name)


def every_quirk_has_an_answer(tree, build):
    rows = QUIRK.findall(tree.read(QUIRKS))
    tests = Tests(tree, build)
    bad = ["%s:1: %d has %d rows" % (QUIRKS, n, sum(int(r[0]) == n for r in rows))
           for n in NUMBERS if sum(int(r[0]) == n for r in rows) != 1]
    for number, state, answer in rows:
        bad += ["%s:1: %s: %s" % (QUIRKS, number, fault) for fault in quirk_faults(state, answer, tests)]
    kept = {int(number) for number, state, _ in rows if state == "kept"}
    for case in json.loads(tree.read(VECTORS))["cases"]:
        number = re.match(r"(\d+)(?![.\d])", case["quirk"])
        if number and int(number.group(1)) in kept:
            bad.append("%s:1: %s shows quirk %s fixed, %s says kept" % (
                VECTORS, case["id"], number.group(1), QUIRKS))
    return bad


if __name__ == "__main__":
    arch.main(every_item_of_the_checklist_has_an_answer, every_quirk_has_an_answer)
