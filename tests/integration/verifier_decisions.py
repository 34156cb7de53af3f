#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What operators of teeverifierd are told: the decision log, and the answers of --explain.

verifier_decisions.py BINARY [unittest arguments]
"""
import datetime
import hashlib
import json
import os
import resource
import sys
import tempfile
import unittest

import verifier
import verifier_evidence as ev
import verifier_replicas
import verifier_signatures

path = verifier.path
CHECKS = ["request", "challenge", "ak_certificate", "ak_chain", "instance", "banks", "quote", "tdx_quote", "snp_report", "required_tee", "nonce",
          "signature", "pcr_digest", "tdx_chain", "tdx_signature", "tdx_td", "tdx_tcb", "snp_chain",
          "snp_signature", "snp_guest", "snp_tcb", "firmware_log", "firmware_replay",
          "boot_claims", "image_log", "image", "tdx_image", "snp_image", "launch_log", "launch_replay", "launch_events", "record_log",
          "record", "identity"]
OF_PROCESSORS = [c for c in CHECKS if c.startswith(("tdx_", "snp_", "required_"))]


class Logged(verifier.Daemon):
    reload = verifier_replicas.Replica.reload


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        super().start(folder, binary)
        cls.daemon.stop()
        cls.foreign = ev.Authority(folder, "foreign-ca")
        cls.daemon = Logged("explaining", [path("ecc.key")], [
            "--explain", "--decision-log", path("decisions"), "--log-claims"])
        cls.quiet = Logged("quiet", [path("ecc.key")], ["--decision-log", path("quiet")])


def lines(name="decisions"):
    return [json.loads(line) for line in ev.read(path(name)).splitlines()]


class Decisions(unittest.TestCase):
    def ask(self, change=None, daemon=None, nonce=None, **fields):
        daemon = daemon or World.daemon
        name, right = daemon.challenge()
        evidence = World.paper.evidence(nonce or right)
        if change:
            change(evidence)
        return (name, right, *daemon.verify(name, evidence, **fields))

    def outcomes(self, checks):
        self.assertEqual([c["check"] for c in checks if c["check"] != "other"], CHECKS)
        return {c["check"]: c["outcome"] for c in checks}

    def test_an_accepted_one_is_one_line_without_a_secret(self):
        name, _, status, body = self.ask(options={"nonce": ["nonce-of-mine"]})
        self.assertEqual(status, 200, body)
        line = lines()[-1]
        self.assertEqual(set(line), {"time", "challenge", "decision", "reason", "tee", "instance", "image",
                                     "machine_image", "checks", "took_ms", "claims"})
        age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.strptime(
            line["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)
        self.assertLess(age.total_seconds(), 60)
        self.assertEqual(line["challenge"], hashlib.sha256(name.encode()).hexdigest()[:32])
        self.assertEqual((line["decision"], line["reason"], line["tee"], line["instance"], line["image"]),
                         ("accepted", "", "PAPER", "demo-vm", "sha256:" + "ab" * 32))
        self.assertEqual({k: v for k, v in self.outcomes(line["checks"]).items() if v != "passed"},
                         {c: "skipped" for c in OF_PROCESSORS + ["image_log", "image", "identity"]})
        claims = json.loads(verifier.b64url(body["attestationToken"].split(".")[1]))
        self.assertEqual(line["claims"], claims)
        text = ev.read(path("decisions")).decode()
        for secret in (body["attestationToken"], name.rsplit("/", 1)[1], "eyJ"):
            self.assertNotIn(secret, text)

    def test_without_the_options_there_are_no_claims_and_no_values(self):
        _, _, status, _ = self.ask(daemon=World.quiet)
        self.assertEqual(status, 200)
        self.assertNotIn("claims", lines("quiet")[-1])
        _, _, status, body = self.ask(daemon=World.quiet, nonce=bytes(32))
        self.assertEqual(status, 403)
        self.assertEqual([set(d["metadata"]) for d in body["error"]["details"]], [{"message"}])

    def test_every_failed_check_is_explained_and_logged(self):
        def change(e):
            e.ak_cert = World.foreign.issue(World.paper.key + ".pub")
            e.firmware = b"junk"
            e.quotes["sha256"]["pcrs"][13] = bytes(32)
        _, right, status, body = self.ask(change, nonce=b"\7" * 32)
        self.assertEqual(status, 403)
        details = body["error"]["details"]
        by_check = {d["metadata"]["check"]: d["metadata"] for d in details[:-1]}
        self.assertEqual(set(by_check), {"ak_chain", "nonce", "pcr_digest", "firmware_log", "launch_replay"})
        self.assertEqual((by_check["nonce"]["expected"], by_check["nonce"]["found"]),
                         (right.hex(), "07" * 32))
        self.assertEqual(by_check["launch_replay"]["expected"], "00" * 32)
        expected = World.paper.pcrs("sha256", ev.good_boot(), ev.GOOD_EVENTS)[13]
        self.assertEqual(by_check["launch_replay"]["found"], expected.hex())
        self.assertNotIn("expected", by_check["firmware_log"])
        self.assertEqual(details[-1]["@type"], "type.googleapis.com/google.protobuf.Struct")
        checks = details[-1]["value"]["checks"]
        outcomes = self.outcomes(checks)
        self.assertEqual({k for k, v in outcomes.items() if v == "failed"}, set(by_check))
        for rests_on_failed in ("instance", "signature", "firmware_replay", "boot_claims"):
            self.assertEqual(outcomes[rests_on_failed], "skipped")
        self.assertEqual((outcomes["launch_log"], outcomes["banks"]), ("passed", "passed"))
        self.assertEqual({c for e in checks for c in e["codes"]}, {d["reason"] for d in details[:-1]})
        line = lines()[-1]
        self.assertEqual((line["decision"], line["checks"], line.get("claims")), ("refused", checks, None))
        self.assertIn("none of 1 root sets", line["reason"])

    def test_what_was_never_reached_did_not_pass(self):
        name, _, status, _ = self.ask(options={"nonce": ["x"]})
        self.assertEqual(status, 400)
        outcomes = self.outcomes(lines()[-1]["checks"])
        self.assertEqual({k for k, v in outcomes.items() if v != "skipped"}, {"request"})
        self.assertEqual(lines()[-1]["challenge"], hashlib.sha256(name.encode()).hexdigest()[:32])

    def test_foreign_text_can_not_forge_a_line(self):
        name, _ = World.daemon.challenge()
        before = len(lines())
        World.daemon.call("POST", "/v1/%s:verifyConfidentialSpace" % name, json.dumps(
            {'x\n{"decision":"accepted"}' + "y" * 4000: 1}))
        got = ev.read(path("decisions")).splitlines()
        self.assertEqual(len(got), before + 1)
        self.assertEqual(json.loads(got[-1])["decision"], "refused")
        self.assertLess(len(got[-1]), 4096)
        self.assertTrue(got[-1].isascii())

    def test_the_file_may_be_rotated(self):
        self.ask(daemon=World.quiet)
        os.rename(path("quiet"), path("quiet.1"))
        World.quiet.reload()
        count = len(lines("quiet.1"))
        self.ask(daemon=World.quiet)
        self.assertEqual((len(lines("quiet.1")), len(lines("quiet"))), (count, 1))

    def test_a_reload_that_fails_leaves_the_log_where_it_is(self):
        """All or nothing: keys that can't be used don't move the log either."""
        self.ask(daemon=World.quiet)
        os.rename(path("quiet"), path("quiet.2"))
        self.addCleanup(World.quiet.reload)
        good = ev.read(path("ecc.key"))
        ev.secret(path("ecc.key"), "junk")
        try:
            World.quiet.reload("verifier.reload-failed")
        finally:
            ev.secret(path("ecc.key"), good)
        count = len(lines("quiet.2"))
        self.ask(daemon=World.quiet)
        self.assertEqual(len(lines("quiet.2")), count + 1)

    def test_a_line_that_does_not_fit_is_told_and_spoils_no_other(self):
        self.ask(daemon=World.quiet)
        with open(path("quiet"), "ab") as f:  # a limit that its other log is far from
            f.write(ev.read(path("quiet")).splitlines(True)[-1] * 100)
        size, pid = os.path.getsize(path("quiet")), World.quiet.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 100, before[1]))
        try:
            self.assertEqual(self.ask(daemon=World.quiet)[2], 200)
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        self.assertIn("verifier.decision-lost code=TL0004", ev.read(World.quiet.log).decode())
        self.ask(daemon=World.quiet)
        rest = ev.read(path("quiet"))[size:].splitlines()
        os.rename(path("quiet"), path("quiet.torn"))  # no other test can read it
        World.quiet.reload()
        self.assertEqual((len(rest), len(rest[0])), (2, 100))
        self.assertEqual(json.loads(rest[1])["decision"], "accepted")


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        World.start(folder, binary)
        try:
            result = unittest.main(exit=False).result
        finally:
            codes = [World.daemon.stop(), World.quiet.stop()]
    sys.exit(not result.wasSuccessful() or codes != [0, 0])


if __name__ == "__main__":
    main()
