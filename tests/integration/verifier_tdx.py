#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd and TDX: a platform on paper whose good quotes are accepted, and everything about them made
wrong, one thing at a time.

verifier_tdx.py BINARY [unittest arguments]
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

import verifier as v
import verifier_evidence as ev
import verifier_image as image
import verifier_signatures
import tdx_paper as tdx

REQUEST, UNSUPPORTED, NONCE = v.REQUEST, v.UNSUPPORTED, v.NONCE
FIRMWARE_LOG, FIRMWARE_REPLAY, BOOT_CLAIMS = v.FIRMWARE_LOG, v.FIRMWARE_REPLAY, v.BOOT_CLAIMS
LAUNCH_LOG, LAUNCH_REPLAY, LAUNCH_EVENTS = v.LAUNCH_LOG, v.LAUNCH_REPLAY, v.LAUNCH_EVENTS
QUOTE, CHAIN, SIGNATURE, TD, TCB = "TL1035", "TL1036", "TL1037", "TL1038", "TL1039"
COLLATERAL, IMAGE = "TL1040", "TL1041"
REFERENCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "boot")


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        cls.daemons = []
        super().start(folder, binary)
        cls.plain = cls.daemon
        cls.daemons.append(cls.plain)
        cls.platform = tdx.Platform(folder)
        cls.foreign = tdx.Platform(folder, "foreign")
        cls.ak_cert = v.World.ca.issue(cls.paper.key + ".pub")
        cls.daemon = v.Daemon("tdx", [v.path("ecc.key")], cls.platform.options(v.path("tdx-files")))
        cls.daemons.append(cls.daemon)


class Case(v.Case):
    def send(self, change=None, daemon=None, platform=None, **made):
        """Evidence of a TD for a new challenge, changed, sent."""
        daemon = daemon or World.daemon
        name, nonce = daemon.challenge()
        evidence = tdx.Evidence(platform or World.platform, made.pop("nonce", nonce), World.ak_cert, **made)
        if change:
            change(evidence)
        return daemon.call("POST", "/v1/%s:verifyConfidentialSpace" % name, json.dumps(evidence.body(name)))

    def both(self, change=None, launch=None, daemon=None, secure=True, boot=None):
        """:verifyAttestation with a TPM's quotes beside; `boot` is what the TPM says of it, `secure` what the TD says."""
        daemon = daemon or World.daemon
        name, nonce = daemon.challenge()
        td = tdx.Evidence(World.platform, nonce, events=tdx.boot(secure), launch=launch)
        paper = World.paper.evidence(nonce, boot=boot)
        if change:
            change(paper)
        return daemon.call("POST", "/v1/%s:verifyAttestation" % name, json.dumps(
            {"challenge": name, "tdCcel": td.td_ccel(), "tpmAttestation": paper.tpm_attestation()}))

    def good(self, reply, daemon=None):
        return self.accepted(reply, daemon=daemon or World.daemon)

    def daemon(self, **options):
        """One more verifier, with other rules."""
        extra = options.pop("extra", [])
        folder = tempfile.mkdtemp(dir=v.World.dir)
        made = v.Daemon(os.path.basename(folder), [v.path("ecc.key")],
                        World.platform.options(os.path.join(folder, "files"), **options) + extra)
        self.addCleanup(made.stop)
        return made

    def refused_start(self, *words, extra=(), drop=(), **options):
        """The verifier names what it can't use."""
        folder = tempfile.mkdtemp(dir=v.World.dir)
        rows = World.platform.options(os.path.join(folder, "files"), **options)
        for name in drop:
            at = rows.index(name)
            del rows[at:at + 2]
        with self.assertRaises(AssertionError) as failed:
            v.Daemon(os.path.basename(folder), [v.path("ecc.key")], rows + list(extra)).stop()
        for word in words:
            self.assertIn(word, str(failed.exception))


