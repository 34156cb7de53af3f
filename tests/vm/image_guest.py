# SPDX-License-Identifier: Apache-2.0
"""The VM image (image/build.py) under QEMU with UEFI firmware: built for a test, booted, and judged
by its console and by QMP's events."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

import guest

BUILDER = os.path.join(guest.TOP, "image", "build.py")
CACHE = os.path.join(guest.TOP, "build", "image-cache")
FIRMWARE = "/usr/share/OVMF/OVMF_CODE.fd"
VARIABLES = "/usr/share/OVMF/OVMF_VARS.fd"
BUILD_LIMIT_S = 600


def build(out, build_dir, flavour="production", overlay=None, builder=BUILDER, **how):
    """Builds an image into @out; the path of the files without their endings."""
    argv = ["/usr/bin/python3", "-B", builder, "--flavour", flavour, "--out", out, "--build",
            build_dir, "--cache", CACHE] + (["--overlay", overlay] if overlay else [])
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=BUILD_LIMIT_S, check=False, **how)
    if done.returncode != 0:
        raise guest.GuestError("%s: exit %d\n%s" % (" ".join(argv), done.returncode,
                                                    done.stdout + done.stderr))
    sys.stdout.write(done.stdout)
    return os.path.join(out, "teelaunch-" + flavour)


class Machine(guest.Guest):
    """One machine that starts from a disk image; nothing in it listens to the test."""

    def __init__(self, name, image, limit_s=300, memory_mb=1024, disks=(), qemu_arguments=()):
        super().__init__(name, disks=disks, memory_mb=memory_mb, limit_s=limit_s,
                         qemu_arguments=qemu_arguments)
        self.image = image

    def __enter__(self):
        self.deadline = time.monotonic() + self.limit_s
        self.dir = tempfile.mkdtemp(prefix="teelaunch-vm.")
        return self

    def start(self):
        self.stop()
        self.boots += 1
        self.events = []
        shutil.copyfile(VARIABLES, self.path("vars.fd"))
        arguments = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none",
                     "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1",
                     "-m", str(self.memory_mb), "-no-reboot",
                     "-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + FIRMWARE,
                     "-drive", "if=pflash,format=raw,unit=1,file=" + self.path("vars.fd"),
                     "-drive", "if=none,id=root,format=raw,readonly=on,file=" + self.image,
                     "-device", "virtio-blk-pci,drive=root,bootindex=1",
                     "-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net",
                     "-serial", "file:" + self.log("console"),
                     "-chardev", self.listen("qmp"), "-mon", "chardev=qmp,mode=control"]
        for number, disk in enumerate(self.disks):
            arguments += disk.arguments(number)
        self.start_tpm()
        arguments += ["-chardev", "socket,id=tpm,path=" + self.path("tpm.sock"),
                      "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm0"]
        with open(self.log("qemu"), "wb") as log:
            self.qemu = subprocess.Popen(arguments + self.qemu_arguments, stdin=subprocess.DEVNULL,
                                         stdout=log, stderr=log, start_new_session=True)
        self.monitor = self.connect("qmp")
        self.qmp("qmp_capabilities")

    def console(self):
        with open(self.log("console"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait_for_console(self, text):
        while text not in self.console():
            if self.qemu.poll() is not None or self.left_s(None) <= 0:
                raise guest.GuestError("%s: '%s' never came:\n%s" % (self.name, text, self.console()[-2000:]))
            time.sleep(0.2)

    def plug(self, path, serial, port):
        """A virtio disk into a PCI Express root port, while the machine runs."""
        self.qmp("blockdev-add", driver="raw", node_name="plugged",
                 file={"driver": "file", "filename": path})
        self.qmp("device_add", driver="virtio-blk-pci", bus=port, drive="plugged", serial=serial, id="plugged")

    def end(self):
        """Until the machine ends by itself: (reason, text of the console)."""
        return self.wait_end(), self.console()

    def boot(self):
        """The same from power-on."""
        self.start()
        return self.end()
