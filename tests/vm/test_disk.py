#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The protected disk: made, refused, opened again, and closed for good."""
import base64
import os
import re
import subprocess
import sys
import tempfile
import time

import guest
from disk_world import (BASE, GIB, code, kernel_errors, machine, record, refuses, set_up, table,
                        take_down, unmount)

MIB = 1 << 20


def a_disk_with_tags_in_memory_is_what_it_says(g):
    """S25: the live tables, by another tool."""
    g.start()
    r = set_up(g)
    assert r["schema"] == "teelaunch.disk/1" and r["tags"] == "memory", r
    assert r["cipher"] == "capi:gcm(aes)-random" and r["integrity"] == "aead", r
    crypt, integrity = table(g, "teelaunch-crypt"), table(g, "teelaunch-integrity")
    assert crypt[2:] == ["crypt", "capi:gcm(aes)-random", ":32:logon:teelaunch:volume", "0",
                         r["integrity_number"], "0", "2", "integrity:28:aead",
                         "sector_size:4096"], crypt
    assert integrity[2:7] == ["integrity", r["device_number"], "0", "28", "D"], integrity
    assert "meta_device:1:0" in integrity and "block_size:4096" in integrity, integrity
    # With the tags elsewhere the whole device is there for data.
    assert r["size_bytes"] == GIB, r
    assert not kernel_errors(g)


def the_file_system_is_sound_and_small(g):
    g.check("cp -r /usr/lib %s/lib && sync && echo 3 >/proc/sys/vm/drop_caches && "
            "diff -r /usr/lib %s/lib" % (BASE, BASE))
    assert not kernel_errors(g)
    mounts = {m.split()[4]: m.split() for m in
              g.check("grep /dev/dm- /proc/self/mountinfo").splitlines()}
    for path, root, flags in ((BASE, "/", "rw,nosuid,nodev,noexec,noatime"),
                              ("/var/lib/containerd", "/containerd", "rw,nosuid,nodev,noatime"),
                              ("/var/tmp", "/scratch", "rw,nosuid,nodev,noexec,noatime")):
        assert mounts[path][3] == root and mounts[path][5] == flags, mounts[path]
    unmount(g)
    output = g.check("e2fsck -fn /dev/dm-1")
    assert "Pass 5" in output and "WARNING" not in output, output
    features = g.check("dumpe2fs /dev/dm-1 2>/dev/null")
    assert "has_journal" not in features and "metadata_csum" in features
    assert len(re.findall("superblock at", features)) == 1, "a backup superblock"


def started_again_it_finds_the_disk_as_it_is(g):
    """The unit may be restarted: nothing is made anew, nothing is lost."""
    g.check("teelaunchd disk --device serial=teelaunch-data")
    g.check("cmp /usr/bin/kmod /usr/bin/kmod; echo kept >%s/file; sync" % BASE)
    before = record(g)
    g.check("teelaunchd disk --device serial=teelaunch-data")
    assert record(g) == before and g.check("cat %s/file" % BASE) == "kept\n"
    take_down(g)
    g.check("teelaunchd disk --device serial=teelaunch-data")
    assert g.check("cat %s/file" % BASE) == "kept\n"


def with_tags_on_the_disk_the_record_says_so(g):
    """And it can be opened again, without a byte of the host's being believed."""
    g.start()
    r = set_up(g, "disk")
    assert r["tags"] == "disk" and r["size_bytes"] < GIB, r
    integrity = table(g, "teelaunch-integrity")
    assert not [w for w in integrity if w.startswith("meta_device")], integrity
    g.check("echo kept >%s/file; sync" % BASE)
    take_down(g)
    with open(g.disks[0].path, "r+b") as f:
        f.write(os.urandom(4096))  # dm-integrity's superblock, while nobody holds it
    g.check("teelaunchd disk --device serial=teelaunch-data")
    assert g.check("cat %s/file" % BASE) == "kept\n"
    unmount(g)
    g.check("e2fsck -fn /dev/dm-1")


