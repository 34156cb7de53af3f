#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunch measure --attributes`: what it predicts is what hashlib computes; what can't be known is null and
named; a launch that would be refused is refused by the same codes. Against real launches:
test_launch_predicted.py."""
import base64
import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))
TEELAUNCH = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch")
os.environ["TEELAUNCH"] = TEELAUNCH

import explain  # noqa: E402  (it needs the program's name)
import measured  # noqa: E402
import verifier_evidence as evidence  # noqa: E402

OPEN = {explain.LABEL + "allow_env_override": "A,B", explain.LABEL + "allow_cmd_override": "true"}
PROCESS = {"Entrypoint": ["/app"], "Cmd": ["a", "b"], "Env": ["PATH=/bin", "A=image", "HOSTNAME=odd"]}
VM = ("--hostname", "vm-1", "--disk-tags", "memory")
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
UNIT = os.path.join(TOP, "systemd", "teelaunchd.service")
UNIT_DEBUG = os.path.join(TOP, "image", "root-debug", "usr", "lib", "systemd", "system", "teelaunchd.service.d",
                          "debug.conf")


class Predict(explain.LayoutWriter):
    def entry(self, labels=None, config=None, **more):
        return self.image(OPEN if labels is None else labels, config=PROCESS if config is None else config, **more)

    def run_measure(self, attributes, image, *options, status=0):
        file = self.file("attributes", attributes)
        done = subprocess.run([TEELAUNCH, "measure", "--attributes", file, "--image", image, *options],
                              capture_output=True, timeout=30, check=False)
        self.assertEqual(done.returncode, status, done.stderr.decode() + done.stdout.decode())
        return done

    def predict(self, attributes, image, *options, status=0):
        done = self.run_measure(attributes, image, "--json", *options, status=status)
        self.assertEqual(done.stderr, b"")
        return json.loads(done.stdout)

    def blob_json(self, digest):
        with open(os.path.join(self.folder.name, "layout", "blobs", digest.replace(":", "/")), "rb") as f:
            return json.load(f)

    def inspect(self, entry):
        """As images.Images.inspect(): (digest, manifest, config digest, config)."""
        manifest = self.blob_json(entry["digest"])
        return entry["digest"], manifest, manifest["config"]["digest"], self.blob_json(manifest["config"]["digest"])

    def assert_predicted(self, got, events):
        self.assertEqual([(e["type"], base64.b64decode(e["content_b64"])) for e in got["events"]], events)
        for bank in ("sha1", "sha256", "sha384"):
            self.assertEqual(got["pcr13"][bank], measured.register(events, bank))
        self.assertEqual(got["rtmr3"], measured.register(events, "sha384"))
        self.assertEqual(got["cel_hex"], evidence.launch_log(events, ("sha1", "sha256", "sha384")).hex())
        self.assertEqual(got["cel_rtmr_hex"], evidence.launch_log(events, ("sha384",), 4, 0x6C).hex())

    def test_an_image_and_overrides(self):
        entry = self.entry()
        image = self.layout(entry)
        for keys in ({}, {"tee-cmd": '["x", "y z"]'}, {"tee-env-B": "2", "tee-env-A": ""},
                     {"tee-restart-policy": "Always"}):
            attributes = {"tee-image-reference": explain.IMAGE, **keys}
            got = self.predict(attributes, image, *VM)
            events = measured.events(attributes, self.inspect(entry), "vm-1")
            self.assert_predicted(got, events)
            self.assertEqual((got["verdict"], got["findings"], got["holes"]), ("allow", [], []))
            container = got["claims"]["submods"]["container"]
            argv, env = measured.process(attributes, self.inspect(entry)[3], "vm-1")
            self.assertEqual(container["args"], argv)
            self.assertEqual(container["env"], dict(e.split("=", 1) for e in env))
            self.assertEqual(container["image_digest"], entry["digest"])

    def test_every_vector_that_a_launch_accepts(self):
        """Attributes of the vectors; what they ask for is the vectors' word, not explain's."""
        labels = {explain.LABEL + k: v for k, v in {
            "allow_env_override": "foo,A,B,a,b,x,HOSTNAME", "allow_cmd_override": "true", "log_redirect": "always",
            "hardened_monitoring": "all", "debug_monitoring": "all", "allow_mount_destinations": "/",
            "allow_cgroups": "true", "allow_capabilities": "true"}.items()}
        entry = self.entry(labels)
        image, seen = self.layout(entry), {"predicted": 0, "refused": 0}
        _, _, config_digest, config = self.inspect(entry)
        for case in explain.vectors("spec-parse"):
            expect = explain.FIXED.get(("spec-parse", case["id"]), case["expect"])
            text = case["attributes"] if "attributes" in case else base64.b64decode(case["attributes_b64"])
            file = self.file("attributes", text)
            done = subprocess.run([TEELAUNCH, "measure", "--attributes", file, "--image", image, "--json", *VM],
                                  capture_output=True, timeout=30, check=False)
            with self.subTest(case["id"]):
                got = json.loads(done.stdout)
                self.assertEqual(done.returncode, explain.STATUS[got["verdict"]], done.stderr)
                if not expect["ok"]:
                    self.assertEqual(got["verdict"], "invalid")
                if "events" not in got:
                    self.assertNotEqual(got["verdict"], "allow")
                    seen["refused"] += 1
                    continue
                spec = expect.get("spec", case["expect"].get("spec"))
                attributes = {"tee-image-reference": spec["image_ref"], "tee-restart-policy": spec["restart_policy"],
                              "tee-cmd": json.dumps(spec["cmd"]), "tee-monitoring-enable": spec["monitoring"],
                              **{"tee-env-" + e["name"]: e["value"] for e in spec["envs"]}}
                self.assert_predicted(got, measured.events(
                    attributes, (entry["digest"], None, config_digest, config), "vm-1"))
                seen["predicted"] += 1
        self.assertGreater(seen["predicted"], 40)
        self.assertGreater(seen["refused"], 40)

    def test_without_the_host_name_nothing_is_made_up(self):
        entry = self.entry()
        got = self.predict({"tee-image-reference": explain.IMAGE}, self.layout(entry), "--disk-tags", "disk")
        self.assertEqual(got["holes"], ["HOSTNAME is only known in the VM; pass --hostname"])
        for name in ("cel_hex", "cel_rtmr_hex", "pcr13", "rtmr3"):
            self.assertIsNone(got[name])
        self.assertEqual([e["name"] for e in got["events"] if e["content_b64"] is None], ["env"])
        self.assertNotIn("HOSTNAME", got["claims"]["submods"]["container"]["env"])
        self.assertEqual(len(got["events"]), len(self.predict({"tee-image-reference": explain.IMAGE},
                                                              self.layout(entry), *VM)["events"]))
        self.assertIn("restart_policy == 'Never'", got["condition"])

    def test_a_denied_launch_is_denied_and_predicted_all_the_same(self):
        image = self.layout(self.entry({}))
        attributes = {"tee-image-reference": explain.IMAGE, "tee-cmd": '["x"]', "tee-env-A": "1"}
        got = self.predict(attributes, image, *VM, status=2)
        same = self.explain(attributes, "--image", image)
        self.assertEqual(got["verdict"], "deny")
        self.assertEqual(got["findings"], same["findings"])
        self.assertEqual(got["claims"]["submods"]["container"]["cmd_override"], ["x"])
        self.assertTrue(got["pcr13"]["sha256"])

    def test_a_launch_that_ends_before_it_measures(self):
        image = self.layout(self.entry())
        for attributes in ("{", {}, {"tee-image-reference": explain.IMAGE, "tee-cmd": "["}):
            got = self.predict(attributes, image, *VM, status=3)
            self.assertEqual((got["verdict"], "events" in got, "claims" in got), ("invalid", False, False))
            self.assertTrue(got["findings"])
            self.assertEqual(got["holes"], ["this launch ends before it measures anything"])
        # a reference without tag or digest; an operator who would choose the program
        self.assertNotIn("events", self.predict({"tee-image-reference": "r.example/a"}, image, *VM, status=2))
        bare = self.layout(self.entry(config={"Cmd": ["/app"]}))
        got = self.predict({"tee-image-reference": explain.IMAGE, "tee-cmd": '["x"]'}, bare, *VM, status=2)
        self.assertEqual([f["code"] for f in got["findings"]], ["TL0612"])

    def test_claims_that_no_verifier_would_make(self):
        image = self.layout(self.entry(config=dict(PROCESS, Env=["my.var=1"])))
        got = self.predict({"tee-image-reference": explain.IMAGE}, image, *VM, status=2)
        self.assertNotIn("claims", got)
        self.assertIn("no token: ", got["holes"][0])

    def test_a_reference_with_a_digest_must_be_this_image(self):
        arm = self.entry(config={"Entrypoint": ["/arm"]}, platform={"os": "linux", "architecture": "arm64"})
        amd = self.entry(platform={"os": "linux", "architecture": "amd64"})
        index = self.blob(self.index(amd, arm), "application/vnd.oci.image.index.v1+json")
        image = self.layout(index)
        for digest, want, options in ((None, index["digest"], ()), (index["digest"], index["digest"], ()),
                                      (amd["digest"], amd["digest"], ()),
                                      (arm["digest"], arm["digest"], ("--platform", "linux/arm64"))):
            name = "r.example/app" + ("@" + digest if digest else ":1")
            got = self.predict({"tee-image-reference": name}, image, *VM, *options)
            self.assertEqual(got["claims"]["submods"]["container"]["image_digest"], want)
        for digest in (arm["digest"], "sha256:" + "1" * 64):
            done = self.run_measure({"tee-image-reference": "r.example/app@" + digest}, image, *VM, status=1)
            self.assertIn(b"names the digest", done.stderr)
            self.assertEqual(done.stdout, b"")

    def test_the_launch_record_of_our_unit(self):
        """What is predicted without --unit-options is what the image launches with."""
        image = self.layout(self.entry())
        for more in ({}, {"tee-container-log-redirect": "true", "tee-dev-shm-size-kb": "7"}):
            attributes = {"tee-image-reference": explain.IMAGE, **more}
            for options, change, unit in (((), {}, UNIT), (("--debug",), {"hardened": False}, UNIT_DEBUG)):
                with open(unit, encoding="utf-8") as f:
                    command = [line for line in f if line.startswith("ExecStart=/")][0].split()
                # the label's default lets output be redirected on debug machines only
                got = self.predict(attributes, image, *VM, *options, status=2 if more and not options else 0)
                want = measured.record(attributes, command, tags="memory", **change)
                self.assertEqual(got["launch_record"], want)
                for bank in ("sha1", "sha256", "sha384"):
                    self.assertEqual(got["pcr15"][bank], measured.record_register(want, bank))

    def test_what_the_unit_says_is_predicted(self):
        image = self.layout(self.entry())
        pem = self.file("roots.pem", "not read but hashed")
        words = "--root any --disk unprotected --token-rate 7 --firewall off --verifier-roots %s --registry-roots r.example=%s" % (pem, pem)
        attributes = {"tee-image-reference": explain.IMAGE}
        got = self.predict(attributes, image, "--hostname", "h", "--unit-options", words, "--metadata-host", "m.example")
        want = measured.record(attributes, ["run", *words.split()], "m.example")
        self.assertEqual((got["launch_record"], got["holes"]), (want, []))
        self.assertEqual(got["pcr15"]["sha256"], measured.record_register(want))
        for bad in ("--disk", "--disk none", "--no-such 1", "more", "--console '/dev/x y'", "--console %t/x",
                    "--verifier-roots /none"):
            done = self.run_measure(attributes, image, "--unit-options", bad, status=1)
            self.assertEqual(done.stdout, b"")

    def test_without_the_place_of_the_tags_the_register_is_not_made_up(self):
        got = self.predict({"tee-image-reference": explain.IMAGE}, self.layout(self.entry()), "--hostname", "h")
        self.assertIsNone(got["pcr15"])
        self.assertIsNone(got["launch_record"]["disk"]["tags"])
        self.assertIn("--disk-tags", got["holes"][0])
        self.assertTrue(got["pcr13"]["sha256"])

    def test_a_record_that_cannot_be_written_is_a_reason(self):
        attributes = {"tee-image-reference": explain.IMAGE, "tee-dev-shm-size-kb": str((1 << 63) - 1)}
        got = self.predict(attributes, self.layout(self.entry()), *VM, status=2)
        self.assertIn("TL0723", [f["code"] for f in got["findings"]])
        self.assertNotIn("launch_record", got)

    def test_signatures_are_a_hole(self):
        got = self.predict({"tee-image-reference": explain.IMAGE, "tee-signed-image-repos": "r.example/app"},
                           self.layout(self.entry()), *VM)
        self.assertIn("tee-signed-image-repos", got["holes"][0])

    def test_people_see_events_registers_holes_and_the_condition(self):
        image = self.layout(self.entry())
        attributes = {"tee-image-reference": explain.IMAGE, "tee-env-A": "\u001b[31m'"}
        out = self.run_measure(attributes, image).stdout
        for words in (b"HOSTNAME=?", b"not known\n  where the disk's", b"\n  HOSTNAME is only known", b"verdict: allow (hardened machine)",
                      b"&& assertion.submods.container.env_override == {'A': '\\u001b[31m\\''}", b"\\x1b[31m"):
            self.assertIn(words, out)
        self.assertTrue(all(c >= 0x20 or c == 0x0A for c in out))
        out = self.run_measure(attributes, image, *VM, "--debug").stdout
        self.assertIn(b"PCR 13 sha256  " + self.predict(attributes, image, *VM)["pcr13"]["sha256"].encode(), out)
        self.assertIn(b"assertion.dbgstat == 'enabled'", out)

    def test_wrong_use(self):
        image, file = self.layout(self.entry()), self.file("attributes", {"tee-image-reference": explain.IMAGE})
        for options in (("--attributes", file), ("--image", image), ("--attributes", file, "--image", image, "--events", file),
                        ("--decode", file, "--hostname", "x"), ("--attributes", file, "--image", image, "--hostname", ""),
                        ("--attributes", file, "--image", image, "--hostname", "x" * 65), ("--decode", file, "--debug"), ("--decode", file, "--disk-tags", "disk"),
                        ("--attributes", file, "--image", image, "--disk-tags", "tape"),
                        ("--attributes", file, "--image", image + "-none"), ("--attributes", "/none", "--image", image),
                        ("--attributes", file, "--image", image, "--platform", "linux/mips")):
            done = subprocess.run([TEELAUNCH, "measure", *options], capture_output=True, timeout=30, check=False)
            self.assertEqual((done.returncode, done.stdout), (1, b""), options)
            self.assertTrue(done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
