#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reports by configfs-tsm, RTMR 3 and the CC event log, against a file system that behaves as Linux' does
(tests/world/hardware.py). What comes out is read and replayed by python.

  tsm_backend.py TSM_TOOL
"""
import errno
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))

import hardware  # noqa: E402
from hardware import Hardware  # noqa: E402

TOOL = sys.argv[1]
NONCE = b"a nonce of this test"
BLOB_MAX = 128 << 10


def launch_log():
    """The three events of tsm_tool.c as a log of RTMR 3 (docs/measurement.md), and what the register holds
    after them."""
    def tlv(kind, value):
        return bytes([kind]) + struct.pack(">I", len(value)) + value
    log, register = b"", bytes(48)
    for number, (kind, content) in enumerate(((4, b"/hello"), (5, b"A=1"), (8, b""))):
        event = tlv(0x50, tlv(kind, content))
        digest = hashlib.sha384(event).digest()
        register = hashlib.sha384(register + digest).digest()
        log += tlv(0, struct.pack(">Q", number)) + tlv(0x6C, b"\x04") + tlv(3, tlv(0x0C, digest)) + event
    return log, register


class Backend(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tsm-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.hw = Hardware(os.path.join(cls.folder, "hw")).start()
        cls.addClassCleanup(cls.hw.stop)

    def machine(self, **behaviour):
        return self.hw.boot(**behaviour)

    def tool(self, mode, *arguments, fs=None):
        done = subprocess.run([TOOL, mode, fs or self.hw.fs, *arguments], capture_output=True, timeout=120,
                              check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.stdout.decode().splitlines()

    def out(self, name):
        with open(os.path.join(self.folder, name), "rb") as f:
            return f.read()

    def good(self, mode, *arguments):
        self.assertEqual(self.tool(mode, *arguments)[-1], "ok")
        self.assertEqual(self.hw.entries, [])

    def bad(self, code, words, mode, *arguments, fs=None):
        """Refused with that code, and nothing stays behind."""
        line = self.tool(mode, *arguments, fs=fs)[-1]
        self.assertTrue(line.startswith(code + " "), line)
        self.assertIn(words, line)
        if not fs and os.path.isdir(os.path.join(self.hw.fs, "tsm")):
            self.assertEqual(self.hw.entries, [])
            made = [e for e in self.hw.events if e == "mkdir"]
            self.assertEqual(len(made), self.hw.events.count("rmdir"))

    def report(self, kind="tdx", nonce=NONCE):
        return "report", kind, nonce.hex(), self.folder

    # --- one report

    def test_a_report_is_over_the_nonce_and_zeros(self):
        hw = self.machine()
        for nonce in (b"n", NONCE, bytes(range(64))):
            self.good(*self.report(nonce=nonce))
            self.assertEqual(hw.events[-2], "inblob " + nonce.ljust(64, b"\0").hex())
            quote = self.out("out")
            self.assertEqual(quote[48 + 520:48 + 584], nonce.ljust(64, b"\0"))
            self.assertEqual(quote, hardware.tdx_quote(nonce.ljust(64, b"\0"), self.rtmrs()))
            self.assertEqual(self.out("aux"), b"")

    @staticmethod
    def rtmrs():
        return [bytes([i]) * 48 for i in (1, 2, 3, 0)]

    def test_a_nonce_has_1_to_64_bytes(self):
        hw = self.machine()
        for nonce in (b"", bytes(65)):
            self.bad("TL0718", "1 to 64", *self.report(nonce=nonce))
        self.assertEqual(hw.events, [])

    def test_certificates_come_with_the_report(self):
        self.machine(provider="sev_guest", has_tdx=False, has_aux=True)
        self.good(*self.report("snp"))
        self.assertEqual(self.out("out"), hardware.snp_report(NONCE.ljust(64, b"\0")))
        self.assertEqual(self.out("aux"), hardware.SNP_CERTIFICATES)
        self.good("snp", NONCE.hex(), self.folder)
        self.assertEqual(self.out("report"), self.out("out"))
        self.assertEqual(self.out("certificates"), hardware.SNP_CERTIFICATES)
        self.machine(provider="sev_guest", has_tdx=False)
        self.good("snp", NONCE.hex(), self.folder)
        self.assertEqual(self.out("certificates"), b"")

    def test_another_provider_is_refused(self):
        hw = self.machine(provider="arm_cca_guest")
        self.bad("TL0724", "'arm_cca_guest'; 'tdx_guest' is needed", *self.report())
        self.assertEqual([e for e in hw.events if e.startswith("inblob")], [])
        self.machine(provider="sev_guest")
        self.bad("TL0724", "'sev_guest'; 'tdx_guest' is needed", *self.report("tdx"))
        self.machine()
        self.bad("TL0724", "'tdx_guest'; 'sev_guest' is needed", *self.report("snp"))

    def test_somebody_elses_write_is_noticed_and_the_report_made_again(self):
        for times in (1, 3):
            hw = self.machine(foreign_writes=times)
            self.good(*self.report())
            self.assertEqual(hw.events.count("mkdir"), times + 1)
        hw = self.machine(foreign_writes=1000)
        self.bad("TL0725", "written 2 times instead of once", *self.report())
        self.assertEqual(hw.events.count("mkdir"), 4)

    def test_a_write_that_the_kernel_dropped_is_noticed(self):
        hw = self.machine(lost_writes=2)
        self.good(*self.report())
        self.assertEqual(hw.events.count("mkdir"), 3)
        self.machine(lost_writes=1000)
        self.bad("TL0725", "written 0 times instead of once", *self.report())

    def test_a_busy_host_is_asked_again(self):
        hw = self.machine(busy_reads=3)
        self.good(*self.report())
        self.assertEqual(hw.events.count("mkdir"), 4)
        self.machine(busy_reads=1000)
        self.bad("TL0725", "outblob", *self.report())

    def test_what_does_not_pass_is_asked_once(self):
        for number in (errno.EIO, errno.EINVAL, errno.ENOTTY):
            hw = self.machine(read_errno=number)
            self.bad("TL0724", "outblob", *self.report())
            self.assertEqual(hw.events.count("mkdir"), 1)

    def test_sizes_are_bounded(self):
        self.machine(out_bytes=BLOB_MAX)
        self.good(*self.report())
        self.assertEqual(len(self.out("out")), BLOB_MAX)
        for size in (BLOB_MAX + 1, 16 << 20):
            self.machine(out_bytes=size)
            self.bad("TL0724", "more than %d bytes" % BLOB_MAX, *self.report())

    def test_a_generation_that_is_no_number_is_refused(self):
        for text in ("", "1x", "-1", "9" * 40, "x" * 3000):
            self.machine(generation=text)
            self.bad("TL0724", "generation", *self.report())
        self.machine(generation="7")
        self.bad("TL0725", "0 times", *self.report())

    def test_snp_reports_that_are_not_ours_are_refused(self):
        for words, how in (("another nonce", {"wrong_nonce": True}), ("1183 bytes instead of 1184", {"out_bytes": 1183}),
                           ("1185 bytes", {"out_bytes": 1185})):
            self.machine(provider="sev_guest", has_tdx=False, **how)
            self.bad("TL0719", words, "snp", NONCE.hex(), self.folder)

    def test_threads_do_not_meet(self):
        hw = self.machine(provider="sev_guest", has_tdx=False)
        self.good("many", "8")
        self.assertEqual(hw.events.count("mkdir"), 80)
        self.assertEqual(len({e for e in hw.events if e.startswith("inblob")}), 80)

    # --- which machine it is

    def test_a_machine_is_what_the_kernel_shows(self):
        for kind, how in (("tdx", {}), ("snp", {"provider": "sev_guest", "has_tdx": False}),
                          ("none", {"provider": "arm_cca_guest", "has_tdx": False}),
                          ("none", {"has_entries": False, "has_tdx": False}),
                          ("none", {"has_tsm": False, "has_tdx": False})):
            hw = self.machine(**how)
            self.assertEqual(self.tool("find"), [kind, "ok"])
            if "has_tsm" not in how:
                self.assertEqual(hw.entries, [])
        self.assertEqual(self.tool("find", fs=os.path.join(self.folder, "nowhere")), ["none", "ok"])

    def test_tdx_that_makes_no_quotes_is_an_error(self):
        for how in ({"has_tsm": False}, {"has_entries": False}, {"provider": "sev_guest"}):
            self.machine(**how)
            self.bad("TL0724", "says that this is a TDX guest, but", "find")
        plain = os.path.join(self.folder, "plain")
        os.makedirs(os.path.join(plain, "tsm", "report"))
        self.bad("TL0724", "provider", "find", fs=plain)
        self.assertEqual(os.listdir(os.path.join(plain, "tsm", "report")), [])

    # --- RTMR 3 and the firmware's log

    def launch(self):
        return "launch", NONCE.hex(), self.folder

    def test_register_log_and_quote_agree(self):
        for version, body in ((4, 48), (5, 54)):
            hw = self.machine(quote_version=version)
            self.good(*self.launch())
            log, register = launch_log()
            self.assertEqual(self.out("cel"), log)
            self.assertEqual(hw.rtmr3(), register)
            quote = self.out("quote")
            self.assertEqual(quote[body + 472:body + 520], register)
            self.assertEqual(quote[body + 520:body + 584], NONCE.ljust(64, b"\0"))
            self.assertEqual(self.out("table"), hardware.CCEL_TABLE)
            self.assertEqual(self.out("data"), hardware.ccel_log())
            self.assertEqual(self.out("data")[-3:], b"\xff\xff\xff")

    def test_a_used_register_is_refused(self):
        hw = self.machine(used_rtmr3=True)
        self.bad("TL0712", "RTMR 3 isn't zero", *self.launch())
        self.assertEqual(hw.events, [])

    def test_an_extension_that_fails_ends_everything(self):
        for at in (1, 2, 3):
            hw = self.machine(extend_fails_at=at)
            self.bad("TL0726", "extend RTMR 3", *self.launch())
            self.assertEqual(len(hw.events), at - 1)

    def test_quotes_that_are_not_ours_are_refused(self):
        for code, words, how in (("TL0719", "another nonce", {"wrong_nonce": True}),
                                 ("TL0712", "RTMR 3 isn't what its log gives", {"wrong_rtmr3": True}),
                                 ("TL0719", "neither version 4", {"quote_version": 3}),
                                 ("TL0719", "another kind", {"out_bytes": 4096}),
                                 ("TL0719", "too short", {"out_bytes": 40}),
                                 ("TL0724", "more than", {"out_bytes": 1 << 20})):
            self.machine(**how)
            self.bad(code, words, *self.launch())

    def test_firmware_logs_that_cannot_be_read_are_refused(self):
        log = hardware.ccel_log()
        table = hardware.CCEL_TABLE
        for words, how in (("byte 0: the header is cut off", {"data": b""}), ("no header", {"data": bytes(100)}),
                           ("CC event log, byte", {"data": log[:-1]}), ("for each algorithm", {"data": log + b"\xff" * 99 + b"x"}),
                           ("File too large", {"data": log.ljust((1 << 20) + 1, b"\xff")}),
                           ("isn't a 'CCEL'", {"table": b""}), ("isn't a 'CCEL'", {"table": b"X" + table[1:]}),
                           ("File too large", {"table": table + bytes(5000)}),
                           ("of type 1", {"table": table[:36] + b"\x01" + table[37:]})):
            self.machine().firmware(**how)
            self.bad("TL0727", words, *self.launch())
        self.machine().firmware(data=log)
        self.good(*self.launch())
        self.assertEqual(self.out("data"), log)

    def test_what_is_not_there_is_named(self):
        self.machine(has_tdx=False)
        self.bad("TL0726", "rtmr3:sha384': No such file", *self.launch())


if __name__ == "__main__":
    hardware.skip_if_impossible()
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
