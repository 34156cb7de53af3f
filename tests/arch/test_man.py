# SPDX-License-Identifier: Apache-2.0
"""Manual pages: mandoc accepts them, and the generated one has every row of the catalogue."""

import json
import os
import re

import arch
import test_catalogue
from test_symbols import bin_folder

GENERATED = "docs/man/teelaunch-errors.7"
GENERATED_KEYS = ("docs/man/teelaunch-metadata.7", "docs/man/teelaunch-labels.7")


def pages_are_well_formed(tree, build):
    """mandoc and groff, which man(1) runs, both take them without a word."""
    pages = [tree.path(f) for f in tree.files if re.fullmatch(r"docs/man/[\w-]+\.[1-8]", f)]
    pages += [os.path.join(build, g) for g in (GENERATED, *GENERATED_KEYS)]
    bad = arch.run(["mandoc", "-T", "lint", "-W", "warning", *pages]).stdout.splitlines()
    for page in pages:
        done = arch.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page],
                        env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"})
        bad += ["%s: %s" % (page, line) for line in done.stdout.splitlines()
                if line.startswith(("man:", "troff:", "<", "grotty:", "tbl:"))]
        if done.returncode:
            bad.append("%s:1: man can't show it" % page)
    return bad


def every_error_is_in_the_manual(tree, build):
    with open(os.path.join(build, GENERATED), encoding="utf-8") as f:
        text = f.read()
    return ["%s:1: lacks %s" % (GENERATED, name) for number, name in test_catalogue.rows(tree)
            if ".B TL%04d\n%s," % (number, name) not in text]


def shown(page):
    """A page as mandoc shows it, in one line without overstrikes."""
    text = arch.run(["mandoc", "-T", "utf8", page]).stdout
    return " ".join(re.sub(".\b", "", text).split())


def every_key_and_label_is_in_its_manual(tree, build):
    del tree
    program = os.path.join(bin_folder(build), "teelaunch")
    schema = json.loads(arch.run([program, "explain", "--schema", "--json"]).stdout)
    bad = []
    for page, rows in zip(GENERATED_KEYS, (schema["keys"], schema["labels"])):
        text = shown(os.path.join(build, page))
        for row in rows:
            want = "%s%s %s Value: %s Default: %s" % (
                row["name"], "NAME" if row["name"].endswith("-") else "", row["description"],
                row["type"], row["default"])
            if "governed_by" in row:
                want += " Allowed by the label tee.launch_policy." + row["governed_by"]
            if want not in text:
                bad.append("%s:1: lacks '%s'" % (page, want))
    return bad if rows else bad + ["%s:1: no row at all" % page]


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


DEFAULT = re.compile(r"^ {8}.*\[([^][ ]+)\]$", re.M)


def pages_name_the_defaults_of_the_launcher(tree, build):
    """An option's default ends its text in --help, in brackets."""
    page = "docs/man/teelaunchd.8"
    named = tree.read(page).replace("\\-", "-")
    found = DEFAULT.findall(arch.run([os.path.join(bin_folder(build), "teelaunchd"), "--help"]).stdout)
    bad = [] if len(found) > 20 else ["%s:1: only %d defaults in --help" % (page, len(found))]
    return bad + ["%s:1: lacks the default %s" % (page, d) for d in sorted(set(found)) if d not in named]


def every_command_has_a_page(tree, build):
    helped = arch.run([os.path.join(bin_folder(build), "teelaunch"), "--help"]).stdout
    found = re.findall(r"^  ([a-z-]+) ", helped, re.M)
    bad = [] if len(found) > 3 else ["src/commands.c:1: only %d commands in --help" % len(found)]
    return bad + ["docs/man/teelaunch-%s.1:1: is missing" % c for c in found
                  if "docs/man/teelaunch-%s.1" % c not in tree.files]


if __name__ == "__main__":
    arch.main(pages_are_well_formed, pages_name_the_options_of_their_program,
              every_error_is_in_the_manual, every_key_and_label_is_in_its_manual,
              pages_name_the_defaults_of_the_launcher, every_command_has_a_page)
