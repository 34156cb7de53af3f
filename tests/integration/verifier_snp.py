#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd and SEV-SNP: a platform on paper whose good reports are accepted beside a TPM's quotes, and
everything about them made wrong, one thing at a time.

verifier_snp.py BINARY [unittest arguments]
"""
import json
import os
import struct
import sys
import tempfile
import unittest

import verifier as v
import verifier_evidence as ev
import snp_paper as snp
import verifier_image
import verifier_signatures

REPORT, CHAIN, SIGNATURE, GUEST, TCB, IMAGE = "TL1042", "TL1043", "TL1044", "TL1045", "TL1046", "TL1047"
TEE = "TL1048"
LEAST = "Milan:bootloader=4,tee=0,snp=20,microcode=200"


class World(verifier_signatures.World):
    @classmethod
    def start(cls, folder, binary):
        super().start(folder, binary)
        cls.platform = snp.Platform(folder)
        cls.foreign = snp.Platform(folder, "foreign")
        cls.plain = cls.daemon
        cls.daemon = v.Daemon("snp", [v.path("ecc.key")], cls.options() + ["--explain"])

    @classmethod
    def options(cls, *more, roots=None, least=(LEAST,)):
        rows = ["--snp-root", roots or cls.platform.roots]
        for tcb in least:
            rows += ["--snp-min-tcb", tcb]
        return rows + list(more)


class Case(v.Case):
    def send(self, daemon=None, certs=None, key=None, verb="verifyAttestation", blob=None, edit=None, by=None,
             events=None, tail=None, **made):
        """A report beside a TPM's quote over one nonce."""
        daemon = daemon or World.daemon
        name, nonce = daemon.challenge()
        if tail:
            made["data"] = nonce.ljust(63, b"\0") + tail
        report = World.platform.report(made.pop("nonce", nonce), key, **made)
        certs = certs if certs is not None else [("vcek", snp.der_of(World.platform.vcek))]
        blob = snp.table(certs) if blob is None else blob
        evidence = (by or World.paper).evidence(nonce, boot=events)
        return daemon.verify(name, evidence, verb, sevSnpAttestation={
            "report": ev.b64(edit(report) if edit else report), **({"auxBlob": ev.b64(blob)} if blob else {})})

    def good(self, reply, daemon=None, field="oidcClaimsToken"):
        return self.accepted(reply, field, daemon or World.daemon)["submods"]["sev_snp"]

    def expect(self, code, word="", **made):
        status, body = self.send(**made)
        self.assertEqual(status, 403, body)
        self.assertEqual({d["reason"] for d in body["error"]["details"] if "reason" in d}, {code}, body)
        self.assertIn(word, body["error"]["message"])
        return body["error"]

    def daemon(self, *more, **options):
        folder = tempfile.mkdtemp(dir=v.World.dir)
        made = v.Daemon(os.path.basename(folder), [v.path("ecc.key")], World.options(*more, **options))
        self.addCleanup(made.stop)
        return made

    def refused_start(self, *words, options):
        with self.assertRaises(AssertionError) as failed:
            v.Daemon("bad-%d" % id(options), [v.path("ecc.key")], list(options)).stop()
        for word in words:
            self.assertIn(word, str(failed.exception))

    def file(self, name, data):
        return ev.write(v.path(name), data)

    def vcek(self, key=None, **fields):
        p = World.platform
        return p.ask.issue(key or p.key, "SEV-VCEK", rows=snp.extensions(**fields))

    def with_cert(self, pem):
        return [("vcek", snp.der_of(pem))]


