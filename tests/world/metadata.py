#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A metadata server as a cloud VM sees it, on loopback, with plain http and without any secret of value.

  metadata.py start --dir W/metadata     then: jwks.json, requests.log, facts.json with its host
  metadata.py stop  --dir W/metadata

Read anew at every request, so that a person or a test can change them at any time:
  attributes.json   the instance's attributes: the operator's tee-* keys
  behaviour.json    how to misbehave: a list of rules; the first that fits the request is taken. A rule:
      "path": prefix of the path after /computeMetadata/v1/     which requests
      "from", "to": numbers                                      only the n-th request of that path
      "status": 500, "body": "text"                              answer with these
      "delay_s": 3                                               answer late
      "flavor": "wrong" or null                                  the Metadata-Flavor header; null: none
      "attributes": {...}                                        other attributes than the file's
      "cut": true                                                close the connection without an answer
Paths, headers and the shape of answers are those of Google Compute Engine
(cloud.google.com/compute/docs/metadata); identity tokens are RS256 JWTs signed by a key made here.
"""
import base64
import http.server
import json
import os
import sys
import threading
import time
import urllib.parse

import parts

PREFIX = "/computeMetadata/v1/"
PROJECT, PROJECT_NUMBER, ZONE = "demo-project", 1234567890, "us-central1-a"
INSTANCE_ID, INSTANCE_NAME = "4242424242424242424", "demo-vm"
ACCOUNT = "workload@demo-project.iam.gserviceaccount.com"
ISSUER, SUBJECT = "https://accounts.google.com", "104242424242424242424"
ACCESS_TOKEN = "ya29.canary-access-token"
KEY_ID = "world-1"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_key(folder):
    """The key that signs identity tokens, and its public half as a JWK set."""
    key = os.path.join(folder, "identity.key")
    parts.run("openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", key)
    os.chmod(key, 0o600)
    text = parts.run("openssl", "rsa", "-in", key, "-noout", "-modulus").decode()
    modulus = bytes.fromhex(text.strip().split("=")[1])
    parts.write(os.path.join(folder, "jwks.json"), json.dumps({"keys": [
        {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": base64url(modulus),
         "e": base64url(b"\x01\x00\x01")}]}) + "\n")


def sign(folder, claims):
    head = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
    text = ".".join(base64url(json.dumps(part).encode()) for part in (head, claims))
    signature = parts.run("openssl", "dgst", "-sha256", "-sign", os.path.join(folder, "identity.key"),
                          stdin=text.encode())
    return "%s.%s" % (text, base64url(signature))


def identity_token(folder, audience):
    now = int(time.time())
    return sign(folder, {
        "aud": audience, "azp": SUBJECT, "email": ACCOUNT, "email_verified": True, "exp": now + 3600,
        "iat": now, "iss": ISSUER, "sub": SUBJECT,
        "google": {"compute_engine": {
            "instance_creation_timestamp": now - 60, "instance_id": INSTANCE_ID,
            "instance_name": INSTANCE_NAME, "project_id": PROJECT, "project_number": PROJECT_NUMBER,
            "zone": ZONE}}})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.lock = threading.Lock()
        self.version, self.seen = None, {}

    def rule(self, path):
        """The rule for this request, {} for none; counts the request. A new file counts from 1."""
        file = os.path.join(self.folder, "behaviour.json")
        try:
            version, rules = os.stat(file).st_mtime_ns, json.loads(parts.read(file))
        except FileNotFoundError:
            version, rules = None, []
        with self.lock:
            if version != self.version:
                self.version, self.seen = version, {}
            n = self.seen[path] = self.seen.get(path, 0) + 1
        for rule in rules:
            if path.startswith(rule.get("path", "")) and \
               rule.get("from", 1) <= n <= rule.get("to", n):
                return rule
        return {}

    def note(self, line):
        with self.lock, open(os.path.join(self.folder, "requests.log"), "a", encoding="utf-8") as f:
            f.write(line + "\n")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for its header's acknowledgement

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        path = url.path.removeprefix(PREFIX)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        rule = self.server.rule(path)
        self.server.note("%s %s" % (self.command, self.path))
        if "delay_s" in rule:
            time.sleep(rule["delay_s"])
        if rule.get("cut"):
            self.close_connection = True
            return
        if "status" in rule:
            self.answer(rule["status"], rule.get("body", "no"), rule)
        elif not url.path.startswith(PREFIX) or self.headers.get("Metadata-Flavor") != "Google":
            self.answer(403, "Missing Metadata-Flavor:Google header.", rule)
        else:
            self.answer(*self.value(path, query, rule), rule)

    def value(self, path, query, rule):
        folder = self.server.folder
        fixed = {
            "project/project-id": PROJECT, "project/numeric-project-id": str(PROJECT_NUMBER),
            "instance/zone": "projects/%d/zones/%s" % (PROJECT_NUMBER, ZONE),
            "instance/id": INSTANCE_ID, "instance/name": INSTANCE_NAME,
            "instance/service-accounts/default/email": ACCOUNT,
        }
        if path in fixed:
            return 200, fixed[path]
        if path == "instance/attributes/" and query.get("recursive") == "true":
            if "attributes" in rule:
                return 200, json.dumps(rule["attributes"])
            return 200, rule.get("body") or self.attributes(folder)
        if path == "instance/service-accounts/default/token":
            return 200, json.dumps({"access_token": ACCESS_TOKEN, "expires_in": 3599,
                                    "token_type": "Bearer"})
        if path == "instance/service-accounts/default/identity" and query.get("audience"):
            return 200, identity_token(folder, query["audience"])
        return 404, "not found"

    def attributes(self, folder):
        """The bytes of the file: a document need not be text."""
        with open(os.path.join(folder, "attributes.json"), "rb") as f:
            return f.read()

    def answer(self, status, content, rule):
        body = content if isinstance(content, bytes) else content.encode()
        self.send_response(status)
        flavor = rule.get("flavor", "Google")
        if flavor:
            self.send_header("Metadata-Flavor", flavor)
        is_json = body.startswith((b"{", b"["))
        self.send_header("Content-Type", "application/json" if is_json else "application/text")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(folder):
    server = Server(folder)
    parts.replace(os.path.join(folder, "port"), str(server.server_port))
    server.serve_forever()


class Metadata:
    def __init__(self, folder, with_parent=False):
        self.folder = folder
        self.with_parent = with_parent
        self.process = parts.Process(folder, "metadata")
        self.jwks = os.path.join(folder, "jwks.json")
        self.host = None

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        if not os.path.exists(self.jwks):
            make_key(self.folder)
        if not os.path.exists(os.path.join(self.folder, "attributes.json")):
            self.set_attributes({})
        self.process.start(sys.executable, "-B", os.path.abspath(__file__), "serve", self.folder,
                           with_parent=self.with_parent)
        port = os.path.join(self.folder, "port")
        parts.wait_until(lambda: os.path.exists(port), "the metadata server listens",
                         process=self.process)
        self.host = "127.0.0.1:" + parts.read(port)
        parts.save_facts(self.folder, host=self.host, jwks=self.jwks)
        return self

    def set_attributes(self, attributes):
        """`attributes`: a dict, or the very text or bytes to serve."""
        if isinstance(attributes, dict):
            attributes = json.dumps(attributes, indent=1)
        if isinstance(attributes, str):
            attributes = attributes.encode()
        parts.replace(os.path.join(self.folder, "attributes.json"), attributes)

    def behave(self, *rules):
        """Without rules: well."""
        parts.replace(os.path.join(self.folder, "behaviour.json"), json.dumps(rules))

    def requests(self):
        log = os.path.join(self.folder, "requests.log")
        return parts.read(log).splitlines() if os.path.exists(log) else []

    def stop(self):
        self.process.stop()
        port = os.path.join(self.folder, "port")
        if os.path.exists(port):
            os.unlink(port)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        parts.part_main(Metadata)
