#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""coverage.py OBJECTS TEST...: runs the tests, then compares the branches of policy/ that none of
them took with uncovered.txt: a branch that isn't there fails, and so does a row that no longer holds.

OBJECTS is the folder of policy's object files in a build with counters (preset coverage).
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "uncovered.txt")
POLICY = os.path.join(HERE, "..", "..", "..", "policy")
LEAST = 95.0
ROW = re.compile(r"^(\w+\.c) (\w+) (\d+): (.+)$")


def table_read(path=TABLE):
    """{(file, function, source line): branches}; each row is followed by its indented reason."""
    rows = {}
    faults = []
    wanting = None
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            row = ROW.match(line)
            if line.startswith("\t") and line.strip():
                wanting = None
            elif row:
                if wanting:
                    faults.append("%s:%d: a row without a reason" % (path, wanting))
                rows[row.group(1), row.group(2), row.group(4)] = int(row.group(3))
                wanting = number
            elif line.strip() and not line.startswith("#"):
                faults.append("%s:%d: no row: %s" % (path, number, line.strip()))
    if wanting:
        faults.append("%s:%d: a row without a reason" % (path, wanting))
    return rows, faults


def gcov_read(objects):
    """Taken, all, {(file, function, source line): branches not taken}. One entry a source line."""
    taken = total = 0
    missing = collections.Counter()
    notes = sorted(n for n in os.listdir(objects) if n.endswith(".gcno"))
    out = subprocess.run(["gcov", "--json-format", "--branch-probabilities", "--branch-counts", "--stdout", *notes], cwd=objects,
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    for document in out.splitlines():
        for file in json.loads(document)["files"]:
            name = os.path.basename(file["file"])
            if not re.search(r"(^|/)policy/\w+\.c$", file["file"]):
                continue
            with open(os.path.join(POLICY, name), encoding="utf-8") as f:
                source = f.read().split("\n")
            for line in file["lines"]:
                counts = [b["count"] for b in line["branches"]]
                total += len(counts)
                taken += sum(c > 0 for c in counts)
                if not all(counts):
                    text = source[line["line_number"] - 1].strip()
                    missing[name, line["function_name"], text] += counts.count(0)
    return taken, total, dict(missing)


def compare(missing, rows):
    faults = ["policy/%s: %s(): %d branches of '%s' are not covered" % (*key[:2], n, key[2])
              for key, n in sorted(missing.items()) if key not in rows]
    for key, n in sorted(rows.items()):
        if missing.get(key, 0) != n:
            faults.append("uncovered.txt: %s %s: '%s' has %d uncovered branches, not %d"
                          % (*key, missing.get(key, 0), n))
    return faults


def main():
    objects = sys.argv[1]
    for name in glob.glob(os.path.join(objects, "*.gcda")):
        os.unlink(name)
    for test in sys.argv[2:]:
        done = subprocess.run([test], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=300, check=False)
        if done.returncode:
            sys.exit("%s failed:\n%s" % (test, done.stdout))
    taken, total, missing = gcov_read(objects)
    rows, faults = table_read()
    faults += compare(missing, rows)
    percent = 100.0 * taken / total if total else 0.0
    if percent < LEAST:
        faults.append("%.2f %% of the branches are covered; %.0f are asked for" % (percent, LEAST))
    print("\n".join(faults))
    print("policy/: %d of %d branches (%.2f %%)" % (taken, total, percent))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
