#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Launches in a real VM: how each way to end becomes the VM's end. The image is the production one with
two helpers laid over it (agent.c); it is booted once, saved just before the launcher starts, and goes on
from there once for each scenario. The debug image boots for itself."""
import json
import os
import re
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import measured  # noqa: E402
import parts  # noqa: E402
from vm_world import VmWorld, build_image  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
AGENT = "usr/lib/teelaunch-test/agent"
HOSTNAME = "localhost"
# From the launcher's start to power-off, emulated.
OFF_WITHIN_S = 60


def lay_helpers(tree):
    program = os.path.join(tree, AGENT)
    os.makedirs(os.path.dirname(program))
    parts.run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-o",
              program, os.path.join(HERE, "agent.c"))
    units = os.path.join(tree, "etc/systemd/system")
    wants = os.path.join(units, "multi-user.target.wants")
    os.makedirs(wants)
    parts.write(os.path.join(units, "teelaunchd.service.d/test.conf"),
                "[Service]\nExecStartPre=+/%s pause\n" % AGENT)
    parts.write(os.path.join(units, "test-killer.service"),
                "[Unit]\nDescription=Kill the launcher when a workload asks for it\n"
                "[Service]\nExecStart=/%s killer\n" % AGENT)
    os.symlink("../test-killer.service", os.path.join(wants, "test-killer.service"))


def seconds_off(vm):
    """From the launcher's first line to the end of the VM, in the last boot."""
    boot = vm.document["boots"][-1]
    return (boot["ran_ms"] - next(m["at_ms"] for m in boot["timeline"] if m["name"] == "launcher")) / 1000


class Case(unittest.TestCase):
    def launched(self, vm, end, exit_code, action, result):
        """The VM has ended like this, and the report says so; the report."""
        report = vm.report
        self.assertIsNotNone(report, vm.progress[-3000:])
        self.assertEqual((report["result"], report["exit_code"], report["action"], vm.document["end"]),
                         (result, exit_code, action, end), vm.progress[-3000:])
        return report


class Resumed(Case):
    @classmethod
    def setUpClass(cls):
        disk, measurements = build_image("production", extra=lay_helpers, label="production-test")
        cls.world = VmWorld(disk, measurements, images=("demo/hello:1", "demo/strict:1")).start()
        cls.addClassCleanup(cls.world.stop)
        cls.saved = cls.world.save("test: paused")

    def launch(self, *options, image="demo/hello:1", timeout_s=300, **keys):
        keys.setdefault("container_log_redirect", "true")
        self.attributes = self.world.attributes(image, **keys)
        return self.world.resume(self.saved, self.attributes, *options, timeout_s=timeout_s).start()


