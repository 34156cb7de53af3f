# SPDX-License-Identifier: Apache-2.0
"""The local world of a real VM: registry, verifier and the maker of its TPM, outside of it, and
`teelaunch vm` between them.

  with VmWorld() as world:
      done = world.launch(world.attributes(cmd='["/hello"]'))
      print(done.document["result"], done.console)

The VM image decides whom the launcher trusts. So the authorities of this world are made once, and
kept with the image below build/vm-world/: an overlay (overlay()) carries their roots into the image.
Everything else is made anew, below one folder, by each world.
"""
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import parts
import tpm
from images import Images
from metadata import base64url
from registry import Registry
from verifier import Verifier
from world import TOP, programs_dir

KEPT = os.path.join(TOP, "build", "vm-world")
HOST = "169.254.169.254"
REGISTRY_PORT, VERIFIER_PORT = 5000, 8443
ROOTS = "/etc/teelaunch/world.pem"
OVMF_MEMORY_MB = 1024


@contextlib.contextmanager
def locked(folder):
    """One at a time makes what is kept there."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, ".lock"), "w", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


# --- the image


def unit_command():
    """ExecStart of the launcher's unit: the overlay repeats it, with options after it."""
    text = parts.read(os.path.join(TOP, "systemd", "teelaunchd.service")).replace("\\\n", " ")
    return re.search(r"^ExecStart=(.*)$", text, re.M).group(1)


def overlay(folder, extra_options=()):
    """Files that make an image trust this world's registry and verifier, and nobody else's."""
    options = ["--verifier", "https://%s:%d" % (HOST, VERIFIER_PORT), "--verifier-roots", ROOTS,
               "--registry-roots", "%s:%d=%s" % (HOST, REGISTRY_PORT, ROOTS), "--cloud-logging", "off",
               *extra_options]
    drop_in = os.path.join(folder, "etc/systemd/system/teelaunchd.service.d/world.conf")
    os.makedirs(os.path.dirname(drop_in))
    parts.write(drop_in, "# The demo's and the tests' world instead of the cloud.\n[Service]\nExecStart=\n"
                "ExecStart=%s %s\n" % (unit_command(), " ".join(options)))
    roots = folder + ROOTS
    os.makedirs(os.path.dirname(roots))
    shutil.copy(authority("tls")[0], roots)


def authority(name):
    """(certificate, key) of one of the kept authorities."""
    folder = os.path.join(KEPT, name)
    with locked(KEPT):
        if not os.path.exists(os.path.join(folder, "ca.pem")):
            making = tempfile.mkdtemp(prefix=name + ".", dir=KEPT)
            parts.make_authority(making, "teelaunch world")
            os.rename(making, folder)
    return os.path.join(folder, "ca.pem"), os.path.join(folder, "ca.key")


def tree_digest(folder):
    h = hashlib.sha256()
    for path, _, files in sorted(os.walk(folder)):
        for name in sorted(n for n in files if not n.endswith(".pyc")):
            full = os.path.join(path, name)
            if os.path.islink(full):
                content = os.readlink(full).encode()
            else:
                with open(full, "rb") as f:
                    content = f.read()
            h.update(("%s\0%o\0" % (os.path.relpath(full, folder), os.lstat(full).st_mode)).encode())
            h.update(hashlib.sha256(content).digest())
    return h.digest()


def build_folder(programs):
    """The CMake build that the programs come from: the release build puts them into build/bin."""
    parent = os.path.dirname(os.path.abspath(programs))
    return os.path.join(parent, "release") if os.path.basename(parent) == "build" else parent


def image_key(tree, build, programs):
    """What an image is made of, but for Debian's packages."""
    h = hashlib.sha256(tree_digest(tree))
    for folder in (os.path.join(TOP, "image"), os.path.join(TOP, "systemd")):
        h.update(tree_digest(folder))
    for path in (os.path.join(programs, "teelaunchd"), os.path.join(build, "image", "teelaunch-init")):
        with open(path, "rb") as f:
            h.update(hashlib.sha256(f.read()).digest())
    return h.hexdigest()[:16]


