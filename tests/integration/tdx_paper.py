# SPDX-License-Identifier: Apache-2.0
"""A TDX platform on paper: certificates, TCB info, quotes and logs made by openssl and hashlib, none of
them of real silicon. Everything can be made wrong in one place and be signed again.

Formats: Intel TDX DCAP Quoting Library API, appendices 3 and 4 (quotes); Intel SGX PCK Certificate and CRL
Profile Specification (SGX extension); Intel PCS API v4 (TCB info, QE identity); UEFI 2.10, 38.4.1 (CCEL).
"""
import hashlib
import json
import os
import struct
import subprocess
import time

import verifier_evidence as ev
from verifier_evidence import firmware_log

VENDOR_INTEL = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
FMSPC, PCE_ID = bytes.fromhex("00906ed50000"), b"\0\0"
SVN, PCE_SVN = bytes([5] * 16), 11
SGX_OID = "1.2.840.113741.1.13.1"
STATUSES = ["UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDate",
            "OutOfDateConfigurationNeeded", "Revoked"]
MRTD = hashlib.sha384(b"firmware").digest()

CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ca_that_signs]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,digitalSignature
{sgx}
[plain]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
[pck]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,nonRepudiation
{sgx}
[sgx]
ppid = SEQUENCE:ppid
tcb = SEQUENCE:tcb
pceid = SEQUENCE:pceid
fmspc = SEQUENCE:fmspc
type = SEQUENCE:type
[ppid]
oid = OID:{oid}.1
value = FORMAT:HEX,OCTETSTRING:{ppid}
[tcb]
oid = OID:{oid}.2
value = SEQUENCE:tcbs
[pceid]
oid = OID:{oid}.3
value = FORMAT:HEX,OCTETSTRING:{pceid}
[fmspc]
oid = OID:{oid}.4
value = FORMAT:HEX,OCTETSTRING:{fmspc}
[type]
oid = OID:{oid}.5
value = ENUMERATED:0
[tcbs]
{tcbs}
cpusvn = SEQUENCE:cpusvn
[cpusvn]
oid = OID:{oid}.2.18
value = FORMAT:HEX,OCTETSTRING:{cpusvn}
{svns}
[ca_of_lists]
database = {folder}/{name}.index
crlnumber = {folder}/{name}.crlnumber
default_md = sha256
"""


def raw_key(path):
    """x and y."""
    return ev.run("openssl", "pkey", "-in", path, "-pubout", "-outform", "DER")[-64:]


def raw_signature(key, data):
    """r and s."""
    der, numbers = ev.run("openssl", "dgst", "-sha256", "-sign", key, data=data), []
    at = 2
    for _ in range(2):
        n = der[at + 1]
        numbers.append(der[at + 2:at + 2 + n].lstrip(b"\0").rjust(32, b"\0"))
        at += 2 + n
    return b"".join(numbers)


class Issuer:
    """A certificate authority of the platform's tree."""

    def __init__(self, folder, name, above=None, **fields):
        self.dir, self.name = folder, name
        self.key = ev.make_key(self.path("key"))
        if above:
            self.pem = above.issue(self.key, name, "ca", **fields)
        else:
            self.pem = ev.run("openssl", "req", "-x509", "-new", "-key", self.key, "-days", "30", "-config",
                              self.config(name), "-extensions", "ca")
        ev.write(self.path("pem"), self.pem)
        ev.write(self.path("index"), "")
        ev.write(self.path("crlnumber"), "01\n")

    def path(self, kind):
        return os.path.join(self.dir, "%s.%s" % (self.name, kind))

    def config(self, name, sgx="%s = ASN1:SEQUENCE:sgx" % SGX_OID, fmspc=FMSPC, pceid=PCE_ID, svn=SVN, pce_svn=PCE_SVN):
        values = list(svn) + [pce_svn]
        tcbs = "\n".join("t%d = SEQUENCE:svn%d" % (i, i) for i in range(1, 18))
        svns = "\n".join("[svn%d]\noid = OID:%s.2.%d\nvalue = INTEGER:%d" % (i, SGX_OID, i, values[i - 1])
                         for i in range(1, 18))
        return ev.write(self.path("cnf"), CONFIG.format(
            name=name, sgx=sgx, oid=SGX_OID, ppid="00" * 16, pceid=pceid.hex(), fmspc=fmspc.hex(), tcbs=tcbs, svns=svns,
            cpusvn=bytes(svn).hex(), folder=self.dir))

    def issue(self, key, name, kind, not_after=None, digest="sha256", **fields):
        """PEM of a certificate for @key; @fields are those of config()."""
        config = self.config(name, **fields)
        ev.run("openssl", "req", "-new", "-key", key, "-config", config, "-out", self.path("csr"))
        command = ["openssl", "x509", "-req", "-in", self.path("csr"), "-CA", self.path("pem"), "-CAkey", self.key,
                   "-" + digest, "-extfile", config, "-extensions", kind, "-set_serial", "0x" + os.urandom(15).hex()]
        return ev.run(*command, "-days", "30" if not_after is None else str(not_after))

    def revocations(self, *revoked, days=30):
        """A list, PEM, with these certificates in it."""
        config = self.config(self.name)
        ev.write(self.path("index"), "")
        for pem in revoked:
            ev.run("openssl", "ca", "-config", config, "-name", "ca_of_lists", "-keyfile", self.key, "-cert",
                   self.path("pem"), "-revoke", ev.write(self.path("revoked"), pem))
        return ev.run("openssl", "ca", "-config", config, "-name", "ca_of_lists", "-keyfile", self.key, "-cert",
                      self.path("pem"), "-gencrl", "-crlsec", str(days))


