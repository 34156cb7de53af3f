# SPDX-License-Identifier: Apache-2.0
"""Who may include what. The tables are the rule; the walk over the #include lines never changes."""

import fnmatch
import os
import re

import arch

# Layer -> the layers it may include. Mirrors docs/ARCHITECTURE.md.
LAYERS = {
    "core": {"core"},
    "io": {"core", "io"},
    "policy": {"core", "policy"},
    "attest": {"core", "io", "attest"},
    "verifier": {"core", "io", "attest", "verifier"},
    "launcher": {"core", "io", "policy", "attest", "image_text", "image_registry", "workload_text",
                 "unpack", "launcher"},
    # A confined program that reads what registries send: as little of ours in it as can be.
    "unpack": {"core", "unpack"},
    # A program parses arguments and calls one function.
    "teelaunchd": {"core", "io", "policy", "attest", "image_registry", "launcher", "run_options",
                   "teelaunchd"},
    # The options of `teelaunchd run`; what measures a launch in advance needs them too.
    "run_options": {"core", "io", "policy", "attest", "image_registry", "launcher", "teelaunchd", "run_options"},
    "teeverifierd": {"core", "io", "attest", "verifier", "teeverifierd"},
    "teelaunch": {"core", "io", "policy", "attest", "verifier", "image_text", "image_registry",
                  "workload_text", "run_options", "teelaunchd", "vm", "teelaunch"},
    # It signs identity tokens as a verifier signs its own.
    "vm": {"core", "io", "verifier", "vm"},
    # What parses manifests is pure: the tool reads images with the same code.
    "image_text": {"core", "image_text"},
    # And asks registries with the code that teelaunchd asks with; no containerd behind it.
    "image_registry": {"core", "io", "policy", "image_text", "image_registry"},
    # What runs is predicted by the code that says it to containerd.
    "workload_text": {"core", "policy", "attest", "workload_text"},
    # The first program of the VM's boot: the C library and the kernel, nothing of ours.
    "vm_init": {"vm_init"},
    "errors_man": {"core"},
    # Writes down the command lines of all three.
    "completion": {"core", "teelaunch", "teelaunchd", "teeverifierd"},
    "keys_man": {"core", "policy"},
    "tests": {"core", "io", "policy", "attest", "verifier", "teeverifierd", "image_text", "image_registry", "vm",
              "workload_text", "unpack", "launcher", "run_options", "teelaunch", "tests"},
}

# First match decides the layer of a file.
FOLDERS = (
    ("src/core/*", "core"),
    ("src/io/*", "io"),
    ("policy/*", "policy"),
    ("attest/verifier/*", "verifier"),
    ("attest/*", "attest"),
    ("launcher/image/manifest.*", "image_text"),
    ("launcher/image/platform.c", "image_text"),
    ("launcher/image/signature_manifest.*", "image_text"),
    ("launcher/image/url.*", "image_text"),
    ("launcher/image/www_authenticate.*", "image_text"),
    ("launcher/image/registry_host.*", "image_text"),
    ("launcher/image/registry*", "image_registry"),
    ("launcher/image/resolve.*", "image_registry"),
    ("launcher/workload/oci_spec.*", "workload_text"),
    ("launcher/unpack/unpacker.*", "launcher"),
    ("launcher/unpack/*", "unpack"),
    ("src/teelaunch-unpack.c", "unpack"),
    ("launcher/launch_facts.*", "workload_text"),
    ("launcher/launch_names.h", "workload_text"),
    ("launcher/*", "launcher"),
    ("image/init.c", "vm_init"),
    ("src/teelaunchd*", "teelaunchd"),
    ("src/run_options*", "run_options"),
    ("src/teeverifierd*", "teeverifierd"),
    ("src/teelaunch.c", "teelaunch"),
    ("src/commands.*", "teelaunch"),
    ("src/completion_bash.c", "completion"),
    ("src/explain*", "teelaunch"),
    ("src/judge*", "teelaunch"),
    ("src/predict*", "teelaunch"),
    ("src/verify*", "teelaunch"),
    ("src/measure*", "teelaunch"),
    ("src/timeline*", "teelaunch"),
    ("src/vm/*", "vm"),
    ("src/errors_man.c", "errors_man"),
    ("src/keys_man.c", "keys_man"),
    ("tests/*", "tests"),
)

# A header of include/teelaunch/ belongs to the layer of the .c file of the same name. Here: those
# without one.
HEADERS = {
    "cleanup": "core",
    "evidence": "attest",
    "tee": "attest",
    "verifier_client": "attest",
}

