#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""One whole launch, one denial and one interrupted launch under valgrind's memcheck, or, when the
programs are built with sanitizers, under those: no error, and nothing lost."""
import os
import re
import shutil
import signal

import launch_case
import parts
import signatures

VALGRIND_TIMEOUT_S = 240
LEAKS = "definite,indirect,possible"
SUPPRESSIONS = os.path.join(launch_case.HERE, "valgrind.supp")


class Memory(launch_case.LaunchCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        program = os.path.join(cls.world.programs, "teelaunchd")
        symbols = parts.run("nm", "-D", program)
        cls.is_sanitized = b"__asan_" in symbols
        # Shadow memory twice is more than machines have; ThreadSanitizer has its own tests.
        assert b"__tsan_" not in symbols

    def stand_in(self):
        """The library that hides from the launcher what this valgrind doesn't know."""
        library = self.world.path("valgrind_openat2.so")
        if not os.path.exists(library):
            parts.run("gcc", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-o", library,
                      os.path.join(launch_case.HERE, "valgrind_openat2.c"))
        return library

    def run_watched(self, attributes, is_stopped=False):
        """The launch and what its watcher found wrong, as text; empty is good."""
        log = self.world.path("memcheck.%d" % self.world.launches)
        if self.is_sanitized:
            before, env = (), {"ASAN_OPTIONS": "log_path=%s:exitcode=99:detect_leaks=1:"
                                               "detect_stack_use_after_return=1" % log,
                               "UBSAN_OPTIONS": "log_path=%s:print_stacktrace=1" % log}
        else:
            if not shutil.which("valgrind"):
                self.skipTest("valgrind is not installed")
            env = {"LD_PRELOAD": self.stand_in()}
            before = ("valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full",
                      "--errors-for-leak-kinds=" + LEAKS, "--show-leak-kinds=" + LEAKS, "--num-callers=30",
                      "--fair-sched=yes", "--suppressions=" + SUPPRESSIONS, "--log-file=%s.%%p" % log)
        # Memcheck writes the code that it runs, and doesn't know seccomp(2).
        confine = [] if self.is_sanitized else ["--confine", "off"]
        launch = self.world.launch_start(attributes, before=before, env=env,
                                         options=["--first-token-budget-ms", "120000", *confine])
        if is_stopped:
            launch.wait_for("stage=create", timeout_s=VALGRIND_TIMEOUT_S)
            launch.send(signal.SIGTERM)
        launch.wait(VALGRIND_TIMEOUT_S)
        found = ""
        for name in os.listdir(self.world.folder):
            if name.startswith(os.path.basename(log) + "."):
                found += parts.read(self.world.path(name))
        return launch, found

    def assert_watched(self, what, exit_code, result, attributes, **more):
        launch, found = self.run_watched(attributes, **more)
        self.assertNotEqual(launch.exit_code, 99, found)
        self.assert_end(launch, exit_code, result)
        # "--PID--" lines are memcheck's words about itself: a system call it doesn't know (pidfd_open)
        errors = re.sub(r"^--\d+--.*$", "", found, flags=re.M)
        # Each thread has Landlock's rules for itself, so the one that looks for leaks can't stop those that were
        # there before: it would find more leaks by that, never fewer.
        errors = re.sub(r"^==\d+==Running thread \d+ was not suspended\. False leaks are possible\.$", "", errors,
                        flags=re.M)
        self.assertEqual(errors.strip(), "", found)
        self.note("%s under %s: clean, %.1f s", what,
                  "the sanitizers" if self.is_sanitized else "memcheck", launch.took_s)

    def test_a_whole_launch(self):
        signer = signatures.Signer(self.world.folder, "author", "ECDSA_P256_SHA256")
        digest = self.world.images.inspect("demo/hello:1")[0]
        signatures.push(self.world.registry, "sigs", digest, [signer.signature(digest), (b"junk", b"junk")])
        self.assert_watched("a whole launch", 0, "success", self.world.attributes(
            signed_image_repos=self.world.registry.ref("sigs") + ",127.0.0.1:1/gone",
            cmd='["spam=200", "exit=0"]', container_log_redirect="true", env_HELLO_NAME="x"))

    def test_a_denied_launch(self):
        self.assert_watched("a denied launch", 1, "denied", self.world.attributes(
            "demo/strict:1", cmd='["x"]', env_A="b", restart_polcy="Always"))

    def test_an_interrupted_launch(self):
        self.assert_watched("an interrupted launch", 1, "retry", self.world.attributes(),
                            is_stopped=True)


if __name__ == "__main__":
    launch_case.main()
