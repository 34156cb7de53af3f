# SPDX-License-Identifier: Apache-2.0
"""What the launcher is to reach, each with the figure that decides; and where it isn't reached, what was measured
of the reason. A target without a figure was not measured."""
import statistics

from bench_launch import CTR, OURS
from bench_pull import TAR, WIRE_MBIT, row_name
from bench_stats import cell, find, number, percentile

KIB_PER_MIB = 1024


class Results:
    def __init__(self, document):
        self.document = document

    def values(self, section, name, column=OURS):
        row = find(self.document, section, name)
        return row["columns"].get(column, []) if row else []

    def median(self, section, name, column=OURS):
        values = self.values(section, name, column)
        return statistics.median(values) if values else None

    def ratio(self, section, name, other, column=OURS):
        """The median of the rounds' ratios."""
        pairs = list(zip(self.values(section, name, column), self.values(section, name, other)))
        return statistics.median(a / b for a, b in pairs) if pairs else None

    def size_row(self, form, last):
        """The name of a row that has an image's size in it: the smallest's, or the largest's."""
        sizes = self.document["options"]["sizes"]
        return form % sizes[-1 if last else 0]


def stages_in_words(r):
    found = [(r.median("launch", row["name"]), row["name"]) for row in r.document["sections"]["launch"]["rows"]
             if row["name"].startswith("stage ")]
    return "of it by stage, waits included: " + ", ".join("%s %s" % (n.removeprefix("stage "), number(v))
                                                          for v, n in sorted(found, reverse=True)[:6] if v >= 1) + " ms"


def pull(size, layers, packing, limit):
    row = row_name(size, layers, packing)

    def why(r):
        floor, ours, theirs = (r.median("pull", row, c) for c in (TAR, OURS, CTR))
        sync = r.median("pull", "of which the sync: " + row)
        if not floor:
            return ""
        return "%s of ctr's %s: the sync alone takes %s, and `tar -x` of the same plain files, without a download, an " \
            "inflation or a digest, synced too, %s of ctr's time" % (
                cell([ours], "ms"), cell([theirs], "ms"), cell([sync], "ms"), number(floor / theirs))
    return ("pull and unpack to the disk, %s, of `ctr images pull`" % row, limit, "x",
            lambda r: r.ratio("pull", row, CTR), why)


def wire(r):
    for row in r.document["sections"].get("wire", {}).get("rows", []):
        if row["name"].endswith("Mbit/s"):
            return r.ratio("wire", row["name"], "the wire's own time")
    return None


def wire_why(r):
    return "of it the sync at the end: %s; curl alone, throwing away what comes, takes %s" % (
        cell(r.values("wire", "of which the sync"), "ms"),
        cell(r.values("wire", "one blob after the other by curl", "curl"), "ms"))


def pull_memory_difference(r):
    small, large = (r.median("pull-memory", r.size_row("most RSS during the pull, %s in 8 layers", last))
                    for last in (False, True))
    return abs(large - small) / KIB_PER_MIB if small and large else None


def pull_memory(kind):
    def figure(r):
        values = r.values("pull-memory", r.size_row("most " + kind + " during the pull, %s in 8 layers", True))
        return max(values) / KIB_PER_MIB if values else None
    return figure


def pull_memory_why(r):
    name = r.size_row("processes at once, %s in 8 layers", True)
    return "of up to %s processes, each with libraries of its own that RSS counts again; PSS %s, private %s" % (
        number(r.median("pull-memory", name)),
        *(cell(r.values("pull-memory", r.size_row("most " + k + " during the pull, %s in 8 layers", True)), "KiB")
          for k in ("PSS", "private memory")))


def mib(section, name):
    def figure(r):
        value = r.median(section, name)
        return None if value is None else value / KIB_PER_MIB
    return figure


def mapped_why(r):
    rows = [(row["columns"]["bytes"][0], row["name"].removeprefix("mapped: ")) for row in
            r.document["sections"].get("bytes", {}).get("rows", []) if row["name"].startswith("mapped: ")]
    return "%d files are mapped; the largest: %s" % (len(rows), ", ".join(
        "%s %s" % (name, cell([size], "bytes")) for size, name in sorted(rows, reverse=True)[:5]))


def bytes_why(r):
    rows = r.document["sections"].get("bytes", {}).get("rows", [])
    return "of it " + ", ".join("%s %s" % (row["name"].removeprefix("of teelaunchd: "), cell(row["columns"]["bytes"], "bytes"))
                                for row in rows if row["name"].startswith("of teelaunchd: "))


def denial_why(r):
    return "of it waiting for the registry: %s" % cell(r.values("denial", "of that, waiting for the registry"), "ms")


def events_why(r):
    return "%s against %s" % (cell(r.values("events", "60 events into two banks"), "ms"),
                              cell(r.values("events", "60 events into two banks", "bare extends"), "ms"))