class Production(Resumed):
    def test_a_workload_that_succeeds(self):
        vm = self.launch(cmd='["claims", "keys", "exit=0"]').wait()
        report = self.launched(vm, "poweroff", 0, "stop", "success")
        self.assertEqual(vm.exit_code, 0)
        self.assertIn("hello: hello, world", vm.progress)
        self.assertIn("event=firewall.open count=0", vm.progress)
        image = self.world.images.inspect("demo/hello:1")
        self.assertEqual(report["measured"]["pcr13"],
                         measured.register(measured.events(self.attributes, image, HOSTNAME)))
        line = next(line for line in vm.progress.splitlines() if "hello: claims " in line)
        claims = json.loads(line.split("hello: claims ")[1])
        with open(self.world.measurements, encoding="utf-8") as f:
            expected = json.load(f)
        machine = claims["submods"]["teelaunch_image"]
        self.assertEqual((machine["flavour"], machine["root_hash"]), ("production", expected["roothash"]))
        self.assertEqual(claims["dbgstat"], "disabled-since-boot")
        self.assertEqual(claims["submods"]["container"]["image_digest"], image[0])
        self.assertEqual((report["root"], report["disk"]["mode"]), ("verity", "protected"))
        record = claims["submods"]["launch_record"]
        self.assertIs(record["known"], True)
        self.conditions_name_claims_that_are_there(claims)
        del record["known"]
        self.assertEqual(report["measured"]["pcr15"], measured.record_register(record))
        self.assertEqual(record["disk"], {**measured.PROTECTED_DISK, "tags": "memory"})
        self.assertEqual((record["root"], record["hardened"]), ("verity", True))
        self.assertEqual(record["operator"], measured.operator(self.attributes))
        self.no_key_is_within_reach(vm)

    def conditions_name_claims_that_are_there(self, claims):
        """What docs/data-owners.md demands of tokens: a misspelt claim would refuse every one of them."""
        with open(os.path.join(HERE, "../../docs/data-owners.md"), encoding="utf-8") as f:
            paths = set(re.findall(r"\bassertion\.([\w.]+)", f.read()))
        # This image isn't signed: then the claim is absent.
        paths = {p for p in paths if not p.startswith("submods.container.image_signatures")}
        self.assertGreater(len(paths), 12)
        for path in paths:
            value = claims
            for name in path.split("."):
                self.assertIn(name, value, path)
                value = value[name]

    def no_key_is_within_reach(self, vm):
        """S27: what the workload itself finds in the kernel's keyrings."""
        said = re.findall(r"hello: keys (.*?)\s*$", vm.progress, re.M)
        searched = [line for line in said if "teelaunch:volume" in line]
        self.assertEqual(len(searched), 12, said)
        for line in searched:
            self.assertRegex(line, r"(not permitted|not available|Permission denied|Invalid argument)$")
        own = [line for line in said if line.startswith("ring -2 user hello:probe")]
        self.assertEqual(len(own), 1, said)
        # Either it can't look at all, or it finds what is there, its own.
        self.assertTrue("not permitted" in own[0] or own[0].endswith("found"), said)
        self.assertFalse([line for line in said if line.startswith("/proc/keys") and "logon" in line], said)
        self.assertTrue([line for line in said if line.startswith("/proc/keys: ") and "lines" in line], said)

    def test_a_workload_that_fails_and_is_not_to_be_restarted(self):
        vm = self.launch(cmd='["exit=1"]', restart_policy="Never").wait()
        report = self.launched(vm, "poweroff", 1, "stop", "workload")
        self.assertEqual(report["workload"]["exit_status"], 1)
        self.assertEqual(vm.exit_code, 3)

    def test_a_workload_that_fails_and_is_to_be_restarted(self):
        vm = self.launch("--follow-restarts", "1", cmd='["exit=1"]', restart_policy="OnFailure").wait()
        self.launched(vm, "reset", 3, "restart", "workload")
        self.assertEqual([b["end"] for b in vm.document["boots"]], ["reset", "reset"])
        self.assertEqual(vm.progress.count("hello: hello, world"), 2, "the second boot runs it again")

    def test_a_launch_that_the_policy_denies(self):
        mark = self.world.registry.mark()
        vm = self.launch(image="demo/strict:1", cmd='["/bin/sh"]', env_X="canary-7f3a").wait()
        self.launched(vm, "poweroff", 1, "stop", "denied")
        self.assertEqual(vm.exit_code, 2)
        for key in ("tee-cmd", "tee-env-X", "tee-container-log-redirect"):
            self.assertIn(key, vm.progress)
        self.assertNotIn("canary-7f3a", vm.progress)
        self.assertLess(seconds_off(vm), OFF_WITHIN_S)
        layers = {layer["digest"] for layer in self.world.images.inspect("demo/strict:1")[1]["layers"]}
        asked = {path.rsplit("/", 1)[-1] for _, path, _ in self.world.registry.requests(mark)}
        self.assertFalse(asked & layers)

    def test_a_launcher_that_is_killed(self):
        vm = self.launch(cmd='["sleep=200", "kill-launcher"]', restart_policy="Always").wait()
        self.assertIn("test: killing the launcher", vm.progress)
        self.assertEqual((vm.report["result"], vm.report["action"], vm.document["end"], vm.exit_code),
                         ("fatal", "stop", "poweroff", 3), "its exit unit reports, and ends the machine")
        self.assertIn("event=exit.workload_gone", vm.progress)
        self.assertLess(seconds_off(vm), OFF_WITHIN_S)

    def test_the_power_button(self):
        vm = self.launch(cmd='["trap", "sleep=200"]', restart_policy="Always")
        vm.wait_for("event=workload.started")
        time.sleep(1)
        vm.press_power_button()
        vm.wait()
        report = vm.report
        self.assertIn("hello: SIGTERM came", vm.progress, "the workload's last words are drained")
        self.assertEqual((vm.document["end"], report["action"], report["decided_by"]),
                         ("poweroff", "stop", "operator"))


