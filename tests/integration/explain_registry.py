#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teelaunch explain --image HOST/PATH:TAG: against docker-registry, and against a registry that
misbehaves on order."""

import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import image_world as w  # noqa: E402
import registry as world_registry  # noqa: E402

PROGRAM = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch")
LABEL = "tee.launch_policy."
OPEN = {LABEL + "allow_cmd_override": "true"}
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}
CANARY = "canary-5d1e-password"


def image_of(labels, **more):
    return w.Image([w.tar_of({"hello": b"one"})], labels=labels, **more)


class Case(unittest.TestCase):
    """One folder, one authority; `host` and `ca` say which registry is asked."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="tl-explain-registry-")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_it(self, name, *options, roots=True, as_json=True, **keys):
        reference = "%s/%s" % (self.host, name)
        attributes = {"tee-image-reference": reference, **{"tee-" + k: v for k, v in keys.items()}}
        path = os.path.join(self.folder.name, "attributes")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(attributes, f)
        command = [PROGRAM, "explain", "--attributes", path, "--image", reference, *options]
        command += ["--registry-roots", "%s=%s" % (self.host, self.ca)] if roots else []
        command += ["--json"] if as_json else []
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False,
                              env={**os.environ, "HOME": self.folder.name})

    def judge(self, name, *options, stderr="", **more):
        done = self.run_it(name, *options, **more)
        self.assertIn(done.returncode, (0, 2, 3), done.stderr)
        self.assertEqual(done.stderr.replace("\n", ""), stderr)
        document = json.loads(done.stdout)
        self.assertEqual({0: "allow", 2: "deny", 3: "invalid"}[done.returncode], document["verdict"])
        return document

    def assert_fails(self, name, code, *words, within_s=20, **more):
        start = time.monotonic()
        done = self.run_it(name, **more)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertIn("teelaunch explain: %s: " % code, done.stderr)
        for word in words:
            self.assertIn(word, done.stderr)
        self.assertLess(time.monotonic() - start, within_s)
        return done.stderr


