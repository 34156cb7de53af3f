#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunch vm` with stand-ins for qemu and swtpm: what a VM without firmware can show of it, quickly; and one call
to the system, or one allocation, that fails: it ends, with what it says, and leaves nothing. The stand-in for qemu
is in the namespace that qemu would be in, and asks what a guest would ask.

TL_LONG=1: each site of a call (tests/integration/injector.c says what that is), else every 16th; TL_SITES=REGEX: those
whose name matches."""
import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, "..", "integration"), os.path.join(HERE, "..", "world")]

import injector  # noqa: E402
import test_vm_tool  # noqa: E402
from test_vm_tool import PROGRAMS  # noqa: E402

EVERY = 1 if "TL_LONG" in os.environ or "TL_SITES" in os.environ else 16
# Where it once did harm: in the short form, too.
FOUND = re.compile(r"\b(set_metadata|vm_print_json|vm_dir_done)\b")
ENDS_WITHIN_S = 60
# Of a build that counts (preset coverage): what writes the counters.
COUNTS = re.compile(r"gcov|\bgcda\b")
QEMU = r"""#!/usr/bin/env -S -u LD_PRELOAD /usr/bin/python3 -I -S
import os, re, socket, sys, time
words = " ".join(sys.argv)
monitor = socket.socket(fileno=int(re.search(r"id=qmp,fd=(\d+)", words).group(1)))
monitor.settimeout(3)

def heard():
    try:
        return monitor.recv(4096)
    except OSError:
        return b""