class Accepts(Case):
    def test_a_good_report_and_its_claims(self):
        for verb, field in (("verifyAttestation", "oidcClaimsToken"), ("verifyConfidentialSpace", "attestationToken")):
            for version in (2, 3, 5):
                claims = self.accepted(self.send(verb=verb, version=version), field, World.daemon)
                self.assertEqual((claims["hwmodel"], claims["oemid"], claims["dbgstat"]),
                                 ("GCP_AMD_SEV_SNP", 11129, "disabled-since-boot"))
                self.assertEqual(claims["submods"]["sev_snp"], {
                    "measurement": snp.MEASUREMENT.hex(), "measurement_known": False, "product": "Milan",
                    "signing_key": "VCEK", "vmpl": 0, "tcb": {**snp.TCB, "fmc": 0}, "tcb_judged": True,
                    "revocation_checked": False})

    def test_without_an_instance_it_is_no_machine_of_google(self):
        paper = ev.Paper(World.dir, v.World.ca, key=World.paper.key, instance="")
        claims = self.accepted(self.send(by=paper), "oidcClaimsToken", World.daemon)
        self.assertEqual(claims["hwmodel"], "AMD_SEV_SNP")

    def test_a_clouds_key(self):
        certs = [("vlek", snp.der_of(World.platform.vlek)), ("ask", snp.der_of(World.platform.asvk.pem))]
        got = self.good(self.send(certs=certs, signing_key=snp.VLEK, chip=bytes(64)))
        self.assertEqual(got["signing_key"], "VLEK")
        self.expect(CHAIN, "doesn't lead", certs=certs[:1], signing_key=snp.VLEK)

    def test_certificates_in_pem_beside_others(self):
        p = World.platform
        certs = [("ark", snp.der_of(p.ark.pem)), ("ask", p.ask.pem), ("12345678-1234-1234-1234-123456789abc", b"x"),
                 ("vcek", p.vcek)]
        self.good(self.send(certs=certs))

    def test_the_verifiers_own_certificates(self):
        other = self.vcek(tcb={"microcode": 212})
        foreign = self.vcek(chip=b"x" * 64)
        daemon = self.daemon("--snp-key", self.file("keys.pem", foreign + other + World.platform.vcek))
        for blob in (b"", bytes(4096)):
            self.good(self.send(daemon=daemon, blob=blob), daemon)
            self.expect(CHAIN, "there is no VCEK", blob=blob)
            self.expect(CHAIN, "there is no VCEK", daemon=daemon, blob=blob, chip=b"y" * 64)

    def test_turins_layout(self):
        daemon = self.daemon(least=("Turin:bootloader=4,tee=1,snp=22,microcode=211,fmc=2",))
        chip = b"\1\2\3\4\5\6\7\x08"
        cert = self.with_cert(self.vcek(product="Turin-B0", chip=chip, fmc=3))
        made = {"certs": cert, "fmc": 3, "chip": chip.ljust(64, b"\0"), "daemon": daemon}
        self.assertEqual(self.good(self.send(**made), daemon)["tcb"], {**snp.TCB, "fmc": 3})
        self.expect(CHAIN, "fmc=4", **{**made, "fmc": 4})

    def test_a_chip_id_in_a_string_of_its_own(self):
        cert = self.vcek(drop=("4",), chip=None)
        rows = snp.extensions(chip=None) + "\n%s.4 = ASN1:FORMAT:HEX,OCTETSTRING:%s" % (snp.OID, snp.CHIP.hex())
        p = World.platform
        self.good(self.send(certs=self.with_cert(p.ask.issue(p.key, "SEV-VCEK", rows=rows))))
        self.expect(CHAIN, "chip", certs=self.with_cert(cert))


