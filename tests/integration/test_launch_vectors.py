#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `teelaunch explain` says and what `teelaunchd run` does are the same, for every vector of the
attributes and of the policy; and neither tells a secret.

Both are given the same document and the same image configuration: the one as files, the other by a
metadata server and a registry. The layer of every image is missing in the registry, so that a launch
that is allowed ends at the pull with a known code. All values that are secrets begin with a canary."""
import base64
import hashlib
import json
import os
import re
import subprocess
import time
import urllib.parse

import launch_case
import metadata
import parts
import world

os.environ.setdefault("TEELAUNCH", os.path.join(world.programs_dir(), "teelaunch"))

import explain  # noqa: E402  (it needs the program's name)

REPOSITORY = "test/vectors"
KIND = "application/vnd.oci.image."
# The exit status of explain.
VERDICTS = {0: "allow", 2: "deny", 3: "invalid"}
# Allows all that a label can allow.
OPEN_LABELS = {explain.LABEL + "allow_env_override": "foo,A,B,a,b,x,HOSTNAME",
               explain.LABEL + "allow_cmd_override": "true", explain.LABEL + "log_redirect": "always",
               explain.LABEL + "hardened_monitoring": "all", explain.LABEL + "debug_monitoring": "all",
               explain.LABEL + "allow_mount_destinations": "/", explain.LABEL + "allow_cgroups": "true",
               explain.LABEL + "allow_capabilities": "true"}
# linux/capability.h, by number.
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO
    SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD
    LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND
    AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE""".split()
# Characters that base64, percent-encoding and JSON each write in another way.
CANARY = "xyzzy+canary%&=/7"
# A member of the document whose value is a secret: a variable, the API key, or a key that is a typing
# error for one of these.
SECRET = re.compile(rb'"(?:tee-env-|tee-enw-|ita-api-key)(?:[^"\\]|\\.)*"\s*:\s*"(?=[^"])')
# More of them, before the first member of a document.
FIRST_MEMBER = re.compile(rb'^\s*\{(?=\s*")')
MORE_SECRETS = b'"tee-env-A":"secret", "tee-enw-B":"secret", '
FINDING = re.compile(r"(?m) event=finding code=(TL\d{4}) category=(\S+) source=(\S+) "
                     r"key='((?:[^'\\]|\\.)*)' msg=")
MACHINE = re.compile(r"(?m) event=machine .*mem_available_kb=(\d+) capabilities=(\d+)$")


def own_capabilities():
    """The effective ones of this process; the launcher inherits them."""
    bits = int(re.search(r"CapEff:\s*(\w+)", parts.read("/proc/self/status")).group(1), 16)
    return ["CAP_" + name for i, name in enumerate(CAPABILITIES) if bits >> i & 1]


