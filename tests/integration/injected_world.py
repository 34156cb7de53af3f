# SPDX-License-Identifier: Apache-2.0
"""A world in which launches with a fault are judged: what the workload saw of the TPM when it started,
what is left, and whether the report says what happened."""
import collections
import contextlib
import json
import os
import re
import socket
import struct
import threading
import time

import launch_case
import measured
import parts
import tpm_proxy
from injector import Injector
from world import REPORT_PREFIX, Launch

CATALOGUE = os.path.join(launch_case.HERE, "../../src/core/catalogue.def")
ROW = re.compile(r'TL_ROW\((\d+), TL_E_\w+, "[^"]*", TL_([A-Z]+),')
ACTIONS = {0: "stop", 1: "stop", 3: "restart"}
EXIT_CODES = {"success": 0, "workload": 3, "retry": 3, "denied": 1, "fatal": 1}  # restart policy OnFailure
BEFORE_THE_POLICY = ("machine", "disk", "metadata")  # the restart policy: where it isn't known yet, it is Never
READS_THE_POLICY = "spec"  # so there either may hold
USAGE = 2  # nothing was begun, nothing is reported: the exit unit does (docs/ARCHITECTURE.md)
ENDS_WITHIN_S = 45
IMAGE = "test/wide:1"
OPTIONS = ("--first-token-budget-ms", "4000")
PCRS = (13, 15)
CC_GET_CAPABILITY, CC_FLUSH_CONTEXT, CC_PCR_READ = 0x17A, 0x165, 0x17E
TPM_FAILURE, TPM_RETRY = 0x101, 0x922  # TPM 2.0 part 2, 6.6.3
SHA256 = 0x000B
# TPM 2.0 part 2, 7.4: transient objects, sessions that are loaded, and those that are saved
HANDLES = {"transient object": 0x80000000, "loaded session": 0x02000000, "saved session": 0x03000000}


def classes():
    """Of all codes: {"TL0001": "fatal"}"""
    return {"TL%04d" % int(n): c.lower() for n, c in ROW.findall(parts.read(CATALOGUE))}


def pcr_read(send, number):
    body = struct.pack(">IHB3s", 1, SHA256, 3, (1 << number).to_bytes(3, "little"))
    answer = send(struct.pack(">HII", 0x8001, 10 + len(body), CC_PCR_READ) + body)
    return answer[-32:].hex()


def tpm_response(code):
    return struct.pack(">HII", 0x8001, 10, code)


def handles(send, first):
    answer = send(struct.pack(">HIIIII", 0x8001, 22, CC_GET_CAPABILITY, 1, first, 32))
    return struct.unpack(">I", answer[15:19])[0]


class Witness:
    """Where the workload says that it runs; it waits until both registers were read."""

    def __init__(self, send):
        self.send = send
        self.seen = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            with contextlib.suppress(OSError):
                client, _ = self.listener.accept()
                with client:
                    self.seen.append([pcr_read(self.send, n) for n in PCRS])
                    client.sendall(b"x")

    def take(self):
        seen, self.seen = self.seen, []
        return seen


