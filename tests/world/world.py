#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole local world of one confidential VM, on loopback, below one folder.

  with World() as world:                       starts all parts; at the end stops them and proves that
      done = world.launch({...attributes...})  nothing is left
      print(done.exit_code, done.report)

  world.py start --dir W [--programs DIR]      for people: start it, print what teelaunchd needs
  world.py stop  --dir W
"""
import argparse
import contextlib
import functools
import glob
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import parts
from containerd import Containerd, leave_chroot_behind
from images import Images
from metadata import Metadata
from registry import Registry
from verifier import Verifier

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
REPORT_PREFIX = "TEELAUNCH-REPORT "
WORKLOAD_PREFIX = "workload: "
TOKEN = "attestation_verifier_claims_token"


def programs_dir():
    """Where the programs under test are: TL_PROGRAMS, or the newest build."""
    if os.environ.get("TL_PROGRAMS"):
        return os.environ["TL_PROGRAMS"]
    found = glob.glob(os.path.join(TOP, "build", "bin", "teelaunchd")) + \
        glob.glob(os.path.join(TOP, "build", "*", "bin", "teelaunchd"))
    if not found:
        raise parts.Failure("no teelaunchd below build/; run 'make build' first")
    return os.path.dirname(max(found, key=os.path.getmtime))


class Tpm:
    """tpm.py, which is a program of its own."""

    def __init__(self, folder):
        self.folder = folder

    def call(self, verb, *options):
        parts.run(sys.executable, "-B", os.path.join(HERE, "tpm.py"), verb, "--dir", self.folder, *options,
                  timeout_s=60)

    def start(self, *options):
        cache = os.environ.get("TL_TPM_CACHE")
        self.call("start", *options, *(["--cache", cache] if cache else []))
        return self

    def reset(self, *options):
        self.call("reset", *options)

    def stop(self):
        self.call("stop")

    def file(self, name):
        return os.path.join(self.folder, name)

    @property
    def tcti(self):
        return parts.read(self.file("tcti")).strip()

    @property
    def pid(self):
        return int(parts.read(self.file("pid")))

    def pcr(self, number, bank="sha256"):
        text = parts.run("tpm2_pcrread", "%s:%d" % (bank, number), "-Q", "-o", "/dev/stdout",
                         env=parts.clean_env(TPM2TOOLS_TCTI=self.tcti))
        return text.hex()


def built_for_tests(programs, name):
    """What is built for tests alone: where ctest says, or beside the programs of a preset that has both."""
    return os.path.join(os.environ.get("TL_TEST_TOOLS") or os.path.join(programs, "..", "tests"), name)


def strict_calls(programs):
    """The environment in which a system call that the launcher's filter forgot ends it
    (tests/integration/strict_calls.c), where the tests were built with it."""
    library = built_for_tests(programs, "strict_calls.so")
    return {"LD_PRELOAD": library} if os.path.exists(library) else {}


@functools.cache
def has_unreachable_thread(programs):
    """ThreadSanitizer's own thread takes no signal, by which a launcher would have it confine itself."""
    with open(os.path.join(programs, "teelaunchd"), "rb") as f:
        return b"__tsan_init" in f.read()


