#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""teeverifierd with keys and certificates made here, over TLS on loopback.

  verifier.py start --dir W/verifier --programs DIR --ak-roots PEM --identity-jwks FILE
  verifier.py stop  --dir W/verifier
"""
import json
import os
import ssl
import urllib.request

import parts

IDENTITY_ISSUER = "https://accounts.google.com"


class Verifier:
    def __init__(self, folder, programs=None, with_parent=False, ak_roots=None, identity_jwks=None,
                 authority=None):
        self.folder = folder
        self.programs = programs
        self.with_parent = with_parent
        self.authority = authority
        self.ak_roots = ak_roots
        self.identity_jwks = identity_jwks
        self.process = parts.Process(folder, "teeverifierd")
        self.ca = os.path.join(folder, "ca.pem")
        self.port = 0  # any; the same again when it is started again
        self.url = None

    def start(self, ak_roots=None, identity_jwks=None, **options):
        os.makedirs(self.folder, exist_ok=True)
        parts.make_tls(self.folder, "teelaunch test verifier", self.authority)
        for name, how in (("token-rs256.pem", ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")),
                          ("token-es256.pem", ("-algorithm", "EC", "-pkeyopt",
                                               "ec_paramgen_curve:P-256"))):
            parts.run("openssl", "genpkey", *how, "-out", os.path.join(self.folder, name))
            os.chmod(os.path.join(self.folder, name), 0o600)
        self.ak_roots = ak_roots or self.ak_roots
        self.identity_jwks = identity_jwks or self.identity_jwks
        self.launch(**options)
        parts.save_facts(self.folder, url=self.url, ca=self.ca, jwks=self.url + "/.well-known/jwks.json")
        return self

    def launch(self, **changed):
        """Start the daemon: at first, and again after `process.stop()`, with other options."""
        path = self.folder
        port_file = os.path.join(path, "port")
        options = {"listen": "127.0.0.1:%d" % self.port, "port-file": port_file,
                   "tls-cert": os.path.join(path, "cert.pem"), "tls-key": os.path.join(path, "key.pem"),
                   "ak-roots": "SWTPM=" + self.ak_roots, "identity-jwks": self.identity_jwks,
                   "identity-issuer": IDENTITY_ISSUER}
        options.update({k.replace("_", "-"): v for k, v in changed.items()})
        command = [os.path.join(self.programs, "teeverifierd")]
        for name, value in options.items():
            command += ["--" + name, value] if value is not None else []
        for key in ("token-rs256.pem", "token-es256.pem"):
            command += ["--token-key", os.path.join(path, key)]
        self.process.start(*command, with_parent=self.with_parent)
        parts.wait_until(lambda: os.path.exists(port_file), "teeverifierd listens", process=self.process)
        self.port = int(parts.read(port_file))
        self.url = "https://127.0.0.1:%d" % self.port
        os.unlink(port_file)

    def get(self, path):
        """A JSON document of the verifier, fetched over TLS with its root alone."""
        trust = ssl.create_default_context(cafile=self.ca)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                             urllib.request.HTTPSHandler(context=trust))
        try:
            with opener.open(self.url + path, timeout=10) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as fault:
            raise parts.Failure("%s%s: %s" % (self.url, path, fault)) from fault

    @property
    def log(self):
        return parts.read(self.process.log)

    def stop(self):
        self.process.stop()


if __name__ == "__main__":
    parts.part_main(Verifier, programs=(None, "folder of teeverifierd"),
                    ak_roots=(None, "PEM file: who may vouch for attestation keys"),
                    identity_jwks=(None, "key set of those who issue identity tokens"))
