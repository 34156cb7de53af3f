#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The harness itself: verdicts come from QMP, disks can be broken, what hangs is ended."""
import os
import sys
import tempfile
import time

import guest


def ends_are_told_by_events(g):
    for command, reason in (("poweroff -f", "guest-shutdown"), ("reboot -f", "guest-reset"),
                            ("echo c >/proc/sysrq-trigger", "guest-reset")):
        g.start()
        g.send(command)
        assert g.wait_end(30) == reason, (command, g.events)
    g.start()
    g.qmp("system_reset")
    assert g.wait_end(30) == "host-qmp-system-reset", g.events


def commands_give_status_output_and_files(g):
    g.start()
    assert g.run("echo out; echo err >&2; exit 7") == (7, "out\nerr\n")
    g.put("/tmp/file", bytes(range(256)))
    assert g.get("/tmp/file") == bytes(range(256))
    try:
        g.check("false")
    except guest.GuestError as fault:
        assert "'false' gave status 1" in str(fault)
    else:
        raise AssertionError("a failing command passed")


def a_reset_starts_the_pcrs_anew_and_keeps_the_tpm(g):
    g.start()
    read = "tpm2_pcrread sha256:13; tpm2_getcap handles-persistent; tpm2_createek -Q -c /tmp/x " \
        "-u /tmp/ek && sha256sum /tmp/ek"
    first = g.check(read)
    g.check("tpm2_pcrextend 13:sha256=%s" % ("11" * 32))
    assert g.check(read) != first
    g.start()
    assert g.check(read) == first


def a_broken_disk_gives_errors(g):
    g.start()
    g.check("dd if=/dev/vda of=/dev/null bs=4096 count=1 iflag=direct")
    g.break_disk()
    status, output = g.run("dd if=/dev/vda of=/dev/null bs=4096 count=1 iflag=direct")
    assert status != 0 and "Input/output error" in output, (status, output)


def a_hanging_machine_is_ended(g):
    g.start()
    g.deadline = time.monotonic() + 2
    try:
        g.check("while :; do sleep 1; done")
    except guest.GuestError as fault:
        assert "no answer within" in str(fault) or "limit" in str(fault), fault
    else:
        raise AssertionError("an endless command came back")
    pid = g.qemu.pid
    g.stop()
    assert not os.path.exists("/proc/%d" % pid)


TESTS = (ends_are_told_by_events, commands_give_status_output_and_files,
         a_reset_starts_the_pcrs_anew_and_keeps_the_tpm, a_broken_disk_gives_errors,
         a_hanging_machine_is_ended)


def main():
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disk = guest.Disk(os.path.join(work, "disk"), 16 << 20)
        with guest.Guest("guest", programs=["/usr/bin/tpm2"], disks=[disk], limit_s=240,
                         setup="for t in pcrread pcrextend getcap createek; do "
                         "ln -s tpm2 /usr/bin/tpm2_$t; done") as g:
            for test in TESTS:
                started = time.monotonic()
                test(g)
                print("ok   %-50s %5.1f s" % (test.__name__, time.monotonic() - started))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
