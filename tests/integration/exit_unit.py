# SPDX-License-Identifier: Apache-2.0
"""What systemd does once the launcher's service has ended: `teelaunchd exit`, with the variables that
it sets for a unit of OnSuccess= or OnFailure= (systemd.exec(5)). In a PID namespace of its own, where
reboot(2) ends the namespace's first process: by SIGINT for power off, by SIGHUP for restart (reboot(2))."""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import parts  # noqa: E402
from world import programs_dir  # noqa: E402

NAMES = ("MONITOR_SERVICE_RESULT", "MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS")
# What a process that was ended by the manager's SIGTERM leaves in the shell.
BY_MANAGER = 128 + signal.SIGTERM


def ended(exit_code):
    """How systemd says that a process ended; @exit_code as subprocess has it."""
    if exit_code < 0:
        name = signal.Signals(-exit_code).name.removeprefix("SIG")
        return ("core-dump", "dumped", name) if name in ("ABRT", "SEGV", "BUS") else ("signal", "killed", name)
    return ("exit-code" if exit_code else "success", "exited", str(exit_code))


def run(how, cmdline, console, manager, options=(), before=(), timeout_s=60):
    """@how is result, code, status; the files of the kernel's command line, the console and the manager's
    socket. Gives what subprocess.run() does; its code is that of the namespace's first process."""
    # The namespace is made by the command itself: without it nothing runs, so that this machine can't be
    # meant. The shell is the first process; the verb isn't.
    command = ["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", '"$@" & wait $!', "init", *before,
               os.path.join(programs_dir(), "teelaunchd"), "exit", "--kernel-cmdline", cmdline,
               "--console", console, "--manager", "unix:path=" + manager, *options]
    # The leak checker looks for its own process in a /proc that shows another namespace's.
    asan = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s,
                          check=False, env=parts.clean_env(**dict(zip(NAMES, how)), ASAN_OPTIONS=asan))