class Accepts(Case):
    def test_a_good_quote_of_each_version_and_its_claims(self):
        for version in (4, 5):
            claims = self.good(self.send(version=version))
            self.assertEqual((claims["hwmodel"], claims["secboot"], claims["dbgstat"], claims["oemid"]),
                             ("GCP_INTEL_TDX", True, "enabled", 11129))
            self.assertEqual(claims["sub"].rsplit("/", 1)[1], "demo-vm")
            values = tdx.rtmrs(tdx.boot(), ev.GOOD_EVENTS)
            self.assertEqual(claims["submods"]["tdx"], {
                "mrtd": tdx.MRTD.hex(), "rtmr0": values[0].hex(), "rtmr1": values[1].hex(), "rtmr2": values[2].hex(),
                "tcb": {"known": True, "status": "UpToDate", "date": "2026-01-02T00:00:00Z",
                        "module_status": "UpToDate", "qe_status": "UpToDate"},
                "revocation_checked": False, "ak_quoted": False})
            self.assertEqual(claims["submods"]["container"]["image_digest"], "sha256:" + "ab" * 32)
            self.assertEqual(claims["submods"]["launch_record"], {"known": False})

    def test_zeros_behind_a_quote_and_behind_its_chain(self):
        self.good(self.send(lambda e: setattr(e, "quote", e.quote + bytes(512))))
        self.good(self.send(chain=World.platform.chain() + b"\0"))
        self.good(self.send(auth=b""))

    def test_secure_boot_off_is_claimed(self):
        self.assertIs(self.good(self.send(events=tdx.boot(secure=False)))["secboot"], False)

    def test_without_an_instance_it_is_no_machine_of_google(self):
        cert = v.World.ca.issue(World.paper.key + ".pub", instance="")
        claims = self.good(self.send(lambda e: setattr(e, "ak_cert", cert)))
        self.assertEqual(claims["hwmodel"], "INTEL_TDX")
        self.assertNotIn("gce", claims["submods"])

    def test_a_tpm_beside_is_judged_too(self):
        claims = self.accepted(self.both(), "oidcClaimsToken", World.daemon)
        self.assertIs(claims["submods"]["tdx"]["ak_quoted"], True)
        self.assertEqual((claims["hwmodel"], claims["secboot"], claims["dbgstat"]),
                         ("GCP_INTEL_TDX", True, "disabled-since-boot"))
        self.refused(self.both(lambda e: e.quotes["sha256"].update(signature=ev.flip(e.quotes["sha256"]["signature"], 60))),
                     v.SIGNATURE)
        other = [(5, b"OTHER=1") if e == (5, b"PATH=/bin") else e for e in ev.GOOD_EVENTS]
        self.refused(self.both(launch=other), LAUNCH_EVENTS)
        self.refused(self.both(launch=[(0, b"x")] + ev.GOOD_EVENTS[1:]), LAUNCH_EVENTS)

    def test_secure_boot_is_claimed_if_tpm_and_td_say_so(self):
        for td in (True, False):
            for tpm in (True, False):
                claims = self.accepted(self.both(secure=td, boot=ev.good_boot(secure=tpm)), "oidcClaimsToken", World.daemon)
                self.assertIs(claims["secboot"], td and tpm, (td, tpm))

    def test_the_tpm_may_be_nothing_but_an_identity(self):
        name, nonce = World.daemon.challenge()
        td = tdx.Evidence(World.platform, nonce)
        reply = World.daemon.call("POST", "/v1/%s:verifyAttestation" % name, json.dumps(
            {"challenge": name, "tdCcel": td.td_ccel(), "tpmAttestation": {"akCert": ev.b64(World.ak_cert), "certChain": []}}))
        self.assertIs(self.accepted(reply, "oidcClaimsToken", World.daemon)["submods"]["tdx"]["ak_quoted"], False)


