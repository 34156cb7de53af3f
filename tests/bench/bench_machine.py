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
    """Processor time that others took: the machine's, less that of this process and what it has started. What
    belongs to whom is seen every two seconds; what starts and ends between two looks counts as others'."""

    def __init__(self):
        self.samples = []  # (seconds since the start, processors busy with others' work)
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
        then, machine, seen = time.monotonic(), machine_ticks(), strangers()
        while not self.ended.wait(2):
            now, machine_now, seen_now = time.monotonic(), machine_ticks(), strangers()
            ticks = sum(n - seen.get(pid, n) for pid, n in seen_now.items())
            self.samples.append((round(now - self.begun, 1), round(ticks / TICKS / (now - then), 3),
                                 round((machine_now - machine) / TICKS / (now - then), 3)))
            then, machine, seen = now, machine_now, seen_now

    def document(self):
        return {"what": "[seconds since the start, processors busy with others' processes, processors busy]",
                "samples": self.samples}


def machine_ticks():
    fields = parts.read("/proc/stat").splitlines()[0].split()[1:]
    return sum(map(int, fields)) - int(fields[3]) - int(fields[4])  # less idle and iowait


def strangers():
    """{(pid, start): ticks} of the processes that this one didn't start, nor theirs. Who was left by its parent is
    known by its session: each part of the world has one."""
    stats = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, "rb") as f:
                fields = f.read().rpartition(b")")[2].split()
            stats[int(pid)] = (int(fields[1]), int(fields[3]), int(fields[11]) + int(fields[12]), int(fields[19]))
        except (OSError, ValueError, IndexError):
            continue
    own = {os.getpid()}
    sessions = set()
    for _ in range(8):  # as deep as trees of processes are here
        own |= {pid for pid, (parent, session, _, _) in stats.items() if parent in own or session in sessions}
        sessions |= {stats[pid][1] for pid in own if pid in stats and stats[pid][1] in own and pid != os.getpid()}
    return {(pid, start): ticks for pid, (_, _, ticks, start) in stats.items() if pid not in own}
