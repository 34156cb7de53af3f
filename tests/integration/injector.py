# SPDX-License-Identifier: Apache-2.0
"""What injector.c counts and is told: the sites of a program's calls, and which of them fails, and how."""
import errno
import os
import struct

import launch_case
import parts

SOURCE = os.path.join(launch_case.HERE, "injector.c")
OWN_MAX = 8
SITE = struct.Struct("<QII48s48sQ%dQ" % OWN_MAX)
HEAD = struct.Struct("<IIQ")
PROGRAMS = ("teelaunchd", "teelaunch-unpack")

E = {name: "e%d" % getattr(errno, name) for name in dir(errno) if name.startswith("E")}
SHORT = "s"
EAI_AGAIN = "e-3"  # netdb.h
LATE = "a%d" % errno.EIO
# Kind -> (functions, what happens to their calls): errors that these calls can really give. A close()
# that fails has closed.
KINDS = {
    "memory": (("malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "posix_memalign", "strdup",
                "__strdup", "strndup", "asprintf", "vasprintf", "__asprintf_chk", "__vasprintf_chk", "tsearch",
                "mmap", "mmap64", "mlock", "madvise", "setenv", "pthread_mutex_init", "pthread_cond_init",
                "pthread_condattr_init"), ("ENOMEM",)),
    "thread": (("pthread_create",), ("EAGAIN",)),
    "process": (("posix_spawn", "posix_spawn_file_actions_init", "posix_spawn_file_actions_adddup2",
                 "posix_spawn_file_actions_addopen", "posix_spawn_file_actions_addclosefrom_np",
                 "posix_spawnattr_init", "unshare"), ("ENOMEM",)),
    "descriptor": (("open", "open64", "__open_2", "__open64_2", "openat", "openat64", "__openat_2", "__openat64_2",
                    "fopen", "fopen64", "fdopen", "opendir", "fdopendir", "socket", "socketpair", "accept4",
                    "pipe2", "eventfd", "memfd_create", "epoll_create1", "fcntl", "fcntl64", "syscall", "fsopen",
                    "fsmount", "open_tree"), ("EMFILE",)),
    "read": (("read", "__read_chk", "pread", "pread64", "__pread_chk", "__pread64_chk"), ("EIO", SHORT, "EINTR")),
    "write": (("write", "pwrite", "pwrite64"), ("ENOSPC", SHORT, "EINTR")),
    "writev": (("writev",), ("ENOSPC",)),
    "counter": (("eventfd_read",), ("EAGAIN",)),
    "fsync": (("fsync",), ("EIO",)),
    "close": (("close",), (LATE,)),
    "receive": (("recv", "__recv_chk", "recvfrom"), ("ECONNRESET", SHORT, "EINTR")),
    "send": (("send", "sendto"), ("EPIPE", SHORT, "EINTR")),
    "message": (("sendmsg", "recvmsg"), ("ENOMEM",)),
    "connect": (("connect",), ("ECONNREFUSED",)),
    "name": (("getaddrinfo",), (EAI_AGAIN,)),
    "socket": (("bind", "listen", "shutdown", "getsockopt", "setsockopt"), ("ENOBUFS",)),
    "poll": (("poll", "__poll_chk", "epoll_wait"), ("ENOMEM", "EINTR")),
    "interest": (("epoll_ctl",), ("ENOMEM",)),  # in what is removed nothing can fail: injector.c
    "mount": (("mount", "umount2", "fsconfig", "move_mount", "mount_setattr"), ("EPERM",)),
    "directory": (("mkdir", "mkdirat", "mkdtemp", "mkfifo", "mknodat", "symlinkat", "linkat", "rename",
                   "renameat"), ("ENOSPC",)),
    "attribute": (("fsetxattr", "lsetxattr", "fgetxattr", "flistxattr", "chmod", "fchmod", "fchmodat", "fchown",
                   "fchownat", "utimensat", "futimens", "rmdir", "unlink", "unlinkat", "lseek", "lseek64", "stat",
                   "fstat", "fstat64", "lstat", "fstatat", "fstatat64", "statfs", "fstatfs", "statvfs", "access",
                   "faccessat", "readlink", "readlinkat", "__readlink_chk", "__readlinkat_chk", "readdir",
                   "readdir64"), ("EIO",)),
    "confinement": (("chdir", "fchdir", "chroot", "close_range", "prctl", "setrlimit", "ioctl", "kill"),
                    ("EPERM",)),
    "fact": (("gethostname", "__gethostname_chk", "sysinfo", "getrandom"), ("ENOSYS",)),
}
KIND_OF = {name: kind for kind, (names, _) in KINDS.items() for name in names}


