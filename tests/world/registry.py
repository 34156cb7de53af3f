#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry for images, over TLS on loopback (docker-registry).

  registry.py start --dir W/registry     then: ca.pem, access.log, facts.json with its host
  registry.py stop  --dir W/registry
"""
import contextlib
import hashlib
import http.client
import os
import re
import ssl

import parts


class Registry:
    def __init__(self, folder, with_parent=False, authority=None):
        self.folder = folder
        self.with_parent = with_parent
        self.authority = authority
        self.process = parts.Process(folder, "registry")
        self.ca = os.path.join(folder, "ca.pem")
        self.access_log = os.path.join(folder, "access.log")
        self.host = None

    def start(self):
        os.makedirs(os.path.join(self.folder, "data"), exist_ok=True)
        parts.make_tls(self.folder, "teelaunch test registry", self.authority)
        self.host = "127.0.0.1:%d" % parts.free_port()
        parts.write(os.path.join(self.folder, "config.yml"), """version: 0.1
log: { level: info, accesslog: { disabled: false } }
storage:
  filesystem: { rootdirectory: %s/data }
http:
  addr: %s
  tls: { certificate: %s/cert.pem, key: %s/key.pem }
""" % (self.folder, self.host, self.folder, self.folder))
        # skopeo and ctr take a folder of roots.
        for name in (os.path.join("certs.d", "ca.crt"), os.path.join("hosts.d", self.host, "ca.crt")):
            os.makedirs(os.path.dirname(os.path.join(self.folder, name)), exist_ok=True)
            parts.write(os.path.join(self.folder, name), parts.read(self.ca))
        parts.write(os.path.join(self.folder, "hosts.d", self.host, "hosts.toml"),
                    'server = "https://%s"\n[host."https://%s"]\nca = "%s"\n' %
                    (self.host, self.host, self.ca))
        parts.save_facts(self.folder, host=self.host, ca=self.ca, certs_dir=self.certs_dir,
                         hosts_dir=self.hosts_dir)
        self.launch()
        return self

    def launch(self):
        """Start the daemon: at first, and again after `process.stop()`."""
        self.process.start("docker-registry", "serve", os.path.join(self.folder, "config.yml"),
                           stdout=self.access_log, with_parent=self.with_parent)
        host, port = self.host.split(":")
        parts.wait_until(lambda: parts.can_connect((host, int(port))), "the registry listens",
                         process=self.process)

    @property
    def certs_dir(self):
        return os.path.join(self.folder, "certs.d")

    @property
    def hosts_dir(self):
        return os.path.join(self.folder, "hosts.d")

    def ref(self, name):
        return "%s/%s" % (self.host, name)

    def send(self, method, path, body=b"", media_type="application/octet-stream"):
        """One request of the distribution protocol: the answer's headers."""
        host, port = self.host.split(":")
        context = ssl.create_default_context(cafile=self.ca)
        with contextlib.closing(http.client.HTTPSConnection(host, int(port), context=context,
                                                            timeout=20)) as connection:
            connection.request(method, path, body, {"Content-Type": media_type})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status not in (200, 201, 202):
            raise parts.Failure("the registry answers %s %s with %d: %s" %
                                (method, path, answer.status, text.decode(errors="replace")))
        return answer.headers

    def push_blob(self, repository, data):
        place = self.send("POST", "/v2/%s/blobs/uploads/" % repository)["Location"]
        place = place[place.index("/v2/"):]
        self.send("PUT", "%s%sdigest=sha256:%s" % (place, "&" if "?" in place else "?",
                                                   hashlib.sha256(data).hexdigest()), data)

    def push_manifest(self, repository, tag, data, media_type):
        self.send("PUT", "/v2/%s/manifests/%s" % (repository, tag), data, media_type)

    def requests(self, since=0):
        """The requests after byte `since` of the access log: (method, path, status)."""
        with open(self.access_log, "rb") as f:
            f.seek(since)
            text = f.read().decode(errors="replace")
        return [(m, path, int(status)) for m, path, status in
                re.findall(r'"([A-Z]+) (\S+) HTTP/[\d.]+" (\d{3})', text)]

    def mark(self):
        """Where the access log ends now."""
        return os.path.getsize(self.access_log)

    def stop(self):
        self.process.stop()


if __name__ == "__main__":
    parts.part_main(Registry)
