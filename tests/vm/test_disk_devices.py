#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""S24: the data disk is found by its serial number as each kind of adapter shows it: virtio-blk, NVMe,
SCSI (unit serial number), and SCSI as Google's persistent disks have it (device identification).
Links that somebody made in /dev/disk/by-id decide nothing."""
import os
import sys
import tempfile
import time

import guest
from disk_world import GIB, machine, record, refuses, set_up, unmount

SIZE = GIB // 2


class OtherDisk(guest.Disk):
    """A disk on another adapter; @device is QEMU's -device, without its drive."""

    def __init__(self, path, device):
        super().__init__(path, SIZE)
        self.device = device

    def arguments(self, number):
        adapter, _, options = self.device.partition(",")
        scsi = ["-device", "virtio-scsi-pci,id=scsi"] if number == FIRST_SCSI else []
        return super().arguments(number)[:4] + scsi + ["-device", "%s,drive=disk%d,%s" % (adapter, number, options)]


DEVICES = (("plain", None), ("on-nvme", "nvme,serial=on-nvme"), ("on-scsi", "scsi-hd,bus=scsi.0,serial=on-scsi"),
           ("like-google", "scsi-hd,bus=scsi.0,vendor=Google,product=PersistentDisk,device_id=like-google,"
            "serial=s4"),
           ("twice", "nvme,serial=twice"), ("twice", "scsi-hd,bus=scsi.0,serial=twice"))
FIRST_SCSI = 2  # its adapter comes before it on the command line


def name_of(g, serial):
    """The one disk of this name, by the paths of /sys that people would look at."""
    found = g.check("cd /sys/block && grep -al '%s' */serial */device/serial */device/vpd_pg80 "
                    "*/device/vpd_pg83 2>/dev/null | cut -d/ -f1 | sort -u; true" % serial).split()
    assert len(found) == 1, found
    return found[0]


def every_adapter_shows_the_name(g):
    g.start()
    names = []
    for serial, _ in DEVICES[:4]:
        name = name_of(g, serial)
        number = g.check("cat /sys/block/%s/dev" % name).strip()
        assert set_up(g, "disk", "serial=" + serial)["device_number"] == number, serial
        names.append(name)
        unmount(g)
        g.check("dmsetup remove teelaunch-crypt && dmsetup remove teelaunch-integrity && rm -r /run/teelaunch")
    assert len(set(names)) == 4, names
    return ", ".join("%s is %s" % (s, n) for (s, _), n in zip(DEVICES, names))


def parts_of_a_name_and_two_of_a_name_are_none(g):
    g.start()
    for serial in ("on-nvm", "on-nvmee", "google", "like-googl", "QEMU", "s"):
        refuses(g, "TL_E_DISK_MISSING", "appeared within", "serial=" + serial, "--device-wait-ms 1")
    refuses(g, "TL_E_DISK_WRONG", "several disks", "serial=twice", "--device-wait-ms 1")


def a_link_decides_nothing(g):
    """By its path a disk is what the path opens, held from then on; the record has its number."""
    g.start()
    first, other = name_of(g, "plain"), name_of(g, "on-nvme")
    g.check("mkdir -p /dev/disk/by-id; ln -s /dev/%s /dev/disk/by-id/virtio-plain" % other)
    number = g.check("cat /sys/block/%s/dev" % first).strip()
    assert set_up(g, "disk", "serial=plain")["device_number"] == number
    # The link turns to another disk while the first one is in use: that is seen, not followed.
    unmount(g)
    g.check("dmsetup remove teelaunch-crypt && dmsetup remove teelaunch-integrity && rm -r /run/teelaunch; "
            "ln -sf /dev/%s /dev/disk/by-id/virtio-plain" % first)
    assert set_up(g, "disk", "/dev/disk/by-id/virtio-plain")["device_number"] == number
    g.check("ln -sf /dev/%s /dev/disk/by-id/virtio-plain" % other)
    g.check("teelaunchd disk --device /dev/disk/by-id/virtio-plain")
    assert record(g)["device_number"] == number


TESTS = (every_adapter_shows_the_name, parts_of_a_name_and_two_of_a_name_are_none, a_link_decides_nothing)


def main():
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [OtherDisk(os.path.join(work, str(i)), device) if device else
                 guest.Disk(os.path.join(work, str(i)), SIZE, serial=serial)
                 for i, (serial, device) in enumerate(DEVICES)]
        with machine("disk_devices", disks, more_modules=["virtio_scsi", "sd_mod"],
                     setup="mkdir -p /var/lib /var/tmp; export DM_DISABLE_UDEV=1; modprobe virtio_scsi; "
                     "modprobe sd_mod") as g:
            for test in TESTS:
                if wanted and test.__name__ not in wanted:
                    continue
                started = time.monotonic()
                said = test(g)
                print("ok   %-50s %5.1f s  %s" % (test.__name__, time.monotonic() - started, said or ""))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