class Watchdog(Resumed):
    def test_a_launcher_that_gives_no_sign_of_life(self):
        """It is stopped, while its workload goes on: systemd misses it after WatchdogSec=."""
        vm = self.launch(cmd='["sleep=400", "stop-launcher"]', restart_policy="Always", timeout_s=400).wait()
        said = vm.progress.index("test: stopping the launcher")
        self.assertIn("event=exit end=watchdog", vm.progress[said:])
        self.assertEqual((vm.report["result"], vm.report["action"], vm.document["end"], vm.exit_code),
                         ("fatal", "stop", "poweroff", 3))


# A firmware that enforces Secure Boot, with variables in which one key of ours is all that is enrolled
# (PK, KEK and db): the one that Debian's ovmf package has for tests, with its private half.
SECURE_CODE, SECURE_VARS = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"
SIGNER = "/usr/share/ovmf/PkKek-1-snakeoil"


def sign_image(disk, folder):
    """A copy of the disk whose UKI is signed; nothing else of it differs."""
    copy, key = os.path.join(folder, "signed.raw"), os.path.join(folder, "signer.key")
    uki, signed = os.path.join(folder, "uki"), os.path.join(folder, "uki.signed")
    shutil.copyfile(disk, copy)
    table = json.loads(parts.run("sfdisk", "--json", copy))["partitiontable"]["partitions"]
    esp = "%s@@%d" % (copy, table[0]["start"] * 512)
    parts.run("mcopy", "-n", "-i", esp, "::/EFI/BOOT/BOOTX64.EFI", uki)
    parts.run("openssl", "pkey", "-in", SIGNER + ".key", "-passin", "pass:snakeoil", "-out", key)
    parts.run("sbsign", "--key", key, "--cert", SIGNER + ".pem", "--output", signed, uki)
    parts.run("mcopy", "-o", "-i", esp, signed, "::/EFI/BOOT/BOOTX64.EFI")
    return copy


class SecureBoot(Case):
    def test_a_signed_image_under_secure_boot(self):
        """The same image, signed: it launches, and the claims say so; unsigned, it doesn't start."""
        disk, measurements = build_image("production", extra=lay_helpers, label="production-test")
        secure = ("--secure-boot", "--firmware", SECURE_CODE, "--vars", SECURE_VARS)
        with VmWorld(disk, measurements) as world:
            attributes = world.attributes(cmd='["claims", "exit=0"]', container_log_redirect="true")
            vm = world.launch(attributes, *secure, disk=sign_image(disk, world.folder), timeout_s=400)
            self.launched(vm, "poweroff", 0, "stop", "success")
            line = next(line for line in vm.progress.splitlines() if "hello: claims " in line)
            claims = json.loads(line.split("hello: claims ")[1])
            self.assertIs(claims["secboot"], True)
            self.assertEqual(claims["submods"]["teelaunch_image"]["flavour"], "production")
            vm = world.vm(attributes, *secure, timeout_s=90).start().wait()
            self.assertNotEqual(vm.exit_code, 0)
            self.assertNotIn("event=", vm.progress)


class Debug(Case):
    def test_a_debug_vm_is_held(self):
        disk, measurements = build_image("debug")
        with VmWorld(disk, measurements) as world:
            vm = world.vm(world.attributes(cmd='["claims", "exit=1"]', container_log_redirect="true",
                                           restart_policy="OnFailure")).start()
            vm.wait_for("== report:")
            time.sleep(10)
            self.assertIsNone(vm.child.poll(), "it ended:\n" + vm.progress[-2000:])
            vm.press_power_button()
            time.sleep(1)
            vm.press_power_button()  # nobody listens to the first: the second is the plug
            vm.wait()
            self.launched(vm, vm.document["end"], 4, "hold", "workload")
            self.assertIn(vm.document["end"], ("interrupted", "poweroff"))
            self.assertIn('"dbgstat":"enabled"', vm.progress.replace(" ", ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
