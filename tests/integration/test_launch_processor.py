#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Whole launches on a machine that looks like a TDX or SEV-SNP guest (tests/world/hardware.py). RTMR 3 and
both logs are recomputed by hashlib; what a verifier and a workload get is taken apart by python."""
import base64
import errno
import hashlib
import json
import os
import signal
import struct
import tempfile
import time

import launch_case
import hardware
import measured
import metadata
import net_world
import parts
from test_launch_socket import ask

BANKS = {0x04: "sha1", 0x0B: "sha256", 0x0C: "sha384"}
LABEL = b"WORKLOAD_ATTESTATION"
LOCATION = "projects/demo-project/locations/us-central1"
GCA_NONCE = b"GoogAttestV1" + b"0123456789abcdefghijkl"
API_KEY = "canary-ita-api-key"


def b64(text):
    return base64.b64decode(text, validate=True)


def tlvs(data):
    while data:
        kind, n = struct.unpack(">BI", data[:5])
        assert len(data) >= 5 + n
        yield kind, data[5:5 + n], data[:5 + n]
        data = data[5 + n:]


def replay(log, index):
    """(events, register by bank) of a log whose records all have that index (docs/measurement.md)."""
    events, registers = [], {}
    pieces = list(tlvs(log))
    for number, (seq, where, digests, content) in enumerate(zip(*[iter(pieces)] * 4)):
        assert seq[:2] == (0, struct.pack(">Q", number)) and where[:2] == index, (seq, where)
        assert (digests[0], content[0]) == (3, 0x50)
        for bank, digest, _ in tlvs(digests[1]):
            name = BANKS[bank]
            assert hashlib.new(name, content[2]).digest() == digest
            old = registers.get(name, bytes(len(digest)))
            registers[name] = hashlib.new(name, old + digest).digest()
        (kind, value, _), = tlvs(content[1])
        events.append((kind, value))
    return events, registers


class Processor(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.certificates = net_world.Certificates(cls.folder.name)
        cls.ca = cls.certificates.path("ca.pem")
        cls.hw = hardware.Hardware(os.path.join(cls.folder.name, "hw")).start()
        cls.addClassCleanup(cls.hw.stop)

    def setUp(self):
        super().setUp()
        self.bodies = {}
        self.gca, self.ita = self.serve(self.gca_answer), self.serve(self.ita_answer)

    def serve(self, answer):
        server = net_world.Server(answer, self.certificates.path("good"))
        self.addCleanup(server.close)
        return server

    def token(self, audience):
        now = int(time.time())
        return metadata.sign(self.world.metadata.folder, {"aud": audience, "exp": now + 3600, "iat": now, "iss": "x"})

    def gca_answer(self, _server, connection, request):
        """The service's API, which believes everything: the test looks for itself."""
        path = request.target.partition("?")[0]
        verb = path.rpartition(":")[2]
        if verb.startswith("verify"):
            self.bodies[verb] = json.loads(request.body)
            name = {"verifyAttestation": "oidcClaimsToken"}.get(verb, "attestationToken")
            reply = {name: self.token("https://sts.googleapis.com")}
        elif path.endswith("/challenges"):
            reply = {"name": LOCATION + "/challenges/c", "tpmNonce": base64.b64encode(GCA_NONCE).decode(),
                     "launchRecord": True}
        else:
            reply = {"name": LOCATION, "locationId": "us-central1"}
        return net_world.respond(connection, 200, json.dumps(reply).encode())

    def ita_answer(self, _server, connection, request):
        reply = {name: base64.b64encode(name.encode() * 8).decode() for name in ("val", "iat", "signature")}
        if request.method == "POST":
            self.bodies["ita"] = json.loads(request.body)
            reply = {"token": self.token("ita")}
        return net_world.respond(connection, 200, json.dumps(reply).encode())

    def options(self, api="verifyConfidentialSpace"):
        return ["--verifier", self.gca.url, "--verifier-roots", self.ca, "--verifier-api", api,
                "--ita", self.ita.url, "--ita-roots", self.ca]

    def start(self, options=(), **keys):
        self.attributes = dict(self.world.attributes(cmd='["exit=0"]', env_HELLO_NAME="x"), **keys)
        return self.world.launch_start(self.attributes, options=options, before=self.hw.in_place())

    def run_to_end(self, *arguments, **keys):
        return self.start(*arguments, **keys).wait()

    def expected(self):
        return measured.events(self.attributes, self.world.images.inspect("demo/hello:1"))

    # --- what is sent is what was measured

    def assert_tpm(self, body, events):
        """The TPM's part: its log of PCR 13, its quotes of the same, and the launch record."""
        self.assertEqual({BANKS[q["hashAlgo"]] for q in body["quotes"]}, set(BANKS.values()))
        found, registers = replay(b64(body["canonicalEventLog"]), (1, b"\x0d"))
        self.assertEqual(found, events)
        _, records = replay(b64(body["launchRecordLog"]), (1, b"\x0f"))
        for quote in body["quotes"]:
            bank = BANKS[quote["hashAlgo"]]
            self.assertEqual(b64(quote["pcrValues"]["13"]), registers[bank])
            self.assertEqual(b64(quote["pcrValues"]["15"]), records[bank])
            self.assertEqual(registers[bank].hex(), self.world.tpm.pcr(13, bank))
            self.assertIn(GCA_NONCE, b64(quote["rawQuote"]))

    def assert_tdx(self, quote, log, ccel, nonce, events):
        found, registers = replay(log, (0x6C, b"\x04"))
        self.assertEqual(found, events)
        self.assertEqual(set(registers), {"sha384"})
        self.assertEqual(registers["sha384"].hex(), measured.register(events, "sha384"))
        self.assertEqual(registers["sha384"], self.hw.rtmr3())
        self.assertEqual(quote[48 + 472:48 + 520], self.hw.rtmr3())
        self.assertEqual(quote[48 + 520:48 + 584], nonce.ljust(64, b"\0"))
        self.assertEqual(ccel, hardware.ccel_log())

    def assert_report(self, launch, events):
        self.assertEqual(launch.report["measured"]["rtmr3"], measured.register(events, "sha384"))
        self.assertEqual(launch.report["measured"]["pcr13"], measured.register(events))
        self.assertEqual(launch.report["measured"]["event_count"], len(events))
        self.assertIn("Using TDX RTMR as attestation root.", launch.stderr)
        self.assertNotIn("snp.", launch.stderr)
        self.assertEqual(self.hw.entries, [])

    def assert_tdccel(self, body, events):
        td = body["tdCcel"]
        self.assertEqual(set(td), {"ccelAcpiTable", "ccelData", "canonicalEventLog", "tdQuote"})
        self.assertEqual(b64(td["ccelAcpiTable"]), hardware.CCEL_TABLE)
        self.assert_tdx(b64(td["tdQuote"]), b64(td["canonicalEventLog"]), b64(td["ccelData"]), GCA_NONCE, events)

    def test_tdx_attests_and_the_socket_serves_it(self):
        self.hw.boot(foreign_writes=2)
        launch = self.start(self.options(), **{"tee-cmd": '["trap", "sleep=200"]', "ita-region": "US",
                                               "ita-api-key": API_KEY})
        launch.wait_for("event=workload.started")
        try:
            events = self.expected()
            socket = os.path.join(launch.shared, "teeserver.sock")
            self.assertEqual(ask(socket, "GET", "/v1/token")[0], 200)
            body = self.bodies["verifyConfidentialSpace"]
            self.assert_tdccel(body, events)
            self.assertNotIn("tpmAttestation", body)
            self.assertTrue(b64(body["gceShieldedIdentity"]["akCert"]))

            status, _, token = ask(socket, "GET", "/v1/intel/token")
            self.assertEqual(status, 200, token)
            td = self.bodies["ita"]["tdx"]
            nonce = hashlib.sha512(b"val" * 8 + b"iat" * 8).digest()
            self.assert_tdx(b64(td["quote"]), b64(td["canonical_event_log"]), b64(td["event_log"]), nonce, events)
            self.assert_evidence(socket, events)
        finally:
            launch.send(signal.SIGTERM)
            launch.wait()
        self.assert_clean(launch)
        self.assert_report(launch, events)
        self.assertNotIn(API_KEY, launch.stderr + launch.console)
        self.note("TDX: %d events in RTMR 3 and PCR 13; Google's body, Intel's body and /v1/evidence agree", len(events))

    def assert_evidence(self, socket, events):
        challenge = b"a challenge"
        asked = {"challenge": base64.b64encode(challenge).decode()}
        status, _, text = ask(socket, "POST", "/v1/evidence", asked)
        self.assertEqual(status, 200, text)
        got = json.loads(text)
        self.assertEqual(set(got), {"label", "challenge", "quote"})
        self.assertEqual(set(got["quote"]), {"tdxCcelQuote"})
        quote = got["quote"]["tdxCcelQuote"]
        self.assertEqual(set(quote), {"ccelBootEventLog", "celLaunchEventLog", "tdQuote"})
        nonce = hashlib.sha512(LABEL + hashlib.sha512(challenge).digest()).digest()
        self.assert_tdx(b64(quote["tdQuote"]), b64(quote["celLaunchEventLog"]), b64(quote["ccelBootEventLog"]), nonce,
                        events)
        for fields, names in (("label", {"label"}), ("quote", {"quote"}), ("challenge,quote", {"challenge", "quote"})):
            text = ask(socket, "POST", "/v1/evidence?fields=" + fields, asked)[2]
            self.assertEqual(set(json.loads(text)), names)

    def test_where_the_api_has_a_place_the_tpm_is_sent_beside(self):
        self.hw.boot()
        launch = self.run_to_end(self.options("verifyAttestation"))
        self.assert_end(launch, 0, "success")
        events = self.expected()
        body = self.bodies["verifyAttestation"]
        self.assert_tdccel(body, events)
        self.assert_tpm(body["tpmAttestation"], events)
        self.assertNotIn("gceShieldedIdentity", body)
        self.assert_report(launch, events)
        self.note("verifyAttestation: TDX, and the TPM's quotes over the same nonce, with the launch record")

    def test_a_nonce_that_not_every_tpm_takes_gets_the_tdx_quote_alone(self):
        self.hw.boot()
        self.world.boot("--hardened")
        self.world.is_fresh_boot = False
        sizes = (1, 50, 51, 64)
        out = parts.run(os.environ["TL_TSM_TOOL"], "joined", self.hw.fs, self.world.tpm.tcti, self.world.tpm.file("binary_bios_measurements"),
                        *("5a" * n for n in sizes)).decode().splitlines()
        self.assertEqual(out, ["3, 1", "3, 1", "0, 1", "0, 1", "ok"])
        self.note("nonces of %s bytes: TPM quotes beside TDX up to 50", ", ".join(map(str, sizes)))

    # --- S17: half a measurement is none

    def test_an_extension_that_fails_ends_the_launch(self):
        self.hw.boot()
        self.attributes = self.world.attributes(cmd='["exit=0"]', env_HELLO_NAME="x")
        n = len(self.expected())
        for at in range(1, n + 1) if os.environ.get("TL_LONG") else (n,):
            self.hw.boot(extend_fails_at=at)
            launch = self.run_to_end(self.options())
            self.assert_end(launch, 1, "fatal", "TL0726")
            self.assertEqual((self.bodies, launch.token), ({}, None))
            self.assertEqual(len([e for e in self.hw.events if e.startswith("extend")]), at - 1)
            self.assertNotIn("event=workload.started", launch.stderr)
        self.note("RTMR 3 that fails at the last of %d events: nothing is asked of any verifier", n)

    def test_a_register_that_is_not_what_its_log_gives_gets_no_token(self):
        self.hw.boot(wrong_rtmr3=True)
        launch = self.run_to_end(self.options())
        self.assert_end(launch, 1, "fatal", "TL0712")
        self.assertEqual((self.bodies, launch.token), ({}, None))
        self.assertIn("RTMR 3", launch.report["message"])
        self.note("a quote with another RTMR 3: refused before it leaves")

    def test_what_is_there_and_does_not_work_is_no_tpm_machine(self):
        self.hw.boot(has_tsm=False)
        launch = self.run_to_end(self.options())
        self.assert_end(launch, 1, "fatal", "TL0724")
        self.assertIn("makes no TDX quotes", launch.report["message"])
        self.assertEqual(self.world.tpm.pcr(13), "00" * 32)
        self.assertEqual(self.bodies, {})
        self.note("TDX without reports: the launch ends before anything is measured")

    # --- SEV-SNP

    def test_snp_goes_along_and_never_stops_a_launch(self):
        self.hw.boot(provider="sev_guest", has_tdx=False, has_aux=True)
        launch = self.run_to_end(self.options("verifyAttestation"))
        self.assert_end(launch, 0, "success")
        body = self.bodies["verifyAttestation"]
        self.assert_tpm(body["tpmAttestation"], self.expected())
        self.assertEqual(b64(body["sevSnpAttestation"]["report"]), hardware.snp_report(GCA_NONCE.ljust(64, b"\0")))
        self.assertEqual(b64(body["sevSnpAttestation"]["auxBlob"]), hardware.SNP_CERTIFICATES)
        self.assertIn("Using TPM PCR as attestation root.", launch.stderr)
        self.assertNotIn("rtmr3", launch.report["measured"])

        self.hw.boot(provider="sev_guest", has_tdx=False, read_errno=errno.EIO)
        launch = self.run_to_end()
        self.assert_end(launch, 0, "success")
        self.assertIn("event=snp.missing code=TL0724", launch.stderr)
        self.assertTrue(launch.token)
        self.note("SEV-SNP: the report in verifyAttestation; one that can't be had is a warning")


if __name__ == "__main__":
    hardware.skip_if_impossible()
    launch_case.main()
