#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunch vm` itself: what it serves, how it ends, and what it leaves. The VM is a kernel and a shell
script (small_image.py) that does what the instance's name in the metadata tells; the cases in which
nothing can be started use stand-ins for qemu and swtpm."""
import base64
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import small_image

PROGRAMS = os.environ["TL_PROGRAMS"]
TEELAUNCH = os.path.join(PROGRAMS, "teelaunch")
LIMIT_S = 240
SCRIPT = """
report() { echo 'TEELAUNCH-REPORT {"schema":"teelaunch.report/1","result":"'$1'","action":"'$2'","exit_code":0}'; }
echo "level=INFO event=launch.start pid=1"
what=$(metadata instance/name | tail -n 1)
echo "told to: $what"
case $what in
serve)
	metadata instance/nothing | head -n 1
	printf 'GET /computeMetadata/v1/instance/id HTTP/1.0\\r\\n\\r\\n' | nc 169.254.169.254 80 | head -n 1
	metadata "instance/attributes/?recursive=true" | tail -n 1
	metadata "instance/service-accounts/default/identity" | head -n 1
	metadata "instance/service-accounts/default/identity?audience=x" | tail -n 1 | cut -d. -f2
	metadata "instance/service-accounts/default/token" | tail -n 1
	metadata echo 5000
	nslookup -type=a metadata.google.internal 169.254.2.3
	nslookup -type=a registry.test 169.254.169.254
	nslookup -type=a other.test 169.254.2.3
	echo "data disk: $(cat /sys/block/vdb/serial) $(cat /sys/block/vdb/size)"
	echo "level=INFO event=stage.done stage=policy took_ms=7"
	printf '\\033[31mred\\033[0m \\001\\n'
	report success stop; poweroff -f;;
reset) report workload restart; reboot -f;;
disobey) report denied stop; reboot -f;;
hold)
	report success hold
	for e in /dev/input/event*; do (dd if=$e bs=24 count=1 2>/dev/null | wc -c; echo button; poweroff -f) & done
	sleep 1000;;
