#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a fleet costs those who serve it, out of what one machine costs them.

    fleet_cost.py                  the tables of docs/fleet.md, out of the costs in fleet_units.json
    fleet_cost.py UNITS.json       the same with one's own
    fleet_cost.py --check PAGE     is PAGE what it says?
    fleet_cost.py --measure        what launches in the local world cost: for fleet_units.json; needs root

The steps of the schedule (pauses, peaks) are those that tests/bench/fleet computes in virtual time."""
import json
import math
import os
import re
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
UNITS = os.path.join(HERE, "fleet_units.json")
FLEETS = (100, 1_000, 10_000, 100_000, 1_000_000)
DAY_S = 86400
# Between two refreshes of a token that lives for an hour: 80 % of its life in the mean.
REFRESH_S = 2880
# Calls a second in the worst second, of each machine: docs/fleet.md, rows of 100,000 machines.
TOGETHER, AFTER_OUTAGE = 181 / 100_000, 4618 / 100_000
BUSY = 0.5  # of a processor that is planned with
BEGIN, END = "<!-- fleet_cost.py -->\n", "<!-- /fleet_cost.py -->\n"


def number(value):
    """Three digits that mean something, and a word for what is large."""
    for size, word in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= size * (0.9995 if size > 1e3 else 9.995):
            return "%.3g%s" % (value / size, word)
    return "%.3g" % value if value < 1000 else "%d" % value


def table(title, head, rows):
    lines = ["", title, "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def of_fleets(title, rows):
    """`rows`: (what, function of the number of machines)."""
    return table(title, ["machines"] + [number(n) for n in FLEETS],
                 [[what] + [number(cost(n)) for n in FLEETS] for what, cost in rows])


def pages(u):
    value = {name: unit["value"] for name, unit in u.items()}
    core = value["verifications_per_core_s"] * BUSY

    def cores(rate):
        return lambda n: max(1, math.ceil(n * rate / core))
    lines = ["What one machine costs, and how that was found:", "", "| unit | value | how |", "|---|---|---|"]
    lines += ["| %s | %s %s | %s |" % (unit["what"], number(unit["value"]), unit["unit"], unit["how"]) for unit in u.values()]
    lines += of_fleets("The verifier. A token is two calls, challenge and attestation; processors are planned half busy:", [
        ("tokens a second, steady", lambda n: n / REFRESH_S),
        ("in the worst second of a fleet that booted at once", lambda n: n * TOGETHER),
        ("in the worst second after an outage of more than an hour", lambda n: n * AFTER_OUTAGE),
        ("processors, steady", cores(1 / REFRESH_S)),
        ("processors, booted at once", cores(TOGETHER)),
        ("processors, the worst second after an outage", cores(AFTER_OUTAGE)),
        ("bytes a second to and from it, steady", lambda n: n / REFRESH_S * (value["verifier_up_bytes"] + value["verifier_down_bytes"])),
        ("bytes a day", lambda n: n * DAY_S / REFRESH_S * (value["verifier_up_bytes"] + value["verifier_down_bytes"])),
        ("calls a day, which a hosted verifier's quota counts", lambda n: 2 * n * DAY_S / REFRESH_S)])
    image, window = value["image_bytes"], value["rollout_s"]
    lines += of_fleets("The registry, when all machines are replaced within the rollout's time, each with an empty disk:", [
        ("requests a second", lambda n: n * value["registry_requests"] / window),
        ("bits a second, without a cache", lambda n: 8 * n * image / window),
        ("caches of %s bit/s each" % number(value["cache_bit_s"]), lambda n: math.ceil(8 * n * image / window / value["cache_bit_s"])),
        ("bytes from the registry itself, through such caches",
         lambda n: image * math.ceil(8 * n * image / window / value["cache_bit_s"]))])
    return lines


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def check(page):
    text = read(page)
    found = re.search(re.escape(BEGIN) + "(.*?)" + re.escape(END), text, re.S)
    wanted = "\n".join(pages(json.loads(read(UNITS)))) + "\n"
    if not found or found.group(1) != wanted:
        sys.exit("fleet_cost.py: %s should have, between %s and %s:\n%s" % (page, BEGIN.strip(), END.strip(), wanted))
    # By hand, so that a mistake of the script's isn't just repeated.
    for sentence in ("| tokens a second, steady | 0.0347 | 0.347 | 3.47 | 34.7 | 347 |",
                     "| in the worst second of a fleet that booted at once | 0.181 | 1.81 | 18.1 | 181 | 1810 |"):
        if sentence not in text:
            sys.exit("fleet_cost.py: %s lacks '%s'" % (page, sentence))
    # The steps that this script took from the other one.
    for peak in ("peak 181 calls a second", "peak 4618 calls a second"):
        if peak not in text:
            sys.exit("fleet_cost.py: '%s' is no longer in %s" % (peak, page))


def measure():
    sys.path[:0] = [os.path.join(HERE, "..", "world"), HERE]
    import bench_launch
    import parts
    from world import World
    found = {}
    with World(images=("demo/hello:1",)) as world:
        network = bench_launch.Network(world)
        try:
            for _ in range(6):
                counted = {n: (w.connections, w.up_bytes, w.down_bytes) for n, w in network.watches.items()}
                metadata = len(world.metadata.requests())
                bench_launch.finish(network.start("demo/hello:1", cmd='["exit=0"]'))
                for name, watch in network.watches.items():
                    for what, before, now in zip(("connections", "up_bytes", "down_bytes"), counted[name],
                                                 (watch.connections, watch.up_bytes, watch.down_bytes)):
                        found.setdefault("%s %s" % (name, what), []).append(now - before)
                    found.setdefault(name + " waits", []).append(len(watch.waits))
                found.setdefault("metadata requests", []).append(len(world.metadata.requests()) - metadata)
            found["verifier RSS KiB"] = [parts.peak_memory_mb(world.verifier.process.pid) * 1024]
        finally:
            network.close()
    # The first launch pulls.
    for name, values in found.items():
        print("%-40s first %d, then %d" % (name, values[0], statistics.median(values[1:] or values)))


def main():
    if sys.argv[1:2] == ["--measure"]:
        return measure()
    if sys.argv[1:2] == ["--check"]:
        return check(sys.argv[2])
    return print("\n".join(pages(json.loads(read(sys.argv[1] if len(sys.argv) > 1 else UNITS)))))


if __name__ == "__main__":
    main()
