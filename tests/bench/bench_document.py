# SPDX-License-Identifier: Apache-2.0
"""The results as a document: what stands between two marks of docs/PERFORMANCE.md, two plots and the samples."""
import json
import os
import statistics

import bench_plot
import parts
from bench_stats import cell, find, number

BEGIN = "<!-- what bench.py --document writes begins here -->"
END = "<!-- and ends here -->"
# Section -> (heading, what to know of it).
WORDS = {
    "launch": ("From exec to the workload's first instruction", """The image is there. The workload prints
`CLOCK_MONOTONIC` as the first thing it does. `ctr run` only runs; teelaunchd also reads the metadata, asks the registry for the image, judges the
policy, measures, gets a token. The three servers are reached through stopwatches (`tests/bench/stopwatch.py`): a wait is from the last
bytes of a request to the last of its answer. Of [exec, first instruction] all time that lies in at least one wait is subtracted, once;
what the launcher does meanwhile is so subtracted too. What is left, less `ctr run` of the same round, is the overhead."""),
    "denial": ("A denial by policy", "The report's time is when it can be read from the console."),
    "end": ("The end", """From the end of the workload's first process (a pidfd tells it) to that of the launcher, whose
exit code stops the machine. The last output is read meanwhile: the drain is in it."""),
    "memory": ("Memory while the workload runs", """Two seconds after the workload's start, of all the launcher's processes
(`smaps_rollup`): RSS counts a page for each that maps it, PSS by shares; private is what no other process maps."""),
    "bytes": ("Bytes", "Programs without symbols, and what a launched teelaunchd has mapped (`/proc/PID/maps`)."),
    "events": ("Measuring", """60 events of a launch log into PCR 13, beside 60 `TPM2_PCR_Extend` into PCR 14 of the same swtpm, both
over the same library; each round on a TPM that was just switched on, the order changes from round to round."""),
    "socket": ("The token socket", """Another program, which does nothing else, has the TPM make the same quotes, one for each of three
banks, in turns. The verifier and the metadata server are reached through stopwatches. swtpm's quotes take about a millisecond; those of a
real TPM some hundred times that, so the ratio is better there."""),
    "verifier": ("teeverifierd", """Processor time of reading a request, all checks, claims and signature, again and again over the same
evidence; TLS, HTTP and the network are not in it, and firmware logs of real machines are larger. Nothing is cached between verifications
but what the files at the start said."""),
    "pull": ("Pull and unpack", """Files of this machine's /usr (`tests/bench/bench_images.py`), from a registry on loopback with TLS. The
sizes are those of the layers as gzip; the same files are in each packing. Both sides count from exec until syncfs(2) has returned;
teelaunchd's time so includes metadata, resolving and policy. Before each the image is removed with all its content. `skopeo copy` is
the download alone, to files; `tar -x` writes the same plain files, with no download, inflation or digest, by as many processes as
there are processors (one for one layer): what the file system takes. `--unpack containerd` is teelaunchd without its own unpacking."""),
    "pull-memory": ("Memory during a pull", """All the launcher's processes together; RSS is looked at every 2 ms, PSS and private
memory every 20 ms. Measured in runs of their own."""),
    "wire": ("Over a slow wire", """A network of its own, whose loopback lets 400 Mbit/s through (tbf). The wire's own time is the
layers' bits by that rate. As above until the data is on the disk."""),
    "disk": ("The protected disk's set-up", "teelaunchd's own time, from the opened device to the mounted, sealed disk, in one machine."),
    "boot": ("From power-on to power-off", """The VM image under UEFI firmware with the demo's workload, by what its console says. Where
there is no KVM every instruction is emulated, some ten to fifty times slower than a processor: what can be compared are the shares."""),
}


def row_in_words(row):
    return row["name"] + ": " + "  ".join("%s %s" % (c, cell(v, row["unit"])) for c, v in row["columns"].items())


def paragraph(text):
    return " ".join(text.split())


def machine_in_words(document):
    m = document["machine"]
    packages = ", ".join("%s %s" % (n, v) for n, v in m["packages"].items() if v != "absent")
    loads = [load for s in document["sections"].values() for load in s["load"]]
    others = [busy for s in document["sections"].values() for _, busy, _ in s.get("others", [])]
    text = "%s, Linux %s, %d processors (%s; %s), %.0f GB, %s, %s MB/s to the disk when the run began, KVM: %s. %s." % (
        m["system"], m["kernel"], m["processors"], m["processor"], " ".join(m["processor_flags"]), m["memory_mb"] / 1000,
        m["file_system"], number(m["disk_mb_s"]), "yes" if m["kvm"] else "no", packages)
    text += " Load (1 min) %s to %s." % (number(min(loads)), number(max(loads)))
    if others:
        text += " Others' processes took %s of a processor in the median, %s at most (looked at every 2 s)." % (
            number(statistics.median(others)), number(max(others)))
    return text


def targets_table(document):
    lines = ["| target | at most | figure | met |", "|---|---|---|---|"]
    for t in document["targets"]:
        unit = " " + t["unit"] if t["unit"] != "x" else ""
        limit = "%s%s%s" % ("at least " if t["at_least"] else "", number(t["limit"]), unit)
        figure = "not measured" if t["figure"] is None else number(t["figure"]) + unit
        met = {None: "-", True: "yes", False: "**no**" + (": " + t["why"] if t["why"] else "")}[t["met"]]
        lines.append("| %s | %s | %s | %s |" % (t["what"], limit, figure, met))
    return lines


