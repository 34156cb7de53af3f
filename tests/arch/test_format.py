# SPDX-License-Identifier: Apache-2.0
"""Formatting is a tool's business: clang-format decides, this compares."""

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


if __name__ == "__main__":
    arch.main(c_is_formatted)