# Third-party header -> the only files that may include it. What is in no row is nobody's; no row
# names include/teelaunch/.
THIRD_PARTY = (
    ("curl/*", ("src/io/http*",)),
    ("nghttp2/*", ("launcher/containerd/http2.c",)),
    ("protobuf-c/*", ("launcher/containerd/*",)),
    ("*.pb-c.h", ("launcher/containerd/*",)),
    ("openssl/*", ("src/core/*", "attest/*", "launcher/unpack/layer.c", "tests/*")),
    ("seccomp.h", ("launcher/confine/calls.c", "launcher/unpack/room.c",
                   "tests/integration/refuse_calls.c", "tests/integration/strict_calls.c",
                   "tests/unit/launcher/test_confine_faults.c")),
    ("jansson.h", ("policy/*", "attest/*", "launcher/*", "src/explain*", "src/judge_*.c",
                    "src/measure*", "src/predict*", "src/timeline*", "src/verify*",
                    "src/vm/*",
                    "tests/*")),
    ("tss2/*", ("attest/*", "tests/*")),
    ("libdevmapper.h", ("launcher/disk/*", "tests/unit/launcher/test_dm_table.c")),
    ("ext2fs/*", ("launcher/disk/ext4.c",)),
    ("nftables/*", ("launcher/firewall.c",)),
    ("libkmod.h", ("launcher/disk/ram_disk.c",)),
    ("isa-l/*", ("launcher/unpack/gzip_header.c", "launcher/unpack/inflate.c")),
    ("zstd.h", ("launcher/unpack/inflate.c", "tests/unit/launcher/test_inflate.c")),
    ("zlib.h", ("tests/fuzz/fuzz_inflate*.c", "tests/unit/launcher/test_gzip_header.c",
                "tests/unit/launcher/test_inflate.c")),
    ("zstd_errors.h", ("launcher/unpack/inflate.c",)),
    ("systemd/sd-event.h", ("src/vm/*",)),
    ("systemd/*", ("launcher/manager.c",)),
    ("microhttpd.h", ("attest/token_server.c", "attest/verifier/*", "launcher/readiness.c", "src/vm/*",
                      "tests/*")),
    ("link.h", ("launcher/memory.c", "tests/integration/injector.c")),
    ("malloc.h", ("launcher/memory.c",)),
    ("unwind.h", ("tests/integration/injector.c",)),
    ("cmocka.h", ("tests/unit/*", "tests/integration/*")),
)

# The C library and the kernel: everyone's (what policy may call is test_symbols.py's).
SYSTEM = re.compile(r"(sys|linux|arpa|net|netinet|asm)/[a-z0-9_./-]+\.h|(%s)\.h" % "|".join((
    "assert byteswap ctype dirent dlfcn endian errno fcntl float fnmatch ftw getopt glob grp inttypes",
    "libgen limits locale math mntent netdb poll pthread pwd sched search semaphore setjmp",
    "signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn",
    "string strings syslog termios threads time uchar unistd utime wchar wctype",
)).replace(" ", "|"))

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def layer_of(name):
    for pattern, layer in FOLDERS:
        if fnmatch.fnmatchcase(name, pattern):
            return layer
    return None


def public_headers(tree):
    """Header of include/teelaunch/ -> layer, or None when no .c file or table says whose it is."""
    by_stem = {}
    for name in tree.named(".c"):
        if not name.startswith("tests/"):
            by_stem.setdefault(os.path.basename(name)[:-2], set()).add(layer_of(name))
    headers = {}
    for name in tree.files:
        if not fnmatch.fnmatchcase(name, "include/teelaunch/*.h"):
            continue
        stem = os.path.basename(name)[:-2]
        layers = {HEADERS[stem]} if stem in HEADERS else by_stem.get(stem, set())
        headers[name] = layers.pop() if len(layers) == 1 else None
    return headers


def private_headers(tree, name, target):
    """The files a quoted include may mean: beside it, from the top, else any that ends like it."""
    beside = os.path.normpath(os.path.join(os.path.dirname(name), target))
    return [f for f in (beside, target) if f in tree.files][:1] or \
        [f for f in tree.files if f.endswith("/" + target)]


def judge_third_party(name, target):
    if SYSTEM.fullmatch(target):
        return None
    for pattern, allowed in THIRD_PARTY:
        if fnmatch.fnmatchcase(target, pattern):
            if any(fnmatch.fnmatchcase(name, a) for a in allowed):
                return None
            return "<%s> belongs to %s only" % (target, ", ".join(allowed))
    return "<%s> is in no row of the table of third-party headers" % target


def judge_own(layer, target, target_layer):
    if target_layer is None:
        return "%s belongs to no layer" % target
    if target_layer not in LAYERS[layer]:
        return "%s may not include %s (layer %s)" % (layer, target, target_layer)
    return None


def judge(tree, headers, name, layer, quote, target):
    if quote == "<" and target.startswith("teelaunch/"):
        header = "include/" + target
        if header not in headers:
            return "<%s> is not in include/" % target
        return judge_own(layer, header, headers[header])
    if quote == "<":
        return judge_third_party(name, target)
    if target.endswith(".pb-c.h"):  # protobuf-c's output, in the build tree
        return judge_third_party(name, target)
    found = private_headers(tree, name, target)
    faults = [judge_own(layer, f, headers.get(f, layer_of(f))) for f in found]
    if not found:
        return '"%s" is not in the tree' % target
    return None if None in faults else faults[0]


def includes_follow_the_layers(tree):
    headers = public_headers(tree)
    bad = []
    for name in tree.c_files():
        layer = headers[name] if name in headers else layer_of(name)
        if layer is None:
            bad.append("%s:1: which layer is this? name the .c file alike, or add it to the tables "
                       "of tests/arch/test_layers.py" % name)
            continue
        text = tree.read(name)
        for match in INCLUDE.finditer(text):
            fault = judge(tree, headers, name, layer, match.group(1), match.group(2))
            if fault:
                bad.append("%s:%d: %s" % (name, arch.line_of(text, match.start(1)), fault))
    return bad


if __name__ == "__main__":
    arch.main(includes_follow_the_layers)