def forms(secret):
    """A secret and the ways in which text may hold it."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), json.dumps(secret)[1:-1].encode(),
             urllib.parse.quote(raw, safe="").encode(), urllib.parse.quote(raw).encode(),
             urllib.parse.quote_plus(raw).encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for skip in range(3):  # at any offset; the ends depend on the neighbours
            found.add(encode(b"\0" * skip + raw)[4:-4])
    return found


def document_of(case, more=b""):
    """The bytes of an attributes vector, its secrets marked, more members before its own; and the
    number of secrets."""
    text = base64.b64decode(case["attributes_b64"]) if "attributes_b64" in case else \
        case["attributes"].encode("utf-8", "surrogatepass")
    text = FIRST_MEMBER.sub(lambda m: m.group(0) + more, text)
    return SECRET.subn(lambda m: m.group(0) + CANARY.encode(), text)


class Vectors(launch_case.LaunchCase):
    images = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        registry = cls.world.registry
        layer = b"this layer is taken away again"
        digest = hashlib.sha256(layer).hexdigest()
        cls.layer = {"mediaType": KIND + "layer.v1.tar", "digest": "sha256:" + digest, "size": len(layer)}
        registry.push_blob(REPOSITORY, layer)
        cls.layer_file = os.path.join(registry.folder, "data/docker/registry/v2/blobs/sha256", digest[:2],
                                      digest, "data")
        cls.layer_bytes = layer
        cls.pushed = {}
        cls.capabilities = own_capabilities()
        cls.secret_forms = forms(CANARY) | forms(metadata.ACCESS_TOKEN)

    def setUp(self):
        super().setUp()
        self.counts = {"allow": 0, "deny": 0, "invalid": 0, "secrets": 0, "bytes searched": 0}

    def image(self, labels):
        """The reference of an image with these labels, and the file with its configuration."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Labels": labels},
                             "rootfs": {"type": "layers", "diff_ids": [self.layer["digest"]]}}).encode()
        if config not in self.pushed:
            registry, tag = self.world.registry, "v%d" % len(self.pushed)
            manifest = json.dumps({
                "schemaVersion": 2, "mediaType": KIND + "manifest.v1+json",
                "config": {"mediaType": KIND + "config.v1+json", "size": len(config),
                           "digest": "sha256:" + hashlib.sha256(config).hexdigest()},
                "layers": [self.layer]}).encode()
            parts.write(self.layer_file, self.layer_bytes)  # else the registry refuses the manifest
            registry.push_blob(REPOSITORY, config)
            registry.push_manifest(REPOSITORY, tag, manifest, KIND + "manifest.v1+json")
            os.unlink(self.layer_file)
            file = self.world.path(tag + ".json")
            parts.write(file, config)
            self.pushed[config] = registry.ref("%s:%s" % (REPOSITORY, tag)), file
        return self.pushed[config]

    def launch(self, document, hardened):
        """One run of teelaunchd; the TPM is reset only after a launch that measured."""
        launch = self.world.launch(document, hardened=hardened, options=["--log-level", "debug"])
        self.world.is_fresh_boot = "measured" not in launch.report
        return launch

    def judge(self, file, launch, hardened, *options, status=None):
        """explain's document, with the facts of the machine that the launcher found."""
        memory_kb, n = map(int, MACHINE.search(launch.stderr).groups())
        self.assertEqual(n, len(self.capabilities), "capabilities of the launcher")
        command = [explain.PROGRAM, "explain", "--attributes", file, "--mem-available-kb", str(memory_kb),
                   "--capabilities", ",".join(self.capabilities),
                   "--hardened" if hardened else "--debug", *options]
        outputs = []
        for as_json in (["--json"], []):
            done = subprocess.run(command + as_json, capture_output=True, timeout=30, check=False)
            self.assertEqual(done.stderr, b"")
            self.assertIn(done.returncode, VERDICTS)
            outputs.append(done.stdout)
        self.assert_no_secret({"explain --json": outputs[0], "explain": outputs[1]})
        got = json.loads(outputs[0])
        self.assertEqual(got["verdict"], VERDICTS[done.returncode])
        return got

    def assert_no_secret(self, texts):
        for name, text in texts.items():
            self.counts["bytes searched"] += len(text)
            for form in self.secret_forms:
                self.assertNotIn(form, text, name)

    def outputs_of(self, launch):
        """Every file that the launch has left: console, log, report."""
        texts = {}
        for path, _, files in os.walk(launch.folder):
            for name in files:
                with open(os.path.join(path, name), "rb") as f:
                    texts[name] = f.read()
        self.assertLessEqual({"console", "stderr", "report.json"}, texts.keys())
        return texts

    def said(self, document):
        """explain's findings, those that forbid and the warnings, as the log would quote their keys."""
        return sorted((f["code"], f["category"], f["source"],
                       f["key"].replace("\\", "\\\\").replace("'", "\\'"))
                      for f in document["findings"] + document["warnings"])

    def check(self, document, labels, hardened):
        reference, config = self.image(labels)
        for name in (explain.IMAGE, "a/b:c", "a/b:2"):
            document = document.replace(name.encode(), reference.encode())
        launch = self.launch(document, hardened)
        self.assert_no_secret(self.outputs_of(launch))
        attributes = os.path.join(self.world.metadata.folder, "attributes.json")
        options = ["--image-config", config]
        whole = self.judge(attributes, launch, hardened, *options)
        report, logged = launch.report, sorted(FINDING.findall(launch.stderr))
        last = report["stages"][-1]["name"]
        self.counts[whole["verdict"]] += 1
        if whole["verdict"] == "allow":
            self.assertEqual((last, report["code"]), ("pull", "TL0503"), launch.stderr)
        else:
            self.assertIn(last, ("spec", "policy"), launch.stderr)
            self.assertEqual((report["result"], launch.exit_code), ("denied", 1 if hardened else 4),
                             launch.stderr)
            self.assertEqual(report["code"], whole["findings"][0]["code"])
        # A launch that ends before its image is known says what explain says without an image.
        same = self.judge(attributes, launch, hardened) if last == "spec" else whole
        self.assertEqual(logged, self.said(same), launch.stderr)
        if last == "spec":
            self.assertLessEqual(set(logged), set(self.said(whole)))
            self.assertEqual(same["verdict"], whole["verdict"])
        if "truncated" not in report:
            self.assertEqual(sorted((f["code"], f["key"]) for f in report.get("findings", [])),
                             sorted((f["code"], f["key"]) for f in same["findings"] + same["warnings"]))
        return whole

    def note_counts(self, started, n):
        self.note("%d launches in %.0f s: %s", n, time.monotonic() - started,
                  ", ".join("%s %d" % item for item in self.counts.items()))

    def test_every_attributes_vector(self):
        started, n = time.monotonic(), 0
        for case in explain.vectors("spec-parse"):
            for labels, more in ((OPEN_LABELS, MORE_SECRETS), ({}, b"")):
                document, secrets = document_of(case, more)
                self.counts["secrets"] += secrets
                with self.subTest(case["id"], labels=bool(labels)):
                    self.check(document, labels, True)
                n += 1
        self.note_counts(started, n)
        self.assertGreater(self.counts["secrets"], 200)
        for verdict in VERDICTS.values():
            self.assertGreater(self.counts[verdict], 20)

    def test_every_policy_vector(self):
        started, n = time.monotonic(), 0
        cases = explain.vectors("policy-verify")
        for case in sorted(cases, key=lambda c: bool(c["spec"].get("hardened"))):
            attributes = explain.attributes_of(case["spec"])
            secrets = {k: CANARY for k in attributes if k.startswith("tee-env-")}
            self.counts["secrets"] += len(secrets)
            attributes.update(secrets)
            with self.subTest(case["id"]):
                self.check(json.dumps(attributes).encode(), case["labels"],
                           bool(case["spec"].get("hardened")))
            n += 1
        self.note_counts(started, n)
        for verdict in VERDICTS.values():
            self.assertGreater(self.counts[verdict], 5)

    def test_the_search_finds_what_is_told(self):
        """The same search over an output that is meant to hold the secret."""
        file = self.world.path("told.json")
        parts.write(file, json.dumps({"tee-image-reference": explain.IMAGE, "tee-env-A": CANARY}))
        done = subprocess.run([explain.PROGRAM, "explain", "--attributes", file, "--json", "--show-values"],
                              capture_output=True, timeout=30, check=True)
        for text in (done.stdout, base64.b64encode(b"x" + CANARY.encode() + b"tail"),
                     urllib.parse.quote("a" + CANARY, safe="").encode()):
            with self.assertRaises(AssertionError):
                self.assert_no_secret({"told": text})


if __name__ == "__main__":
    launch_case.main()
