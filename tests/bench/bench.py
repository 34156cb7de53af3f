#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of a launch, side by side in one run with what does the same: containerd's own client, a bare TPM, a plain
tar. What is compared runs in turns (A B A B), so that what else the machine does hits both.

  bench.py                      all of it, about 25 minutes on an idle machine with 2 processors
  bench.py --quick              each section once and small: whether it runs, not how fast it is
  bench.py --only launch,pull   these sections; what the results file has of others stays
  bench.py --document           writes docs/PERFORMANCE.md and its plot out of the results file; measures nothing
  bench.py --list               the sections, and what each measures
"""
import argparse
import datetime
import json
import os
import signal
import subprocess
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import bench_attest  # noqa: E402
import bench_document  # noqa: E402
import bench_launch  # noqa: E402
import bench_machine  # noqa: E402
import bench_pull  # noqa: E402
import bench_stats  # noqa: E402
import bench_targets  # noqa: E402
import bench_vm  # noqa: E402
import parts  # noqa: E402
from world import TOP, Launch, World  # noqa: E402

SCHEMA = "teelaunch.bench/1"
# In this order; each is a function(world, rows, options) and may return more to be kept.
SECTIONS = {
    "launch": bench_launch.launch_section,
    "denial": bench_launch.denial_section,
    "end": bench_launch.end_section,
    "memory": bench_launch.memory_section,
    "bytes": bench_launch.bytes_section,
    "events": bench_attest.events_section,
    "socket": bench_attest.socket_section,
    "verifier": bench_attest.verifier_section,
    "pull": bench_pull.pull_section,
    "pull-memory": bench_pull.memory_pull_section,
    "wire": bench_pull.wire_section,
    "disk": bench_vm.disk_section,
    "boot": bench_vm.boot_section,
}
IMAGES = (bench_launch.SMALL, bench_launch.DENIED)
VIRTUAL_MACHINES = ("disk", "boot")


class Options:
    """How much of everything."""

    def __init__(self, a):
        self.is_quick = a.quick
        self.sizes = (("1 MB", 1, 0.125), ("3 MB", 3, 0.125)) if a.quick else bench_pull.SIZES
        self.cells = (("3 MB", 8, "gzip"), ("1 MB", 1, "zstd")) if a.quick else bench_pull.CELLS
        self.launches = 2 if a.quick else a.launches
        self.rounds = 1 if a.quick else a.rounds
        self.memories = 1 if a.quick else 3
        self.requests = 10 if a.quick else 100
        self.rate_s = 0.3 if a.quick else 3
        self.verifications = 20 if a.quick else 1000
        self.disks = 1 if a.quick else 8
        self.boots = 1 if a.quick else 2
        self.pull_minutes = a.pull_minutes
        self.shelf, self.shelf_folder = None, None

    def document(self):
        return {"quick": self.is_quick, "sizes": [s for s, _, _ in self.sizes], "launches": self.launches,
                "rounds": self.rounds, "requests": self.requests}


def arguments(argv):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", metavar="NAME,...", help="these sections")
    p.add_argument("--quick", action="store_true", help="once and small; without virtual machines")
    p.add_argument("--list", action="store_true", help="the sections")
    p.add_argument("--document", action="store_true", help="write the document from the results")
    p.add_argument("--launches", type=int, default=15, help="rounds of launches (15)")
    p.add_argument("--rounds", type=int, default=3, help="rounds of the pulls that targets are about (3)")
    p.add_argument("--pull-minutes", type=float, default=12, help="no other image is pulled when pulls have taken so long (12)")
    p.add_argument("--json", default=os.path.join(TOP, "build", "bench.json"), help="results (build/bench.json)")
    p.add_argument("--in-own-network", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args(argv)
    a.names = a.only.split(",") if a.only else [n for n in SECTIONS if not a.quick or n not in VIRTUAL_MACHINES]
    for name in a.names:
        if name not in SECTIONS:
            p.error("no section '%s'; there are %s" % (name, ", ".join(SECTIONS)))
    return a


def read_results(path):
    try:
        document = json.loads(parts.read(path))
    except FileNotFoundError:
        return None
    if document.get("schema") != SCHEMA:
        raise parts.Failure("'%s' is no results file of this bench" % path)
    return document


def write_results(path, document):
    document["targets"] = bench_targets.judge(document)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    parts.replace(path, json.dumps(document, indent=1) + "\n")


def commit():
    done = subprocess.run(["git", "-C", TOP, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def measure_section(name, world, options):
    """One section's part of the document. What fails is told in it, and the others go on."""
    rows, begun = bench_stats.Rows(), time.monotonic()
    print("%s: %s" % (name, SECTIONS[name].__doc__.split("\n\n")[0].replace("\n    ", " ")), flush=True)
    found = {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), "commit": commit(),
             "load": [os.getloadavg()[0]]}
    try:
        found.update(SECTIONS[name](world, rows, options) or {})
    except (parts.Failure, subprocess.SubprocessError, OSError, AssertionError) as fault:
        found["failed"] = "%s: %s" % (type(fault).__name__, fault)
        traceback.print_exc()
    found["load"].append(os.getloadavg()[0])
    found["took_s"] = round(time.monotonic() - begun, 1)
    found["rows"] = rows.document()
    for row in found["rows"]:
        print("  " + bench_document.row_in_words(row), flush=True)
    return found