def evidence(share):
    def figure(r):
        ours, quotes = (r.values("socket", "evidence over the socket", c) for c in (OURS, "the TPM's own time"))
        return percentile(ours, share) / percentile(quotes, 0.5) if ours else None
    return figure


def evidence_why(r):
    quotes = r.values("socket", "evidence over the socket", "the TPM's own time")
    return "the TPM's own p99 is %s of its p50" % number(percentile(quotes, 0.99) / percentile(quotes, 0.5))


def disk_ratio(r):
    """The fastest of each size: what else the machine does can only add."""
    found = [min(r.values("disk", "disk ready, tags " + tags, "100 GiB")) /
             min(r.values("disk", "disk ready, tags " + tags, "1 GiB"))
             for tags in ("in memory", "on the disk") if r.values("disk", "disk ready, tags " + tags, "1 GiB")]
    return max(found) if found else None


def disk_why(r):
    found = [statistics.median(r.values("disk", "read and written, tags " + tags, "100 GiB")) /
             statistics.median(r.values("disk", "read and written, tags " + tags, "1 GiB"))
             for tags in ("in memory", "on the disk")]
    return "what is read and written is %s of the smaller disk's" % " and ".join(map(number, found))


def nothing(_):
    return ""


# (what, limit, unit, figure, what was measured of the reason); a figure may not be above its limit.
AT_MOST = (
    ("launch overhead over `ctr run` of the same warm image, without the waits for metadata server, registry and verifier",
     60, "ms", lambda r: r.median("launch", "launch overhead over `ctr run`"), stages_in_words),
    pull("200 MB", 8, "gzip", 0.3),
    pull("1 GB", 8, "gzip", 0.3),
    pull("200 MB", 1, "gzip", 0.35),
    pull("1 GB", 1, "gzip", 0.35),
    pull("200 MB", 8, "zstd", 0.5),
    pull("1 GB", 8, "zstd", 0.5),
    ("pull and unpack over a wire of %d Mbit/s, of the wire's own time" % WIRE_MBIT, 1.1, "x", wire, wire_why),
    ("the launcher's memory in a pull: the largest image's peak (RSS) less the smallest's", 2, "MiB", pull_memory_difference,
     pull_memory_why),
    ("the launcher's memory in a pull, most RSS of all its processes together", 32, "MiB", pull_memory("RSS"),
     pull_memory_why),
    ("the launcher's memory in a pull, most PSS of all its processes together", 32, "MiB", pull_memory("PSS"),
     pull_memory_why),
    ("the launcher's memory while the workload runs, RSS", 12, "MiB", mib("memory", "RSS while the workload runs"),
     mapped_why),
    ("the launcher's private memory while the workload runs", 4, "MiB",
     mib("memory", "private memory while the workload runs"), mapped_why),
    ("teelaunchd, stripped", 500, "KiB",
     lambda r: (lambda b: b and b / 1024)(r.median("bytes", "teelaunchd, stripped", "bytes")), bytes_why),
    ("a denial by policy, from the metadata's answer to the report", 50, "ms",
     lambda r: r.median("denial", "metadata's answer to report"), denial_why),
    ("60 events into two banks, of 60 bare extends on the same TPM", 1.5, "x",
     lambda r: r.ratio("events", "60 events into two banks", "bare extends"), events_why),
    ("evidence over the socket, p50, of the TPM's own p50", 1.5, "x", evidence(0.5), evidence_why),
    ("evidence over the socket, p99, of the TPM's own p50", 5, "x", evidence(0.99), evidence_why),
    ("the disk ready, 100 GiB of 1 GiB", 1.2, "x", disk_ratio, disk_why),
    ("the workload's end to the stop that is asked for", 2000, "ms",
     lambda r: max(r.values("end", "workload's end to stop requested"), default=None), nothing),
)
# The same, and a figure may not be below its limit.
AT_LEAST = (
    ("verifications a second and core, P-256 attestation key, ES256, one bank", 1000, "1/s",
     lambda r: r.median("verifier", "P-256 key, ES256, 1 bank", "teeverifierd"), nothing),
    ("verifications a second and core, P-256 attestation key, ES256, three banks", 1000, "1/s",
     lambda r: r.median("verifier", "P-256 key, ES256, 3 banks", "teeverifierd"), nothing),
)


def judge(document):
    """[{what, limit, unit, at_least, figure, met, why}]; figure and met are None where nothing was measured."""
    results, found = Results(document), []
    for at_least, table in ((False, AT_MOST), (True, AT_LEAST)):
        for what, limit, unit, figure, why in table:
            value = figure(results)
            met = None if value is None else value >= limit if at_least else value <= limit
            found.append({"what": what, "limit": limit, "unit": unit, "at_least": at_least, "figure": value, "met": met,
                          "why": why(results) if met is False else ""})
    return found
