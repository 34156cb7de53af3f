#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The protected disk during a launch: checked at its start, watched to its end.

The launch is teelaunchd itself; its metadata server accepts and never answers, so that it stays
under way for as long as a test needs.
"""
import json
import os
import re
import sys
import tempfile
import time

import guest
from disk_world import BASE, GIB, code, machine, set_up, unmount

BLOCK = 4096
FAR = 600 << 20  # far from what ext4 has written
RUN = "GCE_METADATA_HOST=127.0.0.1:8080 teelaunchd run --root any --firewall off --cloud-logging off --disk protected"


def boot(g, tags="memory"):
    g.start()
    g.check("ip link set lo up; nc -ll -p 8080 -e /usr/bin/sleep 1000 >/dev/null 2>&1 &")
    set_up(g, tags)


def launch_begin(g):
    """Past the check of the disk, and on."""
    g.check("%s >/tmp/run.log 2>&1 & echo $! >/tmp/run.pid" % RUN)
    for _ in range(100):
        if "stage=disk" in g.check("cat /tmp/run.log; sleep 0.1"):
            break
    log = g.check("cat /tmp/run.log")
    assert "event=disk.protected" in log, log


def launch_end(g, wait_s=10):
    """The report of a launch that ends by itself, soon."""
    for _ in range(wait_s * 5):
        if g.run("kill -0 $(cat /tmp/run.pid) 2>/dev/null && sleep 0.2")[0] != 0:
            break
    return report(g.check("cat /tmp/run.log"))


def report(log):
    found = re.findall(r"TEELAUNCH-REPORT (\{.*\})", log)
    assert len(found) == 1, log
    return json.loads(found[0])


def is_refused(g, name):
    status, log = g.run(RUN)
    got = report(log)
    assert status == 1 and got["code"] == code(name), (name, got)
    assert got["stages"][-1]["name"] == "disk" and got["result"] == "fatal", got


def launch_goes_on(g):
    assert g.run("kill -0 $(cat /tmp/run.pid)")[0] == 0, g.check("cat /tmp/run.log")


def launch_stop(g):
    """As the operator would; nothing that happened is held against the disk."""
    g.check("kill $(cat /tmp/run.pid)")
    got = launch_end(g)
    assert got["decided_by"] == "operator", got
    return got


def block_write(g):
    g.check("dd if=/dev/urandom of=/dev/dm-1 bs=%d seek=%d count=1 oflag=direct conv=notrunc 2>&1" %
            (BLOCK, FAR // BLOCK))


def block_read(g):
    return g.run("dd if=/dev/dm-1 of=/dev/null bs=%d skip=%d count=1 iflag=direct" %
                 (BLOCK, FAR // BLOCK))[0]


def tamper(g):
    with open(g.disks[0].path, "r+b") as f:
        f.seek(FAR)
        byte = f.read(1)
        f.seek(FAR)
        f.write(bytes([byte[0] ^ 1]))


def a_machine_without_the_disk_is_refused(g):
    """S25, and no silent way around it."""
    g.start()
    is_refused(g, "TL_E_DISK_UNPROTECTED")
    g.run("teelaunchd disk --device serial=nothing --device-wait-ms 1")
    status, log = g.run(RUN)
    assert report(log)["code"] == code("TL_E_DISK_MISSING") and status == 1, log
    assert report(log)["result"] == "retry", log


def a_disk_that_is_not_what_was_set_up_is_refused(g):
    boot(g)
    g.check("mount -t tmpfs tmpfs /var/lib/containerd")
    is_refused(g, "TL_E_DISK_MOUNT")
    g.check("umount /var/lib/containerd; mount -o remount,bind,exec,suid /var/tmp")
    is_refused(g, "TL_E_DISK_MOUNT")
    g.check("mount -o remount,bind,noexec,nosuid,nodev /var/tmp")
    g.check("truncate -s 8M /tmp/swap && modprobe loop && losetup /dev/loop0 /tmp/swap && mkswap /dev/loop0 && "
            "swapon /dev/loop0")
    is_refused(g, "TL_E_SWAP_ON")
    g.check("swapoff /dev/loop0")
    # Another table waits; then it is the live one: the ciphertext itself, under the right name.
    g.check("echo 0 2097152 linear /dev/vda 0 | dmsetup load teelaunch-integrity 2>&1 || "
            "dmsetup table teelaunch-crypt | sed 's/crypt .*/zero/' | "
            "dmsetup load teelaunch-crypt")
    is_refused(g, "TL_E_DISK_CHANGED")
    unmount(g)
    g.check("dmsetup remove teelaunch-crypt && "
            "echo 0 2097152 linear 254:0 0 | dmsetup create teelaunch-crypt")
    is_refused(g, "TL_E_DISK_CHANGED")
    g.check("rm /run/teelaunch/disk.json; echo '{}' >/run/teelaunch/disk.json")
    is_refused(g, "TL_E_DISK_RECORD")


def a_launch_ends_at_the_first_sector_that_does_not_authenticate(g):
    boot(g)
    block_write(g)
    launch_begin(g)
    launch_goes_on(g)
    tamper(g)
    assert block_read(g) != 0
    got = launch_end(g)
    assert got["code"] == code("TL_E_DISK_TAMPERED") and got["result"] == "fatal", got
    assert "INTEGRITY AEAD ERROR" in got["message"], got
    assert got["action"] == "stop" and got["decided_by"] == "launcher", got
    assert got["disk"]["tags"] == "memory" and got["disk"]["size_bytes"] == GIB, got
    assert got["disk"]["cipher"] == "capi:gcm(aes)-random" and got["disk"]["setup_ms"] > 0, got
    # It is not forgotten: a launch that begins later in this boot is refused.
    is_refused(g, "TL_E_DISK_TAMPERED")


def an_error_between_set_up_and_launch_is_not_missed(g):
    boot(g, "disk")
    assert g.run("dd if=/dev/dm-1 of=/dev/null bs=%d skip=%d count=1 iflag=direct" %
                 (BLOCK, FAR // BLOCK))[0] != 0  # never written
    is_refused(g, "TL_E_DISK_TAMPERED")


def a_write_that_fails_ends_the_launch(g):
    """ext4 itself stays writable after that."""
    boot(g)
    launch_begin(g)
    g.break_disk(kinds=["write"])
    g.run("dd if=/dev/zero of=%s/file bs=4096 count=16; sync" % BASE)
    assert " rw" in g.check("grep %s /proc/mounts" % BASE)
    got = launch_end(g)
    assert got["code"] == code("TL_E_DISK_ERROR") and got["result"] == "fatal", got


def a_read_that_fails_among_errors_of_another_disk_ends_the_launch(g):
    """The kernel prints ten such lines in five seconds, whichever disk they are of: ours is none of
    them."""
    boot(g)
    block_write(g)
    launch_begin(g)
    g.break_disk(1, kinds=["read"])
    g.run("i=0; while [ $i -lt 3 ]; do dd if=/dev/vdb of=/dev/null bs=4096 skip=$i count=1 iflag=direct; "
          "i=$((i + 1)); done; sleep 6")
    launch_goes_on(g)  # a few of them mean nothing
    g.break_disk(0, kinds=["read"])
    g.run("i=0; while [ $i -lt 40 ]; do dd if=/dev/vdb of=/dev/null bs=4096 skip=$i count=1 iflag=direct; "
          "i=$((i + 1)); done; dd if=/dev/dm-1 of=/dev/null bs=%d skip=%d count=1 iflag=direct" %
          (BLOCK, FAR // BLOCK))
    assert "error, dev vda" not in g.check("dmesg"), "the kernel has printed it after all"
    got = launch_end(g)
    assert got["code"] == code("TL_E_DISK_ERROR") and got["result"] == "fatal", got


def a_disk_that_vanishes_ends_the_launch(g):
    boot(g)
    launch_begin(g)
    g.check("echo 1 >$(readlink -f /sys/block/vda/device/..)/remove; ! ls /dev/vda 2>/dev/null")
    g.run("dd if=/dev/zero of=%s/file bs=4096 count=16; sync" % BASE)
    got = launch_end(g)
    assert got["code"] == code("TL_E_DISK_ERROR"), got


def user_space_can_not_raise_the_alarm(g):
    boot(g)
    launch_begin(g)
    g.check("echo '<3>device-mapper: crypt: dm-0: INTEGRITY AEAD ERROR, sector 8' >/dev/kmsg; "
            "sleep 2")
    launch_goes_on(g)
    got = launch_stop(g)
    assert got["code"] == code("TL_E_INTERRUPTED"), got


def a_log_that_lost_lines_counts_as_an_error(g):
    boot(g)
    launch_begin(g)
    g.check("kill -STOP $(cat /tmp/run.pid); line=$(head -c 900 /dev/zero | tr '\\0' x); "
            "i=0; while [ $i -lt 1500 ]; do echo $line >/dev/kmsg; i=$((i + 1)); done; "
            "kill -CONT $(cat /tmp/run.pid)")
    got = launch_end(g)
    assert got["code"] == code("TL_E_DISK_WATCH"), got


TESTS = (a_machine_without_the_disk_is_refused, a_disk_that_is_not_what_was_set_up_is_refused,
         a_launch_ends_at_the_first_sector_that_does_not_authenticate,
         an_error_between_set_up_and_launch_is_not_missed, a_write_that_fails_ends_the_launch,
         a_read_that_fails_among_errors_of_another_disk_ends_the_launch,
         a_disk_that_vanishes_ends_the_launch, user_space_can_not_raise_the_alarm,
         a_log_that_lost_lines_counts_as_an_error)


def main():
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk"), GIB),
                 guest.Disk(os.path.join(work, "other"), GIB, serial="other")]
        with machine("disk_launch", disks, limit_s=540, more_modules=["loop"],
                     cmdline="confidential-space.hardened=true") as g:
            for test in TESTS:
                if wanted and test.__name__ not in wanted:
                    continue
                started = time.monotonic()
                test(g)
                print("ok   %-60s %5.1f s" % (test.__name__, time.monotonic() - started))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
