# SPDX-License-Identifier: Apache-2.0
"""The firmware of the local world: what it measures, and the log it keeps of that.

Formats: TCG PC Client Platform Firmware Profile Specification 1.05 rev. 23 ("PFP"), section 10
(event log); UEFI 2.9, 32.4 (variables). Everything is little-endian.
"""
import hashlib
import struct
import uuid

# TCG Algorithm Registry rev. 1.34, table 3.
ALGORITHM_IDS = {"sha1": 0x0004, "sha256": 0x000B, "sha384": 0x000C, "sha512": 0x000D}

# PFP 10.4.1, table 27.
EV_NO_ACTION = 0x00000003
EV_SEPARATOR = 0x00000004
EV_S_CRTM_VERSION = 0x00000008
EV_IPL = 0x0000000D
EV_NONHOST_INFO = 0x00000011
EV_EFI_VARIABLE_DRIVER_CONFIG = 0x80000001
EV_EFI_ACTION = 0x80000007

EFI_GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
EFI_IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")

# go-tpm-tools' server/policy_constants.go: the text a Google Compute Engine firmware measures, and
# the numbers of its confidential computing technologies.
GCE_VERSION = "GCE Virtual Firmware v2\0".encode("utf-16-le")
GCE_NONHOST_SIGNATURE = b"GCE NonHostInfo\0"
TECHNOLOGIES = {"none": 0, "sev": 1, "sev-es": 2, "tdx": 3, "sev-snp": 4}


class Event:
    """One measurement. What is hashed isn't always what is logged."""

    def __init__(self, pcr, kind, logged, hashed=None):
        self.pcr = pcr
        self.kind = kind
        self.logged = logged
        self.hashed = logged if hashed is None else hashed

    def digest(self, bank):
        return hashlib.new(bank, self.hashed).digest()


def efi_variable(name, guid, value):
    """UEFI_VARIABLE_DATA, PFP 10.2.6; the whole structure is hashed."""
    data = guid.bytes_le + struct.pack("<QQ", len(name), len(value))
    return Event(7, EV_EFI_VARIABLE_DRIVER_CONFIG, data + name.encode("utf-16-le") + value)


def grub_string(prefix, text):
    """GRUB hashes the text alone, and logs prefix, text and one NUL: GNU GRUB,
    grub-core/commands/tpm.c grub_tpm_verify_string() (hash: strlen(str) bytes, PCR 8), and
    grub-core/commands/efi/tpm.c grub_tpm2_log_event() (log: strlen(description) + 1 bytes)."""
    return Event(8, EV_IPL, (prefix + text).encode() + b"\0", text.encode())


def grub_file(path, content):
    """A file that GRUB read: grub-core/commands/tpm.c grub_tpm_verify_write(), PCR 9."""
    return Event(9, EV_IPL, path.encode() + b"\0", content)


def boot_events(is_secure_boot, technology, loader_cmdline):
    """What a boot with UEFI and GRUB measures, in order."""
    nonhost = GCE_NONHOST_SIGNATURE + bytes([TECHNOLOGIES[technology]]) + bytes(15)
    events = [
        Event(0, EV_S_CRTM_VERSION, GCE_VERSION),
        Event(0, EV_NONHOST_INFO, nonhost),
        efi_variable("SecureBoot", EFI_GLOBAL, b"\1" if is_secure_boot else b"\0"),
        efi_variable("PK", EFI_GLOBAL, b""),
        efi_variable("KEK", EFI_GLOBAL, b""),
        efi_variable("db", EFI_IMAGE_SECURITY, b""),
        efi_variable("dbx", EFI_IMAGE_SECURITY, b""),
        Event(4, EV_EFI_ACTION, b"Calling EFI Application from Boot Option"),
    ]
    events += [Event(pcr, EV_SEPARATOR, bytes(4)) for pcr in range(8)]
    events += [
        grub_file("/boot/grub/grub.cfg", b"linux " + loader_cmdline.encode() + b"\n"),
        grub_string("grub_cmd: ", "linux " + loader_cmdline),
        grub_file("/boot/vmlinuz", b"the kernel of the local world\n"),
        grub_string("kernel_cmdline: ", loader_cmdline),
        Event(5, EV_EFI_ACTION, b"Exit Boot Services Invocation"),
        Event(5, EV_EFI_ACTION, b"Exit Boot Services Returned with Success"),
    ]
    return events


def spec_id_event(banks):
    """The first record, in the SHA-1 form: TCG_PCClientPCREvent with TCG_EfiSpecIDEvent,
    PFP 10.4.5.1. It names the digests of all later records and is measured nowhere."""
    data = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 105, 2, len(banks))
    for bank in banks:
        data += struct.pack("<HH", ALGORITHM_IDS[bank], hashlib.new(bank).digest_size)
    data += b"\0"
    return struct.pack("<II20xI", 0, EV_NO_ACTION, len(data)) + data


def encode_log(events, banks):
    """A crypto-agile log: TCG_PCR_EVENT2 records, PFP 10.2.2."""
    log = spec_id_event(banks)
    for e in events:
        log += struct.pack("<III", e.pcr, e.kind, len(banks))
        for bank in banks:
            log += struct.pack("<H", ALGORITHM_IDS[bank]) + e.digest(bank)
        log += struct.pack("<I", len(e.logged)) + e.logged
    return log
