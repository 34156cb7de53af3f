#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd and the launch record: PCR 15 and its log, forged in every way that a launcher which
isn't ours, or somebody between, could try. Quotes are good in all of them.

verifier_record.py BINARY [unittest arguments]
"""
import hashlib
import json
import sys

import verifier as v
import verifier_evidence as ev

RECORD_LOG, RECORD = "TL1033", "TL1034"
GOOD = {
    "schema": "teelaunch.launch-record/1", "hardened": True, "root": "verity",
    "verifier_url": "https://verifier.example",
    "container": {"network": "host", "nofile": 131072, "runtime": "io.containerd.runc.v2",
                  "snapshotter": "overlayfs"},
    "disk": {"mode": "protected", "cipher": "capi:gcm(aes)-random", "integrity": "aead", "tags": "memory"},
    "operator": {"added_capabilities": ["CAP_NET_ADMIN"], "cgroup_namespace": False, "dev_shm_size_kb": 65536,
                 "log_redirect": "false", "monitoring": "none", "token_refresh": True,
                 "mounts": [{"destination": "/w\u00f6rk", "size_bytes": 4096, "source": "tmpfs",
                             "type": "tmpfs", "options": ["nosuid", "noexec", "nodev"]}]},
    "unit": {"disk": "protected", "root": "verity"},
}


def text(document=None, **changes):
    return json.dumps({**(GOOD if document is None else document), **changes}, sort_keys=True,
                      separators=(",", ":"), ensure_ascii=False).encode()


class Record(v.Case):
    def claim(self, reply):
        return self.accepted(reply)["submods"]["launch_record"]

    def test_a_record_becomes_a_claim_as_it_is(self):
        self.assertEqual(self.claim(self.paper(record=text())), {"known": True, **GOOD})
        later = {"later": [{"a": None}], "known": False}
        self.assertEqual(self.claim(self.paper(record=text(**later))), {**GOOD, **later, "known": True})

    def test_no_record_is_said_to_be_none(self):
        self.assertEqual(self.claim(self.paper()), {"known": False})

    def test_a_record_that_was_measured_cannot_be_left_out(self):
        for record in (None, b""):
            self.refused(self.paper(lambda e, r=record: setattr(e, "record", r), record=text()), RECORD_LOG)

    def test_a_record_that_was_not_measured(self):
        log = ev.record_log(text(), v.World.paper.banks)
        self.refused(self.paper(lambda e: setattr(e, "record", log)), RECORD_LOG)
        worse = ev.record_log(text(root="any"), v.World.paper.banks)
        self.refused(self.paper(lambda e: setattr(e, "record", worse), record=text()), RECORD_LOG)

    def test_a_quote_without_pcr_15(self):
        self.refused(self.paper(record=text(), mask=0xFF7FFF), RECORD_LOG)
        self.assertEqual(self.claim(self.paper(mask=0xFF7FFF)), {"known": False})

    def test_logs_of_another_form(self):
        banks, good = v.World.paper.banks, text()
        for log in (b"x", ev.record_log(good, banks)[:-1], ev.record_log(good, banks, index=13),
                    ev.record_log(good, banks, first=1), ev.record_log(good, ["sha384"]),
                    ev.record_log(good, banks, index=4, form=0x6C), ev.launch_log([(4, good)], banks, index=15),
                    ev.launch_log([(ev.RECORD, good)] * 2, banks, index=15)):
            self.refused(self.paper(lambda e, x=log: setattr(e, "record", x), record=good), RECORD_LOG)

    def test_documents_that_claim_half_of_it(self):
        for record in (b"{}", b"[]", b"not json", text(schema="teelaunch.launch-record/2"), text(disk={}),
                       text(root="maybe"), text(hardened="true"), text(operator={}), b"\xff",
                       text()[:-1] + b',"root":"verity"}', b"[" * 40 + b"]" * 40,
                       text(disk={**GOOD["disk"], "tags": None})):
            self.refused(self.paper(record=record), RECORD)

    def test_a_record_above_the_limit(self):
        log = ev.record_log(b" " * (128 * 1024 + 1), v.World.paper.banks)
        self.refused(self.paper(lambda e: setattr(e, "record", log), record=text()), RECORD_LOG)
        log = ev.record_log(b" " * (300 * 1024), v.World.paper.banks)
        reply = self.paper(lambda e: setattr(e, "record", log), record=text())
        self.assertEqual(reply[0], 400, reply)

    def test_a_real_tpm_with_a_record_in_each_bank(self):
        record = text()
        digests = ",".join("%s=%s" % (b, hashlib.new(b, ev.content_tlv((ev.RECORD, record))).hexdigest())
                           for b in v.World.tpm.banks)
        ev.run("tpm2_pcrextend", "%d:%s" % (ev.RECORD_PCR, digests))
        name, nonce = v.World.rs.challenge()
        evidence = v.World.tpm.evidence(nonce)
        evidence.record = ev.record_log(record, v.World.tpm.banks)
        self.assertEqual(self.claim(v.World.rs.verify(name, evidence)), {"known": True, **GOOD})
        name, nonce = v.World.rs.challenge()
        self.refused(v.World.rs.verify(name, v.World.tpm.evidence(nonce)), RECORD_LOG)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    v.main()