class Launch:
    """One run of teelaunchd: files below its own folder, and how it ended."""

    watch_every_s = 0.005

    def __init__(self, world, folder, arguments, before=(), env=None):
        self.world = world
        self.folder = folder
        self.console_file = os.path.join(folder, "console")
        self.stderr_file = os.path.join(folder, "stderr")
        machine = world.path("machine") if world.is_one_machine else folder
        self.shared = os.path.join(machine, "shared")
        self.state = os.path.join(machine, "state")
        os.makedirs(folder)
        os.makedirs(self.shared, exist_ok=world.is_one_machine)
        os.makedirs(self.state, exist_ok=world.is_one_machine)
        parts.write(self.console_file, "")
        self.command = [*before, os.path.join(world.programs, "teelaunchd"), "run",
                        "--console", self.console_file, "--shared-dir", self.shared,
                        "--state-dir", self.state, *arguments]
        self.env = parts.clean_env(**{"GCE_METADATA_HOST": world.metadata.host, **strict_calls(world.programs),
                                      **(env or {})})
        self.token = None
        self.exit_code = None
        self.took_s = None
        self.rss_mb = 0

    def start(self):
        with open(self.stderr_file, "wb") as err:
            self.started = time.clock_gettime(time.CLOCK_MONOTONIC)
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                          start_new_session=True, env=self.env, cwd="/")
        threading.Thread(target=self.watch, daemon=True).start()
        return self

    def watch(self):
        """A copy of the token file, which goes when the launch ends; and the memory it takes."""
        while self.exit_code is None:
            with contextlib.suppress(FileNotFoundError):
                self.token = parts.read(os.path.join(self.shared, TOKEN)) or self.token
            self.rss_mb = max(self.rss_mb, parts.peak_memory_mb(self.child.pid))
            time.sleep(self.watch_every_s)

    def wait(self, timeout_s=60):
        timer = threading.Timer(timeout_s, self.child.kill)
        timer.start()
        _, status = os.waitpid(self.child.pid, 0)
        timer.cancel()
        self.took_s = time.clock_gettime(time.CLOCK_MONOTONIC) - self.started
        self.child.returncode = os.waitstatus_to_exitcode(status)
        self.exit_code = self.child.returncode
        if self.exit_code == -signal.SIGKILL and self.took_s >= timeout_s:
            raise parts.Failure("teelaunchd took more than %d s; it said:\n%s" % (timeout_s, self.stderr))
        return self

    def is_running(self):
        stat = parts.start_time(self.child.pid)
        return self.exit_code is None and stat is not None

    def wait_for(self, text, timeout_s=30):
        """Until standard error holds that text."""
        parts.wait_until(lambda: text in self.stderr or not self.is_running(),
                         "teelaunchd saying '%s'" % text, timeout_s)
        if text not in self.stderr:
            self.wait()
            raise parts.Failure("teelaunchd ended with %d without saying '%s':\n%s" % (
                self.exit_code, text, self.stderr))
        return self

    def send(self, number):
        os.kill(self.child.pid, number)

    @property
    def console(self):
        return parts.read(self.console_file)

    @property
    def stderr(self):
        return parts.read(self.stderr_file)

    @property
    def report(self):
        """The report on the console; exactly one is there."""
        lines = [line for line in self.console.splitlines() if line.startswith(REPORT_PREFIX)]
        if len(lines) != 1:
            raise parts.Failure("%d reports on the console:\n%s\n%s" % (
                len(lines), self.console, self.stderr))
        return json.loads(lines[0][len(REPORT_PREFIX):])

    @property
    def workload_lines(self):
        return [line.removeprefix(WORKLOAD_PREFIX) for line in self.console.splitlines()
                if line.startswith(WORKLOAD_PREFIX + "hello: ")]

    def left_behind(self):
        """What this launch has left behind, as sentences. What ends by itself, as a shim does when its
        task is deleted, is given a moment."""
        with contextlib.suppress(parts.Failure):
            parts.wait_until(lambda: not self.leftovers(), "nothing left", timeout_s=15)
        return self.leftovers()

    def leftovers(self):
        found = self.world.containerd.leftovers()
        for folder, keep in ((self.shared, ()), (self.state, ("report.json",))):
            for path, folders, files in os.walk(folder):
                found += ["file " + os.path.join(path, f) for f in files if f not in keep]
                found += ["folder " + os.path.join(path, f) for f in folders]
        found += ["mount " + m for m in mounts_below(self.folder)]
        found += ["process %d of its session" % p for p in session_members(self.child.pid)]
        return found + self.world.strange_namespaces()


def mounts_below(folder):
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        return [line.split()[4] for line in f if line.split()[4].startswith(folder + "/")]


def session_members(leader):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open("/proc/%s/stat" % pid, "rb") as f:
                if int(f.read().rpartition(b")")[2].split()[3]) == leader:
                    found.append(int(pid))
    return found


