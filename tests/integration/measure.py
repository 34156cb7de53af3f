#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`teelaunch measure`: logs and registers as hashlib computes them, and everything that isn't a log refused."""
import base64
import hashlib
import json
import os
import struct
import subprocess
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "cel.json")
TEELAUNCH = os.path.join(os.environ["TL_PROGRAMS"], "teelaunch")
ALGORITHMS = {"sha1": 0x0004, "sha256": 0x000B, "sha384": 0x000C, "sha512": 0x000D}


def tlv(kind, value):
    return struct.pack(">BI", kind, len(value)) + value


def record(number, index, events_type, content, banks):
    inner = tlv(0x50, tlv(events_type, content))
    digests = b"".join(tlv(ALGORITHMS[b], hashlib.new(b, inner).digest()) for b in banks)
    return tlv(0, struct.pack(">Q", number)) + tlv(*index) + tlv(3, digests) + inner


def log(events, banks=("sha1", "sha256", "sha384"), index=(1, b"\x0d")):
    return b"".join(record(i, index, t, c, banks) for i, (t, c) in enumerate(events))


def register(events, bank):
    value = bytes(hashlib.new(bank).digest_size)
    for kind, content in events:
        digest = hashlib.new(bank, tlv(0x50, tlv(kind, content))).digest()
        value = hashlib.new(bank, value + digest).digest()
    return value.hex()


LAUNCH = [(0, b"registry.example/app:1"), (1, b"sha256:" + b"a" * 64), (2, b"Never"), (3, b"sha256:" + b"b" * 64),
          (4, b"/app"), (4, b""), (5, b"PATH=/bin"), (5, "N=\u00e4\n".encode()), (7, b"N=x"), (6, b"\0\xff"),
          (9, b"\0"), (8, b"")]


