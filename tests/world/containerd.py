#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A containerd of its own: root, state, socket and configuration below one folder.

  containerd.py start --dir W/containerd [--snapshotter overlayfs|native]
  containerd.py stop  --dir W/containerd

It lives in a mount namespace and a cgroup namespace of its own, because containerd's shims and runc
have fixed places outside of its state directory: /run/containerd and the cgroup of a container,
/NAMESPACE/ID. So several worlds, and the containerd of the machine, don't meet; and what is left of
its mounts goes with it. Works on cgroup v1, v2 and the mixture, and in a chroot that has /proc, /sys
and /dev but no cgroup file system: the hierarchies that /proc/self/cgroup names are mounted afresh.

The overlayfs snapshotter needs a file system that can hold an overlay; where the folder's can't, a
tmpfs is put below it, and where even that fails, the native snapshotter is used. Both are said.
"""
import contextlib
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import sys

import parts

CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000  # linux/sched.h
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000  # linux/mount.h
CGROUPS = "/sys/fs/cgroup"
SHIM_DIR = "/run/containerd"
# Not needed here, and each costs time at the start or wants something that isn't there.
DISABLED = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt",
            "io.containerd.internal.v1.restart", "io.containerd.tracing.processor.v1.otlp",
            "io.containerd.internal.v1.tracing"] + \
           ["io.containerd.snapshotter.v1." + s for s in ("aufs", "btrfs", "devmapper", "zfs")]


def unshare(flags):
    if parts.libc.unshare(flags) != 0:
        raise parts.Failure("can't have a namespace of its own (%s); is this root?" %
                            os.strerror(ctypes.get_errno()))


def syscall(result, what):
    if result != 0:
        raise parts.Failure("can't %s: %s" % (what, os.strerror(ctypes.get_errno())))


def own_mounts():
    """A mount namespace whose mounts nobody else sees.

    In a chroot "/" is no mount point: it can't be made private, and runc can't work there. So this goes
    by way of the namespace's true root, where setns() leads, and makes the chroot's tree the namespace's
    root, as switch_root(8) does."""
    unshare(CLONE_NEWNS)
    here = os.open("/", os.O_PATH | os.O_DIRECTORY)
    fds = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    syscall(parts.libc.setns(namespace, CLONE_NEWNS), "go to the root of its mounts")
    syscall(parts.libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "keep its mounts private")
    root = os.readlink(str(here), dir_fd=fds)
    if root != "/":
        path = root.encode()
        syscall(parts.libc.mount(path, path, None, MS_BIND | MS_REC, None), "mount '%s'" % root)
        os.chdir(root)
        syscall(parts.libc.mount(b".", b"/", None, MS_MOVE, None), "move '%s'" % root)
        os.chroot(".")
    os.chdir("/")
    for fd in (here, fds, namespace):
        os.close(fd)


def leave_chroot_behind():
    """Where "/" is no mount point neither runc nor a launcher can keep mounts to itself: then this
    process, and all that it starts, gets the same tree as a root of its own. Before any thread."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        if not any(line.split()[4] == "/" for line in f):
            own_mounts()


def mount(*arguments):
    parts.run("mount", *arguments)


def hierarchies():
    """The cgroup hierarchies of this machine: (name of the folder, mount type, mount options)."""
    found = []
    for line in parts.read("/proc/self/cgroup").splitlines():
        number, controllers, _ = line.split(":", 2)
        if controllers:
            named = controllers.startswith("name=")
            found.append((controllers.split("=")[-1], "cgroup",
                          "none," + controllers if named else controllers))
        elif number == "0":
            found.append(("unified", "cgroup2", None))
    return [("", "cgroup2", None)] if [f[0] for f in found] == ["unified"] else found


def mount_hierarchy(kind, options, where):
    os.makedirs(where, exist_ok=True)
    mount("-t", kind, *(["-o", options] if options else []), "cgroup", where)


def cgroup_make(scratch, group, kind):
    """A group for this process and all it starts; `scratch` is the hierarchy's mount."""
    path = os.path.join(scratch, group)
    os.makedirs(path, exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):  # v1: empty until written, and then nobody may enter
        if kind == "cgroup" and os.path.exists(os.path.join(path, name)):
            parts.write(os.path.join(path, name), parts.read(os.path.join(scratch, name)))
    if kind == "cgroup2":  # what can't be had (a v1 hierarchy has it) is done without
        for controller in parts.read(os.path.join(scratch, "cgroup.controllers")).split():
            with contextlib.suppress(OSError):
                parts.write(os.path.join(scratch, "cgroup.subtree_control"), "+" + controller)
    parts.write(os.path.join(path, "cgroup.procs"), str(os.getpid()))


