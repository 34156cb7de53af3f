# SPDX-License-Identifier: Apache-2.0
"""Reads a console as strictly as a tool may that trusts it: each line is the launcher's, of a form that it
keeps to byte for byte, or stands behind a workload's prefix; there is no third kind."""
import json
import re

REPORT = "TEELAUNCH-REPORT "
OURS = re.compile(r"time=(?P<time>20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) level=(?P<level>DEBUG|INFO|WARN|ERROR) "
                  r"event=(?P<event>[a-z_]+(?:\.[a-z_]+)*) ?(?P<text>.*)")
WORKLOAD = re.compile(r"workload(\(stderr\))?: ")
# key=value, the value bare or in quotes, in which ' and \ are escaped
PAIR = re.compile(r"(?P<key>[a-z][a-z0-9_]*)=(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<bare>[^' =]*))(?: |$)")
# What moves a cursor, ends a line somewhere, or rearranges one.
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
CUT_BYTES = 4090  # a line that long may end anywhere


class Forged(AssertionError):
    pass


def pairs(text, is_cut):
    at, found = 0, {}
    while at < len(text):
        match = PAIR.match(text, at)
        if not match:
            if is_cut:
                break
            raise Forged("no key=value from here: %r" % text[at:at + 200])
        if match["key"] in found:
            raise Forged("twice: %r" % match["key"])
        value = match["quoted"]
        found[match["key"]] = match["bare"] if value is None else re.sub(r"\\(['\\])", r"\1", value)
        at = match.end()
    return found


def read(raw):
    """([(event, level, pairs)], [what the workload wrote], report) of a console's bytes."""
    text = raw.decode("utf-8")  # nothing else is written
    if text and not text.endswith("\n"):
        raise Forged("the last line has no end")
    events, workload, reports = [], [], []
    for line in text.split("\n")[:-1]:
        if FORBIDDEN.search(line):
            raise Forged("a control character: %r" % line[:300])
        ours = OURS.fullmatch(line)
        if ours:
            events.append((ours["event"], ours["level"], pairs(ours["text"], len(line.encode()) >= CUT_BYTES)))
        elif line.startswith(REPORT):
            reports.append(json.loads(line[len(REPORT):]))
        elif WORKLOAD.match(line):
            workload.append(line)
        else:
            raise Forged("nobody's line: %r" % line[:300])
    if len(reports) != 1:
        raise Forged("%d reports" % len(reports))
    return events, workload, reports[0]