class Real(Case):
    """Debian's docker-registry, over TLS."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.registry = world_registry.Registry(os.path.join(cls.folder.name, "registry"), True).start()
        cls.host, cls.ca = cls.registry.host, cls.registry.ca
        cls.open = image_of(OPEN)
        for tag, image in (("open", cls.open), ("closed", image_of({}))):
            for blob in image.blobs.values():
                cls.registry.push_blob("app", blob)
            cls.registry.push_manifest("app", tag, image.manifest, w.OCI_MANIFEST)

    @classmethod
    def tearDownClass(cls):
        cls.registry.stop()
        super().tearDownClass()

    def test_the_labels_behind_a_tag_or_a_digest_are_judged(self):
        self.assertEqual(self.judge("app:open", cmd='["x"]')["verdict"], "allow")
        self.assertEqual(self.judge("app@" + self.open.digest, cmd='["x"]')["verdict"], "allow")
        self.assertEqual(self.judge("app:closed@" + self.open.digest, cmd='["x"]')["verdict"], "allow")
        got = self.judge("app:closed", cmd='["x"]')
        self.assertEqual([f["code"] for f in got["findings"]], ["TL0407"])
        self.assertEqual(got["unchecked"], ["mem-available", "capabilities"])

    def test_a_few_kilobytes_are_read_and_no_layer(self):
        mark = self.registry.mark()
        self.judge("app:open")
        self.assertEqual([(m, path, s) for m, path, s in self.registry.requests(mark)], [
            ("GET", "/v2/app/manifests/open", 200),
            ("GET", "/v2/app/blobs/" + self.open.config_digest, 200)])

    def test_what_the_registry_lacks_fails_the_command(self):
        self.assert_fails("app:none", "TL0503", "check repository, tag and digest")
        self.assert_fails("none:1", "TL0503")

    def test_an_unknown_authority_is_not_trusted(self):
        self.assert_fails("app:open", "TL0016", "not trusted", roots=False)

    def test_a_registry_that_is_down_fails_the_command(self):
        self.registry.process.stop()
        try:
            self.assert_fails("app:open", "TL0008")
        finally:
            self.registry.launch()


class Misbehaving(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        authority = w.Authority(os.path.join(cls.folder.name, "ca"))
        cls.registry = w.Registry(*authority.issue("127.0.0.1"))
        cls.host, cls.ca = "127.0.0.1:%d" % cls.registry.port, authority.pem

    @classmethod
    def tearDownClass(cls):
        cls.registry.close()
        super().tearDownClass()

    def setUp(self):
        self.registry.reset()

    def serve(self, image):
        self.registry.put("app", "1", image)

    def hook(self, answer):
        def always(handler):
            answer(handler)
            return True
        self.registry.hooks.append(always)

    def test_the_platform_chooses_from_an_index(self):
        arm, amd = image_of(OPEN, architecture="arm64"), image_of({})
        for image in (arm, amd):
            self.serve(image)
        self.registry.put_index("app", "2", w.index_of((arm, ARM64), (amd, AMD64)))
        self.assertEqual(self.judge("app:2", cmd='["x"]')["verdict"], "deny")
        self.assertEqual(self.judge("app:2", "--platform", "linux/amd64", cmd='["x"]')["verdict"], "deny")
        self.assertEqual(self.judge("app:2", "--platform", "linux/arm64", cmd='["x"]')["verdict"], "allow")

    def test_an_image_for_other_machines_is_denied_with_all_other_reasons(self):
        arm = image_of({}, architecture="arm64")
        self.serve(arm)
        self.registry.put_index("app", "2", w.index_of((arm, ARM64)))
        got = self.judge("app:2", **{"env-HOSTNAME": "x"})
        self.assertEqual([(f["code"], f["source"]) for f in got["findings"]],
                         [("TL0511", "machine"), ("TL0414", "attributes")])
        self.assertIn("linux/arm64", got["findings"][0]["message"])
        self.assertEqual(got["verdict"], "deny")

    def test_a_foreign_platform_without_index_is_noted(self):
        self.serve(image_of(OPEN, architecture="arm64"))
        got = self.judge("app:1", stderr="teelaunch explain: note: the image's configuration names "
                         "another platform: linux/arm64")
        self.assertEqual(got["verdict"], "allow")

    def test_another_image_than_the_metadata_name_is_noted(self):
        self.serve(image_of(OPEN))
        done = self.run_it("app:1", **{"image-reference": "registry.example/app:1"})
        self.assertEqual(done.returncode, 0)
        self.assertIn("isn't the image that tee-image-reference names", done.stderr)

    def test_an_image_that_no_launch_would_take_is_invalid(self):
        good = image_of(OPEN)
        faults = {
            "TL0508": good.seal(schemaVersion=1),
            "TL0512": image_of(OPEN).seal(layers=[]),
            "TL0513": image_of(OPEN, config={**AMD64, "rootfs": {"type": "layers", "diff_ids": []}}),
            "TL0416": image_of(OPEN, config={**AMD64, "config": {"CMD": []}}),
        }
        for code, image in faults.items():
            with self.subTest(code):
                self.serve(image)
                got = self.judge("app:1", **{"restart-policy": "x"})
                self.assertEqual([f["code"] for f in got["findings"]], ["TL0309", code])
                self.assertEqual(got["findings"][1]["source"], "labels")
                self.assertEqual(got["verdict"], "invalid")
                self.assertNotIn("policy", got)

    def test_content_that_is_not_what_was_named_is_not_judged(self):
        image = image_of(OPEN)
        self.serve(image)
        self.registry.blobs[image.config_digest] = image.blobs[image.config_digest].replace(b"true", b"fals")
        self.assert_fails("app:1", "TL0514")

    def test_a_registry_that_wants_a_login_gets_none(self):
        """Not even where another tool has left credentials."""
        os.makedirs(os.path.join(self.folder.name, ".docker"), exist_ok=True)
        with open(os.path.join(self.folder.name, ".docker/config.json"), "w", encoding="utf-8") as f:
            json.dump({"auths": {self.host: {"auth": CANARY}}}, f)
        with open(os.path.join(self.folder.name, ".netrc"), "w", encoding="utf-8") as f:
            f.write("machine 127.0.0.1 login me password %s\n" % CANARY)
        self.hook(lambda h: h.reply(401, headers={"WWW-Authenticate": 'Basic realm="r"'}))
        self.assert_fails("app:1", "TL0502", "asked without credentials")
        self.hook(lambda h: h.reply(403))
        self.assert_fails("app:1", "TL0502")
        for _, _, headers, _ in self.registry.seen():
            self.assertNotIn("authorization", [name.lower() for name in headers])

    def test_an_anonymous_token_is_asked_for_and_used(self):
        self.serve(image_of(OPEN))

        def token_first(handler):
            if handler.path.startswith("/token"):
                handler.reply(200, b'{"token":"anonymous"}')
                return True
            if handler.headers.get("Authorization") == "Bearer anonymous":
                return False
            handler.reply(401, headers={"WWW-Authenticate": 'Bearer realm="https://%s/token",'
                                        'service="s"' % self.host})
            return True
        self.registry.hooks.append(token_first)
        self.assertEqual(self.judge("app:1", cmd='["x"]')["verdict"], "allow")

    def test_a_registry_that_fails_is_asked_three_times(self):
        self.hook(lambda h: h.reply(503))
        self.assert_fails("app:1", "TL0505")
        self.assertEqual(len(self.registry.seen()), 3)

    def test_a_registry_that_hangs_up_does_not_end_the_program_by_a_signal(self):
        self.hook(lambda h: h.hang_up())
        self.assert_fails("app:1", "TL0011")

    def test_a_registry_that_says_nothing_is_given_up(self):
        self.hook(lambda h: time.sleep(40))
        self.assert_fails("app:1", "TL0010", within_s=30)

    def test_a_document_without_end_is_cut(self):
        self.hook(lambda h: h.reply(200, b" " * (5 * 1048 * 1048), {"Content-Type": w.OCI_MANIFEST}))
        got = self.judge("app:1")
        self.assertEqual([f["code"] for f in got["findings"]], ["TL0509"])

    def test_options_that_make_no_sense_are_refused(self):
        self.serve(image_of(OPEN))
        good = "%s=%s" % (self.host, self.ca)
        for options in (["--registry-roots", "no-equals"], ["--registry-roots", "h=/nonexistent"],
                        ["--registry-roots", "=" + self.ca], ["--registry-roots", good],
                        ["--platform", "windows/amd64"], ["--platform", "linux/amd64/v3"],
                        ["--platform", ""]):
            with self.subTest(options):
                done = self.run_it("app:1", *options)
                self.assertEqual((done.returncode, done.stdout), (1, ""))
                self.assertIn(options[0], done.stderr)
        self.assertEqual(self.registry.seen(), [])

    def test_a_reference_that_the_launcher_does_not_take_is_refused(self):
        for name in ("app", "app:", "APP:1"):
            self.assert_fails(name, "TL0308", "oci:DIR")


if __name__ == "__main__":
    unittest.main(verbosity=1, argv=sys.argv[:1])
