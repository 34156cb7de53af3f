#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teelaunch explain: every vector through the program, its exit statuses, and its secrets."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAM = os.environ["TEELAUNCH"]
# Runs a program and says on standard error how many KiB it had at most.
PEAK = ("import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=False)\n"
        "sys.stderr.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))\n")
VECTORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors")
STATUS = {"allow": 0, "deny": 2, "invalid": 3}
IMAGE = "docker.io/library/hello-world:latest"
LABEL = "tee.launch_policy."
CANARY = "xyzzy-canary"


def vectors(name):
    with open(os.path.join(VECTORS, name + ".json"), encoding="utf-8", errors="surrogatepass") as f:
        return json.load(f)["cases"]


FIXED = {(c["file"], c["id"]): c["expect"] for c in vectors("fixed-quirks")}


class Explain(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, content):
        path = os.path.join(self.folder.name, name)
        if not isinstance(content, (bytes, str)):
            content = json.dumps(content)
        if isinstance(content, str):
            content = content.encode("utf-8", "surrogatepass")
        with open(path, "wb") as f:
            f.write(content)
        return path

    def run_it(self, attributes, *options, as_json=True):
        command = [PROGRAM, "explain", "--attributes", self.file("attributes", attributes)]
        command += ["--json"] if as_json else []
        return subprocess.run(command + list(options), capture_output=True, text=True, timeout=30,
                              check=False)

    def explain(self, attributes, *options):
        """The document, once its general promises are checked."""
        done = self.run_it(attributes, *options)
        self.assertEqual(done.stderr, "")
        document = json.loads(done.stdout)
        self.assertEqual(document["schema"], "teelaunch.explain/1")
        self.assertEqual(done.returncode, STATUS[document["verdict"]])
        self.assertEqual(bool(document["findings"]), document["verdict"] != "allow")
        for finding in document["findings"] + document["warnings"]:
            self.assertRegex(finding["code"], r"^TL\d{4}$")
            self.assertIn(finding["source"], ("attributes", "labels", "machine"))
            self.assertTrue(finding["message"] and finding["fix"] and finding["category"])
        return document

    def labels(self, labels):
        return "--labels", self.file("labels", labels)


def attributes_of(spec):
    """The attributes document that asks for the spec of a policy vector."""
    doc = {"tee-image-reference": IMAGE}
    for env in spec.get("envs", []):
        doc["tee-env-" + env["name"]] = env["value"]
    for field, key in (("log_redirect", "tee-container-log-redirect"),
                       ("monitoring", "tee-monitoring-enable")):
        if field in spec:
            doc[key] = spec[field]
    for field, key in (("cmd", "tee-cmd"), ("added_capabilities", "tee-added-capabilities")):
        if field in spec:
            doc[key] = json.dumps(spec[field])
    if spec.get("cgroup_namespace"):
        doc["tee-cgroup-ns"] = "true"
    if "mounts" in spec:
        doc["tee-mount"] = ";".join("type=tmpfs,source=tmpfs,destination=" + m
                                    for m in spec["mounts"])
    return doc


