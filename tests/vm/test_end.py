#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How the machine ends, with the real units, under the real systemd as PID 1 of a machine. What it did
is QEMU's word: guest-shutdown is power off, guest-reset a restart.

The launcher gets as far as its metadata, where nobody answers: enough to be killed, asked to stop, or
refused. Whole launches in the whole image are other tests'."""
import os
import sys
import time

import guest

TOP = guest.TOP
UNITS = "/usr/lib/systemd/system/"
PRODUCTION, DEBUG = "confidential-space.hardened=true", "confidential-space.hardened=false"
POWER_OFF, RESTART = "guest-shutdown", "guest-reset"
SYSTEMD = ["/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-shutdown", "/usr/bin/systemctl"]
FROM_SYSTEMD = ("sysinit.target basic.target shutdown.target umount.target final.target poweroff.target "
                "reboot.target systemd-poweroff.service systemd-reboot.service sockets.target "
                "timers.target paths.target slices.target").split()
# PID 1 becomes systemd; the agent is what is left of the script from its line "port=" on.
SETUP = """mount -t cgroup2 cgroup2 /sys/fs/cgroup
sed -n '/^port=$/,$p' /init >/run/agent
sh /run/agent &
exec /usr/lib/systemd/systemd"""
DEFAULT_TARGET = b"[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
# A launch that reaches "metadata" and stays there: somebody listens, and says nothing.
WAITING = ("[Service]\nEnvironment=GCE_METADATA_HOST=127.0.0.1:8080\nExecStart=\n"
           "ExecStart=/usr/sbin/teelaunchd run --root any --firewall off --cloud-logging off --disk unprotected --console /dev/console\n"
           "[Unit]\nWants=silent.service\nAfter=silent.service\n")
# There is no containerd in this machine, and none is worth waiting for.
NO_CONTAINERD = (b"[Service]\nExecStart=\n"
                 b"ExecStart=/usr/sbin/teelaunchd exit --console /dev/console --containerd-wait-ms 100\n")
SILENT = b"[Service]\nExecStart=/usr/bin/busybox nc -ll -p 8080 -e /usr/bin/busybox sleep 1000\n"


def unit(text):
    return "[Service]\nExecStart=\nExecStart=%s\n" % text


