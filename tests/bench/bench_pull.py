# SPDX-License-Identifier: Apache-2.0
"""Pull and unpack of real files beside `ctr images pull`, on the same containerd from the same registry, in turns;
what counts is until the data is on the disk. Also the download alone (`skopeo copy`), the unpacking alone (`tar`),
a slow wire, and the launcher's memory meanwhile."""
import concurrent.futures
import ctypes
import os
import shutil
import subprocess
import sys
import time

import bench_memory
import bench_stats
import parts
from bench_images import Shelf
from bench_launch import CTR, OURS, ctr_pull, finish, forget, monotonic

CONTAINERD, SKOPEO, TAR = "teelaunchd --unpack containerd", "skopeo copy", "tar -x"
PULLED = "event=stage.done stage=pull"
TIMEOUT_S = 900
# Name, MB, MB of a unit.
SIZES = (("5 MB", 5, 0.125), ("200 MB", 200, 5), ("1 GB", 1000, 5))
# (size, layers, packing): the targets' own come first.
CELLS = tuple((s, layers, packing) for layers, packing in ((8, "gzip"), (1, "gzip"), (8, "zstd"), (40, "gzip"), (1, "zstd"),
                                                          (40, "zstd")) for s, _, _ in SIZES)
WIRE_MBIT = 400


def row_name(size, layers, packing):
    return "%s, %d %s, %s" % (size, layers, "layer" if layers == 1 else "layers", packing)


def has_own_unpacking(world):
    """Whether this teelaunchd knows --unpack."""
    done = subprocess.run([os.path.join(world.programs, "teelaunchd"), "run", "--help"], capture_output=True, text=True,
                          check=False)
    return "--unpack " in done.stdout + done.stderr


def engine_options(world, engine):
    if not has_own_unpacking(world):
        return []
    options = ["--unpack", "containerd" if engine == CONTAINERD else "own"]
    program = os.path.join(world.programs, "teelaunch-unpack")
    return options + (["--unpack-program", program] if os.path.exists(program) else [])


def sync(folder):
    """Until all of the file system that holds it is on the disk: syncfs(2)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd):
            raise parts.Failure("syncfs: %s" % os.strerror(ctypes.get_errno()))
    finally:
        os.close(fd)


def until_pulled(launch):
    """The launcher's own word for it, on standard error."""
    end, text = monotonic() + TIMEOUT_S, ""
    with open(launch.stderr_file, encoding="utf-8", errors="replace") as f:
        while PULLED not in text:
            more = f.read()
            text = text[-len(PULLED):] + more
            if not more and (not launch.is_running() or monotonic() > end):
                raise parts.Failure("the pull didn't end:\n%s" % launch.stderr[-2000:])
            time.sleep(0.001)


