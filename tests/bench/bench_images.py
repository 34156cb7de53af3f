# SPDX-License-Identifier: Apache-2.0
"""Images for the pulls: files of this machine's /usr, in units of about 5 MB compressed. Each unit is packed once
and used in every image that holds it: the same files in 1, 8 or 40 layers, as gzip and as Zstandard.

A layer in gzip is one member: the units' deflate streams (zlib, level 6, each ended by a full flush) one after the
other. In Zstandard it is one frame (zstd -3). The choice of files is that of /usr: by the digest of the
directory's name, so that big and small, text and programs are mixed as they are there.
"""
import concurrent.futures
import hashlib
import http.client
import json
import os
import ssl
import struct
import subprocess
import tarfile
import zlib

import parts
from images import IMAGES, PATH_ENV, POLICY

FROM = "/usr"
UNPACKED = 3.3  # bytes of files for one of a layer, about; what came of it is measured
CHUNK = 1 << 20
LAYER = "application/vnd.oci.image.layer.v1.tar+"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # RFC 1952: deflate, no name, no time
END = bytes(2 * 512)  # two empty blocks end a tar


def walk(wanted_bytes, file_max):
    """Paths below /usr, the directories by their names' digests; again from the start if /usr is too small. Files
    that would make one layer much larger than the others are left out."""
    folders = sorted((f for f, _, _ in os.walk(FROM)), key=lambda f: hashlib.sha256(f.encode(errors="replace")).digest())
    taken, again = 0, 0
    while taken < wanted_bytes:
        before = taken
        for folder in folders:
            for path in [folder] + sorted(os.path.join(folder, n) for n in os.listdir(folder)):
                size = os.lstat(path).st_size if os.path.isfile(path) and not os.path.islink(path) else 0
                if path != folder and not size and not os.path.islink(path) or size > file_max:
                    continue  # a directory has its turn; devices and sockets are no files of /usr
                taken += size + 512
                yield path, "again%d/" % again if again else "", size
                if taken >= wanted_bytes:
                    return
        again += 1
        if taken == before:
            raise parts.Failure("%s has no files" % FROM)


def units_of(wanted_bytes, unit_bytes):
    """Lists of (path, prefix of its name in the image)."""
    unit, held = [], 0
    for path, prefix, size in walk(wanted_bytes, 4 * unit_bytes):
        unit.append((path, prefix))
        held += size + 512
        if held >= unit_bytes:
            yield unit
            unit, held = [], 0
    if unit:
        yield unit


class Unit:
    """A piece of a tar without its end, as a file; and the same deflated."""

    def __init__(self, stem):
        self.tar, self.deflated = stem + ".tar", stem + ".deflate"

    def write_tar(self, members):
        """`members`: (path, prefix). Directories above are named before what is in them."""
        named = set()
        with open(self.tar, "wb") as f:
            archive = tarfile.TarFile(fileobj=f, mode="w", format=tarfile.PAX_FORMAT)
            for path, prefix in members:
                name = prefix + path.lstrip("/")
                self.add_above(archive, name, path, named)
                self.add(archive, name, path)
            # No close(): that would write the end.
        return self

    def add_above(self, archive, name, path, named):
        above, source = os.path.dirname(name), os.path.dirname(path)
        if above and above not in named:
            named.add(above)
            self.add_above(archive, above, source, named)
            self.add(archive, above, source)

    @staticmethod
    def add(archive, name, path):
        info = archive.gettarinfo(path, name)
        if info is None:
            return
        if info.islnk():
            info.type, info.size = tarfile.REGTYPE, os.lstat(path).st_size
        info.mtime, info.uid, info.gid, info.uname, info.gname = int(info.mtime), 0, 0, "", ""
        if info.isreg():
            with open(path, "rb") as content:
                archive.addfile(info, content)
        else:
            archive.addfile(info)

    def deflate(self):
        packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        with open(self.tar, "rb") as f, open(self.deflated, "wb") as out:
            for chunk in iter(lambda: f.read(CHUNK), b""):
                out.write(packer.compress(chunk))
            out.write(packer.flush(zlib.Z_FULL_FLUSH))
        return self


def read_all(paths):
    for path in paths:
        with open(path, "rb") as f:
            yield from iter(lambda f=f: f.read(CHUNK), b"")


