#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the images of the demo and the tests with umoci, and puts them into a registry with skopeo.

  images.py --dir W/images --registry W/registry [NAME...]     names: see IMAGES; without any, all small ones

Their workload is hello.c, one static program.
"""
import argparse
import hashlib
import json
import os
import random
import shutil
import sys

import parts

HERE = os.path.dirname(os.path.abspath(__file__))
POLICY = "tee.launch_policy."
# What the author of an image allows. "hello" is the open one, "strict" lets the operator do nothing.
OPEN = {"allow_cmd_override": "true", "log_redirect": "always",
        "allow_env_override": "HELLO_EXIT,HELLO_NAME,HELLO_SECRET"}
STRICT = {"allow_cmd_override": "false", "log_redirect": "never", "hardened_monitoring": "none"}
PATH_ENV = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# name -> (labels, environment, entrypoint, cmd)
IMAGES = {
    "demo/hello:1": (OPEN, ["HELLO_NAME=world"], "/hello", ["good", "morning"]),
    "demo/strict:1": (STRICT, ["HELLO_NAME=world"], "/hello", ["nothing else"]),
    "test/missing:1": (OPEN, [], "/no-such-program", []),
    "test/wide:1": ({**OPEN, "allow_mount_destinations": "/scratch:/data", "allow_capabilities": "true",
                     "allow_cgroups": "true", "hardened_monitoring": "all"}, [], "/hello", []),
    "test/memory-always:1": (dict(OPEN, monitoring_memory_allow="always"), [], "/hello", []),
    "test/memory-debugonly:1": (dict(OPEN, monitoring_memory_allow="debugonly"), [], "/hello", []),
    "test/memory-never:1": (dict(OPEN, monitoring_memory_allow="never"), [], "/hello", []),
    "test/silent:1": (dict(OPEN, log_redirect="never", hardened_monitoring="all"), [], "/hello", []),
    "test/mislabelled:1": ({"log_redirect": "sometimes"}, [], "/hello", []),
    "test/server:1": (OPEN, [], "/hello", []),
    **{"test/%s:1" % n: (OPEN, [], "/hello", [])
       for n in ("probed", "hung", "brief", "shell-less", "unknown-check", "unchecked")},
    "test/quiet:1": (dict(OPEN, log_redirect="debugonly"), [], "/hello", []),
}
# name -> ports that it exposes
PORTS = {"test/server:1": ("8080/tcp", "8081/udp")}
S = 1_000_000_000
# name -> HEALTHCHECK, in Docker's words
HEALTHCHECKS = {
    "test/probed:1": {"Test": ["CMD", "/hello", "turns=1011"], "Interval": S, "Timeout": 20 * S, "Retries": 1},
    "test/brief:1": {"Test": ["CMD", "/hello", "exit=0"], "Interval": 2 * S, "Timeout": S, "Retries": 1},
    "test/hung:1": {"Test": ["CMD", "/hello", "sleep=1000"], "Interval": S, "Timeout": S, "Retries": 1},
    "test/shell-less:1": {"Test": ["CMD-SHELL", "true"], "Interval": S, "Timeout": 20 * S, "Retries": 2},
    "test/unknown-check:1": {"Test": ["SOMETHING", "/hello"]},
    "test/unchecked:1": {"Test": ["NONE"]},
}
# name -> (layers, bytes of one layer when compressed, about; kind of content)
BIG = {
    "test/large:1": (1, 25_000_000, "random"),
    "bench/random:1": (8, 25_000_000, "random"),
    "bench/files:1": (8, 25_000_000, "files"),
}


class Images:
    def __init__(self, folder, registry):
        self.folder = folder
        self.layout = os.path.join(folder, "layout")
        self.registry = registry

    def umoci(self, *arguments):
        return parts.run("umoci", *arguments)

    def prepare(self):
        os.makedirs(self.folder, exist_ok=True)
        program = os.path.join(self.folder, "hello")
        if not os.path.exists(program):
            parts.run("gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Os", "-Wall", "-Wextra", "-Werror", "-static", "-s",
                      "-o", program, os.path.join(HERE, "hello.c"))
            self.umoci("init", "--layout", self.layout)
            self.umoci("new", "--image", self.layout + ":base")
            self.umoci("insert", "--image", self.layout + ":base", program, "/hello")

    def build(self, name):
        self.prepare()
        tag = name.replace("/", "-").replace(":", "-")
        image = "%s:%s" % (self.layout, tag)
        self.umoci("tag", "--image", self.layout + ":base", tag)
        if name in BIG:
            self.insert_layers(image, *BIG[name])
            labels, env, entrypoint, cmd = IMAGES["demo/hello:1"]
            options = []
        else:
            labels, env, entrypoint, cmd = IMAGES[name]
            options = ["--config.exposedports=" + p for p in PORTS.get(name, ())]
            self.insert_name(image, name)
        options += ["--config.env=" + e for e in [PATH_ENV, *env]]
        options += ["--config.label=%s%s=%s" % (POLICY, k, v) for k, v in labels.items()]
        options += ["--config.cmd=" + c for c in cmd]
        self.umoci("config", "--image", image, "--config.entrypoint", entrypoint,
                   "--clear=config.cmd", *options)
        if name in HEALTHCHECKS:
            self.config_change(tag, Healthcheck=HEALTHCHECKS[name])
        parts.run("skopeo", "--insecure-policy", "copy", "--quiet", "--dest-cert-dir",
                  self.registry.certs_dir, "oci:" + image, "docker://" + self.registry.ref(name),
                  timeout_s=300)
        return name

    def insert_name(self, image, name):
        """A layer that no other image has: so what was pulled for one image says nothing of another."""
        parts.write(os.path.join(self.folder, "name"), name + "\n")
        self.umoci("insert", "--image", image, os.path.join(self.folder, "name"), "/image-name")

    def config_change(self, tag, **members):
        """What umoci has no word for: blobs of the layout, from the configuration up to the index."""
        path = os.path.join(self.layout, "index.json")
        index = json.loads(parts.read(path))
        entry = next(m for m in index["manifests"]
                     if m["annotations"]["org.opencontainers.image.ref.name"] == tag)
        manifest = json.loads(parts.read(self.blob(entry["digest"])))
        config = json.loads(parts.read(self.blob(manifest["config"]["digest"])))
        config["config"].update(members)
        manifest["config"].update(self.put(config))
        entry.update(self.put(manifest))
        parts.write(path, json.dumps(index))

    def blob(self, named):
        return os.path.join(self.layout, "blobs", *named.split(":"))

    def put(self, document):
        text = json.dumps(document).encode()
        parts.write(self.blob(digest(text)), text)
        return {"digest": digest(text), "size": len(text)}

    def insert_layers(self, image, count, size, kind):
        seed = random.Random(7)
        for i in range(count):
            content = os.path.join(self.folder, "layer")
            os.mkdir(content)
            (fill_random if kind == "random" else fill_files)(content, i, size, seed)
            self.umoci("insert", "--image", image, content, "/data/%d" % i)
            shutil.rmtree(content)

    def inspect(self, name):
        """What the registry now serves: (manifest digest, manifest, config digest, config), by skopeo."""
        def get(*options):
            return parts.run("skopeo", "--insecure-policy", "inspect", "--raw", *options, "--cert-dir",
                             self.registry.certs_dir, "docker://" + self.registry.ref(name))
        manifest, config = get(), get("--config")
        return (digest(manifest), json.loads(manifest), digest(config), json.loads(config))


def digest(text):
    return "sha256:" + hashlib.sha256(text).hexdigest()


def fill_random(folder, _, size, seed):
    with open(os.path.join(folder, "random"), "wb") as f:
        f.write(seed.randbytes(size))


# Their sizes spread as those of /usr: many small, few big; gzip makes about a third of them, as of those.
def fill_files(folder, number, size, seed):
    words = [bytes(seed.choices(b"etaoinshrdlucmfw_.-", k=seed.randint(2, 9))) for _ in range(4000)]
    lines = [b" ".join(seed.choices(words, k=8)) for _ in range(400)]
    text = b"\n".join(line for again in seed.choices(lines, k=40_000)
                      for line in (again, b" ".join(seed.choices(words, k=8))))
    written, i = 0, 0
    while written < size * 2.3:
        where = os.path.join(folder, "d%d" % (i // 40))
        if i % 40 == 0:
            os.mkdir(where)
        length = min(int(seed.lognormvariate(9, 1.7)), 2_000_000) + 20
        start = seed.randrange(len(text) - length)
        with open(os.path.join(where, "f%d-%d" % (number, i)), "wb") as f:
            f.write(text[start:start + length])
            f.write(seed.randbytes(length // 11))
        written += length + length // 11
        i += 1


def main():
    from registry import Registry
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dir", required=True)
    p.add_argument("--registry", required=True)
    p.add_argument("names", nargs="*", metavar="NAME")
    a = p.parse_args()
    registry = Registry(os.path.abspath(a.registry))
    try:
        registry.host = parts.load_facts(registry.folder)["host"]
        images = Images(os.path.abspath(a.dir), registry)
        for name in a.names or IMAGES:
            print(registry.ref(images.build(name)))
    except parts.Failure as fault:
        sys.exit("images.py: %s" % fault)


if __name__ == "__main__":
    main()
