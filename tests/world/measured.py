# SPDX-License-Identifier: Apache-2.0
"""What a launch must measure, computed from the metadata and the image alone: the events of
PCR 13 and the values they lead to. hashlib does the hashing; nothing of the launcher is used."""
import hashlib
import json
import socket

(IMAGE_REFERENCE, IMAGE_DIGEST, RESTART_POLICY, IMAGE_ID, ARG, ENV, OVERRIDE_ARG, OVERRIDE_ENV, SEPARATOR,
 MEMORY_MONITOR) = range(10)
CONTENT = 0x50


def tlv(kind, value):
    return bytes([kind]) + len(value).to_bytes(4, "big") + value


def process(attributes, config, hostname=None):
    """Arguments and environment that the workload must get: (argv, ["NAME=VALUE"...])."""
    image = config.get("config", {})
    override = json.loads(attributes.get("tee-cmd", "[]")) or []
    argv = (image.get("Entrypoint") or []) + (override or image.get("Cmd") or [])
    env = list(image.get("Env") or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
    for name, value in overrides(attributes) + [("HOSTNAME", hostname or socket.gethostname())]:
        at = [i for i, e in enumerate(env) if e.split("=")[0] == name]
        if at:
            env[at[-1]] = "%s=%s" % (name, value)
        else:
            env.append("%s=%s" % (name, value))
    return argv, env


def overrides(attributes):
    prefix = "tee-env-"
    return sorted((k[len(prefix):], v) for k, v in attributes.items() if k.startswith(prefix))


def events(attributes, image, hostname=None):
    """`image`: what images.Images.inspect() says of it. Gives [(type, content)...] in order."""
    digest, _, config_digest, config = image
    argv, env = process(attributes, config, hostname)
    out = [(IMAGE_REFERENCE, attributes["tee-image-reference"]), (IMAGE_DIGEST, digest),
           (RESTART_POLICY, attributes.get("tee-restart-policy") or "Never"), (IMAGE_ID, config_digest)]
    out += [(ARG, a) for a in argv] + [(ENV, e) for e in env]
    out += [(OVERRIDE_ENV, "%s=%s" % pair) for pair in overrides(attributes)]
    out += [(OVERRIDE_ARG, a) for a in json.loads(attributes.get("tee-cmd", "[]")) or []]
    # Nothing is monitored yet, whatever is asked for: the event says what is done.
    return [(t, c.encode()) for t, c in out] + [(MEMORY_MONITOR, b"\0"), (SEPARATOR, b"")]


def register(all_events, bank="sha256"):
    """The register's value, in hex, after these events."""
    value = bytes(hashlib.new(bank).digest_size)
    for kind, content in all_events:
        digest = hashlib.new(bank, tlv(CONTENT, tlv(kind, content))).digest()
        value = hashlib.new(bank, value + digest).digest()
    return value.hex()
