# SPDX-License-Identifier: Apache-2.0
"""Evidence for the verifier's tests, made without a line of ours: by tpm2-tools out of a software
TPM (Tpm), or by hashlib and openssl alone (Paper), which can quote PCR values no boot would have.

Formats: TCG Canonical Event Log TLV as the Confidential Space launcher writes it; TPM 2.0 Library
part 2 (TPMS_ATTEST, TPMT_SIGNATURE), big-endian.
"""
import base64
import copy
import hashlib
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world"))
import firmware_log  # noqa: E402

ALGORITHM_IDS = firmware_log.ALGORITHM_IDS
LAUNCH_PCR, RECORD_PCR = 13, 15
RECORD = 128
SEPARATOR = (8, b"")
GOOD_EVENTS = [
    (0, b"registry.example/demo/hello:1"),
    (1, b"sha256:" + b"ab" * 32),
    (2, b"Never"),
    (3, b"sha256:" + b"cd" * 32),
    (4, b"/hello"),
    (4, b"--name=w\xc3\xb6rld"),
    (5, b"PATH=/bin"),
    (5, b"GREETING=hi=there"),
    (7, b"GREETING=hi=there"),
    (6, b"--name=w\xc3\xb6rld"),
    (9, b"\0"),
    SEPARATOR,
]


def run(*command, data=None):
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError("%s: exit %d\n%s" % (" ".join(command), done.returncode,
                                                 done.stderr.decode()))
    return done.stdout


def write(path, data):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


def secret(path, data):
    """A file that its owner alone can read."""
    write(path, data)
    os.chmod(path, 0o600)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


def b64(data):
    return base64.b64encode(data).decode()


# --- the launch log

def tlv(kind, value):
    return struct.pack(">BI", kind, len(value)) + value


def content_tlv(event):
    return tlv(0x50, tlv(event[0], event[1]))


def launch_log(events, banks, index=LAUNCH_PCR, form=1, first=0):
    log = b""
    for number, event in enumerate(events, first):
        digests = b"".join(tlv(ALGORITHM_IDS[bank], hashlib.new(bank, content_tlv(event)).digest())
                           for bank in banks)
        log += tlv(0, struct.pack(">Q", number)) + tlv(form, bytes([index])) + \
            tlv(3, digests) + content_tlv(event)
    return log


def record_log(text, banks, **fields):
    """The log of PCR 15: one event, the launch record."""
    return launch_log([(RECORD, text)], banks, **{"index": RECORD_PCR, **fields})


def extend(bank, value, digest):
    return hashlib.new(bank, value + digest).digest()


# --- certificates

EXTENSIONS = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[ak]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
{instance}
[ca_that_signs]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,digitalSignature
[no_signatures]
basicConstraints = critical,CA:FALSE
keyUsage = critical,keyAgreement
[instance]
zone = UTF8:us-central1-a
project_number = INTEGER:1234567890
project_id = UTF8:demo-project
instance_id = INTEGER:4242424242424242424
instance_name = UTF8:demo-vm
security = EXPLICIT:0,SEQUENCE:security
[security]
version = EXPLICIT:0,INTEGER:0
is_production = EXPLICIT:1,BOOLEAN:{production}
[tls]
subjectAltName = IP:127.0.0.1
"""
INSTANCE = "1.3.6.1.4.1.11129.2.1.21 = ASN1:SEQUENCE:instance"


class Authority:
    """A certificate authority below one folder."""

    def __init__(self, folder, name):
        self.dir, self.name = folder, name
        self.key = self.path("key")
        self.pem = self.path("pem")
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key)
        run("openssl", "req", "-x509", "-new", "-key", self.key, "-days", "30", "-config",
            self.config("", "TRUE"), "-extensions", "ca", "-out", self.pem)

    def path(self, kind):
        return os.path.join(self.dir, "%s.%s" % (self.name, kind))

    def config(self, instance, production):
        return write(self.path("cnf"), EXTENSIONS.format(name=self.name, instance=instance,
                                                         production=production))

    def issue(self, public, kind="ak", instance=INSTANCE, production="TRUE", days=30,
              digest="sha256"):
        """DER of a certificate for a public key; the request is signed by the authority's own."""
        config = self.config(instance, production)
        run("openssl", "req", "-new", "-key", self.key, "-config", config, "-out",
            self.path("csr"))
        return run("openssl", "x509", "-req", "-in", self.path("csr"), "-CA", self.pem, "-CAkey",
                   self.key, "-" + digest, "-days", str(days), "-extfile", config, "-extensions", kind,
                   "-set_serial", "0x" + os.urandom(15).hex(), "-force_pubkey", public,
                   "-outform", "DER")


    def sign_again(self, cert):
        """A changed certificate (RFC 5280, 4.1) with a signature that fits again."""
        def part(at):
            head = 2 if cert[at + 1] < 128 else 2 + (cert[at + 1] & 127)
            n = cert[at + 1] if head == 2 else int.from_bytes(cert[at + 2:at + head], "big")
            return at + head, at + head + n
        body_at, _ = part(0)
        _, body_end = part(body_at)
        _, algorithm_end = part(body_end)
        body = cert[body_at:body_end]
        signature = b"\0" + run("openssl", "dgst", "-sha256", "-sign", self.key, data=body)
        rest = body + cert[body_end:algorithm_end] + bytes([3, len(signature)]) + signature
        return b"\x30\x82" + struct.pack(">H", len(rest)) + rest


