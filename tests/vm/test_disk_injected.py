#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The protected disk where one call to the system, or one allocation, fails: while it is made, and while it is opened
again. Either that was of no matter, and the disk is whole; or it is told, once and with a code, and nothing is there
that looks like a disk, and the next set-up works. What fails while it is opened again forgets nothing.

TL_LONG=1: each site of a call (tests/integration/injector.c says what that is), else some of them;
TL_SITES=REGEX: those whose name matches. TL_MINUTES=N ends each of the two tests after so long."""
import base64
import gzip
import os
import re
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(HERE, "..", "integration"), os.path.join(HERE, "..", "world")]

import guest  # noqa: E402
import injector  # noqa: E402
from disk_world import BASE, PROGRAMS, machine, record, take_down  # noqa: E402

IS_LONG = "TL_LONG" in os.environ
MINUTES = float(os.environ.get("TL_MINUTES", "25"))
PATTERN = os.environ.get("TL_SITES")
EVERY = 1 if IS_LONG or PATTERN else 48
# Where it once did harm: in the short form, too.
FOUND = re.compile(r"^teelaunchd read < .*\bdisk_record_read\b")
DISK_BYTES = 256 << 20
COMMAND = "teelaunchd disk --device serial=teelaunch-data --tags memory"
# Of a build that counts (preset coverage): what writes the counters.
COUNTS = re.compile(r"gcov|\bgcda\b")
# Nothing that has the name of ours, is mounted from it or was loaded for it. Half of it may be there when the machine
# gives nothing back; then the next set-up removes it.
IS_GONE = "dmsetup ls | grep -q 'No devices found' && ! grep -qE '/dev/dm-|^brd ' /proc/self/mountinfo /proc/modules"
ANEW = ("umount /var/tmp; umount /var/lib/containerd; umount %s; dmsetup remove teelaunch-crypt; "
        "dmsetup remove teelaunch-integrity; rmmod brd; rm -rf /run/teelaunch; mkdir -m 700 /run/teelaunch" % BASE)


class Sweep:
    def __init__(self, g, tool):
        self.g, self.tool = g, tool
        self.wrong, self.fired, self.failed = [], 0, 0

    def command(self, site=None, how=None):
        words = self.tool.environment(site, how)
        words.update(LD_PRELOAD="/usr/bin/injector.so", FI_MAP="/tmp/sites")
        if site:
            words["FI_ONLY"] = site.name
        return "rm -f /tmp/sites.*; %s %s" % (" ".join("%s=%s" % item for item in words.items()), COMMAND)

    def sites(self):
        """Of one run that nothing disturbs."""
        self.g.check(self.command())
        with open(self.tool.file("teelaunchd"), "wb") as f:
            f.write(gzip.decompress(base64.b64decode(self.g.check("gzip -c /tmp/sites.teelaunchd | base64"))))
        fired, found = self.tool.read("teelaunchd")
        assert fired == 0 and len(found) > 50, (fired, len(found))
        sites = list(found.values())
        self.tool.name_sites(sites)
        sites = sorted((s for s in sites if not COUNTS.search(s.path)), key=str)
        return [s for s in sites if not PATTERN or re.search(PATTERN, str(s))]

    def cases(self, sites):
        """Our own calls first; until the time is over, which is said."""
        chosen = sorted((s for n, s in enumerate(sites) if n % EVERY == 0 or FOUND.search(str(s))), key=lambda s: (s.kind == "memory", bool(s.module)))
        begun = time.monotonic()
        for n, site in enumerate(chosen):
            if time.monotonic() - begun >= MINUTES * 60:
                print("    the time is over after %d of %d sites" % (n, len(chosen)), flush=True)
                return
            yield site, site.faults()[0]

    def run(self, site, how, then):
        """How a run with the fault ended: its status, what it printed, and what @then printed after it."""
        status, output = self.g.run("%s; echo \"status $?\"; head -c 4 /tmp/sites.teelaunchd | od -An -tu4; (%s) 2>&1; true" % (
            self.command(site, how), then))
        assert status == 0, output
        before, after = output.rsplit("status ", 1)
        status, fired, *rest = after.split(None, 2)
        self.fired += int(fired) > 0
        self.failed += status != "0"
        codes = re.findall(r"event=disk\.failed code=(TL\d{4})", before)
        if (status, len(codes)) not in (("0", 0), ("1", 1)):
            self.blame(site, how, "status %s, and said %s: %s" % (status, codes, before[-500:]))
        return status, codes, rest[0] if rest else ""

    def blame(self, site, how, what):
        self.wrong.append("%s, %s: %s" % (site, how, what))
        print("    " + self.wrong[-1], flush=True)


def made_with_a_fault(s):
    """Whatever fails, a disk that isn't told to be one is none."""
    sites = s.sites()
    for site, how in s.cases(sites):
        s.g.run(ANEW)
        status, codes, rest = s.run(site, how, "%s && echo gone; cat /run/teelaunch/disk.json" % IS_GONE)
        is_gone, text = rest.startswith("gone"), rest
        if status == "0":
            if is_gone or '"size_bytes"' not in text:
                s.blame(site, how, "made, and %s" % text)
        elif '"size_bytes"' in text or (codes and '"error"' in text and codes[0] not in text):
            s.blame(site, how, "failed with %s, and the record is %s" % (codes, text))
        elif not is_gone:
            again, output = s.g.run(COMMAND)
            if again != 0:
                s.blame(site, how, "failed with %s, and so did the next one: %s" % (codes, output[-500:]))
            print("    left until the next: %s" % site, flush=True)
    s.g.run(ANEW)
    s.g.check(COMMAND)
    return len(sites)