def build_image(flavour, programs=None, extra=None, say=None, label=None):
    """The image with this world's overlay, built unless the same one is kept: (disk, measurements).

    `extra`: function(folder), lays more files over the root; `label` tells images of a flavour apart.
    Of each label the latest is kept.
    """
    programs = programs or programs_dir()
    build = build_folder(programs)
    label = label or flavour
    with tempfile.TemporaryDirectory(prefix="teelaunch-overlay.") as tree:
        os.chmod(tree, 0o755)
        overlay(tree)
        if extra:
            extra(tree)
        kept = os.path.join(KEPT, "%s.%s" % (label, image_key(tree, build, programs)))
        with locked(os.path.join(KEPT, "build")):
            if not os.path.exists(kept):
                if say:
                    say("building the %s image ..." % label)
                for old in (n for n in os.listdir(KEPT) if n.startswith(label + ".")):
                    shutil.rmtree(os.path.join(KEPT, old), ignore_errors=True)
                making = tempfile.mkdtemp(prefix="making-", dir=KEPT)
                try:
                    parts.run(os.path.join(TOP, "image", "build.py"), "--flavour", flavour, "--build", build,
                              "--teelaunchd", os.path.join(programs, "teelaunchd"), "--overlay", tree,
                              "--out", making, timeout_s=900)
                    os.chmod(making, 0o755)
                    os.rename(making, kept)
                finally:
                    shutil.rmtree(making, ignore_errors=True)
    stem = os.path.join(kept, "teelaunch-" + flavour)
    return stem + ".raw", stem + ".measurements.json"


# --- the world


def make_identity_key(folder):
    """The key that signs the VM's identity tokens, and its public half as a JWK set."""
    key = os.path.join(folder, "identity.pem")
    parts.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    os.chmod(key, 0o600)
    text = parts.run("openssl", "rsa", "-in", key, "-noout", "-modulus").decode()
    jwk = {"e": "AQAB", "kty": "RSA", "n": base64url(bytes.fromhex(text.strip().split("=")[1]))}
    # RFC 7638: the digest of the required members, in this order.
    kid = base64url(hashlib.sha256(json.dumps(jwk, separators=(",", ":"), sort_keys=True).encode()).digest())
    jwks = os.path.join(folder, "identity-jwks.json")
    parts.write(jwks, json.dumps({"keys": [{**jwk, "use": "sig", "alg": "RS256", "kid": kid}]}) + "\n")
    return key, jwks


class Vm:
    """One run of `teelaunch vm`."""

    def __init__(self, folder, command):
        self.folder = folder
        self.command = command
        self.console_file = os.path.join(folder, "console")
        self.progress_file = os.path.join(folder, "progress")
        parts.write(self.progress_file, "")
        self.document = None
        self.exit_code = None
        self.took_s = None

    def start(self, live=None):
        """`live`: called with each line of progress, the console's among them."""
        self.began = time.monotonic()
        self.child = parts.NURSERY.submit(
            subprocess.Popen, self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=parts.clean_env(TMPDIR=self.folder), text=True, errors="replace",
            preexec_fn=lambda: parts.libc.prctl(parts.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)).result()
        self.reader = threading.Thread(target=self.follow, args=(live,), daemon=True)
        self.reader.start()
        return self

    def follow(self, live):
        with open(self.progress_file, "w", encoding="utf-8") as out:
            for line in self.child.stderr:
                out.write(line)
                out.flush()
                if live:
                    live(line.rstrip("\n"))

    def wait(self, timeout_s=600):
        try:
            self.exit_code = self.child.wait(timeout_s)
            text = self.child.stdout.read()
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise parts.Failure("`teelaunch vm` took more than %d s:\n%s" % (timeout_s, self.progress)) from None
        self.reader.join(10)
        self.child.stdout.close()
        self.child.stderr.close()
        self.took_s = time.monotonic() - self.began
        if not text:
            raise parts.Failure("`teelaunch vm` ended with %d: %s" % (self.exit_code, self.progress[-2000:]))
        self.document = json.loads(text)
        return self

    @property
    def progress(self):
        return parts.read(self.progress_file)

    @property
    def report(self):
        return self.document["boots"][-1].get("report")

    def wait_for(self, text, timeout_s=180):
        parts.wait_until(lambda: text in self.progress or self.child.poll() is not None,
                         "the VM saying '%s'" % text, timeout_s)
        if text not in self.progress:
            raise parts.Failure("the VM ended without saying '%s':\n%s" % (text, self.progress[-4000:]))
        return self

    def press_power_button(self):
        self.child.send_signal(signal.SIGTERM)

    def kill(self):
        self.child.kill()
        self.child.wait()


