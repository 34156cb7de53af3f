# SPDX-License-Identifier: Apache-2.0
"""What the architecture checks share: the files of the tree, and how a check reports.

A check is a function check(tree) or check(tree, build) that returns a list of sentences, each
beginning with the place: "path:line: what is wrong". No sentence: the rule holds. test_itself.py
feeds every check a tree that breaks its rule.
"""

import os
import re
import subprocess
import sys


class Tree:
    """The tree's files as relative paths: what git tracks or would track, or a plain walk."""

    def __init__(self, top):
        self.top = os.path.abspath(top)
        self.files = sorted(self._from_git() if os.path.exists(self.path(".git"))
                            else self._from_walk())

    def path(self, name):
        return os.path.join(self.top, name)

    def _from_git(self):
        out = subprocess.run(
            ["git", "-c", "safe.directory=*", "-C", self.top, "ls-files", "-z", "-co",
             "--exclude-standard"], check=True, stdout=subprocess.PIPE).stdout.decode()
        return [f for f in out.split("\0") if f and os.path.exists(self.path(f))]

    def _from_walk(self):
        for folder, folders, names in os.walk(self.top):
            # Build trees: ours, and the one of a Debian package build.
            folders[:] = [d for d in folders if d not in ("build", ".git", "__pycache__")
                          and not d.startswith("obj-")]
            for name in names:
                yield os.path.relpath(os.path.join(folder, name), self.top)

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def named(self, *endings):
        return [f for f in self.files if f.endswith(endings)]

    def c_files(self):
        return self.named(".c", ".h")


def without_comments(text):
    """C text with comments and the insides of literals blanked; line numbers stay."""
    token = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        found = match.group(0)
        if found[0] in "\"'":
            return found[0] + " " * (len(found) - 2) + found[0]
        return re.sub(r"[^\n]", " ", found)

    return token.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def run(argv, **more):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **more)


def main(*checks):
    """argv: TOP [BUILD]. Prints every violation of every check; exit code 1 if there is one."""
    tree = Tree(sys.argv[1])
    failed = False
    for check in checks:
        violations = check(tree, *sys.argv[2:])
        for sentence in violations:
            print(sentence)
        print("%s: %s" % (check.__name__,
                          "%d violations" % len(violations) if violations else "ok"))
        failed = failed or bool(violations)
    sys.exit(1 if failed else 0)
