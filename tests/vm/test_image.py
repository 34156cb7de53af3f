#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_image.py BUILD: the VM image. What is in it and what isn't; that its bits don't depend on who
built it where; that a TPM holds what the build foretold; that what the host plants has no effect.

The hash tree, the registers and the partitions are recomputed here, out of the finished disk."""
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

import guest
import image_guest

sys.path.insert(0, os.path.join(guest.TOP, "image"))

import disk  # noqa: E402
import measure  # noqa: E402

SECTOR, BLOCK = 512, 4096
ROOT_TYPE = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"

# What the boot tells: a program that production doesn't have, so these images are no production.
PROBE_UNIT = """[Unit]
After=basic.target systemd-udev-trigger.service
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/usr/bin/busybox sh /usr/lib/probe.sh
[Install]
WantedBy=multi-user.target
"""
PROBE = """b=/usr/bin/busybox
for p in 4 9 11 12; do echo "pcr $p $($b cat /sys/class/tpm/tpm0/pcr-sha256/$p)"; done
echo "cmdline $($b cat /proc/cmdline)"
echo "sysrq $($b cat /proc/sys/kernel/sysrq)"
$b sed 's/^/mount /' /proc/self/mountinfo
$b sed 's/^/swap /' /proc/swaps
$b sed 's/^/module /' /proc/modules
$b dmesg | $b grep import_credentials=no.is.set
for f in /run/planted /run/credentials/@system /dev/disk/by-id/* /etc/machine-id /sys/firmware/efi/efivars/*; do
	[ -e "$f" ] && echo "there $f"
done
$b touch /etc/x /usr/x 2>&1
$b ps -o comm | $b sed 's/^/process /'
$b mkdir /run/v1
for o in none,name=x none,name=systemd devices memory pids cpuset misc; do
	$b mount -t cgroup -o $o cgroup /run/v1 2>/dev/null && echo "v1 mounted $o" || echo "v1 refused $o"
done
echo PROBE-PLUG
n=0
while [ ! -e /sys/block/vdd ] && [ $n -lt 300 ]; do $b sleep 0.1; n=$((n+1)); done
$b sleep 3
echo "plugged $($b cat /sys/block/vdd/serial) $($b cat /sys/block/vdd/stat)"
for h in /sys/block/vdd/holders/* /sys/block/vdd/vdd*/holders/*; do [ -e "$h" ] && echo "held $h"; done
$b sed 's/^/mount /' /proc/self/mountinfo
$b sed 's/^/swap /' /proc/swaps
echo PROBE-END
$b poweroff -f
"""
# And the table of accounts, whose name is that of a program elsewhere.
PROBE_FILES = {"etc/passwd", "usr/bin/busybox", "usr/lib/probe.sh", "usr/lib/systemd/system/probe.service",
               "etc/systemd/system/multi-user.target.wants/probe.service",
               "etc/systemd/system/teelaunchd.service"}

# Names of programs that log somebody in, or that somebody who got in would want.
UNWANTED = re.compile(
    r"(^|/)(sshd?|login|su|sudo|sulogin|agetty|getty|newgrp|passwd|chsh|ba?sh|dash|sh|busybox|perl|"
    r"python[0-9.]*|nc|wget|curl|telnetd?|systemctl|systemd-run|machinectl|apt(-get)?|dpkg|ctr|gdb|"
    r"systemd-sulogin-shell|.*getty.*|(debug-shell|emergency|rescue)\.(service|target))$")
CREDENTIAL = "tmpfiles.extra=f /run/planted 0644 root root - x"


class Fixture:
    def __init__(self, folder, build_dir):
        self.folder, self.build_dir = folder, build_dir
        self.overlay = os.path.join(folder, "overlay")
        self.make_overlay()
        self.stem = image_guest.build(os.path.join(folder, "first"), build_dir, overlay=self.overlay)
        with open(self.stem + ".measurements.json", encoding="utf-8") as f:
            self.measured = json.load(f)
        self.tree = os.path.join(folder, "tree")

    def make_overlay(self):
        units = os.path.join(self.overlay, "usr/lib/systemd/system")
        os.makedirs(units)
        os.makedirs(os.path.join(self.overlay, "usr/bin"))
        os.makedirs(os.path.join(self.overlay, "etc/systemd/system"))
        shutil.copy("/usr/bin/busybox", os.path.join(self.overlay, "usr/bin/busybox"))
        os.symlink("/dev/null", os.path.join(self.overlay, "etc/systemd/system/teelaunchd.service"))
        for path, text in ((units + "/probe.service", PROBE_UNIT),
                           (self.overlay + "/usr/lib/probe.sh", PROBE)):
            with open(path, "w", encoding="utf-8") as f:
                f.write(text)


def read_at(path, offset, size):
    with open(path, "rb") as f:
        f.seek(offset)
        return f.read(size)


def partitions(path):
    """{type: (offset, bytes, name, identifier)}, read out of the GPT (UEFI 2.10, chapter 5)."""
    header = read_at(path, SECTOR, 92)
    assert header[:8] == b"EFI PART"
    table, count, size = struct.unpack_from("<QII", header, 72)
    ret = {}
    for i in range(count):
        entry = read_at(path, table * SECTOR + i * size, size)
        if not any(entry[:16]):
            continue
        first, last = struct.unpack_from("<QQ", entry, 32)
        ret[uuid_text(entry[:16])] = (first * SECTOR, (last - first + 1) * SECTOR,
                                      entry[56:128].decode("utf-16-le").rstrip("\0"),
                                      uuid_text(entry[16:32]))
    return ret


def uuid_text(raw):
    a, b, c = struct.unpack_from("<IHH", raw)
    return "%08x-%04x-%04x-%s-%s" % (a, b, c, raw[8:10].hex(), raw[10:].hex())


def tree_hash(data):
    """Root of a dm-verity hash tree, version 1 without salt (Linux, admin-guide/device-mapper)."""
    level = [data[i:i + BLOCK] for i in range(0, len(data), BLOCK)]
    while True:
        digests = [hashlib.sha256(block).digest() for block in level]
        if len(digests) == 1:
            return digests[0].hex()
        per = BLOCK // 32
        level = [b"".join(digests[i:i + per]).ljust(BLOCK, b"\0") for i in range(0, len(digests), per)]


def words(text, name):
    """{} of "name=value" words on a command line; each may be there once."""
    values = [w.split("=", 1)[1] for w in text.split() if w.startswith(name + "=")]
    assert len(values) == 1, (name, text)
    return values[0]


def the_root_hash_is_that_of_the_root(f):
    offset, size, name, identifier = partitions(f.stem + ".raw")[ROOT_TYPE]
    roothash = words(f.measured["cmdline"], "roothash")
    blocks = int(words(f.measured["cmdline"], "teelaunch.root_blocks"))
    assert blocks * BLOCK < size
    assert tree_hash(read_at(f.stem + ".raw", offset, blocks * BLOCK)) == roothash
    assert f.measured["roothash"] == roothash and name == "root-" + roothash[:30]
    assert identifier.replace("-", "") == roothash[:32]
    assert f.measured["hardened"] is True
    assert words(f.measured["cmdline"], "confidential-space.hardened") == "true"


def nobody_can_log_in(f):
    """Walks the file system of the disk itself, not the builder's tree."""
    offset, _, _, _ = partitions(f.stem + ".raw")[ROOT_TYPE]
    blocks = int(words(f.measured["cmdline"], "teelaunch.root_blocks"))
    root = os.path.join(f.folder, "root.erofs")
    with open(root, "wb") as out:
        out.write(read_at(f.stem + ".raw", offset, blocks * BLOCK))
    subprocess.run(["fsck.erofs", "--extract=" + f.tree, root], check=True,
                   stdout=subprocess.DEVNULL)
    names = sorted(os.path.relpath(os.path.join(where, n), f.tree)
                   for where, folders, files in os.walk(f.tree) for n in folders + files)
    found = [n for n in names if UNWANTED.search(n) and n not in PROBE_FILES]
    assert not found, found
    assert [n for n in names if "generator" in n] == []
    for name in names:
        info = os.lstat(os.path.join(f.tree, name))
        if not stat.S_ISLNK(info.st_mode):
            assert not info.st_mode & (stat.S_ISUID | stat.S_ISGID), name
            assert not info.st_mode & 0o022, name
    with open(os.path.join(f.tree, "etc/passwd"), encoding="ascii") as passwd:
        for line in passwd:
            _, password, _, _, _, _, shell = line.rstrip("\n").split(":")
            assert password == "*" and shell == "/usr/sbin/nologin", line
    assert not os.path.exists(os.path.join(f.tree, "etc/shadow"))
    assert not os.path.exists(os.path.join(f.tree, "usr/sbin/nologin"))
    assert os.path.getsize(os.path.join(f.tree, "etc/machine-id")) == 0


def links_lead_somewhere(f):
    """But for those into file systems that the boot mounts."""
    for where, folders, files in os.walk(f.tree):
        for name in folders + files:
            path = os.path.join(where, name)
            if not os.path.islink(path):
                continue
            target = os.path.normpath(os.path.join("/" + os.path.relpath(where, f.tree),
                                                   os.readlink(path)))
            assert os.path.lexists(f.tree + target) or re.match("/(run|proc|dev)/", target), path


def another_builder_gets_the_same_bits(f):
    """Another folder, umask, time zone, language and time of the sources; the same programs."""
    other = os.path.join(f.folder, "elsewhere", "with a longer name")
    for name in ("image", "debian"):
        shutil.copytree(os.path.join(guest.TOP, name), os.path.join(other, name), symlinks=True,
                        copy_function=shutil.copyfile,
                        ignore=shutil.ignore_patterns("__pycache__"))
    os.chmod(os.path.join(other, "image", "build.py"), 0o700)
    stem = image_guest.build(
        os.path.join(f.folder, "second"), f.build_dir, overlay=f.overlay, umask=0o077,
        builder=os.path.join(other, "image", "build.py"),
        env=dict(os.environ, TZ="Pacific/Kiritimati", LC_ALL="C", LANG="tr_TR.UTF-8", HOME="/"))
    for ending in (".raw", ".efi", ".measurements.json", ".spdx.json"):
        one, two = read_at(f.stem + ending, 0, -1), read_at(stem + ending, 0, -1)
        assert one == two, "%s differs" % ending
        print("reproducible: %s %s" % (hashlib.sha256(one).hexdigest(), os.path.basename(stem + ending)))


def a_change_of_any_part_shows_in_the_registers(f):
    """What is measured of the UKI with one part changed: never the same PCR 4 or PCR 11."""
    with open(f.stem + ".efi", "rb") as source:
        uki = measure.Pe(source.read())
    parts = {name: uki.section(name) for name in (".osrel", ".cmdline", ".uname", ".initrd", ".linux")}
    before, _, _ = measure.measure(f.stem + ".efi")
    changes = {
        ".cmdline": parts[".cmdline"].replace(b"hardened=true", b"hardened=false"),
        ".initrd": parts[".initrd"][:-1] + bytes([parts[".initrd"][-1] ^ 1]),
        ".osrel": parts[".osrel"].replace(b"production", b"debug"),
    }
    for changed, content in {".uname": parts[".uname"], **changes}.items():
        sections = []
        for name, data in dict(parts, **{changed: content}).items():
            path = os.path.join(f.folder, "part" + name)
            with open(path, "wb") as out:
                out.write(data)
            sections.append((name, path))
        disk.uki(sections, os.path.join(f.folder, "changed.efi"))
        after, _, _ = measure.measure(os.path.join(f.folder, "changed.efi"))
        is_same = changed == ".uname"
        for pcr in ("4", "11"):
            assert (after[pcr] == before[pcr]) == is_same, (changed, pcr)


def planted_disk(path):
    """What systemd would mount or swap to by itself: typed partitions, with content."""
    d = guest.Disk(path, 64 << 20, serial="planted")
    script = "label: gpt\nsize=16MiB, type=swap\nsize=16MiB, type=home\nsize=16MiB, type=4d21b016-" \
        "b534-45c2-a9fb-5c16e091fd2d\n"
    subprocess.run(["sfdisk", "--quiet", path], input=script.encode(), check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "offset=%d" % (17 << 20), path, "16m"], check=True)
    with open(path, "r+b") as out:
        out.seek((1 << 20) + 4086)
        out.write(b"SWAPSPACE2")
    return d


def the_tpm_holds_what_was_foretold_and_the_host_plants_nothing(f):
    extra = ["-smbios", "type=11,value=io.systemd.credential:" + CREDENTIAL,
             "-device", "pcie-root-port,id=later,slot=9,chassis=9",
             "-fw_cfg", "name=opt/io.systemd.credentials/%s,string=%s" % tuple(
                 CREDENTIAL.split("=", 1))]
    disks = [planted_disk(os.path.join(f.folder, "planted.raw")),
             guest.Disk(os.path.join(f.folder, "data.raw"), 1 << 20)]
    later = planted_disk(os.path.join(f.folder, "later.raw"))
    with image_guest.Machine("image", f.stem + ".raw", disks=disks, qemu_arguments=extra) as g:
        g.start()
        g.wait_for_console("PROBE-PLUG")
        g.plug(later.path, "teelaunch-data", "later")
        reason, console = g.end()
        assert reason == "guest-shutdown" and "PROBE-END" in console, (reason, console[-2000:])
    for pcr, value in re.findall(r"^pcr (\d+) ([0-9A-F]+)\r?$", console, re.M):
        assert f.measured["pcrs"][pcr]["sha256"] == value.lower(), "PCR " + pcr
    assert len(re.findall(r"^pcr ", console, re.M)) == 4
    seen = re.search(r"^cmdline (.*?)\r?$", console, re.M).group(1)
    assert seen == f.measured["cmdline"], seen
    assert re.search(r"^sysrq 0\r?$", console, re.M)
    # No hierarchy of the old cgroups, whose release_agent runs outside of all containers.
    assert len(re.findall(r"^v1 refused ", console, re.M)) == 7, re.findall(r"^v1 .*$", console, re.M)
    assert "import_credentials=no is set" in console
    there = re.findall(r"^there (\S+)", console, re.M)
    assert there == ["/etc/machine-id"], there
    mounts = re.findall(r"^mount (.*?)\r?$", console, re.M)
    on_disks = [m for m in mounts if " - " in m and m.split(" - ")[1].split()[1].startswith("/dev/")]
    assert [m.split(" - ")[1].split()[:2] for m in on_disks] == 2 * [["erofs", "/dev/dm-0"]], on_disks
    assert on_disks[0].split()[4] == "/" and "ro" in on_disks[0].split()[5].split(",")
    assert not re.search(r"^swap /", console, re.M)
    # The one that came while it ran, with the data disk's name: there, and nobody's. Its partitions were looked
    # up by the kernel; nothing was written (the fifth number, Linux, admin-guide/iostats).
    serial, counts = re.search(r"^plugged (\S+) +(.*?)\r?$", console, re.M).groups()
    assert serial == "teelaunch-data" and counts.split()[4] == "0", (serial, counts)
    assert not re.search(r"^held ", console, re.M)
    assert len(re.findall(r"Read-only file system", console)) == 2
    processes = set(re.findall(r"^process (\S+)", console, re.M))
    assert not [p for p in processes if UNWANTED.search(p) and p != "busybox"], processes


def a_flipped_bit_of_the_root_ends_the_boot(f):
    offset, _, _, _ = partitions(f.stem + ".raw")[ROOT_TYPE]
    broken = os.path.join(f.folder, "broken.raw")
    shutil.copyfile(f.stem + ".raw", broken)
    with open(broken, "r+b") as out:
        # A date in the file system's superblock: nothing but the hash tree would notice.
        out.seek(offset + 1024 + 24)
        byte = out.read(1)[0]
        out.seek(offset + 1024 + 24)
        out.write(bytes([byte ^ 1]))
    with image_guest.Machine("image-broken", broken) as g:
        reason, console = g.boot()
    assert reason == "guest-reset" and "root is /dev/" in console, (reason, console[-2000:])
    assert "root mounted" not in console and "PROBE" not in console


def a_command_line_without_root_hash_switches_off(f):
    """And with it, that the first program says why."""
    with open(f.stem + ".efi", "rb") as source:
        uki = measure.Pe(source.read())
    sections = []
    for name in (".osrel", ".cmdline", ".uname", ".initrd", ".linux"):
        path = os.path.join(f.folder, "part" + name)
        data = uki.section(name)
        with open(path, "wb") as out:
            out.write(data.replace(b"roothash=", b"roothash=0") if name == ".cmdline" else data)
        sections.append((name, path))
    changed, esp = os.path.join(f.folder, "changed.efi"), os.path.join(f.folder, "changed.esp")
    disk.uki(sections, changed)
    disk.esp(changed, 0, esp)
    image = os.path.join(f.folder, "changed.raw")
    shutil.copyfile(f.stem + ".raw", image)
    with open(image, "r+b") as out, open(esp, "rb") as source:
        out.seek(partitions(image)[disk.ESP_TYPE][0])
        out.write(source.read())
    with image_guest.Machine("image-roothash", image) as g:
        reason, console = g.boot()
    assert reason == "guest-shutdown", (reason, console[-2000:])
    assert "init: the command line must have roothash= once, with a proper value" in console
    assert "init: switching off" in console and "root mounted" not in console


TESTS = (the_root_hash_is_that_of_the_root, nobody_can_log_in, links_lead_somewhere,
         a_change_of_any_part_shows_in_the_registers, another_builder_gets_the_same_bits,
         the_tpm_holds_what_was_foretold_and_the_host_plants_nothing,
         a_flipped_bit_of_the_root_ends_the_boot, a_command_line_without_root_hash_switches_off)


def main():
    with tempfile.TemporaryDirectory(prefix="teelaunch-image.") as folder:
        fixture = Fixture(folder, sys.argv[1])
        for test in TESTS:
            if len(sys.argv) > 2 and test.__name__ not in sys.argv[2:]:
                continue
            test(fixture)
            print("ok: " + test.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
