# SPDX-License-Identifier: Apache-2.0
"""What tests must not leave: processes, mounts, core dumps, reports of a sanitizer.

The tests get a temporary folder of their own and an environment variable that marks every process
they start; what is found by either after the run was left behind.
"""

import os
import re
import shutil
import signal
import struct
import tempfile
import time
import uuid

MARK = "TL_CHECK_RUN"
NT_PRPSINFO = 3
# struct elf_prpsinfo of a 64-bit machine: 40 bytes before pr_fname[16].
PRPSINFO_FNAME = slice(40, 56)


class Watch:
    def __init__(self, log_folder):
        self.mark = uuid.uuid4().hex
        # Short, for a socket's path has at most 107 bytes.
        self.tmp = tempfile.mkdtemp(prefix="tl.", dir="/tmp")
        self.reports = os.path.join(log_folder, "sanitizer")
        shutil.rmtree(self.reports, ignore_errors=True)
        os.makedirs(self.reports)

    def environment(self):
        report = "log_path=" + os.path.join(self.reports, "report")
        return {**os.environ, MARK: self.mark, "TMPDIR": self.tmp, "LC_ALL": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1",
                "ASAN_OPTIONS": report + ":detect_stack_use_after_return=1",
                "TSAN_OPTIONS": report,
                "UBSAN_OPTIONS": report + ":print_stacktrace=1"}

    def processes(self, patience_s=3):
        """Found, named and ended. What is on its way out gets a moment."""
        until = time.monotonic() + patience_s
        while self._processes(False) and time.monotonic() < until:
            time.sleep(0.1)
        return self._processes(True)

    def _processes(self, is_ending):
        wanted = ("%s=%s" % (MARK, self.mark)).encode()
        faults = []
        for pid in (p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()):
            try:
                with open("/proc/%s/environ" % pid, "rb") as f:
                    if wanted not in f.read().split(b"\0"):
                        continue
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    faults.append("process %s was left running: %s" % (
                        pid, f.read().replace(b"\0", b" ").decode(errors="replace")))
                if is_ending:
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue  # it ended meanwhile
        return faults

    def mounts(self):
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as f:
            return ["still mounted: " + row.split()[1] for row in f
                    if row.split()[1].startswith(self.tmp + "/")]

    def sanitizer_reports(self):
        faults = []
        for name in sorted(os.listdir(self.reports)):
            with open(os.path.join(self.reports, name), encoding="utf-8", errors="replace") as f:
                faults.append(f.read())
        return faults

    def core_dumps(self, folders, since, programs):
        """Of our programs only: a test's workload may crash on purpose."""
        faults = []
        for top in (self.tmp, *folders):
            for folder, _, names in os.walk(top):
                for name in names:
                    path = os.path.join(folder, name)
                    if not re.fullmatch(r"core(\.\d+)?", name) or not os.path.isfile(path):
                        continue
                    program = program_of_core(path)
                    if os.path.getmtime(path) >= since and program in programs:
                        faults.append("%s dumped core: %s" % (program, path))
        return faults

    def done(self):
        if not self.mounts():
            shutil.rmtree(self.tmp, ignore_errors=True)


def program_of_core(path):
    """The name of the program (15 bytes) out of the notes of an ELF core; "" if it isn't one."""
    with open(path, "rb") as f:
        head = f.read(1 << 20)
    if head[:4] != b"\x7fELF" or struct.unpack_from("<H", head, 16)[0] != 4:
        return ""
    offset, = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    for i in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", head, offset + i * size)[:6]
        at = start if kind == 4 else len(head)
        while at + 12 <= min(start + length, len(head)):
            name_size, data_size, note = struct.unpack_from("<III", head, at)
            data = at + 12 + (name_size + 3) // 4 * 4
            if note == NT_PRPSINFO:
                return head[data:data + data_size][PRPSINFO_FNAME].split(b"\0")[0].decode()
            at = data + (data_size + 3) // 4 * 4
    return ""