def inside(folder, group):
    """Runs as the process that becomes containerd: the namespaces, then exec."""
    own_mounts()
    all_of_them = hierarchies()
    for i, (_, kind, options) in enumerate(all_of_them):
        mount_hierarchy(kind, options, os.path.join(folder, "cgroup", str(i)))
        cgroup_make(os.path.join(folder, "cgroup", str(i)), group, kind)
    unshare(CLONE_NEWCGROUP)
    while os.path.ismount(CGROUPS):  # else the first match in mountinfo is one that is covered
        parts.run("umount", "-R", "-l", CGROUPS)
    mount("-t", "tmpfs", "-o", "mode=755", "cgroup", CGROUPS)
    for i, (name, kind, options) in enumerate(all_of_them):
        parts.run("umount", os.path.join(folder, "cgroup", str(i)))
        mount_hierarchy(kind, options, os.path.join(CGROUPS, name))
        for alias in name.split(",") if "," in name else []:
            os.symlink(name, os.path.join(CGROUPS, alias))
        if kind == "cgroup2":  # its processes live in leaves only
            leaf = os.path.join(CGROUPS, name, "daemon")
            os.makedirs(leaf, exist_ok=True)
            parts.write(os.path.join(leaf, "cgroup.procs"), str(os.getpid()))
    os.makedirs(os.path.join(folder, "run"), exist_ok=True)
    mount("--bind", os.path.join(folder, "run"), SHIM_DIR)
    os.execvpe("containerd", ["containerd", "--config", os.path.join(folder, "config.toml")],
               parts.clean_env())


def sweep(folder, group):
    """Runs as a process of its own: removes the group from all hierarchies."""
    own_mounts()
    for i, (_, kind, options) in enumerate(hierarchies()):
        where = os.path.join(folder, "cgroup", str(i))
        mount_hierarchy(kind, options, where)
        for path, _, _ in os.walk(os.path.join(where, group), topdown=False):
            os.rmdir(path)
        parts.run("umount", where)


def probe(folder):
    """Whether the folder can hold an overlay: a layer's directory is replaced in the one above it."""
    own_mounts()
    top = os.path.join(folder, ".probe")
    lower, upper, work, merged = (os.path.join(top, d) for d in ("lower", "upper", "work", "merged"))
    try:
        for path in (os.path.join(lower, "d"), upper, work, merged):
            os.makedirs(path)
        mount("-t", "overlay", "-o", "lowerdir=%s,upperdir=%s,workdir=%s" % (lower, upper, work), "overlay",
              merged)
        os.rmdir(os.path.join(merged, "d"))
        os.mkdir(os.path.join(merged, "d"))
        parts.run("umount", merged)
    finally:
        shutil.rmtree(top)


