# SPDX-License-Identifier: Apache-2.0
"""Root file system with its hash tree, UKI, and the disk that holds both."""

import os
import struct
import subprocess
import uuid

BLOCK = 4096
MIB = 1 << 20
SECTOR = 512
# Fixed: an identifier drawn at random would make each build another image.
NAMESPACE = uuid.UUID("5d3b4bb5-52b1-4f2e-8f0d-1f6f0e7e6f2a")
ESP_TYPE = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ROOT_TYPE = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
# FAT32 has at least 65525 clusters.
ESP_MIB_MIN = 34
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"


def run(*argv, **how):
    how.setdefault("stdout", subprocess.PIPE)
    return subprocess.run(argv, check=True, **how).stdout


def identifier(name):
    return str(uuid.uuid5(NAMESPACE, name))


def root(tree, epoch, path):
    """Writes the file system and, after it, its hash tree to @path; (root hash, blocks of data)."""
    run("mkfs.erofs", "--quiet", "-zlz4hc,12", "-x-1", "--all-root", "-T%d" % epoch, "-U",
        identifier("root"), path, tree)
    size = os.path.getsize(path)
    blocks = -(-size // BLOCK)
    os.truncate(path, blocks * BLOCK)
    out = run("veritysetup", "format", "--no-superblock", "--salt=-", "--hash=sha256",
              "--data-block-size=%d" % BLOCK, "--hash-block-size=%d" % BLOCK,
              "--data-blocks=%d" % blocks, "--hash-offset=%d" % (blocks * BLOCK), path, path,
              text=True)
    roothash = next(line.split()[-1] for line in out.splitlines() if line.startswith("Root hash"))
    return roothash, blocks


def pe_layout(data):
    """(offset of the PE header, [(name, virtual size, address, raw size, offset)], alignment)"""
    pe, = struct.unpack_from("<I", data, 0x3c)
    count, = struct.unpack_from("<H", data, pe + 6)
    optional, = struct.unpack_from("<H", data, pe + 20)
    alignment, = struct.unpack_from("<I", data, pe + 24 + 32)
    sections = []
    for i in range(count):
        name, *numbers = struct.unpack_from("<8sIIII", data, pe + 24 + optional + 40 * i)
        sections.append((name.rstrip(b"\0").decode(), *numbers))
    return pe, sections, alignment


def uki(sections, path):
    """@sections: (name, file) in the order in which they are laid into the stub."""
    with open(STUB, "rb") as f:
        _, there, alignment = pe_layout(f.read())
    address = max(start + size for _, size, start, _, _ in there)
    argv = ["objcopy"]
    for name, file in sections:
        address = -(-address // alignment) * alignment
        argv += ["--add-section", "%s=%s" % (name, file),
                 "--change-section-vma", "%s=0x%x" % (name, address)]
        address += os.path.getsize(file)
    run(*argv, STUB, path)
    with open(path, "r+b") as f:
        pe, _, _ = pe_layout(f.read())
        # objcopy writes the time, and with it another checksum. Nobody reads either.
        for offset in (8, 24 + 64):
            f.seek(pe + offset)
            f.write(b"\0\0\0\0")
        # A signature starts at a multiple of 8: padding that signing adds would be measured.
        f.write(bytes(-f.seek(0, os.SEEK_END) % 8))


def esp(uki_path, epoch, path):
    """A FAT file system with the one file that firmware looks for."""
    need = -(-os.path.getsize(uki_path) // MIB) + 2
    size = max(need, ESP_MIB_MIN)
    with open(path, "wb") as f:
        f.truncate(size * MIB)
    with open(path + ".boot", "wb") as f, open(uki_path, "rb") as source:
        f.write(source.read())
    os.utime(path + ".boot", (epoch, epoch))
    how = {"env": dict(os.environ, SOURCE_DATE_EPOCH=str(epoch), TZ="UTC", MTOOLSRC="/dev/null",
                       LC_ALL="C.UTF-8")}
    run("mformat", "-i", path, "-F", "-N", "7ee1a0c4", "-v", "TEELAUNCH", "-c", "1", "::", **how)
    run("mmd", "-i", path, "::/EFI", "::/EFI/BOOT", **how)
    run("mcopy", "-m", "-i", path, path + ".boot", "::/EFI/BOOT/BOOTX64.EFI", **how)
    os.unlink(path + ".boot")
    return size * MIB


def partition_name(roothash):
    """As image/init.c looks for it."""
    return "root-" + roothash[:30]


def gpt(esp_path, root_path, roothash, path):
    """The disk: both partitions, aligned to a mebibyte. The root's UUID is the first half of its
    hash, as the Discoverable Partitions Specification has it."""
    esp_sectors = os.path.getsize(esp_path) // SECTOR
    root_bytes = -(-os.path.getsize(root_path) // MIB) * MIB
    start = MIB // SECTOR
    root_start = start + esp_sectors
    total = (root_start * SECTOR) + root_bytes + MIB
    script = "\n".join([
        "label: gpt", "label-id: " + identifier("disk"), "unit: sectors", "first-lba: %d" % start, "",
        "start=%d, size=%d, type=%s, uuid=%s, name=esp" % (start, esp_sectors, ESP_TYPE,
                                                           identifier("esp")),
        "start=%d, size=%d, type=%s, uuid=%s, name=%s" % (
            root_start, root_bytes // SECTOR, ROOT_TYPE, uuid.UUID(roothash[:32]),
            partition_name(roothash)), ""])
    with open(path, "wb") as f:
        f.truncate(total)
    run("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", path, input=script.encode())
    with open(path, "r+b") as f:
        for at, source in ((start, esp_path), (root_start, root_path)):
            f.seek(at * SECTOR)
            with open(source, "rb") as data:
                while block := data.read(MIB):
                    if block.strip(b"\0"):
                        f.write(block)
                    else:
                        f.seek(len(block), os.SEEK_CUR)
