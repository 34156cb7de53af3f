#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A workload in its container: what it may not reach (S43), and what the launcher leaves open (S44). Its
network is the machine's own, as the reference's is: so the launcher listens on no port, and has no abstract
socket, and neither have containerd and its shims; what answers at the metadata server's address answers the
workload, too."""
import json
import os
import re
import signal
import stat

import launch_case
import parts

O_CLOEXEC = 0o2000000
# What a try may end with; anything else, "done" above all, is a way out.
REFUSED = {"ENOSYS", "EPERM", "EACCES", "EROFS", "ENOENT", "ENXIO", "ENODEV", "ESRCH"}
TRIES = 18


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


if __name__ == "__main__":
    launch_case.main()