class Containerd:
    def __init__(self, folder, snapshotter=None, with_parent=False):
        self.folder = folder
        self.wanted = snapshotter
        self.with_parent = with_parent
        self.process = parts.Process(folder, "containerd")
        self.socket = os.path.join(folder, "containerd.sock")
        self.root = os.path.join(folder, "root")
        self.group = "teelaunch-" + folder.strip("/").replace("/", "-").replace(".", "_")

    def start(self):
        if os.geteuid() != 0:
            raise parts.Failure("containerd needs root; start this as root")
        if len(self.socket) > 100:
            raise parts.Failure("'%s' is too long for a socket; choose a shorter folder" % self.socket)
        os.makedirs(self.root, exist_ok=True)
        snapshotter, made = self.choose_snapshotter(), []
        # It stays: another world may have begun to use it, and its removal would take that one's mounts away.
        os.makedirs(SHIM_DIR, exist_ok=True)
        for path, text in (("/etc/hosts", "127.0.0.1 localhost\n"), ("/etc/resolv.conf", "")):
            if not os.path.exists(path):  # a tree fresh from debootstrap; containers get a view of it
                parts.write(path, text)
                made.append(path)
        self.configure()
        parts.save_facts(self.folder, socket=self.socket, root=self.root, snapshotter=snapshotter,
                         group=self.group, made=made)
        self.launch()
        if snapshotter != "overlayfs":
            self.ctr("namespaces", "create", "default", "containerd.io/defaults/snapshotter=native")
        return self

    def launch(self):
        """Start the daemon: at first, and again after `process.stop()`."""
        self.process.start(sys.executable, "-B", os.path.abspath(__file__), "inside", self.folder,
                           self.group, with_parent=self.with_parent)
        parts.wait_until(lambda: parts.can_connect(self.socket) and self.answers(), "containerd answers",
                         process=self.process)

    def answers(self):
        return subprocess.run(["ctr", "--address", self.socket, "version"], capture_output=True,
                              check=False, env=parts.clean_env()).returncode == 0

    def choose_snapshotter(self):
        if self.wanted == "native" or (self.wanted is None and not self.overlay_works()):
            if self.wanted is None:
                mount("-t", "tmpfs", "-o", "mode=711", "teelaunch-containerd", self.root)
                if self.overlay_works():
                    print("containerd: %s can't hold an overlay; using a tmpfs" % self.folder,
                          file=sys.stderr)
                    return "overlayfs"
                parts.run("umount", self.root)
            print("containerd: using the native snapshotter%s" %
                  ("" if self.wanted else "; overlayfs doesn't work here"), file=sys.stderr)
            return "native"
        return "overlayfs"

    def overlay_works(self):
        return subprocess.run([sys.executable, "-B", os.path.abspath(__file__), "probe", self.root],
                              capture_output=True, check=False).returncode == 0

    def configure(self):
        parts.write(os.path.join(self.folder, "config.toml"), """version = 2
root = "%s"
state = "%s"
disabled_plugins = [%s]
[grpc]
  address = "%s"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "10s"
""" % (self.root, os.path.join(self.folder, "state"), ", ".join('"%s"' % d for d in DISABLED),
            self.socket))

    def ctr(self, *arguments, namespace="default", timeout_s=120):
        return parts.run("ctr", "--address", self.socket, "--namespace", namespace, *arguments,
                         timeout_s=timeout_s).decode()

    def pids(self):
        """All processes of this world's cgroup: containerd, shims, containers."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/cgroup" % pid, encoding="ascii") as f:
                    if any("/" + self.group in line for line in f):
                        found.append(int(pid))
        return found

    def leftovers(self):
        """What a launch has left behind, as sentences; images and their content may stay."""
        found = []
        for what, command in (("container", ("containers", "list", "-q")),
                              ("task", ("tasks", "list", "-q")), ("lease", ("leases", "list", "-q"))):
            found += ["%s %s" % (what, line) for line in self.ctr(*command).split()]
        for line in self.ctr("snapshots", "list").splitlines()[1:]:
            if line.split()[-1] != "Committed":
                found.append("snapshot " + line.split()[0])
        own = self.process.pid
        for pid in self.pids():
            with contextlib.suppress(OSError):  # it may end between the two looks
                if pid != own:
                    found.append("process %d (%s)" % (pid, parts.read("/proc/%d/comm" % pid).strip()))
        with open("/proc/%d/mountinfo" % own, encoding="utf-8") as f:
            found += ["mount " + line.split()[4] for line in f
                      if line.split()[4].startswith((self.folder + "/state", self.root + "/"))]
        return found

    def bundles(self):
        """The folders of tasks that are there, among them (hidden) those whose removal isn't over."""
        return glob.glob(os.path.join(self.folder, "state/io.containerd.runtime.v2.task/*/*"),
                         include_hidden=True)

    def runc_states(self):
        """What runc knows of containers: its folder of each."""
        return glob.glob(os.path.join(self.folder, "run/runc/*/*"))

    def groups_left(self):
        """Where this world's cgroup still stands, as far as this machine has cgroups mounted."""
        return ["cgroup " + path for path in glob.glob("/sys/fs/cgroup/" + self.group) +
                glob.glob("/sys/fs/cgroup/*/" + self.group)]

    def stop(self):
        facts = parts.load_facts(self.folder)
        self.process.stop()
        parts.wait_until(self.kill_all, "the end of all of containerd's containers")
        if os.path.ismount(self.root):
            parts.run("umount", self.root)
        parts.run(sys.executable, "-B", os.path.abspath(__file__), "sweep", self.folder, self.group)
        for path in facts["made"]:
            (os.rmdir if os.path.isdir(path) else os.unlink)(path)

    def kill_all(self):
        left = self.pids()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left


if __name__ == "__main__":
    steps = {"inside": inside, "sweep": sweep, "probe": probe}
    if sys.argv[1:] and sys.argv[1] in steps:
        try:
            steps[sys.argv[1]](*sys.argv[2:])
        except parts.Failure as fault:
            sys.exit("containerd.py: %s" % fault)
    else:
        parts.part_main(Containerd, snapshotter=(None, "overlayfs or native; without it, what works"))
