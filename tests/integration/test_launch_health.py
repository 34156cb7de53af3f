#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Monitoring, as tee-monitoring-enable asks for it and the image's labels allow it: what the samples say is
compared with what the kernel says to python; that PCR 13 tells of it, with what hashlib computes."""
import os
import re
import time

import launch_case
import measured
import parts

FAST = ("--monitoring-period-ms", "1000")
MEMORY = {"metrics", "memory_total_bytes", "memory_used_bytes", "memory_free_bytes", "memory_buffered_bytes",
          "memory_cached_bytes", "memory_slab_bytes", "workload_memory_bytes", "workload_memory_max_bytes",
          "workload_oom_kills", "period_ms", "memory_stall_ms", "memory_stall_full_ms", "workload_memory_stall_ms",
          "workload_memory_stall_full_ms"}


def samples(text):
    """The key=value pairs of each line health.sample."""
    return [dict(re.findall(r"(\w+)=(\S+)", line.split("event=health.sample ")[1]))
            for line in text.splitlines() if "event=health.sample " in line]


def memory_total():
    return int(re.search(r"MemTotal:\s+(\d+) kB", parts.read("/proc/meminfo")).group(1)) * 1024


class Health(launch_case.LaunchCase):
    images = ("test/memory-always:1", "test/memory-debugonly:1", "test/memory-never:1", "test/wide:1")

    def launch(self, image, *actions, options=FAST, hardened=True, **keys):
        cmd = {"cmd": '["%s"]' % '","'.join(actions)} if actions else {}
        self.attributes = self.world.attributes(image, **cmd, **keys)
        self.image = self.world.images.inspect(image)
        return self.world.launch(self.attributes, options=options, hardened=hardened)

    def assert_measured(self, launch):
        """PCR 13 and 15 are what python makes of the attributes, and so tell what is monitored."""
        events = measured.events(self.attributes, self.image)
        self.assertEqual(self.world.tpm.pcr(13), measured.register(events))
        self.assertEqual(launch.report["measured"]["pcr13"], measured.register(events))
        return dict(events)[measured.MEMORY_MONITOR]

    def test_memory_alone_is_sampled_where_the_image_allows_it(self):
        launch = self.launch("test/memory-always:1", "sleep=3", "exit=0", monitoring_memory_enable="true")
        self.assert_end(launch, 0, "success")
        found = samples(launch.stderr)
        self.assertGreaterEqual(len(found), 2, launch.stderr)
        for sample in found:
            self.assertLessEqual(set(sample), MEMORY)
            self.assertEqual(sample["metrics"], "memoryOnly")
            self.assertEqual(int(sample["memory_total_bytes"]), memory_total())
            states = sum(int(sample["memory_%s_bytes" % s]) for s in ("used", "free", "buffered", "cached", "slab"))
            self.assertEqual(states, memory_total())
            # One static program: a few pages, and those of its group.
            self.assertTrue(0 < int(sample["workload_memory_bytes"]) < 64 << 20, sample)
            self.assertEqual(sample.get("workload_oom_kills", "0"), "0")
        self.assertEqual(samples(launch.console), [])  # a console is slow
        self.assertIn("Health Monitoring is enabled by the VM operator: memory/bytes_used enabled", launch.console)
        self.assertEqual(self.assert_measured(launch), b"\1")

    def test_all_is_memory_and_processors_and_disk(self):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        launch = self.launch("test/wide:1", "sleep=2", "exit=0", monitoring_enable="ALL")
        self.assert_end(launch, 0, "success")
        first, last = samples(launch.stderr)[0], samples(launch.stderr)[-1]
        self.assertEqual(first["metrics"], "all")
        self.assertTrue(before - 1 <= int(first["uptime_s"]) <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1)
        disk = os.statvfs(self.world.containerd.root)
        self.assertAlmostEqual(int(first["disk_free_bytes"]), disk.f_bavail * disk.f_frsize, delta=1 << 30)
        self.assertTrue(0 < int(last["cpu_busy_ms"]) <= os.cpu_count() * (int(last["period_ms"]) + 100), last)
        self.assertIn("workload_cpu_ms", last)
        self.assertIn("All health monitoring metrics enabled", launch.console)
        # "All" is said by PCR 15; the event is about memory alone.
        self.assertEqual(self.assert_measured(launch), b"\0")
        record = measured.record(self.attributes, launch.command, self.world.metadata.host)
        self.assertEqual(record["operator"]["monitoring"], "all")

    def test_nothing_is_sampled_that_nobody_asked_for(self):
        launch = self.launch("test/wide:1", "exit=0")
        self.assert_end(launch, 0, "success")
        self.assertEqual(samples(launch.stderr), [])
        self.assertIn("Health Monitoring is disabled", launch.console)
        self.assertEqual(self.assert_measured(launch), b"\0")

    def test_the_labels_decide(self):
        """Each once; all combinations are vectors of the policy."""
        rows = (("test/memory-always:1", "all", True, False), ("test/memory-never:1", "memoryOnly", False, False),
                ("test/memory-debugonly:1", "memoryOnly", True, False),
                ("test/memory-debugonly:1", "memoryOnly", False, True))
        for image, level, is_hardened, is_allowed in rows:
            with self.subTest(image=image, level=level, is_hardened=is_hardened):
                launch = self.launch(image, "exit=0", hardened=is_hardened, monitoring_enable=level)
                self.assert_end(launch, 4 if not is_hardened else 0 if is_allowed else 1,
                                "success" if is_allowed else "denied", None if is_allowed else "TL0409")
                self.assertEqual(bool(samples(launch.stderr)), is_allowed)


if __name__ == "__main__":
    launch_case.main()