def ask(port, text, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as s:
        try:
            s.settimeout(3)
            s.connect(("127.0.0.1", port))
            s.sendall(text)
            if kind == socket.SOCK_STREAM:
                s.shutdown(socket.SHUT_WR)
            answer = b""
            while more := s.recv(65536):
                answer += more
                if kind != socket.SOCK_STREAM:
                    break
            return answer
        except OSError as e:
            return b"no answer: %d" % (e.errno or 0)

def get(path, head="Metadata-Flavor: Google\r\n", method="GET"):
    text = "%s %s HTTP/1.1\r\nHost: m\r\nConnection: close\r\n%s\r\n" % (method, path, head)
    answer = ask(80, text.encode())
    print(method, path, answer.split(b"\r\n")[0].decode(), answer.split(b"\r\n\r\n")[-1][:60].decode(), flush=True)

def report(result, action):
    print('TEELAUNCH-REPORT {"schema":"teelaunch.report/1","result":"%s","action":"%s","exit_code":0}' % (result, action),
          flush=True)

def shutdown(reason):
    monitor.sendall(b'{"event":"SHUTDOWN","data":{"guest":true,"reason":"%s"}}\n' % reason.encode())
    sys.exit(0)

monitor.sendall(b'{"QMP":{}}\n')
assert b"qmp_capabilities" in (heard() or b"qmp_capabilities")
monitor.sendall(b'{"return":{}}\n')
"""
ASK = r"""
print("level=INFO event=launch.start pid=1")
for path in ("instance/attributes/?recursive=true", "instance/attributes/?recursive=false",
             "instance/service-accounts/default/identity", "instance/service-accounts/default/identity?audience=x",
             "instance/service-accounts/default/token", "instance/name", "instance/nothing"):
    get("/computeMetadata/v1/" + path)
get("/other")
get("/computeMetadata/v1/instance/name", "")
get("/computeMetadata/v1/instance/name", "Metadata-Flavor: Other\r\n")
get("/computeMetadata/v1/instance/name", "Metadata-Flavor: Google\r\nContent-Length: 1\r\n\r\nx", "POST")
question = b"\0\1\1\0\0\1\0\0\0\0\0\0\x08registry\x04test\0\0\1\0\1"
print("address", ask(53, question, socket.SOCK_DGRAM)[-4:].hex(), flush=True)
print("forwarded", ask(5000, b"hello\n").decode(), flush=True)
print("level=INFO event=stage.done stage=policy took_ms=7")
print("level=ERROR event=stage.failed stage=image took_ms=8")
report("success", "stop")
shutdown("guest-shutdown")
"""


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"heard " + self.rfile.readline())


class Case(test_vm_tool.Case):
    def setUp(self):
        super().setUp()
        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answer)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.bin = os.path.join(self.folder.name, "bin")
        os.makedirs(self.bin, exist_ok=True)
        self.put("swtpm", "#!/bin/sh\nexec sleep 100\n")
        self.put("swtpm_setup", "#!/bin/sh\n")
        self.env["PATH"] = self.bin + ":/usr/bin:/bin"

    def put(self, name, text):
        path = os.path.join(self.bin, name)
        with open(path, "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o755)) as f:
            f.write(text)

    def stand_in(self, text):
        self.put("qemu-system-x86_64", QEMU + text)

    def options(self):
        return ["--forward", "5000=127.0.0.1:%d" % self.server.server_address[1], "--name", "registry.test"]

    def run_with(self, text, *options, before=()):
        self.stand_in(text)
        return self.run_vm(*options, before=before, limit_s=ENDS_WITHIN_S)


class Whole(Case):
    """Nothing fails that isn't meant to."""

    def test_what_is_asked_is_answered(self):
        done = self.run_with(ASK, "--json", "--metadata", "instance/name=web-1", *self.options())
        document = json.loads(done.stdout)
        self.assertEqual((done.returncode, document["end"], document["result"]), (0, "poweroff", "success"), done.stderr)
        for text in ('recursive=true HTTP/1.1 200 OK {"tee-image-reference": "r/x:1"}', "recursive=false HTTP/1.1 404",
                     "identity HTTP/1.1 400", "identity?audience=x HTTP/1.1 200 OK eyJ", "token HTTP/1.1 200 OK {",
                     "instance/name HTTP/1.1 200 OK web-1", "nothing HTTP/1.1 404", "/other HTTP/1.1 404",
                     "POST /computeMetadata/v1/instance/name HTTP/1.1 405", "address a9fea9fe", "forwarded heard hello"):
            self.assertIn(text, done.stderr)
        self.assertEqual(done.stderr.count("instance/name HTTP/1.1 403"), 2)
        stages = [(m["name"], m["outcome"]) for m in document["boots"][0]["timeline"] if m["kind"] == "stage"]
        self.assertEqual(stages[0], ("policy", "ok"))

    def test_for_a_reader_it_is_told_in_words(self):
        done = self.run_with(ASK, *self.options())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for text in ("Boot 1 of 1:", "stage policy", "end: poweroff", "result     success", "action     stop",
                     "exit_code  0", "In short: the launch succeeded."):
            self.assertIn(text, done.stdout)

    def test_each_end_has_its_words_and_status(self):
        for text, status, words in (
                ('report("denied", "stop"); shutdown("guest-shutdown")', 2, "the launch was denied"),
                ('report("fatal", "stop"); shutdown("guest-shutdown")', 3, "the launch or its workload failed"),
                ('report("fatal", "hold"); shutdown("host-qmp-quit")', 3, "the launch or its workload failed"),
                ('report("fatal", "stop"); shutdown("guest-panic")', 5, "did not do what the report says"),
                ('shutdown("guest-panic")', 4, "without a report"),
                ('os.write(2, b"first\\nlast words"); sys.exit(1)', 4, "qemu's last words: last words")):
            done = self.run_with(text)
            self.assertEqual(done.returncode, status, (text, done.stdout, done.stderr))
            self.assertIn(words, done.stdout)

    def test_restarts_are_followed_and_the_time_goes_on(self):
        done = self.run_with('shutdown("guest-reset")', "--follow-restarts", "2")
        self.assertEqual((done.returncode, done.stdout.count("end: reset")), (4, 3), done.stdout)

    def test_the_time_is_up(self):
        """A monitor that obeys ends at once, one that doesn't is killed."""
        done = self.run_with('report("success", "hold")\nwhile b"quit" not in heard(): pass\nshutdown("host-qmp-quit")',
                             "--timeout", "1", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["end"]), (0, "timeout"), done.stderr)
        begun = time.monotonic()
        done = self.run_with('time.sleep(100)', "--timeout", "1", "--json")
        self.assertEqual((done.returncode, json.loads(done.stdout)["end"]), (4, "timeout"), done.stderr)
        self.assertGreater(time.monotonic() - begun, 5)

    def test_the_power_button_is_of_no_use(self):
        """So the rest of its time is waited for, and no more."""
        self.stand_in('print("up", flush=True)\nwhile b"quit" not in heard(): pass\nshutdown("host-qmp-quit")')
        vm = subprocess.Popen(self.command("--json", "--timeout", "4"), env=self.env, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.addCleanup(vm.kill)
        for line in vm.stderr:
            if "up" in line:
                break
        vm.send_signal(signal.SIGTERM)
        out, err = vm.communicate(timeout=ENDS_WITHIN_S)
        self.assertEqual((vm.returncode, json.loads(out)["end"]), (4, "interrupted"), err)
        self.assertIn("the power button was of no use", err)

    def test_a_saved_vm_goes_on_once_it_is_loaded(self):
        folder = os.path.join(self.folder.name, "kept")
        saved = os.path.join(self.folder.name, "saved")
        with open(saved, "wb"):
            pass
        text = r"""
assert re.search(r"-incoming fd:\d+", words), words
asked = ["query-status"]
monitor.sendall(b'{"return":{"status":"inmigrate"}}\n')
assert b"query-status" in heard()
monitor.sendall(b'{"return":{"status":"%s"}}\n')
assert b"cont" in heard()
monitor.sendall(b'{"return":{}}\n{"event":"RESUME"}\n{"event":"POWERDOWN"}\n')
report("success", "stop")
shutdown("guest-shutdown")
"""
        for status in ("paused", "running"):
            done = self.run_with(text.replace("%s", status), "--dir", folder, "--incoming", saved)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("== the saved VM goes on", done.stdout)
            self.assertIn("== the power button was pressed", done.stdout)
        self.assertTrue(os.path.exists(os.path.join(folder, "data.raw")), "what --dir names is kept")

    def test_a_monitor_that_is_not_to_be_believed(self):
        for text, words in ((r"""monitor.sendall(b'{"error":{"class":"C","desc":"D\u001b"}}\n'); time.sleep(9)""", "C: D\\x1b"),
                            (r"monitor.sendall(b'x' * (1 << 20)); time.sleep(9)", "too long"),
                            (r"monitor.sendall(b'{}\n'); time.sleep(9)", "monitor: {}"),
                            (r"monitor.sendall(b'{\n'); time.sleep(9)", "monitor: {")):
            done = self.run_with(text)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn(" TL1104: ", done.stderr)
            self.assertIn(words, done.stderr)

    def test_the_tpm_ends_first(self):
        self.put("swtpm", "#!/bin/sh\nexit 1\n")
        done = self.run_with('time.sleep(1)\nshutdown("guest-shutdown")')
        self.assertIn("== the software TPM ended", done.stdout)
        self.assertEqual(done.returncode, 4)

    def test_the_console_goes_to_a_file(self):
        path = os.path.join(self.folder.name, "console")
        done = self.run_with(ASK, "--console", path, *self.options())
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, encoding="utf-8") as f:
            self.assertIn("forwarded heard hello", f.read())
        self.assertNotIn("forwarded", done.stdout)
        done = self.run_with(ASK, "--console", "/dev/full", *self.options())
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("TL0004: the VM's console", done.stderr)

    def test_a_key_of_the_callers_signs(self):
        key = os.path.join(self.folder.name, "key.pem")
        subprocess.run(["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-out", key], check=True)
        done = self.run_with(ASK, "--identity-key", key, *self.options())
        self.assertIn("identity?audience=x HTTP/1.1 200 OK eyJ", done.stdout)
        with open(key, "w", encoding="utf-8") as f:
            f.write("no key\n")
        self.assertEqual(self.run_with(ASK, "--identity-key", key).returncode, 1)

    def test_an_answer_on_a_full_disk_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            self.stand_in(ASK)
            done = subprocess.run(self.command("--json"), env=self.env, stdout=full, stderr=subprocess.PIPE, text=True,
                                  timeout=ENDS_WITHIN_S, check=False, stdin=subprocess.DEVNULL)
        self.assertEqual(done.returncode, 1)
        self.assertIn("TL0004: standard output", done.stderr)

    def test_kvm_is_tried_with_a_guest_of_its_own(self):
        """Its answer is qemu's exit status; whatever else comes, the VM is emulated, and the reason told."""
        if not os.access("/dev/kvm", os.R_OK | os.W_OK):
            self.stand_in(ASK)
            done = self.without_refusal()
            self.assertRegex(done.stdout, r"== TCG \(/dev/kvm: (No such file|Permission denied)")
            return
        for status, words in ((43, "== KVM, 1 CPU"), (0, "== TCG (/dev/kvm is there, but a guest of five instructions")):
            self.put("qemu-system-x86_64", QEMU.replace("words =", r"""
if "isa-debug-exit" in " ".join(sys.argv):
    rom = open(sys.argv[sys.argv.index("-bios") + 1], "rb").read()
    assert len(rom) == 65536 and rom[-16:-8] == bytes.fromhex("9bdbe3b015e6f4f4")
    sys.exit(%d)
words =""" % status) + ASK)
            done = self.without_refusal()
            self.assertIn(words, done.stdout)
            self.assertEqual(done.returncode, 0, done.stderr)
        os.unlink(os.path.join(self.bin, "qemu-system-x86_64"))
        self.env["PATH"] = self.bin
        done = self.without_refusal()
        self.assertIn("== TCG (KVM can't be tried", done.stdout)
        self.assertEqual(done.returncode, 1)

    def without_refusal(self):
        words = [w for w in self.command(*self.options()) if w != "--no-kvm"]
        return subprocess.run(words, env=self.env, capture_output=True, text=True, timeout=ENDS_WITHIN_S, check=False,
                              stdin=subprocess.DEVNULL)


