#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs_tables.py KEYS_PAGE LABELS_PAGE: the tables of the pages are those of the program.

Every key must have its row in KEYS_PAGE and every label in LABELS_PAGE, with type, default and
description of `teelaunch explain --schema`; each line of tests/vectors/log-lines.json must have its row in
KEYS_PAGE; a row that begins with a code must have the cause and
the action of `teelaunch explain-error`. What is missing or wrong is printed as it should be.
"""

import json
import os
import re
import subprocess
import sys

PROGRAM = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch")
CODE_ROW = re.compile(r"^\| (TL\d{4}) \|.*$", re.M)
NAME_ROW = re.compile(r"^\| `((?:tee|gca|ita|test)[-.][\w.-]*)` \|.*$", re.M)
WORDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "log-lines.json")
CODES_MIN = 20  # of both pages together


def ask(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=30).stdout


def code_row(code):
    fields = dict(re.findall(r"^  (\w+) +(.*)$", ask("explain-error", code), re.M))
    return "| %s | %s | %s |" % (code, fields["cause"], fields["action"])


def name_row(doc):
    name = doc["name"] + ("NAME" if doc["name"].endswith("-") else "")
    return "| `%s` | %s | %s | %s |" % (name, doc["type"], doc["default"], doc["description"])


def words_rows():
    with open(WORDS, encoding="utf-8") as f:
        return ["| `%s` | %s |" % (line["fragment"], "`%s`" % line["event"] if "event" in line else line["reason"])
                for line in json.load(f)["lines"]]


def differences(have, want):
    return ["should be there: " + row for row in want if row not in have] + \
           ["should not be there: " + row for row in have if row not in want]


def main():
    schema = json.loads(ask("explain", "--schema", "--json"))
    wrong, codes = [], 0
    for path, kind in zip(sys.argv[1:], ("keys", "labels"), strict=True):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        found = [m.group(0) for m in NAME_ROW.finditer(text)]
        wrong += differences(found, [name_row(doc) for doc in schema[kind]])
        if kind == "keys":
            wrong += ["should be there: " + row for row in words_rows() if row not in text.split("\n")]
        for match in CODE_ROW.finditer(text):
            codes += 1
            wrong += differences([match.group(0)], [code_row(match.group(1))])
    if codes < CODES_MIN:
        wrong.append("only %d codes in the tables" % codes)
    print("\n".join(wrong) or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
