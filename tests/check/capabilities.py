# SPDX-License-Identifier: Apache-2.0
"""What a machine may lack. A test may skip only for one of these, and only where the probe here
agrees that it is absent: it prints "SKIP <capability>: <words>" and exits with 77."""

import os
import re

SKIP_LINE = re.compile(r"^SKIP ([a-z0-9-]+):", re.M)


def has_device_mapper():
    with open("/proc/misc", encoding="utf-8") as f:
        return "device-mapper" in f.read()


# Capability -> True if the machine has it.
PROBES = {
    "root": lambda: os.geteuid() == 0,
    "kvm": lambda: os.access("/dev/kvm", os.R_OK | os.W_OK),
    "device-mapper": has_device_mapper,
    "fuse": lambda: os.access("/dev/fuse", os.R_OK | os.W_OK),
}


def absent(output):
    """The capability a skipped test named, if it really is absent; else None."""
    named = SKIP_LINE.search(output)
    probe = PROBES.get(named.group(1)) if named else None
    return named.group(1) if probe and not probe() else None
