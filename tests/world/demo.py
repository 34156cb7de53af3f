#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The demo: two launches on this machine, one that is allowed and one that the image's policy denies.
Everything that is said is checked; the exit status is 0 only if all of it was so."""
import json
import os
import sys
import time

import measured
import parts
import token_check
from world import REPORT_PREFIX, World

DENIED_WITHIN_S = 1.0
CLAIMS = ("iss", "aud", "sub", "exp", "swname", "hwmodel", "dbgstat", "secboot")
CONTAINER_CLAIMS = ("image_reference", "image_digest", "image_id", "restart_policy", "args",
                    "cmd_override", "env_override")


class Screen:
    """Plain lines, or coloured ones on a terminal."""
    COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}

    def __init__(self):
        self.has_colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, text, colour):
        return "\033[%sm%s\033[0m" % (self.COLOURS[colour], text) if self.has_colour else text

    def say(self, text="", colour=None):
        print(self.paint(text, colour) if colour else text, flush=True)

    def title(self, text):
        self.say()
        self.say("== %s %s" % (text, "=" * max(3, 92 - len(text))), "bold")

    def pairs(self, rows):
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self.say("  %s  %s" % (self.paint(name.ljust(width), "cyan"), value))


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

    def check_clean(self, launch):
        left = launch.left_behind()
        self.check(not left, "nothing is left behind" + "".join("; but: " + what for what in left))

    def follow(self, launch, timeout_s=60):
        """The console of the launch as it grows; the report's line is kept for later."""
        with open(launch.console_file, "rb") as console:
            end, rest = time.monotonic() + timeout_s, b""
            while True:
                is_running = launch.is_running()
                rest += console.read()
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    self.console_line(line.decode(errors="replace"))
                if not is_running:
                    break
                if time.monotonic() > end:
                    launch.child.kill()
                time.sleep(0.01)
        return launch.wait()

    def console_line(self, line):
        if line.startswith(REPORT_PREFIX):
            return
        is_workload = line.startswith("workload")
        colour = "yellow" if is_workload else "dim"
        text = line.partition(": ")[2].removeprefix("hello: ") if is_workload else line
        self.screen.say("  %s %s" % ("workload |" if is_workload else "launcher |",
                                     self.screen.paint(text, colour)))

    # --- launch 1

    def allowed(self):
        screen, world = self.screen, self.world
        screen.title("Launch 1: the operator asks for what the image allows")
        attributes = world.attributes(cmd='["good", "evening", "exit=0"]', env_HELLO_NAME="reader",
                                      container_log_redirect="true", restart_policy="Never")
        self.show_attributes(attributes)
        screen.say("\nThe serial console, live:", "bold")
        launch = self.follow(world.launch_start(attributes))
        screen.say("\nThe token that the workload held, checked by openssl with the verifier's keys:", "bold")
        claims = self.checked_claims(launch)
        screen.say("\nThe launch report:", "bold")
        report = self.show_report(launch)
        screen.say("\nWhat was to be shown:", "bold")
        self.check(any("hello, reader" in line for line in launch.workload_lines),
                   "the workload's own output came to the console")
        self.check(claims is not None, "the token's signature is good")
        image = world.images.inspect("demo/hello:1")
        container = (claims or {}).get("submods", {}).get("container", {})
        argv, _ = measured.process(attributes, image[3])
        self.check(container.get("image_digest") == image[0] and container.get("args") == argv,
                   "it names the image's digest and the arguments that ran")
        expected = measured.register(measured.events(attributes, image))
        self.check(world.tpm.pcr(13) == expected,
                   "PCR 13 of the TPM is what hashlib computes from metadata and image: %s..." %
                   expected[:16])
        self.check(report.get("result") == "success" and launch.exit_code == 0, "the exit code is 0")
        self.check_clean(launch)

    def show_attributes(self, attributes):
        self.screen.say("The metadata that the operator set:", "bold")
        self.screen.pairs(list(attributes.items()))

    def checked_claims(self, launch):
        try:
            claims = token_check.check(launch.token or "", self.world.verifier.get("/.well-known/jwks.json"))
        except (parts.Failure, ValueError, KeyError) as fault:
            self.screen.say("  refused: %s" % fault, "red")
            return None
        rows = [(name, claims.get(name)) for name in CLAIMS if name in claims]
        container = claims.get("submods", {}).get("container", {})
        rows += [("container." + name, container[name]) for name in CONTAINER_CLAIMS if name in container]
        self.screen.pairs([(n, v if isinstance(v, str) else json.dumps(v)) for n, v in rows])
        return claims

    def show_report(self, launch):
        report = self.full_report(launch)
        rows = [(name, report[name]) for name in ("result", "code", "message", "exit_code", "action",
                                                  "decided_by") if report.get(name) is not None]
        for section in ("image", "workload", "measured", "token", "log"):
            if report.get(section):
                rows.append((section, ", ".join("%s %s" % pair for pair in report[section].items())))
        self.screen.pairs([(n, str(v)) for n, v in rows])
        for stage in report.get("stages", []):
            self.screen.say("    %-9s from %5d ms  took %5d ms  %s" % (
                stage["name"], stage["start_ms"], stage["took_ms"],
                self.screen.paint(stage["outcome"], "green" if stage["outcome"] == "ok" else "red")))
        return report

    def full_report(self, launch):
        """The console's report is one short line; the launcher keeps the whole in its own folder."""
        whole = os.path.join(launch.state, "report.json")
        return json.loads(parts.read(whole)) if os.path.exists(whole) else launch.report

    # --- launch 2

    def denied(self):
        screen, world = self.screen, self.world
        screen.title("Launch 2: the operator asks for what the image's author has not allowed")
        attributes = world.attributes(
            "demo/strict:1", cmd='["/bin/sh", "-c", "cat /run/secrets"]', env_LD_PRELOAD="/tmp/spy.so",
            container_log_redirect="true", added_capabilities='["CAP_NET_RAW"]',
            mount="type=tmpfs,source=tmpfs,destination=/etc", restart_polcy="Always")
        self.show_attributes(attributes)
        mark = world.registry.mark()
        launch = world.launch(attributes)
        asked = [path for _, path, _ in world.registry.requests(mark)]
        report = self.full_report(launch)
        findings = report.get("findings", [])
        screen.say("\nEvery reason, each with what to do:", "bold")
        for finding in findings:
            screen.say("  %s %s" % (screen.paint(finding.get("code", "?"), "red"),
                                    screen.paint(finding.get("key", "?"), "cyan")))
            screen.say("      %s" % finding.get("message"))
            screen.say("      -> %s" % finding.get("fix"))
        screen.say("\nThe launch report:", "bold")
        self.show_report(launch)
        screen.say("\nWhat was to be shown:", "bold")
        keys = " ".join(str(f.get("key")) for f in findings)
        wanted = [k for k in attributes if k != "tee-image-reference"]
        missing = [k for k in wanted if k not in keys]
        self.check(not missing, "all %d keys are named%s" % (
            len(wanted), ", but not: " + ", ".join(missing) if missing else ""))
        self.check(findings and all(f.get("fix") for f in findings), "each reason has a suggestion")
        self.check(launch.exit_code == 1 and report.get("result") == "denied",
                   "the launch is denied, exit code 1")
        self.check(launch.took_s < DENIED_WITHIN_S,
                   "that took %.0f ms from start to end" % (launch.took_s * 1000))
        layers = {layer["digest"] for layer in world.images.inspect("demo/strict:1")[1]["layers"]}
        pulled = [p for p in asked if p.rsplit("/", 1)[-1] in layers]
        self.check(asked and not pulled,
                   "the registry was asked %d times, and never for one of the %d layers" % (
                       len(asked), len(layers)))
        self.check_clean(launch)


