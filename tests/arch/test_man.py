# SPDX-License-Identifier: Apache-2.0
"""Manual pages: mandoc accepts them, and the generated one has every row of the catalogue."""

import os

import arch
import test_catalogue

GENERATED = "docs/man/teelaunch-errors.7"


def pages_are_well_formed(tree, build):
    pages = [tree.path(f) for f in tree.files if f.startswith("docs/man/") and f[-2:] in (".7", ".8")]
    out = arch.run(["mandoc", "-T", "lint", "-W", "warning", *pages,
                    os.path.join(build, GENERATED)]).stdout
    return out.splitlines()


def every_error_is_in_the_manual(tree, build):
    with open(os.path.join(build, GENERATED), encoding="utf-8") as f:
        text = f.read()
    return ["%s:1: lacks %s" % (GENERATED, name) for number, name in test_catalogue.rows(tree)
            if ".B TL%04d\n%s," % (number, name) not in text]


if __name__ == "__main__":
    arch.main(pages_are_well_formed, every_error_is_in_the_manual)
