#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What Linux shows of a TDX or SEV-SNP guest, as a file system of its own (FUSE): configfs-tsm, the
registers of TDX, and the firmware's CC event log. It stands in for the processor, which no machine here
has: quotes have the right structure, and nobody's signature.

As the kernel does it (Documentation/ABI/testing/configfs-tsm-report, fs/configfs): mkdir makes an entry
with its files; what is written to inblob counts from the close on, which tells nobody if it is refused;
generation counts the writes; a report is made when it is read and is kept until the next write.

  with Hardware(folder, provider="tdx_guest") as hw:   hw.behave(...) changes it while it runs,
                                                       hw.boot(...) begins anew
  hardware.py FOLDER                                   serves FOLDER/fs as FOLDER/behaviour.json says
"""
import contextlib
import errno
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys

sys.dont_write_bytecode = True

import parts

RTMRS = ["rtmr%d:sha384" % i for i in range(4)]
ENTRY_FILES = ("generation", "provider", "inblob", "outblob", "auxblob")
ZEROS = bytes(48)
SHA384 = 0x0C
BEHAVIOUR = {
    "provider": "tdx_guest",
    "has_tsm": True,          # the folder of reports is there
    "has_entries": True,      # a provider is registered
    "has_tdx": True,          # the driver's folder is there
    "has_aux": False,
    "extend_fails_at": 0,     # this extension and all later ones; 1 is the first
    "lost_writes": 0,         # so many writes of inblob are refused, which nobody is told
    "foreign_writes": 0,      # so many reports are raced by somebody else's write
    "busy_reads": 0,          # so many reads of outblob are EBUSY
    "read_errno": 0,          # every read of outblob
    "out_bytes": 0,           # of outblob, whatever they are; 0: a real report
    "wrong_nonce": False,
    "wrong_rtmr3": False,
    "used_rtmr3": False,
    "quote_version": 4,
    "generation": None,       # what that file says instead
    "boot": 0,                # another number: everything begins anew
}


# --- what the hardware and its firmware make ----------------------------------------------------

def ccel_event(data, register=1, kind=0x80000001):
    digest = hashlib.sha384(data).digest()
    return struct.pack("<IIIH", register, kind, 1, SHA384) + digest + struct.pack("<I", len(data)) + data


def ccel_log():
    """Without what follows it in the firmware's area; its last event ends in bytes of 0xFF."""
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBBIHHB", 0, 0, 2, 0, 2, 1, SHA384, 48, 0)
    header = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec
    return header + ccel_event(b"firmware") + ccel_event(bytes(4), 2, 4) + ccel_event(b"end\xff\xff\xff", 4, 13)


CCEL_AREA_BYTES = 65536
CCEL_TABLE = (b"CCEL" + struct.pack("<IBB6s8sI4sI", 56, 1, 0, b"TEST  ", b"TEST    ", 1, b"TEST", 1) +
              struct.pack("<BBHQQ", 2, 0, 0, CCEL_AREA_BYTES, 0x7F000000))


def tdx_quote(report_data, rtmrs, version=4):
    """Intel TDX DCAP Quoting Library API, appendix A.3: header, TD report, and a signature of zeros."""
    header = struct.pack("<HHIHH16s20s", version, 2, 0x81, 0, 0, bytes(range(16)), bytes(20))
    body = (bytes(16) + b"\x11" * 48 + bytes(48) + bytes(8) + bytes(8) + struct.pack("<Q", 0xE7) + b"\x22" * 48 +
            bytes(3 * 48) + b"".join(rtmrs) + report_data)
    assert (len(header), len(body)) == (48, 584)
    if version == 5:
        body = struct.pack("<HI", 3, 648) + body + bytes(64)
    certification = struct.pack("<HI", 5, 6) + b"chain\n"
    qe = bytes(384) + bytes(64) + struct.pack("<H", 32) + bytes(32) + certification
    signature = bytes(64) + bytes(64) + struct.pack("<HI", 6, len(qe)) + qe
    return header + body + struct.pack("<I", len(signature)) + signature


def snp_report(report_data):
    """AMD SEV-SNP Firmware ABI, table 23."""
    return struct.pack("<IIQ", 2, 0, 0x30000) + bytes(0x40) + report_data + bytes(1184 - 0x90)


SNP_CERTIFICATES = b"table of certificates\0" * 300


# --- the file system ----------------------------------------------------------------------------

class Refused(Exception):
    """Becomes an error of the call."""


class Entry:
    def __init__(self):
        self.generation = 0
        self.made_at = None     # generation of the report that is kept
        self.inblob = b""
        self.pending = {}       # handle -> bytes written but not closed yet
        self.out = b""


