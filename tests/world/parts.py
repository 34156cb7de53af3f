# SPDX-License-Identifier: Apache-2.0
"""What the parts of the local world share: a process that is ended by its exact identity, waiting for
a fact instead of for a time, certificates, and the command line `PART.py start|stop --dir DIR`."""
import argparse
import concurrent.futures
import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
POLL_S = 0.005
# By these `make check` finds what a test left running and what a sanitizer reported.
FROM_THE_CHECK = ("TL_CHECK_RUN", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
# ThreadSanitizer's memory is many times the program's, and says nothing about it.
IS_MEMORY_JUDGED = "TL_SHADOW_MEMORY" not in os.environ
# The parent that PR_SET_PDEATHSIG means is a thread: this one lives as long as the process.
NURSERY = concurrent.futures.ThreadPoolExecutor(max_workers=1)
libc = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """One sentence for a person; the command line prints it without a traceback."""


def clean_env(**more):
    """The environment of a child: no proxy (everything is on loopback), no locale, nothing secret."""
    keep = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR", *FROM_THE_CHECK) if k in os.environ}
    keep["PATH"] = keep.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    keep["LC_ALL"] = "C.UTF-8"
    keep.update(more)
    return keep


def run(*command, stdin=None, timeout_s=120, env=None):
    """Run a program to its end and give back its standard output, as bytes."""
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, check=False,
                              env=env or clean_env())
    except FileNotFoundError:
        raise Failure("'%s' is not installed (tests/deps.sh installs what is needed)" %
                      command[0]) from None
    if done.returncode != 0:
        raise Failure("'%s' failed with %d: %s" % (
            " ".join(command), done.returncode, done.stderr.decode(errors="replace").strip()[-800:]))
    return done.stdout


