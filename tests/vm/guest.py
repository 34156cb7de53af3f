# SPDX-License-Identifier: Apache-2.0
"""A small machine under QEMU: Debian's cloud kernel, an initramfs of chosen programs, a software TPM.

  with guest.Guest("disk", programs=[teelaunchd], modules=["dm_crypt"], disks=[guest.Disk(path)]) as g:
      g.start()
      status, output = g.run("teelaunchd disk --help")
      g.qmp("system_reset")

What a test gets:
- the kernel: `apt-get download` of the package that linux-image-cloud-amd64 depends on, unpacked
  into build/vm/ once; nothing is installed
- an initramfs with busybox, kmod, the programs with the libraries they link, the modules with the
  modules they need, and an agent that runs shell commands sent over a virtio-serial port
- a TPM 2.0 (swtpm) that keeps its state over restarts of the machine within one `with`
- QMP: commands, and events; how the machine ended is judged by its SHUTDOWN event, never by text
- one wall-clock limit over everything; a machine that passes it is killed, by process id

Everything is in a folder of its own below $TMPDIR, and the only network is none. After a failure the
logs (console, QEMU, swtpm) are in build/vm/logs/<name>/, and their ends on standard error.

SeaBIOS starts the kernel directly: 3 to 6 s to the agent, without KVM. One virtual CPU: with two,
QEMU 7.2 hangs now and then under TCG.
"""
import base64
import glob
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEPT = os.path.join(TOP, "build", "vm")
META_PACKAGE = "linux-image-cloud-amd64"
AGENT_PORT = "teelaunch.agent"

# With programs that count (preset coverage): a folder of their build, for archives of the counters, one for
# each boot (tests/check/coverage.py). In the guest they are where they would be here.
COUNTERS = os.environ.get("TL_COUNTERS")
COUNTERS_TIMEOUT_S = 60

# What every guest needs to boot and to talk.
BASE_MODULES = ("virtio_pci", "virtio_blk", "virtio_console", "virtio_rng")
BASE_PROGRAMS = ("/usr/bin/kmod",)
KMOD_NAMES = ("modprobe", "insmod", "rmmod", "lsmod", "depmod")
# Loaded by name at run time, so ldd doesn't show them.
TCTI_LIBRARIES = ("/usr/lib/x86_64-linux-gnu/libtss2-tcti-device.so.0",)

INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin HOME=/root
/bin/busybox --install -s /usr/bin
mount -t devtmpfs dev /dev
mkdir -p /proc /sys /run /tmp /dev/pts /dev/shm /var /root /dev/mapper
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t devpts devpts /dev/pts
mount -t securityfs securityfs /sys/kernel/security
for module in @MODULES@; do modprobe "$module" || echo "modprobe $module failed"; done
@SETUP@
port=
tries=0
while [ -z "$port" ] && [ $tries -lt 100 ]; do
	for p in /sys/class/virtio-ports/*; do
		[ "$(cat "$p/name" 2>/dev/null)" = @PORT@ ] && port=/dev/${p##*/}
	done
	tries=$((tries + 1))
	[ -n "$port" ] || sleep 0.1
done
exec 9<>"$port"
echo ready >&9
while read -r id command <&9; do
	echo "$command" | base64 -d >/tmp/.command
	sh /tmp/.command >/tmp/.output 2>&1 </dev/null 9>&-
	status=$?
	{ printf '%s %s ' "$id" $status; base64 /tmp/.output | tr -d '\\n'; echo; } >/tmp/.answer
	cat /tmp/.answer >&9
