#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast the protected disk is, beside the raw virtio disk in the same machine: sequential reads and
writes (with fsync), and random ones of 4 KiB, past the page cache, with tags in memory and on the disk.
Rounds are interleaved (raw, protected, raw, ...). Without KVM the machine is emulated, its AES-GCM about a
hundred times slower than a real processor's: then the ratios say what an emulated machine does, and nothing
about a real one.

  tests/bench/disk.py [--rounds N] [--mib N]         needs TL_PROGRAMS, or build/dev
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vm"))

import guest  # noqa: E402
from disk_world import GIB, machine, set_up, unmount  # noqa: E402

ROWS = ("sequential write (MB/s)", "sequential read (MB/s)", "random 4 KiB write (1/s)",
        "random 4 KiB read (1/s)")
OFFSET_MIB = 512  # behind what the file system has written


def compile_tool(work):
    tool = os.path.join(work, "disk_io")
    subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o",
                    tool, os.path.join(HERE, "disk_io.c")], check=True, timeout=120)
    return tool


def one(g, device, options):
    output = g.check("disk_io %s %d %d %d" % (device, OFFSET_MIB, options.mib, options.operations), 280)
    return [float(line) for line in output.split()]


def measure(g, tags, options):
    """{row: ([raw], [protected])}"""
    samples = {row: ([], []) for row in ROWS}
    set_up(g, tags)
    unmount(g)
    minor = g.check("dmsetup info -c --noheadings -o minor teelaunch-crypt").strip()
    for number in range(options.rounds + 1):
        for column, device in enumerate(("/dev/vdb", "/dev/dm-" + minor)):
            values = one(g, device, options)
            if number:  # the first round warms up
                for row, value in zip(ROWS, values):
                    samples[row][column].append(value)
    g.check("dmsetup remove teelaunch-crypt && dmsetup remove teelaunch-integrity; rmmod brd; rm -r /run/teelaunch")
    return samples


def cell(values):
    form = "%.0f" if statistics.median(values) >= 100 else "%.1f"
    return "%s (%s to %s)" % tuple(form % v for v in (statistics.median(values), min(values), max(values)))


def show(tags, samples):
    print("\ntags %-24s %-24s %-24s %s" % ("in memory" if tags == "memory" else "on the disk", "raw",
                                           "protected", "protected / raw, of each round"))
    for row, (raw, protected) in samples.items():
        ratios = [p / r for p, r in zip(protected, raw)]
        print("%-29s %-24s %-24s %.3f (%.3f to %.3f)" % (row, cell(raw), cell(protected), statistics.median(ratios),
                                                         min(ratios), max(ratios)))
    sys.stdout.flush()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5, help="of each (5)")
    p.add_argument("--mib", type=int, default=64, help="read and written sequentially (64)")
    p.add_argument("--operations", type=int, default=512, help="random ones (512)")
    p.add_argument("--json", help="every sample, into this file")
    options = p.parse_args()
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk"), GIB),
                 guest.Disk(os.path.join(work, "raw"), GIB, serial="raw")]
        with machine("disk_bench", disks, limit_s=1200, programs=[compile_tool(work)]) as g:
            g.start()
            print("guest: Linux %s, QEMU with TCG, 1 virtual CPU, virtio-blk on a file" % g.kernel.version)
            results = {tags: measure(g, tags, options) for tags in ("memory", "disk")}
    for tags, samples in results.items():
        show(tags, samples)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(results, f, indent=1)


if __name__ == "__main__":
    main()
