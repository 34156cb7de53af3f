#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd with reference values, against recorded boots of real firmware and a real
systemd-stub (tests/vectors/boot, made by tests/vm/record_boot.py), and against what an attacker
would make of them: everything that is sent here was really "measured", quote and registers agree.

verifier_image.py BINARY [unittest arguments]
"""
import copy
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest

import verifier as v
import verifier_evidence as ev
import tpm  # noqa: E402 (of tests/world, whose folder verifier_evidence has added)

BOOTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors", "boot")
REPLAY, BANKS = v.FIRMWARE_REPLAY, v.BANKS
REFERENCE, IMAGE_LOG, IMAGE = "TL1027", "TL1028", "TL1029"
ALL_BANKS = ("sha1", "sha256", "sha384")
fw = ev.firmware_log
NAMES = {number: name for name, number in fw.ALGORITHM_IDS.items()}


def stored(name):
    return os.path.join(BOOTS, name)


def recorded(name):
    return json.loads(ev.read(stored(name + ".json")))


def reference(name):
    return json.loads(ev.read(stored(name + ".measurements.json")))


class Logged:
    """An event of a log, with the digests that it has there."""

    def __init__(self, pcr, kind, logged, digests):
        self.pcr, self.kind, self.logged, self.digests = pcr, kind, logged, digests

    def digest(self, bank):
        return self.digests[bank]


def made(pcr, kind, logged, hashed=None):
    hashed = logged if hashed is None else hashed
    return Logged(pcr, kind, logged, {b: hashlib.new(b, hashed).digest() for b in ALL_BANKS})


def events_of(log):
    """TCG PC Client Platform Firmware Profile 1.05, 10.2."""
    at = 32 + struct.unpack_from("<I", log, 28)[0]
    events = []
    while at < len(log):
        pcr, kind, n = struct.unpack_from("<III", log, at)
        at += 12
        digests = {}
        for _ in range(n):
            name = NAMES[struct.unpack_from("<H", log, at)[0]]
            size = hashlib.new(name).digest_size
            digests[name] = log[at + 2:at + 2 + size]
            at += 2 + size
        n = struct.unpack_from("<I", log, at)[0]
        events.append(Logged(pcr, kind, log[at + 4:at + 4 + n], digests))
        at += 4 + n
    return events


def boot(name="production"):
    return events_of(ev.read(stored(name + ".log")))


def find(events, pcr, label=None, kind=None):
    """Where the first event of a register is whose text starts like that."""
    for i, e in enumerate(events):
        if e.pcr == pcr and (kind is None or e.kind == kind) and \
                (label is None or e.logged.startswith(label)):
            return i
    raise AssertionError((pcr, label))


def utf16(text):
    return (text + "\0").encode("utf-16-le")


class World(v.World):
    @classmethod
    def start(cls, folder, binary):
        v.World.dir, v.World.binary = folder, binary
        v.World.ca = ev.Authority(folder, "paper-ca")
        cls.paper = v.World.paper = ev.Paper(folder, cls.ca)
        cls.wide = ev.Paper(folder, cls.ca, ALL_BANKS, cls.paper.key)
        tls = ev.Authority(folder, "tls-ca")
        ev.write(v.path("tls.pem"), ev.run(
            "openssl", "x509", "-inform", "DER",
            data=tls.issue(ev.make_key(v.path("tls.key")) + ".pub", kind="tls")))
        ev.write(v.path("tls-ca.pem"), ev.read(tls.pem))
        ev.secret(v.path("challenge.key"), os.urandom(32))
        cls.key = ev.make_key(v.path("ecc.key"))

        def daemon(name, *references):
            options = []
            for r in references:
                options += ["--reference", stored(r + ".measurements.json")]
            return v.Daemon(name, [cls.key], options)

        cls.one = v.World.rs = daemon("one", "production")
        cls.three = daemon("three", "production", "debug", "other-root-hash")
        cls.none = daemon("none")

    @classmethod
    def stop(cls):
        return [d.stop() for d in (cls.one, cls.three, cls.none)]


class Case(v.Case):
    def send(self, events, daemon=None, by=None, later=(), change=None, **made_with):
        """Evidence of that boot; `later` is what the running system extended: (pcr, bytes)."""
        daemon = daemon or World.one
        by = by or World.paper
        extended = events + [made(pcr, fw.EV_IPL, data) for pcr, data in later]
        name, nonce = daemon.challenge()
        evidence = by.evidence(nonce, boot=extended, **made_with)
        evidence.firmware = fw.encode_log(events, by.banks)
        if change:
            change(evidence)
        return daemon.verify(name, evidence)

    def refused_for(self, reply, code, *words):
        message = self.refused(reply, code)["message"]
        for word in words:
            self.assertIn(word, message)
        return message


class Vectors(unittest.TestCase):
    """The recordings are true: three computations that know nothing of one another agree."""

    def test_each_log_leads_to_the_registers_of_the_guest(self):
        for name in sorted(n[:-4] for n in os.listdir(BOOTS) if n.endswith(".log")):
            events, pcrs = boot(name), recorded(name)["pcrs"]
            text = ev.run("tpm2_eventlog", stored(name + ".log")).decode()
            for bank in ALL_BANKS:
                values = World.wide.pcrs(bank, events, [])
                tool = re.search(r"^  %s:\n((?:    \d+ *: 0x[0-9a-f]+\n)+)" % bank,
                                 text[text.index("\npcrs:"):], re.M).group(1)
                tool = dict(re.findall(r"(\d+) *: 0x([0-9a-f]+)", tool))
                for pcr in range(24):
                    if pcr == 10:  # the kernel's own, with another log
                        continue
                    self.assertEqual(values[pcr].hex(), pcrs[bank][str(pcr)], (name, bank, pcr))
                    if str(pcr) in tool:
                        self.assertEqual(tool[str(pcr)], pcrs[bank][str(pcr)], (name, bank, pcr))

    def test_references_made_of_files_are_the_registers_of_the_guest(self):
        for name in ("production", "debug", "other-root-hash", "other-initrd", "other-kernel"):
            pcrs = recorded(name)["pcrs"]
            for pcr, values in reference(name)["pcrs"].items():
                for bank in ALL_BANKS:
                    self.assertEqual(values[bank], pcrs[bank][pcr], (name, pcr, bank))
            self.assertEqual(reference(name)["cmdline"], recorded(name)["cmdline"])

    def test_any_other_part_gives_another_pcr_11_and_4(self):
        for pcr in ("4", "11"):
            values = {reference(n)["pcrs"][pcr]["sha256"] for n in (
                "production", "debug", "other-root-hash", "other-initrd", "other-kernel")}
            self.assertEqual(len(values), 5)


class Accepts(Case):
    def test_claims_say_which_image_booted(self):
        for by in (World.paper, World.wide):
            claims = self.accepted(self.send(boot(), by=by), daemon=World.one)
            due = reference("production")
            self.assertEqual(claims["submods"]["teelaunch_image"], {
                "known": True, "name": "boot-test", "version": "production", "commit": "0",
                "flavour": "production", "root_hash": "ab" * 32,
                "uki_authenticode_sha256": due["events"][0]["digests"]["sha256"]})
            self.assertEqual((claims["dbgstat"], claims["swversion"], claims["swname"],
                              claims["secboot"]),
                             ("disabled-since-boot", ["production"], "CONFIDENTIAL_SPACE", False))

    def test_the_log_as_the_guest_read_it(self):
        def change(e):
            e.firmware = ev.read(stored("production.log"))
        self.accepted(self.send(boot(), by=World.wide, change=change))

    def test_all_releases_in_use_at_once_and_debug_is_said(self):
        for name, status in (("production", "disabled-since-boot"), ("debug", "enabled"),
                             ("other-root-hash", "disabled-since-boot")):
            claims = self.accepted(self.send(boot(name), World.three), daemon=World.three)
            self.assertEqual((claims["dbgstat"], claims["swversion"]), (status, [name]))
            self.assertEqual(claims["submods"]["teelaunch_image"]["root_hash"],
                             reference(name)["roothash"])

    def test_without_references_nothing_is_known_about_the_image(self):
        for events in (boot(), boot("replaced-cmdline"), ev.good_boot()):
            claims = self.accepted(self.send(events, World.none), daemon=World.none)
            self.assertEqual(claims["submods"]["teelaunch_image"], {"known": False})
            self.assertEqual(claims["swversion"], [])
            self.assertEqual(claims["dbgstat"],
                             "disabled-since-boot" if events[-1].pcr == 5 and any(
                                 e.pcr == 8 for e in events) else "enabled")

    def test_the_signed_image_with_secure_boot(self):
        claims = self.accepted(self.send(boot("secure-boot"), by=World.wide), daemon=World.one)
        self.assertEqual((claims["secboot"], claims["dbgstat"], claims["swversion"]),
                         (True, "disabled-since-boot", ["production"]))

    def test_phases_that_systemd_measures_later(self):
        phases = [b"enter-initrd", b"leave-initrd", b"sysinit", b"ready"]
        for later in (phases, phases[2:], phases[:1]):
            self.accepted(self.send(boot(), by=World.wide, later=[(11, w) for w in later]))

    def test_firmware_and_disk_are_not_the_images(self):
        events = boot()
        events[find(events, 0, kind=fw.EV_S_CRTM_VERSION)] = made(0, fw.EV_S_CRTM_VERSION, b"2")
        events[find(events, 5, b"EFI PART")] = made(5, 0x80000006, b"EFI PART other disk")
        events[find(events, 1, kind=0x80000002)] = made(1, 0x80000002, b"another boot order")
        self.accepted(self.send(events))

    def test_labels_and_types_of_the_log_mean_nothing(self):
        events = boot()
        for e in events:
            if e.pcr in (4, 9, 11):
                e.logged = b".cmdline"
        self.accepted(self.send(events))


class Replayed(ev.Tpm):
    """A software TPM into which a recorded boot is measured again, so that it can quote it."""

    def boot(self, name):
        machine = tpm.Tpm(self.dir, {"banks": ",".join(self.banks)})
        machine.power_off()
        machine.power_on()
        self.begin()
        events = [e for e in boot(name) if e.kind != fw.EV_NO_ACTION]
        ev.run("tpm2_pcrextend", *["%d:%s" % (e.pcr, ",".join(
            "%s=%s" % (bank, e.digest(bank).hex()) for bank in self.banks)) for e in events])
        ev.write(self.path("binary_bios_measurements"), ev.read(stored(name + ".log")))
        self.measure(ev.GOOD_EVENTS)


class RealQuotes(Case):
    """By a TPM: its own arithmetic leads from the recorded events to the registers of the guest."""

    def test_recorded_boots_that_a_tpm_quotes(self):
        replayed = Replayed(v.path("tpm"), list(ALL_BANKS))
        daemon = v.Daemon("real", [World.key], [
            "--reference", stored("production.measurements.json"),
            "--ak-roots", "WORLD=" + v.path("tpm", "ak-root.pem")])
        try:
            for name, words in (("production", None), ("debug", "command line"),
                                ("replaced-cmdline", "outside of the image")):
                replayed.boot(name)
                challenge, nonce = daemon.challenge()
                evidence = replayed.evidence(nonce)
                for bank in ALL_BANKS:
                    for pcr in set(range(13)) - {10}:
                        self.assertEqual(evidence.quotes[bank]["pcrs"][pcr].hex(),
                                         recorded(name)["pcrs"][bank][str(pcr)], (name, pcr))
                reply = daemon.verify(challenge, evidence)
                if words:
                    self.refused_for(reply, IMAGE, words)
                    continue
                claims = self.accepted(reply, daemon=daemon)
                self.assertEqual(claims["swversion"], [name])
                self.assertEqual(claims["hwmodel"], "WORLD")
                self.assertRegex(ev.read(daemon.log).decode(), "machine_image='production'")
        finally:
            code = daemon.stop()
            replayed.stop()
        self.assertEqual(code, 0)


class RefusesImages(Case):
    def test_other_images_by_the_part_that_differs(self):
        for name, words in {
            "debug": ("kernel command line (with the root hash) differs", "PCR 11, event 6",
                      "(.cmdline)"),
            "other-root-hash": ("kernel command line (with the root hash) differs", "PCR 11, event 6"),
            "other-initrd": ("initrd differs", "PCR 11, event 8", "(.initrd)"),
            "other-kernel": ("kernel differs", "PCR 11, event 2", "(.linux)"),
            "replaced-cmdline": ("command line or credential from outside of the image differs",
                                 "PCR 12, event 1", "expected sha256 nothing"),
            "added-credential": ("command line or credential from outside of the image differs",
                                 "PCR 12, event 1"),
        }.items():
            with self.subTest(name):
                self.refused_for(self.send(boot(name)), IMAGE,
                                 "reference 'boot-test production production'", *words)

    def test_the_message_has_both_digests(self):
        expected, found = (next(e["digests"]["sha256"] for e in reference(n)["events"]
                                if e["name"] == ".initrd") for n in ("production", "other-initrd"))
        self.refused_for(self.send(boot("other-initrd")), IMAGE,
                         "expected sha256 %s, found %s" % (expected[:16], found[:16]))

    def test_the_nearest_reference_explains(self):
        events = boot("other-root-hash")
        at = find(events, 11, utf16(".initrd")) + 1
        events[at] = made(11, fw.EV_IPL, utf16(".initrd"), b"another initrd")
        self.refused_for(self.send(events, World.three), IMAGE, "initrd differs",
                         "'boot-test other-root-hash production'")

    def test_a_program_beside_the_images_own(self):
        app = made(4, 0x80000003, b"path", b"another program")
        events = boot()
        first, last = find(events, 4, kind=0x80000003), find(events, 5, b"Exit Boot Services Inv")
        self.refused_for(self.send(events[:first] + [app] + events[first:]), IMAGE,
                         "UKI differs", "PCR 4, event 1")
        self.refused_for(self.send(events[:last] + [app] + events[last:]), IMAGE,
                         "program that isn't the image's differs", "PCR 4, event 3",
                         "expected sha256 nothing")
        self.refused_for(self.send([e for e in events if e.kind != 0x80000003]), IMAGE,
                         "UKI differs", "found nothing")
        uki = events.pop(first)
        self.refused_for(self.send([uki] + events), IMAGE_LOG, "program before the separator")

    def test_programs_with_secure_boot(self):
        events = boot("secure-boot")
        app = made(4, 0x80000003, b"path", b"another program")
        self.refused_for(self.send(events + [app]), IMAGE, "kernel differs", "PCR 4, event 2")
        at = find(events, 4, kind=0x80000003)
        self.refused_for(self.send(events[:at] + events[at + 1:]), IMAGE, "UKI differs",
                         "found nothing")

    def test_events_that_hide_behind_types_of_the_firmware(self):
        for kind in (fw.EV_EFI_ACTION, fw.EV_SEPARATOR, fw.EV_IPL):
            hidden = made(4, kind, b"Calling EFI Application from Boot Option", b"a program")
            self.refused_for(self.send(boot() + [hidden]), IMAGE, "PCR 4, event 3")

    def test_code_that_ran_behind_the_stub(self):
        for name in (".cmdline", ".linux"):
            again = boot()
            at = find(again, 11, utf16(name))
            self.refused_for(self.send(again + copy.deepcopy(again[at:at + 2])), IMAGE,
                             "measurement behind the image's parts differs", "PCR 11, event 9")
        self.refused_for(self.send(boot() + [made(11, fw.EV_IPL, b"injected")]), IMAGE,
                         "PCR 11, event 9")
        self.refused_for(self.send(boot(), later=[(11, b"injected")]), IMAGE,
                         "register's value differs", "PCR 11:")
        self.refused_for(self.send(boot(), later=[(11, b"ready"), (11, b"sysinit")]), IMAGE,
                         "PCR 11:")
        for word in (b"more", b"ready"):  # systemd-pcrphase's words belong into PCR 11 alone
            self.refused_for(self.send(boot(), later=[(12, word)]), IMAGE, "PCR 12:")

    def test_parts_that_are_missing_doubled_or_in_another_order(self):
        events = boot()
        line, initrd = find(events, 11, utf16(".cmdline")), find(events, 11, utf16(".initrd"))
        pair, other = events[line:line + 2], events[initrd:initrd + 2]
        for changed, words in (
                (events[:line] + events[line + 2:], "command line"),
                (events[:line] + pair + events[line:], "initrd"),
                (events[:line] + other + pair + events[initrd + 2:], "command line"),
                (events[:initrd] + events[initrd + 2:], "initrd")):
            self.refused_for(self.send(changed), IMAGE, words + " ", "PCR 11, event")

    def test_what_the_kernel_says_it_got(self):
        events = boot()
        at = find(events, 9)
        for i, word in ((at, "command line"), (at + 1, "initrd")):
            other = list(events)
            other[i] = made(9, 6, events[i].logged, b"another")
            self.refused_for(self.send(other), IMAGE, word, "PCR 9, event %d" % (i - at + 1))

    def test_an_event_moved_to_another_register(self):
        events = boot()
        for pcr in (4, 9, 11):
            moved = copy.deepcopy(events)
            moved[find(moved, pcr, kind=0x80000003 if pcr == 4 else None)].pcr = 6
            self.refused_for(self.send(moved), IMAGE, "PCR %d, event" % pcr)

    def test_a_boot_by_grub(self):
        body = self.refused(self.send(ev.good_boot()), IMAGE_LOG, IMAGE)
        self.assertIn("GRUB", body["message"])


class RefusesLogs(Case):
    def test_a_log_that_does_not_lead_to_the_quoted_registers(self):
        """The attacker shows the log of the good image for the quote of another."""
        good = fw.encode_log(boot(), World.paper.banks)
        for name in ("debug", "other-root-hash", "replaced-cmdline"):
            body = self.refused(self.send(boot(name), change=lambda e: setattr(
                e, "firmware", good)), REPLAY, IMAGE)
            self.assertIn("register's value differs", body["message"])

    def test_separators_that_are_missing_or_doubled(self):
        events = boot()
        for pcr in range(8):
            if pcr == 7:  # is refused for Secure Boot, too
                continue
            at = find(events, pcr, kind=fw.EV_SEPARATOR)
            codes = {IMAGE_LOG}
            for changed in (events[:at] + events[at + 1:], events[:at] + [events[at]] + events[at:]):
                body = self.send(changed)[1]["error"]
                self.assertLessEqual(codes, {d["reason"] for d in body["details"]}, pcr)
                self.assertIn("PCR %d has" % pcr, body["message"])

    def test_boot_services_that_were_never_left(self):
        events = boot()
        at = find(events, 5, b"Exit Boot Services Inv")
        later = made(5, fw.EV_EFI_ACTION, b"more")
        for changed in (events[:at] + events[at + 2:], events[:at + 1] + events[at + 2:],
                        events[:at] + events[at + 1:], events + [later],
                        events[:at + 1] + [made(5, fw.EV_EFI_ACTION, events[at + 1].logged,
                                                b"Exit Boot Services Returned with Failure")]):
            self.refused_for(self.send(changed), IMAGE_LOG, "exit of the boot services")

    def test_a_driver_from_a_device(self):
        self.refused_for(self.send([made(2, 0x80000004, b"path", b"option rom")] + boot()),
                         IMAGE_LOG, "option ROM")

    def test_registers_where_nobody_measures(self):
        for pcr in (8, 10, 13, 14, 15, 16, 23):
            reply = self.send(boot() + [made(pcr, fw.EV_NONHOST_INFO, b"x")])
            body = reply[1]["error"]
            self.assertIn(IMAGE_LOG, {d["reason"] for d in body["details"]}, pcr)
            self.assertIn("PCR %d has an event" % pcr, body["message"])

    def test_weak_or_missing_banks(self):
        sha1 = ev.Paper(World.dir, World.ca, ("sha1",), World.paper.key)
        self.refused(self.send(boot(), by=sha1), BANKS, IMAGE_LOG)
        sha512 = fw.encode_log([made(e.pcr, e.kind, e.logged) for e in boot()], ("sha1",))
        body = self.send(boot(), change=lambda e: setattr(e, "firmware", sha512))[1]["error"]
        self.assertIn(IMAGE_LOG, {d["reason"] for d in body["details"]})
        self.assertNotIn(IMAGE, {d["reason"] for d in body["details"]})

    def test_a_quote_that_leaves_out_what_names_the_image(self):
        for pcr in (11, 12):
            self.refused_for(self.send(boot(), mask=0xFFFFFF & ~(1 << pcr)), BANKS,
                             "doesn't cover PCRs 11 and 12")

    def test_a_log_cut_between_events(self):
        events = boot()
        for n in range(len(events)):
            status, body = self.send(events[:n])
            self.assertEqual(status, 403, n)
            self.assertLessEqual({IMAGE_LOG}, {d["reason"] for d in body["error"]["details"]}, n)

    def test_each_bank_counts(self):
        for bank in ALL_BANKS:
            events = copy.deepcopy(boot())
            events[find(events, 11, utf16(".initrd")) + 1].digests[bank] = bytes(
                hashlib.new(bank).digest_size)
            self.refused_for(self.send(events, by=World.wide), IMAGE, "initrd",
                             "expected " + bank)

    def test_a_start_from_another_locality(self):
        """PCR 0 then starts from 3 or 4; that is the firmware's, the image stays known."""
        start = made(0, fw.EV_NO_ACTION, b"StartupLocality\0\3")

        def change(e):
            e.firmware = fw.encode_log([start] + boot(), World.paper.banks)
        self.refused(self.send(boot(), change=change), REPLAY)