class Monitor:
    """A connection to the monitor of --qmp."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        json.loads(self.lines.readline())
        self.call("qmp_capabilities")

    def call(self, command, fd=None, **arguments):
        text = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
        if fd is None:
            self.socket.sendall(text)
        else:
            socket.send_fds(self.socket, [text], [fd])
        while True:
            answer = json.loads(self.lines.readline())
            if "error" in answer:
                raise parts.Failure("qemu: %s: %s" % (command, answer["error"]["desc"]))
            if "return" in answer:
                return answer["return"]

    def save(self, path):
        """Stop the VM and write it to a file."""
        self.call("stop")
        with open(path, "wb") as f:
            self.call("getfd", fd=f.fileno(), fdname="saved")
        self.call("migrate", uri="fd:saved")
        parts.wait_until(self.is_saved, "saving the VM", timeout_s=60)

    def is_saved(self):
        status = self.call("query-migrate").get("status")
        if status in ("failed", "cancelled"):
            raise parts.Failure("saving the VM: %s" % status)
        return status == "completed"

    def close(self):
        self.lines.close()
        self.socket.close()


class VmWorld:
    def __init__(self, disk, measurements, folder=None, programs=None, images=("demo/hello:1",)):
        self.disk = disk
        self.measurements = measurements
        self.programs = programs or programs_dir()
        self.folder = folder or tempfile.mkdtemp(prefix="tlv-")
        self.wanted_images = images
        tls = authority("tls")
        self.registry = Registry(self.path("registry"), with_parent=True, authority=tls)
        self.images = Images(self.path("images"), self.registry)
        self.verifier = Verifier(self.path("verifier"), self.programs, with_parent=True, authority=tls)
        self.started, self.vms = [], []

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self):
        try:
            self.begin(self.registry)
            for name in self.wanted_images:
                self.images.build(name)
            with locked(KEPT):
                tpm.Tpm(self.path("tpm"), {**tpm.DEFAULTS, "banks": "sha256", "cache": self.kept("tpm")}
                        ).provision_or_copy()
            self.identity_key, jwks = make_identity_key(self.folder)
            self.begin(self.verifier, self.path("tpm", "ak-root.pem"), jwks, reference=self.measurements,
                       issuer="https://%s:%d" % (HOST, VERIFIER_PORT))
        except BaseException:
            self.stop()
            raise
        return self

    @staticmethod
    def kept(name):
        folder = os.path.join(KEPT, name)
        os.makedirs(folder, exist_ok=True)
        return folder

    def begin(self, part, *arguments, **more):
        self.started.append(part)
        part.start(*arguments, **more)

    def stop(self):
        for vm in self.vms:
            if vm.child.poll() is None:
                vm.kill()
        for part in reversed(self.started):
            part.stop()
        self.started = []
        if not os.environ.get("TL_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)

    __enter__ = start

    def __exit__(self, kind, *_):
        self.stop()

    def attributes(self, image="demo/hello:1", **keys):
        """What an operator sets: attributes(cmd='["a"]', env_NAME='x') gives tee-cmd, tee-env-NAME."""
        named = {"tee-image-reference": "%s:%d/%s" % (HOST, REGISTRY_PORT, image)}
        for key, value in keys.items():
            key = "env-" + key[4:] if key.startswith("env_") else key.replace("_", "-")
            named["tee-" + key] = value
        return named

    def vm(self, attributes, *options, disk=None, timeout_s=300):
        """A VM that isn't started yet, with a copy of the TPM in the state it left the factory."""
        folder = self.path("vm-%d" % (len(self.vms) + 1))
        os.makedirs(folder)
        state = os.path.join(folder, "tpm")
        shutil.copytree(self.path("tpm", "state"), state)
        file = os.path.join(folder, "attributes.json")
        parts.write(file, json.dumps(attributes, indent=1))
        vm = Vm(folder, [os.path.join(self.programs, "teelaunch"), "vm", "--image", disk or self.disk,
                         "--attributes", file, "--identity-key", self.identity_key, "--tpm-state", state,
                         "--forward", "%d=%s" % (REGISTRY_PORT, self.registry.host),
                         "--forward", "%d=127.0.0.1:%d" % (VERIFIER_PORT, self.verifier.port),
                         "--timeout", str(timeout_s), "--memory", str(OVMF_MEMORY_MB), "--json", *options])
        self.vms.append(vm)
        return vm

    def save(self, text, **more):
        """Boot a VM up to the console's line with this text: a folder with the saved VM."""
        vm = self.vm({}, **more)
        kept = os.path.join(vm.folder, "dir")
        vm.command += ["--dir", kept, "--qmp", os.path.join(vm.folder, "qmp")]
        vm.start().wait_for(text)
        monitor = Monitor(os.path.join(vm.folder, "qmp"))
        try:
            monitor.save(os.path.join(vm.folder, "memory"))
            monitor.call("quit")
        finally:
            monitor.close()
        vm.wait()
        return vm.folder

    def resume(self, saved, attributes, *options, **more):
        """A VM that goes on where that one was saved, with other attributes; started by the caller."""
        vm = self.vm(attributes, *options, **more)
        shutil.rmtree(os.path.join(vm.folder, "tpm"))
        for name in ("dir", "tpm"):
            parts.run("cp", "-a", "--sparse=always", os.path.join(saved, name), vm.folder)
        vm.command += ["--dir", os.path.join(vm.folder, "dir"), "--incoming", os.path.join(saved, "memory")]
        return vm

    def launch(self, attributes, *options, live=None, **more):
        return self.vm(attributes, *options, **more).start(live).wait()
