#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Records what real firmware and a real systemd-stub measure: boots small unified kernel images in
QEMU with OVMF and a software TPM, and keeps each boot's firmware log and PCR values.

  record_boot.py --kernel VMLINUZ --out FOLDER [--only NAME]...

The recordings in tests/vectors/boot come from this; the tests only read them. For each variant:
  NAME.log    /sys/kernel/security/tpm0/binary_bios_measurements of the guest
  NAME.json   the guest's PCR values and command line after the boot
  NAME.measurements.json  reference values of the image (docs/image.md), by hashlib out of its parts,
              never out of the log; only for images that were started as they are

Needs qemu-system-x86, ovmf, swtpm-tools, systemd-boot-efi, busybox-static, binutils, fdisk, dosfstools, mtools
and sbsigntool.
"""
import argparse
import base64
import hashlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
LOADER = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"
# Firmware, its variables, what QEMU needs to know of it. The second has Secure Boot on, with keys
# of Debian's test certificate.
PLAIN = ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd", ["-machine", "q35"])
SECURE = ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd",
          ["-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"])
SIGNER = "/usr/share/ovmf/PkKek-1-snakeoil"
BANKS = ("sha1", "sha256", "sha384")
SECTIONS = (".osrel", ".cmdline", ".uname", ".initrd", ".linux")
BOOT_LIMIT_S = 300

OS_RELEASE = b"ID=teelaunch\nVERSION_ID=1\n"
CMDLINE = "console=ttyS0 panic=-1 quiet roothash=%s confidential-space.hardened=%s"
ROOT_HASH, OTHER_ROOT_HASH = "ab" * 32, "cd" * 32

INIT = b"""#!/bin/busybox sh
b=/bin/busybox
$b mkdir -p /proc /sys
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t securityfs securityfs /sys/kernel/security
$b echo "RECORD BEGIN"
$b echo "cmdline $($b cat /proc/cmdline)"
for bank in sha1 sha256 sha384; do
	for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23; do
		$b echo "pcr $bank $i $($b cat /sys/class/tpm/tpm0/pcr-$bank/$i)"
	done