panic) echo c >/proc/sysrq-trigger;;
esac
"""


def fake(folder, name, text):
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o755)) as f:
        f.write("#!/usr/bin/python3\nimport os, re, sys, time\n" + text)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # Not in $TMPDIR, which may lie where only root may look: one test isn't root's.
        cls.folder = tempfile.TemporaryDirectory(prefix="teelaunch-tool.", dir="/var/tmp")
        cls.image = os.path.join(cls.folder.name, "image, small.raw")
        cls.attributes = os.path.join(cls.folder.name, "attributes.json")
        with open(cls.attributes, "w", encoding="utf-8") as f:
            f.write('{"tee-image-reference": "r/x:1"}')
        cls.make_image()

    @classmethod
    def make_image(cls):
        with open(cls.image, "wb"):
            pass

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def setUp(self):
        self.work = tempfile.TemporaryDirectory(prefix="t.", dir=self.folder.name)
        self.addCleanup(self.work.cleanup)
        self.env = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "TMPDIR": self.work.name}
        self.env.update({k: v for k, v in os.environ.items() if k.endswith("SAN_OPTIONS") or k.startswith("TL_")})

    def command(self, *options):
        return [TEELAUNCH, "vm", "--image", self.image, "--attributes", self.attributes, "--no-kvm",
                "--timeout", str(LIMIT_S), *options]

    def run_vm(self, *options, before=(), limit_s=LIMIT_S + 60, program=TEELAUNCH):
        done = subprocess.run([*before, program, *self.command(*options)[1:]], env=self.env, capture_output=True, text=True,
                              timeout=limit_s, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(os.listdir(self.work.name), [], "left behind")
        return done


class Failures(Case):
    """What can't be started says so in one line, by its code, and leaves nothing."""

    def setUp(self):
        super().setUp()
        self.bin = tempfile.TemporaryDirectory(prefix="bin.", dir=self.folder.name)
        self.addCleanup(self.bin.cleanup)
        fake(self.bin.name, "swtpm", "time.sleep(60)\n")
        fake(self.bin.name, "swtpm_setup", "pass\n")
        fake(self.bin.name, "qemu-system-x86_64", "time.sleep(60)\n")
        self.env["PATH"] = self.bin.name + ":/usr/bin"

    def fails_with(self, code, *options, **more):
        done = self.run_vm(*options, **more)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn(" %s: " % code, done.stderr)
        return done.stderr

    def test_a_command_line_that_makes_no_sense(self):
        for options in (("--memory", "1"), ("--forward", "80=localhost:1"), ("--forward", "x"), ("--qmp", ""),
                        ("--firmware", "/x"), ("--incoming", "/x"), ("--data-size", "4"), ("--timeout", "0"),
                        ("--forward", "5=h:1", "--forward", "5=h:2"), ("--metadata", "name")):
            self.fails_with("TL0003", *options)

    def test_no_network_namespace(self):
        forbid = "echo 0 >/proc/sys/user/max_net_namespaces; exec \"$@\""
        said = self.fails_with("TL1101", before=("unshare", "-U", "-r", "sh", "-c", forbid, "sh"))
        self.assertIn("namespace", said)

    def test_a_program_is_missing(self):
        self.env["PATH"] = self.bin.name
        for name in ("qemu-system-x86_64", "swtpm", "swtpm_setup"):
            os.rename(os.path.join(self.bin.name, name), os.path.join(self.bin.name, "x"))
            self.assertIn(name, self.fails_with("TL1102"))
            os.rename(os.path.join(self.bin.name, "x"), os.path.join(self.bin.name, name))

    def test_the_tpm_can_not_be_made(self):
        fake(self.bin.name, "swtpm_setup", "sys.exit(3)\n")
        self.assertIn("status 3", self.fails_with("TL1102"))

    def test_files_that_are_not_there(self):
        for options in (("--tpm-state", "/nowhere"), ("--identity-key", "/nowhere"), ("--attributes", "/nowhere"),
                        ("--firmware", "/a", "--vars", "/nowhere"), ("--console", "/nowhere/console")):
            self.assertIn("/nowhere", self.fails_with("TL0004", *options))

    def test_a_place_that_has_no_address(self):
        self.fails_with("TL0007", "--forward", "5000=no-such-host.invalid:1")

    def test_a_monitor_that_talks_nonsense(self):
        fake(self.bin.name, "qemu-system-x86_64",
             "fd = int(re.search(r'id=qmp,fd=(\\d+)', ' '.join(sys.argv)).group(1))\n"
             "os.write(fd, b'nonsense\\n')\ntime.sleep(60)\n")
        self.assertIn("nonsense", self.fails_with("TL1104"))

    def test_a_qemu_that_ends_at_once(self):
        fake(self.bin.name, "qemu-system-x86_64", "sys.exit('its last words')\n")
        done = self.run_vm("--json")
        document = json.loads(done.stdout)
        self.assertEqual((done.returncode, document["end"], document["exit_status"]), (4, "failed", 4))
        self.assertEqual(document["last_words"], "its last words")

    def test_any_number_of_descriptors_is_enough_or_too_few(self):
        fake(self.bin.name, "qemu-system-x86_64", "sys.exit(0)\n")
        state = os.path.join(self.bin.name, "state")
        os.mkdir(state)
        with open(os.path.join(state, "tpm2-00.permall"), "wb"):
            pass
        codes = set()
        for limit in range(4, 30):
            for options in ((), ("--tpm-state", state)):
                done = self.run_vm("--forward", "5000=127.0.0.1:1", *options, limit_s=30,
                                   before=("prlimit", "--nofile=%d" % limit))
                self.assertIn(done.returncode, (1, 4), done.stderr)
                codes.update(word[:-1] for word in done.stderr.split() if word.startswith("TL"))
        self.assertLessEqual({"TL0004", "TL1102", "TL1103"}, codes)