def utc(offset_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_s))


def level(status="UpToDate", sgx=SVN, tdx=bytes([3, 1] + [5] * 14), pce_svn=PCE_SVN, date="2026-01-02T00:00:00Z"):
    return {"tcb": {"sgxtcbcomponents": [{"svn": v} for v in sgx], "pcesvn": pce_svn,
                    "tdxtcbcomponents": [{"svn": v} for v in tdx]}, "tcbDate": date, "tcbStatus": status}


def isv_level(svn, status="UpToDate"):
    return {"tcb": {"isvsvn": svn}, "tcbDate": "2026-01-02T00:00:00Z", "tcbStatus": status}


class Platform:
    """One TDX machine's platform, and what its maker says of it."""

    def __init__(self, folder, name="tdx"):
        self.dir, self.name = folder, name
        self.root = Issuer(folder, name + "-root")
        self.middle = Issuer(folder, name + "-platform-ca", self.root)
        self.pck = ev.make_key(self.path("pck.key"))
        self.attestation = ev.make_key(self.path("attestation.key"))
        self.signer = ev.make_key(self.path("tcb.key"))
        self.signer_pem = self.root.issue(self.signer, "tcb-signing", "plain")
        self.leaf = self.middle.issue(self.pck, "pck", "pck")
        ev.write(self.path("signing.pem"), self.signer_pem + self.root.pem)

    def path(self, name):
        return os.path.join(self.dir, "%s-%s" % (self.name, name))

    # --- statements

    def tcb_info(self, **changes):
        body = {"id": "TDX", "version": 3, "issueDate": utc(-3600), "nextUpdate": utc(86400), "fmspc": FMSPC.hex(),
                "pceId": PCE_ID.hex(), "tcbType": 0, "tcbEvaluationDataNumber": 1,
                "tdxModule": {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8},
                "tdxModuleIdentities": [{"id": "TDX_01", "mrsigner": "00" * 48, "attributes": "00" * 8,
                                         "attributesMask": "FF" * 8, "tcbLevels": [isv_level(3), isv_level(2, "OutOfDate")]}],
                "tcbLevels": [level()]}
        body.update(changes)
        return body

    def qe_identity(self, **changes):
        body = {"id": "TD_QE", "version": 2, "issueDate": utc(-3600), "nextUpdate": utc(86400),
                "tcbEvaluationDataNumber": 1, "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
                "attributes": "11" + "00" * 15, "attributesMask": "FB" + "FF" * 15, "mrsigner": "dc" * 32, "isvprodid": 2,
                "tcbLevels": [isv_level(4), isv_level(3, "OutOfDate")]}
        body.update(changes)
        return body

    def signed(self, name, body, key=None):
        text = json.dumps(body, separators=(",", ":"))
        return '{"%s":%s,"signature":"%s"}' % (name, text, raw_signature(key or self.signer, text.encode()).hex())

    def options(self, folder, accept=(), info=None, qe=None, crls=(), signing=None, key=None, root=None):
        """Files below a new folder, and the verifier's options for them."""
        os.mkdir(folder)
        infos = info if isinstance(info, list) else [info or self.tcb_info()]
        options = ["--tdx-root", ev.write(os.path.join(folder, "root.pem"), root or self.root.pem),
                   "--tdx-tcb-signing", ev.write(os.path.join(folder, "signing.pem"), signing or self.signer_pem),
                   "--tdx-qe-identity", ev.write(os.path.join(folder, "qe.json"), self.signed(
                       "enclaveIdentity", qe or self.qe_identity(), key))]
        for i, body in enumerate(infos):
            options += ["--tdx-tcb-info", ev.write(os.path.join(folder, "tcb%d.json" % i),
                                                   self.signed("tcbInfo", body, key))]
        for i, crl in enumerate(crls):
            options += ["--tdx-crl", ev.write(os.path.join(folder, "crl%d" % i), crl)]
        for status in accept:
            options += ["--tdx-tcb-accept", status]
        return options

    # --- quotes

    def chain(self, leaf=None):
        return (leaf or self.leaf) + self.middle.pem + self.root.pem

    def qe_report(self, auth, key, isv_svn=4, attributes=b"\x15" + bytes(15), signer=b"\xdc" * 32, product=2, miscselect=0,
                  data=None):
        data = data or hashlib.sha256(key + auth).digest() + bytes(32)
        report = SVN + struct.pack("<I", miscselect) + bytes(28) + attributes + bytes(32) + bytes(32) + signer + \
            bytes(96) + struct.pack("<HH", product, isv_svn) + bytes(60) + data
        assert len(report) == 384
        return report

    def quote(self, nonce, rtmrs, version=4, chain=None, pck=None, attestation=None, tee_type=0x81, key_type=2,
              vendor=VENDOR_INTEL, svn=bytes([3, 1] + [5] * 14), mr_signer_seam=bytes(48), seam_attributes=bytes(8),
              attributes=0x10000000, mrtd=MRTD, report_data=None, auth=bytes(range(32)), bound_key=None, **qe):
        attestation = attestation or self.attestation
        key = raw_key(attestation)
        header = struct.pack("<HHI4x", version, key_type, tee_type) + vendor + bytes(20)
        body = svn + b"\x11" * 48 + mr_signer_seam + seam_attributes + struct.pack("<QQ", attributes, 0xE7) + mrtd + \
            bytes(3 * 48) + b"".join(rtmrs) + (report_data or nonce.ljust(64, b"\0"))
        assert (len(header), len(body)) == (48, 584)
        if version == 5:
            body = struct.pack("<HI", 3, 648) + body + svn + bytes(48)
        report = self.qe_report(auth, bound_key or key, **qe)
        chain = self.chain() if chain is None else chain
        below = report + raw_signature(pck or self.pck, report) + struct.pack("<H", len(auth)) + auth + \
            struct.pack("<HI", 5, len(chain)) + chain
        signature = raw_signature(attestation, header + body) + key + struct.pack("<HI", 6, len(below)) + below
        return header + body + struct.pack("<I", len(signature)) + signature


