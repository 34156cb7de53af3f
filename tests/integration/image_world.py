# SPDX-License-Identifier: Apache-2.0
"""Images made of bytes, a certificate authority, and a registry that misbehaves on order."""

import gzip
import hashlib
import http.server
import io
import json
import os
import ssl
import subprocess
import tarfile
import threading

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def run(*argv, **kwargs):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, **kwargs).stdout


class Authority:
    """A CA of its own below `folder`; ca.pem is what a client must trust."""

    def __init__(self, folder, name="test CA"):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.pem = os.path.join(folder, "ca.pem")
        self.key = os.path.join(folder, "ca.key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", "/CN=" + name, "-keyout", self.key, "-out", self.pem,
            "-addext", "keyUsage=critical,keyCertSign")

    def issue(self, *names):
        """Certificate and key of a server; a name of digits and dots is an address."""
        base = os.path.join(self.folder, names[0].replace(":", "_"))
        sans = ",".join(("IP:" if n.replace(".", "").isdigit() else "DNS:") + n for n in names)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\n" % sans)
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", "/CN=" + names[0], "-keyout", base + ".key", "-out", base + ".csr")
        run("openssl", "x509", "-req", "-in", base + ".csr", "-CA", self.pem, "-CAkey", self.key,
            "-CAcreateserial", "-days", "2", "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"


def tar_of(files):
    """An uncompressed layer of {name: bytes}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o755
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def compress(tar, kind):
    if kind == "gzip":
        return gzip.compress(tar, 1, mtime=0)
    if kind == "zstd":
        return subprocess.run(["zstd", "-q", "-1", "-c"], input=tar, stdout=subprocess.PIPE,
                              check=True, timeout=60).stdout
    return tar


class Image:
    """One platform's image: blobs by digest, and the bytes of its manifest."""

    def __init__(self, tars, kinds=None, config=None, labels=None, architecture="amd64",
                 os_name="linux"):
        kinds = kinds or ["gzip"] * len(tars)
        self.blobs = {}
        self.layers = []
        for tar, kind in zip(tars, kinds):
            data = compress(tar, kind)
            self.blobs[digest_of(data)] = data
            media_type = OCI_LAYER + ("" if kind == "tar" else "+" + kind)
            self.layers.append({"mediaType": media_type, "digest": digest_of(data),
                                "size": len(data)})
        self.diff_ids = [digest_of(tar) for tar in tars]
        self.config = config or {
            "architecture": architecture, "os": os_name,
            "config": {"Entrypoint": ["/hello"], "Env": ["A=b"], "Labels": labels or {}},
            "rootfs": {"type": "layers", "diff_ids": self.diff_ids}}
        self.seal()

    def seal(self, **changes):
        """Write config and manifest anew; `changes` replace members of the manifest."""
        config = json.dumps(self.config).encode()
        self.config_digest = digest_of(config)
        self.blobs[self.config_digest] = config
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                    "config": {"mediaType": OCI_CONFIG, "digest": self.config_digest,
                               "size": len(config)},
                    "layers": self.layers}
        document.update(changes)
        self.manifest = json.dumps(document).encode()
        self.digest = digest_of(self.manifest)
        return self

    def chain_id(self):
        chain = self.diff_ids[0]
        for diff_id in self.diff_ids[1:]:
            chain = digest_of((chain + " " + diff_id).encode())
        return chain


def index_of(*entries):
    """Bytes of an index; each entry is (image, platform or None)."""
    manifests = []
    for image, platform in entries:
        item = {"mediaType": OCI_MANIFEST, "digest": image.digest, "size": len(image.manifest)}
        if platform:
            item["platform"] = platform
        manifests.append(item)
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX,
                       "manifests": manifests}).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        registry = self.server.registry
        with registry.lock:
            registry.requests.append((self.command, self.path, dict(self.headers), self.body))
        for hook in registry.hooks:
            if hook(self):
                return
        registry.answer(self)

    def reply(self, status, body=b"", headers=None, length=None):
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        """End the connection without a TLS farewell."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.unwrap = lambda *a: None
        self.connection.shutdown(2)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the game


class Registry:
    """Serves manifests and blobs over TLS; `hooks` run first and return True if they answered."""

    def __init__(self, certificate, key, host="127.0.0.1"):
        self.lock = threading.Lock()
        self.requests = []
        self.hooks = []
        self.manifests = {}  # (repository, tag or digest) -> (media type, bytes)
        self.blobs = {}
        self.server = Server((host, 0), Handler)
        self.server.registry = self
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                 do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reset(self):
        with self.lock:
            self.requests.clear()
        self.hooks.clear()
        self.manifests.clear()
        self.blobs.clear()

    def put(self, repository, tag, image):
        self.blobs.update(image.blobs)
        for name in (tag, image.digest):
            self.manifests[repository, name] = (OCI_MANIFEST, image.manifest)

    def put_index(self, repository, tag, index):
        for name in (tag, digest_of(index)):
            self.manifests[repository, name] = (OCI_INDEX, index)

    def answer(self, handler):
        parts = handler.path.split("/")
        repository, kind, name = "/".join(parts[2:-2]), parts[-2], parts[-1]
        if kind == "manifests" and (repository, name) in self.manifests:
            media_type, body = self.manifests[repository, name]
            return handler.reply(200, body, {"Content-Type": media_type,
                                             "Docker-Content-Digest": digest_of(body)})
        if kind == "blobs" and name in self.blobs:
            return self.answer_blob(handler, self.blobs[name])
        return handler.reply(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}')

    @staticmethod
    def answer_blob(handler, body):
        wanted = handler.headers.get("Range")
        if not wanted:
            return handler.reply(200, body)
        start = int(wanted[len("bytes="):].rstrip("-"))
        if start >= len(body):
            return handler.reply(416)
        return handler.reply(206, body[start:], {
            "Content-Range": "bytes %d-%d/%d" % (start, len(body) - 1, len(body))})

    def count(self, fragment):
        with self.lock:
            return sum(fragment in path for _, path, _, _ in self.requests)

    def seen(self):
        with self.lock:
            return list(self.requests)


def drive(driver, verb, reference, *options, timeout=60, prefix=()):
    """Run image_driver; (True if it succeeded, {key: value}, everything it printed)."""
    done = subprocess.run([*prefix, driver, verb, *options, reference], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout)
    text = done.stdout.decode(errors="backslashreplace")
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if done.returncode not in (0, 1):
        raise AssertionError("the driver ended with %d:\n%s" % (done.returncode, text))
    return done.returncode == 0, values, text
