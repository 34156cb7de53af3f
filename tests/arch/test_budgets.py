# SPDX-License-Identifier: Apache-2.0
"""Sizes: a function, a file and a header that outgrow these want to be a table, or two."""

import arch

FUNCTION_LINES_MAX = 80
SOURCE_LINES_MAX = 600
HEADER_LINES_MAX = 150


def files_stay_small(tree):
    bad = []
    for name in tree.c_files():
        lines = tree.read(name).count("\n")
        most = HEADER_LINES_MAX if name.endswith(".h") else SOURCE_LINES_MAX
        if lines > most:
            bad.append("%s:%d: %d lines, at most %d" % (name, most, lines, most))
    return bad


def functions_stay_small(tree):
    sources = tree.c_files()
    if not sources:
        return []
    out = arch.run(["ctags", "-f", "-", "--sort=no", "--fields=+ne", "--kinds-C=f",
                    "--language-force=C", *sources], cwd=tree.top, check=True).stdout
    bad = []
    for row in out.splitlines():
        parts = row.split("\t")
        fields = dict(p.split(":", 1) for p in parts[4:] if ":" in p)
        if "line" not in fields or "end" not in fields:
            continue
        first, last = int(fields["line"]), int(fields["end"])
        if last - first + 1 > FUNCTION_LINES_MAX:
            bad.append("%s:%d: %s() has %d lines, at most %d" % (
                parts[1], first, parts[0], last - first + 1, FUNCTION_LINES_MAX))
    return bad


if __name__ == "__main__":
    arch.main(files_stay_small, functions_stay_small)
