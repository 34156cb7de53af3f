# SPDX-License-Identifier: Apache-2.0
"""The machine that was measured on, and what else it did meanwhile."""
import os
import platform
import re
import subprocess
import threading
import time

import parts

TICKS = os.sysconf("SC_CLK_TCK")


def first_line(*command):
    try:
        return parts.run(*command).decode().splitlines()[0]
    except (parts.Failure, IndexError):
        return "absent"


def version_of(package):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else "absent"


def has_kvm():
    """A device that is there needn't work."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
        return True
    except OSError:
        return False


def describe(folder):
    """`folder`: where the measured files lie."""
    cpu = re.search(r"model name\s*: (.*)", parts.read("/proc/cpuinfo"))
    flags = re.search(r"flags\s*: (.*)", parts.read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", parts.read("/proc/meminfo"))
    release = re.search(r'PRETTY_NAME="(.*)"', parts.read("/etc/os-release"))
    return {
        "system": release.group(1) if release else "?", "kernel": platform.release().split("-")[0],
        "processors": os.cpu_count(), "processor": cpu.group(1) if cpu else platform.machine(),
        "processor_flags": [f for f in ("aes", "sha_ni", "avx2", "avx512f", "vaes", "hypervisor")
                            if flags and f in flags.group(1).split()],
        "memory_mb": int(memory.group(1)) // 1024,
        "file_system": first_line("findmnt", "-n", "-o", "FSTYPE", "-T", folder),
        "kvm": has_kvm(),
        "packages": {p: version_of(p) for p in ("containerd", "runc", "docker-registry", "skopeo", "swtpm",
                                                "libcurl4", "libssl3", "qemu-system-x86")},
        "load_at_start": list(os.getloadavg()),
    }


def disk_rate_mb_s(folder, size_mb=512):
    """Written at one go and synced: what the disk under `folder` takes."""
    path, block = os.path.join(folder, "rate"), os.urandom(1 << 20)
    begun = time.monotonic()
    with open(path, "wb") as f:
        for _ in range(size_mb):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())
    took_s = time.monotonic() - begun
    os.unlink(path)
    return size_mb * 1.048576 / took_s


class Others:
    """Processors busy with others' work: the machine's time, less that of this process and of what it has started,
    by a look every two seconds. `folder`: who left his parent is ours if his arguments name it, as a shim's do."""

    def __init__(self, folder):
        self.folder = folder.encode()
        self.samples = []  # (seconds since the start, processors busy with others' work, processors busy)
        self.begun = time.monotonic()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def watch(self):
        then, machine, own = time.monotonic(), machine_ticks(), own_ticks(self.folder)
        while not self.ended.wait(2):
            now, machine_now, own_now = time.monotonic(), machine_ticks(), own_ticks(self.folder)
            per = TICKS * (now - then)
            busy, ours = (machine_now - machine) / per, (own_now - own) / per
            self.samples.append((round(now - self.begun, 1), round(min(busy, max(busy - ours, 0)), 3), round(busy, 3)))
            then, machine, own = now, machine_now, own_now


def machine_ticks():
    fields = parts.read("/proc/stat").splitlines()[0].split()[1:]
    return sum(map(int, fields[:8])) - int(fields[3]) - int(fields[4])  # less idle and iowait


def own_ticks(folder):
    """Processor time of this process, its descendants, and those that were waited for (proc(5))."""
    stats, found = {}, {os.getpid()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
            stats[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])))
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                if folder in f.read():
                    found.add(int(pid))
        except (OSError, ValueError, IndexError):
            continue
    while True:
        more = {pid for pid, (parent, _) in stats.items() if parent in found} - found
        if not more:
            return sum(stats[pid][1] for pid in found if pid in stats)
        found |= more
