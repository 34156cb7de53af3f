# SPDX-License-Identifier: Apache-2.0
"""The error catalogue: ordered, every row used by the code, every row produced by some test."""

import re

import arch

CATALOGUE = "src/core/catalogue.def"
# Rows without a test, one name a line. It may only shrink: a new row comes with its test.
UNTESTED = "tests/arch/untested_codes.txt"
ROW = re.compile(r"^TL_ROW\((\d+),\s*(TL_E_\w+),", re.M)
NAME = re.compile(r"\bTL_E_[A-Z0-9_]+\b")
ID = re.compile(r"\bTL(\d{4})\b")


def rows(tree):
    return [(int(number), name) for number, name in ROW.findall(tree.read(CATALOGUE))]


def names_in(tree, files):
    """Codes mentioned by name or, as scripts see them, by id."""
    by_number = dict(rows(tree))
    found = set()
    for name in files:
        text = tree.read(name)
        found.update(NAME.findall(text))
        found.update(by_number.get(int(i)) for i in ID.findall(text))
    return found


def rows_are_ordered_and_dense(tree):
    bad = []
    last = 0
    for number, name in rows(tree):
        if number != last + 1 and not (number > last and number % 100 == 1):
            bad.append("%s:1: %s has number %d after %d" % (CATALOGUE, name, number, last))
        last = number
    return bad


def every_row_is_used(tree):
    used = names_in(tree, [f for f in tree.c_files() if not f.startswith("tests/")])
    return ["%s:1: %s is used nowhere" % (CATALOGUE, name) for _, name in rows(tree)
            if name not in used]


def every_row_has_a_test(tree):
    untested = set(tree.read(UNTESTED).split())
    tested = names_in(tree, [f for f in tree.named(".c", ".py", ".sh", ".h")
                             if f.startswith("tests/") and not f.startswith("tests/arch/")])
    names = {name for _, name in rows(tree)}
    print("every_row_has_a_test: %d of %d rows" % (len(names & tested), len(names)))
    return (["%s:1: no test mentions %s" % (CATALOGUE, n) for n in sorted(names - tested - untested)]
            + ["%s:1: %s has a test: take it off the list" % (UNTESTED, n)
               for n in sorted(untested & tested)]
            + ["%s:1: %s is not in the catalogue" % (UNTESTED, n)
               for n in sorted(untested - names)])


if __name__ == "__main__":
    arch.main(rows_are_ordered_and_dense, every_row_is_used, every_row_has_a_test)
