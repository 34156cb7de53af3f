# SPDX-License-Identifier: Apache-2.0
"""What a launch must measure, computed from metadata, image and the launcher's command line alone: the
events of PCR 13, the launch record of PCR 15, and the values they lead to. hashlib does the hashing;
nothing of the launcher is used."""
import hashlib
import json
import re
import resource
import socket

(IMAGE_REFERENCE, IMAGE_DIGEST, RESTART_POLICY, IMAGE_ID, ARG, ENV, OVERRIDE_ARG, OVERRIDE_ENV, SEPARATOR,
 MEMORY_MONITOR) = range(10)
CONTENT = 0x50
LAUNCH_RECORD = 128
RECORD_SCHEMA = "teelaunch.launch-record/1"
GOOGLES_VERIFIER = "https://confidentialcomputing.googleapis.com"
GCA_ENVIRONMENTS = {"staging": "https://staging-confidentialcomputing.sandbox.googleapis.com",
                    "autopush": "https://autopush-confidentialcomputing.sandbox.googleapis.com"}
# What a unit that says nothing gets: teelaunchd(8).
UNIT_DEFAULTS = {
    "disk": "protected", "root": "verity", "containerd": "/run/containerd/containerd.sock",
    "tcti": "device:/dev/tpmrm0", "firmware_log": "/sys/kernel/security/tpm0/binary_bios_measurements",
    "kernel_cmdline": "/proc/cmdline", "verifier": GOOGLES_VERIFIER, "verifier_roots": None,
    "verifier_api": "verifyConfidentialSpace", "registry_roots": [], "google_roots": None, "console": None,
    "shared_dir": "/tmp/container_launcher", "state_dir": "/run/teelaunch",
    "content_dir": "/var/lib/containerd", "unpack": "auto",
    "unpack_program": "/usr/libexec/teelaunch/teelaunch-unpack", "first_token_budget_ms": 60000, "token_rate": 60,
    "token_burst": 5, "token_cache_ms": 10000, "stop_grace_ms": 30000, "drain_ms": 10000,
    "iam": None, "ita": None, "ita_roots": None, "aia_host": ["storage.googleapis.com"],
    "restart_delay_max_ms": 300000, "monitoring_period_ms": 60000,
    "cloud_logging": "https://logging.googleapis.com",
    "cloud_monitoring": "https://monitoring.googleapis.com", "firewall": "on", "readiness": "off",
    "firewall_also": [], "confine": "on", "console_output": "lines", "log_level": "info", "metadata_host": "169.254.169.254",
}
PROTECTED_DISK = {"mode": "protected", "cipher": "capi:gcm(aes)-random", "integrity": "aead"}


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
    is_memory_only = monitoring(attributes) == "memoryOnly"
    return [(t, c.encode()) for t, c in out] + [(MEMORY_MONITOR, bytes([is_memory_only])), (SEPARATOR, b"")]


def register(all_events, bank="sha256"):
    """The register's value, in hex, after these events."""
    value = bytes(hashlib.new(bank).digest_size)
    for kind, content in all_events:
        digest = hashlib.new(bank, tlv(CONTENT, tlv(kind, content))).digest()
        value = hashlib.new(bank, value + digest).digest()
    return value.hex()


def file_digest(path):
    with open(path, "rb") as f:
        return "sha256:" + hashlib.sha256(f.read()).hexdigest()


def unit(command, metadata_host=None):
    """The options of `teelaunchd run`, by the words of its command line."""
    out = {**UNIT_DEFAULTS, "registry_roots": []}
    if metadata_host:
        out["metadata_host"] = metadata_host
    aia_hosts = []
    words = command[command.index("run") + 1:]
    for name, value in zip(words[::2], words[1::2]):
        name = name[2:].replace("-", "_")
        if name == "registry_roots":
            host, path = value.split("=", 1)
            out[name] = out[name] + ["%s=%s" % (host, file_digest(path))]
        elif name == "firewall_also":
            out[name] = value.split(",")
        elif name == "aia_host":
            aia_hosts.append(value)
            out[name] = aia_hosts
        elif name in ("verifier_roots", "google_roots", "ita_roots"):
            out[name] = file_digest(value)
        else:
            out[name] = int(value) if isinstance(out[name], int) else value
    return out


def mounts(text):
    """tee-mount: type=tmpfs,source=tmpfs,destination=PATH[,size=BYTES][;...]"""
    for one in filter(None, text.split(";")):
        fields = dict(f.split("=", 1) for f in one.split(","))
        yield {"destination": fields["destination"], "source": fields["source"], "type": fields["type"],
               "size_bytes": int(fields.get("size", 0)), "options": ["nosuid", "noexec", "nodev"]}


def is_true(attributes, key):
    return attributes.get(key, "").lower() in ("true", "t", "1")


def monitoring(attributes):
    level = attributes.get("tee-monitoring-enable") or \
        ("memoryOnly" if is_true(attributes, "tee-monitoring-memory-enable") else "none")
    return {x.lower(): x for x in ("none", "memoryOnly", "all")}[level.lower()]


def operator(attributes):
    def listed(key):
        return [x for x in attributes.get(key, "").split(",") if x]

    return {
        "added_capabilities": json.loads(attributes.get("tee-added-capabilities") or "[]") or [],
        "cgroup_namespace": is_true(attributes, "tee-cgroup-ns"),
        "dev_shm_size_kb": int(attributes.get("tee-dev-shm-size-kb") or 0) or 65536,
        "gpu_driver": is_true(attributes, "tee-install-gpu-driver"),
        "impersonate_service_accounts": listed("tee-impersonate-service-accounts"),
        "ita": {"api_key": bool(attributes.get("ita-api-key")), "region": attributes.get("ita-region") or None},
        "log_redirect": attributes.get("tee-container-log-redirect") or "false",
        "monitoring": monitoring(attributes),
        "mounts": list(mounts(attributes.get("tee-mount", ""))),
        "signed_image_repos": listed("tee-signed-image-repos"),
        "token_refresh": not is_true(attributes, "tee-disable-gca-refresh"),
    }


def nofile():
    """The container's limit of open files: CAP_SYS_RESOURCE lifts any limit of the launcher's."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as f:
        effective = int(re.search(r"CapEff:\t(\w+)", f.read()).group(1), 16)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 131072 if effective >> 24 & 1 or hard == resource.RLIM_INFINITY else min(hard, 131072)


def record(attributes, command, metadata_host=None, hardened=True, tags=None, nofile=131072):
    """The launch record as a document. `command`: words of the launcher's command line; `tags`: where
    those of a protected disk are, None for an unprotected one."""
    options = unit(command, metadata_host)
    url = options["verifier"]
    if url == GOOGLES_VERIFIER:
        url = GCA_ENVIRONMENTS.get(attributes.get("gca-service-env", "").lower(), url)
    disk = {"mode": "unprotected", "cipher": None, "integrity": None, "tags": None}
    return {
        "schema": RECORD_SCHEMA, "hardened": hardened, "root": options["root"], "verifier_url": url,
        "container": {"network": "host", "nofile": nofile, "runtime": "io.containerd.runc.v2",
                      "snapshotter": "overlayfs"},
        "disk": disk if tags is None else {**PROTECTED_DISK, "tags": tags},
        "operator": operator(attributes), "unit": options,
    }


def canonical(document):
    """RFC 8785, for texts, truth values and whole numbers."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def record_register(document, bank="sha256"):
    """PCR 15, in hex, after this record."""
    return register([(LAUNCH_RECORD, canonical(document))], bank)
