# SPDX-License-Identifier: Apache-2.0
"""The local world's containerd in a scratch directory, and images made from a static C program."""

import gzip
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "world"))

import containerd  # noqa: E402

NAMESPACE = "default"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Scratch:
    """Use as a context: everything it started is ended, everything it made is removed."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="tlc-")
        self.store = containerd.Containerd(self.path("c"), snapshotter="overlayfs", with_parent=True)
        self.socket = self.store.socket

    def __enter__(self):
        self.store.start()
        return self

    def __exit__(self, *exception):
        self.store.stop()
        shutil.rmtree(self.top, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.top, *parts)

    def write(self, name, data, mode=0o644):
        with open(self.path(name), "wb") as f:
            f.write(data)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def start(self):
        self.store.launch()

    def stop(self, how=signal.SIGTERM):
        self.store.process.stop(number=how)

    def log(self):
        return self.store.process.last_words()

    def ctr(self, *args):
        return self.store.ctr(*args)

    def names(self, *args):
        return self.ctr(*args, "-q").split()

    # Images.

    def compile(self, source):
        out = self.path("program")
        subprocess.run(["gcc", "-static", "-O1", "-Wall", "-o", out, source], check=True)
        with open(out, "rb") as f:
            return f.read()

    @staticmethod
    def layer(files):
        """(tar, tar.gz) of {name: (mode, bytes or symlink target)}."""
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, (mode, content) in files.items():
                info = tarfile.TarInfo(name)
                info.mode = mode
                if content is None:
                    info.type = tarfile.DIRTYPE
                elif isinstance(content, str):
                    info.type, info.linkname = tarfile.SYMTYPE, content
                else:
                    info.size = len(content)
                tar.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
        return raw.getvalue(), gzip.compress(raw.getvalue(), 1, mtime=0)

    def image(self, name, layers, config):
        """Import an image; returns {config, config_digest, chain_id}."""
        layout = self.path("layout")
        shutil.rmtree(layout, ignore_errors=True)
        os.makedirs(layout + "/blobs/sha256")

        def blob(data, media_type):
            with open(layout + "/blobs/" + sha256(data).replace(":", "/"), "wb") as f:
                f.write(data)
            return {"mediaType": media_type, "digest": sha256(data), "size": len(data)}

        diff_ids = [sha256(tar) for tar, _ in layers]
        config_data = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                                  "rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
        oci = "application/vnd.oci.image."
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": oci + "manifest.v1+json",
            "config": blob(config_data, oci + "config.v1+json"),
            "layers": [blob(gz, oci + "layer.v1.tar+gzip") for _, gz in layers]}).encode()
        entry = blob(manifest, oci + "manifest.v1+json")
        entry["annotations"] = {"io.containerd.image.name": name}
        for file, content in (("oci-layout", {"imageLayoutVersion": "1.0.0"}),
                              ("index.json", {"schemaVersion": 2, "manifests": [entry]})):
            with open(layout + "/" + file, "w") as f:
                json.dump(content, f)
        with tarfile.open(self.path("image.tar"), "w") as tar:
            tar.add(layout, arcname=".")
        self.ctr("images", "import", "--digests", self.path("image.tar"))
        chain = diff_ids[0]
        for diff_id in diff_ids[1:]:
            chain = sha256((chain + " " + diff_id).encode())
        return {"config": config_data, "config_digest": sha256(config_data), "chain_id": chain}
