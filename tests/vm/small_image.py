# SPDX-License-Identifier: Apache-2.0
"""A bootable disk for tests of `teelaunch vm` itself: Debian's cloud kernel and a shell script as one
UKI on a GPT disk, in a few seconds and 40 MB. It has no launcher in it; what a launcher would say on
the console, the script says.

  small_image.make(path, "echo hello; poweroff -f")
"""
import os
import shutil
import struct
import subprocess
import tempfile

import guest

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "button", "evdev")
COMMAND_LINE = "console=ttyS0 panic=-1 quiet"
ESP_START = 2048 * 512
ESP_BYTES = 48 << 20
INIT = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin
/bin/busybox --install -s /usr/bin
mount -t devtmpfs dev /dev
mkdir -p /proc /sys /run /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
exec >/dev/ttyS0 2>&1
for module in %s; do modprobe $module; done
ip link set lo up
ip link set eth0 up
ip addr add 169.254.0.15/16 dev eth0
metadata() {
	printf 'GET /computeMetadata/v1/%%s HTTP/1.0\\r\\nMetadata-Flavor: Google\\r\\n\\r\\n' "$1" |
		nc 169.254.169.254 ${2:-80}
}
%s
"""


def align(n, to):
    return (n + to - 1) // to * to


def sections(path):
    """Address behind the last section of a PE file, and the alignment that it asks for."""
    out = guest.run("objdump", "-h", path)
    end = 0
    for line in out.splitlines():
        words = line.split()
        if len(words) == 7 and words[0].isdigit():
            end = max(end, int(words[3], 16) + int(words[2], 16))
    with open(path, "rb") as f:
        head = f.read(4096)
    pe = struct.unpack_from("<I", head, 0x3c)[0]
    return end, struct.unpack_from("<I", head, pe + 24 + 32)[0]


def make_uki(work, kernel, initrd):
    parts = {"cmdline": os.path.join(work, "cmdline"), "linux": kernel, "initrd": initrd}
    with open(parts["cmdline"], "w", encoding="ascii") as f:
        f.write(COMMAND_LINE)
    at, alignment = sections(STUB)
    arguments = []
    for name, path in parts.items():
        at = align(at, alignment)
        arguments += ["--add-section", ".%s=%s" % (name, path), "--change-section-vma", ".%s=%#x" % (name, at)]
        at += os.path.getsize(path)
    uki = os.path.join(work, "uki.efi")
    guest.run("objcopy", *arguments, STUB, uki)
    return uki


def make_disk(path, uki):
    with open(path, "wb") as f:
        f.truncate(ESP_START + ESP_BYTES + (1 << 20))
    subprocess.run(["sfdisk", "--quiet", path], check=True, capture_output=True, timeout=60,
                   input=b"label: gpt\nstart=2048, size=%d, type=U\n" % (ESP_BYTES // 512))
    esp = "%s@@%d" % (path, ESP_START)
    guest.run("mformat", "-i", esp, "-F", "-T", str(ESP_BYTES // 512), "::")
    guest.run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    guest.run("mcopy", "-i", esp, uki, "::/EFI/BOOT/BOOTX64.EFI")


def make(path, script, modules=()):
    work = tempfile.mkdtemp(prefix="teelaunch-image.")
    try:
        kernel = guest.Kernel()
        image = guest.Initramfs()
        image.host_file("/usr/bin/busybox", "/usr/bin/busybox")
        image.program("/usr/bin/kmod")
        for name in guest.KMOD_NAMES:
            image.link("usr/sbin/" + name, "../bin/kmod")
        wanted = MODULES + tuple(modules)
        image.kernel_modules(kernel, wanted)
        image.file("/init", INIT % (" ".join(wanted), script), 0o755)
        image.write(os.path.join(work, "initrd"))
        guest.run("zstd", "-q", "-19", "-T2", os.path.join(work, "initrd"), "-o", os.path.join(work, "initrd.zst"))
        make_disk(path, make_uki(work, kernel.image, os.path.join(work, "initrd.zst")))
    finally:
        shutil.rmtree(work)