class Machine(Case):
    """The VM under TCG, some 20 s a boot."""

    @classmethod
    def make_image(cls):
        small_image.make(cls.image, SCRIPT)

    def ends(self, name, *options, **more):
        done = self.run_vm("--json", "--metadata", "instance/name=" + name, *options, **more)
        self.assertTrue(done.stdout, done.stderr)
        return done, json.loads(done.stdout)

    def test_what_the_guest_is_served(self):
        class Answer(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"forwarded " + self.rfile.readline())

        with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            done, document = self.ends("serve", "--forward", "5000=127.0.0.1:%d" % server.server_address[1],
                                       "--data-size", "64M", "--name", "registry.test")
            server.shutdown()
        self.assertEqual((done.returncode, document["end"], document["result"]), (0, "poweroff", "success"))
        self.assertEqual((document["schema"], document["accelerator"]), ("teelaunch.vm/1", "tcg"))
        for text in ("HTTP/1.1 404 Not Found", "HTTP/1.1 403 Forbidden", '{"tee-image-reference": "r/x:1"}',
                     "forwarded GET /computeMetadata/v1/echo", "data disk: teelaunch-data 131072", "red \\x01",
                     "told to: serve", "metadata.google.internal\n", "Name: registry.test", "can't find other.test: NXDOMAIN"):
            self.assertIn(text, done.stderr)
        self.assertNotIn("\033", done.stderr)
        self.assertIn("HTTP/1.1 400 Bad Request", done.stderr)
        self.assertRegex(done.stderr, r'"access_token":"ya29\.local-[0-9a-f]{16}"')
        claims = next(json.loads(base64.urlsafe_b64decode(w + "==")) for w in done.stderr.split()
                      if w.startswith("eyJ"))
        self.assertEqual((claims["aud"], claims["google"]["compute_engine"]["instance_name"]), ("x", "serve"))
        timeline = document["boots"][0]["timeline"]
        self.assertEqual([m["name"] for m in timeline], ["firmware", "launcher", "policy"])
        self.assertEqual((timeline[2]["took_ms"], timeline[2]["outcome"]), (7, "ok"))

    def test_a_restart_is_followed_as_often_as_asked(self):
        done, document = self.ends("reset", "--follow-restarts", "1")
        self.assertEqual([b["end"] for b in document["boots"]], ["reset", "reset"])
        self.assertEqual((done.returncode, document["result"]), (3, "workload"))

    def test_a_vm_that_does_not_do_what_it_reports(self):
        """And nobody in particular may start one."""
        before = []
        if os.geteuid() == 0:
            before = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            for folder in (self.folder.name, self.work.name):
                os.chmod(folder, 0o777)
        program = shutil.copy(TEELAUNCH, self.folder.name)  # the build may lie where nobody may look
        done, document = self.ends("disobey", before=before, program=program)
        self.assertEqual((done.returncode, document["end"], document["result"]), (5, "reset", "denied"))

    def start(self, name, *options):
        vm = subprocess.Popen(self.command("--json", "--metadata", "instance/name=" + name, *options), env=self.env,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.addCleanup(vm.kill)
        return vm

    @staticmethod
    def said(vm, text):
        lines = []
        for line in vm.stderr:
            lines.append(line)
            if text in line:
                return lines
        raise AssertionError("never said %r:\n%s" % (text, "".join(lines)))

    def test_secure_boot_starts_nothing_that_is_not_signed(self):
        vm = self.start("serve", "--secure-boot")
        lines = self.said(vm, "No bootable option")
        self.assertTrue(any("Access Denied" in line or "Security Violation" in line for line in lines), lines)
        vm.terminate()  # the power button, which nobody sees
        vm.terminate()
        time.sleep(0.5)
        vm.terminate()
        out, _ = vm.communicate(timeout=60)
        self.assertEqual((vm.returncode, json.loads(out)["end"]), (4, "interrupted"))

    def test_a_signal_is_the_power_button(self):
        vm = self.start("hold")
        self.said(vm, "report: success")
        time.sleep(1)
        vm.send_signal(signal.SIGTERM)
        out, err = vm.communicate(timeout=100)
        self.assertIn("button", err)
        self.assertEqual((vm.returncode, json.loads(out)["end"]), (0, "poweroff"))

    def test_nothing_of_it_outlives_it(self):
        vm = self.start("hold")
        self.said(vm, "report: success")
        children = subprocess.run(["pgrep", "-P", str(vm.pid)], capture_output=True, text=True,
                                  check=True).stdout.split()
        self.assertEqual(len(children), 2)
        vm.kill()
        vm.wait()
        vm.stdout.close()
        vm.stderr.close()
        end = time.monotonic() + 10
        while any(os.path.exists("/proc/" + pid) for pid in children):
            self.assertLess(time.monotonic(), end, "qemu or swtpm goes on")
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[1:], verbosity=2)