class Machine:
    def __init__(self, folder):
        self.folder = folder
        self.begin(0)

    def begin(self, boot):
        self.boot = boot
        self.spent = {}         # how much of a behaviour that counts down is used up
        self.entries = {}
        self.rtmrs = [bytes([i + 1]) * 48 for i in range(3)] + [ZEROS]
        self.extended = 0

    @property
    def how(self):
        how = {**BEHAVIOUR, **json.loads(parts.read(os.path.join(self.folder, "behaviour.json")))}
        if how["boot"] != self.boot:
            self.begin(how["boot"])
        return how

    def is_spent(self, name):
        """Whether the first so many are over."""
        self.spent[name] = self.spent.get(name, 0) + 1
        return self.spent[name] > self.how[name]

    def log(self, text, *values):
        with open(os.path.join(self.folder, "events"), "a", encoding="utf-8") as f:
            f.write(text % values + "\n")

    # configfs-tsm

    def make(self, name):
        if not self.how["has_entries"]:
            raise Refused(errno.ENXIO)
        self.entries[name] = Entry()
        self.log("mkdir")

    def remove(self, name):
        del self.entries[name]
        self.log("rmdir")

    def take_inblob(self, entry, data):
        self.log("inblob %s", data.hex())
        if not self.is_spent("lost_writes"):
            return
        entry.generation += 1
        entry.inblob = data

    def report(self, entry):
        how = self.how
        if how["read_errno"]:
            raise Refused(how["read_errno"])
        if not self.is_spent("busy_reads"):
            raise Refused(errno.EBUSY)
        if not entry.inblob:
            raise Refused(errno.EINVAL)
        if entry.made_at != entry.generation:
            entry.out = self.report_make(how, entry.inblob)
            entry.made_at = entry.generation
            if not self.is_spent("foreign_writes"):
                entry.generation += 1
        return entry.out

    def report_make(self, how, inblob):
        if how["out_bytes"]:
            return b"x" * how["out_bytes"]
        data = inblob.ljust(64, b"\0")
        if how["wrong_nonce"]:
            data = data[:-1] + bytes([data[-1] ^ 1])
        if how["provider"] == "sev_guest":
            return snp_report(data)
        rtmrs = self.rtmrs[:3] + [b"\x33" * 48 if how["wrong_rtmr3"] else self.rtmrs[3]]
        return tdx_quote(data, rtmrs, how["quote_version"])

    def entry_file(self, entry, name):
        if name == "generation":
            says = self.how["generation"]
            return ("%s\n" % (entry.generation if says is None else says)).encode()
        if name == "provider":
            return ("%s\n" % self.how["provider"]).encode()
        if name == "outblob":
            return self.report(entry)
        self.report(entry)
        return SNP_CERTIFICATES

    # the registers of TDX

    def extend(self, index, data, offset):
        self.extended += 1
        fails_at = self.how["extend_fails_at"]
        if offset or len(data) != 48:
            raise Refused(errno.EINVAL)
        if fails_at and self.extended >= fails_at:
            raise Refused(errno.EIO)
        self.rtmrs[index] = hashlib.sha384(self.rtmrs[index] + data).digest()
        self.log("extend %d %s", index, data.hex())

    def register(self, index):
        return b"\x55" * 48 if index == 3 and self.how["used_rtmr3"] else self.rtmrs[index]


def serve(folder):
    import fusepy as fuse  # pylint: disable=import-outside-toplevel

    machine = Machine(folder)

    def refuse(number):
        raise fuse.FuseOSError(number)

    class Files(fuse.Operations):
        """Paths are /tsm/report/ENTRY/FILE, /tdx_guest/measurements/RTMR, /acpi/tables/[data/]CCEL."""

        def __init__(self):
            self.handles = {}

        def folder_of(self, path):
            """Names in a folder; None: it is no folder."""
            how = machine.how
            fixed = {
                "/": ["acpi"] + ["tsm"] * how["has_tsm"] + ["tdx_guest"] * how["has_tdx"],
                "/acpi": ["tables"], "/acpi/tables": ["CCEL", "data"], "/acpi/tables/data": ["CCEL"],
            }
            if how["has_tsm"]:
                fixed.update({"/tsm": ["report"], "/tsm/report": list(machine.entries)})
            if how["has_tdx"]:
                fixed.update({"/tdx_guest": ["measurements"], "/tdx_guest/measurements": RTMRS})
            for name in machine.entries:
                fixed["/tsm/report/" + name] = [n for n in ENTRY_FILES if n != "auxblob" or how["has_aux"]]
            return fixed.get(path)

        def call(self, function, *arguments):
            try:
                return function(*arguments)
            except Refused as refused:
                return refuse(refused.args[0])

        def getattr(self, path, fh=None):
            if self.folder_of(path) is not None:
                return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
            head, _, name = path.rpartition("/")
            if name not in (self.folder_of(head) or ()):
                refuse(errno.ENOENT)
            mode = {"inblob": 0o200}.get(name, 0o644 if name in RTMRS else 0o444)
            return {"st_mode": stat.S_IFREG | mode, "st_nlink": 1, "st_size": 4096}

        def readdir(self, path, fh):
            return [".", ".."] + self.folder_of(path)

        def mkdir(self, path, mode):
            if not path.startswith("/tsm/report/"):
                refuse(errno.EPERM)
            self.call(machine.make, path.rpartition("/")[2])
            return 0

        def rmdir(self, path):
            machine.remove(path.rpartition("/")[2])

        def open(self, path, flags):
            handle = len(self.handles) + 1
            self.handles[handle] = None
            return handle

        def read(self, path, size, offset, fh):
            """A file's content is made at the first read, as configfs and sysfs do it."""
            parent, name = path.split("/")[-2:]
            if name in RTMRS:
                return machine.register(RTMRS.index(name))[offset:offset + size]
            if name == "CCEL":
                data = CCEL_TABLE if parent == "tables" else ccel_log().ljust(CCEL_AREA_BYTES, b"\xff")
                override = os.path.join(machine.folder, "ccel-" + parent)
                if os.path.exists(override):
                    with open(override, "rb") as f:
                        data = f.read()
                return data[offset:offset + size]
            if self.handles[fh] is None:
                self.handles[fh] = self.call(machine.entry_file, machine.entries[parent], name)
            return self.handles[fh][offset:offset + size]

        def truncate(self, path, length, fh=None):
            return 0

        def write(self, path, data, offset, fh):
            parent, name = path.split("/")[-2:]
            if name in RTMRS:
                self.call(machine.extend, RTMRS.index(name), data, offset)
            elif offset + len(data) > 64:
                refuse(errno.EFBIG)
            else:
                pending = machine.entries[parent].pending
                pending[fh] = pending.get(fh, b"")[:offset].ljust(offset, b"\0") + data
            return len(data)

        def flush(self, path, fh):
            parent, name = path.split("/")[-2:]
            entry = machine.entries.get(parent)
            if name == "inblob" and entry and fh in entry.pending:
                machine.take_inblob(entry, entry.pending.pop(fh))
            return 0

    fuse.FUSE(Files(), os.path.join(folder, "fs"), foreground=True, nothreads=True, direct_io=True, attr_timeout=0,
              entry_timeout=0, negative_timeout=0, fsname="tl-hardware")