class Vectors(Explain):
    def check_spec(self, case):
        expect = FIXED.get(("spec-parse", case["id"]), case["expect"])
        attributes = case["attributes"] if "attributes" in case else \
            base64.b64decode(case["attributes_b64"])
        options = ["--show-values"]
        if not case["experiments"].get("EnableItaVerifier"):
            options.append("--without-ita")
        post = expect.get("post", case.get("post"))
        if "post" in case:
            env = case["post"]["env"]
            options += ["--mem-available-kb", str(env["mem_free_kb"]),
                        "--capabilities", ",".join(env["eff_caps"])]
        got = self.explain(attributes, *options)
        if not expect["ok"]:
            self.assertEqual(got["verdict"], "invalid")
            self.assertEqual(got["findings"][0]["category"], expect["category"])
            self.assertNotIn("spec", got)
            return
        self.assertEqual(got["spec"], expect.get("spec", case["expect"].get("spec")))
        categories = [f["category"] for f in got["findings"]]
        if post and not post["ok"]:
            self.assertIn(post["category"], categories)
        # What this launcher can't do yet is refused, whatever the vector says; so are names of
        # variables and mounts that the reference refuses only later.
        if got["spec"]["install_gpu_driver"]:
            self.assertIn("post-gpu-not-supported", categories)
        if got["spec"]["ita_region"].upper() not in ("", "US", "EU"):
            self.assertIn("ita-pair", categories)

    def test_every_attributes_vector(self):
        for case in vectors("spec-parse"):
            with self.subTest(case["id"]):
                self.check_spec(case)

    def test_every_policy_vector(self):
        for case in vectors("policy-verify"):
            with self.subTest(case["id"]):
                expect = FIXED.get(("policy-verify", case["id"]), case["expect"])
                got = self.explain(attributes_of(case["spec"]), *self.labels(case["labels"]),
                                   "--hardened" if case["spec"].get("hardened") else "--debug")
                # Through the document a relative destination counts from the root.
                category = expect.get("category", "").replace("dest-not-absolute",
                                                              "not-in-allowlist")
                if expect["result"] == "label-error":
                    self.assertEqual(got["verdict"], "invalid")
                    self.assertEqual(got["findings"][0]["category"], category)
                    self.assertNotIn("policy", got)
                    continue
                self.assertEqual(got["policy"], case["policy"])
                self.assertEqual(got["verdict"], expect["result"])
                if expect["result"] == "deny" and category.startswith("mount:"):
                    mounts = [f["category"] for f in got["findings"]
                              if f["category"].startswith("mount:")]
                    self.assertEqual("+".join(m[6:] for m in mounts), category[6:])
                elif expect["result"] == "deny":
                    self.assertEqual(got["findings"][0]["category"], category)

    def test_every_mount_vector(self):
        for case in vectors("mounts"):
            with self.subTest(case["id"]):
                expect = FIXED.get(("mounts", case["id"]), case["expect"])
                got = self.explain({"tee-image-reference": IMAGE, "tee-mount": case["tee_mount"]})
                if not expect["ok"]:
                    self.assertEqual(got["findings"][0]["category"], expect["category"])
                    continue
                want = [{k: m[k] for k in ("destination", "size")} for m in expect["mounts"]]
                self.assertEqual(got["spec"]["mounts"], want)
                is_root = any(m["destination"] == "/" for m in want)
                self.assertEqual(got["verdict"], "deny" if is_root else "allow")

    def test_every_variable_vector(self):
        for case in vectors("env-names"):
            if case["kind"] != "format" or "name" not in case or "value" not in case:
                continue
            with self.subTest(case["id"]):
                got = self.explain({"tee-image-reference": IMAGE,
                                    "tee-env-" + case["name"]: case["value"]})
                want = [] if case["expect"]["ok"] else [case["expect"]["category"]]
                self.assertEqual([f["category"] for f in got["findings"]], want)

    def test_every_port_vector(self):
        for case in vectors("port-spec"):
            with self.subTest(case["id"]):
                config = {"config": {"ExposedPorts": {case["exposed_port"]: {}}}}
                got = self.explain({"tee-image-reference": IMAGE}, "--image-config",
                                   self.file("config", config))
                want = [] if case["expect"]["ok"] else [case["expect"]["category"]]
                self.assertEqual([f["category"] for f in got["findings"]], want)

    def test_every_fixed_quirk_names_a_vector(self):
        for file, case_id in FIXED:
            self.assertIn(case_id, [c["id"] for c in vectors(file)])


