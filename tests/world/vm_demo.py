#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: two VMs boot the production image, one launch is allowed and one is denied by the image's
policy. Everything that is said is checked; the exit status is 0 only if all of it was so."""
import json
import re
import sys
import time

import measured
import parts
from demo import CLAIMS, CONTAINER_CLAIMS, Screen
from vm_world import HOST, VmWorld, build_image

# From the launcher's first line to power-off; without KVM, on a machine that does something else too.
OFF_WITHIN_S = 30
HOSTNAME = "localhost"  # of the image
PROGRESS = re.compile(r"\[ *([\d.]+) s\] (==| \|) ?(.*)")


class Demo:
    def __init__(self, world, screen):
        self.world = world
        self.screen = screen
        self.faults = []

    def check(self, is_so, claim):
        """Print a claim with what became of it."""
        mark, colour = ("ok", "green") if is_so else ("NOT SO", "red")
        self.screen.say("  [%s] %s" % (self.screen.paint(mark, colour), claim))
        if not is_so:
            self.faults.append(claim)

    def live(self, line):
        """One line of `teelaunch vm`: "[  9.1 s] == stage", "[  9.1 s]  | what the console says"."""
        match = PROGRESS.match(line)
        if not match:
            self.screen.say("  " + line)
            return
        at, kind, text = match.groups()
        if kind == "==":
            self.screen.say("  %6s s  %s" % (at, self.screen.paint("== " + text, "cyan")))
        elif text.startswith("workload: hello: claims "):
            return
        elif text.startswith("workload"):
            said = text.partition(": ")[2].removeprefix("hello: ")
            self.screen.say("  %6s s  workload | %s" % (at, self.screen.paint(said, "yellow")))
        else:
            self.screen.say("  %6s s  console  | %s" % (at, self.screen.paint(text, "dim")))

    def boot(self, attributes):
        self.screen.say("The metadata that the operator set:", "bold")
        self.screen.pairs(list(attributes.items()))
        self.screen.say("\nThe VM, live:", "bold")
        return self.world.launch(attributes, live=self.live)

    def timeline(self, vm):
        boot = vm.document["boots"][-1]
        names = {m["name"]: m for m in boot["timeline"]}
        marks = [(m["at_ms"], m["name"], "") for m in boot["timeline"] if m["kind"] == "boot"]
        marks += [(m["at_ms"], "stage " + m["name"], "%d ms, %s" % (m["took_ms"], m["outcome"]))
                  for m in boot["timeline"] if m["kind"] == "stage"]
        self.screen.say("\nFrom power-on (%s) to power-off:" % vm.document["accelerator"].upper(), "bold")
        for at, name, more in sorted(marks) + [(boot["ran_ms"], "end: " + boot["end"], "")]:
            self.screen.say("  %6.1f s  %-16s %s" % (at / 1000, name, more))
        return (boot["ran_ms"] - names["launcher"]["at_ms"]) / 1000 if "launcher" in names else None

    def show_report(self, vm):
        report = vm.report or {}
        rows = [(name, report[name]) for name in ("result", "code", "message", "exit_code", "action", "decided_by")
                if report.get(name) is not None]
        for section in ("image", "pull", "disk", "workload", "measured", "token"):
            if report.get(section):
                rows.append((section, ", ".join("%s %s" % pair for pair in report[section].items())))
        self.screen.say("\nThe launch report:", "bold")
        self.screen.pairs([(n, str(v)) for n, v in rows] or [("none", "")])
        return report

    def check_end(self, vm, exit_code):
        report = vm.report or {}
        self.check(report.get("exit_code") == exit_code and report.get("action") == "stop" and
                   vm.document["end"] == "poweroff", "the exit code is %d, and the VM powered itself off" % exit_code)

    # --- launch 1

    def allowed(self):
        screen, world = self.screen, self.world
        screen.title("Launch 1: the operator asks for what the image allows")
        attributes = world.attributes(cmd='["good", "evening", "claims", "exit=0"]', env_HELLO_NAME="reader",
                                      container_log_redirect="true", restart_policy="Never")
        vm = self.boot(attributes)
        claims = self.show_claims(vm)
        report = self.show_report(vm)
        self.timeline(vm)
        screen.say("\nWhat was to be shown:", "bold")
        image = world.images.inspect("demo/hello:1")
        argv, _ = measured.process(attributes, image[3], HOSTNAME)
        container = claims.get("submods", {}).get("container", {})
        machine = claims.get("submods", {}).get("teelaunch_image", {})
        with open(world.measurements, encoding="utf-8") as f:
            expected = json.load(f)
        self.check("hello: hello, reader" in vm.progress, "the workload's own output came to the console")
        self.check(report.get("root") == "verity" and report.get("disk", {}).get("mode") == "protected",
                   "the root is the measured one, and the disk is protected by a key of this boot alone")
        pull = report.get("pull", {})
        self.check(pull.get("layers_own", 0) > 0 and pull.get("layers_containerd") == 0,
                   "each layer was unpacked by a confined process while it came: %d" % pull.get("layers_own", 0))
        self.check("verdict=accepted" in world.verifier.log,
                   "the verifier replayed both logs to the quoted PCRs and accepted them")
        self.check(machine.get("flavour", "production") == "production" and claims.get("dbgstat") ==
                   "disabled-since-boot" and expected["version"] in json.dumps(machine or claims),
                   "the token names the VM's image, which is the one that was just built: %s %s" % (
                       expected["name"], expected["version"]))
        self.check(container.get("image_digest") == image[0] and container.get("args") == argv,
                   "it names the workload's digest and the arguments that ran")
        value = measured.register(measured.events(attributes, image, HOSTNAME))
        self.check(report.get("measured", {}).get("pcr13") == value,
                   "PCR 13 is what hashlib computes from metadata and image: %s..." % value[:16])
        self.check(report.get("result") == "success", "the launch succeeded")
        self.check_end(vm, 0)

    def show_claims(self, vm):
        found = re.search(r"hello: claims (\{.*\})", vm.progress)
        self.screen.say("\nWhat the token says that the workload held:", "bold")
        try:
            claims = json.loads(found.group(1)) if found else {}
        except ValueError:
            claims = {}
        rows = [(name, claims.get(name)) for name in CLAIMS if name in claims]
        container = claims.get("submods", {}).get("container", {})
        rows += [("container." + name, container[name]) for name in CONTAINER_CLAIMS if name in container]
        rows += [("teelaunch_image." + n, v) for n, v in claims.get("submods", {}).get("teelaunch_image", {}).items()]
        self.screen.pairs([(n, v if isinstance(v, str) else json.dumps(v)) for n, v in rows] or [("nothing", "")])
        return claims

    # --- launch 2

    def denied(self):
        screen, world = self.screen, self.world
        screen.title("Launch 2: the operator asks for what the image's author has not allowed")
        attributes = world.attributes(
            "demo/strict:1", cmd='["/bin/sh", "-c", "cat /run/secrets"]', env_LD_PRELOAD="/tmp/spy.so",
            container_log_redirect="true", added_capabilities='["CAP_NET_RAW"]',
            mount="type=tmpfs,source=tmpfs,destination=/etc", restart_polcy="Always")
        mark = world.registry.mark()
        vm = self.boot(attributes)
        asked = [path for _, path, _ in world.registry.requests(mark)]
        report = self.show_report(vm)
        off_s = self.timeline(vm)
        screen.say("\nWhat was to be shown:", "bold")
        wanted = [k for k in attributes if k != "tee-image-reference"]
        said = "\n".join(line for line in vm.progress.splitlines() if "event=finding" in line)
        missing = [k for k in wanted if k not in said]
        self.check(not missing, "all %d keys are named, with the reason%s" % (
            len(wanted), ", but not: " + ", ".join(missing) if missing else ""))
        self.check("/tmp/spy.so" not in vm.progress, "no value of a variable is shown")
        self.check(report.get("result") == "denied", "the launch is denied")
        layers = {layer["digest"] for layer in world.images.inspect("demo/strict:1")[1]["layers"]}
        pulled = [p for p in asked if p.rsplit("/", 1)[-1] in layers]
        self.check(asked and not pulled, "the registry was asked %d times, and never for one of the %d layers" % (
            len(asked), len(layers)))
        self.check(off_s is not None and off_s < OFF_WITHIN_S,
                   "the VM was off %.1f s after the launcher's start" % (off_s or 0))
        self.check_end(vm, 1)


def main():
    screen = Screen()
    start = time.monotonic()
    screen.title("teelaunch: one confidential VM, on this machine alone")
    screen.say("qemu runs a VM with a measured image and a software TPM. Outside of it, on this machine: its\n"
               "metadata server at %s, a registry, and the verifier. The launcher is the real one,\n"
               "next to PID 1, and so is every check.\n" % HOST)
    demo = None
    try:
        disk, measurements = build_image("production", say=screen.say)
        screen.say("image ready after %.1f s: %s" % (time.monotonic() - start, disk))
        with VmWorld(disk, measurements, images=("demo/hello:1", "demo/strict:1")) as world:
            screen.say("world ready after %.1f s, below %s" % (time.monotonic() - start, world.folder))
            demo = Demo(world, screen)
            demo.allowed()
            demo.denied()
    except parts.Failure as fault:
        screen.say("\nThe demo failed: %s" % fault, "red")
        return 1
    except KeyboardInterrupt:
        screen.say("\nstopped")
        return 130
    screen.say("\n%.0f s in all." % (time.monotonic() - start))
    if demo.faults:
        screen.say("%d things were not so: %s" % (len(demo.faults), "; ".join(demo.faults)), "red")
        return 1
    screen.say("All of it was so.", "green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
