#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Others misbehave: metadata server, registry, verifier, TPM. Each time one clear line with a code, the
exit code of its class, and nothing left behind."""
import hashlib
import os
import signal

import launch_case
import parts
import token_check
from valve import Valve

RETRY = 3  # with restart policy OnFailure


class Faults(launch_case.LaunchCase):
    def setUp(self):
        super().setUp()
        self.attributes = self.world.attributes(restart_policy="OnFailure", cmd='["exit=0"]')

    def end(self, what, launch, exit_code, result):
        report = self.assert_end(launch, exit_code, result)
        self.note("%-44s -> %d %-7s %s %.0f ms: %s", what, exit_code, result, report.get("code", ""),
                  launch.took_s * 1000, report.get("message", "")[:120])
        return report

    # --- metadata server

    def metadata(self, what, exit_code, result, *rules):
        self.world.metadata.behave(*rules)
        return self.end("metadata: " + what, self.world.launch(self.attributes), exit_code, result)

    def test_attributes_are_not_found(self):
        self.metadata("404", 1, "denied", {"path": "instance/attributes/", "status": 404})

    def test_attributes_come_after_two_failures(self):
        self.metadata("500 twice, then well", 0, "success",
                      {"path": "instance/attributes/", "status": 500, "to": 2})

    def test_attributes_never_come(self):
        self.metadata("500 for ever", 1, "retry", {"path": "instance/attributes/", "status": 503})

    def test_the_flavor_is_wrong_or_missing(self):
        self.metadata("wrong flavor", 1, "fatal", {"path": "", "flavor": "Other"})
        self.metadata("no flavor", 1, "fatal", {"path": "", "flavor": None})

    def test_attributes_are_not_json(self):
        self.metadata("not JSON", 1, "denied", {"path": "instance/attributes/", "body": "<html>"})
        self.metadata("a number as value", 1, "denied",
                      {"path": "instance/attributes/", "body": '{"tee-image-reference": 1}'})

    def test_attributes_are_read_once(self):
        """What a second reading would say must have no effect."""
        other = dict(self.attributes, **{"tee-cmd": '["exit=9"]'})
        before = len(self.world.metadata.requests())
        self.metadata("other attributes at the second reading", 0, "success",
                      {"path": "instance/attributes/", "from": 2, "attributes": other})
        asked = [r for r in self.world.metadata.requests()[before:] if "attributes" in r]
        self.assertEqual(len(asked), 1)

    def test_the_connection_is_cut(self):
        self.metadata("cut off once", 0, "success", {"path": "instance/attributes/", "cut": True, "to": 1})

    def test_a_slow_answer(self):
        self.metadata("1 s late", 0, "success", {"path": "instance/attributes/", "delay_s": 1})

    def test_no_identity_token(self):
        self.metadata("no service account", 1, "denied",
                      {"path": "instance/service-accounts/default/identity", "status": 404})

    # --- registry

    def test_the_registry_is_not_trusted(self):
        other = self.world.verifier.ca
        self.end("registry: root of another", self.world.launch(
            self.attributes, options=["--registry-roots", "%s=%s" % (self.world.registry.host, other)]),
            1, "denied")

    def test_the_image_is_unknown(self):
        attributes = dict(self.attributes, **{"tee-image-reference": self.world.registry.ref("demo/none:1")})
        self.end("registry: unknown image", self.world.launch(attributes), 1, "denied")

    def test_the_registry_goes_in_the_middle_of_a_layer(self):
        self.world.images.build("test/large:1")
        host, port = self.world.registry.host.split(":")
        count = 2_000_000  # the layer has 25 MB, far more than any socket holds on its way
        with Valve(("127.0.0.1", 0), (host, int(port)),
                   on_bytes=(count, self.world.registry.process.stop)) as valve:
            attributes = dict(self.attributes, **{
                "tee-image-reference": "127.0.0.1:%d/test/large:1" % valve.address[1]})
            launch = self.world.launch(attributes, options=[
                "--registry-roots", "127.0.0.1:%d=%s" % (valve.address[1], self.world.registry.ca)])
            self.world.registry.launch()
            self.assertGreater(valve.bytes_back, count - 1)
        self.end("registry: gone in the middle of a layer", launch, RETRY, "retry")

    # --- verifier

    BUDGET = ("--first-token-budget-ms", "1500")

    def test_the_verifier_is_down(self):
        self.world.verifier.process.stop()
        try:
            launch = self.world.launch(self.attributes, options=self.BUDGET)
        finally:
            self.world.verifier.launch()
        self.end("verifier: down", launch, RETRY, "retry")

    def test_the_verifier_hangs(self):
        os.kill(self.world.verifier.process.pid, signal.SIGSTOP)
        try:
            launch = self.world.launch(self.attributes, options=self.BUDGET)
        finally:
            os.kill(self.world.verifier.process.pid, signal.SIGCONT)
        self.end("verifier: hangs", launch, RETRY, "retry")

    def test_the_verifier_is_another(self):
        self.end("verifier: root of another", self.world.launch(
            self.attributes, options=["--verifier-roots", self.world.registry.ca, *self.BUDGET]),
            1, "denied")

    def test_the_verifier_does_not_trust_this_tpm(self):
        self.world.verifier.process.stop()
        try:
            self.world.verifier.launch(ak_roots="other=" + self.world.registry.ca)
            launch = self.world.launch(self.attributes, options=self.BUDGET)
        finally:
            self.world.verifier.process.stop()
            self.world.verifier.launch()
        self.end("verifier: foreign attestation key", launch, 1, "denied")

    def test_the_firmware_log_was_changed(self):
        self.world.boot("--hardened")
        log = self.world.tpm.file("binary_bios_measurements")
        with open(log, "rb") as f:
            good = f.read()
        # the digest of the kernel's command line, as GRUB measures it: what follows BOOT_IMAGE=
        loader = parts.read(self.world.tpm.file("cmdline")).strip().removeprefix("BOOT_IMAGE=")
        at = good.index(hashlib.sha256(loader.encode()).digest())
        bad = self.world.path("bad-log")
        with open(bad, "wb") as f:
            f.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
        launch = self.world.launch(self.attributes, options=["--firmware-log", bad, *self.BUDGET])
        self.end("verifier: flipped bit in the firmware's log", launch, 1, "denied")

    def test_production_is_claimed_on_a_debug_machine(self):
        """The command line that is shown says hardened, the one that was measured says debug."""
        self.world.boot("--debug")
        forged = self.world.path("forged-cmdline")
        parts.write(forged, parts.read(self.world.tpm.file("cmdline")).replace("=false", "=true"))
        launch = self.world.launch(self.attributes, hardened=False,
                                   options=["--kernel-cmdline", forged, *self.BUDGET])
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        claims = token_check.check(launch.token, self.world.verifier.get("/.well-known/jwks.json"))
        self.assertEqual(claims["dbgstat"], "enabled")
        self.note("forged command line: the token still says dbgstat 'enabled'")

    # --- TPM

    def test_the_tpm_is_gone(self):
        self.world.boot("--hardened")
        self.world.tpm.stop()
        try:
            launch = self.world.launch(self.attributes)
        finally:
            self.world.tpm.reset("--hardened")
            self.world.is_fresh_boot = False
        self.assertIn(launch.report["result"], ("retry", "fatal"))
        self.end("TPM: gone", launch, {"retry": RETRY, "fatal": 1}[launch.report["result"]],
                 launch.report["result"])

    def test_the_register_is_used_already(self):
        """Somebody has extended PCR 13 before the launch: the launcher must not pass over it."""
        self.world.boot("--hardened")
        parts.run("tpm2_pcrextend", "13:sha256=" + "11" * 32,
                  env=parts.clean_env(TPM2TOOLS_TCTI=self.world.tpm.tcti))
        launch = self.world.launch(self.attributes, options=self.BUDGET)
        self.assertNotEqual(launch.exit_code, 0, launch.stderr)
        self.end("TPM: PCR 13 was extended before", launch, launch.exit_code, launch.report["result"])
        self.assertIsNone(launch.token)


if __name__ == "__main__":
    launch_case.main()
