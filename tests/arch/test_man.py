# SPDX-License-Identifier: Apache-2.0
"""Manual pages: mandoc accepts them, and the generated one has every row of the catalogue."""

import os
import re

import arch
import test_catalogue
from test_symbols import bin_folder

GENERATED = "docs/man/teelaunch-errors.7"
GENERATED_KEYS = ("docs/man/teelaunch-metadata.7", "docs/man/teelaunch-labels.7")


def pages_are_well_formed(tree, build):
    pages = [tree.path(f) for f in tree.files if f.startswith("docs/man/") and f[-2:] in (".1", ".7", ".8")]
    out = arch.run(["mandoc", "-T", "lint", "-W", "warning", *pages,
                    *(os.path.join(build, g) for g in (GENERATED, *GENERATED_KEYS))]).stdout
    return out.splitlines()


def every_error_is_in_the_manual(tree, build):
    with open(os.path.join(build, GENERATED), encoding="utf-8") as f:
        text = f.read()
    return ["%s:1: lacks %s" % (GENERATED, name) for number, name in test_catalogue.rows(tree)
            if ".B TL%04d\n%s," % (number, name) not in text]


OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
ALWAYS = {"--help", "--version"}


def pages_name_the_options_of_their_program(tree, build):
    """--help is written from the table that is parsed by; the page is written by hand.

    teelaunch-explain(1) is the page of `teelaunch explain`.
    """
    bad = []
    for page in (f for f in tree.files if re.fullmatch(r"docs/man/[\w-]+\.[18]", f)):
        program, *command = os.path.basename(page)[:-2].split("-", 1)
        program = os.path.join(bin_folder(build), program)
        if not os.path.exists(program):
            bad.append("%s:1: there is no program %s" % (page, program))
            continue
        helped = set(OPTION.findall(arch.run([program, *command, "--help"]).stdout)) | ALWAYS
        named = set(OPTION.findall(tree.read(page).replace("\\-", "-")))
        bad += ["%s:1: lacks %s" % (page, o) for o in sorted(helped - named - ALWAYS)]
        bad += ["%s:1: %s is no option" % (page, o) for o in sorted(named - helped)]
    return bad


if __name__ == "__main__":
    arch.main(pages_are_well_formed, pages_name_the_options_of_their_program,
              every_error_is_in_the_manual)