class Pulls:
    def __init__(self, world, rows, shelf):
        self.world, self.rows, self.shelf = world, rows, shelf

    def ours(self, name, engine):
        """(ms from exec to synced, ms of the sync, the launch)"""
        launch = self.world.launch_start(self.world.attributes(name + ":1", cmd='["exit=0"]',
                                                               container_log_redirect="true"),
                                         options=engine_options(self.world, engine))
        until_pulled(launch)
        pulled = monotonic()
        sync(self.world.containerd.root)
        synced = monotonic()
        finish(launch, timeout_s=TIMEOUT_S)
        return (synced - launch.started) * 1000, (synced - pulled) * 1000, launch

    def theirs(self, name):
        started, _, _ = ctr_pull(self.world, name + ":1")
        sync(self.world.containerd.root)
        return (monotonic() - started) * 1000

    def skopeo(self, name):
        folder = self.world.path("copied")
        started = monotonic()
        parts.run("skopeo", "--insecure-policy", "copy", "--quiet", "--src-cert-dir", self.world.registry.certs_dir,
                  "docker://" + self.world.registry.ref(name + ":1"), "dir:" + folder, timeout_s=TIMEOUT_S)
        sync(self.world.folder)
        took = (monotonic() - started) * 1000
        shutil.rmtree(folder)
        return took

    def tar(self, units, layers):
        """The same plain files written by processes that neither download nor inflate: what the file system takes. As
        many at once as there are processors, if there are so many layers."""
        folder, count = self.world.path("unpacked"), min(layers, os.cpu_count())
        started = monotonic()
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda n: extract([u.tar for u in units[len(units) * n // count:len(units) * (n + 1) // count]],
                                            os.path.join(folder, str(n))), range(count)))
        sync(self.world.folder)
        took = (monotonic() - started) * 1000
        shutil.rmtree(folder)
        return took

    def round(self, row, name, units, layers, is_first):
        """One of each, in turns; before each, nothing is there."""
        columns = {}
        forget(self.world)
        columns[OURS], sync_ms, _ = self.ours(name, OURS)
        forget(self.world)
        columns[CTR] = self.theirs(name)
        forget(self.world)
        if is_first and has_own_unpacking(self.world):
            columns[CONTAINERD] = self.ours(name, CONTAINERD)[0]
            forget(self.world)
        if is_first and shutil.which("skopeo"):
            columns[SKOPEO] = self.skopeo(name)
        if is_first:
            columns[TAR] = self.tar(units, layers)
            os.sync()
        self.rows.add_columns(row, "ms", columns)
        self.rows.add_columns("of which the sync: " + row, "ms", {OURS: sync_ms})


def extract(tars, folder):
    os.makedirs(folder)
    reader = subprocess.Popen(["cat", *tars], stdout=subprocess.PIPE)
    done = subprocess.run(["tar", "-x", "-p", "-C", folder], stdin=reader.stdout, capture_output=True, check=False, text=True)
    reader.stdout.close()
    if reader.wait() or done.returncode:
        raise parts.Failure("tar: %s" % done.stderr[-500:])


def units_for(shelf, sizes, size):
    """5 MB has small units of its own; the others share theirs, and the smaller is the beginning of the larger."""
    _, size_mb, unit_mb = next(s for s in sizes if s[0] == size)
    largest = max(mb for _, mb, u in sizes if u == unit_mb)
    units = shelf.units("units-%g" % unit_mb, largest, unit_mb)
    return units[:max(1, round(len(units) * size_mb / largest))]


def image_name(size, layers, packing):
    return "bench/%s-%d-%s" % (size.replace(" ", "").lower(), layers, packing)


def shelf_of(world, options):
    if options.shelf is None:
        options.shelf = Shelf(options.shelf_folder, world.registry, world.path("images", "hello"))
    return options.shelf


def image_of(world, options, size, layers, packing, sizes=None):
    """(name, its units), built when it is first asked for. `sizes`: those that this shelf will ever have."""
    shelf = shelf_of(world, options)
    units = units_for(shelf, sizes or options.sizes, size)
    name = image_name(size, layers, packing)
    shelf.image(name, units, layers, packing)
    os.sync()
    return name, units


def rounds_of(size, layers, packing, options):
    """Those that a target asks about more often than the others; small ones cost nothing."""
    if options.is_quick:
        return 1
    if size == "5 MB":
        return 3
    is_asked = (layers, packing) in ((8, "gzip"), (1, "gzip"), (8, "zstd"))
    return options.rounds if is_asked and (size != "1 GB" or (layers, packing) == (8, "gzip")) else 1


def pull_section(world, rows, options):
    """exec -> pulled, unpacked and on the disk, by size, layers and packing."""
    pulls = Pulls(world, rows, shelf_of(world, options))
    spent_s, skipped = 0.0, []
    for size, layers, packing in options.cells:
        if spent_s > options.pull_minutes * 60:
            skipped.append(row_name(size, layers, packing))
            continue
        name, units = image_of(world, options, size, layers, packing)
        facts = pulls.shelf.facts[name]
        row = row_name(size, layers, packing)
        for kind in ("bytes", "unpacked_bytes"):
            rows.add_columns("%s of %s" % (kind.replace("_", " "), row), "bytes", {"bytes": facts[kind]})
        begun = monotonic()
        for number in range(rounds_of(size, layers, packing, options)):
            pulls.round(row, name, units, layers, number == 0)
            print("  %s" % bench_stats.line(rows, row), flush=True)
        spent_s += monotonic() - begun
    forget(world)
    if skipped:
        return {"not measured, time was up": skipped}
    return {}


