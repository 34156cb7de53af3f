#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes targets, and keeps what is learnt by it.

    run.py fuzz [--minutes N] [--jobs N] [--seconds-each N] [TARGET...]
        Targets in turns, those with the fewest executions first, at nice 19. New inputs are kept in
        build/fuzz/found/TARGET/. An input that breaks a target is printed and makes this fail: put it
        into tests/fuzz/corpus/TARGET/, then mend the code. Executions are added to executions.json.
    run.py add LOG...
        Executions of logs of libFuzzer (-print_final_stats=1), named TARGET.log.
    run.py merge [TARGET...]
        What found/ reaches and the corpus doesn't, into the corpus, as far as there is room for it.
    run.py coverage [--write]
        Lines and branches of the files that each target aims at, as its corpus reaches them (gcov;
        preset coverage), and executions: a table, to docs/ASSURANCE.md with --write.
"""

import argparse
import concurrent.futures
import datetime
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
WORK = os.path.join(TOP, "build", "fuzz")
CORPUS = os.path.join(HERE, "corpus")
EXECUTIONS = os.path.join(HERE, "executions.json")
DOCUMENT = os.path.join(TOP, "docs", "ASSURANCE.md")
BEGIN, END = "<!-- fuzzing: by tests/fuzz/run.py coverage -->", "<!-- end of fuzzing -->"
GOAL = 100_000_000
CORPUS_BYTES_MAX = 200_000  # of one target
INPUT_BYTES_MAX = 32_768    # what is merged; larger ones are put there by hand

# Target -> the files it aims at.
AIMS = {
    "fuzz_attributes": ("policy/launch_spec.c", "policy/spec_keys.c", "policy/values.c"),
    "fuzz_ccel": ("attest/ccel.c",),
    "fuzz_cert": ("attest/cert_aia.c",),
    "fuzz_cmd": ("policy/go_json.c",),
    "fuzz_cmdline": ("src/core/cmdline.c",),
    "fuzz_containerd": tuple("launcher/containerd/%s.c" % n for n in (
        "rpc", "convert", "service", "lease", "image", "snapshot", "diff", "content", "content_write",
        "container", "task", "events")),
    "fuzz_core": ("src/core/encoding.c", "src/core/str.c"),
    "fuzz_cosign": ("launcher/image/signature_manifest.c", "attest/image_signature.c"),
    "fuzz_disk": ("launcher/disk/kernel_log.c", "launcher/disk/record.c"),
    "fuzz_dns": ("src/vm/dns.c",),
    "fuzz_event_log": ("attest/cel_decode.c",),
    "fuzz_firmware_log": ("attest/verifier/firmware_log.c", "attest/verifier/boot_claims.c"),
    "fuzz_gca_reply": ("attest/gca_reply.c",),
    "fuzz_http2": ("launcher/containerd/http2.c",),
    "fuzz_image_config": ("policy/image_config.c",),
    "fuzz_image_ref": ("policy/image_ref.c",),
    "fuzz_image_reference": ("attest/verifier/image_reference.c",),
    "fuzz_inflate": ("launcher/unpack/inflate.c", "launcher/unpack/gzip_header.c"),
    "fuzz_ita_reply": ("attest/ita_request.c",),
    "fuzz_json_lines": ("launcher/workload/json_lines.c",),
    "fuzz_jwks": ("attest/verifier/jwk.c", "attest/verifier/signed_jwt.c"),
    "fuzz_jwt": ("attest/jwt.c",),
    "fuzz_kernel": ("launcher/health/kernel_text.c", "launcher/machine.c", "launcher/disk/dm_table.c",
                    "launcher/firewall_rules.c"),
    "fuzz_labels": ("policy/launch_policy.c",),
    "fuzz_layer": ("launcher/unpack/layer.c", "launcher/unpack/tree.c", "launcher/unpack/tree_path.c",
                   "launcher/unpack/tree_lower.c", "launcher/unpack/path.c"),
    "fuzz_manifest": ("launcher/image/manifest.c", "launcher/image/platform.c"),
    "fuzz_mountinfo": ("launcher/mountinfo.c",),
    "fuzz_mounts": ("policy/mounts.c",),
    "fuzz_qmp": ("src/vm/qmp.c",),
    "fuzz_quote": ("attest/verifier/quote.c",),
    "fuzz_record": ("attest/record_log.c", "attest/verifier/record_check.c"),
    "fuzz_snp": ("attest/verifier/snp_report.c", "attest/verifier/snp_key.c"),
    "fuzz_tar": ("launcher/unpack/tar.c", "launcher/unpack/tar_header.c", "launcher/unpack/pax.c"),
    "fuzz_td_quote": ("attest/verifier/tdx_quote.c", "attest/tdx_quote.c"),
    "fuzz_tdx_tcb": ("attest/verifier/tdx_tcb.c",),
    "fuzz_timeline": ("src/timeline_model.c", "src/timeline_svg.c"),
    "fuzz_token_check": ("attest/verifier/token_check.c", "attest/verifier/signed_jwt.c"),
    "fuzz_token_http": ("attest/token_server.c", "attest/token_api.c"),
    "fuzz_token_request": ("attest/token_request.c",),
    "fuzz_tpm": ("attest/tpm_esys.c", "attest/tpm_link.c"),
    "fuzz_user": ("launcher/workload/user.c",),
    "fuzz_verify_request": ("attest/verifier/request.c", "attest/verifier/fields.c",
                            "attest/verifier/token_options.c"),
    "fuzz_vm_attestation": ("attest/verifier/vm_attestation.c",),
    "fuzz_www_authenticate": ("launcher/image/www_authenticate.c", "launcher/image/url.c",
                              "launcher/image/registry_host.c"),
}


def targets_all():
    return sorted(n[:-2] for n in os.listdir(HERE)
                  if n.startswith("fuzz_") and n.endswith(".c") and not n.endswith("_mutator.c"))


def targets_chosen(names):
    unknown = set(names) - set(targets_all())
    if unknown:
        sys.exit("no such target: %s" % ", ".join(sorted(unknown)))
    return names or targets_all()


def build(preset, goal):
    folder = os.path.join(TOP, "build", preset)
    for command in (["cmake", "--preset", preset], ["cmake", "--build", folder, "--target", goal]):
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
    return folder


# --- executions --------------------------------------------------------------------------------


def executions_read():
    if not os.path.exists(EXECUTIONS):
        return {}
    with open(EXECUTIONS, encoding="utf-8") as f:
        return json.load(f)


def executions_write(table):
    with open(EXECUTIONS + ".tmp", "w", encoding="utf-8") as f:
        json.dump(table, f, indent=1, sort_keys=True)
        f.write("\n")
    os.replace(EXECUTIONS + ".tmp", EXECUTIONS)


def log_executions(text):
    """(executions, seconds) of a log of libFuzzer; (0, 0) of one without its last lines."""
    units = re.search(r"^stat::number_of_executed_units: (\d+)", text, re.M)
    seconds = re.search(r"^Done \d+ runs in (\d+) second", text, re.M)
    return int(units[1]) if units else 0, int(seconds[1]) if seconds else 0


def executions_add(target, text):
    count, seconds = log_executions(text)
    if not count:
        return 0
    table = executions_read()
    row = table.setdefault(target, {"executions": 0, "seconds": 0})
    row["executions"] += count
    row["seconds"] += seconds
    row["date"] = datetime.date.today().isoformat()
    row["commit"] = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=TOP, text=True,
                                   capture_output=True, check=False).stdout.strip()
    executions_write(table)
    return count


def add(args):
    for path in args.logs:
        target = os.path.basename(path)[:-len(".log")]
        if target not in targets_all():
            sys.exit("%s is no target's log" % path)
        with open(path, encoding="utf-8", errors="replace") as f:
            print("%s: %d" % (target, executions_add(target, f.read())))


# --- fuzzing -----------------------------------------------------------------------------------


def command_of(target, seconds):
    found = os.path.join(WORK, "found", target)
    os.makedirs(found, exist_ok=True)
    command = ["nice", "-n", "19", os.path.join(WORK, "fuzz", target), "-timeout=10",
               "-rss_limit_mb=1024", "-close_fd_mask=1", "-print_final_stats=1",
               "-max_total_time=%d" % seconds,
               "-artifact_prefix=%s/" % os.path.join(WORK, "crashes", target)]
    words = os.path.join(HERE, target + ".dict")
    if os.path.exists(words):
        command.append("-dict=" + words)
    return command + [found, os.path.join(CORPUS, target)]


def run_one(target, seconds):
    """(target, whether it held, log)"""
    os.makedirs(os.path.join(WORK, "crashes", target), exist_ok=True)
    log = os.path.join(WORK, "logs", target + ".log")
    with open(log, "wb") as f:
        done = subprocess.run(command_of(target, seconds), stdin=subprocess.DEVNULL, stdout=f,
                              stderr=subprocess.STDOUT, check=False)
    with open(log, encoding="utf-8", errors="replace") as f:
        return target, done.returncode == 0, f.read()


def fuzz(args):
    build("fuzz", "fuzzers")
    os.makedirs(os.path.join(WORK, "logs"), exist_ok=True)
    table = executions_read()
    order = sorted(targets_chosen(args.targets),
                   key=lambda t: table.get(t, {"executions": 0})["executions"])
    seconds = args.seconds_each or max(5, args.minutes * 60 * args.jobs // len(order))
    seconds = min(seconds, args.minutes * 60)
    end = time.monotonic() + args.minutes * 60
    broken = []

    def turn(target):
        if time.monotonic() >= end or (broken and args.stop):
            return None
        return run_one(target, seconds)

    print("fuzzing %d targets, %d s each, %d at a time" % (len(order), seconds, args.jobs))
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for outcome in pool.map(turn, order):
            if not outcome:
                continue
            target, is_good, text = outcome
            count = executions_add(target, text)
            print("%-7s %s: %d executions" % ("ok" if is_good else "FAILED", target, count),
                  flush=True)
            if not is_good:
                broken.append(target)
                print("see %s/crashes/%s/\n%s" % (WORK, target, text[-6000:]), flush=True)
    return 1 if broken else 0


# --- corpora -----------------------------------------------------------------------------------


def folder_bytes(folder):
    return sum(e.stat().st_size for e in os.scandir(folder) if e.is_file())


def merge_one(target):
    """libFuzzer's merge into a copy: what it adds is what reaches something new."""
    corpus, found = os.path.join(CORPUS, target), os.path.join(WORK, "found", target)
    if not os.path.isdir(found):
        return 0
    added = 0
    with tempfile.TemporaryDirectory() as copy:
        for name in os.listdir(corpus):
            shutil.copy(os.path.join(corpus, name), copy)
        before = set(os.listdir(copy))
        subprocess.run(["nice", "-n", "19", os.path.join(WORK, "fuzz", target), "-merge=1",
                        "-timeout=10", "-rss_limit_mb=1024", "-close_fd_mask=3",
                        "-max_len=%d" % INPUT_BYTES_MAX, copy, found],
                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        room = CORPUS_BYTES_MAX - folder_bytes(corpus)
        new = sorted(set(os.listdir(copy)) - before,
                     key=lambda n: (os.path.getsize(os.path.join(copy, n)), n))
        for name in new:
            size = os.path.getsize(os.path.join(copy, name))
            if size > INPUT_BYTES_MAX or size > room:
                break
            shutil.copy(os.path.join(copy, name), corpus)
            room -= size
            added += 1
    return added


def merge(args):
    for target in targets_chosen(args.targets):
        print("%s: %d inputs added, %d bytes" % (target, merge_one(target), folder_bytes(
            os.path.join(CORPUS, target))), flush=True)


# --- coverage ----------------------------------------------------------------------------------


def gcov_files(notes, data):
    """gcov's JSON of one object, from the counters in @data and the notes of the build."""
    with tempfile.TemporaryDirectory() as at:
        stem = os.path.basename(data)[:-len(".gcda")]
        shutil.copy(data, at)
        shutil.copy(notes, at)
        subprocess.run(["gcov", "-b", "-c", "--json-format", stem + ".gcda"], cwd=at, check=True,
                       capture_output=True)
        for name in os.listdir(at):
            if name.endswith(".gcov.json.gz"):
                with gzip.open(os.path.join(at, name), "rt", encoding="utf-8") as f:
                    yield from json.load(f)["files"]


def file_reached(folder, counters, source):
    """[lines reached, lines, branches reached, branches] of one source."""
    stem = os.path.basename(source) + ".gcda"
    for where, _, names in os.walk(counters):
        if stem not in names:
            continue
        data = os.path.join(where, stem)
        notes = os.path.join("/", os.path.relpath(data, counters))[:-len("da")] + "no"
        for f in gcov_files(notes, data):
            path = os.path.normpath(os.path.join(folder, f["file"]))
            if not path.endswith("/" + source):
                continue
            lines = {}
            for line in f["lines"]:
                lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
            branches = [b["count"] for line in f["lines"] for b in line["branches"]]
            return [sum(c > 0 for c in lines.values()), len(lines),
                    sum(c > 0 for c in branches), len(branches)]
    sys.exit("no counters of %s" % source)


def target_reached(folder, target):
    with tempfile.TemporaryDirectory() as counters:
        subprocess.run([os.path.join(folder, "tests", target + "_replay"),
                        os.path.join(CORPUS, target)], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "GCOV_PREFIX": counters})
        rows = [file_reached(folder, counters, source) for source in AIMS[target]]
    return [sum(column) for column in zip(*rows)]


