#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A workload in its container: what it may not reach (S43), and what the launcher leaves open (S44). Its
network is the machine's own, as the reference's is: so the launcher listens on no port, and has no abstract
socket, and neither have containerd and its shims; what answers at the metadata server's address answers the
workload, too."""
import ctypes
import json
import os
import re
import signal
import socket
import stat

import launch_case
import parts
from world import built_for_tests

O_CLOEXEC = 0o2000000
# What a try may end with; anything else, "done" above all, is a way out.
REFUSED = {"ENOSYS", "EPERM", "EACCES", "EROFS", "ENOENT", "ENXIO", "ENODEV", "ESRCH"}
TRIES = 18
# What an attempt upon another process may end with: it isn't there, or it isn't to be had.
NOBODY = {"ESRCH", "ENOENT", "EPERM", "EACCES", "EBADF", "EINVAL", "ENOTTY"}
ATTEMPTS = {"pidfd_open", "pidfd_getfd", "kill", "process_vm_readv", "process_vm_writev", "mem", "root/etc/shadow", "fd/0",
            "environ", "ptrace"}
AT_PEER = {"peer_getfd-0", "peer_signal-0", "peer_network-0"}


def sockets_of(pid):
    """The inodes of a process's sockets."""
    found = set()
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.update(re.findall(r"^socket:\[(\d+)\]$", os.readlink("/proc/%d/fd/%s" % (pid, fd))))
        except OSError:
            continue
    return found


def abstract_sockets():
    """Inode -> name."""
    rows = (line.split() for line in parts.read("/proc/net/unix").splitlines()[1:])
    return {row[6]: row[7] for row in rows if len(row) > 7 and row[7].startswith("@")}


def listening():
    """Inodes of TCP sockets that listen, and of bound UDP sockets that no peer was given."""
    found = set()
    for name, state in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in parts.read("/proc/net/" + name).splitlines()[1:]:
            row = line.split()
            if row[3] == state:
                found.add(row[9])
    return found


def capabilities(*numbers):
    return "%016x" % sum(1 << n for n in numbers)


# linux/capability.h: DAC_OVERRIDE, KILL, NET_BIND_SERVICE, NET_ADMIN, IPC_LOCK
KEPT = capabilities(1, 5, 10, 12, 14)
KEPT_NAMES = ["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_ADMIN", "CAP_IPC_LOCK"]
THREADS = 8
# Of docs/ARCHITECTURE.md; those that begin once the launcher may write no file in /proc, among them.
NAMED = {"teelaunchd", "signals", "tl-wait", "tl-oom", "tl-token", "tl-token-age", "tl-socket", "tl-serve", "tl-evidence",
         "tl-output"}


def landlock_abi():
    """landlock_create_ruleset(2), which asked in this way names the version."""
    return max(ctypes.CDLL(None).syscall(444, None, 0, 1), 0)


