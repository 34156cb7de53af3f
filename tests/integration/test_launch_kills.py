#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at any moment to the launcher, its unpacker, containerd, a shim, the workload, the registry, the verifier,
the metadata server, the TPM. The launch that is hit ends in time with one report of a class that fits, nothing else
than a wholly measured workload has run, and the next launch works without any help.

  test_launch_kills.py [--launches N] [--seed S]

Half of the launches are hit; each is followed by one that isn't. The same seed draws the same victims and moments
(what is hit at a moment still depends on the machine).
"""
import argparse
import contextlib
import glob
import os
import random
import signal
import statistics
import sys
import time

import launch_case
import measured
import parts

KILLED = -signal.SIGKILL
ENDS_WITHIN_S = 90  # the budgets of a launch's stages on a busy machine; what counts is that there is an end
RUN_S = 1
# How long after its start a victim is hit that lives for a part of the launch only.
SHORT_LIVED_S = {"unpacker": 0.03, "shim": 0.2, "workload": 0.5}
# Short budgets: a launch whose verifier or registry is gone needn't wait for a minute to say so.
BUDGETS = ("--first-token-budget-ms", "3000", "--stop-grace-ms", "500")
# Of the exit table, for the restart policy OnFailure; before the metadata has told it, nothing restarts.
EXIT_OF = {"success": {0}, "workload": {3}, "fatal": {1}, "retry": {3}}


class Victims:
    """How to find each in a launch's world, and how it comes back as it would in a machine."""

    def __init__(self, world):
        self.world = world

    def launcher(self, launch):
        return [launch.child.pid]

    def unpacker(self, launch):
        return [p for p in children_of(launch.child.pid) if name_of(p).startswith("teelaunch-unpac")]

    def containerd(self, _):
        return [self.world.containerd.process.pid]

    def shim(self, _):
        return [p for p in self.world.containerd.pids() if name_of(p).startswith("containerd-shim")]

    def workload(self, _):
        return [p for p in self.world.containerd.pids() if name_of(p) == "hello"]

    def registry(self, _):
        return [self.world.registry.process.pid]

    def verifier(self, _):
        return [self.world.verifier.process.pid]

    def metadata(self, _):
        return [self.world.metadata.process.pid]

    def tpm(self, _):
        return [self.world.tpm.pid]

    def revive(self, name):
        """What is a service of its own is started again, at once or when the launch is over. The TPM comes back
        with the next boot."""
        part = {"containerd": self.world.containerd, "registry": self.world.registry,
                "verifier": self.world.verifier}.get(name)
        if name == "metadata":
            self.world.metadata.stop()
            self.world.metadata.start()
        elif part:
            part.process.stop()
            part.launch()


NAMES = ("launcher", "unpacker", "containerd", "shim", "workload", "registry", "verifier", "metadata", "tpm")


def name_of(pid):
    with contextlib.suppress(OSError):
        return parts.read("/proc/%d/comm" % pid).strip()
    return ""


def children_of(pid):
    """Of all its threads."""
    found = []
    for path in glob.glob("/proc/%d/task/*/children" % pid):
        with contextlib.suppress(OSError):
            found += map(int, parts.read(path).split())
    return found