done
$b echo "log $($b base64 /sys/kernel/security/tpm0/binary_bios_measurements | $b tr -d '\\n')"
$b echo "RECORD END"
$b poweroff -f
"""


def run(*command, data=None):
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError("%s: %s" % (command, done.stderr.decode()))
    return done.stdout


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def read(path):
    with open(path, "rb") as f:
        return f.read()


# --- what is booted

def newc(name, mode, data=b"", device=(0, 0)):
    """One member of a cpio archive as the kernel reads it (early-userspace/buffer-format)."""
    head = b"070701" + b"".join(b"%08x" % v for v in (
        0, mode, 0, 0, 1, 0, len(data), 0, 0) + device + (len(name) + 1, 0)) + name + b"\0"
    return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)


def initrd(extra=b""):
    return b"".join([
        newc(b"bin", 0o040755), newc(b"dev", 0o040755), newc(b"dev/console", 0o020600, device=(5, 1)),
        newc(b"bin/busybox", 0o100755, read("/bin/busybox")), newc(b"init", 0o100755, INIT + extra),
        newc(b"TRAILER!!!", 0)])


def unified_image(folder, parts):
    """The stub with the parts as sections behind its own (UAPI.5, Unified Kernel Image)."""
    ends = [int(m.group(1), 16) + int(m.group(2), 16) for m in re.finditer(
        r"^ *\d+ \.\S+ +([0-9a-f]{8}) +([0-9a-f]{16})", run("objdump", "-h", STUB).decode(), re.M)]
    at = (max(ends) + 0xffff) & ~0xffff
    command = ["objcopy"]
    for name in SECTIONS:
        path = write(os.path.join(folder, "part" + name), parts[name])
        command += ["--add-section", "%s=%s" % (name, path),
                    "--change-section-vma", "%s=0x%x" % (name, at)]
        at = (at + len(parts[name]) + 0xffff) & ~0xffff
    run(*command, STUB, os.path.join(folder, "uki.efi"))
    image = bytearray(read(os.path.join(folder, "uki.efi")))
    pe = struct.unpack_from("<I", image, 0x3c)[0]
    image[pe + 8:pe + 12] = bytes(4)  # TimeDateStamp and CheckSum, which objcopy sets: the same
    image[pe + 24 + 64:pe + 24 + 68] = bytes(4)  # parts must give the same image
    # A signature starts at a multiple of 8: padding that signing adds would be measured.
    return bytes(image) + bytes(-len(image) % 8)


def authenticode(image, bank):
    """The hash a firmware measures of a PE image: all but the checksum, the entry of the
    certificate table, and the certificates; then sections in the order of their place."""
    pe = struct.unpack_from("<I", image, 0x3c)[0]
    sections_n, optional_n = struct.unpack_from("<H12xH", image, pe + 6)
    optional = pe + 24
    directories = optional + (112 if struct.unpack_from("<H", image, optional)[0] == 0x20b else 96)
    headers_n = struct.unpack_from("<I", image, optional + 60)[0]
    checksum, entry = optional + 64, directories + 4 * 8
    _, certificates_n = struct.unpack_from("<II", image, entry)
    digest = hashlib.new(bank, image[:checksum])
    digest.update(image[checksum + 4:entry])
    digest.update(image[entry + 8:headers_n])
    done = headers_n
    table = optional + optional_n
    places = sorted((struct.unpack_from("<II", image, table + 40 * i + 16)[::-1])
                    for i in range(sections_n))
    for start, size in places:
        digest.update(image[start:start + size])
        done += size
    digest.update(image[done:len(image) - certificates_n])
    return digest.hexdigest()


def signed(folder, image):
    run("openssl", "pkey", "-in", SIGNER + ".key", "-passin", "pass:snakeoil", "-out",
        os.path.join(folder, "key"))
    write(os.path.join(folder, "unsigned"), image)
    run("sbsign", "--key", os.path.join(folder, "key"), "--cert", SIGNER + ".pem", "--output",
        os.path.join(folder, "signed"), os.path.join(folder, "unsigned"))
    return read(os.path.join(folder, "signed"))


def disk(folder, files):
    """GPT with one EFI system partition that holds the files."""
    esp, image = os.path.join(folder, "esp"), os.path.join(folder, "disk")
    size = sum(map(len, files.values())) + (40 << 20) & ~0xfffff  # FAT32 needs 65525 clusters
    write(esp, b"")
    os.truncate(esp, size)
    run("mkfs.vfat", "-F", "32", "-s", "1", "-i", "12345678", esp)
    made = set()
    for path, content in files.items():
        parents = path.split("/")[:-1]
        for n in range(1, len(parents) + 1):
            parent = "/".join(parents[:n])
            if parent not in made:
                run("mmd", "-i", esp, "::" + parent)
                made.add(parent)
        run("mcopy", "-i", esp, write(os.path.join(folder, "file"), content), "::" + path)
    write(image, b"")
    os.truncate(image, size + (2 << 20))
    run("sfdisk", "-q", image, data=b"label: gpt\nlabel-id: 11111111-1111-1111-1111-111111111111\n"
        b"start=2048, size=%d, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, "
        b"uuid=22222222-2222-2222-2222-222222222222\n" % (size // 512))
    with open(image, "r+b") as f:
        f.seek(1 << 20)
        f.write(read(esp))
    return image


# --- the boot

def boot(folder, image, firmware):
    """The guest's serial console until it powers off."""
    state = os.path.join(folder, "tpm")
    os.mkdir(state)
    run("swtpm_setup", "--tpm2", "--tpmstate", state, "--pcr-banks", ",".join(BANKS),
        "--overwrite")
    control = os.path.join(folder, "swtpm.sock")
    tpm = subprocess.Popen(["swtpm", "socket", "--tpm2", "--tpmstate", "dir=" + state, "--ctrl",
                            "type=unixio,path=" + control, "--terminate"])
    code, variables, machine = firmware
    shutil.copy(variables, os.path.join(folder, "vars"))
    try:
        return subprocess.run(
            ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", *machine,
             "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "384", "-no-reboot",
             "-serial", "stdio", "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + code,
             "-drive", "if=pflash,unit=1,format=raw,file=" + os.path.join(folder, "vars"),
             "-drive", "if=virtio,format=raw,file=" + image, "-chardev",
             "socket,id=tpm,path=" + control, "-tpmdev", "emulator,id=tpm,chardev=tpm", "-device",
             "tpm-crb,tpmdev=tpm"],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_LIMIT_S,
            check=True).stdout.decode(errors="replace")
    finally:
        tpm.terminate()
        tpm.wait(timeout=20)


def recording(console):
    text = console[console.index("RECORD BEGIN"):console.index("RECORD END")].replace("\r", "")
    pcrs = {bank: {} for bank in BANKS}
    for bank, index, value in re.findall(r"^pcr (\S+) (\d+) ([0-9A-Fa-f]+)$", text, re.M):
        pcrs[bank][index] = value.lower()
    assert all(len(pcrs[bank]) == 24 for bank in BANKS), text
    return base64.b64decode(re.search(r"^log (\S+)$", text, re.M).group(1)), pcrs, \
        re.search(r"^cmdline (.*)$", text, re.M).group(1)


# --- the variants: what they change about the production image, and how it is started