class Measure(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="tl-measure-")
        self.addCleanup(self.folder.cleanup)

    def run_it(self, *options, data=b"", status=0):
        path = os.path.join(self.folder.name, "input")
        with open(path, "wb") as f:
            f.write(data)
        done = subprocess.run([TEELAUNCH, "measure", *(path if o is None else o for o in options)],
                              capture_output=True, timeout=30)
        self.assertEqual(done.returncode, status, done.stderr.decode())
        return done

    def document(self, *options, data=b""):
        return json.loads(self.run_it(*options, "--json", data=data).stdout)

    def encode(self, events, *options):
        text = json.dumps([{"type": t, "content_b64": base64.b64encode(c).decode()} for t, c in events])
        return self.document("--events", None, *options, data=text.encode())

    def assert_document(self, got, events, banks=("sha1", "sha256", "sha384")):
        self.assertEqual(got["schema"], "teelaunch.measure/1")
        self.assertEqual(got["cel_hex"], log(events, banks).hex())
        self.assertEqual(got["cel_rtmr_hex"], log(events, ("sha384",), (0x6C, b"\x04")).hex())
        self.assertEqual(got["pcr13"], {b: register(events, b) for b in banks})
        self.assertEqual(got["rtmr3"], register(events, "sha384"))
        self.assertEqual([(e["type"], base64.b64decode(e["content_b64"])) for e in got["events"]], events)
        for event, (kind, content) in zip(got["events"], events):
            want = {b: hashlib.new(b, tlv(0x50, tlv(kind, content))).hexdigest() for b in banks}
            self.assertEqual(event["digests"], want)

    def test_a_launch_is_encoded_as_hashlib_does(self):
        got = self.encode(LAUNCH)
        self.assert_document(got, LAUNCH)
        self.assertEqual([e["name"] for e in got["events"]],
                         ["image_ref", "image_digest", "restart_policy", "image_id", "arg", "arg", "env", "env",
                          "override_env", "override_arg", "memory_monitor", "separator"])

    def test_banks_are_chosen_and_ordered(self):
        for banks in (["sha256"], ["sha384", "sha1"], ["sha512", "sha256", "sha1", "sha384"]):
            self.assert_document(self.encode(LAUNCH, "--banks", ",".join(banks)), LAUNCH, banks)

    def test_nothing_and_types_without_a_name(self):
        self.assert_document(self.encode([]), [])
        got = self.encode([(200, b"x")])
        self.assert_document(got, [(200, b"x")])
        self.assertNotIn("name", got["events"][0])

    def test_the_vectors(self):
        seen = 0
        with open(VECTORS, encoding="utf-8") as f:
            cases = json.load(f)["cases"]
        for case in cases:
            with self.subTest(case["id"]):
                if case.get("kind") == "decode":
                    ok = case["expect"]["ok"]
                    done = self.run_it("--decode", None, data=bytes.fromhex(case["cel_hex"]), status=0 if ok else 3)
                    if not ok:
                        self.assertRegex(done.stderr.decode(), r"record \d+, byte \d+: ")
                elif all("content_hex" in e for e in case["events"]) and "cel_hex" in case["tpm"]:
                    banks = case["tpm"].get("banks") or sorted(case["tpm"]["pcr13"], key=ALGORITHMS.get)
                    got = self.encode([(e["type"], bytes.fromhex(e["content_hex"])) for e in case["events"]],
                                      "--banks", ",".join(banks))
                    self.assertEqual(got["cel_hex"], case["tpm"]["cel_hex"])
                    self.assertEqual(got["pcr13"], case["tpm"]["pcr13"])
                seen += 1
        self.assertEqual(seen, 32)

    def test_what_was_encoded_is_decoded(self):
        for banks in (("sha1", "sha256", "sha384"), ("sha256",)):
            data = log(LAUNCH, banks)
            self.assert_document(self.document("--decode", None, data=data), LAUNCH, banks)
        data = log(LAUNCH, ("sha384",), (0x6C, b"\x04"))
        self.assert_document(self.document("--decode", None, data=data), LAUNCH, ("sha384",))

    def test_a_log_that_lies_is_refused(self):
        good = log(LAUNCH)
        at = good.index(b"registry.example")
        for data in (good[:-1], good + b"\0", good[:at] + b"X" + good[at + 1:], good[9:], b"\1" + good[1:]):
            done = self.run_it("--decode", None, data=data, status=3)
            self.assertRegex(done.stderr.decode(), r"^teelaunch measure: TL07\d\d: ")
            self.assertEqual(done.stdout, b"")
        flips = 0
        small = log(LAUNCH[:2], ("sha1", "sha256"))
        for i in range(len(small)):
            changed = small[:i] + bytes([small[i] ^ 0x40]) + small[i + 1:]
            done = subprocess.run([TEELAUNCH, "measure", "--decode", "-"], input=changed, capture_output=True,
                                  timeout=30)
            self.assertEqual(done.returncode, 3, "byte %d" % i)
            flips += 1
        self.assertGreater(flips, 200)

    def test_lists_that_are_none_are_refused(self):
        for text in ("", "{}", "[1]", '[{"type":1}]', '[{"type":256,"content_b64":""}]', '[{"type":-1,"content_b64":""}]',
                     '[{"type":"1","content_b64":""}]', '[{"type":1,"content_b64":"!"}]', '[{"type":1,"content_b64":"YQ"}]',
                     '[{"type":1,"type":2,"content_b64":""}]', "[" * 100000,
                     '[{"type":8,"content_b64":""},{"type":4,"content_b64":""}]'):
            done = self.run_it("--events", None, data=text.encode(), status=3)
            self.assertRegex(done.stderr.decode(), r"^teelaunch measure: TL07\d\d: ")
        # TL0722 is the list's own fault, TL0715 the order of the events
        self.assertIn("TL0722", self.run_it("--events", None, data=b"[1]", status=3).stderr.decode())
        self.assertIn("TL0715", done.stderr.decode())

    def test_wrong_use_is_no_malformed_log(self):
        for options in ((), ("--events", None, "--decode", None), ("--events", None, "--banks", "md5"),
                        ("--events", None, "--banks", "sha1,sha1"), ("--events", None, "--banks", ""), ("--no-such",),
                        ("--events", "/no/such/file"), ("--events", None, "more")):
            self.run_it(*options, data=b"[]", status=1)

    def test_text_for_people_never_writes_what_a_terminal_obeys(self):
        events = json.dumps([{"type": 4, "content_b64": base64.b64encode(b"\x1b[31m\\ \r\n\xc3\xa4").decode()}])
        out = self.run_it("--events", None, data=events.encode()).stdout
        self.assertIn(rb"\x1b[31m\x5c \x0d\x0a\xc3\xa4", out)
        self.assertTrue(all(0x20 <= c < 0x7F or c == 0x0A for c in out))


if __name__ == "__main__":
    unittest.main(verbosity=2)