class Site:
    """One place from where a function is called."""

    def __init__(self, program, key, count, name, module, caller, own):
        self.program, self.key, self.count = program, key, count
        self.name, self.module, self.caller, self.own = name, module, caller, own
        self.path = ""

    @property
    def kind(self):
        return KIND_OF[self.name]

    def faults(self):
        return [E.get(how, how) for how in KINDS[self.kind][1]]

    def __str__(self):
        return "%s %s%s < %s" % (self.program, self.name, " of " + self.module if self.module else "", self.path)


class Injector:
    def __init__(self, folder, programs, names=PROGRAMS):
        self.names = names
        self.library = os.path.join(folder, "injector.so")
        self.prefix = os.path.join(folder, "sites")
        self.programs = programs
        parts.run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror",
                  "-o", self.library, SOURCE)

    def environment(self, site=None, how=None, nth=1):
        """What a launcher is started with, so that it counts, and fails at that site."""
        for program in self.names:
            if os.path.exists(self.file(program)):
                os.unlink(self.file(program))
        env = {"LD_PRELOAD": self.library, "FI_MAP": self.prefix, "FI_FRAMES": os.environ.get("TL_FRAMES", "2"),
               "MALLOC_PERTURB_": "165"}
        if "TL_CALLERS" in os.environ:
            env["FI_CALLERS"] = "1"
        if site:
            env.update(FI_PROGRAM=site.program, FI_KEY="%016x" % site.key, FI_HOW=how, FI_NTH=str(nth))
        return env

    def file(self, program):
        return "%s.%s" % (self.prefix, program)

    def read(self, program):
        """(how often a call was made to fail, the sites by their key)"""
        if not os.path.exists(self.file(program)):
            return 0, {}
        with open(self.file(program), "rb") as f:
            data = f.read()
        fired, lost, _ = HEAD.unpack_from(data)
        if lost:
            raise parts.Failure("%d calls of %s were not counted" % (lost, program))
        sites = {}
        for at in range(HEAD.size, len(data), SITE.size):
            key, count, own_n, name, module, caller, *own = SITE.unpack_from(data, at)
            if key:
                sites[key] = Site(program, key, count, text(name), text(module), caller, tuple(own[:own_n]))
        return fired, sites

    def fired(self, program):
        with open(self.file(program), "rb") as f:
            return HEAD.unpack(f.read(HEAD.size))[0]

    def name_sites(self, sites):
        """Into `path`: the program's functions that lead to the call, the nearest first."""
        for program in self.names:
            own = [s for s in sites if s.program == program]
            addresses = sorted({a for s in own for a in s.own})
            said = parts.run("addr2line", "-f", "-i", "-a", "-e", os.path.join(self.programs, program),
                             stdin="".join("%#x\n" % (a - 1) for a in addresses).encode()).decode()
            names = {}
            for block in said.split("0x")[1:]:
                number, *lines = block.splitlines()
                names[int(number, 16) + 1] = [n for n in lines[::2] if n]
            for s in own:
                s.path = " < ".join(n for a in s.own for n in names[a])


def text(field):
    return field.split(b"\0")[0].decode()