class Refuses(Case):
    def test_every_byte_that_is_signed_counts(self):
        for at in list(range(0, 0x2a0, 13)) + [0, 4, 8, 10, 0x30, 0x34, 0x48, 0x29f]:
            status, body = self.send(edit=lambda r, a=at: ev.flip(r, a))
            self.assertEqual(status, 403, (at, body))
            self.assertTrue({d["reason"] for d in body["error"]["details"] if "reason" in d} &
                            {REPORT, SIGNATURE}, (at, body))

    def test_signatures(self):
        for at in (0x2a0, 0x2a0 + 47, 0x2a0 + 71, 0x2a0 + 72, 0x2a0 + 72 + 47, 0x2a0 + 143):
            self.expect(SIGNATURE, edit=lambda r, a=at: ev.flip(r, a))
        self.expect(SIGNATURE, edit=lambda r: r[:0x2a0] + bytes(512))
        self.expect(SIGNATURE, key=World.foreign.key)

    def test_sizes_and_kinds_that_are_not_read(self):
        for size in (0, 1, 0x2a0, 1183):
            self.expect(REPORT, edit=lambda r, k=size: r[:k])
        self.expect(REPORT, edit=lambda r: r + b"\0")
        for made in ({"version": 1}, {"version": 6}, {"algo": 2}, {"vmpl": 4}, {"signing_key": 7}):
            self.expect(REPORT, **made)

    def test_a_hostile_certificate_table(self):
        cert = snp.der_of(World.platform.vcek)
        good = snp.table([("vcek", cert)])
        for offset, length in ((len(good), 1), (0xffffffff, 1), (1, 0xffffffff), (len(good) - 1, 2), (0x80000000, 0x80000000)):
            self.expect(REPORT, "not in it", blob=good[:16] + struct.pack("<II", offset, length) + good[24:])
        self.expect(REPORT, "twice", certs=[("vcek", cert)] * 2)
        for more in (b"", b"\1" * 23):
            self.expect(REPORT, "no end", blob=good[:16] + bytes(8) + more)
        self.expect(REPORT, "no end", certs=[("12345678-1234-1234-1234-123456789abc", b"x")] * 30)
        self.expect(CHAIN, "there is no", certs=[("vcek", b"")])
        self.expect(CHAIN, "there is no", certs=[("vcek", cert[:-1])])
        self.expect(CHAIN, "there is no", certs=[("vcek", cert + b"\0")])

    def test_the_nonce(self):
        self.assertIn("found", json.dumps(self.expect(v.NONCE, nonce=bytes(32))))
        self.expect(v.NONCE, tail=b"\1")
        self.good(self.send(tail=b"\0"))

    def test_a_guest_that_its_host_may_look_into(self):
        self.expect(GUEST, "debugged", policy=0xb0000)
        self.expect(GUEST, "migrated", policy=0x70000)
        for policy in (0x10000, 0x30000 | 1 << 26, 0x30000 | 1 << 63):
            self.expect(GUEST, "bits that are not known", policy=policy)
        for policy in (0x30000 | 1 << bit for bit in (20, 21, 22, 23, 24, 25)):
            self.good(self.send(policy=policy))

        def firmware(major, minor):
            return lambda body: struct.pack_into("<BBB", body, 0x1e8, 7, minor, major)
        self.good(self.send(policy=0x30137, change=firmware(1, 0x37)))
        for major, minor in ((1, 0x36), (0, 0xff)):
            self.expect(GUEST, "newer ABI", policy=0x30137, change=firmware(major, minor))

    def test_bytes_that_are_reserved(self):
        for version, at in ((2, 0x188), (3, 0x1f8), (5, 0x18b), (5, 0x208)):
            self.expect(REPORT, "reserved", version=version, change=lambda body, a=at: body.__setitem__(a, 1))
        self.good(self.send(version=3, change=lambda body: body.__setitem__(0x188, 0x19)))
        self.good(self.send(version=5, change=lambda body: body.__setitem__(0x1f8, 1)))

    def test_another_root(self):
        f = World.foreign
        self.expect(CHAIN, "doesn't lead", key=f.key, certs=[("vcek", snp.der_of(f.vcek)), ("ask", snp.der_of(f.ask.pem)),
                                                             ("ark", snp.der_of(f.ark.pem))])
        self.expect(CHAIN, "doesn't lead", certs=[("vcek", snp.der_of(World.platform.vcek)), ("ask", snp.der_of(f.ask.pem))],
                    daemon=self.daemon(roots=f.ark.file))

    def test_certificates_of_other_keys(self):
        p = World.platform
        expired = p.ask.issue(p.key, "SEV-VCEK", rows=snp.extensions(), days=-1)
        self.expect(CHAIN, "expired", certs=self.with_cert(expired))
        self.expect(CHAIN, "another chip", certs=self.with_cert(self.vcek(chip=b"x" * 64)))
        self.expect(CHAIN, "another chip", chip=b"x" * 64)
        self.expect(CHAIN, "the certificate is a VLEK's", certs=[("vcek", snp.der_of(self.vcek(chip=None, csp="cloud")))])
        self.expect(CHAIN, "both a chip's and a cloud's", certs=self.with_cert(self.vcek(csp="cloud")))
        self.expect(CHAIN, "P-384", certs=self.with_cert(self.vcek(key=ev.make_key(v.path("p256.key")))))
        self.expect(CHAIN, "a CA's", certs=self.with_cert(p.ask.issue(p.key, "ca", "ca")))
        for name in ("2", "3.1", "3.2", "3.3", "3.8", "4"):
            self.expect(CHAIN, certs=self.with_cert(self.vcek(drop=(name,))))
        for name, value in (("3.1", "DER:02010400"), ("3.1", "DER:02020100"), ("3.1", "DER:0201ff"), ("3.1", "DER:040104"),
                            ("2", "DER:16054d696c616e00"), ("2", "DER:0c054d696c616e")):  # more behind, 256, -1, other types
            self.expect(CHAIN, certs=self.with_cert(self.vcek(other={name: value})))
        for part in snp.TCB:
            self.expect(CHAIN, part, certs=self.with_cert(self.vcek(tcb={part: 250})))
        self.expect(CHAIN, "patch levels", certs=self.with_cert(self.vcek(tcb={"snp": 256})))
        # A chip's own key vouches for nobody.
        child = snp.Issuer.__new__(snp.Issuer)
        child.dir, child.name, child.key, child.file = v.World.dir, "child", p.key, self.file("child.pem", p.vcek)
        other = snp.p384(v.path("other.key"))
        pem = child.issue(other, "SEV-VCEK", rows=snp.extensions(), sign=("-sha384",))
        self.expect(CHAIN, "doesn't lead", key=other, certs=[("vcek", snp.der_of(pem)), ("ask", p.vcek)])

    def test_patch_levels(self):
        for part in ("bootloader", "snp", "microcode"):
            low = {part: 3}
            cert = self.with_cert(self.vcek(tcb=low))
            for launch in (None, snp.TCB):  # low at the start too, or now alone
                self.expect(TCB, "the platform is at", tcb=low, certs=cert, launch=launch)
                self.expect(TCB, part + "=3", tcb=low, certs=cert, launch=launch)
        self.expect(TCB, "when the guest was started", launch={"snp": 19})
        self.expect(TCB, "product 'Genoa'", certs=self.with_cert(self.vcek(product="Genoa-B1")))
        self.expect(TCB, "product 'Milano'", certs=self.with_cert(self.vcek(product="Milano")))
        two = self.daemon(least=(LEAST, LEAST.replace("Milan", "Genoa")))
        self.good(self.send(daemon=two, certs=self.with_cert(self.vcek(product="Genoa-B1"))), two)
        bare = self.daemon("--snp-without-tcb", least=())
        got = self.good(self.send(daemon=bare, tcb={"snp": 0}, certs=self.with_cert(self.vcek(tcb={"snp": 0}))), bare)
        self.assertIs(got["tcb_judged"], False)

    def test_signatures_of_other_kinds_on_certificates(self):
        p = World.platform
        sha256 = ("-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")
        for sign in (("-sha384",), sha256):
            leaf = p.ask.issue(p.key, "SEV-VCEK", rows=snp.extensions(), sign=sign)
            self.expect(CHAIN, "certificate 0 of the path: it isn't signed with RSASSA-PSS", certs=self.with_cert(leaf))
            ask = p.ark.issue(p.ask.key, p.ask.name, "ca", sign=sign)
            daemon = self.daemon(roots=self.file("roots-weak.pem", p.ark.pem + ask))
            self.expect(CHAIN, "certificate 1 of the path: it isn't signed with RSASSA-PSS", daemon=daemon)

    def test_revocation(self):
        p = World.platform
        lists = [self.file("ark.crl", p.ark.revocations()), self.file("ask.crl", p.ask.revocations())]
        revoked = self.file("ask2.crl", p.ask.revocations(p.vcek)), self.file("ark2.crl", p.ark.revocations(p.ask.pem))
        foreign = self.file("foreign.crl", World.foreign.ark.revocations())
        # AMD's roots list what is below them, and nobody lists keys.
        for files, word in ((lists[:1], None), (lists, None), ([lists[0], revoked[0]], "certificate 0 of the path: certificate revoked"),
                            ([revoked[1]], "certificate 1 of the path: certificate revoked"), ([revoked[1], lists[1]], "revoked"),
                            (lists[1:], "certificate 1 of the path: unable to get certificate CRL"), ([foreign], "CRL")):
            daemon = self.daemon(*(x for f in files for x in ("--snp-crl", f)))
            if word:
                self.expect(CHAIN, word, daemon=daemon)
            else:
                self.assertIs(self.good(self.send(daemon=daemon), daemon)["revocation_checked"], True)

    def test_options_that_make_no_rules(self):
        roots = ["--snp-root", World.platform.roots]
        least = ["--snp-min-tcb", LEAST]
        self.refused_start("--snp-without-tcb", options=roots)
        self.refused_start("--snp-without-tcb", options=roots + least + ["--snp-without-tcb"])
        self.refused_start("need --snp-root", options=least)
        self.refused_start("TL1025", "none of the certificates is a root", options=[
            "--snp-root", World.platform.ask.file] + least)
        self.refused_start("TL1025", "chip", options=roots + least + [
            "--snp-key", self.file("bad-key.pem", self.vcek(drop=("4",), chip=None))])
        self.refused_start("TL1025", "revocation list", options=roots + least + ["--snp-crl", self.file("no.crl", b"x")])
        for bad in ("Milan", "Milan:", ":" + LEAST.split(":")[1], LEAST + ",tee=1", LEAST + ",x=1", LEAST.replace("20", "256"),
                    LEAST.replace("tee=0,", ""), LEAST.replace("tee=0", "tee"), "A" * 20 + LEAST[5:]):
            self.refused_start("--snp-min-tcb", "must be", options=roots + ["--snp-min-tcb", bad])

    def test_a_report_can_be_demanded(self):
        daemon = self.daemon("--require-tee", "snp")
        self.good(self.send(daemon=daemon), daemon)
        for verb in ("verifyAttestation", "verifyConfidentialSpace"):
            name, nonce = daemon.challenge()
            error = self.refused(daemon.verify(name, World.paper.evidence(nonce), verb), TEE)
            self.assertIn("demanded: snp", error["message"])
        for bad in ("tdx", "sev", ""):  # the first isn't checked here, so it can't be demanded
            self.refused_start("--require-tee", options=World.options("--require-tee", bad))

    def test_no_check_passed_that_a_broken_report_left_unmade(self):
        log = v.path("snp-decisions")
        daemon = self.daemon("--decision-log", log, "--require-tee", "snp")

        def skipped(**made):
            self.send(daemon=daemon, **made)
            checks = json.loads(ev.read(log).splitlines()[-1])["checks"]
            return {c["check"] for c in checks if c["outcome"] == "skipped" and not c["check"].startswith("tdx")}
        always = {"image_log", "image", "snp_image", "identity"}
        rest = {"snp_chain", "snp_signature", "snp_guest", "snp_tcb"}
        self.assertEqual(skipped(), always)
        self.assertEqual(skipped(edit=lambda r: r[1:]), always | rest | {"nonce"})
        self.assertEqual(skipped(certs=[]), always | {"snp_signature", "snp_tcb"})

    def test_requests(self):
        name, nonce = World.daemon.challenge()
        report = {"report": ev.b64(World.platform.report(nonce))}
        body = {"challenge": name, "sevSnpAttestation": report}
        plain = World.plain
        self.refused(plain.call("POST", "/v1/%s:verifyAttestation" % name, json.dumps(body)), v.REQUEST, status=400)
        self.refused(self.send(daemon=plain), v.UNSUPPORTED, status=400)
        td = {"tdQuote": "AA==", "ccelData": "AA==", "canonicalEventLog": "AA=="}
        self.assertIn("not to 'tdCcel'", self.refused(plain.verify(
            name, World.paper.evidence(nonce), "verifyAttestation", sevSnpAttestation=report, tdCcel=td), v.REQUEST, status=400)["message"])
        for field in ({}, {"report": "!"}, {**report, "more": 1}, []):
            evidence = World.paper.evidence(nonce)
            self.refused(plain.verify(name, evidence, "verifyAttestation", sevSnpAttestation=field), v.REQUEST, status=400)