class Injected(Case):
    def one(self, tool, site=None, how=None, nth=1):
        kept, self.env = self.env, {**self.env, **tool.environment(site, how, nth)}
        try:
            return self.run_vm("--json", "--metadata", "instance/name=web-1", *self.options(), limit_s=ENDS_WITHIN_S)
        finally:
            self.env = kept

    def faults_of(self, done):
        """What is wrong with an end, as sentences. That nothing is left in its folder is run_vm()'s."""
        said = re.findall(r"^teelaunch(?: vm)?: (TL\d{4}): .", done.stderr, re.M)
        if done.returncode == 1:
            if len(said) != 1 or done.stdout:
                yield "status 1, and said %s and %r" % (said, done.stdout)
            return
        if done.returncode not in (0, 3, 4, 5) or said:
            yield "status %d, and said %s" % (done.returncode, said)
            return
        document = json.loads(done.stdout)
        if document["exit_status"] != done.returncode or document["schema"] != "teelaunch.vm/1":
            yield "status %d, and told %s" % (done.returncode, done.stdout)
        elif done.returncode == 0 and [document.get(k) for k in ("result", "action", "exit_code")] != ["success", "stop", 0]:
            yield "success, and told %s" % done.stdout

    def test_one_call_fails(self):
        tool = injector.Injector(self.folder.name, PROGRAMS, ("teelaunch",))
        self.stand_in(ASK)
        done = self.one(tool)
        self.assertEqual((done.returncode, list(self.faults_of(done))), (0, []), done.stderr)
        fired, sites = tool.read("teelaunch")
        sites = list(sites.values())
        self.assertEqual(fired, 0)
        self.assertGreater(len(sites), 100)
        tool.name_sites(sites)
        # One's own child can be killed.
        sites = sorted((s for s in sites if not COUNTS.search(s.path) and s.name != "kill"), key=str)
        pattern = os.environ.get("TL_SITES")
        if pattern:
            sites = [s for s in sites if re.search(pattern, str(s))]
        wrong, reached, failed = [], 0, 0
        chosen = [s for n, s in enumerate(sites) if n % EVERY == 0 or FOUND.search(str(s))]
        for site in chosen:
            for how in site.faults()[:1] if EVERY > 1 else site.faults():
                try:
                    done = self.one(tool, site, how)
                except (AssertionError, subprocess.TimeoutExpired) as e:
                    wrong.append("%s, %s: %s" % (site, how, str(e)[:300]))
                    self.work_anew()
                    continue
                reached += tool.fired("teelaunch") > 0
                failed += done.returncode == 1
                wrong += ["%s, %s: %s\n%s" % (site, how, w, done.stderr[-300:]) for w in self.faults_of(done)]
        print("    %d sites, %d faults, %d of them ended it" % (len(chosen), reached, failed), flush=True)
        self.assertEqual(wrong, [], "\n".join(wrong))
        self.assertGreater(reached, 0, "nothing failed")
        if not pattern:
            self.assertGreater(failed, 0, "nothing that failed was told")
        left = subprocess.run(["pgrep", "-f", self.bin], capture_output=True, text=True, check=False).stdout.split()
        self.assertEqual(left, [], "processes go on")

    def work_anew(self):
        """What is left by one run is no fault of the next."""
        subprocess.run(["find", self.work.name, "-mindepth", "1", "-delete"], check=True)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[1:], verbosity=2)