# --- for tests ----------------------------------------------------------------------------------

def skip_if_impossible():
    for capability, is_there in (("root", os.geteuid() == 0), ("fuse", os.access("/dev/fuse", os.R_OK | os.W_OK))):
        if not is_there:
            print("SKIP %s: a file system of our own stands in for the processor" % capability)
            sys.exit(77)


class Hardware:
    def __init__(self, folder, **behaviour):
        self.folder = folder
        self.fs = os.path.join(folder, "fs")
        self.child = None
        self.boots = 0
        self.first = behaviour

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self):
        os.makedirs(self.fs)
        self.boot(**self.first)
        self.child = subprocess.Popen(["/usr/bin/python3", "-B", os.path.abspath(__file__), self.folder])
        parts.wait_until(lambda: os.path.ismount(self.fs) or self.child.poll() is not None, "fake hardware")
        if self.child.poll() is not None:
            raise parts.Failure("the fake hardware ended with %d" % self.child.returncode)
        return self

    def stop(self):
        if self.child:
            self.child.terminate()  # it unmounts itself, whoever else's mount namespace has a copy
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(15)
            if self.child.poll() is None:
                self.child.kill()
                self.child.wait()
                subprocess.run(["umount", "--lazy", self.fs], check=False)
            self.child = None

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def boot(self, **behaviour):
        """Registers and reports as after a reset."""
        self.boots += 1
        parts.write(self.path("events"), "")
        self.firmware()
        return self.behave(**behaviour)

    def behave(self, **behaviour):
        behaviour["boot"] = self.boots
        for name in behaviour:
            assert name in BEHAVIOUR, name
        temporary = self.path("behaviour.json.tmp")
        parts.write(temporary, json.dumps(behaviour))
        os.rename(temporary, self.path("behaviour.json"))
        return self

    def firmware(self, table=None, data=None):
        """Bytes in the place of the firmware's; None: the usual ones."""
        for name, value in (("ccel-tables", table), ("ccel-data", data)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(name))
            if value is not None:
                with open(self.path(name), "wb") as f:
                    f.write(value)

    @property
    def events(self):
        return parts.read(self.path("events")).splitlines()

    @property
    def entries(self):
        return os.listdir(os.path.join(self.fs, "tsm", "report"))

    def rtmr3(self):
        with open(os.path.join(self.fs, "tdx_guest", "measurements", RTMRS[3]), "rb") as f:
            return f.read()

    def in_place(self):
        """The words before a command that let it see all this where Linux has it, and nobody else."""
        script = """set -e
mount -t tmpfs -o mode=755 none /sys/kernel; mount -t tmpfs -o mode=755 none /sys/class/misc
mount -t tmpfs -o mode=755 none /sys/firmware
mkdir -p /sys/kernel/config/tsm /sys/class/misc/tdx_guest /sys/firmware/acpi
for f in tsm:/sys/kernel/config/tsm tdx_guest:/sys/class/misc/tdx_guest acpi:/sys/firmware/acpi; do
	if [ -d "$0/${f%%:*}" ]; then mount --bind "$0/${f%%:*}" "${f#*:}"; else rmdir "${f#*:}"; fi
done
exec "$@"
"""
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, self.fs]


if __name__ == "__main__":
    try:
        serve(sys.argv[1])
    except ImportError:
        sys.exit("hardware.py needs python3-fusepy")
