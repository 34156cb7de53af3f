#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Lines of the log into a real journald, as entries with fields, beside the same lines as text by systemd-cat. In turns
(A B A B), against one journald without rate limit; what counts is until the last one is in the journal."""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(HERE, "..", "world"))

import parts  # noqa: E402
from journal import Journal  # noqa: E402

LINE = "level=INFO event=stage.done stage=pull took_ms=1234"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--lines", type=int, default=20000)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--program", default=os.path.join(TOP, "build", "release", "tests", "journal_time"))
    a = p.parse_args()
    folder = tempfile.mkdtemp(prefix="tlb-")
    journal = Journal(os.path.join(folder, "journal"), ("RateLimitIntervalSec=0", "RuntimeMaxUse=512M")).start()
    rows, again = {"entries with fields": [], "systemd-cat": []}, []
    try:
        for number in range(a.rounds):
            for kind in rows:
                began = time.monotonic()
                if kind == "systemd-cat":
                    subprocess.run(journal.inside("sh", "-c", 'yes "$1" | head -n "$2" | systemd-cat -t bench', "sh", LINE,
                                                  str(a.lines)), check=True)
                else:
                    out = subprocess.run(journal.inside(a.program, str(a.lines)), check=True, stdout=subprocess.PIPE).stdout
                    again.append(int(out.split()[1]))
                match = "SYSLOG_IDENTIFIER=" + ("bench" if kind == "systemd-cat" else "teelaunchd")
                parts.wait_until(lambda m=match, n=number: journal.count(m) >= (n + 1) * a.lines, "the entries", 120)
                rows[kind].append(a.lines / (time.monotonic() - began))
    finally:
        journal.stop()
        shutil.rmtree(folder)
    print("| %d lines into the journal | lines/s, median (smallest to largest) |" % a.lines)
    print("|---|---|")
    for kind, values in rows.items():
        print("| %s | %.0f (%.0f to %.0f) |" % (kind, statistics.median(values), min(values), max(values)))
    ratios = [x / y for x, y in zip(*rows.values(), strict=True)]
    print("| the one divided by the other | %.2f (%.2f to %.2f) |" % (statistics.median(ratios), min(ratios), max(ratios)))
    print("not taken at once, of %d: %d (median)" % (a.lines, statistics.median(again)))


if __name__ == "__main__":
    main()
