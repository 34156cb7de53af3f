# SPDX-License-Identifier: Apache-2.0
"""Scripts: shellcheck, and Python that compiles and imports the standard library alone."""

import ast
import os
import sys

import arch

# What else a file may import; each is a Debian package of docs/dependencies.md.
MORE = {"tests/world/hardware.py": {"fusepy"}}  # a file system of its own: nothing else can be one


def shell_scripts_pass_shellcheck(tree):
    scripts = [f for f in tree.files if f.endswith((".sh", ".bash")) or
               tree.read(f)[:64].startswith(("#!/bin/sh", "#!/bin/bash", "#!/usr/bin/env bash"))]
    if not scripts:
        return []
    out = arch.run(["shellcheck", "--format=gcc", "--severity=info", "--external-sources",
                    "--source-path=SCRIPTDIR", *scripts], cwd=tree.top).stdout
    return out.splitlines()


def python_uses_the_standard_library_alone(tree):
    scripts = [f for f in tree.files if f.endswith(".py") or
               tree.read(f)[:64].startswith(("#!/usr/bin/python3", "#!/usr/bin/env python3"))]
    own = {os.path.basename(f)[:-3] for f in scripts if f.endswith(".py")}
    own |= {part for f in scripts for part in os.path.dirname(f).split("/")}
    bad = []
    for name in scripts:
        try:
            nodes = list(ast.walk(ast.parse(tree.read(name), name)))
        except SyntaxError as fault:
            bad.append("%s:%s: %s" % (name, fault.lineno, fault.msg))
            continue
        for node in nodes:
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            bad += ["%s:%d: imports %s" % (name, node.lineno, m) for m in modules
                    if m.split(".")[0] not in sys.stdlib_module_names | own | MORE.get(name, set())]
    return bad


if __name__ == "__main__":
    arch.main(shell_scripts_pass_shellcheck, python_uses_the_standard_library_alone)