def share(part, whole):
    return "%d %%" % (100 * part // whole) if whole else "-"


def table_rows(folder):
    done = executions_read()
    yield "| target | aims at | lines | branches | inputs | executions | per second | 10^8 |"
    yield "|---|---|---|---|---|---|---|---|"
    for target in targets_all():
        reached = target_reached(folder, target)
        row = done.get(target, {"executions": 0, "seconds": 0})
        yield "| `%s` | %s | %s of %d | %s of %d | %d | %s | %s | %s |" % (
            target, ", ".join(AIMS[target]), share(*reached[:2]), reached[1],
            share(*reached[2:]), reached[3], len(os.listdir(os.path.join(CORPUS, target))),
            format(row["executions"], ","),
            row["seconds"] and format(row["executions"] // row["seconds"], ",") or "-",
            "reached" if row["executions"] >= GOAL else "no")


def coverage(args):
    missing = set(targets_all()) ^ set(AIMS)
    if missing:
        sys.exit("AIMS and the targets differ: %s" % ", ".join(sorted(missing)))
    text = "\n".join(table_rows(build("coverage", "replays")))
    if not args.write:
        print(text)
        return
    with open(DOCUMENT, encoding="utf-8") as f:
        document = f.read()
    head, rest = document.split(BEGIN)
    with open(DOCUMENT, "w", encoding="utf-8") as f:
        f.write(head + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    p = verbs.add_parser("fuzz")
    p.add_argument("--minutes", type=int, default=1)
    p.add_argument("--jobs", type=int, default=2)
    p.add_argument("--seconds-each", type=int, default=0)
    p.add_argument("--stop", action="store_true", help="at the first that breaks")
    p.add_argument("targets", nargs="*")
    p.set_defaults(run=fuzz)
    p = verbs.add_parser("add")
    p.add_argument("logs", nargs="+")
    p.set_defaults(run=add)
    p = verbs.add_parser("merge")
    p.add_argument("targets", nargs="*")
    p.set_defaults(run=merge)
    p = verbs.add_parser("coverage")
    p.add_argument("--write", action="store_true")
    p.set_defaults(run=coverage)
    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
