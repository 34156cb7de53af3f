# SPDX-License-Identifier: Apache-2.0
"""Formatting is a tool's business: clang-format decides, this compares."""

import re

import arch


def c_is_formatted(tree):
    sources = tree.c_files()
    if not sources:
        return []
    done = arch.run(["clang-format", "--dry-run", "-Werror", "--style=file", *sources],
                    cwd=tree.top)
    bad = [row for row in done.stdout.splitlines() if ": error:" in row]
    if done.returncode and not bad:
        bad = [done.stdout]
    return bad


def every_check_that_is_off_has_a_reason(tree):
    text = tree.read(".clang-tidy")
    off = set(re.findall(r"^ *-([a-z][\w.-]+),?$", text, re.M))
    reasons = set(re.findall(r"^# ([\w.-]+): \S", text, re.M))
    return [".clang-tidy:1: %s is off without a reason, or has a reason and is on" % check
            for check in sorted(off ^ reasons)]


if __name__ == "__main__":
    arch.main(c_is_formatted, every_check_that_is_off_has_a_reason)