class RefusesReferences(Case):
    def start_fails(self, text, *words):
        file = ev.write(v.path("reference.json"), text)
        done = subprocess.run(
            [World.binary, "--listen", "127.0.0.1:0", "--tls-cert", v.path("tls.pem"), "--tls-key",
             v.path("tls.key"), "--token-key", World.key, "--ak-roots", "A=" + World.ca.pem,
             "--reference", stored("debug.measurements.json"), "--reference", file],
            capture_output=True, timeout=20, check=False)
        message = done.stderr.decode()
        self.assertEqual(done.returncode, 1, message)
        self.assertIn("teeverifierd: " + REFERENCE, message)
        for word in ("--reference '%s'" % file,) + words:
            self.assertIn(word, message)

    def changed(self, change):
        document = reference("production")
        change(document)
        return json.dumps(document)

    def test_fields_that_are_missing_empty_or_of_another_kind(self):
        for name in ("schema", "name", "version", "commit", "flavour", "hardened", "cmdline",
                     "roothash", "pcrs", "events"):
            self.start_fails(self.changed(lambda d, n=name: d.pop(n)), "'%s'" % name)
            for value in ("", [], {}, 7, None):
                self.start_fails(self.changed(lambda d, n=name, x=value: d.update({n: x})),
                                 "'%s'" % name)
        self.start_fails(self.changed(lambda d: d.update(name="x\ny")), "'name'")

    def test_documents_that_are_none(self):
        good = json.dumps(reference("production"))
        self.start_fails("", "no JSON object")
        self.start_fails(good[:-1], "no JSON object")
        self.start_fails(good[:-1] + ', "name": "again"}', "no JSON object")
        self.start_fails("[" * 100, "the document is")
        self.start_fails("[" + "{}," * 80000 + "1]", "the document is")
        self.start_fails(self.changed(lambda d: d.update(schema="teelaunch.image-measurements/2")),
                         "'schema'")

    def test_values_that_contradict_one_another(self):
        def another(d, pcr, name):
            return next(e for e in d["events"] if e["pcr"] == pcr and e["name"] == name)["digests"]

        for change, word in (
                (lambda d: d.update(hardened=False), "'hardened'"),
                (lambda d: d.update(flavour="debug"), "'flavour'"),
                (lambda d: d.update(roothash="00" * 32), "'roothash'"),
                (lambda d: d.update(cmdline=d["cmdline"] + " x"), "'cmdline'"),
                (lambda d: d.update(cmdline=d["cmdline"] + " confidential-space.hardened=true"),
                 "'cmdline'"),
                (lambda d: another(d, 11, ".initrd").update(sha256="00" * 32), "'pcrs.11.sha256'"),
                (lambda d: d["pcrs"]["12"].update(sha1="00" * 19 + "01"), "'pcrs.12.sha1'"),
                (lambda d: d["pcrs"].pop("12"), "'pcrs'"),
                (lambda d: d["pcrs"].update({"24": d["pcrs"]["12"]}), "'pcrs'"),
                (lambda d: d["pcrs"].update({"011": d["pcrs"]["11"]}), "'pcrs'"),
                (lambda d: d["pcrs"]["11"].pop("sha384"), "'pcrs.11.sha384'"),
                (lambda d: d["events"][0].update(pcr=24), "'pcr'"),
                (lambda d: d["events"].append(dict(d["events"][0], pcr=5)), "'pcr'"),
                (lambda d: d["events"][3].pop("name"), "events[3]"),
                (lambda d: d["events"][3]["digests"].update(sha256="AB" * 32), "'digests.sha256'"),
                (lambda d: d.update(events=[e for e in d["events"] if e["pcr"] != 4]), "PCR 4"),
        ):
            self.start_fails(self.changed(change), word)

    def test_the_same_image_twice(self):
        document = reference("debug")
        document.update(name="other-name")
        self.start_fails(json.dumps(document), "'boot-test debug' is, given before")

    def test_a_version_from_two_sources(self):
        done = subprocess.run(
            [World.binary, "--tls-cert", v.path("tls.pem"), "--tls-key", v.path("tls.key"),
             "--token-key", World.key, "--ak-roots", "A=" + World.ca.pem, "--swversion", "7",
             "--reference", stored("debug.measurements.json")],
            capture_output=True, timeout=20, check=False)
        self.assertIn("TL0003: --swversion and --reference exclude each other",
                      done.stderr.decode())

    def test_fields_that_this_version_does_not_know_are_skipped(self):
        document = reference("production")
        document.update(later={"x": [1]})
        daemon = v.Daemon("later", [World.key], [
            "--reference", ev.write(v.path("later.json"), json.dumps(document))])
        self.accepted(self.send(boot(), daemon), daemon=daemon)
        self.assertEqual(daemon.stop(), 0)


def main():
    binary = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory() as folder:
        codes = []
        try:
            World.start(folder, binary)
            result = unittest.main(exit=False).result
        finally:
            codes = World.stop()
            for name in ("one", "three", "none"):
                log = ev.read(os.path.join(folder, name + ".log")).decode()
                if "Sanitizer" in log or "runtime error" in log:
                    print(log[-8000:])
                    codes.append(99)
    if codes != [0, 0, 0]:
        print("teeverifierd didn't end well:", codes)
    sys.exit(not result.wasSuccessful() or codes != [0, 0, 0])


if __name__ == "__main__":
    main()