def section_table(rows):
    columns = list(dict.fromkeys(c for row in rows for c in row["columns"]))
    ratios = any(row["ratios"] for row in rows)
    lines = ["| median (least to most) | %s |%s" % (" | ".join(columns), " first by the others |" if ratios else ""),
             "|---|%s%s" % ("---|" * len(columns), "---|" if ratios else "")]
    for row in rows:
        cells = [cell(row["columns"].get(c, []), row["unit"]) for c in columns]
        line = "| %s | %s |" % (row["name"], " | ".join(cells))
        if ratios:
            line += " %s |" % ", ".join(
                number(s["median"]) + (" (%s to %s)" % (number(s["least"]), number(s["most"])) if s["n"] > 1 else "")
                for s in row["ratios"].values())
        lines.append(line)
    return lines


def section_text(name, section):
    heading, words = WORDS[name]
    rounds = max((len(v) for row in section["rows"] for v in row["columns"].values()), default=0)
    lines = ["", "### %s" % heading, "", paragraph(words) + " Up to %d rounds%s." % (
        rounds, "" if name != "boot" else ", accelerator %s" % section.get("accelerator", "?")), ""]
    if section.get("failed"):
        lines += ["This section failed: %s" % section["failed"], ""]
    if section.get("not measured, time was up"):
        lines += ["Not measured, as the time for it was up: %s." % "; ".join(section["not measured, time was up"]), ""]
    mapped = [row for row in section["rows"] if row["name"].startswith("mapped: ")]
    rest = [row for row in section["rows"] if row not in mapped]
    lines += section_table(rest) if rest else []
    if mapped:
        lines += ["", "Mapped beside the program: " + ", ".join(
            "%s %s" % (row["name"].removeprefix("mapped: "), cell(row["columns"]["bytes"], "bytes")) for row in mapped) + "."]
    return lines


def generated(document):
    lines = [BEGIN, "", "Measured %s at commit %s%s, %.0f s in all, by:" % (
        document["begun"][:10], "/".join(sorted({s["commit"] for s in document["sections"].values()})),
        " (--quick: these figures say nothing)" if document["options"]["quick"] else "", document.get("took_s", 0)),
        "", "    %s" % document["command"].strip(), "    tests/bench/bench.py --document", "",
        "Machine: " + machine_in_words(document), "",
        "What is compared ran in turns, and a ratio is the median of the rounds' ratios. Every sample is in [performance.json](performance.json).",
        "", "## Targets", "", "![Each figure as a share of its limit](performance-targets.svg)", "", *targets_table(document),
        "", "## Figures"]
    if find(document, "pull", "200 MB, 8 layers, gzip"):
        lines += ["", "![Pull and unpack, beside ctr](performance-pulls.svg)"]
    for name in WORDS:
        if name in document["sections"]:
            lines += section_text(name, document["sections"][name])
    return "\n".join([*lines, "", END])


def targets_plot(document):
    rows = []
    for t in document["targets"]:
        if t["figure"] is None:
            continue
        share = (t["limit"] / t["figure"] if t["at_least"] else t["figure"] / t["limit"]) if t["figure"] else 0
        label = t["what"] if len(t["what"]) <= 82 else t["what"][:80] + "…"
        rows.append((label, share, "%s %s" % (number(t["figure"]), t["unit"])))
    return bench_plot.against_limits("Each figure as a share of its limit", "The dashed line is the limit; bars are cut at twice it.",
                                     rows)


def pulls_plot(document):
    groups, names = [], []
    for row in document["sections"].get("pull", {}).get("rows", []):
        if row["unit"] != "ms" or row["name"].startswith("of which"):
            continue
        names += [c for c in row["columns"] if c not in names]
        groups.append((row["name"], {c: (statistics.median(v), min(v), max(v)) for c, v in row["columns"].items() if v},
                       lambda ms: cell([ms], "ms")))
    return bench_plot.bars("Pull and unpack, until the data is on the disk", "Bars are medians, the line across goes from the "
                           "fastest to the slowest. Each group has its own scale.", groups, names) if groups else None


def samples_text(document):
    """One line for each section: a diff shows which was measured again."""
    head = {k: v for k, v in document.items() if k != "sections"}
    sections = ",\n".join("%s: %s" % (json.dumps(n), json.dumps(s)) for n, s in document["sections"].items())
    return "%s,\n\"sections\": {\n%s\n}}\n" % (json.dumps(head, indent=1).rstrip().removesuffix("}").rstrip(), sections)


def write(document, folder):
    path = os.path.join(folder, "PERFORMANCE.md")
    text = parts.read(path)
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise parts.Failure("'%s' lacks the two marks" % path)
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    parts.replace(path, before + generated(document) + after)
    parts.replace(os.path.join(folder, "performance.json"), samples_text(document))
    parts.replace(os.path.join(folder, "performance-targets.svg"), targets_plot(document))
    plot = pulls_plot(document)
    if plot:
        parts.replace(os.path.join(folder, "performance-pulls.svg"), plot)
