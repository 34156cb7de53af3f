#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prediction equals observation: what `teelaunch measure` says beforehand is what the TPM holds after the
launch (tpm2_pcrread), what the verifier's token says (signature checked by openssl), and what hashlib
computes from attributes and image. `teelaunch verify` then accepts the evidence and the token of the
same launch against that prediction, and so does code that isn't ours."""
import base64
import ctypes
import hashlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess

import launch_case
import firmware_log
import measured
import parts
import token_check

BANKS = ("sha1", "sha256", "sha384")
HOSTNAME = "launch-predicted-1"
CLONE_NEWUTS = 0x04000000  # sched.h
NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
# The launches of test_launch_measured, and of the exits.
MATRIX = (
    {},
    {"cmd": '["exit=0"]'},
    {"env_HELLO_NAME": "x=y z", "env_HELLO_EXIT": ""},
    {"cmd": '["", "\u00e4", "it\'s \\\\ \\n", "exit=0"]', "env_HELLO_EXIT": "0", "env_HELLO_NAME": "b'\\"},
    {"restart_policy": "OnFailure"},
)


def setUpModule():
    """A machine's name of its own, for all that is started here: the real one may be none at all."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUTS) < 0:
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(HOSTNAME)


class Claims(dict):
    """A token's claims as a condition sees them: members by dots."""

    def __getattr__(self, name):
        value = self[name]
        return Claims(value) if isinstance(value, dict) else value


def condition_holds(condition, claims):
    """By Python: string, list and map literals, == and the dots mean the same in both languages."""
    return all(eval(term, {"__builtins__": {}, "assertion": Claims(claims)})  # pylint: disable=eval-used
               for term in re.split(r"\n&& ", condition))


def replay_launch(log, bank):
    """TCG Canonical Event Log, TLV form: records of number, register, digests, content."""
    value, at, parts_of_record = bytes(hashlib.new(bank).digest_size), 0, 0
    while at < len(log):
        end = at + 5 + int.from_bytes(log[at + 1:at + 5], "big")
        if log[at] == 0x50:
            value = hashlib.new(bank, value + hashlib.new(bank, log[at:end]).digest()).digest()
        at, parts_of_record = end, parts_of_record + 1
    assert parts_of_record % 4 == 0 and parts_of_record
    return value.hex()


def replay_firmware(log, bank):
    """PCRs 0 to 7 after the log (TCG PC Client Platform Firmware Profile 1.05, 10.2)."""
    names = {number: name for name, number in firmware_log.ALGORITHM_IDS.items()}
    values = {i: bytes(hashlib.new(bank).digest_size) for i in range(8)}
    at = 32 + struct.unpack_from("<I", log, 28)[0]
    while at < len(log):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at += 12
        for _ in range(n):
            name = names[struct.unpack_from("<H", log, at)[0]]
            digest = log[at + 2:at + 2 + hashlib.new(name).digest_size]
            at += 2 + len(digest)
            if name == bank and kind != firmware_log.EV_NO_ACTION and pcr in values:
                values[pcr] = hashlib.new(bank, values[pcr] + digest).digest()
        at += 4 + struct.unpack_from("<I", log, at)[0]
    return {i: v.hex() for i, v in values.items()}