class Machine(guest.Guest):
    def boot(self, mode, drop_in=""):
        self.cmdline = mode
        self.start()
        self.check("ip link set lo up; until systemctl is-system-running | grep -qE 'running|degraded'; "
                   "do sleep 0.1; done")
        if drop_in:
            self.override("teelaunchd.service", drop_in)
        return self

    def override(self, name, text):
        self.check("mkdir -p /run/systemd/system/%s.d" % name)
        self.put("/run/systemd/system/%s.d/test.conf" % name, text.encode())
        self.check("systemctl daemon-reload")

    def launch(self):
        self.started = time.monotonic()
        self.send("systemctl start --no-block teelaunchd.service")

    def until(self, text):
        """That text is on the console."""
        while text not in self.console():
            self.left_s()
            time.sleep(0.05)

    def console(self):
        with open(self.log("console"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def ends(self, how, *said):
        kept = self.log("console")
        got = self.wait_end(60)
        with open(kept, encoding="utf-8", errors="replace") as f:
            text = f.read()
        assert got == how, (got, text[-3000:])
        for words in said:
            assert words in text, (words, text[-3000:])


def a_refused_launch_powers_off_within_seconds(m):
    """The unit as it is: this root isn't dm-verity."""
    m.boot(PRODUCTION)
    m.launch()
    m.ends(POWER_OFF, "TL0106", "TEELAUNCH-REPORT", "event=exit end=exited status=1 mode=production action=stop")
    took = time.monotonic() - m.started
    assert took < 60, took
    return "%.1f s from start to off" % took


def a_refused_launch_on_a_debug_image_holds(m):
    m.boot(DEBUG)
    m.launch()
    m.until("mode=debug action=hold")
    while m.run("systemctl is-active teelaunchd-exit@failure.service")[1].strip() != "inactive":
        m.left_s()
        time.sleep(0.2)
    assert m.run("systemctl show -P ExecMainStatus teelaunchd.service")[1].strip() == "4"


def a_killed_launcher_powers_off(m):
    m.boot(PRODUCTION, WAITING)
    m.launch()
    m.until("stage=disk")
    m.send("systemctl kill --kill-whom=main --signal=KILL teelaunchd.service")
    m.ends(POWER_OFF, "event=exit end=signal", "TL0906", "KILL", "event=exit.workload_left",
           "event=launch.exiting msg='TEE container launcher exiting' exit_code=1 ")


def a_killed_launcher_on_a_debug_image_holds(m):
    m.boot(DEBUG, WAITING)
    m.launch()
    m.until("stage=disk")
    m.check("systemctl kill --kill-whom=main --signal=KILL teelaunchd.service")
    m.until("event=exit.workload_left")
    m.check("systemctl is-failed teelaunchd.service")


def the_power_button_undoes_the_launch_and_powers_off(m):
    m.boot(PRODUCTION, WAITING)
    m.launch()
    m.until("stage=disk")
    assert "stage metadata" in m.check("systemctl show -P StatusText teelaunchd.service")
    m.qmp("system_powerdown")
    m.ends(POWER_OFF, "event=power.button", '"code":"TL0005"', '"decided_by":"operator"')


def a_launcher_that_asks_for_it_restarts(m):
    m.boot(PRODUCTION, unit("/usr/bin/busybox sh -c 'exit 3'"))
    m.launch()
    m.ends(RESTART, "status=3 mode=production action=restart")


def a_power_off_that_was_asked_for_does_not_become_a_restart(m):
    """The launcher says "restart" in the midst of systemd's shutdown."""
    m.boot(PRODUCTION, "[Service]\nType=exec\n" + unit(
        "/usr/bin/busybox sh -c 'trap \"exit 3\" TERM; echo up >/dev/console; while :; do sleep 1; done'"))
    m.launch()
    m.until("up")
    m.send("systemctl poweroff")
    m.ends(POWER_OFF)


def a_launcher_that_cannot_be_started_powers_off(m):
    m.boot(PRODUCTION, unit("/nonexistent"))
    m.launch()
    m.ends(POWER_OFF, "event=exit end=exited status=203", "TL0906")


def a_launcher_that_never_answers_powers_off(m):
    """Stuck before its first word: the start's timeout. Its limits are longer; the way is the same."""
    m.boot(PRODUCTION, "[Service]\nTimeoutStartSec=3\nTimeoutStopSec=3\n" + unit("/usr/bin/busybox sleep 1000"))
    m.launch()
    m.ends(POWER_OFF, "event=exit end=timeout", "TL0906")


def a_launcher_that_gets_stuck_powers_off(m):
    """Ready, and then no sign of life."""
    m.boot(PRODUCTION, "[Service]\nNotifyAccess=all\nWatchdogSec=2\nTimeoutStopSec=3\n" + unit(
        "/usr/bin/busybox sh -c 'systemd-notify --ready; exec sleep 1000'"))
    m.launch()
    m.ends(POWER_OFF, "event=exit end=watchdog", "TL0906")


def an_exit_unit_that_fails_powers_off(m):
    m.boot(PRODUCTION)
    m.override("teelaunchd-exit@.service", unit("/usr/bin/busybox false"))
    m.launch()
    m.ends(POWER_OFF, "TL0106")


def without_systemds_help_the_kernel_ends_the_machine(m):
    m.boot(PRODUCTION)
    for status, how in (("0", POWER_OFF), ("3", RESTART)):
        if status != "0":
            m.boot(PRODUCTION)
        m.send("MONITOR_SERVICE_RESULT=exit-code MONITOR_EXIT_CODE=exited MONITOR_EXIT_STATUS=%s "
               "/usr/sbin/teelaunchd exit --console /dev/console --manager unix:path=/nonexistent" % status)
        m.ends(how, "TL0907")


TESTS = (a_refused_launch_powers_off_within_seconds, a_refused_launch_on_a_debug_image_holds,
         a_killed_launcher_powers_off, a_killed_launcher_on_a_debug_image_holds,
         the_power_button_undoes_the_launch_and_powers_off, a_launcher_that_asks_for_it_restarts,
         a_power_off_that_was_asked_for_does_not_become_a_restart,
         a_launcher_that_cannot_be_started_powers_off, a_launcher_that_never_answers_powers_off,
         a_launcher_that_gets_stuck_powers_off, an_exit_unit_that_fails_powers_off,
         without_systemds_help_the_kernel_ends_the_machine)


def main():
    chosen = [t for t in TESTS if not sys.argv[1:] or t.__name__ in sys.argv[1:]]
    teelaunchd = os.path.join(os.environ["TL_PROGRAMS"], "teelaunchd")
    files = {UNITS + name: UNITS + name for name in FROM_SYSTEMD}
    files.update({UNITS + name: os.path.join(TOP, "systemd", name)
                  for name in ("teelaunchd.service", "teelaunchd-exit@.service")})
    files.update({path: path for path in SYSTEMD})
    files.update({"/etc/systemd/system/default.target": DEFAULT_TARGET, UNITS + "silent.service": SILENT,
                  UNITS + "teelaunchd-exit@.service.d/50-wait.conf": NO_CONTAINERD,
                  "/etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "/etc/group": b"root:x:0:\n",
                  "/usr/sbin/teelaunchd": teelaunchd})
    with Machine("end", programs=SYSTEMD + ["/usr/bin/systemd-notify", teelaunchd], files=files,
                 modules=["button", "evdev"], setup=SETUP, has_tpm=False, limit_s=420) as m:
        for test in chosen:
            started = time.monotonic()
            note = test(m)
            print("ok   %-60s %5.1f s  %s" % (test.__name__, time.monotonic() - started, note or ""), flush=True)


if __name__ == "__main__":
    main()
