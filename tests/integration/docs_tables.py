#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs_tables.py [--update] KEYS_PAGE LABELS_PAGE: the tables of the pages are those of the program.

Every key must have its row in KEYS_PAGE and every label in LABELS_PAGE, with type, default and
description of `teelaunch explain --schema`; each line of tests/vectors/log-lines.json must have its row in
KEYS_PAGE; a row that begins with a code must have the cause and
the action of `teelaunch explain-error`. What is missing or wrong is printed as it should be.

KEYS_PAGE also has all codes of a launch, between two comments: --update writes that part anew.
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
CODES_MIN = 10  # outside of the generated part
BLOCK = re.compile(r"(?<=<!-- generated: tests/integration/docs_tables.py --update -->\n).*?"
                   r"(?=<!-- end of the generated part -->)", re.S)
# Hundreds of the codes that end, delay or spoil a launch. 10 are the verifier's own, 11 those of
# `teelaunch vm`.
SECTIONS = ("Any stage, and the network", "The machine and its disk", "Metadata", "What metadata asks for",
            "What the image allows", "Finding and pulling the image", "containerd and the container",
            "TPM and measurement", "Verifier and tokens", "The workload and the end")


def ask(*arguments):
    return subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=30).stdout


def explained(codes):
    """code -> its fields, "stage" to "action"."""
    entries = re.split(r"^(?=TL\d{4} )", ask("explain-error", *codes), flags=re.M)[1:]
    return {e[:6]: dict(re.findall(r"^  (\w+) +(.*)$", e, re.M)) for e in entries}


def code_row(code):
    fields = explained([code])[code]
    return "| %s | %s | %s |" % (code, fields["cause"], fields["action"])


def block():
    """The generated part: a table for each section."""
    codes = re.findall(r"^(TL\d{4}) ", ask("explain-error"), re.M)
    text = ""
    for hundred, title in enumerate(SECTIONS):
        rows = explained([c for c in codes if int(c[2:]) // 100 == hundred])
        text += "\n### %s\n\n| code | class | cause | what to do |\n|---|---|---|---|\n" % title
        text += "".join("| %s | %s | %s | %s |\n" % (
            code, *(f[k].replace("|", "\\|") for k in ("class", "cause", "action")))
                        for code, f in rows.items())
    return text + "\n"


def block_check(path, text, is_update):
    """What is wrong with the generated part; written anew instead with @is_update."""
    found, want = BLOCK.search(text), block()
    if not found:
        return ["%s: has no generated part" % path]
    if is_update and found.group(0) != want:
        with open(path, "w", encoding="utf-8") as f:
            f.write(BLOCK.sub(lambda _: want, text))
    elif found.group(0) != want:
        return differences(found.group(0).splitlines(), want.splitlines()) + \
            ["%s: run TL_PROGRAMS=build/bin tests/integration/docs_tables.py --update on both pages" % path]
    return []


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
    pages = [a for a in sys.argv[1:] if a != "--update"]
    wrong, codes = [], 0
    for path, kind in zip(pages, ("keys", "labels"), strict=True):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if kind == "keys":
            wrong += block_check(path, text, "--update" in sys.argv[1:])
            text = BLOCK.sub("", text)
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
