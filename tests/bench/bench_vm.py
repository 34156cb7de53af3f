# SPDX-License-Identifier: Apache-2.0
"""In a virtual machine: the protected disk's set-up by size, and the VM image from power-on to power-off."""
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "vm"))

import parts  # noqa: E402
from bench_launch import OURS  # noqa: E402

DISK_GIB = (1, 100)


def disk_section(world, rows, options):
    """1 GiB and 100 GiB in the same machine, in turns; teelaunchd's own time, from the opened device to the mounted,
    sealed disk."""
    os.environ["TL_PROGRAMS"] = world.programs
    import guest
    import test_disk_sizes as sizes
    from disk_world import GIB, machine
    with tempfile.TemporaryDirectory(prefix="teelaunch-vm-disk.") as work:
        disks = [guest.Disk(os.path.join(work, "disk-%d" % s), s * GIB, serial="size-%d" % s) for s in DISK_GIB]
        with machine("bench_disk", disks, limit_s=900, memory_mb=1024) as g:
            g.start()
            for tags, how in (("in memory", "--tags memory --tags-memory-percent 90"), ("on the disk", "--tags disk")):
                for number in range(options.disks + 1):
                    order = DISK_GIB if number % 2 else DISK_GIB[::-1]
                    took = {s: sizes.set_up_again(g, s, "vd" + "ab"[DISK_GIB.index(s)], how) for s in order}
                    if number:  # the first round loads modules
                        rows.add_columns("disk ready, tags " + tags, "ms",
                                         {"%d GiB" % s: took[s][0] for s in sorted(took, reverse=True)})
                        rows.add_columns("read and written, tags " + tags, "KiB",
                                         {"%d GiB" % s: took[s][1] for s in sorted(took, reverse=True)})


def boot_section(world, rows, options):
    """The VM image with the demo's workload; by the console of the machine, stage by stage, since power-on."""
    from vm_world import VmWorld, build_image
    disk, measurements = build_image("production", world.programs)
    with VmWorld(disk, measurements, programs=world.programs) as vms:
        for _ in range(options.boots):
            vm = vms.launch(vms.attributes(cmd='["exit=0"]', container_log_redirect="true"))
            add_boot(rows, vm.document)
    return {"accelerator": vm.document["accelerator"]}


def add_boot(rows, document):
    boot = document["boots"][-1]
    marks = [(m["at_ms"], m["name"]) for m in boot["timeline"] if m["kind"] == "boot"]
    stages = [(m["at_ms"], m["took_ms"], m["name"]) for m in boot["timeline"] if m["kind"] == "stage"]
    for at, name in sorted(marks):
        rows.add_columns("power-on to: " + name, "ms", {OURS: at})
    for at, _, name in sorted(stages):
        rows.add_columns("power-on to the end of stage " + name, "ms", {OURS: at})
    for _, took, name in sorted(stages):
        rows.add_columns("stage %s took" % name, "ms", {OURS: took})
    rows.add_columns("power-on to power-off", "ms", {OURS: boot["ran_ms"]})
    ran = [at for at, _, name in stages if name == "run"]
    if not ran:
        raise parts.Failure("the workload didn't run in the machine: %s" % document.get("message"))
    rows.add_columns("workload's end to power-off", "ms", {OURS: boot["ran_ms"] - ran[0]})
