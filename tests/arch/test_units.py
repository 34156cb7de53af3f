# SPDX-License-Identifier: Apache-2.0
"""Unit files: systemd accepts them, and every restriction says why it is there."""

import fnmatch
import json
import os
import re
import shutil
import tempfile

import arch

RESTRICTION = re.compile(r"(Protect|Private|Restrict|Device|ReadWrite|SystemCall|Capability|Limit|"
                         r"NoNewPrivileges|MemoryDeny|LockPersonality|RemoveIPC|UMask|OOM)\w*=")

# What every service depends on by itself.
DEFAULT_UNITS = {"sysinit.target", "basic.target", "shutdown.target"}


def units(tree):
    return [f for f in tree.files if f.startswith("systemd/") and f.endswith(".service")]


def drop_ins(tree):
    return [f for f in tree.files
            if re.fullmatch(r"image/[\w-]+/usr/lib/systemd/system/[^/]+\.service\.d/[^/]+\.conf", f)]


def every_restriction_has_a_reason(tree):
    """A comment stands above the line, or above the lines of the same kind that it ends."""
    bad = []
    for name in units(tree):
        has_reason = False
        for number, line in enumerate(tree.read(name).split("\n"), 1):
            if not line or line.startswith("["):
                has_reason = False
            elif line.startswith("#"):
                has_reason = True
            elif RESTRICTION.match(line) and not has_reason:
                bad.append("%s:%d: %s has no reason" % (name, number, line))
    return bad


def systemd_accepts_the_units(tree):
    """In a root of its own, where the programs and the units they need exist by name only. A drop-in
    is judged with the unit that it is for."""
    bad = []
    for name in units(tree) + drop_ins(tree):
        with tempfile.TemporaryDirectory() as root:
            folder = os.path.join(root, "etc/systemd/system")
            unit, rest = re.fullmatch(r".*systemd/(?:system/)?([^/]+?)(?:\.d(/.*))?", name).groups()
            place = os.path.join(folder, unit + ".d" + rest if rest else unit)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            shutil.copy(tree.path(name), place)
            text = tree.read(name)
            for other in DEFAULT_UNITS | {unit} | set(
                    re.findall(r"\b[\w.@-]+\.(?:service|target)\b", text)):
                path = os.path.join(folder, other)
                if not os.path.exists(path):
                    with open(path, "w", encoding="utf-8") as f:
                        f.write("[Unit]\n" if other.endswith(".target") else
                                "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n")
            for program in set(re.findall(r"^Exec\w+=(/\S+)", text, re.M)) | {"/usr/bin/true"}:
                path = root + program
                os.makedirs(os.path.dirname(path), exist_ok=True)
                shutil.copy("/bin/true", path)
            done = arch.run(["systemd-analyze", "verify", "--man=no", "--root=" + root,
                             unit])
            if done.returncode or done.stdout:
                bad.append("%s:1: %s" % (name, done.stdout.strip() or "refused"))
    return bad


LAUNCHER, EXIT = "systemd/teelaunchd.service", "systemd/teelaunchd-exit@.service"

# What a source calls, and what the unit that runs it must say for it. Neither @mount nor reboot is in
# @system-service.
NEEDS = (
    (re.compile(r"\bCLONE_NEWNS\b"), LAUNCHER, "RestrictNamespaces", {"mnt", "no"}),
    (re.compile(r"\b(?:mount|umount2?)\("), LAUNCHER, "SystemCallFilter", {"@mount"}),
    (re.compile(r"\b(?:mount|umount2?)\("), LAUNCHER, "CapabilityBoundingSet", {"CAP_SYS_ADMIN"}),
    (re.compile(r"\bnft_ctx_new\("), LAUNCHER, "CapabilityBoundingSet", {"CAP_NET_ADMIN"}),
    (re.compile(r"\breboot\("), EXIT, "SystemCallFilter", {"@reboot", "reboot"}),
    (re.compile(r"\breboot\("), EXIT, "CapabilityBoundingSet", {"CAP_SYS_BOOT"}),
)


def values(text, key):
    """The words of all lines with that key; None if there is none."""
    lines = re.findall(r"^%s=(.*)$" % key, text, re.M)
    return set(" ".join(lines).split()) if lines else None


def the_launchers_unit_allows_what_the_launcher_calls(tree):
    """A forbidden call fails on the machine only, and only for images of several layers."""
    bad = []
    for name in tree.files:
        if not name.startswith("launcher/") or not name.endswith(".c"):
            continue
        code = re.sub(r"/\*.*?\*/|\"(?:[^\"\\]|\\.)*\"", "", tree.read(name), flags=re.S)
        for call, unit, key, enough in NEEDS:
            if not call.search(code):
                continue
            allowed = values(tree.read(unit), key)
            if allowed is not None and not allowed & enough:
                bad.append("%s:1: %s= forbids what %s calls (%s)" % (unit, key, name, call.pattern))
    return bad


EXPOSURE_PAGE = "docs/image.md"
FIGURE_ROW = re.compile(r"^\| `([\w@-]+\.service)` \| (\d+\.\d) \|$", re.M)
WHY_ROW = re.compile(r"^\| (`[A-Z](?:\\\||[^|\n])*`) \| ([a-z, ]+) \| (\S[^|\n]*) \|$", re.M)
SHORT = {LAUNCHER: "launcher", EXIT: "exit", "systemd/teelaunchd-disk.service": "disk",
         "systemd/teelaunchd-firewall.service": "firewall", "systemd/teeverifierd.service": "verifier"}


def exposures(path):
    """(figure, names of what is exposed), as systemd judges the unit without its drop-ins."""
    arguments = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--json=short", path]
    rows = json.loads(arch.run(arguments).stdout)
    told = arch.run(arguments[:-2] + [path]).stdout
    figure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told).group(1)
    return figure, {r["name"] for r in rows if r["exposure"] and float(r["exposure"])}


def explained(text):
    """Unit's short name -> patterns of names that the table has for it."""
    patterns = {short: [] for short in SHORT.values()}
    for names, units, _ in WHY_ROW.findall(text):
        for unit in units.split(", "):
            patterns[unit] += re.findall(r"`([^`]+)`", names.replace("\\|", "|"))
    return patterns


def is_explained(name, patterns):
    return any(name == p or fnmatch.fnmatchcase(name, p) for p in patterns)


def every_exposure_is_explained(tree):
    """The figures of the page are the units', and its table has what is exposed, and nothing else."""
    text = tree.read(EXPOSURE_PAGE)
    figures, patterns, bad = dict(FIGURE_ROW.findall(text)), explained(text), []
    for name in units(tree):
        figure, exposed = exposures(tree.path(name))
        unit, said = os.path.basename(name), patterns[SHORT[name]]
        if figures.get(unit) != figure:
            bad.append("%s:1: %s is %s, not %s" % (EXPOSURE_PAGE, unit, figure, figures.get(unit)))
        bad += ["%s:1: %s of %s has no reason" % (EXPOSURE_PAGE, e, unit)
                for e in sorted(exposed) if not is_explained(e, said)]
        bad += ["%s:1: %s is no exposure of %s" % (EXPOSURE_PAGE, p, unit)
                for p in said if not any(is_explained(e, [p]) for e in exposed)]
    return bad


if __name__ == "__main__":
    arch.main(every_restriction_has_a_reason, systemd_accepts_the_units,
              the_launchers_unit_allows_what_the_launcher_calls, every_exposure_is_explained)