def measure(a, options, names, document):
    """Sections that share a world. Written after each, so that an end before the end loses one."""
    Launch.watch_every_s = 0.1  # nothing that wakes up often beside what is timed
    with bench_machine.Disk() as disk, World(os.path.join(disk.folder, "w"), images=IMAGES) as world, \
            bench_machine.Others(world.folder) as others:
        options.shelf_folder = os.path.join(disk.top, "shelf")
        document["machine"] = bench_machine.describe(disk)
        document["machine"]["disk_mb_s"] = round(bench_machine.disk_rate_mb_s(world.folder, 16 if a.quick else 512), 1)
        document["machine"]["engine"] = "own and containerd's" if bench_pull.has_own_unpacking(world) else "containerd's"
        for name in names:
            seen = len(others.samples)
            found = measure_section(name, world, options)
            found["others"] = others.samples[seen:]
            document["sections"][name] = found
            write_results(a.json, document)


def in_own_network(a, argv):
    """The section "wire": by this program again, into the same file."""
    done = subprocess.run(bench_pull.own_network([os.path.abspath(__file__), *argv, "--only", "wire", "--in-own-network"]),
                          check=False)
    return read_results(a.json), done.returncode


def show_targets(document):
    print("\n%-112s %10s %10s" % ("target", "limit", "figure"))
    for t in document["targets"]:
        figure = "-" if t["figure"] is None else bench_stats.number(t["figure"])
        print("%-112s %10s %10s %s" % (t["what"], "%s %s" % (bench_stats.number(t["limit"]), t["unit"]), figure,
                                       {None: "not measured", True: "met", False: "NOT met: " + t["why"]}[t["met"]]))


def run(a, argv):
    document = read_results(a.json) if a.only else None
    document = document or {"schema": SCHEMA, "sections": {}}
    options = Options(a)
    if document.get("options", options.document())["quick"] != a.quick:
        raise parts.Failure("'%s' is of a run with%s --quick; use another --json" % (a.json, "out" if a.quick else ""))
    document.update(options=options.document(), command="tests/bench/bench.py " + " ".join(argv),
                    begun=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"))
    begun = time.monotonic()
    wire = "wire" in a.names and not a.in_own_network
    names = [n for n in a.names if n != "wire" or not wire]
    if names:
        measure(a, options, names, document)
    else:
        write_results(a.json, document)
    if wire:
        command = document["command"]
        document, _ = in_own_network(a, argv)
        document["command"] = command
    document["took_s"] = round(time.monotonic() - begun, 1)
    write_results(a.json, document)
    if not a.in_own_network:
        show_targets(document)
        print("\n%.0f s; every sample is in %s" % (document["took_s"], os.path.relpath(a.json)))
    failed = [n for n, s in document["sections"].items() if s.get("failed")]
    if failed:
        print("failed: " + ", ".join(failed), file=sys.stderr)
    return 1 if failed else 0


def main(argv):
    a = arguments(argv)
    if a.list:
        for name, section in SECTIONS.items():
            print("%-12s %s" % (name, section.__doc__.split("\n\n")[0].replace("\n    ", " ")))
        return 0
    # Whoever ends it early gets his disk and his daemons back, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if a.document:
            document = read_results(a.json)
            if not document:
                raise parts.Failure("'%s' isn't there; measure first" % a.json)
            bench_document.write(document, os.path.join(TOP, "docs"))
            return 0
        return run(a, argv)
    except parts.Failure as fault:
        sys.exit("bench: %s" % fault)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
