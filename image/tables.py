# SPDX-License-Identifier: Apache-2.0
"""The build's tables: files.conf, modules.conf, cmdline.conf."""

import os

HERE = os.path.dirname(os.path.abspath(__file__))


def lines(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                yield line


def files(flavour):
    """{package: {"alone": bool, "patterns": [pattern]}} of a flavour."""
    ret = {}
    for name in ["files.conf"] + ["files-debug.conf"] * (flavour == "debug"):
        section = None
        for line in lines(name):
            if line.startswith("["):
                package, *words = line.strip("[]").split()
                section = ret.setdefault(package, {"alone": "alone" in words, "patterns": []})
            else:
                section["patterns"].append(line)
    return ret


def modules():
    """[(module, where)]"""
    return [tuple(line.split()) for line in lines("modules.conf")]


def cmdline(flavour, values):
    """The kernel's command line: every word of cmdline.conf that the flavour has, in that order."""
    words = [line.split() for line in lines("cmdline.conf")]
    return " ".join(word.format(**values) for where, word in words if where in ("all", flavour))