# --- logs

def boot(secure=True):
    """What TDX firmware with GRUB behind it measures; registers are those of the log, 1 to 3."""
    def event(register, kind, logged, hashed=None):
        return firmware_log.Event(register, kind, logged, hashed)
    variables = [e for e in firmware_log.boot_events(secure, "tdx", "/vmlinuz") if
                 e.kind == firmware_log.EV_EFI_VARIABLE_DRIVER_CONFIG]
    for e in variables:
        e.pcr = 1
    return [event(1, 0x8000000B, b"TD HOB\0", b"the memory map of this machine"),
            event(1, 0x8000000A, b"CFV\0", b"variables of the firmware")] + variables + [
        event(1, firmware_log.EV_SEPARATOR, bytes(4)), event(1, 0x0000000A, b"ACPI DATA", b"tables of the host"),
        event(2, firmware_log.EV_EFI_ACTION, b"Calling EFI Application from Boot Option"),
        event(2, firmware_log.EV_SEPARATOR, bytes(4)), event(2, 0x80000003, b"a device path", b"the boot loader"),
        event(3, firmware_log.EV_IPL, b"grub_cmd: linux /vmlinuz\0", b"linux /vmlinuz"),
        event(3, firmware_log.EV_IPL, b"/vmlinuz\0", b"the kernel"),
        event(2, firmware_log.EV_EFI_ACTION, b"Exit Boot Services Returned with Success")]


def rtmrs(events, launch):
    values = [bytes(48)] * 4
    for e in events:
        values[e.pcr - 1] = ev.extend("sha384", values[e.pcr - 1], e.digest("sha384"))
    for e in launch:
        values[3] = ev.extend("sha384", values[3], hashlib.sha384(ev.content_tlv(e)).digest())
    return values


class Evidence:
    """The pieces of a request; a test changes one and sends the rest as it is."""

    def __init__(self, platform, nonce, ak_cert=None, events=None, launch=None, **quote):
        events, launch = events or boot(), launch or ev.GOOD_EVENTS
        self.quote = platform.quote(nonce, rtmrs(events, launch), **quote)
        self.ccel = firmware_log.encode_log(events, ["sha384"])
        self.launch = ev.launch_log(launch, ["sha384"], index=4, form=0x6C)
        self.ak_cert = ak_cert

    def td_ccel(self):
        return {"ccelAcpiTable": ev.b64(b"CCEL" + bytes(52)), "ccelData": ev.b64(self.ccel),
                "canonicalEventLog": ev.b64(self.launch), "tdQuote": ev.b64(self.quote)}

    def body(self, challenge):
        return {"challenge": challenge, "tdCcel": self.td_ccel(),
                "gceShieldedIdentity": {"akCert": ev.b64(self.ak_cert), "akCertChain": []}}