done
poweroff -f
"""


class GuestError(Exception):
    """The machine, or what drives it, failed; the logs say more."""


# --- the kernel


def run(*command, timeout_s=300, cwd=None):
    done = subprocess.run(command, capture_output=True, timeout=timeout_s, check=False, cwd=cwd)
    if done.returncode != 0:
        raise GuestError("%s: exit %d\n%s" % (" ".join(command), done.returncode,
                                              (done.stdout + done.stderr).decode()))
    return done.stdout.decode()


def kernel_package():
    depends = run("apt-cache", "depends", META_PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise GuestError("apt knows no package behind %s" % META_PACKAGE)
    return found.group(1)


class Kernel:
    """Debian's cloud kernel, unpacked below build/vm/."""

    def __init__(self):
        kept = sorted(glob.glob(os.path.join(KEPT, "linux-image-*-cloud-amd64")))
        self.dir = kept[-1] if kept else self.fetch(kernel_package())
        self.version = os.path.basename(self.dir)[len("linux-image-"):]
        self.image = os.path.join(self.dir, "boot", "vmlinuz-" + self.version)
        self.modules_dir = os.path.join(self.dir, "lib", "modules", self.version)
        self.needs, self.names = self.read_dependencies()

    @staticmethod
    def fetch(package):
        target = os.path.join(KEPT, package)
        os.makedirs(KEPT, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetch.", dir=KEPT) as work:
            os.chmod(work, 0o755)  # apt downloads as its own user
            run("apt-get", "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
            tree = os.path.join(work, "tree")
            run("dpkg-deb", "-x", glob.glob(work + "/*.deb")[0], tree)
            run("depmod", "-b", tree, package[len("linux-image-"):])
            try:
                os.rename(tree, target)
            except OSError:
                if not os.path.isdir(target):
                    raise
        return target

    def read_dependencies(self):
        needs, names = {}, {}
        with open(os.path.join(self.modules_dir, "modules.dep"), encoding="utf-8") as f:
            for line in f:
                path, _, rest = line.partition(":")
                needs[path] = rest.split()
                names[os.path.basename(path).split(".ko")[0].replace("-", "_")] = path
        return needs, names

    def builtin(self):
        with open(os.path.join(self.modules_dir, "modules.builtin"), encoding="utf-8") as f:
            return {os.path.basename(line.strip())[:-len(".ko")].replace("-", "_") for line in f}

    def module_files(self, wanted):
        """The modules of these names and all they need, as paths below modules_dir."""
        paths, builtin = set(), self.builtin()
        for name in wanted:
            name = name.replace("-", "_")
            if name in builtin:
                continue
            if name not in self.names:
                raise GuestError("kernel %s has no module %s" % (self.version, name))
            paths.add(self.names[name])
            paths.update(self.needs[self.names[name]])
        return sorted(paths)


# --- the initramfs


def libraries_of(program):
    """The shared libraries of a program; none for a static one."""
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise GuestError("%s: a library is missing\n%s" % (program, done.stdout))
    return re.findall(r"(?:=> |^\s+)(/\S+) \(0x", done.stdout, re.M)


def real_folder(path):
    """/lib/x is /usr/lib/x on Debian; the guest has the same links."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


class Initramfs:
    """A cpio archive (format newc: kernel, Documentation/driver-api/early-userspace)."""

    def __init__(self):
        self.entries = {}
        for name in ("bin", "sbin", "lib", "lib64"):
            self.folder("usr/" + name)
            self.link(name, "usr/" + name)
        for name in ("dev", "proc", "sys", "run", "tmp", "var", "root", "mnt"):
            self.folder(name)

    def folder(self, path):
        parent = os.path.dirname(path)
        if parent and parent not in self.entries:
            self.folder(parent)
        self.entries.setdefault(path, (stat.S_IFDIR | 0o755, b""))

    def add(self, path, mode, data):
        path = path.lstrip("/")
        self.folder(os.path.dirname(path) or "usr")
        self.entries[path] = (mode, data)

    def link(self, path, target):
        self.add(path, stat.S_IFLNK | 0o777, target.encode())

    def file(self, path, data, mode=0o644):
        self.add(path, stat.S_IFREG | mode, data if isinstance(data, bytes) else data.encode())

    def host_file(self, source, path=None):
        with open(source, "rb") as f:
            self.file(path or real_folder(source), f.read(),
                      os.stat(source).st_mode & 0o777 | 0o444)

    def program(self, source, path=None):
        """Without its debug information: the kernel unpacks every byte, slowly."""
        with tempfile.NamedTemporaryFile(prefix="teelaunch-vm.") as stripped:
            run("strip", "-o", stripped.name, source)
            with open(stripped.name, "rb") as f:
                self.file(path or "/usr/bin/" + os.path.basename(source), f.read(), 0o755)
        for library in libraries_of(source):
            self.host_file(library)

    def kernel_modules(self, kernel, names):
        for path in kernel.module_files(names):
            self.host_file(os.path.join(kernel.modules_dir, path),
                           "/usr/lib/modules/%s/%s" % (kernel.version, path))
        for path in glob.glob(kernel.modules_dir + "/modules.*"):
            self.host_file(path, "/usr/lib/modules/%s/%s" %
                           (kernel.version, os.path.basename(path)))

    def write(self, path):
        with open(path, "wb") as f:
            entries = sorted(self.entries.items()) + [("TRAILER!!!", (0, b""))]
            for number, (name, (mode, data)) in enumerate(entries, 1):
                head = "070701" + "".join("%08x" % v for v in (
                    number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0))
                block = head.encode() + name.encode() + b"\0"
                f.write(block + bytes(-len(block) % 4) + data + bytes(-len(data) % 4))


# --- the machine


class Disk:
    """One virtio disk on a host file; made sparse when a size is given."""

    def __init__(self, path, size_bytes=None, serial="teelaunch-data", read_only=False):
        self.path, self.serial, self.read_only = path, serial, read_only
        if size_bytes is not None:
            with open(path, "wb") as f:
                f.truncate(size_bytes)

    def arguments(self, number):
        read_only = ",read-only=on" if self.read_only else ""
        return ["-blockdev", "driver=file,node-name=file%d,filename=%s%s" %
                (number, self.path, read_only),
                "-blockdev", "driver=raw,node-name=disk%d,file=file%d%s" %
                (number, number, read_only),
                "-device", "virtio-blk-pci,id=blk%d,drive=disk%d,serial=%s,werror=report,"
                "rerror=report" % (number, number, self.serial)]


class Guest:
    """One machine at a time; it may be started again after it ended, with the same TPM."""

    def __init__(self, name, programs=(), files=None, modules=(), disks=(), memory_mb=768,
                 has_tpm=True, cmdline="", setup="", limit_s=300, qemu_arguments=(),
                 more_modules=()):
        """@programs: host paths; @files: guest path -> host path, or bytes; @modules: loaded in this
        order; @more_modules: there, to be loaded by whoever needs them; @setup: shell text before the agent; @limit_s: wall clock, for the whole `with`."""
        self.name, self.disks, self.memory_mb, self.has_tpm = name, list(disks), memory_mb, has_tpm
        self.cmdline, self.setup, self.limit_s = cmdline, setup, limit_s
        self.programs, self.files = list(programs), dict(files or {})
        self.modules, self.more_modules = list(modules), list(more_modules)
        self.qemu_arguments = list(qemu_arguments)
        self.dir = self.qemu = self.swtpm = self.monitor = self.agent = None
        self.sockets, self.events, self.boots, self.ids, self.deadline = [], [], 0, 0, None

    def __enter__(self):
        self.deadline = time.monotonic() + self.limit_s
        self.dir = tempfile.mkdtemp(prefix="teelaunch-vm.")
        try:
            self.kernel = Kernel()
            self.make_initramfs()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is not None:
            self.keep_logs()
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def left_s(self, most_s=None):
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise GuestError("%s: the limit of %d s has passed" % (self.name, self.limit_s))
        return left if most_s is None else min(left, most_s)

    def make_initramfs(self):
        image = Initramfs()
        image.host_file("/usr/bin/busybox", "/usr/bin/busybox")
        for program in BASE_PROGRAMS + tuple(self.programs):
            image.program(program)
        for name in KMOD_NAMES:
            image.link("usr/sbin/" + name, "../bin/kmod")
        if self.has_tpm:
            for library in TCTI_LIBRARIES:
                image.program(library, library)
        for path, source in self.files.items():
            if isinstance(source, bytes):
                image.file(path, source, 0o755)
            else:
                image.host_file(source, path)
        modules = list(BASE_MODULES) + self.modules
        image.kernel_modules(self.kernel, modules + self.more_modules)
        init = INIT.replace("@MODULES@", " ".join(modules)).replace("@PORT@", AGENT_PORT)
        image.file("/init", init.replace("@SETUP@", self.setup), 0o755)
        image.write(self.path("initramfs"))

    # --- power

    def start(self):
        """Boot, and wait for the agent."""
        self.stop()
        self.boots += 1
        self.events = []
        arguments = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                     "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1",
                     "-m", str(self.memory_mb), "-no-reboot",
                     "-kernel", self.kernel.image, "-initrd", self.path("initramfs"), "-append",
                     "console=ttyS0 quiet panic=-1 " + self.cmdline,
                     "-serial", "file:" + self.log("console"),
                     "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                     "-chardev", self.listen("qmp"), "-mon", "chardev=qmp,mode=control",
                     "-chardev", self.listen("agent"),
                     "-device", "virtserialport,chardev=agent,name=" + AGENT_PORT]
        for number, disk in enumerate(self.disks):
            arguments += disk.arguments(number)
        if self.has_tpm:
            self.start_tpm()
            arguments += ["-chardev", "socket,id=tpm,path=" + self.path("tpm.sock"),
                          "-tpmdev", "emulator,id=tpm0,chardev=tpm",
                          "-device", "tpm-crb,tpmdev=tpm0"]
        with open(self.log("qemu"), "wb") as log:
            self.qemu = subprocess.Popen(arguments + self.qemu_arguments, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log, start_new_session=True)
        self.monitor = self.connect("qmp")
        self.qmp("qmp_capabilities")
        self.agent = self.connect("agent")
        answer = self.agent_line(self.left_s(120))
        if answer != "ready":
            raise GuestError("%s: the guest's agent said %r" % (self.name, answer))

    def log(self, kind):
        return self.path("%s.%d.log" % (kind, self.boots))

    def listen(self, name):
        path = self.path(name + ".sock")
        if os.path.exists(path):
            os.unlink(path)
        return "socket,id=%s,path=%s,server=on,wait=off" % (name, path)

    def connect(self, name):
        """A connection to a socket that QEMU makes when it is ready to."""
        s = socket.socket(socket.AF_UNIX)
        self.sockets.append(s)
        while True:
            try:
                s.connect(self.path(name + ".sock"))
                return Lines(s)
            except OSError:
                if self.qemu.poll() is not None:
                    raise GuestError("%s: QEMU ended: %s" % (
                        self.name, tail(self.log("qemu")))) from None
                self.left_s()
                time.sleep(0.02)

    def start_tpm(self):
        os.makedirs(self.path("tpm"), exist_ok=True)
        if not os.listdir(self.path("tpm")):
            with open(self.path("swtpm_setup.conf"), "wb"):
                pass  # else swtpm_setup looks for the machine's certificate authority
            run("swtpm_setup", "--tpm2", "--tpmstate", self.path("tpm"), "--config",
                self.path("swtpm_setup.conf"), "--pcr-banks", "sha256")
        with open(self.log("swtpm"), "wb") as log:
            self.swtpm = subprocess.Popen(
                ["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + self.path("tpm"),
                 "--ctrl", "type=unixio,path=" + self.path("tpm.sock"), "--terminate"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        while not os.path.exists(self.path("tpm.sock")):
            self.left_s()
            time.sleep(0.01)

    def stop(self):
        """Cut the power, if it is on."""
        if COUNTERS and self.agent and self.qemu.poll() is None:
            self.keep_counters()
        for process in (self.qemu, self.swtpm):
            if process is not None:
                end_process(process)
        for s in self.sockets:
            s.close()
        if self.dir and os.path.exists(self.path("tpm.sock")):
            os.unlink(self.path("tpm.sock"))
        self.qemu = self.swtpm = self.monitor = self.agent = None
        self.sockets = []

    def wait_end(self, timeout_s=None):
        """Until the machine has ended by itself; the reason of its SHUTDOWN event, such as
        "guest-shutdown", "guest-reset", "guest-panic"."""
        deadline = time.monotonic() + self.left_s(timeout_s)
        while not any(e["event"] == "SHUTDOWN" for e in self.events):
            if time.monotonic() >= deadline:
                raise GuestError("%s: the machine didn't end" % self.name)
            self.read_event(deadline - time.monotonic())
        reason = [e for e in self.events if e["event"] == "SHUTDOWN"][-1]["data"]["reason"]
        self.stop()
        return reason

    # --- QMP

    def qmp(self, command, **arguments):
        message = {"execute": command}
        if arguments:
            message["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
        self.monitor.send(json.dumps(message))
        while True:
            answer = json.loads(self.monitor.line(self.left_s(60)))
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise GuestError("%s: QMP %s: %s" % (self.name, command, answer["error"]))
            elif "return" in answer:
                return answer["return"]

    def read_event(self, timeout_s):
        try:
            answer = json.loads(self.monitor.line(timeout_s))
        except EOFError:
            raise GuestError("%s: QEMU ended without a SHUTDOWN event" % self.name) from None
        if "event" in answer:
            self.events.append(answer)

    def break_disk(self, number=0, kinds=("read", "write"), error=5):
        """From now on the disk fails with this errno; the guest sees I/O errors."""
        self.qmp("blockdev-add", driver="blkdebug", node_name="broken%d" % number,
                 image="file%d" % number,
                 inject_error=[{"event": "none", "iotype": k, "errno": error} for k in kinds])
        self.qmp("blockdev-reopen", options=[{"driver": "raw", "node-name": "disk%d" % number,
                                              "file": "broken%d" % number}])

    # --- commands in the guest

    def agent_line(self, timeout_s):
        try:
            return self.agent.line(timeout_s)
        except EOFError:
            raise GuestError("%s: the machine ended: %s" % (self.name, self.console())) from None

    def send(self, command):
        """Start a shell command; the answer is not waited for (it may end the machine)."""
        self.ids += 1
        self.agent.send("%d %s" % (self.ids, base64.b64encode(command.encode()).decode()))
        return self.ids

    def run(self, command, timeout_s=120):
        """A shell command in the guest: its status, and what it printed to both outputs."""
        number = self.send(command)
        while True:
            found, status, output = (self.agent_line(self.left_s(timeout_s)) + " ").split(" ", 2)
            if int(found) == number:
                return int(status), base64.b64decode(output).decode(errors="replace")

    def check(self, command, timeout_s=120):
        """A shell command that must succeed: what it printed."""
        status, output = self.run(command, timeout_s)
        if status != 0:
            raise GuestError("%s: '%s' gave status %d:\n%s" % (self.name, command, status, output))
        return output

    def get(self, path):
        """The bytes of a file in the guest."""
        return base64.b64decode(self.check("base64 '%s'" % path))

    def put(self, path, data, mode="0600"):
        """Write a small file in the guest."""
        text = base64.b64encode(data).decode()
        self.check("umask 077; base64 -d >'%s' <<'E'\n%s\nE\nchmod %s '%s'" %
                   (path, text, mode, path))

    def keep_counters(self):
        """What programs that have ended counted since the boot; a machine that doesn't answer has none."""
        try:
            archive = base64.b64decode(self.check(
                "cd %s 2>/dev/null && tar -cz -f - . | base64" % os.path.dirname(COUNTERS), COUNTERS_TIMEOUT_S))
        except (GuestError, OSError, ValueError) as fault:
            sys.stderr.write("no counters of boot %d: %s\n" % (self.boots, fault))
            return
        os.makedirs(COUNTERS, exist_ok=True)
        with open(os.path.join(COUNTERS, "%s.%d.%d.tar.gz" % (self.name, os.getpid(), self.boots)), "wb") as f:
            f.write(archive)

    # --- logs

    def console(self):
        return tail(self.log("console"))

    def keep_logs(self):
        kept = os.path.join(KEPT, "logs", self.name)
        shutil.rmtree(kept, ignore_errors=True)
        os.makedirs(kept)
        for path in sorted(glob.glob(self.path("*.log"))):
            shutil.copy(path, kept)
            if path.endswith(".%d.log" % self.boots) and os.path.getsize(path):
                sys.stderr.write("--- %s\n%s\n" % (os.path.basename(path), tail(path)))
        sys.stderr.write("--- logs: %s\n" % os.path.relpath(kept, TOP))


class Lines:
    """Lines over a socket, each awaited for a limited time."""

    def __init__(self, s):
        self.socket, self.rest = s, b""
        s.setblocking(False)

    def send(self, text):
        data = text.encode() + b"\n"
        while data:
            _, ready, _ = select.select([], [self.socket], [], 30)
            if not ready:
                raise GuestError("the guest takes no input")
            data = data[self.socket.send(data):]

    def line(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.socket], [], [],
                                        max(0, deadline - time.monotonic()))
            if not ready:
                raise GuestError("no answer within %.0f s" % timeout_s)
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionError:
                data = b""
            if not data:
                raise EOFError
            self.rest += data
        line, _, self.rest = self.rest.partition(b"\n")
        return line.decode().strip()


def end_process(process):
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tail(path, most=4000):
    try:
        with open(path, "rb") as f:
            return f.read()[-most:].decode(errors="replace")
    except OSError as fault:
        return str(fault)