def opened_again_with_a_fault(s):
    """What is written on it is there when the fault is gone, unless the key doesn't open any more."""
    s.g.run(ANEW)
    s.g.check(COMMAND)
    before = record(s.g)
    s.g.check("echo kept >%s/file; sync" % BASE)
    take_down(s.g)
    sites = s.sites()
    for site, how in s.cases(sites):
        take_down_any(s.g)
        status, codes, rest = s.run(site, how, "cat /run/teelaunch/disk.json")
        if status == "0":
            kept = s.g.run("cat %s/file" % BASE)[1]
            if kept != "kept\n":
                s.blame(site, how, "opened, and has %r" % kept)
        elif '"size_bytes"' not in rest:
            s.blame(site, how, "failed with %s, and the record is %s" % (codes, rest))
    take_down_any(s.g)
    s.g.check(COMMAND)
    after = record(s.g)
    assert {k: v for k, v in after.items() if not k.endswith("number")} == \
        {k: v for k, v in before.items() if not k.endswith("number")}, (before, after)
    assert s.g.check("cat %s/file" % BASE) == "kept\n"
    return len(sites)


def take_down_any(g):
    g.run("umount /var/tmp; umount /var/lib/containerd; umount %s; dmsetup remove teelaunch-crypt; "
          "dmsetup remove teelaunch-integrity" % BASE)


TESTS = (made_with_a_fault, opened_again_with_a_fault)


def main():
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        tool = injector.Injector(work, PROGRAMS, ("teelaunchd",))
        disks = [guest.Disk(os.path.join(work, "disk"), DISK_BYTES)]
        with machine("disk_injected", disks, programs=[tool.library], limit_s=3400 if IS_LONG else 280) as g:
            for test in TESTS:
                if wanted and test.__name__ not in wanted:
                    continue
                started = time.monotonic()
                g.start()
                sweep = Sweep(g, tool)
                sites = test(sweep)
                assert not sweep.wrong, "\n".join(sweep.wrong)
                assert sweep.fired > 0 and (PATTERN or sweep.failed > 0), (sweep.fired, sweep.failed)
                print("ok   %-40s %5.1f s  %d sites, %d faults, %d told" % (
                    test.__name__, time.monotonic() - started, sites, sweep.fired, sweep.failed), flush=True)


if __name__ == "__main__":
    main()