class Confined(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.launch = cls.world.launch_start(cls.world.attributes(
            cmd='["fds", "reach", "claims", "sleep=600"]', container_log_redirect="true"),
            options=["--stop-grace-ms", "100"])
        cls.launch.wait_for("hello: claims ")

    @classmethod
    def tearDownClass(cls):
        cls.launch.send(signal.SIGTERM)
        cls.launch.wait()
        super().tearDownClass()

    def said(self, what):
        return dict(re.findall(r"hello: %s (\S+):? (.*)$" % what, self.launch.console, re.M))

    def test_s43_a_workload_reaches_nothing_of_the_machine(self):
        said = {name.rstrip(":"): end for name, end in self.said("reach").items()}
        self.assertEqual(said.pop("privileges"), "1", "no_new_privs")
        self.assertEqual(said.pop("processes"), "1", "it sees itself alone")
        self.assertEqual(len(said), TRIES, said)
        self.assertEqual({name: end for name, end in said.items() if end not in REFUSED}, {})

    def test_s43_the_launcher_listens_on_nothing_that_a_workload_shares(self):
        """Only by files: a container sees those that were put into it."""
        ours = {self.launch.child.pid, *self.world.containerd.pids()}
        sockets = set().union(*(sockets_of(pid) for pid in ours if os.path.exists("/proc/%d" % pid)))
        self.assertGreater(len(sockets), 1)
        abstract = abstract_sockets()
        self.assertEqual({abstract[inode] for inode in sockets & set(abstract)}, set())
        self.assertEqual(sockets_of(self.launch.child.pid) & listening(), set())

    def test_s43_every_thread_of_the_launcher_is_confined_while_the_workload_runs(self):
        """What the kernel says of it, not the launcher. Every filter: this test's process may have its own."""
        own = parts.read("/proc/self/status")
        filters = int(re.search(r"^Seccomp_filters:\s*(\d+)", own, re.M)[1])
        tasks = "/proc/%d/task" % self.launch.child.pid
        seen = {tid: dict(re.findall(r"^(\w+):\s*(.*)$", parts.read("%s/%s/status" % (tasks, tid)), re.M))
                for tid in os.listdir(tasks)}
        self.assertGreaterEqual(len(seen), THREADS, seen)
        for status in seen.values():
            with self.subTest(status["Name"]):
                self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
                self.assertEqual(int(status["Seccomp_filters"]), filters + 2)
                self.assertEqual({status[name] for name in ("CapPrm", "CapEff")}, {KEPT})
                self.assertEqual({status[name] for name in ("CapInh", "CapBnd", "CapAmb")}, {capabilities()})
        names = {status["Name"] for status in seen.values()}
        self.assertLessEqual(NAMED, names)
        core = re.search(r"^Max core file size\s+(\d+)\s+(\d+)", parts.read("/proc/%d/limits" % self.launch.child.pid),
                         re.M)
        self.assertEqual(core.groups(), ("0", "0"))

    def test_a_forgotten_call_would_end_each_launch_of_these_tests(self):
        """But with sanitizers, which call what they like."""
        with open(os.path.join(self.world.programs, "teelaunchd"), "rb") as f:
            program = f.read()
        is_sanitized = b"__asan_init" in program or b"__tsan_init" in program
        maps = parts.read("/proc/%d/maps" % self.launch.child.pid)
        self.assertEqual("/strict_calls.so" in maps, not is_sanitized)

    def test_s44_a_workload_is_born_with_three_descriptors(self):
        said = self.said("fd")
        self.assertEqual(set(said), {"0", "1", "2"}, said)
        self.assertEqual(said["0"], "/dev/null")
        for fd in "12":
            self.assertRegex(said[fd], r"^pipe:|/output-")

    def test_s44_the_launcher_hands_no_descriptor_on(self):
        """The one way in which it runs a program is posix_spawn(3), with all descriptors closed but those that are
        meant (test_s44_an_unpacker_has_its_own_descriptors_and_no_other). So the sockets of libcurl, which it
        opens without O_CLOEXEC, go nowhere; nothing else is open for children."""
        pid = self.launch.child.pid
        open_for_children = []
        for fd in os.listdir("/proc/%d/fdinfo" % pid):
            flags = int(re.search(r"^flags:\s*(\d+)", parts.read("/proc/%d/fdinfo/%s" % (pid, fd)), re.M)[1], 8)
            if int(fd) > 2 and not flags & O_CLOEXEC:
                open_for_children.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        self.assertEqual([name for name in open_for_children if not name.startswith("socket:")], [])
        wanted = parts.run("nm", "-D", "--undefined-only", os.path.join(self.world.programs, "teelaunchd")).decode()
        self.assertIn(" socket@", wanted)
        self.assertEqual(re.findall(r" (f?exec\w*|posix_spawnp?|system|popen|v?fork|clone)(?:@|$)", wanted, re.M),
                         ["posix_spawn"])
        self.assertIn(" posix_spawn_file_actions_addclosefrom_np@", wanted)

    def test_s44_what_the_launcher_makes_is_for_root_alone_but_the_socket(self):
        umask = re.search(r"^Umask:\s*(\d+)", parts.read("/proc/%d/status" % self.launch.child.pid), re.M)[1]
        self.assertEqual(int(umask, 8), 0o077)
        for top in (self.launch.state, self.launch.shared):
            for where, folders, files in os.walk(top):
                for name in folders + files:
                    info = os.lstat(os.path.join(where, name))
                    is_writable = info.st_mode & 0o002
                    self.assertEqual(bool(is_writable), stat.S_ISSOCK(info.st_mode), os.path.join(where, name))


class Numbers:
    """Tells a workload which processes there are, once."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(60)
        self.port = self.server.getsockname()[1]

    def tell(self, pids):
        with self.server, self.server.accept()[0] as connection:
            connection.sendall(" ".join(map(str, pids)).encode())


class Capable(launch_case.LaunchCase):
    """With capabilities that its author's label allows to add; CAP_SYS_ADMIN would be all of the machine."""
    images = ("test/wide:1",)

    def test_s09_added_capabilities_open_no_device(self):
        """A node can be made with CAP_MKNOD; which may be opened is for the container's group to say."""
        added = ["CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_NET_ADMIN"]
        launch = self.world.launch(self.world.attributes(
            "test/wide:1", cmd='["reach", "exit=0"]', container_log_redirect="true",
            added_capabilities=json.dumps(added)))
        self.assert_end(launch, 0, "success")
        said = {name.rstrip(":"): end
                for name, end in re.findall(r"hello: reach (\S+):? (.*)$", launch.console, re.M)}
        self.assertEqual((said.pop("privileges"), said.pop("processes")), ("1", "1"))
        self.assertEqual(len(said), TRIES, said)
        self.assertEqual({name: end for name, end in said.items() if end not in REFUSED}, {})

    def test_s43_a_workload_gets_into_no_process_of_the_machine(self):
        """ptrace(2) and all else that a debugger uses, upon the launcher, containerd, its shim and this test: with
        their real numbers, and by what the token socket tells of the launcher. Without a capability beyond the
        usual, with those of the launcher itself, and with the one for debuggers: with that a kernel of 6.5 or later
        gives it the launcher's descriptors, by the token socket (docs/THREAT_MODEL.md, known limits)."""
        for added in ([], ["CAP_NET_ADMIN", "CAP_IPC_LOCK"], ["CAP_SYS_PTRACE"]):
            numbers = Numbers()
            launch = self.world.launch_start(self.world.attributes(
                "test/wide:1", cmd='["attack=%d", "sleep=1", "exit=0"]' % numbers.port,
                container_log_redirect="true", **({"added_capabilities": json.dumps(added)} if added else {})))
            launch.wait_for("hello: I hold an attestation token")
            pids = [launch.child.pid, os.getpid(), *self.world.containerd.pids()]
            numbers.tell(pids)
            launch.wait()
            self.assert_end(launch, 0, "success")
            said = dict(re.findall(r"hello: attack (\S+): (.*)$", launch.console, re.M))
            with self.subTest(added=added):
                self.assertEqual((said.pop("peer"), said.pop("ends")), ("0", "done"))
                self.assertEqual(set(said), {"%s-%d" % (what, pid) for what in ATTEMPTS for pid in pids} | AT_PEER)
                known = {"peer_getfd-0", "peer_network-0"} if "CAP_SYS_PTRACE" in added else set()
                self.assertEqual({name: end for name, end in said.items() if end not in NOBODY and name not in known},
                                 {})


class Kernels(launch_case.LaunchCase):
    """Launches on kernels that lack a part of what the launcher confines itself by."""
    images = ("demo/hello:1",)

    def launch(self, *options, refused=None, cmd='["exit=0"]'):
        tool = built_for_tests(self.world.programs, "refuse_calls")
        return self.world.launch(self.world.attributes(cmd=cmd), before=[tool, refused] if refused else [],
                                 options=options)

    def test_the_report_says_what_was_in_force(self):
        report = self.assert_end(self.launch(), 0, "success")
        threads = report["confinement"].pop("threads")
        self.assertGreaterEqual(threads, 2)
        self.assertEqual(report["confinement"], {"mode": "on", "phase": "workload", "capabilities": KEPT_NAMES,
                                                 "landlock_abi": landlock_abi()})
        names = [stage["name"] for stage in report["stages"]]
        self.assertEqual(names[names.index("create") + 1:names.index("measure")], ["confine"])

    def test_a_launch_that_fails_early_says_so_too(self):
        report = self.assert_end(self.world.launch(self.world.attributes(restart_policy="Perhaps")), 1, "denied")
        self.assertEqual(report["confinement"]["phase"], "launch")
        self.assertIn("CAP_SYS_ADMIN", report["confinement"]["capabilities"])
        self.assertNotIn("CAP_SYS_MODULE", report["confinement"]["capabilities"])

    def test_off_is_told(self):
        launch = self.launch("--confine", "off")
        self.assertEqual(self.assert_end(launch, 0, "success")["confinement"], {"mode": "off", "phase": "none"})
        self.assertIn("event=confine.off", launch.stderr)

    def test_a_kernel_without_landlock(self):
        launch = self.launch(refused="landlock_create_ruleset")
        report = self.assert_end(launch, 0, "success")
        self.assertEqual((report["confinement"]["phase"], report["confinement"]["landlock_abi"]), ("workload", 0))
        self.assertIn("event=confine.landlock", launch.stderr)

    def test_strict_is_not_without_landlock(self):
        launch = self.launch("--confine", "strict", refused="landlock_create_ruleset")
        report = self.assert_end(launch, 1, "fatal", "TL0121")
        self.assertEqual(report["stages"][-1]["name"], "confine")
        self.assertNotIn("workload", report)
        self.assertNotIn("measured", report)

    def test_a_kernel_without_filters_of_system_calls(self):
        """Nothing is begun: not even the metadata is read."""
        report = self.assert_end(self.launch(refused="seccomp"), 1, "fatal", "TL0121")
        self.assertEqual([stage["name"] for stage in report["stages"]], ["machine"])
        self.assertEqual(report["confinement"], {"mode": "on", "phase": "none"})

    def test_a_kernel_whose_second_filter_fails(self):
        """Of threads that are there already: capabilities and Landlock are in force then, the launch isn't."""
        library = self.world.path("second_filter.so")
        parts.run("gcc", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", library,
                  os.path.join(launch_case.HERE, "second_filter.c"))
        launch = self.world.launch(self.world.attributes(), env={
            "LD_PRELOAD": library, "ASAN_OPTIONS": "verify_asan_link_order=0"})
        report = self.assert_end(launch, 1, "fatal", "TL0121")
        self.assertEqual(report["stages"][-1]["name"], "confine")
        self.assertEqual(report["confinement"]["phase"], "launch")


if __name__ == "__main__":
    launch_case.main()