def make_key(path, *algorithm):
    algorithm = algorithm or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    run("openssl", "genpkey", *algorithm, "-out", path)
    write(path + ".pub", run("openssl", "pkey", "-in", path, "-pubout"))
    return path


# --- what is sent

class Evidence:
    """The pieces of one request; a test changes one and sends the rest as it is."""

    def __init__(self, ak_cert, firmware, launch):
        self.quotes = {}  # bank -> {"pcrs": {index: bytes}, "quote": bytes, "signature": bytes}
        self.ak_cert, self.firmware, self.launch = ak_cert, firmware, launch
        self.chain, self.record = [], None

    def copy(self):
        return copy.deepcopy(self)

    def tpm_attestation(self):
        return {
            "quotes": [{"hashAlgo": ALGORITHM_IDS[bank],
                        "pcrValues": {str(i): b64(v) for i, v in q["pcrs"].items()},
                        "rawQuote": b64(q["quote"]), "rawSignature": b64(q["signature"])}
                       for bank, q in self.quotes.items()],
            "tcgEventLog": b64(self.firmware), "canonicalEventLog": b64(self.launch),
            "akCert": b64(self.ak_cert), "certChain": [b64(c) for c in self.chain],
            **({} if self.record is None else {"launchRecordLog": b64(self.record)})}


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Paper:
    """A TPM on paper: any PCR values, a signature by openssl. The CA vouches all the same."""

    def __init__(self, folder, authority, banks=("sha256",), key=None, **certificate):
        self.dir, self.banks = folder, banks
        self.key = key or make_key(os.path.join(folder, "ak.key"))
        self.cert = authority.issue(self.key + ".pub", **certificate)
        self.is_rsa = b"Modulus" in run("openssl", "pkey", "-pubin", "-in", self.key + ".pub",
                                    "-noout", "-text_pub")
        self.reset_count = 1

    def signature(self, data):
        der = run("openssl", "dgst", "-sha256", "-sign", self.key, data=data)
        if self.is_rsa:
            return struct.pack(">HHH", 0x0014, 0x000B, len(der)) + der
        numbers, at = [], 2 + (der[1] == 0x81)
        for _ in range(2):
            n = der[at + 1]
            numbers.append(der[at + 2:at + 2 + n].lstrip(b"\0"))
            at += 2 + n
        return struct.pack(">HH", 0x0018, 0x000B) + b"".join(
            struct.pack(">H", len(n)) + n for n in numbers)

    def quote(self, bank, pcrs, nonce, mask=0xFFFFFF, magic=0xFF544347, kind=0x8018):
        digest = hashlib.sha256(b"".join(pcrs[i] for i in range(24) if mask >> i & 1)).digest()
        signer = b"\0\x0b" + bytes(32)
        return struct.pack(">IHH", magic, kind, len(signer)) + signer + \
            struct.pack(">H", len(nonce)) + nonce + \
            struct.pack(">QIIBQ", 1, self.reset_count, 0, 1, 2) + \
            struct.pack(">IHB", 1, ALGORITHM_IDS[bank], 3) + struct.pack("<I", mask)[:3] + \
            struct.pack(">H", len(digest)) + digest

    def pcrs(self, bank, boot, events, record=None):
        size = hashlib.new(bank).digest_size
        values = {i: (b"\xff" if 17 <= i <= 22 else b"\0") * size for i in range(24)}
        for e in boot:
            if e.kind != firmware_log.EV_NO_ACTION:
                values[e.pcr] = extend(bank, values[e.pcr], e.digest(bank))
        for event in events:
            values[LAUNCH_PCR] = extend(bank, values[LAUNCH_PCR],
                                        hashlib.new(bank, content_tlv(event)).digest())
        if record is not None:
            values[RECORD_PCR] = extend(bank, values[RECORD_PCR],
                                        hashlib.new(bank, content_tlv((RECORD, record))).digest())
        return values

    def evidence(self, nonce, events=None, boot=None, mask=0xFFFFFF, record=None, **fields):
        events = GOOD_EVENTS if events is None else events
        boot = good_boot() if boot is None else boot
        ev = Evidence(self.cert, firmware_log.encode_log(boot, self.banks),
                      launch_log(events, self.banks))
        ev.record = None if record is None else record_log(record, self.banks)
        for bank in self.banks:
            pcrs = self.pcrs(bank, boot, events, record)
            data = self.quote(bank, pcrs, nonce, mask, **fields)
            ev.quotes[bank] = {"pcrs": {i: v for i, v in pcrs.items() if mask >> i & 1},
                               "quote": data, "signature": self.signature(data)}
        return ev


