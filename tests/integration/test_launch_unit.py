#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the image decides: options of the unit and the kernel's command line. A mistake there ends the
launch with one clear line, before anything of the operator's is looked at."""
import os
import re
import signal
import subprocess

import launch_case
import parts


class Unit(launch_case.LaunchCase):
    images = launch_case.LaunchCase.images + ("test/mislabelled:1",)

    def launch(self, options, hardened=True):
        attributes = self.world.attributes(cmd='["exit=0"]', restart_policy="Always")
        return self.world.launch(attributes, options=options, hardened=hardened)

    def test_a_protected_disk_is_never_pretended(self):
        """TL_E_DISK_UNPROTECTED"""
        self.assert_end(self.launch(["--disk", "protected"]), 1, "fatal", "TL0103")

    def test_a_root_that_is_not_the_measured_one_is_refused(self):
        """TL_E_ROOT: this machine's root is no dm-verity device, and there is no way around but the option."""
        cmdline = self.world.path("cmdline-root")
        for text, said in (("", "no roothash="), (" roothash=" + "0" * 64, "device-mapper")):
            parts.write(cmdline, "confidential-space.hardened=true%s\n" % text)
            launch = self.launch(["--kernel-cmdline", cmdline, "--root", "verity"])
            report = self.assert_end(launch, 1, "fatal", "TL0106")
            self.assertIn(said, report["message"])
            self.assertEqual(report["root"], "verity")
        self.assertIn("event=root.any", self.launch([]).stderr)

    def test_a_command_line_that_may_have_been_cut_is_refused(self):
        """TL_E_CMDLINE_LENGTH"""
        cmdline = self.world.path("cmdline-long")
        parts.write(cmdline, "confidential-space.hardened=true " + "x" * 2014 + "\n")
        self.assert_end(self.launch(["--kernel-cmdline", cmdline]), 1, "fatal", "TL0105")

    def test_a_link_in_place_of_the_shared_folder_is_refused(self):
        """TL_E_FOLDER"""
        link = self.world.path("link")
        os.symlink("/etc", link)
        self.assert_end(self.launch(["--shared-dir", link]), 1, "fatal", "TL0006")
        self.assertFalse(os.path.exists("/etc/token.status"))

    def test_a_command_line_that_contradicts_itself_is_refused(self):
        """TL_E_CMDLINE_CONTRADICTS"""
        cmdline = self.world.path("cmdline")
        parts.write(cmdline, "confidential-space.hardened=true confidential-space.hardened=false\n")
        self.assert_end(self.launch(["--kernel-cmdline", cmdline]), 1, "fatal", "TL0101")

    def test_a_console_that_is_not_there_stops_nothing(self):
        launch = self.launch(["--console", self.world.path("none", "console")])
        self.assertEqual(launch.exit_code, 3)  # it succeeded, and Always restarts
        self.assertIn("TEELAUNCH-REPORT", launch.stderr)
        self.assert_clean(launch)

    def test_a_killed_launch_is_gone_even_if_the_next_one_is_denied(self):
        folder = self.world.path("shared-twice")
        os.makedirs(folder)
        killed = self.world.launch_start(self.world.attributes(cmd='["sleep=60"]'),
                                         options=["--shared-dir", folder]).wait_for("workload.started")
        killed.send(signal.SIGKILL)
        killed.wait()
        self.assertTrue(os.listdir(folder))
        self.assertTrue(killed.leftovers())
        denied = self.world.launch(self.world.attributes("demo/strict:1", cmd='["x"]'),
                                   options=["--shared-dir", folder])
        self.assert_end(denied, 1, "denied")
        self.assertEqual(os.listdir(folder), [])

    def test_what_lies_in_the_shared_folder_is_not_shown_to_the_next_workload(self):
        folder = self.world.path("shared-before")
        os.makedirs(folder)
        parts.write(os.path.join(folder, "attestation_verifier_claims_token"), "an older token")
        parts.write(os.path.join(folder, "other"), "something else")
        launch = self.world.launch(self.world.attributes(
            cmd='["exit=0"]', container_log_redirect="true", disable_gca_refresh="true"),
            options=["--shared-dir", folder])
        self.assert_end(launch, 0, "success")
        self.assertNotIn("token of", launch.console)
        self.assertEqual(os.listdir(folder), [])

    def test_a_quote_in_foreign_text_does_not_end_its_value(self):
        launch = self.world.launch({"tee-image-reference": "127.0.0.1:1/x:1' code=TL0000 x='"})
        self.assertEqual(launch.exit_code, 1)
        lines = [line for line in launch.console.splitlines() if "TEELAUNCH-REPORT" not in line]
        self.assertTrue([line for line in lines if "\\' code=TL0000" in line])
        self.assertFalse([line for line in lines if re.search(r"[^\\]' code=TL0000", line)])

    def test_credentials_in_the_reference_are_not_shown(self):
        """TL_E_IMAGE_REF"""
        launch = self.world.launch({"tee-image-reference": "joe:hunter2@127.0.0.1:1/x:1"})
        report = self.assert_end(launch, 1, "denied", "TL0308")
        self.assertEqual(report["image"]["reference"], "[REDACTED]@127.0.0.1:1/x:1")
        self.assertNotIn("hunter2", launch.console + launch.stderr)

    def findings(self, launch):
        """The codes of the finding lines of the log, in their order."""
        return re.findall(r"event=finding .*?code=(TL\d{4})", launch.stderr)

    def test_one_refused_launch_tells_every_reason_that_needs_no_image(self):
        """TL_E_RESTART_POLICY TL_E_IMAGE_REF TL_E_ENV_NAME TL_E_ENV_HOSTNAME TL_E_FEATURE"""
        attributes = self.world.attributes(
            restart_policy="x", env_1X="1", env_HOSTNAME="h", install_gpu_driver="true",
            added_capabilities='["CAP_NO"]')
        attributes["tee-image-reference"] = "nginx"
        launch = self.world.launch(attributes)
        self.assert_end(launch, 1, "denied", "TL0309")
        reasons = self.findings(launch)
        self.assertEqual(len(reasons), len(set(reasons)), launch.stderr)
        self.assertEqual(reasons[:2], ["TL0309", "TL0308"])
        self.assertEqual(len(reasons), 6, launch.stderr)

    def test_a_reference_that_cannot_be_pulled_is_a_finding(self):
        """TL_E_IMAGE_REF"""
        launch = self.world.launch({"tee-image-reference": "nginx", "tee-zoo": "1"})
        self.assert_end(launch, 1, "denied", "TL0308")
        self.assertEqual(len(self.findings(launch)), 2, launch.stderr)

    def test_bad_labels_do_not_hide_what_needs_no_labels(self):
        """TL_E_LABEL_VALUE TL_E_ENV_NAME TL_E_FEATURE. The label that can't be read leaves the others in force,
        so the variable is also one that the image doesn't allow: TL0406."""
        launch = self.world.launch(self.world.attributes("test/mislabelled:1", env_1X="1",
                                                         install_gpu_driver="true"))
        self.assert_end(launch, 1, "denied")
        self.assertEqual(self.findings(launch), ["TL0401", "TL0324", "TL0406", "TL0322"], launch.stderr)

    def test_a_warning_is_logged_once(self):
        attributes = self.world.attributes(cmd='["exit=0"]', restart_polcy="Always")
        launch = self.world.launch(attributes)
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        self.assertEqual(len(self.findings(launch)), 1, launch.stderr)

    def test_a_wrong_command_line_says_what_is_right(self):
        program = os.path.join(self.world.programs, "teelaunchd")
        for words, said in ((["run", "--disk", "maybe"], "protected|unprotected"),
                            (["run", "--dsik", "protected"], "--dsik"),
                            (["run", "--tcti"], "CONF"),
                            (["run", "--verifier", "http://x"], "https"),
                            (["run", "--verifier-roots", "/nonexistent"], "/nonexistent"),
                            (["run", "--drain-ms", "-1"], "-1"),
                            (["walk"], "not walk"), ([], "Usage")):
            done = subprocess.run([program, *words], stdin=subprocess.DEVNULL, timeout=10, check=False,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 2, words)
            self.assertIn(said, done.stderr)
            self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    launch_case.main()
