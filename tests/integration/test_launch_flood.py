#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A workload that writes as fast as it can for ten seconds: the launcher's memory stays what it was, its token is
refreshed in time, and the workload waits for nothing but the console. With TL_SHORT=1 a tenth of it."""
import os
import threading
import time

import launch_case

SHORT = bool(os.environ.get("TL_SHORT"))
BYTES = 100_000_000 if SHORT else 1_000_000_000  # 100 MB/s for ten seconds, where the machine can
SLOW_BYTES_S = 400_000
LIFE_S = 4


class Flood(launch_case.LaunchCase):
    images = ("demo/hello:1",)

    def launch(self, *actions, **more):
        cmd = '["%s"]' % '","'.join(actions)
        launch = self.world.launch(self.world.attributes(cmd=cmd, **more.pop("keys", {})), timeout_s=300, **more)
        self.assertEqual(launch.exit_code, 0, launch.stderr)
        self.assert_clean(launch)
        return launch

    def test_memory_is_bounded_and_the_token_is_fresh(self):
        self.world.verifier.process.stop()
        self.world.verifier.launch(token_ttl_s=str(LIFE_S))
        before = self.launch("exit=0", keys={"container_log_redirect": "serial"}).rss_mb
        for mode in ("serial", "cloud_logging", "true"):
            with self.subTest(mode):
                launch = self.launch("flood=%d" % BYTES, "exit=0", keys={"container_log_redirect": mode},
                                     options=["--console", "/dev/null"],
                                     before=["sh", "-c", 'exec "$@" >/dev/null', "sh"])
                run_s = self.run_s(launch)
                refreshed = launch.stderr.count("event=token.refreshed")
                self.note("%s: %.0f MB/s, memory +%.1f MB, %d refreshes", mode, BYTES / 1e6 / run_s,
                          launch.rss_mb - before, refreshed)
                self.assertIn("output_bytes=%d dropped_bytes=0 " % self.output_bytes(launch), launch.stderr)
                self.assertGreaterEqual(self.output_bytes(launch), BYTES)
                self.assertLess(launch.rss_mb - before, 4)
                self.assertGreaterEqual(refreshed, int(run_s / LIFE_S) - 1)
                for bad in ("token.expired", "token.refresh_failed"):
                    self.assertNotIn("event=" + bad, launch.stderr)

    @staticmethod
    def field(launch, name):
        line = next(line for line in launch.stderr.splitlines() if "event=workload.ended" in line)
        return line.split(name + "=")[1].split()[0]

    def run_s(self, launch):
        return int(self.field(launch, "run_ms")) / 1000

    def output_bytes(self, launch):
        return int(self.field(launch, "output_bytes"))

    def test_a_slow_console_is_what_the_workload_waits_for(self):
        leader, terminal = os.openpty()
        taken = []

        def read_slowly():
            while data := os.read(leader, 4096):
                taken.append(len(data))
                time.sleep(len(data) / SLOW_BYTES_S)
        threading.Thread(target=read_slowly, daemon=True).start()
        n = BYTES // 100 if SHORT else BYTES // 250
        launch = self.launch("flood=%d" % n, "exit=0", keys={"container_log_redirect": "serial"},
                             options=["--console", os.ttyname(terminal)])
        run_s = self.run_s(launch)
        self.note("slow console: %d KB/s asked for, %.0f KB/s taken", SLOW_BYTES_S // 1000, n / 1000 / run_s)
        self.assertIn(" dropped_bytes=0 ", launch.stderr)
        # As lines behind a prefix, with CR LF: 111 bytes for each 100.
        self.assertGreater(run_s, n / SLOW_BYTES_S * 0.5)  # pipes on the way hold some
        self.assertLess(run_s, n / SLOW_BYTES_S * 1.11 * 2 + 15)
        self.assertGreaterEqual(sum(taken), n)


if __name__ == "__main__":
    launch_case.main()
