# SPDX-License-Identifier: Apache-2.0
"""A real systemd-journald, in a mount namespace whose /run is its own; and the words that run a program there
with standard output and error leading to it, as the service manager would."""
import contextlib
import json
import os
import signal
import subprocess

import parts

JOURNALD = "/usr/lib/systemd/systemd-journald"
# systemd-cat connects the stream; the variable is what systemd.exec(5) promises besides.
ATTACHED = 'export JOURNAL_STREAM="$(stat -Lc %d:%i /proc/self/fd/2)"; exec "$@"'


def plain(value):
    """journalctl writes a text that it wouldn't print as numbers."""
    return bytes(value).decode() if isinstance(value, list) and all(isinstance(v, int) for v in value) else value


class Journal:
    def __init__(self, folder, settings=()):
        self.folder = folder
        self.settings = settings
        self.daemon = None

    def start(self):
        os.makedirs(self.folder)
        # The namespace's first process only holds it.
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journald.conf.d '
             '/run/log/journal && printf "[Journal]\\n%s\\n" "$1" > /run/systemd/journald.conf.d/test.conf && '
             'echo ready && exec sleep infinity', "sh", "\n".join(("ReadKMsg=no", "Audit=no", *self.settings))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"
        self.start_daemon()
        return self

    def inside(self, *command):
        return ["nsenter", "-m", "-t", str(self.holder.pid), "--", *command]

    @property
    def before(self):
        """What to put before a command."""
        return self.inside("systemd-cat", "--level-prefix=true", "sh", "-c", ATTACHED, "sh")

    def start_daemon(self):
        with open(os.path.join(self.folder, "journald.err"), "ab") as err:
            self.daemon = subprocess.Popen(self.inside(JOURNALD), stdin=subprocess.DEVNULL, stdout=err, stderr=err)
        parts.wait_until(lambda: os.path.exists(os.path.join(
            "/proc/%d/root" % self.holder.pid, "run/systemd/journal/socket")) and
                         subprocess.run(self.inside("systemd-cat", "true"), stderr=subprocess.DEVNULL,
                                        check=False).returncode == 0, "journald listening", 30)

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()

    def entries(self, *matches):
        """As journalctl prints them, one dictionary each; those written so far."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.daemon.pid, signal.SIGRTMIN + 1)  # write to disk
        out = subprocess.run(self.inside("journalctl", "-D", "/run/log/journal", "--all", "-q", "-o", "json", *matches),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
        return [{k: plain(v) for k, v in json.loads(line).items()} for line in out.splitlines()]

    def count(self, match):
        """How many there are, without reading them all into memory."""
        out = subprocess.run(self.inside("sh", "-c", 'journalctl -D /run/log/journal -q -o cat "$1" | wc -l', "sh", match),
                             stdout=subprocess.PIPE, check=True).stdout
        return int(out)

    def stop(self):
        for child in (self.daemon, self.holder):
            if child.poll() is None:
                child.kill()
            child.wait()
        self.holder.stdout.close()