def good_boot(cmdline="/boot/vmlinuz ro confidential-space.hardened=true", secure=True):
    return firmware_log.boot_events(secure, "none", cmdline)


class Tpm:
    """A TPM of the local world; only tpm2-tools talk to it."""

    def __init__(self, folder, banks):
        self.dir, self.banks = folder, banks
        self.world = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "world",
                                  "tpm.py")
        run("/usr/bin/python3", self.world, "start", "--dir", folder, "--banks", ",".join(banks),
            "--intermediate")
        self.begin()

    def begin(self):
        self.events = []
        os.environ["TPM2TOOLS_TCTI"] = read(self.path("tcti")).decode().strip()
        self.create_key("ak.ctx", "e")

    def create_key(self, name, hierarchy):
        run("tpm2_createprimary", "-Q", "-C", hierarchy, "-g", "sha256", "-G",
            "ecc:ecdsa-sha256:null", "-a",
            "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign", "-c",
            self.path(name))
        run("tpm2_flushcontext", "-t")

    def path(self, name):
        return os.path.join(self.dir, name)

    def reset(self):
        run("/usr/bin/python3", self.world, "reset", "--dir", self.dir)
        self.begin()

    def stop(self):
        run("/usr/bin/python3", self.world, "stop", "--dir", self.dir)

    def measure(self, events):
        for event in events:
            digests = ",".join("%s=%s" % (b, hashlib.new(b, content_tlv(event)).hexdigest())
                               for b in self.banks)
            run("tpm2_pcrextend", "%d:%s" % (LAUNCH_PCR, digests))
        self.events += events

    def evidence(self, nonce, key="ak.ctx"):
        cert = run("openssl", "x509", "-in", self.path("ak-cert.pem"), "-outform", "DER")
        ev = Evidence(cert, read(self.path("binary_bios_measurements")),
                      launch_log(self.events, self.banks))
        ev.chain = [run("openssl", "x509", "-in", self.path("ak-chain.pem"), "-outform", "DER")]
        for bank in self.banks:
            run("tpm2_quote", "-Q", "-c", self.path(key), "-l", "%s:%s" % (
                bank, ",".join(map(str, range(24)))), "-q", nonce.hex(), "-m", self.path("msg"),
                "-s", self.path("sig"), "-f", "tss", "-g", "sha256")
            run("tpm2_flushcontext", "-t")
            run("tpm2_pcrread", "-Q", bank + ":all", "-o", self.path("pcrs"))
            size, flat = hashlib.new(bank).digest_size, read(self.path("pcrs"))
            ev.quotes[bank] = {"pcrs": {i: flat[i * size:(i + 1) * size] for i in range(24)},
                               "quote": read(self.path("msg")),
                               "signature": read(self.path("sig"))}
        return ev