class InjectedWorld(launch_case.LaunchCase):
    images = (IMAGE,)
    Launch.watch_every_s = 0.1  # nothing here looks at what it finds

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.injector = Injector(cls.world.folder, cls.world.programs)
        cls.classes = classes()
        cls.witness = Witness(cls.tpm_send)
        cls.proxy = None
        cls.tpm_rule = None
        cls.attributes = cls.world.attributes(
            IMAGE, cmd='["tell=%d", "ask=POST /v1/token {\\"audience\\":\\"a\\",\\"token_type\\":\\"OIDC\\"}", "exit=0"]'
            % cls.witness.port, container_log_redirect="true", restart_policy="OnFailure", env_HELLO_NAME="x",
            mount="type=tmpfs,source=tmpfs,destination=/scratch", monitoring_enable="memoryOnly")
        cls.image = cls.world.images.inspect(IMAGE)
        cls.expected = None
        cls.forget_images()

    @classmethod
    def tpm_send(cls, command):
        return cls.proxy.send(command)

    @classmethod
    def forget_images(cls):
        ctr = cls.world.containerd.ctr
        for name in ctr("images", "list", "-q").split():
            ctr("images", "remove", "--sync", name)

    def run_once(self, env, tpm_rule=None, options=()):
        """A launch that pulls its image and meets a TPM fresh from its boot."""
        self.forget_images()
        self.world.boot("--hardened")
        self.proxy = type(self).proxy = tpm_proxy.Proxy(
            self.world.tpm.tcti, tpm_rule or (lambda _, command, send: send(command)))
        try:
            self.witness.take()
            launch = self.world.launch_start(self.attributes, env=env,
                                             options=[*OPTIONS, "--tcti", self.proxy.tcti, *options])
            launch.wait(ENDS_WITHIN_S)
            launch.seen = self.witness.take()
            launch.end = ("exit code", launch.exit_code)
            launch.tpm_left = [what for what, first in HANDLES.items() if handles(self.proxy.send, first)]
        finally:
            self.proxy.close()
        return launch

    def faults_of(self, launch, has_lost_tpm=False):
        """What is wrong with how a launch ended, as sentences; none is good. A TPM that was lost can't be tidied;
        the kernel's /dev/tpmrm0 does that at the end of who had it open, swtpm doesn't."""
        wrong = []
        reports = self.reports(launch, wrong)
        is_measured = self.judge_start(launch, wrong)
        if launch.exit_code == USAGE:
            if reports or launch.seen:
                wrong.append("exit code %d, which says that nothing was begun" % USAGE)
        elif len(reports) != 1:
            wrong.append("%d different reports, exit code %d" % (len(reports), launch.exit_code))
        else:
            self.judge_report(launch, json.loads(reports.pop()), is_measured, wrong)
        wrong += ["left: " + what for what in self.left(launch)]
        if not has_lost_tpm:
            wrong += ["left in the TPM: " + what for what in launch.tpm_left]
        if re.search("Sanitizer|runtime error:|free\\(\\):|corrupt|Assert", launch.stderr):
            wrong.append("memory: " + launch.stderr[-2000:])
        return wrong

    @staticmethod
    def reports(launch, wrong):
        """All that were printed; the console and standard error have the same one."""
        found = []
        for where, text in (("console", launch.console), ("standard error", launch.stderr)):
            lines = [line[len(REPORT_PREFIX):] for line in text.splitlines() if line.startswith(REPORT_PREFIX)]
            if len(lines) > 1:
                wrong.append("%d reports on %s" % (len(lines), where))
            found += lines
        return set(found)

    def judge_start(self, launch, wrong):
        """Whether the workload ran; then all of its measurements were in the registers."""
        expected = [measured.register(measured.events(self.attributes, self.image)), measured.record_register(
            measured.record(self.attributes, launch.command, self.world.metadata.host, nofile=measured.nofile()))]
        for seen in launch.seen:
            if seen != expected:
                wrong.append("the workload started with registers %s, not %s" % (seen, expected))
        if len(launch.seen) > 1:
            wrong.append("the workload started %d times" % len(launch.seen))
        return launch.seen == [expected]

    def judge_report(self, launch, report, is_measured, wrong):
        result, code = report["result"], report.get("code")
        stage = report.get("stages", [{}])[-1].get("name")
        expected = [1] if stage in BEFORE_THE_POLICY else [EXIT_CODES.get(result)]
        if stage == READS_THE_POLICY:
            expected.append(1)
        if launch.exit_code != report["exit_code"] or launch.exit_code not in expected:
            wrong.append("exit code %d, report's %d, result %s" % (launch.exit_code, report["exit_code"], result))
        if report["action"] != ACTIONS.get(launch.exit_code):
            wrong.append("action %s with exit code %d" % (report["action"], launch.exit_code))
        if result == "success":
            if not is_measured or code:
                wrong.append("success with code %s, and the workload %s" % (code, launch.seen))
        elif self.classes.get(code) != result:
            wrong.append("result %s, but %s is of the class %s" % (result, code, self.classes.get(code)))
        launch.end = (result, code)

    @staticmethod
    def left(launch):
        """What ends by itself, as a shim does, is given a moment."""
        containerd = launch.world.containerd
        for _ in range(300):
            if containerd.pids() == [containerd.process.pid]:
                break
            time.sleep(0.05)
        return launch.leftovers() and launch.left_behind()


def table(counts):
    return ", ".join("%s %d" % (what, n) for what, n in sorted(collections.Counter(counts).items()))