class Shelf:
    """Units of real files, images made of them, and a registry to put them into."""

    def __init__(self, folder, registry, hello):
        self.folder, self.registry = folder, registry
        os.makedirs(folder, exist_ok=True)
        self.hello = Unit(os.path.join(folder, "hello"))
        with open(self.hello.tar, "wb") as f:
            archive = tarfile.TarFile(fileobj=f, mode="w", format=tarfile.PAX_FORMAT)
            info = archive.gettarinfo(hello, "hello")
            info.mode, info.type, info.size = 0o755, tarfile.REGTYPE, os.path.getsize(hello)
            with open(hello, "rb") as content:
                archive.addfile(info, content)
        self.hello.deflate()
        self.shelves = {}
        self.facts = {}

    def units(self, kind, total_mb, unit_mb):
        """Made once for each kind."""
        if kind not in self.shelves:
            chosen = list(units_of(total_mb * 1e6 * UNPACKED, unit_mb * 1e6 * UNPACKED))
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                self.shelves[kind] = list(pool.map(
                    lambda n: Unit(os.path.join(self.folder, "%s-%d" % (kind, n))).write_tar(chosen[n]).deflate(),
                    range(len(chosen))))
        return self.shelves[kind]

    def gzip_layer(self, units, path):
        """(bytes, digest, digest of the tar)"""
        packed, plain, crc, size = hashlib.sha256(), hashlib.sha256(), 0, 0
        for chunk in read_all(u.tar for u in units):
            plain.update(chunk)
            crc = zlib.crc32(chunk, crc)
            size += len(chunk)
        plain.update(END)
        crc, size = zlib.crc32(END, crc), size + len(END)
        last = zlib.compressobj(6, zlib.DEFLATED, -15)
        tail = last.compress(END) + last.flush() + struct.pack("<II", crc, size & 0xFFFFFFFF)
        with open(path, "wb") as out:
            for chunk in (GZIP_HEAD, *[u.deflated for u in units], tail):
                for data in read_all([chunk]) if isinstance(chunk, str) else [chunk]:
                    packed.update(data)
                    out.write(data)
        return os.path.getsize(path), packed.hexdigest(), plain.hexdigest(), size

    def zstd_layer(self, units, path):
        plain, size = hashlib.sha256(), 0
        with open(path, "wb") as out:
            packer = subprocess.Popen(["zstd", "-q", "-3", "-c"], stdin=subprocess.PIPE, stdout=out)
            for data in read_all(u.tar for u in units):
                plain.update(data)
                size += len(data)
                packer.stdin.write(data)
            plain.update(END)
            packer.stdin.write(END)
            packer.stdin.close()
            if packer.wait():
                raise parts.Failure("zstd failed with %d" % packer.returncode)
        packed = hashlib.sha256()
        for data in read_all([path]):
            packed.update(data)
        return os.path.getsize(path), packed.hexdigest(), plain.hexdigest(), size + len(END)

    def image(self, name, units, layers, packing):
        """Builds and pushes it: name:1 in the registry. What is in which layer depends on nothing but the number."""
        if name in self.facts:
            return self.facts[name]
        shares = [units[len(units) * i // layers:len(units) * (i + 1) // layers] for i in range(layers)]
        shares[0] = [self.hello] + shares[0]

        def layer(number):
            path = os.path.join(self.folder, "%s-%d" % (name.replace("/", "-"), number))
            size, digest, diff, unpacked = getattr(self, packing + "_layer")(shares[number], path)
            self.push(name, path, digest, size)
            os.unlink(path)
            return {"mediaType": LAYER + packing, "digest": "sha256:" + digest, "size": size}, "sha256:" + diff, unpacked

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(layer, range(layers)))
        self.facts[name] = self.push_manifest(name, made)
        return self.facts[name]

    def push_manifest(self, name, made):
        labels, env, entrypoint, cmd = IMAGES["demo/hello:1"]
        config = json.dumps({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": [PATH_ENV, *env], "Entrypoint": [entrypoint], "Cmd": cmd,
                       "Labels": {POLICY + k: v for k, v in labels.items()}},
            "rootfs": {"type": "layers", "diff_ids": [diff for _, diff, _ in made]}}).encode()
        self.registry.push_blob(name, config)
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": "sha256:" + hashlib.sha256(config).hexdigest(), "size": len(config)},
            "layers": [layer for layer, _, _ in made]}).encode()
        self.registry.push_manifest(name, "1", manifest, MANIFEST)
        return {"layers": len(made), "bytes": sum(layer["size"] for layer, _, _ in made),
                "unpacked_bytes": sum(size for _, _, size in made), "blobs": [layer["digest"] for layer, _, _ in made]}

    def push(self, name, path, digest, size):
        place = self.registry.send("POST", "/v2/%s/blobs/uploads/" % name)["Location"]
        place = place[place.index("/v2/"):]
        host, port = self.registry.host.split(":")
        context = ssl.create_default_context(cafile=self.registry.ca)
        connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=300)
        try:
            connection.request("PUT", "%s%sdigest=sha256:%s" % (place, "&" if "?" in place else "?", digest),
                               read_all([path]), {"Content-Type": "application/octet-stream", "Content-Length": str(size)})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status != 201:
            raise parts.Failure("the registry answers the push of %s with %d: %s" % (name, answer.status, text[:300]))
