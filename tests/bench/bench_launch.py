# SPDX-License-Identifier: Apache-2.0
"""What a launch costs beside `ctr run` of the same image, on the same containerd, in turns: time to the workload's
first instruction, a denial, the end; and the memory of the launcher while the workload runs."""
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time

import bench_memory
import parts
from stopwatch import Stopwatch, union_s

SMALL, DENIED = "demo/hello:1", "demo/strict:1"
FIRST = re.compile(r"first instruction at ([\d.]+)")
REPORT = b"TEELAUNCH-REPORT "
OURS, CTR = "teelaunchd", "ctr"
STEADY_S = 2.0
LIBC = re.compile(r"libc\.so|libc-2|ld-linux")


def monotonic():
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def ctr_run(world, *arguments):
    """(when it was started, when it had ended, what it printed)"""
    started = monotonic()
    done = subprocess.run(["ctr", "--address", world.containerd.socket, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=parts.clean_env(), check=False)
    ended = monotonic()
    if done.returncode:
        raise parts.Failure("ctr %s: %s" % (" ".join(arguments), done.stdout.decode(errors="replace")[-800:]))
    return started, ended, done.stdout.decode(errors="replace")


def ctr_pull(world, name):
    return ctr_run(world, "images", "pull", "--hosts-dir", world.registry.hosts_dir, world.registry.ref(name))


class Network:
    """The three that a launch waits for, each behind a stopwatch."""

    def __init__(self, world):
        self.world = world
        scheme, _, verifier = world.verifier.url.partition("://")
        self.watches = {"metadata server": Stopwatch(world.metadata.host), "registry": Stopwatch(world.registry.host),
                        "verifier": Stopwatch(verifier)}
        self.options = ["--verifier", "%s://%s" % (scheme, self.watches["verifier"].host),
                        "--registry-roots", "%s=%s" % (self.watches["registry"].host, world.registry.ca)]
        self.env = {"GCE_METADATA_HOST": self.watches["metadata server"].host}

    def close(self):
        for watch in self.watches.values():
            watch.close()

    def attributes(self, name, **keys):
        keys.setdefault("container_log_redirect", "true")
        found = self.world.attributes(name, **keys)
        found["tee-image-reference"] = "%s/%s" % (self.watches["registry"].host, name)
        return found

    def start(self, name, **keys):
        for watch in self.watches.values():
            watch.waits.clear()
        return self.world.launch_start(self.attributes(name, **keys), options=self.options, env=self.env)

    def waited_ms(self, since, until):
        """By server, and in all: of the times that overlap, each is counted once."""
        found = {name: union_s(w.waits, since, until) * 1000 for name, w in self.watches.items()}
        found["all"] = union_s([w for watch in self.watches.values() for w in watch.waits], since, until) * 1000
        return found


def finish(launch, want=0, timeout_s=60):
    launch.wait(timeout_s)
    if launch.exit_code != want:
        raise parts.Failure("a launch ended with %s:\n%s" % (launch.exit_code, launch.stderr[-2000:]))
    return launch


def ctr_first_ms(world, number):
    """Exec to the workload's first instruction. `ctr run` ends well, now and then, without what the workload said:
    that is run again."""
    for attempt in range(3):
        started, _, output = ctr_run(world, "run", "--rm", "--fifo-dir", world.path("fifo"), world.registry.ref(SMALL),
                                     "bench-%d-%d" % (number, attempt))
        found = FIRST.search(output)
        if found:
            return (float(found.group(1)) - started) * 1000
    raise parts.Failure("ctr run shows nothing of the workload, three times: %r" % output)


def launch_section(world, rows, options):
    """exec -> the workload's first instruction, the image there."""
    network = Network(world)
    try:
        ctr_pull(world, SMALL)
        for number in range(options.launches + 1):
            launch = finish(network.start(SMALL, cmd='["exit=0"]'))
            ctr_ms = ctr_first_ms(world, number)
            if number:  # the first round warms caches
                add_launch(rows, network, launch, ctr_ms)
    finally:
        network.close()


def add_launch(rows, network, launch, ctr_ms):
    first = float(FIRST.search(launch.console).group(1))
    whole_ms, waits = (first - launch.started) * 1000, network.waited_ms(launch.started, first)
    own_ms = whole_ms - waits["all"]
    rows.add_columns("exec to first instruction", "ms", {OURS: whole_ms, CTR: ctr_ms})
    for name, value in waits.items():
        rows.add_columns("waiting for " + ("any of them" if name == "all" else "the " + name), "ms", {OURS: value})
    rows.add_columns("the same without these waits", "ms", {OURS: own_ms, CTR: ctr_ms})
    rows.add_columns("launch overhead over `ctr run`", "ms", {OURS: own_ms - ctr_ms})
    for stage in launch.report["stages"]:
        rows.add_columns("stage " + stage["name"], "ms", {OURS: stage["took_ms"]})


def until_report(launch, timeout_s=30):
    """When the report came to the console."""
    end = monotonic() + timeout_s
    with open(launch.console_file, "rb") as f:
        text = b""
        while monotonic() < end:
            text = text[-len(REPORT):] + f.read()
            if REPORT in text:
                return monotonic()
            time.sleep(0.0003)
    raise parts.Failure("no report came:\n%s" % launch.stderr[-2000:])


def denial_section(world, rows, options):
    """exec -> report of a launch that the policy denies; what counts is from the metadata's answer on."""
    network = Network(world)
    try:
        for number in range(options.launches + 1):
            launch = network.start(DENIED, cmd='["x"]', env_A="b", restart_polcy="Always")
            told = until_report(launch)
            finish(launch, 1)
            answered = network.watches["metadata server"].waits[0][1]
            if number:
                rows.add_columns("exec to report", "ms", {OURS: (told - launch.started) * 1000})
                rows.add_columns("metadata's answer to report", "ms", {OURS: (told - answered) * 1000})
                waited = union_s(network.watches["registry"].waits, answered, told) * 1000
                rows.add_columns("of that, waiting for the registry", "ms", {OURS: waited})
                rows.add_columns("exec to exit", "ms", {OURS: launch.took_s * 1000})
    finally:
        network.close()


def workload_pid(world, launch):
    """The container's first process: its program is /hello, once runc has made way for it."""
    until = monotonic() + 5
    while monotonic() < until:
        for pid in world.containerd.pids():
            try:
                with open("/proc/%d/cmdline" % pid, "rb") as f:
                    if f.read().startswith(b"/hello\0"):
                        return pid
            except OSError:
                continue
    raise parts.Failure("the workload's process isn't there:\n%s" % launch.stderr[-2000:])


class EndOf(threading.Thread):
    """Notes when a process has ended."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.fd, self.at = os.pidfd_open(pid), None
        self.start()

    def run(self):
        select.select([self.fd], [], [])
        self.at = monotonic()
        os.close(self.fd)


def end_section(world, rows, options):
    """The workload's process has ended -> the launcher has: its exit code is what stops the machine."""
    for _ in range(options.launches):
        launch = world.launch_start(world.attributes(SMALL, cmd='["sleep=1", "exit=0"]',
                                                     container_log_redirect="true")).wait_for("event=workload.started")
        end = EndOf(workload_pid(world, launch))
        finish(launch)
        end.join()
        rows.add_columns("workload's end to stop requested", "ms", {OURS: (monotonic_end(launch) - end.at) * 1000})


def monotonic_end(launch):
    return launch.started + launch.took_s


def memory_section(world, rows, options):
    """While the workload runs, after a while; and the most it took to get there, the image there."""
    for _ in range(options.memories):
        launch = world.launch_start(world.attributes(SMALL, cmd='["trap", "sleep=600"]', container_log_redirect="true"))
        peak = bench_memory.Peak(launch.child.pid)
        try:
            launch.wait_for("event=workload.started")
            time.sleep(STEADY_S)
            now = bench_memory.steady(launch.child.pid)
        finally:
            peak.end()
            launch.send(signal.SIGTERM)
            launch.wait()
        for name in ("rss", "pss", "private"):
            rows.add_columns("%s while the workload runs" % name.upper().replace("PRIVATE", "private memory"), "KiB",
                             {OURS: now[name]})
            rows.add_columns("most %s until then" % name.upper().replace("PRIVATE", "private memory"), "KiB",
                             {OURS: peak.kib[name]})
        rows.add_columns("threads while the workload runs", "", {OURS: now["threads"]})
        rows.add_columns("processes while the workload runs", "", {OURS: now["processes"]})


def stripped_bytes(program, folder):
    copy = os.path.join(folder, "stripped")
    parts.run("strip", "-o", copy, program)
    size = os.path.getsize(copy)
    os.unlink(copy)
    return size


def sections(program):
    """{name: bytes} of the largest parts of a program that stay in it when it is stripped."""
    found = {}
    for line in parts.run("size", "-A", "-d", program).decode().splitlines():
        match = re.fullmatch(r"(\.[\w.]+)\s+(\d+)\s+(\d+)", line.strip())
        if match and int(match[3]) and match[1] != ".bss":
            found[match[1]] = int(match[2])
    return dict(sorted(found.items(), key=lambda item: -item[1])[:6])


def bytes_section(world, rows, _):
    """The programs without symbols, and each file that a launcher maps while its workload runs."""
    for name in ("teelaunchd", "teelaunch-unpack", "teelaunch", "teeverifierd"):
        program = os.path.join(world.programs, name)
        if os.path.exists(program):
            rows.add_columns("%s, stripped" % name, "bytes", {"bytes": stripped_bytes(program, world.folder)})
    launch = world.launch_start(world.attributes(SMALL, cmd='["trap", "sleep=600"]', container_log_redirect="true"))
    try:
        launch.wait_for("event=workload.started")
        files = bench_memory.mapped_files(launch.child.pid)
    finally:
        launch.send(signal.SIGTERM)
        launch.wait()
    own = os.path.realpath(os.path.join(world.programs, "teelaunchd"))
    libraries = {path: size for path, size in files.items() if os.path.realpath(path) != own}
    for name, size in sections(own).items():
        rows.add_columns("of teelaunchd: " + name, "bytes", {"bytes": size})
    rows.add_columns("files mapped beside the program", "", {"bytes": len(libraries)})
    rows.add_columns("all of them, libc aside", "bytes", {"bytes": sum(
        size for path, size in libraries.items() if not LIBC.match(os.path.basename(path)))})
    rows.add_columns("all that is mapped, the program stripped", "bytes",
                     {"bytes": sum(libraries.values()) + stripped_bytes(own, world.folder)})
    for path, size in sorted(libraries.items(), key=lambda item: -item[1]):
        rows.add_columns("mapped: " + os.path.basename(path), "bytes", {"bytes": size})


def forget(world):
    """No image, no content, no snapshot; and what is written is on the disk."""
    for name in world.containerd.ctr("images", "list", "-q").split():
        world.containerd.ctr("images", "remove", "--sync", name)
    shutil.rmtree(world.path("copied"), ignore_errors=True)
    os.sync()