def main():
    screen = Screen()
    screen.title("teelaunch: one confidential VM, on this machine alone")
    screen.say("A software TPM stands for the VM's, and the cloud is on loopback: metadata server, registry,\n"
               "verifier, containerd. The launcher is the real one, and so is every check.")
    screen.say("\nstarting the world ...")
    start = time.monotonic()
    demo = None
    try:
        with World(images=("demo/hello:1", "demo/strict:1")) as world:
            screen.say("ready after %.1f s, all of it below %s" % (time.monotonic() - start, world.folder))
            screen.pairs([("metadata server", "http://" + world.metadata.host),
                          ("registry", "https://" + world.registry.host),
                          ("verifier", world.verifier.url), ("TPM", world.tpm.tcti),
                          ("containerd", world.containerd.socket)])
            demo = Demo(world, screen)
            demo.allowed()
            demo.denied()
        screen.title("The end")
        screen.say("The world is stopped and its folder removed; no process, mount or cgroup of it is left.")
    except parts.Failure as fault:
        screen.say("\nThe demo failed: %s" % fault, "red")
        return 1
    except KeyboardInterrupt:
        screen.say("\nstopped")
        return 130
    if demo.faults:
        screen.say("%d things were not so: %s" % (len(demo.faults), "; ".join(demo.faults)), "red")
        return 1
    screen.say("All of it was so.", "green")
    return 0


if __name__ == "__main__":
    sys.exit(main())
