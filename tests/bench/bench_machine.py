# SPDX-License-Identifier: Apache-2.0
"""The machine that was measured on, and what else it did meanwhile."""
import os
import platform
import re
import shutil
import subprocess
import tempfile
import threading
import time

import parts
from containerd import leave_chroot_behind

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


def describe(disk):
    """`disk`: where the measured files lie."""
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
        "file_system": disk.what,
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


DISK_GB = 48  # sparse: what is written is taken


class Disk:
    """An ext4 of its own with a journal, in a file, by way of a loop device; everything that is measured lies there.

    Without a journal (a machine's own disk may be so) ext4 gives out no inode that was deleted in the last minutes, and
    looks at each of them again for every file that is made: a bench, which pulls and deletes in turns, would measure
    that. A machine that launches once doesn't."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="tlb-")
        self.folder = os.path.join(self.top, "m")
        self.what = "ext4 with a journal, on a loop device"
        os.mkdir(self.folder)

    def __enter__(self):
        leave_chroot_behind()
        image = os.path.join(self.top, "disk")
        try:
            with open(image, "wb") as f:
                f.truncate(DISK_GB * 1_000_000_000)
            parts.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
            try:
                device = parts.run("losetup", "--find", "--show", "--direct-io=on", image).decode().strip()
            except parts.Failure:
                device = parts.run("losetup", "--find", "--show", image).decode().strip()
                self.what += ", by way of the page cache"
            try:
                parts.run("mount", device, self.folder)
            finally:
                parts.run("losetup", "--detach", device)  # when it is unmounted
        except parts.Failure as fault:
            self.what = "%s (no loop device: %s)" % (first_line("findmnt", "-n", "-o", "FSTYPE", "-T", self.top), fault)
            os.unlink(image)
        return self

    def __exit__(self, *_):
        if os.path.ismount(self.folder):
            parts.run("umount", self.folder)
        shutil.rmtree(self.top, ignore_errors=True)
