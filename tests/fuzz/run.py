#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fuzzes targets, and keeps what is learnt by it.

    run.py fuzz [--plain] [--goal] [--minutes N] [--jobs N] [--seconds-each N] [TARGET...]
        Targets in turns, those with the fewest executions first, at nice 19. New inputs are kept in
        build/fuzz/found/TARGET/. An input that breaks a target is printed and makes this fail: put it
        into tests/fuzz/corpus/TARGET/, then mend the code. Executions are added to executions.json.
        --plain is some ten times as fast: without ASan and UBSan, so that only the targets' own claims,
        signals, timeouts, the stack protector and fortify's checks fail. What it finds new is run with
        the sanitizers by the next turn without it.
        --goal: only targets without 10^8 executions, those that have least to go first, not beyond.
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

# Longest inputs without sanitizers, of those to which a longer one is only slow: each part that is
# wrong becomes a finding with its words.
PLAIN_BYTES_MAX = {"fuzz_attributes": 500, "fuzz_labels": 300, "fuzz_mounts": 160}

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


def executions_of(table, target):
    row = table.get(target, {"executions": 0, "plain": 0})
    return row["executions"] + row["plain"]


def seconds_to_go(table, target):
    """As fast as it was without sanitizers; who wasn't run so comes last."""
    row = table.get(target, {"plain": 0})
    to_go = GOAL - executions_of(table, target)
    return to_go * row["plain_seconds"] / row["plain"] if row["plain"] else float("inf")


def log_executions(text):
    """(executions, seconds) of a log of libFuzzer; (0, 0) of one without its last lines."""
    units = re.search(r"^stat::number_of_executed_units: (\d+)", text, re.M)
    rate = re.search(r"^stat::average_exec_per_sec: +(\d+)", text, re.M)
    count = int(units[1]) if units else 0
    return count, max(1, round(count / max(1, int(rate[1])))) if count else 0


def executions_add(target, text, is_plain=False):
    count, seconds = log_executions(text)
    if not count:
        return 0
    table = executions_read()
    row = table.setdefault(target, {"executions": 0, "seconds": 0, "plain": 0, "plain_seconds": 0})
    row["plain" if is_plain else "executions"] += count
    row["plain_seconds" if is_plain else "seconds"] += seconds
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


def command_of(preset, target, seconds, runs):
    found = os.path.join(WORK, "found", target)
    os.makedirs(found, exist_ok=True)
    command = ["nice", "-n", "19", os.path.join(TOP, "build", preset, "fuzz", target), "-timeout=10",
               "-rss_limit_mb=1024", "-close_fd_mask=1", "-print_final_stats=1",
               "-max_total_time=%d" % seconds, "-runs=%d" % runs,
               "-artifact_prefix=%s/" % os.path.join(WORK, "crashes", target)]
    if preset == "fuzz-plain" and target in PLAIN_BYTES_MAX:
        command.append("-max_len=%d" % PLAIN_BYTES_MAX[target])
    words = os.path.join(HERE, target + ".dict")
    if os.path.exists(words):
        command.append("-dict=" + words)
    return command + [found, os.path.join(CORPUS, target)]


def run_one(preset, target, seconds, runs):
    """(target, whether it held, log)"""
    os.makedirs(os.path.join(WORK, "crashes", target), exist_ok=True)
    log = os.path.join(WORK, "logs", target + ".log")
    with open(log, "wb") as f:
        done = subprocess.run(command_of(preset, target, seconds, runs), stdin=subprocess.DEVNULL, stdout=f,
                              stderr=subprocess.STDOUT, check=False)
    with open(log, encoding="utf-8", errors="replace") as f:
        return target, done.returncode == 0, f.read()


def fuzz_order(args):
    table, targets = executions_read(), targets_chosen(args.targets)
    if not args.goal:
        return sorted(targets, key=lambda t: executions_of(table, t))
    return sorted((t for t in targets if executions_of(table, t) < GOAL),
                  key=lambda t: seconds_to_go(table, t))


def fuzz(args):
    preset = "fuzz-plain" if args.plain else "fuzz"
    build(preset, "fuzzers")
    os.makedirs(os.path.join(WORK, "logs"), exist_ok=True)
    order = fuzz_order(args)
    if not order:
        print("nothing to do")
        return 0
    seconds = args.seconds_each or max(5, args.minutes * 60 * args.jobs // len(order))
    seconds = min(seconds, args.minutes * 60)
    end = time.monotonic() + args.minutes * 60
    broken = []

    def turn(target):
        left = end - time.monotonic()
        if left <= 0 or (broken and args.stop):
            return None
        runs = GOAL - executions_of(executions_read(), target) if args.goal else -1
        return run_one(preset, target, max(1, int(min(seconds, left))), runs)

    print("fuzzing %d targets, %d s each, %d at a time, preset %s" % (
        len(order), seconds, args.jobs, preset), flush=True)
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(turn, t) for t in order]):
            if not done.result():
                continue
            target, is_good, text = done.result()
            count = executions_add(target, text, args.plain)
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
    yield ("| target | aims at | lines | branches | inputs | executions | of them with sanitizers "
           "| a second, without them | 10^8 |")
    yield "|---|---|---|---|---|---|---|---|---|"
    for target in targets_all():
        reached = target_reached(folder, target)
        row = done.get(target, {"executions": 0, "plain": 0, "plain_seconds": 0})
        yield "| `%s` | %s | %s of %d | %s of %d | %d | %s | %s | %s | %s |" % (
            target, ", ".join(AIMS[target]), share(*reached[:2]), reached[1],
            share(*reached[2:]), reached[3], len(os.listdir(os.path.join(CORPUS, target))),
            format(executions_of(done, target), ","), format(row["executions"], ","),
            row["plain_seconds"] and format(row["plain"] // row["plain_seconds"], ",") or "-",
            "reached" if executions_of(done, target) >= GOAL else "no")


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
    p.add_argument("--plain", action="store_true", help="without sanitizers")
    p.add_argument("--goal", action="store_true", help="until 10^8 executions")
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
