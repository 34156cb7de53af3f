#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Figures of a launch, side by side with containerd's own client, in one run on one containerd.
Runs of the two are interleaved (A B A B), so that what else the machine does hits both."""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import parts  # noqa: E402
import token_bench  # noqa: E402
from images import BIG  # noqa: E402
from world import TOP, World  # noqa: E402

SMALL, DENIED = "demo/hello:1", "demo/strict:1"
FIRST = re.compile(r"first instruction at ([\d.]+)")


def monotonic():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Ctr:
    """One run of ctr: how long, at most how much memory, and what it printed."""

    def __init__(self, world, *arguments):
        self.started = monotonic()
        child = subprocess.Popen(["ctr", "--address", world.containerd.socket, *arguments],
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=parts.clean_env())
        self.rss_mb = 0
        watcher = threading.Thread(target=self.watch, args=(child,))
        watcher.start()
        self.output = child.stdout.read().decode()
        child.wait()
        self.took_ms = (monotonic() - self.started) * 1000
        watcher.join()
        if child.returncode:
            raise parts.Failure("ctr %s: %s" % (" ".join(arguments), self.output[-500:]))


    def watch(self, child):
        while child.returncode is None:
            self.rss_mb = max(self.rss_mb, parts.peak_memory_mb(child.pid))
            time.sleep(0.002)


class Bench:
    def __init__(self, world, runs, pulls):
        self.world = world
        self.runs = runs
        self.pulls = pulls
        self.samples = {}

    def add(self, row, column, value):
        self.samples.setdefault(row, {}).setdefault(column, []).append(value)

    def ctr_pull(self, name):
        return Ctr(self.world, "images", "pull", "--hosts-dir", self.world.registry.hosts_dir,
                   self.world.registry.ref(name))

    def forget(self):
        """No image, no content, no snapshot; and what is written is on the disk."""
        ctr = self.world.containerd.ctr
        for name in ctr("images", "list", "-q").split():
            ctr("images", "remove", "--sync", name)
        os.sync()

    def launch(self, name, want=0, **keys):
        keys.setdefault("container_log_redirect", "true")
        launch = self.world.launch(self.world.attributes(name, **keys), timeout_s=300)
        if launch.exit_code != want:
            raise parts.Failure("the launch of %s ended with %d:\n%s" % (name, launch.exit_code,
                                                                         launch.stderr[-2000:]))
        return launch

    def start_up(self):
        """The image is there; from exec to the workload's first instruction."""
        self.ctr_pull(SMALL)
        row = "exec to first instruction, image there (ms)"
        for i in range(self.runs + 1):
            launch = self.launch(SMALL, cmd='["exit=0"]')
            run = Ctr(self.world, "run", "--rm", "--fifo-dir", self.world.path("fifo"),
                      self.world.registry.ref(SMALL), "bench-%d" % i)
            if i == 0:  # the first round warms the caches
                continue
            first = float(FIRST.search(launch.console).group(1))
            self.add(row, "teelaunchd", (first - launch.started) * 1000)
            self.add(row, "ctr", (float(FIRST.search(run.output).group(1)) - run.started) * 1000)
            self.add("peak memory of the client, image there (MB)", "teelaunchd", launch.rss_mb)
            self.add("peak memory of the client, image there (MB)", "ctr", run.rss_mb)
            self.add("exec to exit, image there (ms)", "teelaunchd", launch.took_s * 1000)
            self.add("exec to exit, image there (ms)", "ctr", run.took_ms)
            for stage in launch.report["stages"]:
                self.add("of which stage '%s' (ms)" % stage["name"], "teelaunchd", stage["took_ms"])

    def pull(self, name, what):
        row = "pull and unpack %s (ms)" % what
        for _ in range(self.pulls):
            self.forget()
            launch = self.launch(name, cmd='["exit=0"]')
            stage = [s for s in launch.report["stages"] if s["name"] == "pull"][0]
            self.forget()
            run = self.ctr_pull(name)
            self.add(row, "teelaunchd", stage["start_ms"] + stage["took_ms"])
            self.add(row, "ctr", run.took_ms)
            self.add("peak memory of the client, %s (MB)" % what, "teelaunchd", launch.rss_mb)
            self.add("peak memory of the client, %s (MB)" % what, "ctr", run.rss_mb)
        self.forget()

    def denial(self):
        for _ in range(self.runs):
            launch = self.launch(DENIED, 1, cmd='["x"]', env_A="b", restart_polcy="Always")
            self.add("exec to exit, denied by policy (ms)", "teelaunchd", launch.took_s * 1000)

    def layers_size(self, name):
        return sum(layer["size"] for layer in self.world.images.inspect(name)[1]["layers"]) / 1e6


