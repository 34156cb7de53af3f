#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Set-up time does not grow with the disk: 1, 10 and 100 GiB in the same machine, in turn.

  test_disk_sizes.py [ROUNDS]

The fastest of each size must lie within 20 % of one another: what else the machine does can only add.
The time is teelaunchd's own, from the opened device to the mounted, sealed disk.
"""
import os
import sys
import tempfile

import guest
from disk_world import GIB, machine, record, unmount

SIZES_GIB = (1, 10, 100)
WITHIN = 1.2


def set_up_again(g, size, tags):
    """A disk of its own, as if the machine had just started."""
    g.check("teelaunchd disk --device serial=size-%d --tags %s" % (size, tags))
    ms = record(g)["setup_ms"]
    unmount(g)
    g.check("dmsetup remove teelaunch-crypt; dmsetup remove teelaunch-integrity; rmmod brd; "
            "rm -r /run/teelaunch")
    return ms


def measure(g, tags, rounds, more=""):
    times = {size: [] for size in SIZES_GIB}
    for size in SIZES_GIB:
        set_up_again(g, size, tags + more)  # what is loaded once is loaded now
    for _ in range(rounds):
        for size in SIZES_GIB:
            times[size].append(set_up_again(g, size, tags + more))
    fastest = {size: min(t) for size, t in times.items()}
    ratio = max(fastest.values()) / min(fastest.values())
    for size in SIZES_GIB:
        print("tags %-6s %4d GiB: fastest %5d ms of %s" % (tags, size, fastest[size], times[size]))
    print("tags %-6s largest / smallest: %.3f" % (tags, ratio))
    sys.stdout.flush()
    return ratio


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk-%d" % size), size * GIB,
                            serial="size-%d" % size) for size in SIZES_GIB]
        # Tags of 100 GiB are 0.7 GiB, of which only what was written is taken.
        with machine("disk_sizes", disks, limit_s=900, memory_mb=1024) as g:
            g.start()
            ratios = [measure(g, "memory", rounds, " --tags-memory-percent 90"),
                      measure(g, "disk", rounds)]
    assert max(ratios) <= WITHIN, ratios


if __name__ == "__main__":
    main()