def auto_decides_by_the_share_of_memory(g):
    g.start()
    assert set_up(g, "auto", more="--tags-memory-percent 1")["tags"] == "disk"
    g.start()
    refuses(g, "TL_E_DISK_WRONG", "fit into 1 %", more="--tags memory --tags-memory-percent 1")


def the_cap_and_a_reset_close_it(g):
    """S27, S28: after PCR 13 is extended nothing in this boot unseals, and after a reset nothing
    at all."""
    g.start()
    set_up(g)
    sealed, text = g.get("/run/teelaunch/disk.sealed"), g.get("/run/teelaunch/disk.json")
    take_down(g)
    g.check("tpm2_pcrextend 13:sha256=%s" % ("11" * 32))
    for _ in range(2):  # nor is another disk made in its place
        refuses(g, "TL_E_UNSEAL", "policy")
        assert "No devices found" in g.check("dmsetup ls")
    g.start()
    # The same firmware, the same registers, the host's disk as it was left, and the blob put back.
    g.check("mkdir -m 700 /run/teelaunch")
    g.put("/run/teelaunch/disk.sealed", sealed)
    g.put("/run/teelaunch/disk.json", text)
    refuses(g, "TL_E_UNSEAL", "integrity")


def unsealed_by_other_tools(g):
    """The volume key: what tpm2-tools get out of the TPM, over what lies beside it."""
    under_pad, blob = (lambda b: (b[:32], b[40:]))(g.get("/run/teelaunch/disk.sealed"))
    private = 2 + int.from_bytes(blob[:2], "big")
    g.put("/tmp/private", blob[:private])
    g.put("/tmp/public", blob[private:])
    g.check("cd /tmp && tpm2 createprimary -Q -C n -g sha256 -G ecc256:aes128cfb -c parent -a "
            "'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt' && "
            "tpm2 load -Q -C parent -r private -u public -c key && "
            "tpm2 unseal -Q -c key -p pcr:sha256:0,2,4,7,8,9,12,13 -o secret")
    pad = g.get("/tmp/secret")
    g.check("rm /tmp/secret /tmp/key /tmp/private /tmp/public")
    assert len(pad) == 32 and any(under_pad) and pad != under_pad
    return bytes(a ^ b for a, b in zip(pad, under_pad))


def the_key_is_nowhere_to_be_seen(g):
    """S27: not in arguments, environments, logs, the record, keyrings, on the disk; and no swap."""
    g.start()
    g.check("dmesg -n 8; teelaunchd disk --device serial=teelaunch-data --log-level debug "
            ">/tmp/disk.log 2>&1; cat /tmp/disk.log >/dev/console")
    key = unsealed_by_other_tools(g)
    assert len(key) == 32 and len(set(key)) > 8
    places = {
        "processes": "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ",
        "kernel log": "dmesg",
        "log": "cat /tmp/disk.log",
        "state": "cat /run/teelaunch/*",
        "tables": "dmsetup table --showkeys",
        "keys": "cat /proc/keys",
    }
    seen = {name: g.check("(%s) 2>/dev/null | base64" % c) for name, c in places.items()}
    seen = {name: base64.b64decode(text) for name, text in seen.items()}
    with open(g.log("console"), "rb") as f:
        seen["console"] = f.read()
    g.check("sync")
    with open(g.disks[0].path, "rb") as f:
        chunks = iter(lambda: f.read(1 << 24), b"")
        seen["disk"] = b"".join(c for c in chunks if c.strip(b"\0"))
    for name, data in seen.items():
        assert data, name
        for form in (key, key[:16], key.hex().encode(), base64.b64encode(key)[:40]):
            assert form not in data.lower() and form not in data, name
    # Lent and taken back: nobody finds the key that the table names, root included.
    assert b"teelaunch:volume" in seen["tables"] and b"teelaunch:volume" not in seen["keys"]
    assert g.check("cat /proc/swaps").count("\n") == 1
    assert g.check("stat -c '%a %u' /run/teelaunch /run/teelaunch/*").split("\n")[:3] == \
        ["700 0", "600 0", "600 0"]


