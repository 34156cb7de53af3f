#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Long use in a local world: is what the launcher holds, and what it makes others hold, flat?

  tokens     100,000 tokens over one workload's socket: most are kept ones, each tenth is made for its own audience,
             each hundredth request is one for evidence besides
  refreshes  10,000 refreshes of the launcher's own token: real quotes, a real verifier, the real schedule, but its
             waits are virtual (virtual_time.c): more than 300 days
  launches   1,000 launches, one after the other; before each fourth the image is forgotten
  log        24 hours of a workload that writes 100 lines of 100 bytes a second, as fast as they are taken

  soak.py --virtual PROGRAM [--out DIR] [--phase NAME]... [--short] [--share N] [--minutes M]

Each phase's samples and what the rule (soak_rule.py) says of them go to DIR/PHASE.json; soak_document.py makes the page
of them. --share N does that part of each (0.1: a tenth), --minutes ends each phase early; what was done is in the
file. Exit code 1: a series isn't flat, or a launch didn't do as it should.
"""
import argparse
import contextlib
import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(HERE, "..", "world"), os.path.join(HERE, "..", "bench"), HERE]

import bench_memory  # noqa: E402
import parts  # noqa: E402
import soak_rule  # noqa: E402
import token_check  # noqa: E402
from token_socket import Link  # noqa: E402
from world import World  # noqa: E402

LINES_S, LINE_BYTES = 100, 100
FULL = {"tokens": 100_000, "refreshes": 10_000, "launches": 1_000, "log": 24 * 3600 * LINES_S}
SHORT = {"tokens": 500, "refreshes": 50, "launches": 5, "log": 3600 * LINES_S}
UNITS = {"tokens": "tokens", "refreshes": "refreshes", "launches": "launches", "log": "lines"}
SAMPLES, WORLD_SAMPLES, SAMPLES_SHORT_MIN = 120, 60, 4  # of a phase; to ask containerd and the TPM costs programs
LIFE_S = 3600
AUDIENCE = "https://party-%d.example"
# Series -> (unit, growth that is still flat). Memory comes in pages, and an allocator's arenas find their size late.
MEMORY_KIB, MEMORY_SHORT_KIB = 512, 4096
BOUNDS = {
    "RSS": ("KiB", MEMORY_KIB), "written memory": ("KiB", MEMORY_KIB), "descriptors": ("", 1), "threads": ("", 0),
    "peak RSS of a launch": ("KiB", MEMORY_KIB),
    "transient objects": ("", 0), "loaded sessions": ("", 0), "saved sessions": ("", 0),
    "containers": ("", 0), "tasks": ("", 0), "leases": ("", 0), "snapshots": ("", 0), "blobs": ("", 0), "mounts": ("", 0),
    "files": ("", 0), "files of the launches": ("", 0),
}
# Others' programs: what the launcher makes them hold for it is descriptors; their memory is their own.
OTHERS = {"containerd: descriptors": ("", 4)}
HANDLES = {"transient objects": "handles-transient", "loaded sessions": "handles-loaded-session",
           "saved sessions": "handles-saved-session"}


class Samples:
    """Series by name: [(x, value)]."""

    def __init__(self):
        self.series = {}

    def add(self, x, who, values):
        for name, value in values.items():
            self.series.setdefault("%s: %s" % (who, name), []).append((x, value))

    def judged(self, is_short):
        found = {}
        for label, points in self.series.items():
            unit, bound = OTHERS.get(label) or BOUNDS[label.split(": ")[1]]
            if unit == "KiB" and is_short:
                bound = MEMORY_SHORT_KIB
            found[label] = {"unit": unit, "points": points, **soak_rule.judge(points, bound, SAMPLES_SHORT_MIN if is_short else soak_rule.SAMPLES_MIN)}
        return found


def process_holds(pid):
    """Written memory is its own whatever others do; a page of a library is private while nobody else runs with it."""
    kib = bench_memory.rollup_kib(pid)
    return {"RSS": kib["Rss"], "written memory": kib["Private_Dirty"],
            "descriptors": len(os.listdir("/proc/%d/fd" % pid)), "threads": len(os.listdir("/proc/%d/task" % pid))}


def files_below(*folders):
    return sum(len(files) for folder in folders for _, _, files in os.walk(folder))


def tpm_holds(world):
    found = {}
    for name, capability in HANDLES.items():
        said = parts.run("tpm2_getcap", capability, env=parts.clean_env(TPM2TOOLS_TCTI=world.tpm.tcti)).decode()
        found[name] = len(re.findall(r"^- 0x", said, re.M))
    return found


def containerd_holds(world):
    containerd = world.containerd
    found = {what: len(containerd.ctr(*command).split()) for what, command in (
        ("containers", ("containers", "list", "-q")), ("tasks", ("tasks", "list", "-q")),
        ("leases", ("leases", "list", "-q")), ("blobs", ("content", "list", "-q")))}
    found["snapshots"] = len(containerd.ctr("snapshots", "list").splitlines()) - 1
    pid = containerd.process.pid
    found["mounts"] = len(parts.read("/proc/%d/mountinfo" % pid).splitlines())
    found["descriptors"] = len(os.listdir("/proc/%d/fd" % pid))
    found["files"] = files_below(containerd.root, os.path.join(containerd.folder, "state"))
    return found


class Phase:
    def __init__(self, name, a, world):
        self.world, self.commit = world, commit()
        self.name, self.n = name, max(1, int((SHORT if a.short else FULL)[name] * a.share))
        self.virtual, self.is_short = a.virtual, a.short
        self.until = time.monotonic() + a.minutes * 60 if a.minutes else None
        self.samples, self.facts, self.done = Samples(), {}, 0

    def is_over(self):
        return self.done >= self.n or (self.until is not None and time.monotonic() > self.until)

    def begin(self, actions, **more):
        attributes = self.world.attributes(cmd=json.dumps(actions), **more.pop("keys", {}))
        return self.world.launch_start(attributes, **more).wait_for("event=workload.started")

    def end(self, launch):
        launch.send(signal.SIGTERM)
        launch.wait()
        return self.well_ended(launch)

    def well_ended(self, launch):
        report = launch.report
        if (launch.exit_code, report["result"]) != (0, "success"):
            raise parts.Failure("a launch ended with %d, %s:\n%s" % (launch.exit_code, report["result"], launch.stderr[-2000:]))
        left = launch.left_behind()
        if left:
            raise parts.Failure("left behind: " + "; ".join(left))
        return report

    def look(self, launch):
        """A sample, if it is time for one: of the processes, and less often of the world."""
        done = self.done
        if done >= self.next_sample:
            self.next_sample = done + self.n / SAMPLES
            self.samples.add(done, "launcher", process_holds(launch.child.pid))
            self.samples.add(done, "teeverifierd", process_holds(self.world.verifier.process.pid))
        if done >= self.next_world:
            self.next_world = done + self.n / (2 * SAMPLES_SHORT_MIN if self.is_short else WORLD_SAMPLES)
            self.samples.add(done, "TPM", tpm_holds(self.world))
            self.samples.add(done, "containerd", containerd_holds(self.world))
            self.samples.add(done, "launcher", {"files": files_below(launch.folder)})

    def run(self):
        began = time.monotonic()
        self.next_sample = self.next_world = 0
        getattr(self, self.name)()
        return {"phase": self.name, "unit": UNITS[self.name], "asked": self.n, "done": self.done,
                "took_s": time.monotonic() - began, "facts": self.facts, "at": datetime.date.today().isoformat(),
                "commit": self.commit, "load": os.getloadavg(), "series": self.samples.judged(self.is_short)}

    def tokens(self):
        launch = self.begin(["trap", "sleep=1000000"], options=["--token-rate", "10000", "--token-burst", "10000"])
        path, link, keys = os.path.join(launch.shared, "teeserver.sock"), None, self.world.verifier.get("/.well-known/jwks.json")
        made = evidence = 0
        while not self.is_over():
            if self.done % 100 == 0:  # a connection lives for a hundred
                if link:
                    link.close()
                link = Link(path, 60)
                self.answer(link, "POST", "/v1/evidence", {"challenge": "YWJjZGVmZ2g="})
                evidence += 1
            if self.done % 10 == 5:
                audience = AUDIENCE % self.done
                token = self.answer(link, "POST", "/v1/token", {"audience": audience, "token_type": "OIDC",
                                                                "nonces": ["nonce-%08d" % self.done]})
                made += 1
                if self.done % 1000 == 5 and token_check.check(token, keys)["aud"] != audience:
                    raise parts.Failure("a token for another audience than '%s'" % audience)
            else:
                self.answer(link, "GET", "/v1/token")
            self.done += 1
            self.look(launch)
        link.close()
        told = self.end(launch)["token"]
        if told["refused"] != 0:
            raise parts.Failure("%d requests were refused" % told["refused"])
        self.facts = {"made for their own audience": made, "evidences besides": evidence,
                      "calls to the verifier": told["upstream"]}

    @staticmethod
    def answer(link, *request):
        status, _, text = link.ask(*request)
        if status != 200:
            raise parts.Failure("%s %s: %d %s" % (request[0], request[1], status, text[:200]))
        return text

    def refreshes(self):
        self.world.verifier.process.stop()
        self.world.verifier.launch(token_ttl_s=str(LIFE_S))
        programs, folder = self.world.programs, self.world.path("programs")
        os.mkdir(folder)
        os.symlink(os.path.abspath(self.virtual), os.path.join(folder, "teelaunchd"))
        self.world.programs = folder
        going = self.world.path("virtual-time")
        launch = self.begin(["trap", "sleep=1000000"], env={"TL_VIRTUAL_WHILE": going})
        self.world.programs = programs
        parts.write(going, "")  # only now: containerd needs real time to start the workload
        with open(launch.stderr_file, encoding="utf-8", errors="replace") as log:
            while not self.is_over():
                said = log.readlines()
                self.done += sum("event=token.refreshed" in line for line in said)
                bad = [line for line in said if "event=token.refresh_failed" in line or "event=token.expired" in line]
                if bad or not launch.is_running():
                    raise parts.Failure("after %d refreshes: %s" % (self.done, "".join(bad) or launch.stderr[-2000:]))
                if self.done >= self.next_world:
                    os.unlink(going)  # the look takes longer than many refreshes
                    self.look(launch)
                    parts.write(going, "")
                self.look(launch)
                time.sleep(0.02)
        os.unlink(going)  # the workload gets its time to end by a clock that doesn't run ahead
        time.sleep(1)
        report = self.end(launch)
        days = report["workload"]["run_ms"] / 86_400_000
        # Each comes after at least 70 % of a token's life (attest/token_schedule.c).
        if days * 86_400 < self.done * 0.7 * (LIFE_S - 60):
            raise parts.Failure("%d refreshes in %.1f days" % (self.done, days))
        self.facts = {"days of the launcher's clock": round(days, 1)}

    def launches(self):
        while not self.is_over():
            if self.done % 4 == 3:
                for name in self.world.containerd.ctr("images", "list", "-q").split():
                    self.world.containerd.ctr("images", "remove", "--sync", name)
            launch = self.world.launch(self.world.attributes(cmd='["exit=0"]'), timeout_s=120)
            self.well_ended(launch)
            self.done += 1
            if self.done == 1 or self.done >= self.next_sample or self.is_short:
                self.next_sample = self.done + self.n / SAMPLES
                self.samples.add(self.done, "launcher", {"peak RSS of a launch": round(launch.rss_mb * 1024)})
                self.samples.add(self.done, "launcher", {"files of the launches": files_below(launch.shared, launch.state)})
                self.samples.add(self.done, "teeverifierd", process_holds(self.world.verifier.process.pid))
                self.samples.add(self.done, "TPM", tpm_holds(self.world))
                self.samples.add(self.done, "containerd", containerd_holds(self.world))

    def log(self):
        launch = self.begin(["spam=%d" % self.n, "exit=0"], keys={"container_log_redirect": "true"},
                            options=["--console", "/dev/null"], before=["sh", "-c", 'exec "$@" >/dev/null', "sh"])
        while launch.is_running():
            with contextlib.suppress(OSError):
                written = int(re.search(r"wchar: (\d+)", parts.read("/proc/%d/io" % launch.child.pid)).group(1))
                self.samples.add(written // 1_000_000, "launcher", process_holds(launch.child.pid))
            time.sleep(0.02 if self.is_short else 0.5)
        launch.wait(3600)
        ended = next((line for line in launch.stderr.splitlines() if "event=workload.ended" in line), "")
        got = {name: int(value) for name, value in re.findall(r"(output_bytes|dropped_bytes|run_ms)=(\d+)", ended)}
        if launch.exit_code != 0 or got["dropped_bytes"] != 0 or got["output_bytes"] < self.n * LINE_BYTES:
            raise parts.Failure("%d: %s" % (launch.exit_code, ended or launch.stderr[-2000:]))
        self.done = self.n
        self.facts = {"bytes": got["output_bytes"], "lines a second": self.n * 1000 // got["run_ms"]}


def commit():
    done = subprocess.run(["git", "-C", TOP, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def tell(result, is_short):
    print("%s: %d %s in %.0f s" % (result["phase"], result["done"], result["unit"], result["took_s"]))
    for label, s in result["series"].items():
        if not s["is_flat"] or not is_short:
            print("    %-36s %g to %g %s, at most %g more: %s" % (
                label, s["first"], s["last"], s["unit"], s["bound"], "flat" if s["is_flat"] else "GROWS"))
    sys.stdout.flush()
    return all(s["is_flat"] for s in result["series"].values())


def programs_of(virtual):
    build = os.path.dirname(os.path.dirname(os.path.abspath(virtual)))
    found = re.search(r"^TL_BIN_DIR:\w+=(.+)$", parts.read(os.path.join(build, "CMakeCache.txt")), re.M)
    return found[1] if found else os.path.join(build, "bin")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--virtual", required=True, help="the launcher with the virtual clock")
    p.add_argument("--out", default=os.path.join(TOP, "build", "soak"))
    p.add_argument("--phase", action="append", choices=list(FULL))
    p.add_argument("--short", action="store_true")
    p.add_argument("--share", type=float, default=1.0)
    p.add_argument("--minutes", type=float)
    a = p.parse_args()
    # The build of that launcher; the newest one, as elsewhere, may be one with sanitizers, which keep what is freed.
    os.environ.setdefault("TL_PROGRAMS", programs_of(a.virtual))
    os.makedirs(a.out, exist_ok=True)
    is_good = True
    try:
        with World(images=("demo/hello:1",)) as world:
            for name in a.phase or FULL:
                result = Phase(name, a, world).run()
                parts.replace(os.path.join(a.out, name + ".json"), json.dumps(result) + "\n")
                is_good = tell(result, a.short) and is_good
    except (parts.Failure, soak_rule.TooFew) as fault:
        sys.exit("soak.py: %s" % fault)
    sys.exit(not is_good)


if __name__ == "__main__":
    main()
