# SPDX-License-Identifier: Apache-2.0
"""Memory of a launcher with all its processes: its session, and the children of those in it. Only what it started
itself is in it: containerd, its shims and the workload are others' children, in sessions of their own."""
import contextlib
import os
import re
import threading
import time

import parts

LOOK_S, SUM_S = 0.02, 0.002
FIELDS = ("Rss", "Pss", "Private_Clean", "Private_Dirty")
# linux/kcmp.h; the number is x86-64's.
KCMP_SYSCALL, KCMP_VM = 312, 1
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


def family(leader):
    """The processes of its session, and their descendants."""
    stats = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/%s/stat" % pid, "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
            stats[int(pid)] = int(fields[1]), int(fields[3])
    found = {pid for pid, (_, session) in stats.items() if session == leader}
    while True:
        more = {pid for pid, (parent, _) in stats.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def rollup_kib(pid):
    """{field: KiB} of one process; zeros of one that has ended."""
    found = dict.fromkeys(FIELDS, 0)
    with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % pid, encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name in found:
                found[name] = int(rest.split()[0])
    return found


def own_memory(pids):
    """Those of them that have a memory of their own: between its fork and its exec a child of posix_spawn() lives in
    its parent's, which is there once."""
    found = []
    for pid in pids:
        if not any(parts.libc.syscall(KCMP_SYSCALL, pid, one, KCMP_VM, 0, 0) == 0 for one in found):
            found.append(pid)
    return found


def sum_kib(pids):
    """Of all of them: RSS (a page that two have counts twice), PSS (it counts half for each), private."""
    each = [rollup_kib(pid) for pid in pids]
    return {"rss": sum(e["Rss"] for e in each), "pss": sum(e["Pss"] for e in each),
            "private": sum(e["Private_Clean"] + e["Private_Dirty"] for e in each)}


def steady(pid):
    """Now, of a launcher that waits: KiB, its threads and its processes."""
    pids = family(pid)
    threads = 0
    for one in pids:
        with contextlib.suppress(OSError), open("/proc/%d/status" % one, encoding="ascii", errors="replace") as f:
            threads += int(re.search(r"^Threads:\s*(\d+)", f.read(), re.M).group(1))
    return {**sum_kib(pids), "threads": threads, "processes": len(pids)}


class Peak:
    """The most that the processes of a session held at one time. RSS is summed every 2 ms, PSS every 20 ms (to
    compute it takes the kernel as long as that of some megabytes); what lies between two looks isn't seen."""

    def __init__(self, leader):
        self.leader = leader
        self.kib = {"rss": 0, "pss": 0, "private": 0}
        self.processes = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()

    def watch(self):
        looked, pids = 0.0, []
        while not self.ended.is_set():
            now = time.monotonic()
            if now - looked > LOOK_S:
                looked, pids = now, family(self.leader)
                self.processes = max(self.processes, len(pids))
                pids = own_memory(pids)
                for name, value in sum_kib(pids).items():
                    self.kib[name] = max(self.kib[name], value)
            self.kib["rss"] = max(self.kib["rss"], sum(resident_kib(pid) for pid in own_memory(pids)))
            time.sleep(SUM_S)

    def end(self):
        self.ended.set()
        self.thread.join()
        return self


def resident_kib(pid):
    try:
        with open("/proc/%d/statm" % pid, "rb") as f:
            return int(f.read().split()[1]) * PAGE_KIB
    except (OSError, IndexError):
        return 0


def mapped_files(pid):
    """{path: bytes of the file} of all that is mapped from files."""
    found = {}
    with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as f:
        for line in f:
            path = line.split(None, 5)[5].strip() if len(line.split(None, 5)) == 6 else ""
            if path.startswith("/") and os.path.isfile(path):
                found[path] = os.path.getsize(path)
    return found