def a_failure_to_open_it_again_forgets_nothing(g):
    """Whatever fails but the seal itself: the disk of this boot is still the one that is opened."""
    g.start()
    before = set_up(g)
    g.check("echo kept >%s/file; sync" % BASE)
    take_down(g)
    for name, device in (("TL_E_DISK_MISSING", "serial=nothing"), ("TL_E_DISK_WRONG", "serial=small"),
                         ("TL_E_DISK_CHANGED", "/dev/vda")):
        status, output = g.run("teelaunchd disk --device %s --device-wait-ms 1" % device)
        assert status == 1 and "code=" + code(name) in output, (name, status, output)
        assert record(g) == before, name
    g.check("mkswap /dev/vdb && swapon /dev/vdb")
    status, output = g.run("teelaunchd disk --device serial=teelaunch-data")
    assert status == 1 and "code=" + code("TL_E_SWAP_ON") in output and record(g) == before, output
    g.check("swapoff /dev/vdb")
    g.check("teelaunchd disk --device serial=teelaunch-data")
    assert g.check("cat %s/file" % BASE) == "kept\n"


def two_disks_have_two_keys(g):
    g.start()
    set_up(g)
    first = unsealed_by_other_tools(g)
    g.start()
    set_up(g)
    assert unsealed_by_other_tools(g) != first


def a_disk_of_an_earlier_boot_is_made_anew(g):
    g.start()
    set_up(g)
    assert g.run("ls %s/file" % BASE)[0] != 0
    assert not kernel_errors(g)


def what_is_planted_on_the_device_changes_nothing(g):
    """S24: LUKS headers, file systems, partition tables, another dm-integrity superblock."""
    plants = {
        "luks": ["cryptsetup", "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2",
                 "--pbkdf-force-iterations", "1000", "--key-file", "/dev/zero", "--keyfile-size",
                 "32"],
        "ext4": ["mkfs.ext4", "-q", "-F"],
        "gpt": ["sfdisk", "-q"],
    }
    for name, command in plants.items():
        path = g.disks[0].path
        with open(path, "wb") as f:
            f.truncate(GIB)
        done = subprocess.run([*command, path], input=b"label: gpt\n,512M\n,\n",
                              capture_output=True, timeout=60, check=False)
        if done.returncode:  # luksFormat wants device-mapper; the header it has written counts
            with open(path, "rb") as f:
                assert f.read(4) == b"LUKS", done.stderr
        g.start()
        r = set_up(g)
        assert r["tags"] == "memory" and r["size_bytes"] == GIB, (name, r)
        assert table(g, "teelaunch-integrity")[3] == r["device_number"]
        assert not kernel_errors(g), name
        with open(path, "rb") as f:
            head = f.read(MIB)
        assert b"LUKS" not in head and b"EFI PART" not in head, name
        assert head[1080:1082] != b"\x53\xef", name


def devices_that_will_not_do_are_refused(g):
    """S23, S24: missing, foreign, read-only, too small, ambiguous; nothing else is taken instead."""
    g.start()
    for name, device, words in (
            ("TL_E_DISK_MISSING", "serial=nothing-has-this", "appeared within 200 ms"),
            ("TL_E_DISK_MISSING", "/dev/nothing", "appeared within 200 ms"),
            ("TL_E_DISK_WRONG", "/dev/null", "Block device required"),
            ("TL_E_DISK_WRONG", "/init", "Block device required"),
            ("TL_E_DISK_WRONG", "serial=small", "has 16777216 bytes"),
            ("TL_E_DISK_WRONG", "serial=fixed", "")):
        refuses(g, name, words, device, "--device-wait-ms 200")
    g.check("mkdir -p /mnt; mke2fs -q /dev/vda && mount -t ext4 /dev/vda /mnt")
    refuses(g, "TL_E_DISK_BUSY", "claim")
    g.check("umount /mnt; mkswap /dev/vda && swapon /dev/vda")
    refuses(g, "TL_E_SWAP_ON", "swapped out to")
    g.check("swapoff /dev/vda")
    g.check("echo 0 8192 linear /dev/vda 0 | dmsetup create other")
    refuses(g, "TL_E_DISK_BUSY", "claim")
    g.check("dmsetup remove other")
    for disk in g.disks[1:]:
        assert os.stat(disk.path).st_blocks == 0, "written to " + disk.path
    # None of it is in the way of a set-up that works.
    set_up(g)