def sizes(program):
    """The program and each library it maps, in bytes, largest first."""
    found = {program: os.path.getsize(program)}
    for line in parts.run("ldd", program).decode().splitlines():
        match = re.search(r"(/\S+) \(0x", line)
        if match:
            found[match.group(1)] = os.path.getsize(os.path.realpath(match.group(1)))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def machine():
    cpu = re.search(r"model name\s*: (.*)", parts.read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", parts.read("/proc/meminfo"))
    release = re.search(r'PRETTY_NAME="(.*)"', parts.read("/etc/os-release"))
    return "%s, %d processors (%s), %d GB, Linux %s, %s, %s" % (
        release.group(1) if release else "?", os.cpu_count(), cpu.group(1) if cpu else platform.machine(),
        int(memory.group(1)) // 1_000_000, platform.release().split("-")[0],
        parts.run("containerd", "--version").decode().split()[2],
        parts.run("runc", "--version").decode().splitlines()[0])


def cell(values, decimals):
    if not values:
        return "-"
    middle = statistics.median(values)
    return "%.*f (%.*f to %.*f)" % (decimals, middle, decimals, min(values), decimals, max(values))


def show(bench, layers):
    print("\n%-52s  %-26s  %-26s  %s" % ("median (smallest to largest)", "teelaunchd", "ctr", "ratio"))
    for row, columns in bench.samples.items():
        ours, theirs = columns.get("teelaunchd", []), columns.get("ctr", [])
        ratio = "%.2f" % (statistics.median(ours) / statistics.median(theirs)) if theirs else ""
        decimals = 1 if "memory" in row or "stage" in row else 0
        print("%-52s  %-26s  %-26s  %s" % (row, cell(ours, decimals), cell(theirs, decimals), ratio))
    print("\n%12s  size in bytes of what teelaunchd maps" % sum(layers.values()))
    for path, size in layers.items():
        print("%12d  %s" % (size, os.path.basename(path)))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--runs", type=int, default=10, help="of the short measurements (10)")
    p.add_argument("--pulls", type=int, default=3, help="of the pulls of 200 MB (3)")
    p.add_argument("--requests", type=int, default=100, help="of evidence and of tokens (100)")
    p.add_argument("--only-tokens", action="store_true", help="the token socket alone")
    p.add_argument("--json", default=os.path.join(TOP, "build", "bench.json"), help="results as JSON")
    a = p.parse_args()
    try:
        pulled = [] if a.only_tokens else [name for name in BIG if name.startswith("bench/")]
        with World(images=(SMALL, DENIED, *pulled)) as world:
            print("machine: %s" % machine())
            print("runs: %d, pulls: %d; snapshotter %s on %s" % (
                a.runs, a.pulls, parts.load_facts(world.containerd.folder)["snapshotter"],
                parts.run("stat", "-f", "-c", "%T", world.folder).decode().strip()), flush=True)
            bench = Bench(world, a.runs, a.pulls)
            tokens, faults = token_bench.measure(world, SMALL, a.requests)
            token_bench.show(tokens, faults)
            if a.only_tokens:
                return 1 if faults else 0
            bench.start_up()
            bench.denial()
            for name in pulled:
                count, _, kind = BIG[name]
                bench.pull(name, "%.0f MB of %s in %d layers" % (bench.layers_size(name), kind, count))
            mapped = sizes(os.path.join(world.programs, "teelaunchd"))
            show(bench, mapped)
        os.makedirs(os.path.dirname(os.path.abspath(a.json)), exist_ok=True)
        parts.write(a.json, json.dumps({"machine": machine(), "samples": bench.samples, "tokens": tokens,
                                        "bytes": mapped}, indent=1) + "\n")
        print("\nevery sample is in %s" % os.path.relpath(a.json))
        return 1 if faults else 0
    except (parts.Failure, subprocess.CalledProcessError) as fault:
        sys.exit("bench: %s" % fault)


if __name__ == "__main__":
    sys.exit(main())