def processes_naming(folder):
    """Processes whose arguments or cgroup name the folder; this process is none of them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open("/proc/%s/cmdline" % pid, "rb") as f:
                text = f.read()
            if int(pid) not in (os.getpid(), os.getppid()) and folder.encode() + b"/" in text:
                found.append("process %s: %s" % (pid, text.replace(b"\0", b" ").decode(errors="replace")))
    return found


class World:
    def __init__(self, folder=None, programs=None, with_parent=True, images=("demo/hello:1",),
                 tpm_options=(), snapshotter=None):
        self.programs = programs or programs_dir()
        self.folder = folder or tempfile.mkdtemp(prefix="tlw-")
        self.wanted_images = images
        self.tpm_options = tpm_options
        self.containerd = Containerd(self.path("containerd"), snapshotter, with_parent)
        self.registry = Registry(self.path("registry"), with_parent)
        self.images = Images(self.path("images"), self.registry)
        self.metadata = Metadata(self.path("metadata"), with_parent)
        self.tpm = Tpm(self.path("tpm"))
        self.verifier = Verifier(self.path("verifier"), self.programs, with_parent)
        self.started = []
        self.launches = 0
        self.is_one_machine = False  # launches share their folders, as they do in a machine
        self.is_fresh_boot = False
        self.boot_options = None
        self.netns = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self):
        leave_chroot_behind()
        try:
            for part in (self.metadata, self.registry, self.containerd):
                self.begin(part)
            for name in self.wanted_images:
                self.images.build(name)
            self.begin(self.tpm, *self.tpm_options)
            self.is_fresh_boot = True
            self.begin(self.verifier, self.tpm.file("ak-root.pem"), self.metadata.jwks)
        except BaseException:
            self.stop(is_failed=True)
            raise
        return self

    def begin(self, part, *arguments):
        self.started.append(part)
        part.start(*arguments)

    __enter__ = start

    def __exit__(self, kind, *_):
        self.stop(is_failed=kind is not None)

    def stop(self, is_failed=False):
        """Stop everything; then nothing may be left. TL_KEEP=1 keeps the files of a failed run."""
        for part in reversed(self.started):
            try:
                part.stop()
            except (parts.Failure, OSError) as fault:
                if not is_failed:
                    raise
                print("stopping %s: %s" % (type(part).__name__, fault), file=sys.stderr)
        self.started = []
        if is_failed and os.environ.get("TL_KEEP"):
            print("files kept in %s" % self.folder, file=sys.stderr)
            return
        left = mounts_below(self.folder) + processes_naming(self.folder) + self.strange_namespaces() + \
            self.containerd.groups_left()
        shutil.rmtree(self.folder, ignore_errors=True)
        if os.path.exists(self.folder):
            left.append("folder " + self.folder)
        if left and not is_failed:
            raise parts.Failure("the world left behind: " + "; ".join(left))

    def strange_namespaces(self):
        now = set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
        return ["network namespace " + n for n in now - self.netns]

    def boot(self, *options):
        """A power cycle of the VM: PCRs from zero, the firmware's log anew."""
        if not self.is_fresh_boot or options != self.boot_options:
            self.tpm.reset(*options)
            self.is_fresh_boot, self.boot_options = True, options

    def options(self):
        return ["--containerd", self.containerd.socket, "--content-dir", self.containerd.root,
                "--unpack-program", os.path.join(programs_dir(), "teelaunch-unpack"),
                "--tcti", self.tpm.tcti, "--firmware-log", self.tpm.file("binary_bios_measurements"),
                "--kernel-cmdline", self.tpm.file("cmdline"),
                "--verifier", self.verifier.url, "--verifier-roots", self.verifier.ca,
                "--registry-roots", "%s=%s" % (self.registry.host, self.registry.ca),
                "--disk", "unprotected", "--root", "any", "--firewall", "off",
                "--cloud-logging", "off", "--cloud-monitoring", "off", "--restart-delay-max-ms", "0",
                *(["--confine", "off"] if has_unreachable_thread(self.programs) else [])]

    def launch_start(self, attributes, hardened=True, options=(), before=(), env=None):
        """Boot, and start teelaunchd with these attributes in the metadata."""
        self.boot("--hardened" if hardened else "--debug")
        self.is_fresh_boot = False
        if attributes is not None:
            self.metadata.set_attributes(attributes)
        self.launches += 1
        return Launch(self, self.path("launch-%d" % self.launches), self.options_with(options), before,
                      env).start()

    def options_with(self, changed):
        """The world's options, some of them replaced: each is a name and a value."""
        def pairs(options):
            return {(n, v.split("=")[0] if n == "--registry-roots" else ""): (n, v)
                    for n, v in zip(options[::2], options[1::2])}
        return [word for pair in {**pairs(self.options()), **pairs(changed)}.values() for word in pair]

    def launch(self, attributes, timeout_s=60, **more):
        return self.launch_start(attributes, **more).wait(timeout_s)

    def attributes(self, image="demo/hello:1", **keys):
        """What an operator sets: attributes(cmd='["a"]', env_NAME='x') gives tee-cmd, tee-env-NAME."""
        named = {"tee-image-reference": self.registry.ref(image)}
        for key, value in keys.items():
            key = "env-" + key[4:] if key.startswith("env_") else key.replace("_", "-")
            named["tee-" + key] = value
        return named


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=["start", "stop"])
    p.add_argument("--dir", required=True)
    p.add_argument("--programs", help="folder of teelaunchd and teeverifierd")
    a = p.parse_args()
    try:
        world = World(os.path.abspath(a.dir), a.programs, with_parent=False,
                      images=("demo/hello:1", "demo/strict:1"))
        if a.verb == "start":
            world.start()
            print("GCE_METADATA_HOST=%s %s/teelaunchd run %s --state-dir %s --shared-dir %s" % (
                world.metadata.host, world.programs, shlex.join(world.options()), world.path("state"),
                world.path("shared")))
            print("# attributes: %s" % os.path.join(world.metadata.folder, "attributes.json"))
            print("# images: %s, %s" % tuple(map(world.registry.ref, world.wanted_images)))
        else:
            world.started = [world.metadata, world.registry, world.containerd, world.tpm, world.verifier]
            world.stop()
    except parts.Failure as fault:
        sys.exit("world.py: %s" % fault)


if __name__ == "__main__":
    main()
