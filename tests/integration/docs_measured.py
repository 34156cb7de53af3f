#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""docs_measured.py PAGE: the page's table of inputs has exactly one row for each metadata key, each option of
each verb of teelaunchd and each field of an image's configuration that is read, and each row says where it is
measured: an event of PCR 13, a member of the launch record that is really there, the boot, or why nowhere."""

import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import measured  # noqa: E402

PROGRAMS = os.environ["TL_PROGRAMS"]
VERBS = ("run", "disk", "exit", "firewall")
ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.M)
EVENTS = re.compile(r"\bevents? ((?:\d+(?:, )?)+)")
PLACES = ("PCR 13 event", "PCR 15 `", "boot", "not measured: ")


def ask(program, *arguments):
    return subprocess.run([os.path.join(PROGRAMS, program), *arguments], stdout=subprocess.PIPE, text=True,
                          check=True, timeout=30).stdout


def read(*path):
    with open(os.path.join(TOP, *path), encoding="utf-8") as f:
        return f.read()


def inputs():
    """What the programs read, as the table names it."""
    for doc in json.loads(ask("teelaunch", "explain", "--schema", "--json"))["keys"]:
        yield "metadata `%s`" % (doc["name"] + ("NAME" if doc["name"].endswith("-") else ""))
    for verb in VERBS:
        for name in re.findall(r"^  (--[\w-]+) ", ask("teelaunchd", verb, "--help"), re.M):
            yield "unit `%s %s`" % (verb, name)
    source = read("policy", "image_config.c")
    for table, prefix in (("top_rows", ""), ("config_rows", "config.")):
        body = re.search(r"\b%s\[\] = \{(.*?)\n\};" % table, source, re.S).group(1)
        for name in re.findall(r'\{ "(\w+)", read_\w+', body):
            yield "image configuration `%s%s`" % (prefix, name)


def members(document, prefix=""):
    """Names of what isn't an object itself, with dots."""
    for name, value in document.items():
        if isinstance(value, dict):
            yield from members(value, prefix + name + ".")
        else:
            yield prefix + name


def faults(rows):
    record = set(members(measured.record({}, ["run"])))
    names = [name for name, _ in rows]
    wanted = set(inputs())
    for name in sorted(wanted):
        if names.count(name) != 1:
            yield "%d rows instead of one: %s" % (names.count(name), name)
    for name in names:
        if name.startswith(("metadata ", "unit ", "image configuration ")) and name not in wanted:
            yield "no program reads this: %s" % name
    claimed, events = set(), set()
    for name, where in rows:
        if not where.startswith(PLACES) or (where.startswith("not measured: ") and len(where) < 30):
            yield "says nothing about where: %s" % name
        if "PCR 15" in where:
            found = set(re.findall(r"`([\w.]+)`", where))
            claimed |= found
            if not found & record:
                yield "no such member of the launch record: %s: %s" % (name, where)
        for numbers in EVENTS.findall(where):
            events |= {int(n) for n in numbers.split(", ") if n}
    yield from ("a member of the launch record that no row names: " + m for m in sorted(record - claimed))
    yield from ("a member that the launch record has not: " + m for m in sorted(claimed - record))
    if events != set(range(8)):
        yield "events of PCR 13 that rows name: %s" % sorted(events)


def extends_pcr_15():
    """systemd's programs that measure into PCR 15 have names with "pcr"; none may get into the image."""
    for path in glob.glob(os.path.join(TOP, "image", "files*.conf")):
        for line in read(path).splitlines():
            if "pcr" in line.split("#")[0]:
                yield "%s: %s" % (os.path.basename(path), line)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        page = f.read()
    table = page[page.index("## Every input of a launch"):]
    rows = ROW.findall(table[:table.index("\n## ", 5)])[1:]
    wrong = list(faults(rows)) + list(extends_pcr_15())
    print("\n".join(wrong) or "ok: %d inputs" % len(rows))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
