#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""report.py DIR/teelaunch-FLAVOUR: the size of an image and its parts, and the packages in it."""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import measure  # noqa: E402


def main():
    stem = sys.argv[1]
    with open(stem + ".efi", "rb") as f:
        uki = measure.Pe(f.read())
    with open(stem + ".measurements.json", encoding="utf-8") as f:
        cmdline = json.load(f)["cmdline"]
    blocks = int(cmdline.split("teelaunch.root_blocks=")[1].split()[0])
    sizes = [("disk", os.path.getsize(stem + ".raw")), ("UKI", os.path.getsize(stem + ".efi")),
             ("  kernel", len(uki.section(".linux"))), ("  initrd", len(uki.section(".initrd"))),
             ("root file system", blocks * 4096)]
    for name, size in sizes:
        print("%-18s %8.1f MiB" % (name, size / (1 << 20)))
    with open(stem + ".spdx.json", encoding="utf-8") as f:
        packages = json.load(f)["packages"][1:]
    print("%-18s %6d" % ("packages", len(packages)))
    for p in packages:
        print("  %-28s %-28s %s" % (p["name"], p["versionInfo"], p["licenseComments"][:100]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
