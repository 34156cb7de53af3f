# SPDX-License-Identifier: Apache-2.0
"""The checklist of docs/THREAT_MODEL.md: every test it names exists, and every id has a row."""

import re

import arch

DOCUMENT = "docs/THREAT_MODEL.md"
IDS = ["S%02d" % i for i in range(1, 51)]
ROW = re.compile(r"^\| (S\d\d) \|[^|]*\|([^|]*)\|$", re.M)
TEST = re.compile(r"`([^`]+)`")
NOT_YET = re.compile(r"not yet: [a-z]")


def rows(tree):
    return {number: answer for number, answer in ROW.findall(tree.read(DOCUMENT))}


def names_of_tests(tree):
    """Functions that a runner calls, and the names by which ctest knows programs and scripts."""
    found = set()
    for name in tree.files:
        if not name.startswith("tests/"):
            continue
        if re.match(r"tests/fuzz/fuzz_\w+\.c$", name):
            found.add(name[len("tests/fuzz/"):-2])
        elif name.endswith(".c"):
            found.update(re.findall(r"cmocka_unit_test(?:_setup_teardown)?\(\s*(\w+)", tree.read(name)))
        elif name.endswith(".py"):
            found.update(re.findall(r"^    def (test_\w+)\(self", tree.read(name), re.M))
            for listed in re.findall(r"^TESTS = [(\[]([\w,\s]+)[)\]]$", tree.read(name), re.M):
                found.update(re.findall(r"\w+", listed))
        elif name.endswith("CMakeLists.txt"):
            found.update(re.findall(r"\btl_\w+_t(?:est|arget)\(\s*(\w+)", tree.read(name)))
    return found


def every_item_of_the_checklist_has_an_answer(tree):
    bad = []
    found = rows(tree)
    tests = names_of_tests(tree)
    for number in IDS:
        if number not in found:
            bad.append("%s:1: %s has no row" % (DOCUMENT, number))
            continue
        named = TEST.findall(found[number])
        if not named and not NOT_YET.search(found[number]):
            bad.append("%s:1: %s names no test and no \"not yet: ...\"" % (DOCUMENT, number))
        bad += ["%s:1: %s: there is no test %s" % (DOCUMENT, number, n)
                for n in named if n not in tests]
    return bad


if __name__ == "__main__":
    arch.main(every_item_of_the_checklist_has_an_answer)