def memory_pull_section(world, rows, options):
    """The most memory that the launcher's processes hold together during a pull, by the image's size."""
    for number in range(options.memories):
        for size in (options.sizes[0][0], options.sizes[-1][0]):
            name, _ = image_of(world, options, size, 8, "gzip")
            forget(world)
            launch = world.launch_start(world.attributes(name + ":1", cmd='["exit=0"]', container_log_redirect="true"),
                                        options=engine_options(world, OURS))
            peak = bench_memory.Peak(launch.child.pid)
            until_pulled(launch)
            peak.end()
            finish(launch, timeout_s=TIMEOUT_S)
            for kind, value in peak.kib.items():
                rows.add_columns("most %s during the pull, %s in 8 layers" % (
                    kind.upper().replace("PRIVATE", "private memory"), size), "KiB", {OURS: value})
            rows.add_columns("processes at once, %s in 8 layers" % size, "", {OURS: peak.processes})
            if number == 0:
                forget(world)
                rows.add_columns("most RSS of ctr, %s in 8 layers" % size, "KiB", {CTR: ctr_peak_kib(world, name)})
    forget(world)


def ctr_peak_kib(world, name):
    child = subprocess.Popen(["ctr", "--address", world.containerd.socket, "images", "pull", "--hosts-dir",
                              world.registry.hosts_dir, world.registry.ref(name + ":1")], stdout=subprocess.DEVNULL,
                             stdin=subprocess.DEVNULL, env=parts.clean_env(), start_new_session=True)
    peak = bench_memory.Peak(child.pid)
    child.wait()
    return peak.end().kib["rss"]


def wire_section(world, rows, options):
    """Over a wire of 400 Mbit/s. This process has a network of its own: its loopback is the wire."""
    if parts.read("/proc/self/net/dev").count(":") != 1:
        raise parts.Failure("a wire is measured in a network of its own")
    pulls = Pulls(world, rows, shelf_of(world, options))
    size = options.sizes[1][0]
    name, _ = image_of(world, options, size, 8, "gzip", options.sizes[:2])
    bytes_all = pulls.shelf.facts[name]["bytes"]
    own_ms = bytes_all * 8 / (WIRE_MBIT * 1000)
    parts.run("tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "%dmbit" % WIRE_MBIT, "burst", "512k", "limit", "8m")
    try:
        for _ in range(1 if options.is_quick else options.rounds):
            forget(world)
            ours, sync_ms, _ = pulls.ours(name, OURS)
            forget(world)
            theirs = pulls.theirs(name)
            rows.add_columns("%s in 8 layers over %d Mbit/s" % (size, WIRE_MBIT), "ms",
                             {OURS: ours, CTR: theirs, "the wire's own time": own_ms})
            rows.add_columns("of which the sync", "ms", {OURS: sync_ms})
            rows.add_columns("one blob after the other by curl", "ms", {"curl": curl_ms(world, pulls.shelf.facts[name], name)})
    finally:
        parts.run("tc", "qdisc", "del", "dev", "lo", "root")
    forget(world)


def curl_ms(world, facts, name):
    """What the throttle lets through to a client that throws away what comes."""
    begun = monotonic()
    parts.run("curl", "--silent", "--fail", "--cacert", world.registry.ca, "--location",
              *[w for blob in facts["blobs"] for w in ("--output", "/dev/null",
                "https://%s/v2/%s/blobs/%s" % (world.registry.host, name, blob))], timeout_s=TIMEOUT_S)
    return (monotonic() - begun) * 1000


def own_network(argv):
    """This program again, in a network that has nothing but a loopback."""
    script = 'ip link set lo up && exec "$@"'
    return ["unshare", "--net", "sh", "-c", script, "sh", sys.executable, "-B", *argv]