def entry(options):
    return b"title x\nefi /uki.efi\noptions " + options.encode() + b"\n"


VARIANTS = {
    "production": {},
    "debug": {"cmdline": CMDLINE % (ROOT_HASH, "false")},
    "other-root-hash": {"cmdline": CMDLINE % (OTHER_ROOT_HASH, "true")},
    "other-initrd": {"init": b"# one more line\n"},
    "other-kernel": {"kernel": bytes(512)},
    # The image as it is, but started by a boot loader that gives it another command line: without
    # Secure Boot the stub takes it.
    "replaced-cmdline": {"files": lambda uki: {
        "EFI/BOOT/BOOTX64.EFI": read(LOADER), "uki.efi": uki,
        "loader/loader.conf": b"timeout 0\n",
        "loader/entries/x.conf": entry(CMDLINE % (ROOT_HASH, "true") + " init=/bin/sh")}},
    # A credential beside the image: the stub hands it to the guest.
    "added-credential": {"files": lambda uki: {
        "EFI/BOOT/BOOTX64.EFI": uki, "loader/credentials/x.cred": b"from the host"}},
    # The same image, signed: a signature is no part of what is measured.
    "secure-boot": {"is_secure": True},
}


def save(path, document):
    write(path, (json.dumps(document, indent=1) + "\n").encode())


def replay(bank, digests):
    value = bytes(hashlib.new(bank).digest_size)
    for digest in digests:
        value = hashlib.new(bank, value + digest).digest()
    return value.hex()


def measurements(name, cmdline, uki, parts):
    """What the image makes of the registers under this firmware, which adds two events to PCR 4."""
    def event(pcr, name, data):
        return {"pcr": pcr, "name": name,
                "digests": {bank: hashlib.new(bank, data).hexdigest() for bank in BANKS}}

    def program(name, image):
        return {"pcr": 4, "name": name, "digests": {b: authenticode(image, b) for b in BANKS}}

    events = [program("uki", uki), program("kernel", parts[".linux"])]
    events += [event(9, "cmdline", (cmdline + "\0").encode("utf-16-le")),
               event(9, "initrd", parts[".initrd"])]
    for part in (".linux", ".osrel", ".cmdline", ".initrd"):
        events += [event(11, part + " name", part.encode() + b"\0"), event(11, part, parts[part])]
    firmware = (b"Calling EFI Application from Boot Option", bytes(4))
    pcrs = {}
    for pcr in (4, 9, 11, 12):
        pcrs[str(pcr)] = {bank: replay(
            bank, [hashlib.new(bank, data).digest() for data in firmware if pcr == 4] +
            [bytes.fromhex(e["digests"][bank]) for e in events if e["pcr"] == pcr])
            for bank in BANKS}
    is_hardened = "hardened=true" in cmdline
    return {"schema": "teelaunch.image-measurements/1", "name": "boot-test", "version": name,
            "commit": "0", "flavour": "production" if is_hardened else "debug",
            "hardened": is_hardened, "cmdline": cmdline,
            "roothash": re.search("roothash=(\\S+)", cmdline).group(1),
            "sha256": {"uki": hashlib.sha256(uki).hexdigest()}, "pcrs": pcrs, "events": events}


def record(name, kernel, out):
    change = VARIANTS[name]
    cmdline = change.get("cmdline", CMDLINE % (ROOT_HASH, "true"))
    with tempfile.TemporaryDirectory(prefix="record-boot.") as folder:
        parts = {".osrel": OS_RELEASE, ".cmdline": cmdline.encode() + b"\0", ".uname": b"6.1\0",
                 ".initrd": initrd(change.get("init", b"")),
                 ".linux": kernel + change.get("kernel", b"")}
        uki = unified_image(folder, parts)
        files = change.get("files", lambda image: {"EFI/BOOT/BOOTX64.EFI": image})(uki)
        if "is_secure" in change:
            files = {"EFI/BOOT/BOOTX64.EFI": signed(folder, uki)}
        log, pcrs, seen = recording(boot(folder, disk(folder, files),
                                         SECURE if "is_secure" in change else PLAIN))
    write(os.path.join(out, name + ".log"), log)
    save(os.path.join(out, name + ".json"), {"cmdline": seen, "pcrs": pcrs})
    if "files" not in change and "is_secure" not in change:
        save(os.path.join(out, name + ".measurements.json"), measurements(name, cmdline, uki, parts))
    print("%s: log of %d bytes, command line: %s" % (name, len(log), seen), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--only", action="append", choices=sorted(VARIANTS))
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name in args.only or VARIANTS:
        record(name, read(args.kernel), args.out)


if __name__ == "__main__":
    sys.exit(main())
