#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The disk's unit with its sandbox, under the real systemd, and what becomes of the machine when the
disk is changed from outside. Only the metadata server is silent and the root isn't verified."""
import json
import os
import sys
import tempfile
import time

import guest
import test_end
from disk_world import BASE, GIB, MODULES, TEELAUNCHD, TOOLS, code
from test_disk_launch import block_read, block_write, tamper

# A disk by its serial number: there is no udev in this machine.
DISK = "ExecStart=/usr/sbin/teelaunchd disk --device serial=%s --device-wait-ms 500\n"
PROTECTED = test_end.WAITING.replace("--disk unprotected", "--disk protected")


def boot(m, serial="teelaunch-data"):
    m.boot(test_end.PRODUCTION, PROTECTED)
    m.check("mkdir -p /var/lib /var/tmp")
    m.override("teelaunchd-disk.service", "[Service]\nExecStart=\n" + DISK % serial)


def the_unit_makes_the_disk_for_the_whole_machine(m):
    boot(m)
    status, output = m.run("systemctl start teelaunchd-disk.service")
    assert status == 0, (output, m.console()[-3000:])
    assert "ext4" in m.check("grep ' %s ' /proc/1/mountinfo" % BASE)
    assert m.run("systemctl is-active teelaunchd-disk.service")[1].strip() == "active"
    before = m.check("cat /run/teelaunch/disk.json")
    assert json.loads(before)["tags"] == "memory"
    # Restarted, it finds what it made.
    m.check("systemctl restart teelaunchd-disk.service")
    assert m.check("cat /run/teelaunch/disk.json") == before


def a_sector_that_does_not_authenticate_powers_off(m):
    boot(m)
    m.launch()  # wants the disk's unit, and comes after it
    m.until("event=disk.protected")
    m.until("stage=disk")
    block_write(m)
    tamper(m)
    assert block_read(m) != 0
    started = time.monotonic()
    m.ends(test_end.POWER_OFF, "INTEGRITY AEAD ERROR", code("TL_E_DISK_TAMPERED"), "action=stop")
    return "%.1f s to off" % (time.monotonic() - started)


def a_missing_disk_is_reported_and_powers_off(m):
    boot(m, "nothing-has-this")
    m.launch()
    m.ends(test_end.POWER_OFF, code("TL_E_DISK_MISSING"), "TEELAUNCH-REPORT", "stage=disk")


TESTS = (the_unit_makes_the_disk_for_the_whole_machine,
         a_sector_that_does_not_authenticate_powers_off, a_missing_disk_is_reported_and_powers_off)


def main():
    units = test_end.UNITS
    files = {units + name: units + name for name in test_end.FROM_SYSTEMD}
    files.update({units + name: os.path.join(guest.TOP, "systemd", name) for name in
                  ("teelaunchd.service", "teelaunchd-exit@.service", "teelaunchd-disk.service")})
    files.update({path: path for path in test_end.SYSTEMD})
    files.update({"/etc/systemd/system/default.target": test_end.DEFAULT_TARGET,
                  units + "silent.service": test_end.SILENT,
                  "/etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "/etc/group": b"root:x:0:\n",
                  "/usr/sbin/teelaunchd": TEELAUNCHD})
    programs = [*test_end.SYSTEMD, "/usr/bin/systemd-notify", TEELAUNCHD, *TOOLS]
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk"), GIB)]
        with test_end.Machine("disk_unit", programs=programs, files=files, disks=disks,
                              modules=["button", "evdev", *MODULES], more_modules=["brd"],
                              setup=test_end.SETUP, limit_s=420) as m:
            for test in TESTS:
                started = time.monotonic()
                note = test(m)
                print("ok   %-60s %5.1f s  %s" %
                      (test.__name__, time.monotonic() - started, note or ""))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