class Predicted(launch_case.LaunchCase):
    images = ("demo/hello:1", "demo/strict:1")

    def run_tool(self, *arguments, status=0, **more):
        done = subprocess.run([os.path.join(self.world.programs, "teelaunch"), *arguments], capture_output=True,
                              timeout=60, check=False, **more)
        self.assertEqual(done.returncode, status, done.stderr.decode() + done.stdout.decode())
        return done

    def predict(self, attributes, image, *options, status=0):
        file = self.world.path("attributes.json")
        parts.write(file, json.dumps(attributes))
        return json.loads(self.run_tool("measure", "--attributes", file, "--image", image, "--json", *options,
                                        status=status).stdout)

    def layout(self, name="demo/hello:1"):
        return "oci:%s:%s" % (self.world.images.layout, re.sub("[/:]", "-", name))

    def assert_predicted(self, launch, attributes, want):
        """Field by field: registers, events, log, claims."""
        events = measured.events(attributes, self.world.images.inspect("demo/hello:1"))
        self.assertEqual([(e["type"], base64.b64decode(e["content_b64"])) for e in want["events"]], events)
        self.assertEqual(want["pcr13"], {b: self.world.tpm.pcr(13, b) for b in BANKS})
        self.assertEqual(want["pcr13"], {b: measured.register(events, b) for b in BANKS})
        self.assertEqual(want["rtmr3"], measured.register(events, "sha384"))
        claims = token_check.check(launch.token, self.world.verifier.get("/.well-known/jwks.json"))
        container = claims["submods"]["container"]
        self.assertEqual(want["claims"]["submods"]["container"], container)
        self.assertEqual(len(want["holes"]), 1, want["holes"])  # where the disk's tags are
        self.assertTrue(condition_holds(want["condition"], claims))
        return claims

    def predict_whole(self, launch, attributes):
        """With what its unit says."""
        words = launch.command[launch.command.index("run") + 1:]
        return self.predict(attributes, self.layout(), "--hostname", HOSTNAME, "--unit-options", " ".join(words),
                            "--metadata-host", self.world.metadata.host, "--nofile", str(NOFILE))

    def assert_record_predicted(self, launch, attributes, claims):
        """PCR 15, for the options of the unit that launched."""
        want = self.predict_whole(launch, attributes)
        self.assertEqual(want["holes"], [])
        self.assertEqual(want["pcr15"], {b: self.world.tpm.pcr(15, b) for b in BANKS})
        self.assertEqual(want["launch_record"],
                         measured.record(attributes, launch.command, self.world.metadata.host, nofile=min(NOFILE, 131072)))
        self.assertEqual(dict(want["launch_record"], known=True), claims["submods"]["launch_record"])
        return want

    def test_the_matrix(self):
        every = [self.world.attributes(container_log_redirect="true", **keys) for keys in MATRIX]
        predictions = [self.predict(attributes, self.layout(), "--hostname", HOSTNAME) for attributes in every]
        self.assertEqual(len({p["pcr13"]["sha256"] for p in predictions}), len(MATRIX))
        for attributes, want, keys in zip(every, predictions, MATRIX):
            launch = self.world.launch(attributes)
            self.assert_end(launch, 0, "success")
            claims = self.assert_predicted(launch, attributes, want)
            self.assert_record_predicted(launch, attributes, claims)
            holding = [p for p in predictions if condition_holds(p["condition"], claims)]
            self.assertEqual(holding, [want])
            self.note("predicted: %2d events, 3 banks of PCR 13, %d claims: %s", len(want["events"]),
                      len(want["claims"]["submods"]["container"]), keys)

    def test_the_registry_says_what_the_layout_says(self):
        attributes = self.world.attributes()
        registry = self.world.registry
        both = [self.predict(attributes, image, "--hostname", "vm", *options) for image, options in (
            (self.layout(), ()),
            (attributes["tee-image-reference"], ("--registry-roots", "%s=%s" % (registry.host, registry.ca))))]
        self.assertEqual(*both)

    def test_a_denied_launch_measures_nothing(self):
        attributes = self.world.attributes(image="demo/strict:1", cmd='["x"]')
        want = self.predict(attributes, self.layout("demo/strict:1"), "--hostname", HOSTNAME, status=2)
        launch = self.world.launch(attributes)
        self.assert_end(launch, 1, "denied", want["findings"][0]["code"])
        self.assertEqual(set(self.world.tpm.pcr(13)), {"0"})

    def ask(self, launch, path, body):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(os.path.join(launch.shared, "teeserver.sock"))
            data = json.dumps(body).encode()
            s.sendall(b"POST %s HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(data), data))
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        self.assertIn(b" 200 ", answer.partition(b"\r\n")[0], answer[:300])
        return answer.partition(b"\r\n\r\n")[2]

    def assert_others_accept(self, evidence, challenge):
        """tpm2_checkquote, and both logs replayed by hashlib."""
        document = json.loads(evidence)["quote"]["tpmQuote"]
        cert = base64.b64decode(document["endorsement"]["akCertEndorsement"]["akCert"])
        files = {name: self.world.path(name) for name in ("ak.pub", "msg", "sig")}
        parts.write(files["ak.pub"], parts.run("openssl", "x509", "-inform", "DER", "-noout", "-pubkey", stdin=cert))
        nonce = hashlib.sha256(b"WORKLOAD_ATTESTATION" + hashlib.sha256(challenge).digest()).hexdigest()
        launch_log, firmware = (base64.b64decode(document[n]) for n in ("celLaunchEventLog", "pcclientBootEventLog"))
        for quote in document["quotes"]:
            parts.write(files["msg"], base64.b64decode(quote["tpmsAttest"]))
            parts.write(files["sig"], base64.b64decode(quote["tpmtSignature"]))
            parts.run("tpm2_checkquote", "-u", files["ak.pub"], "-m", files["msg"], "-s", files["sig"], "-q", nonce,
                      "-g", "sha256")
            bank = {v: k for k, v in firmware_log.ALGORITHM_IDS.items()}[quote["hashAlgorithm"]]
            values = {int(k): base64.b64decode(v).hex() for k, v in quote["pcrValues"].items()}
            self.assertEqual(replay_launch(launch_log, bank), values[13], bank)
            for pcr, value in replay_firmware(firmware, bank).items():
                self.assertEqual(value, values[pcr], "PCR %d of %s" % (pcr, bank))

    def test_evidence_and_token_are_verified_against_the_prediction(self):
        attributes = self.world.attributes(cmd='["trap", "sleep=60"]', env_HELLO_NAME="v")
        want = self.world.path("prediction.json")
        launch = self.world.launch_start(attributes).wait_for("event=workload.started")
        parts.write(want, json.dumps(self.predict_whole(launch, attributes)))
        challenge = b"of the data owner"
        evidence = self.ask(launch, "/v1/evidence", {"challenge": base64.b64encode(challenge).decode()})
        whole = self.ask(launch, "/v1/evidence?fields=*,launchRecordLog",
                         {"challenge": base64.b64encode(challenge).decode()})
        custom = self.ask(launch, "/v1/token", {"audience": "https://reader.example", "token_type": "OIDC",
                                                "nonces": ["nonce-12345"]})
        launch.send(signal.SIGTERM)
        self.assert_clean(launch.wait())
        files = {}
        for name, data in (("evidence.json", evidence), ("token", custom)):
            files[name] = self.world.path(name)
            parts.write(files[name], data)
        options = ["verify", "--evidence", files["evidence.json"], "--ak-roots", self.world.tpm.file("ak-root.pem"),
                   "--expect", want, "--json", "--nonce"]
        got = json.loads(self.run_tool(*options, challenge.hex()).stdout)
        self.assertEqual(got["verdict"], "good")
        self.assertEqual(got["unchecked"], ["which VM image booted: no measurements of one are given with --expect"])
        self.run_tool(*options, b"another".hex(), status=2)
        options[2] = self.world.path("whole.json")
        parts.write(options[2], whole)
        got = json.loads(self.run_tool(*options, challenge.hex()).stdout)
        self.assertEqual(got["claims"]["submods"]["launch_record"], dict(json.loads(parts.read(want))["launch_record"],
                                                                         known=True))
        jwks = self.world.verifier.url + "/.well-known/jwks.json"
        options = ["verify", "--token", files["token"], "--jwks", jwks, "--jwks-roots", self.world.verifier.ca,
                   "--json", "--audience", "https://reader.example"]
        token = json.loads(self.run_tool(*options, "--expect", want).stdout)["claims"]
        self.assertEqual(token, token_check.check(custom.decode(), self.world.verifier.get("/.well-known/jwks.json")))
        self.assertEqual(token["submods"]["container"], got["claims"]["submods"]["container"])
        self.assertEqual(token["dbgstat"], got["claims"]["dbgstat"])
        parts.write(want, json.dumps(self.predict_whole(launch, self.world.attributes(dev_shm_size_kb="7"))))
        refused = json.loads(self.run_tool(*options, "--expect", want, status=2).stdout)
        self.assertEqual({r["code"] for r in refused["reasons"]}, {"TL1032"})
        self.assertIn('operator.dev_shm_size_kb: expected 7, found 65536', [r["message"] for r in refused["reasons"]])
        self.assert_others_accept(evidence, challenge)
        self.note("evidence and token: good for verify, tpm2_checkquote, openssl and two replays")


if __name__ == "__main__":
    launch_case.main()