class Behaviour(Explain):
    def test_all_reasons_from_three_sources_at_once(self):
        config = {"config": {"Env": ["bad-name=1"], "Labels": {LABEL + "allow_cmd_override": "0"}}}
        got = self.explain({"tee-image-reference": IMAGE, "tee-cmd": '["a"]', "tee-env-A": "1",
                            "tee-install-gpu-driver": "true", "tee-restart-polcy": "x",
                            "tee-added-capabilities": '["CAP_BPF"]',
                            "tee-dev-shm-size-kb": "11"},
                           "--image-config", self.file("config", config),
                           "--mem-available-kb", "10", "--capabilities", "CAP_CHOWN")
        self.assertEqual([(f["source"], f["category"]) for f in got["findings"]], [
            ("attributes", "env"), ("attributes", "cmd"), ("attributes", "caps"),
            ("labels", "env-name-malformed"), ("machine", "post-gpu-not-supported"),
            ("machine", "post-dev-shm-memory"), ("machine", "post-caps-not-effective")])
        self.assertEqual(got["warnings"][0]["fix"], "did you mean tee-restart-policy?")
        self.assertEqual(got["unchecked"], [])

    def test_bad_attributes_and_bad_labels_are_reported_together(self):
        got = self.explain({"tee-restart-policy": "x"},
                           *self.labels({LABEL + "log_redirect": "x"}))
        self.assertEqual([f["category"] for f in got["findings"]],
                         ["image-ref-missing", "restart-policy", "label-log-policy"])

    def test_a_reference_that_the_launcher_refuses_is_denied(self):
        for reference in ("nginx", "docker.io/library/nginx", "https://h.example/p:t", " h/p:t"):
            got = self.explain({"tee-image-reference": reference})
            self.assertEqual(got["verdict"], "deny", reference)
            self.assertEqual([(f["code"], f["key"]) for f in got["findings"]],
                             [("TL0308", "tee-image-reference")])
            self.assertIn("HOST/PATH:TAG", got["findings"][0]["fix"])
            self.assertEqual(got["warnings"], [])

    def test_what_needs_no_labels_is_judged_beside_bad_keys_and_bad_labels(self):
        asked = {"tee-image-reference": "nginx", "tee-env-1X": "1", "tee-env-HOSTNAME": "h",
                 "tee-added-capabilities": '["CAP_NO"]', "tee-install-gpu-driver": "true",
                 "tee-mount": "type=tmpfs,source=tmpfs,destination=/proc"}
        # One label can't be read; the absent ones still allow neither variables nor capabilities.
        reasons = (("image-ref", True), ("env-name-malformed", True), ("env", True), ("env", False),
                   ("env", False), ("mount:not-in-allowlist", True), ("caps", False),
                   ("post-gpu-not-supported", True), ("post-caps-not-effective", True))
        for bad_key, bad_label in ((True, False), (False, True), (True, True)):
            attributes = {**asked, **({"tee-restart-policy": "x"} if bad_key else {})}
            labels = self.labels({LABEL + "log_redirect": "x"}) if bad_label else ()
            got = self.explain(attributes, *labels, "--capabilities", "CAP_CHOWN")
            self.assertEqual(got["verdict"], "invalid")
            self.assertEqual([f["category"] for f in got["findings"]],
                             ["restart-policy"] * bad_key + ["label-log-policy"] * bad_label +
                             [r for r, needs_no_label in reasons if bad_label or needs_no_label])

    def test_a_document_that_is_no_object_is_told_what_it_should_be(self):
        got = self.explain("[1]")
        self.assertEqual([f["code"] for f in got["findings"]], ["TL0302"])
        self.assertIn("JSON object of strings", got["findings"][0]["fix"])

    def test_an_unreadable_image_configuration_is_invalid(self):
        got = self.explain({"tee-image-reference": IMAGE}, "--image-config",
                           self.file("config", '{"config":{"CMD":[]}}'))
        self.assertEqual(got["verdict"], "invalid")
        self.assertEqual(got["findings"][0]["source"], "labels")

    def test_small_documents_cannot_take_large_memory(self):
        good = self.file("good", {"tee-image-reference": IMAGE})
        large = "[" + "{}," * 1398000 + "{}]"  # 4 MiB that would parse to 324 MB
        small = "[" + "{}," * 174000 + "{}]"  # as large as the attributes may be
        for option, document in (("--image-config", large), ("--labels", large),
                                 ("--image-config", '{"config":%s}' % large),
                                 ("--attributes", '{"a":%s}' % small)):
            command = [PROGRAM, "explain", option, self.file("bomb", document)]
            command += [] if option == "--attributes" else ["--attributes", good]
            with self.subTest(option):
                done = subprocess.run(["/usr/bin/python3", "-c", PEAK, *command],
                                      capture_output=True, text=True, check=True)
                self.assertIn("larger than 100000 JSON values", done.stdout)
                self.assertLess(int(done.stderr), 60 * 1024)

    def test_the_document_is_bounded(self):
        got = self.explain('{"tee-image-reference":"h/p:t","a":"' + "x" * 600000 + '"}')
        self.assertEqual(got["verdict"], "invalid")
        self.assertIn("524288", got["findings"][0]["message"])

    def test_what_is_not_given_is_listed_as_unchecked(self):
        got = self.explain({"tee-image-reference": IMAGE})
        self.assertEqual(got["unchecked"],
                         ["labels", "image-config", "mem-available", "capabilities"])

    def test_the_command_line_is_strict(self):
        good = self.file("good", {"tee-image-reference": IMAGE})
        for options in ([], ["--attributes"], ["--attributes", "/nonexistent"],
                        ["--attributes", good, "extra"], ["--attributes", good, "--nope"],
                        ["--attributes", good, "--labels", good, "--image-config", good],
                        ["--attributes", good, "--mem-available-kb", "1k"]):
            done = subprocess.run([PROGRAM, "explain", *options], capture_output=True, text=True,
                                  timeout=30, check=False)
            self.assertEqual(done.returncode, 1, options)
            self.assertEqual(done.stdout, "", options)
            self.assertNotEqual(done.stderr, "", options)

    def test_a_full_disk_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            for options in ([], ["--json"]):
                done = subprocess.run([PROGRAM, "explain", "--attributes",
                                       self.file("good", {"tee-image-reference": IMAGE}),
                                       *options], stdout=full, timeout=30, check=False)
                self.assertEqual(done.returncode, 1, options)

    def test_people_see_the_verdict_every_reason_and_no_escape_sequence(self):
        done = self.run_it({"tee-image-reference": IMAGE + "\x1b[31m", "tee-cmd": '["a\\u001b"]'},
                           *self.labels({}), as_json=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("verdict: deny (hardened machine)", done.stdout)
        self.assertIn("CMD is not allowed to be overridden on this image", done.stdout)
        self.assertIn("-> remove tee-cmd", done.stdout)
        self.assertNotIn("\x1b", done.stdout)

    def test_the_schema_holds_every_key_and_label(self):
        done = subprocess.run([PROGRAM, "explain", "--schema", "--json"], capture_output=True,
                              text=True, timeout=30, check=True)
        schema = json.loads(done.stdout)
        self.assertEqual(len(schema["keys"]), 20)
        self.assertEqual(len(schema["labels"]), 10)
        for label in {k["governed_by"] for k in schema["keys"] if "governed_by" in k}:
            for name in label.split(" or "):
                self.assertIn(LABEL + name, [x["name"] for x in schema["labels"]])

    def test_explain_error_knows_every_code(self):
        listed = subprocess.run([PROGRAM, "explain-error"], capture_output=True, text=True,
                                timeout=30, check=True).stdout.splitlines()
        self.assertGreater(len(listed), 40)
        for line in listed:
            done = subprocess.run([PROGRAM, "explain-error", line.split()[0]],
                                  capture_output=True, text=True, timeout=30, check=True)
            self.assertIn(line.split()[1], done.stdout)
            self.assertIn("action", done.stdout)
        done = subprocess.run([PROGRAM, "explain-error", "TL9999"], capture_output=True,
                              timeout=30, check=False)
        self.assertEqual(done.returncode, 1)

    def test_no_output_holds_a_secret(self):
        for case in vectors("spec-parse"):
            try:
                doc = json.loads(case.get("attributes", ""))
            except ValueError:
                continue
            if not isinstance(doc, dict):
                continue
            doc.update({"tee-env-A": CANARY, "tee-env-a-b": CANARY, "tee-env-HOSTNAME": CANARY,
                        "tee-signed-image-repos": "host/path,user:%s@host/path" % CANARY,
                        "ita-region": "US", "ita-api-key": CANARY, "tee-enw-X": CANARY})
            with self.subTest(case["id"]):
                for as_json in (True, False):
                    done = self.run_it(doc, *self.labels({}), as_json=as_json)
                    self.assertIn(done.returncode, (2, 3))
                    self.assertNotIn(CANARY, done.stdout + done.stderr)
        got = self.explain({"tee-image-reference": IMAGE, "tee-env-A": CANARY,
                            "ita-region": "US", "ita-api-key": CANARY}, "--show-values")
        self.assertIn(CANARY, json.dumps(got["spec"]))
        self.assertNotIn(CANARY, json.dumps({k: got[k] for k in got if k != "spec"}))

    def test_a_launch_is_judged_in_milliseconds(self):
        start = time.monotonic()
        for _ in range(20):
            self.run_it({"tee-image-reference": IMAGE})
        self.assertLess(time.monotonic() - start, 20)


class LayoutWriter(Explain):
    """OCI layouts, written by hand."""

    def blob(self, content, media_type, **more):
        text = json.dumps(content).encode()
        digest = hashlib.sha256(text).hexdigest()
        folder = os.path.join(self.folder.name, "layout", "blobs", "sha256")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, digest), "wb") as f:
            f.write(text)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(text), **more}

    def image(self, labels, diff_ids=1, layers=1, layer_type="layer.v1.tar", config=None, **more):
        kind = "application/vnd.oci.image."
        layer = {"mediaType": kind + layer_type, "digest": "sha256:" + "0" * 64, "size": 1}
        config = self.blob({"architecture": "amd64", "os": "linux",
                            "config": {"Labels": labels, **(config or {})},
                            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]] * diff_ids}},
                           kind + "config.v1+json")
        return self.blob({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
                          "config": config, "layers": [layer] * layers},
                         kind + "manifest.v1+json", **more)

    def index(self, *entries):
        return {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": list(entries)}

    def layout(self, *entries):
        os.makedirs(os.path.join(self.folder.name, "layout"), exist_ok=True)
        return "oci:" + self.file("layout/index.json", self.index(*entries))[:-len("/index.json")]

    def tagged(self, tag):
        return {"annotations": {"org.opencontainers.image.ref.name": tag}}


class Layout(LayoutWriter):
    """--image oci:DIR[:TAG]."""

    def judge(self, image, *options):
        return self.explain({"tee-image-reference": IMAGE, "tee-cmd": '["a"]'}, "--image", image,
                            *options)

    def failed(self, image):
        done = self.run_it({"tee-image-reference": IMAGE}, "--image", image)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        return done.stderr

    def test_the_labels_of_the_named_image_are_judged(self):
        open_image = self.image({LABEL + "allow_cmd_override": "1"}, **self.tagged("open"))
        closed_image = self.image({}, **self.tagged("closed"))
        layout = self.layout(closed_image, open_image)
        self.assertEqual(self.judge(layout + ":open")["verdict"], "allow")
        self.assertEqual(self.judge(layout + ":closed")["verdict"], "deny")
        self.assertIn("name one: oci:DIR:TAG", self.failed(layout))
        self.assertIn("no image 'other'", self.failed(layout + ":other"))

    def test_the_only_image_needs_no_tag_and_is_chosen_by_platform(self):
        arm = self.image({}, platform={"os": "linux", "architecture": "arm64"})
        amd = self.image({LABEL + "allow_cmd_override": "1"},
                         platform={"os": "linux", "architecture": "amd64"})
        kind = "application/vnd.oci.image.index.v1+json"
        layout = self.layout(self.blob(self.index(arm, amd), kind))
        self.assertEqual(self.judge(layout)["verdict"], "allow")
        layout = self.layout(self.blob(self.index(arm, amd), kind))
        self.assertEqual(self.judge(layout, "--platform", "linux/arm64")["verdict"], "deny")
        got = self.judge(self.layout(self.blob(self.index(arm), kind)))
        self.assertEqual([(f["code"], f["source"]) for f in got["findings"]], [("TL0511", "machine")])
        self.assertIn("arm64", got["findings"][0]["message"])

    def test_an_image_that_no_launch_would_take_is_invalid(self):
        for code, fault in (("TL0512", {"layers": 0}), ("TL0512", {"layer_type": "chart"}),
                            ("TL0513", {"diff_ids": 2})):
            got = self.judge(self.layout(self.image({}, **fault)))
            self.assertEqual([f["code"] for f in got["findings"]], [code])
            self.assertEqual(got["verdict"], "invalid")

    def test_content_without_its_digest_is_refused(self):
        for change in ("digest", "size"):
            manifest = self.image({})
            path = os.path.join(self.folder.name, "layout/blobs/sha256", manifest["digest"][7:])
            if change == "size":
                manifest["size"] += 1
            else:
                with open(path, "r+b") as f:
                    f.write(b" ")
            self.assertIn("doesn't have this digest", self.failed(self.layout(manifest)))

    def test_an_index_leads_to_manifests_only(self):
        kind = "application/vnd.oci.image.index.v1+json"
        entry = self.image({})
        for _ in range(2):
            entry = self.blob(self.index(entry), kind,
                              platform={"os": "linux", "architecture": "amd64"})
        got = self.judge(self.layout(entry))
        self.assertIn("no entry for linux/amd64", got["findings"][0]["message"])

    def test_other_images_are_refused(self):
        self.assertIn("TL0308: --image is neither an OCI layout", self.failed("nginx"))
        self.assertIn("No such file", self.failed("oci:/nonexistent:1"))


if __name__ == "__main__":
    unittest.main(verbosity=1, argv=sys.argv[:1])