class Images(Case):
    """The firmware, if the reference values of the image that booted know some."""

    def refs(self, **more):
        document = verifier_image.reference("production")
        document.update(more)
        path = v.path("reference-%d.json" % len(os.listdir(v.World.dir)))
        return ["--reference", ev.write(path, json.dumps(document))]

    def boot(self, daemon, **made):
        return self.send(daemon=daemon, events=verifier_image.boot(), **made)

    def test_firmware_that_the_image_knows_and_firmware_that_it_does_not(self):
        none = self.daemon(*self.refs())
        self.assertIs(self.good(self.boot(none), none)["measurement_known"], False)
        two = self.daemon("--explain", *self.refs(snp=["0" * 96, snp.MEASUREMENT.hex()]))
        self.assertIs(self.good(self.boot(two), two)["measurement_known"], True)
        self.assertIn("found", json.dumps(self.expect(IMAGE, "other firmware", daemon=two, events=verifier_image.boot(),
                                                      measurement=b"x" * 48)))

    def test_documents_that_are_wrong(self):
        for bad in ([], "x", [1], ["0" * 95], ["G" * 96], ["0" * 96] * 300):
            self.refused_start("TL1027", "snp", options=World.options(*self.refs(snp=bad)))


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory(prefix="verifier-snp-") as folder:
        World.start(folder, binary)
        try:
            result = unittest.main(exit=False).result
        finally:
            codes = [d.stop() for d in (World.daemon, World.plain)]
    sys.exit(not result.wasSuccessful() or codes != [0, 0])


if __name__ == "__main__":
    main()
