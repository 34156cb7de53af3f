# SPDX-License-Identifier: Apache-2.0
"""What the tests of the protected disk share: a machine with teelaunchd, and looks at it by other
tools than ours."""
import json
import os
import re

import guest

PROGRAMS = os.environ.get("TL_PROGRAMS", os.path.join(guest.TOP, "build", "dev", "bin"))
TEELAUNCHD = os.path.join(PROGRAMS, "teelaunchd")
GIB = 1 << 30
# teelaunchd loads brd itself, so it is only there.
MODULES = ("dm_mod", "dm_crypt", "dm_integrity", "aesni_intel",
           "gcm", "ctr", "ghash_generic")
TOOLS = ("/usr/sbin/dmsetup", "/usr/sbin/e2fsck", "/usr/sbin/dumpe2fs")
DEVICE = "serial=teelaunch-data"
BASE = "/var/lib/teelaunch"


def code(name):
    """The id of a row of the error catalogue: "TL0106" for "TL_E_..."."""
    with open(os.path.join(guest.TOP, "src/core/catalogue.def"), encoding="utf-8") as f:
        number = re.search(r"TL_ROW\((\d+), %s," % name, f.read()).group(1)
    return "TL%04d" % int(number)


def machine(name, disks, limit_s=300, programs=(), **more):
    """A guest with what the disk needs; /var as an image would have it."""
    more.setdefault("setup", "mkdir -p /var/lib /var/tmp; export DM_DISABLE_UDEV=1")
    modules = ["brd", *more.pop("more_modules", ())]
    return guest.Guest(name, programs=(TEELAUNCHD, *TOOLS, *programs), modules=MODULES,
                       more_modules=modules, disks=disks, limit_s=limit_s, **more)


def set_up(g, tags="auto", device=DEVICE, more=""):
    """The record, after a set-up that must work."""
    g.check("teelaunchd disk --device %s --tags %s %s" % (device, tags, more))
    return record(g)


def record(g):
    return json.loads(g.check("cat /run/teelaunch/disk.json"))


def refuses(g, name, words="", device=DEVICE, more=""):
    """A set-up that must fail with this row of the catalogue; it must be in the record, too."""
    status, output = g.run("teelaunchd disk --device %s %s" % (device, more))
    assert status == 1 and "code=" + code(name) in output and words in output, (status, output)
    assert record(g)["error"]["code"] == code(name), record(g)
    return output


def table(g, name):
    return g.check("dmsetup table %s" % name).split()


def kernel_errors(g):
    """Lines of the kernel's log that tell of trouble with a device."""
    status, output = g.run("dmesg | grep -E 'AEAD|I/O error|EXT4-fs (error|warning)|device-mapper: (integrity|crypt):'")
    return output if status == 0 else ""


def unmount(g):
    g.check("umount /var/tmp; umount /var/lib/containerd; umount %s" % BASE)


def take_down(g):
    """The devices gone, as if somebody had removed them; what they hold stays."""
    unmount(g)
    g.check("dmsetup remove teelaunch-crypt && dmsetup remove teelaunch-integrity")
