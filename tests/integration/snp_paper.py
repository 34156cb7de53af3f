# SPDX-License-Identifier: Apache-2.0
"""A SEV-SNP platform on paper: ARK, ASK, VCEK, VLEK and reports made by openssl, none of them of real
silicon. Everything can be made wrong in one place and be signed again.

Formats: AMD 56860 (report), 56421 (certificate table), 57230 (extensions of the VCEK).
"""
import os
import struct
import uuid

import verifier_evidence as ev

OID = "1.3.6.1.4.1.3704.1"
CHIP = bytes(range(64))
MEASUREMENT = bytes(range(100, 148))
TCB = {"bootloader": 4, "tee": 1, "snp": 22, "microcode": 211}
VCEK, VLEK = 0, 1
GUIDS = {"vcek": "63da758d-e664-4564-adc5-f4b93be8accd", "vlek": "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
         "ask": "4ab7b379-bbac-4fe4-a02f-05aef327c782", "ark": "c0b406a4-a803-4952-9743-3fb6014cd0ae"}
PSS = ("-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48")
CONFIG = """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
[key]
{extensions}
[ca_of_lists]
database = {folder}/{name}.index
crlnumber = {folder}/{name}.crlnumber
default_md = sha384
"""


def extensions(product="Milan-B0", chip=CHIP, csp=None, tcb=None, fmc=None, drop=(), other=None):
    """As AMD writes them: the chip's id as it is, the rest in DER."""
    tcb = {**TCB, **(tcb or {})}
    rows = {"2": "ASN1:IA5STRING:" + product, "3.1": "ASN1:INTEGER:%d" % tcb["bootloader"],
            "3.2": "ASN1:INTEGER:%d" % tcb["tee"], "3.3": "ASN1:INTEGER:%d" % tcb["snp"],
            "3.8": "ASN1:INTEGER:%d" % tcb["microcode"]}
    if fmc is not None:
        rows["3.9"] = "ASN1:INTEGER:%d" % fmc
    if chip is not None:
        rows["4"] = "DER:" + chip.hex()
    if csp is not None:
        rows["5"] = "ASN1:IA5STRING:" + csp
    rows.update(other or {})
    return "\n".join("%s.%s = %s" % (OID, name, value) for name, value in rows.items() if name not in drop)


class Issuer:
    """An RSA key and its certificate: a root, or signed by one."""

    def __init__(self, folder, name, parent=None):
        self.dir, self.name, self.parent = folder, name, parent
        self.key = ev.make_key(self.path("key"), "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072")
        self.config()
        if parent:
            self.pem = parent.issue(self.key, name, "ca")
        else:
            self.pem = ev.run("openssl", "req", "-x509", "-new", "-key", self.key, "-days", "30", "-config",
                              self.path("cnf"), "-extensions", "ca", *PSS)
        self.file = ev.write(self.path("pem"), self.pem)

    def path(self, kind):
        return os.path.join(self.dir, "%s.%s" % (self.name, kind))

    def config(self, rows="", name=None):
        return ev.write(self.path("cnf"), CONFIG.format(name=name or self.name, folder=self.dir, extensions=rows))

    def issue(self, key, name, kind="key", rows="", days=30, sign=PSS):
        """PEM of a certificate for a key."""
        config = self.config(rows, name)
        ev.run("openssl", "req", "-new", "-key", key, "-config", config, "-out", self.path("csr"))
        pem = ev.run("openssl", "x509", "-req", "-in", self.path("csr"), "-CA", getattr(self, "file", None) or
                     self.path("pem"), "-CAkey", self.key, "-days", str(days), "-extfile", config, "-extensions",
                     kind, "-set_serial", "0x" + os.urandom(15).hex(), *sign)
        self.config()
        return pem

    def revocations(self, *revoked):
        """A list, in PEM."""
        ev.write(self.path("index"), "")
        ev.write(self.path("crlnumber"), "01\n")
        common = ("openssl", "ca", "-config", self.config(), "-name", "ca_of_lists", "-keyfile", self.key, "-cert",
                  self.file, "-md", "sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48")
        for pem in revoked:
            ev.run(*common, "-revoke", ev.write(self.path("revoked"), pem))
        return ev.run(*common, "-gencrl", "-crldays", "3")


def p384(path):
    return ev.make_key(path, "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp384r1")


def der_of(pem):
    return ev.run("openssl", "x509", "-outform", "DER", data=pem)


def halves(der):
    """r and s of an ECDSA signature in DER, which is shorter than 128 bytes."""
    n = der[3]
    return int.from_bytes(der[4:4 + n], "big"), int.from_bytes(der[6 + n:], "big")


def tcb_bytes(tcb, fmc=None):
    if fmc is not None:
        return bytes([fmc, tcb["bootloader"], tcb["tee"], tcb["snp"], 0, 0, 0, tcb["microcode"]])
    return bytes([tcb["bootloader"], tcb["tee"], 0, 0, 0, 0, tcb["snp"], tcb["microcode"]])


class Platform:
    def __init__(self, folder, name="snp"):
        self.ark = Issuer(folder, name + "-ark")
        self.ask = Issuer(folder, name + "-ask", self.ark)
        self.asvk = Issuer(folder, name + "-asvk", self.ark)
        self.key = p384(os.path.join(folder, name + "-vcek.key"))
        self.vcek = self.ask.issue(self.key, "SEV-VCEK", rows=extensions())
        self.cloud_key = p384(os.path.join(folder, name + "-vlek.key"))
        self.vlek = self.asvk.issue(self.cloud_key, "SEV-VLEK", rows=extensions(chip=None, csp="cloud"))
        self.roots = ev.write(os.path.join(folder, name + "-roots.pem"), self.ark.pem + self.ask.pem)

    def report(self, nonce, key=None, version=2, policy=0x30000, vmpl=0, algo=1, signing_key=VCEK, data=None, chip=CHIP,
               measurement=MEASUREMENT, tcb=None, launch=None, fmc=None, change=None):
        tcb = tcb_bytes({**TCB, **(tcb or {})}, fmc)
        body = bytearray(0x2a0)
        struct.pack_into("<IIQ", body, 0, version, 7, policy)
        struct.pack_into("<II", body, 0x30, vmpl, algo)
        body[0x38:0x40] = tcb
        struct.pack_into("<I", body, 0x48, signing_key << 2)
        body[0x50:0x90] = data if data is not None else nonce.ljust(64, b"\0")
        body[0x90:0xc0] = measurement
        body[0x180:0x188] = tcb
        body[0x1a0:0x1e0] = chip
        body[0x1f0:0x1f8] = tcb_bytes({**TCB, **launch}, fmc) if launch else tcb
        if change:
            change(body)
        r, s = halves(ev.run("openssl", "dgst", "-sha384", "-sign", key or (
            self.cloud_key if signing_key == VLEK else self.key), data=bytes(body)))
        return bytes(body) + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)


def table(entries, end=bytes(24)):
    """(kind or GUID, certificate) as the host hands them out, with zeros behind."""
    head, blob = b"", b""
    start = 24 * len(entries) + len(end)
    for kind, cert in entries:
        guid = uuid.UUID(GUIDS.get(kind, kind)).bytes
        head += guid + struct.pack("<II", start + len(blob), len(cert))
        blob += cert
    whole = head + end + blob
    return whole + bytes(-len(whole) % 4096)
