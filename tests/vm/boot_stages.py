#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""boot_stages.py IMAGE: boots a VM image with a data disk, a software TPM and no network to speak of,
and prints when which stage of the boot showed on the console, in seconds since power-on."""
import sys
import time

import guest
import image_guest

# Stage -> what the console says when it is reached.
STAGES = (
    ("firmware has found the UKI", "BdsDxe: starting"),
    ("UKI measured, kernel starts", "Measured initrd data"),
    ("kernel up, initrd", "init: started"),
    ("root verified and mounted", "init: root mounted"),
    ("disk, network, containerd; launcher starts", "event=launch.start"),
    ("launch ended", "TEELAUNCH-REPORT"),
    ("machine off", None),
)


def main():
    seen = {}
    with image_guest.Machine("boot-stages", sys.argv[1], memory_mb=768) as g:
        g.disks.append(guest.Disk(g.path("data.raw"), 4 << 30))
        begun = time.monotonic()
        g.start()
        while not any(e["event"] == "SHUTDOWN" for e in g.events):
            with open(g.log("console"), encoding="utf-8", errors="replace") as f:
                text = f.read()
            for stage, words in STAGES:
                if words and words in text:
                    seen.setdefault(stage, time.monotonic() - begun)
            if "TEELAUNCH-REPORT" in text:
                g.wait_end()
                break
            g.left_s()
            if g.qemu.poll() is not None:
                break
            time.sleep(0.05)
        seen["machine off"] = time.monotonic() - begun
    for stage, _ in STAGES:
        print("%6.1f s  %s" % (seen.get(stage, float("nan")), stage))
    return 0 if len(seen) == len(STAGES) else 1


if __name__ == "__main__":
    sys.exit(main())