class Kills(launch_case.LaunchCase):
    launches, seed = 18, 1
    images = ("demo/hello:1",)

    def setUp(self):
        super().setUp()
        self.world.is_one_machine = True  # what a launcher leaves in its folders, the next one finds
        self.victims = Victims(self.world)
        self.dice = random.Random(self.seed)
        self.image = self.world.images.inspect("demo/hello:1")
        self.outcomes = {}

    def forget_images(self):
        ctr = self.world.containerd.ctr
        for name in ctr("images", "list", "-q").split():
            ctr("images", "remove", "--sync", name)

    def measured(self, attributes):
        return measured.register(measured.events(attributes, self.image))

    def undisturbed(self):
        """A launch without any help before it: all of it is as it should be."""
        attributes = self.world.attributes(cmd='["exit=0"]')
        launch = self.world.launch(attributes, timeout_s=ENDS_WITHIN_S)
        self.assert_end(launch, 0, "success")
        self.assertEqual(self.world.tpm.pcr(13), self.measured(attributes))
        return launch

    def hit(self, launch, name, after_s):
        """Whether one was hit before the launch was over. The moment of what isn't there from the start counts
        from when it is."""
        find = getattr(self.victims, name)
        while launch.is_running():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError, TypeError):  # it may be gone just now
                for pid in find(launch)[:1]:
                    time.sleep(after_s)
                    if not launch.is_running():
                        return False
                    os.kill(pid, signal.SIGKILL)
                    return True
            time.sleep(0.001)
        return False

    def stage_of(self, launch):
        done = [line for line in launch.stderr.splitlines() if "event=stage.done" in line]
        return done[-1].split("stage=")[1].split()[0] if done else "start"

    def disturbed(self, name, usual_s):
        runs = self.dice.random() < 0.3 or name == "workload"
        keys = {"cmd": '["sleep=%d", "exit=0"]' % RUN_S if runs else '["exit=0"]', "restart_policy": "OnFailure"}
        after_s = self.dice.uniform(0, SHORT_LIVED_S.get(name, usual_s * 0.8 + (RUN_S if runs else 0)))
        at_once = self.dice.random() < 0.5
        if self.dice.random() < 0.5 or name == "unpacker":
            self.forget_images()
        attributes = self.world.attributes(**keys)
        launch = self.world.launch_start(attributes, options=BUDGETS)
        was_hit = self.hit(launch, name, after_s)
        stage = self.stage_of(launch)
        if was_hit and at_once and name != "metadata":  # which comes back at another address
            self.victims.revive(name)
        launch.wait(ENDS_WITHIN_S)
        if was_hit and (not at_once or name == "metadata"):
            self.victims.revive(name)
        if was_hit and name == "tpm":
            self.world.is_fresh_boot = False
        said = "no report" if launch.exit_code == KILLED else self.judge(launch, name, attributes)
        key = (name if was_hit else "(nobody)", stage, said)
        self.outcomes[key] = self.outcomes.get(key, 0) + 1

    def judge(self, launch, name, attributes):
        """Of a launch that lived on: one report, which fits its exit code, and what ran was measured."""
        report = launch.report
        self.assertEqual(report["exit_code"], launch.exit_code)
        stages = [stage["name"] for stage in report["stages"]]
        is_early = launch.exit_code != 0 and (not stages or stages[-1] == "metadata")
        self.assertIn(report["result"], EXIT_OF, launch.stderr)
        self.assertIn(launch.exit_code, {1} if is_early else EXIT_OF[report["result"]], launch.stderr)
        if report["result"] != "success":
            self.assertRegex(report.get("code", ""), r"^TL\d{4}$")
        if launch.workload_lines and name != "tpm":
            self.assertEqual(self.world.tpm.pcr(13), self.measured(attributes), launch.stderr)
        return "%s %s" % (report["result"], report.get("code", ""))

    def test_the_next_launch_needs_no_help(self):
        usual_s = statistics.median(self.undisturbed().took_s for _ in range(3))
        order = [NAMES[i % len(NAMES)] for i in range(self.launches // 2)]
        self.dice.shuffle(order)
        for number, name in enumerate(order):
            with self.subTest(number=number, victim=name, seed=self.seed):
                try:
                    self.disturbed(name, usual_s)
                    self.undisturbed()
                except Exception as fault:
                    self.note("%s", fault)  # at once: the rest takes an hour
                    raise
        for (name, stage, said), n in sorted(self.outcomes.items()):
            self.note("%-10s killed after stage %-9s %4d times: %s", name, stage, n, said)
        self.note("%d launches, %d of them hit; usually %.0f ms", 3 + 2 * len(order),
                  sum(n for (name, _, _), n in self.outcomes.items() if name != "(nobody)"), usual_s * 1000)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--launches", type=int, default=Kills.launches)
    p.add_argument("--seed", type=int, default=Kills.seed)
    a = p.parse_args()
    Kills.launches, Kills.seed = a.launches, a.seed
    sys.argv[1:] = []
    launch_case.main()