def write(path, content, mode=0o644):
    """`content`: text or bytes."""
    with open(path, "wb", opener=lambda p, flags: os.open(p, flags, mode)) as f:
        f.write(content if isinstance(content, bytes) else content.encode())


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def replace(path, content):
    """Like write, but a reader sees the old content or the new one."""
    write(path + ".new", content)
    os.replace(path + ".new", path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def can_connect(address):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with contextlib.closing(socket.socket(family)) as s:
        s.settimeout(1)
        try:
            s.connect(address)
            return True
        except OSError:
            return False


def wait_until(fact, what, timeout_s=20, process=None):
    """Ask until `fact()` is true. A process that ends meanwhile ends the wait."""
    end = time.monotonic() + timeout_s
    while True:
        got = fact()
        if got:
            return got
        if process and not process.is_alive():
            raise Failure("%s ended before %s; its last words: %s" %
                          (process.name, what, process.last_words()))
        if time.monotonic() > end:
            raise Failure("%s took more than %d s" % (what, timeout_s))
        time.sleep(POLL_S)


def start_time(pid):
    """When a process was started, in the kernel's ticks; with the pid this names exactly one."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as f:
            fields = f.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == b"Z" else int(fields[19])


def peak_memory_mb(pid):
    """The most memory a running process has had since exec; 0 when it has ended. (ru_maxrss of wait4()
    will not do: it counts what the process was before exec, a copy of this one.)"""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as f:
            return max((int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM")), default=0)
    except (OSError, ValueError):
        return 0


class Process:
    """A daemon in the background. It is remembered in DIR/NAME.pid, so that another run of the same
    script can stop it; nothing is ever ended by its name."""

    def __init__(self, folder, name):
        self.name = name
        self.file = os.path.join(folder, name + ".pid")
        self.log = os.path.join(folder, name + ".log")
        self.child = None

    def start(self, *command, with_parent=False, stdout=None, env=None):
        """`with_parent`: it gets SIGTERM when this process ends."""
        def before_exec():
            if with_parent:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        with open(self.log, "ab") as err, open(stdout or self.log, "ab") as out:
            self.child = NURSERY.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True, env=env or clean_env(), preexec_fn=before_exec).result()
        replace(self.file, "%d %d\n" % (self.child.pid, start_time(self.child.pid) or 0))
        return self

    @property
    def pid(self):
        """The pid, or None when it does not run (any more)."""
        try:
            pid, started = map(int, read(self.file).split())
        except FileNotFoundError:
            return None
        return pid if start_time(pid) == started else None

    def is_alive(self):
        return self.pid is not None

    def words(self):
        try:
            return read(self.log).strip() or "(none)"
        except FileNotFoundError:
            return "(none)"

    def last_words(self):
        return self.words()[-600:]

    def send(self, number):
        pid = self.pid
        if pid:
            os.kill(pid, number)
        return pid

    def stop(self, timeout_s=10, number=signal.SIGTERM):
        pid = self.pid
        if pid:
            fd = os.pidfd_open(pid)
            with contextlib.closing(os.fdopen(fd, "rb")):
                poll = select.poll()
                poll.register(fd, select.POLLIN)
                signal.pidfd_send_signal(fd, number)
                if not poll.poll(timeout_s * 1000):
                    signal.pidfd_send_signal(fd, signal.SIGKILL)
                    poll.poll(5000)
        if self.child:
            self.child.wait()
            self.child = None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.file)


TLS_CONFIG = """[req]
distinguished_name=dn
prompt=no
[dn]
CN=%s
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign
subjectKeyIdentifier=hash
[server]
basicConstraints=critical,CA:FALSE
subjectAltName=IP:127.0.0.1,DNS:localhost,IP:169.254.169.254
extendedKeyUsage=serverAuth
keyUsage=critical,digitalSignature
"""


def make_certificate(folder, name, stem, *options):
    config = os.path.join(folder, "tls.cnf")
    write(config, TLS_CONFIG % name)
    cert = os.path.join(folder, stem + ".pem")
    key = os.path.join(folder, {"ca": "ca.key", "cert": "key.pem"}[stem])
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-config", config, "-keyout", key, "-out", cert, *options)
    os.chmod(key, 0o600)
    return cert, key


def make_authority(folder, name, days=3650):
    """ca.pem and ca.key."""
    return make_certificate(folder, name, "ca", "-subj", "/CN=%s CA" % name, "-extensions", "ca", "-days",
                            str(days))


def make_tls(folder, name, authority=None):
    """A server certificate for this machine, as itself and as the metadata server's neighbour: ca.pem,
    cert.pem, key.pem. `authority`: (certificate, key) of the one to use, else one is made."""
    ca, ca_key = authority or make_authority(folder, name, days=30)
    if authority:
        write(os.path.join(folder, "ca.pem"), read(ca))
    make_certificate(folder, name, "cert", "-extensions", "server", "-CA", ca, "-CAkey", ca_key, "-days", "30")


def save_facts(folder, **facts):
    """What others need to know of a started part: DIR/facts.json."""
    replace(os.path.join(folder, "facts.json"), json.dumps(facts, indent=1) + "\n")


def load_facts(folder):
    try:
        return json.loads(read(os.path.join(folder, "facts.json")))
    except FileNotFoundError:
        raise Failure("%s: not started (no facts.json)" % folder) from None


def part_main(part_class, **options):
    """The command line of a part. `options`: name -> (default, help), handed to the constructor."""
    p = argparse.ArgumentParser(description=sys.modules[part_class.__module__].__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("verb", choices=["start", "stop"])
    p.add_argument("--dir", required=True, help="folder of this part")
    for name, (default, text) in options.items():
        p.add_argument("--" + name.replace("_", "-"), default=default, help=text)
    a = vars(p.parse_args())
    verb, folder = a.pop("verb"), os.path.abspath(a.pop("dir"))
    try:
        part = part_class(folder, **a)
        if verb == "start":
            part.start()
            print(json.dumps(load_facts(folder), indent=1))
        else:
            part.stop()
    except Failure as fault:
        print("%s: %s" % (os.path.basename(sys.argv[0]), fault), file=sys.stderr)
        sys.exit(1)