def a_set_up_that_fails_leaves_nothing(g):
    """A kernel without brd, then a disk that fails: named, undone, and the next one works."""
    def leaves_nothing():
        assert "No devices found" in g.check("dmsetup ls")
        assert g.run("grep -E 'dm-|^brd ' /proc/self/mountinfo /proc/modules")[0] == 1
        assert g.run("ls /run/teelaunch/disk.sealed")[0] != 0

    g.start()
    g.check("find /usr/lib/modules -name 'brd.ko*' -exec mv {} /tmp/ \\;")
    refuses(g, "TL_E_DISK_SETUP", "load the module 'brd'".replace("'", "\\'"), more="--tags memory")
    leaves_nothing()
    g.check("mv /tmp/brd.ko* /usr/lib/modules/*/kernel/drivers/block/")
    g.break_disk()
    refuses(g, "TL_E_DISK_IO", "write zeros to the disk", more="--tags memory")
    leaves_nothing()


def an_error_of_the_device_in_the_middle_is_one_to_try_again(g):
    """It writes well where it is cleared, and fails where the first folder of the file system lies."""
    g.start()
    g.check("printf '0 32768 linear /dev/vda 0\n32768 %d error\n%d 4096 linear /dev/vda %d\n' | "
            "dmsetup create bad" % (GIB // 512 - 4096 - 32768, GIB // 512 - 4096, GIB // 512 - 4096))
    bad = "/dev/dm-%s" % g.check("dmsetup info -c --noheadings -o minor bad").strip()
    refuses(g, "TL_E_DISK_IO", "make an ext4", bad, "--tags memory")
    assert g.check("dmsetup ls").split()[0] == "bad" and g.run("ls /run/teelaunch/disk.sealed")[0] != 0
    g.check("dmsetup remove bad")
    set_up(g)


TESTS = (a_disk_with_tags_in_memory_is_what_it_says, the_file_system_is_sound_and_small,
         started_again_it_finds_the_disk_as_it_is, with_tags_on_the_disk_the_record_says_so,
         auto_decides_by_the_share_of_memory, the_cap_and_a_reset_close_it,
         the_key_is_nowhere_to_be_seen, two_disks_have_two_keys,
         a_disk_of_an_earlier_boot_is_made_anew, what_is_planted_on_the_device_changes_nothing,
         devices_that_will_not_do_are_refused, a_set_up_that_fails_leaves_nothing,
         an_error_of_the_device_in_the_middle_is_one_to_try_again,
         a_failure_to_open_it_again_forgets_nothing)


def main():
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk"), GIB),
                 guest.Disk(os.path.join(work, "small"), 16 * MIB, serial="small"),
                 guest.Disk(os.path.join(work, "fixed"), GIB, serial="fixed", read_only=True)]
        with machine("disk", disks, programs=["/usr/bin/tpm2"], limit_s=540,
                     files={"/usr/bin/tpm2_pcrextend": b"#!/bin/sh\nexec tpm2 pcrextend \"$@\"\n"}) as g:
            for test in TESTS:
                if wanted and test.__name__ not in wanted:
                    continue
                started = time.monotonic()
                test(g)
                print("ok   %-50s %5.1f s" % (test.__name__, time.monotonic() - started))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