class RefusesQuotes(Case):
    def test_every_byte_of_the_binary_part_counts(self):
        """Each in a request of its own would take minutes: a quote is refused before its challenge is used up by another."""
        name, nonce = World.daemon.challenge()
        quote = tdx.Evidence(World.platform, nonce).quote
        chain = quote.index(b"-----BEGIN")
        places = list(range(0, 48, 3)) + list(range(48, chain, 17)) + [632, 635, 636, 699, 700, 763, 764, 766, chain - 6, chain - 1]
        for at in places:
            status, body = self.send(lambda e, a=at: setattr(e, "quote", ev.flip(e.quote, a)))
            self.assertEqual(status, 403, (at, body))
            self.assertTrue({d["reason"] for d in body["error"]["details"]} &
                            {QUOTE, CHAIN, SIGNATURE, NONCE, TCB, TD}, (at, body))

    def test_truncated_anywhere(self):
        name, nonce = World.daemon.challenge()
        n = len(tdx.Evidence(World.platform, nonce).quote)
        for length in [0, 1, 47, 48, 100, 631, 632, 636, 700, 764, 770, 1153, 1154, 1218, 1220, 1252, 1258, n // 2, n - 1]:
            self.expect(QUOTE, lambda e, k=length: setattr(e, "quote", e.quote[:k]))

    def expect(self, code, change=None, **made):
        status, body = self.send(change, **made)
        self.assertEqual(status, 403, body)
        reasons = {d["reason"] for d in body["error"]["details"]}
        self.assertEqual(reasons, {code}, body)

    def test_kinds_of_quotes_that_are_not_read(self):
        for made in ({"tee_type": 0}, {"key_type": 3}, {"vendor": bytes(16)}, {"chain": b""}, {"chain": bytes(4)}):
            self.expect(QUOTE, **made)
        self.expect(QUOTE, lambda e: setattr(e, "quote", e.quote + b"\0x"))
        self.expect(QUOTE, lambda e: setattr(e, "quote", b"\3" + e.quote[1:]))

    def test_another_nonce(self):
        self.expect(NONCE, nonce=bytes(32))

    def test_a_nonce_with_something_behind_it(self):
        name, nonce = World.daemon.challenge()
        evidence = tdx.Evidence(World.platform, nonce, World.ak_cert, report_data=nonce.ljust(63, b"\0") + b"\1")
        status, body = World.daemon.call("POST", "/v1/%s:verifyConfidentialSpace" % name, json.dumps(evidence.body(name)))
        self.assertEqual(({d["reason"] for d in body["error"]["details"]}, status), ({NONCE}, 403))

    def test_a_td_that_its_host_may_look_into(self):
        for bit in (0, 4, 7, 29):
            self.expect(TD, attributes=0x10000000 | 1 << bit)
        self.good(self.send(attributes=0x8000000050000000))

    def test_signatures_by_others(self):
        other = ev.make_key(v.path("other.key"))
        self.expect(SIGNATURE, pck=other)
        self.expect(SIGNATURE, bound_key=tdx.raw_key(other))
        self.expect(SIGNATURE, data=bytes(64))

        def replace(e):
            head = e.quote.index(tdx.raw_key(World.platform.attestation)) - 64
            signed = e.quote[:head - 4]
            e.quote = e.quote[:head] + tdx.raw_signature(other, signed) + e.quote[head + 64:]
        self.expect(SIGNATURE, replace)

    def test_report_data_of_the_enclave_ends_in_zeros(self):
        import hashlib
        auth = bytes(range(32))
        digest = hashlib.sha256(tdx.raw_key(World.platform.attestation) + auth).digest()
        self.expect(SIGNATURE, auth=auth, data=digest + bytes(31) + b"\1")

    def test_another_root(self):
        self.expect(CHAIN, platform=World.foreign)
        self.expect(CHAIN, chain=World.foreign.chain())

    def test_certificates(self):
        p = World.platform
        self.expect(CHAIN, chain=p.leaf + p.root.pem)
        self.expect(CHAIN, chain=p.middle.pem + p.leaf + p.root.pem)
        self.expect(CHAIN, chain=p.chain() + World.foreign.middle.pem)
        self.expect(CHAIN, chain=b"no certificate")
        self.expect(CHAIN, chain=p.chain().replace(b"MII", b"MIJ", 1))
        expired = p.middle.issue(p.pck, "pck", "pck", not_after=-1)
        self.expect(CHAIN, chain=p.chain(expired))
        bare = p.middle.issue(p.pck, "pck", "pck", sgx="")
        self.expect(CHAIN, chain=p.chain(bare))
        ca = p.middle.issue(p.pck, "pck", "ca")
        self.expect(CHAIN, chain=p.chain(ca))
        self.expect(CHAIN, chain=p.chain(p.middle.issue(p.pck, "pck", "ca_that_signs")))
        weak = p.middle.issue(p.pck, "pck", "pck", digest="sha1")
        self.expect(CHAIN, chain=p.chain(weak))
        extension = "%s = DER:3003020101" % tdx.SGX_OID
        self.expect(CHAIN, chain=p.chain(p.middle.issue(p.pck, "pck", "pck", sgx=extension)))

    def test_the_root_in_the_chain_must_be_the_root(self):
        p = World.platform
        other = tdx.Issuer(v.World.dir, "tdx-root-again")
        self.expect(CHAIN, chain=p.leaf + p.middle.pem + other.pem)


class RefusesPatchLevels(Case):
    def expect(self, code, word="", daemon=None, **made):
        status, body = self.send(daemon=daemon, **made)
        self.assertEqual(status, 403, body)
        self.assertEqual({d["reason"] for d in body["error"]["details"]}, {code}, body)
        self.assertIn(word, body["error"]["message"])

    def test_each_status(self):
        for status in tdx.STATUSES[1:]:
            info = World.platform.tcb_info(tcbLevels=[tdx.level(status)])
            self.expect(TCB, status, self.daemon(info=info))
        for status in tdx.STATUSES[1:-1]:
            info = World.platform.tcb_info(tcbLevels=[tdx.level(status, date="2025-03-04T00:00:00Z")])
            daemon = self.daemon(info=info, accept=[status])
            tcb = self.good(self.send(daemon=daemon), daemon)["submods"]["tdx"]["tcb"]
            self.assertEqual((tcb["status"], tcb["date"]), (status, "2025-03-04T00:00:00Z"))
        self.refused_start("TCB status", accept=["Revoked"])
        self.refused_start("TCB status", accept=["Uptodate"])

    def test_the_first_level_that_is_reached_counts(self):
        higher = [tdx.level(sgx=bytes([5] * 15 + [6])), tdx.level(pce_svn=12),
                  tdx.level(tdx=bytes([3, 1] + [5] * 13 + [6])), tdx.level("OutOfDate")]
        self.expect(TCB, "OutOfDate", self.daemon(info=World.platform.tcb_info(tcbLevels=higher)))
        self.expect(TCB, "below every", self.daemon(info=World.platform.tcb_info(tcbLevels=higher[:3])))

    def test_the_module(self):
        self.expect(TCB, "module", svn=bytes([2, 1] + [5] * 14))
        self.expect(TCB, "module", svn=bytes([1, 1] + [5] * 14))
        self.expect(TCB, "version 2", svn=bytes([3, 2] + [5] * 14))
        self.expect(TCB, "MRSIGNERSEAM", mr_signer_seam=b"\1" + bytes(47))
        self.expect(TCB, "SEAMATTRIBUTES", seam_attributes=b"\1" + bytes(7))
        # Of version 0 there is one module, and its two components count as the others.
        old = World.platform.tcb_info(tcbLevels=[tdx.level(tdx=bytes([3, 0] + [5] * 14))])
        daemon = self.daemon(info=old)
        self.good(self.send(daemon=daemon, svn=bytes([3, 0] + [5] * 14)), daemon)
        self.expect(TCB, "below every", daemon, svn=bytes([2, 0] + [5] * 14))

    def test_the_quoting_enclave(self):
        self.expect(TCB, "OutOfDate", isv_svn=3)
        self.expect(TCB, "below every", isv_svn=2)
        self.expect(TCB, "signer of the quoting enclave", signer=b"\xdd" * 32)
        self.expect(TCB, "product 1", product=1)
        self.expect(TCB, "MISCSELECT 00000001", miscselect=1)
        daemon = self.daemon(qe=World.platform.qe_identity(attributes="13" + "00" * 15))
        self.expect(TCB, "attributes of the quoting enclave", daemon)

    def test_platforms_that_no_statement_is_about(self):
        for changes in ({"fmspc": "00906ed50001"}, {"pceId": "0001"}):
            self.expect(TCB, "no TCB info", self.daemon(info=World.platform.tcb_info(**changes)))
        p = World.platform
        other = p.middle.issue(p.pck, "pck", "pck", fmspc=bytes(6))
        self.expect(TCB, "no TCB info", chain=p.chain(other))
        daemon = self.daemon(info=[p.tcb_info(fmspc="00" * 6), p.tcb_info()])
        self.good(self.send(daemon=daemon), daemon)
        self.good(self.send(daemon=daemon, chain=p.chain(other)), daemon)

    def test_the_platforms_own_levels(self):
        p = World.platform
        for fields in ({"svn": bytes([5] * 15 + [4])}, {"svn": bytes([4] + [5] * 15)}, {"pce_svn": 10}):
            low = p.middle.issue(p.pck, "pck", "pck", **fields)
            self.expect(TCB, "below every", chain=p.chain(low))

    def test_statements_out_of_their_time(self):
        late = {"issueDate": tdx.utc(-7200), "nextUpdate": tdx.utc(-3600)}
        early = {"issueDate": tdx.utc(3600), "nextUpdate": tdx.utc(7200)}
        for times, word in ((late, "out of date"), (early, "from the future")):
            self.expect(TCB, word, self.daemon(info=World.platform.tcb_info(**times)))
            self.expect(TCB, word, self.daemon(qe=World.platform.qe_identity(**times)))

    def test_statements_that_cannot_be_used(self):
        p = World.platform
        self.refused_start(COLLATERAL, "signature", key=p.pck)
        self.refused_start(COLLATERAL, "platform's", signing=p.root.issue(p.pck, "pck", "pck"), key=p.pck)
        self.refused_start(COLLATERAL, "a CA's", signing=p.root.issue(p.pck, "ca", "ca"), key=p.pck)
        self.refused_start(COLLATERAL, "directly below", signing=World.foreign.signer_pem)
        self.refused_start(COLLATERAL, "id", info=p.tcb_info(id="SGX"))
        self.refused_start(COLLATERAL, "version", info=p.tcb_info(version=2))
        self.refused_start(COLLATERAL, "tcbStatus", info=p.tcb_info(tcbLevels=[tdx.level("Fine")]))
        self.refused_start(COLLATERAL, "FMSPC", info=[p.tcb_info(), p.tcb_info()])
        self.refused_start(COLLATERAL, "id", qe=p.qe_identity(id="QE"))
        self.refused_start("needs --tdx-tcb-signing", drop=["--tdx-qe-identity"])
        self.refused_start("need --tdx-root", drop=["--tdx-root"])

    def test_without_statements_only_if_it_is_said(self):
        drop = ["--tdx-tcb-signing", "--tdx-qe-identity", "--tdx-tcb-info"]
        self.refused_start("--tdx-without-tcb", drop=drop)
        self.refused_start("--tdx-without-tcb", extra=["--tdx-without-tcb"])
        daemon = v.Daemon("bare", [v.path("ecc.key")], [
            "--tdx-root", ev.write(v.path("bare-root"), World.platform.root.pem), "--tdx-without-tcb"])
        self.addCleanup(daemon.stop)
        claims = self.good(self.send(daemon=daemon, isv_svn=0, svn=bytes(16)), daemon)
        self.assertEqual(claims["submods"]["tdx"]["tcb"], {"known": False})
        self.expect(TD, "Intel", daemon, mr_signer_seam=b"\1" + bytes(47))
        self.expect(TD, "Intel", daemon, seam_attributes=b"\1" + bytes(7))

    def test_revocation(self):
        p = World.platform
        root, middle = p.root.revocations(), p.middle.revocations()
        daemon = self.daemon(crls=[root, middle])
        claims = self.good(self.send(daemon=daemon), daemon)
        self.assertIs(claims["submods"]["tdx"]["revocation_checked"], True)
        for crls in ([root, p.middle.revocations(p.leaf)], [p.root.revocations(p.middle.pem), middle], [root]):
            self.expect(CHAIN, "PCK", self.daemon(crls=crls))
        self.expect(CHAIN, "CRL", self.daemon(crls=[root, World.foreign.middle.revocations()]))
        self.refused_start(COLLATERAL, "revocation list", crls=[b"nothing"])
        der = ev.run("openssl", "crl", "-outform", "DER", data=middle)
        daemon = self.daemon(crls=[root, der])
        self.good(self.send(daemon=daemon), daemon)


class RefusesLogs(Case):
    def expect(self, codes, change=None, **made):
        status, body = self.send(change, **made)
        self.assertEqual(status, 403, body)
        self.assertEqual({d["reason"] for d in body["error"]["details"]}, set(codes), body)

    def test_each_register_must_be_what_its_log_leads_to(self):
        for register in (1, 2, 3):
            def change(e, r=register):
                events = tdx.boot()
                at = max(i for i, x in enumerate(events) if x.pcr == r)
                events[at].hashed = b"something else"
                e.ccel = tdx.firmware_log.encode_log(events, ["sha384"])
            self.expect([FIRMWARE_REPLAY], change)

    def test_events_swapped_lost_and_added(self):
        def swapped(e):
            events = tdx.boot()
            events[0], events[1] = events[1], events[0]
            e.ccel = tdx.firmware_log.encode_log(events, ["sha384"])
        self.expect([FIRMWARE_REPLAY], swapped)
        self.expect([FIRMWARE_REPLAY], lambda e: setattr(e, "ccel", tdx.firmware_log.encode_log(tdx.boot()[:-1], ["sha384"])))
        self.expect([FIRMWARE_LOG], lambda e: setattr(e, "ccel", e.ccel[:-1]))
        self.expect([FIRMWARE_LOG], lambda e: setattr(e, "ccel", b""))
        self.expect([FIRMWARE_REPLAY, BOOT_CLAIMS], lambda e: setattr(
            e, "ccel", tdx.firmware_log.encode_log(tdx.boot(), ["sha256"])))

    def test_registers_that_no_firmware_has(self):
        for register in (0, 4):
            extra = tdx.firmware_log.Event(register, 13, b"x")
            self.expect([FIRMWARE_LOG], lambda e, x=extra: setattr(
                e, "ccel", tdx.firmware_log.encode_log(tdx.boot() + [x], ["sha384"])))

    def test_a_text_of_the_host_is_no_secure_boot_variable(self):
        events = tdx.boot(secure=False)
        at = next(i for i, e in enumerate(events) if e.kind == tdx.firmware_log.EV_EFI_VARIABLE_DRIVER_CONFIG)
        forged = tdx.boot(secure=True)[at]
        self.expect([BOOT_CLAIMS], events=events[:1] + [forged] + events[1:])

        def hidden(e):
            # The true variable is shown as something opaque.
            shown = events[:1] + [forged] + [tdx.firmware_log.Event(x.pcr, x.kind, b"opaque", x.hashed) if x is events[at] else x
                                             for x in events[1:]]
            e.ccel = tdx.firmware_log.encode_log(shown, ["sha384"])
        self.expect([BOOT_CLAIMS], hidden, events=events[:1] + [forged] + events[1:])
        self.expect([BOOT_CLAIMS], events=[e for e in tdx.boot() if e.kind != tdx.firmware_log.EV_SEPARATOR])

    def test_the_launch_log(self):
        self.expect([LAUNCH_REPLAY], lambda e: setattr(
            e, "launch", ev.launch_log(ev.GOOD_EVENTS[:4] + ev.GOOD_EVENTS[5:], ["sha384"], index=4, form=0x6C)))
        self.expect([LAUNCH_LOG], lambda e: setattr(e, "launch", ev.launch_log(ev.GOOD_EVENTS, ["sha384"])))
        self.expect([LAUNCH_LOG], lambda e: setattr(e, "launch", e.launch[:-1]))
        self.expect([LAUNCH_REPLAY], lambda e: setattr(
            e, "launch", ev.launch_log(ev.GOOD_EVENTS, ["sha256"], index=4, form=0x6C)))
        self.expect([LAUNCH_EVENTS], launch=ev.GOOD_EVENTS[:-1])


class Requests(Case):
    def post(self, daemon=None, verb="verifyConfidentialSpace", **fields):
        daemon = daemon or World.daemon
        name, nonce = daemon.challenge()
        body = {k: w for k, w in {**tdx.Evidence(World.platform, nonce, World.ak_cert).body(name), **fields}.items()
                if w is not None}
        return daemon.call("POST", "/v1/%s:%s" % (name, verb), json.dumps(body))

    def test_bodies_that_cannot_be_read(self):
        name, nonce = World.daemon.challenge()
        paper = World.paper.evidence(nonce).tpm_attestation()
        td = tdx.Evidence(World.platform, nonce).td_ccel()
        identity = {"akCert": ev.b64(World.ak_cert)}
        for fields in ({"tdCcel": {}}, {"tdCcel": None}, {"tdCcel": []}, {"gceShieldedIdentity": None},
                       {"gceShieldedIdentity": {}}, {"tpmAttestation": paper},
                       {"tpmAttestation": {"akCert": "", "certChain": [""] * 8},
                        "gceShieldedIdentity": {"akCert": "", "akCertChain": [""] * 8}},
                       {"gceShieldedIdentity": {**identity, "akCertChain": [""] * 9}},
                       {"tdCcel": {**td, "tdQuote": ev.b64(bytes(20000))}}, {"tdCcel": {**td, "more": ""}}):
            self.refused(self.post(**fields), REQUEST, status=400)

    def test_a_verifier_without_a_root_refuses_unread(self):
        self.refused(self.post(World.plain), UNSUPPORTED, status=400)

    def test_without_a_chain_the_ak_leads_nowhere(self):
        foreign = ev.Authority(v.World.dir, "foreign-ak").issue(World.paper.key + ".pub")
        status, body = self.post(gceShieldedIdentity={"akCert": ev.b64(foreign)})
        self.assertEqual((status, {d["reason"] for d in body["error"]["details"]}), (403, {v.AK_CHAIN}))


class Decisions(Case):
    def test_passed_is_said_of_what_was_checked_alone(self):
        log = tempfile.mktemp(dir=v.World.dir)
        daemon = self.daemon(extra=["--decision-log", log])

        def outcomes(word, *args, **made):
            self.send(*args, daemon=daemon, **made)
            line = json.loads(ev.read(log).splitlines()[-1])
            return {c["check"] for c in line["checks"] if c["outcome"] == word}
        tpm = {"banks", "quote", "signature", "pcr_digest", "record_log", "record"}
        given = {"image_log", "image", "tdx_image", "identity", "required_tee", "snp_report", "snp_chain", "snp_signature",
                 "snp_guest", "snp_tcb", "snp_image"}
        self.assertEqual(outcomes("skipped"), tpm | given)
        self.assertEqual(json.loads(ev.read(log).splitlines()[-1])["tee"], "GCP_INTEL_TDX")
        self.assertEqual(outcomes("skipped", chain=World.foreign.chain()), tpm | given | {"tdx_signature", "tdx_tcb"})
        self.assertEqual(outcomes("passed", lambda e: setattr(e, "quote", b"x")),
                         {"request", "challenge", "ak_certificate", "ak_chain", "instance"})


class References(Case):
    """The reference values of a recorded image, with a member for TDs that is made here."""

    def reference(self, entries):
        names = [n for n in sorted(os.listdir(REFERENCE)) if n.endswith(".measurements.json")]
        document = json.loads(ev.read(os.path.join(REFERENCE, next(n for n in names if "debug" not in n))))
        document["tdx"] = entries
        return ev.write(os.path.join(tempfile.mkdtemp(dir=v.World.dir), "m.json"), json.dumps(document)), document

    def entry(self, **changes):
        values = tdx.rtmrs(tdx.boot(), ev.GOOD_EVENTS)
        return {"mrtd": tdx.MRTD.hex(), "rtmr0": values[0].hex(), "rtmr1": values[1].hex(), "rtmr2": values[2].hex(), **changes}

    def test_the_image_that_fits_is_claimed(self):
        whole = self.entry()
        shape = {k: w for k, w in whole.items() if k != "rtmr0"}
        for entries in ([whole], [shape], [self.entry(rtmr1="00" * 48), shape]):
            path, document = self.reference(entries)
            daemon = self.daemon(extra=["--reference", path])
            claims = self.good(self.send(daemon=daemon), daemon)
            self.assertEqual(claims["submods"]["teelaunch_image"]["version"], document["version"])
            self.assertEqual(claims["dbgstat"], "disabled-since-boot" if document["hardened"] else "enabled")
            self.assertEqual(claims["swversion"], [document["version"]])

    def test_each_register_that_differs_is_named(self):
        for name, word in (("mrtd", "MRTD"), ("rtmr0", "RTMR 0"), ("rtmr1", "RTMR 1"), ("rtmr2", "RTMR 2")):
            path, _ = self.reference([self.entry(**{name: "5a" * 48})])
            daemon = self.daemon(extra=["--reference", path, "--explain"])
            status, body = self.send(daemon=daemon)
            self.assertEqual(status, 403, body)
            details = [d for d in body["error"]["details"] if d.get("reason") == IMAGE]
            self.assertEqual(len(details), 1, body)
            self.assertIn(word, body["error"]["message"])
            self.assertEqual(details[0]["metadata"]["expected"], "5a" * 48)
            self.assertEqual(details[0]["metadata"]["found"], self.entry()[name])

    def joined(self, **entries):
        """A verifier with recorded images, of which those with entries have them for TDs."""
        options = []
        for name in ("production", "debug"):
            document = image.reference(name)
            if name in entries:
                document["tdx"] = entries[name]
            options += ["--reference", ev.write(os.path.join(tempfile.mkdtemp(dir=v.World.dir), "m.json"), json.dumps(document))]
        return self.daemon(extra=options)

    def test_tpm_and_td_must_have_booted_the_same_image(self):
        daemon = self.joined(production=[self.entry()])
        claims = self.accepted(self.both(daemon=daemon, boot=image.boot("production")), "oidcClaimsToken", daemon)
        self.assertEqual((claims["submods"]["teelaunch_image"]["version"], claims["dbgstat"]), ("production", "disabled-since-boot"))
        self.assertIs(claims["submods"]["tdx"]["ak_quoted"], True)
        body = self.refused(self.both(daemon=daemon, boot=image.boot("debug")), IMAGE)
        self.assertIn("the TD booted image 'boot-test production', the TPM says 'boot-test debug'", body["message"])
        daemon = self.joined(debug=[self.entry()])
        claims = self.accepted(self.both(daemon=daemon, boot=image.boot("debug")), "oidcClaimsToken", daemon)
        self.assertEqual((claims["submods"]["teelaunch_image"]["version"], claims["dbgstat"]), ("debug", "enabled"))
        body = self.refused(self.both(daemon=daemon, boot=image.boot("production")), IMAGE)
        self.assertIn("the TD booted image 'boot-test debug', the TPM says 'boot-test production'", body["message"])

    def test_neither_tpm_nor_td_alone_makes_an_image_known(self):
        daemon = self.joined(production=[self.entry(rtmr2="5a" * 48)])
        self.refused(self.both(daemon=daemon, boot=image.boot("production")), IMAGE)
        daemon = self.joined(production=[self.entry()])
        self.refused(self.both(daemon=daemon, boot=image.boot("other-kernel")), image.IMAGE)

    def test_references_without_a_td_fit_none(self):
        path, _ = self.reference(None)
        document = json.loads(ev.read(path))
        del document["tdx"]
        ev.write(path, json.dumps(document))
        status, body = self.send(daemon=self.daemon(extra=["--reference", path]))
        self.assertEqual((status, [d["reason"] for d in body["error"]["details"]]), (403, [IMAGE]))

    def test_references_that_cannot_be_read(self):
        for entries in ([], {}, [{}], [self.entry(mrtd="00")], [self.entry(more="00" * 48)], [self.entry(rtmr1="5A" * 48)],
                        [self.entry()] * 65):
            path, _ = self.reference(entries)
            self.refused_start("TL1027", "tdx", extra=["--reference", path])


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    codes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            World.start(folder, binary)
            result = unittest.main(exit=False).result
        finally:
            codes = [d.stop() for d in World.daemons]
        for name in os.listdir(folder):
            if name.endswith(".log") and b"Sanitizer" in ev.read(os.path.join(folder, name)):
                print(ev.read(os.path.join(folder, name)).decode()[-8000:])
                codes.append(99)
    if any(codes):
        print("teeverifierd didn't end well:", codes)
    sys.exit(not result.wasSuccessful() or any(codes))


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    main()
