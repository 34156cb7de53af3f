#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Set-up does not grow with the disk: 1, 10 and 100 GiB in the same machine, in turn.

  test_disk_sizes.py [ROUNDS]

Two measures, each within 20 % over the sizes. What is read from and written to the disk is counted, and
doesn't depend on what else the machine does. The time is teelaunchd's own, from the opened device to the
mounted, sealed disk: rounds are interleaved, in another order each time, and the fastest of each size
counts, as other work can only add; while they lie further apart, and until ROUNDS (30), there is another
round. A machine that is too busy all the time fails the test; medians are printed.
"""
import os
import statistics
import sys
import tempfile

import guest
from disk_world import GIB, machine, record, unmount

SIZES_GIB = (1, 10, 100)
WITHIN = 1.2
ROUNDS_MIN = 5


def transferred(g, disk):
    """KiB read and written so far: kernel, Documentation/block/stat.rst, fields 3 and 7."""
    fields = g.check("cat /sys/block/%s/stat" % disk).split()
    return (int(fields[2]) + int(fields[6])) // 2


def set_up_again(g, size, disk, options):
    """A disk of its own, as if the machine had just started: (milliseconds, KiB)."""
    before = transferred(g, disk)
    g.check("teelaunchd disk --device serial=size-%d %s" % (size, options))
    g.check("sync")
    kib = transferred(g, disk) - before
    ms = record(g)["setup_ms"]
    unmount(g)
    g.check("dmsetup remove teelaunch-crypt; dmsetup remove teelaunch-integrity; rmmod brd; "
            "rm -r /run/teelaunch")
    return ms, kib


def spread(values):
    return max(values) / min(values)


def measure(g, options, rounds):
    disks = {size: "vd" + "abc"[i] for i, size in enumerate(SIZES_GIB)}
    times, amounts = {s: [] for s in SIZES_GIB}, {s: [] for s in SIZES_GIB}
    for size in SIZES_GIB:
        set_up_again(g, size, disks[size], options)  # what is loaded once is loaded now
    for number in range(rounds):
        turn = number % len(SIZES_GIB)
        for size in SIZES_GIB[turn:] + SIZES_GIB[:turn]:
            ms, kib = set_up_again(g, size, disks[size], options)
            times[size].append(ms)
            amounts[size].append(kib)
        fastest = spread([min(t) for t in times.values()])
        if number + 1 >= ROUNDS_MIN and fastest <= WITHIN:
            break
    amount = spread([statistics.median(a) for a in amounts.values()])
    print("\n%s" % options)
    for size in SIZES_GIB:
        print("%4d GiB: fastest %5d ms, median %5.0f; %6.0f KiB read and written; %d rounds: %s" % (
            size, min(times[size]), statistics.median(times[size]), statistics.median(amounts[size]),
            len(times[size]), times[size]))
    print("largest / smallest: time %.3f, amount %.3f" % (fastest, amount))
    sys.stdout.flush()
    return fastest, amount


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk-%d" % size), size * GIB,
                            serial="size-%d" % size) for size in SIZES_GIB]
        # Tags of 100 GiB are 0.7 GiB, of which only what was written is taken.
        with machine("disk_sizes", disks, limit_s=900, memory_mb=1024) as g:
            g.start()
            ratios = [*measure(g, "--tags memory --tags-memory-percent 90", rounds),
                      *measure(g, "--tags disk", rounds)]
    assert max(ratios) <= WITHIN, ratios


if __name__ == "__main__":
    main()
