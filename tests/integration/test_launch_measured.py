#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What is measured is what runs: PCR 13 is recomputed by hashlib from metadata and image; arguments and
environment of the token are compared with what the workload itself saw."""
import json
import re

import launch_case
import measured
import token_check

BANKS = ("sha1", "sha256", "sha384")


class Measured(launch_case.LaunchCase):
    images = launch_case.LaunchCase.images + ("test/wide:1",)

    def launch(self, **keys):
        self.attributes = self.world.attributes(container_log_redirect="true", **keys)
        self.image = self.world.images.inspect("demo/hello:1")
        launch = self.world.launch(self.attributes)
        self.assert_end(launch, 0, "success")
        return launch

    def assert_register(self, launch):
        events = measured.events(self.attributes, self.image)
        for bank in BANKS:
            self.assertEqual(self.world.tpm.pcr(13, bank), measured.register(events, bank), bank)
        self.assertEqual(launch.report["measured"]["pcr13"], measured.register(events))
        self.assertEqual(launch.report["measured"]["event_count"], len(events))
        return events

    def assert_record(self, launch, **facts):
        """PCR 15 in all banks, the report and the claim, against what python makes of the same inputs."""
        record = measured.record(self.attributes, launch.command, self.world.metadata.host, nofile=measured.nofile(),
                                 **facts)
        for bank in BANKS:
            self.assertEqual(self.world.tpm.pcr(15, bank), measured.record_register(record, bank), bank)
        self.assertEqual(launch.report["measured"]["pcr15"], measured.record_register(record))
        if launch.token:
            claim = self.claims(launch)["submods"]["launch_record"]
            self.assertEqual(claim, {"known": True, **record})
        return record

    def claims(self, launch):
        return token_check.check(launch.token, self.world.verifier.get("/.well-known/jwks.json"))

    def test_pcr_13_is_what_hashlib_computes(self):
        for keys in ({}, {"cmd": '["exit=0"]'}, {"env_HELLO_NAME": "x=y z", "env_HELLO_EXIT": ""},
                     {"cmd": '["", "ä", "exit=0"]', "env_HELLO_EXIT": "0", "env_HELLO_NAME": "b"},
                     {"restart_policy": "OnFailure"}):
            events = self.assert_register(self.launch(**keys))
            self.note("PCR 13 of %2d events in %s: %s", len(events), "+".join(BANKS), keys)

    def test_pcr_15_is_what_hashlib_computes(self):
        cases = (
            ({"dev_shm_size_kb": "1024", "monitoring_enable": "memoryonly", "disable_gca_refresh": "true"}, {}),
            ({"added_capabilities": '["CAP_NET_ADMIN", "CAP_NET_RAW"]',
              "mount": "type=tmpfs,source=tmpfs,destination=/scratch,size=65536;"
                       "type=tmpfs,source=tmpfs,destination=/data"}, {}),
            ({}, {"options": ["--token-rate", "7", "--stop-grace-ms", "0", "--log-level", "debug",
                              "--verifier-api", "verifyAttestation"]}),
            ({"monitoring_enable": "all"}, {}),
        )
        seen = set()
        for keys, options in cases:
            self.attributes = self.world.attributes("test/wide:1", container_log_redirect="true", **keys)
            launch = self.world.launch(self.attributes, **options)
            self.assert_end(launch, 0, "success")
            self.assert_record(launch)
            seen.add(self.world.tpm.pcr(15))
            self.note("PCR 15 in %s: %s %s", "+".join(BANKS), keys, options)
        self.assertEqual(len(seen), len(cases))

    def test_the_order_of_the_metadata_changes_nothing(self):
        names = {"env_HELLO_NAME": "1", "env_HELLO_EXIT": "0", "env_HELLO_SECRET": "2"}
        self.launch(**names)
        first = self.world.tpm.pcr(13)
        self.launch(**dict(reversed(names.items())))
        self.assertEqual(self.world.tpm.pcr(13), first)
        self.note("the same launch twice, variables in another order: the same PCR 13")

    def test_the_token_names_what_the_workload_saw(self):
        launch = self.launch(cmd='["a b", "show=HELLO_NAME", "show=HELLO_EXIT", "show=PATH", "show=HOSTNAME"]',
                             env_HELLO_NAME="reader", env_HELLO_EXIT="0")
        container = self.claims(launch)["submods"]["container"]
        text = launch.console
        seen_args = re.findall(r"'([^']*)'", re.search("my arguments:(.*)", text).group(1))
        seen_names = re.search("my environment has: (.*)", text).group(1).split()
        seen = dict(re.findall(r"^hello: (HELLO_NAME|HELLO_EXIT|PATH|HOSTNAME)=(.*)$", text, re.M))
        self.assertEqual(container["args"], seen_args)
        # runc itself adds HOME when nobody has set it; no launcher can measure that
        self.assertEqual(sorted(container["env"]), sorted(n for n in seen_names if n != "HOME"))
        for name, value in seen.items():
            self.assertEqual(container["env"][name], value)
        self.assertEqual(container["cmd_override"], json.loads(self.attributes["tee-cmd"]))
        self.assertEqual(container["env_override"], dict(measured.overrides(self.attributes)))
        self.note("%d arguments and %d variables: token and workload agree", len(seen_args), len(seen_names))

    def test_the_token_names_the_image_and_the_machine(self):
        launch = self.launch(restart_policy="OnFailure")
        claims = self.claims(launch)
        container = claims["submods"]["container"]
        self.assertEqual(container["image_reference"], self.attributes["tee-image-reference"])
        self.assertEqual((container["image_digest"], container["image_id"]), (self.image[0], self.image[2]))
        self.assertEqual(container["restart_policy"], "OnFailure")
        self.assertEqual(claims["dbgstat"], "disabled-since-boot")
        self.assertEqual(claims["iss"], self.world.verifier.url)
        self.assertEqual(claims["submods"]["gce"]["instance_name"], "demo-vm")
        self.note("image, restart policy, machine and issuer stand in the token")

    def test_a_debug_machine_says_so(self):
        self.attributes = self.world.attributes(cmd='["exit=0"]')
        launch = self.world.launch(self.attributes, hardened=False)
        self.assert_end(launch, 4, "success")
        self.assertEqual(self.claims(launch)["dbgstat"], "enabled")
        self.assert_record(launch, hardened=False)
        self.note("debug: dbgstat is 'enabled'")


if __name__ == "__main__":
    launch_case.main()
