# SPDX-License-Identifier: Apache-2.0
"""Measuring, attesting and verifying: 60 events beside 60 bare extends, evidence and tokens over the socket, and
teeverifierd's verifications a second."""

import os
import subprocess
import tempfile

import parts
import token_bench
import verifier_rate
from bench_launch import OURS, SMALL
from token_bench import bench_program

EVENTS = 60
BANKS = "sha256,sha384"


def events_section(world, rows, options):
    """On the world's kind of TPM with two banks: a swtpm of its own, switched on anew for each round."""
    import world as world_module  # its TPM part; `world` is one world
    tpm = world_module.Tpm(world.path("tpm-two-banks"))
    tpm.start("--banks", BANKS)
    try:
        for number in range(options.requests // 5):
            if number:
                tpm.reset("--banks", BANKS)
            out = parts.run(bench_program(world.programs, "extend_time"), tpm.tcti,
                            tpm.file("binary_bios_measurements"), str(EVENTS), ("bare", "events")[number % 2])
            bare_us, events_us = map(int, out.split())
            rows.add_columns("%d events into two banks" % EVENTS, "ms",
                             {OURS: events_us / 1000, "bare extends": bare_us / 1000})
    finally:
        tpm.stop()


def socket_section(world, rows, options):
    """By the launcher's socket, in turns with a program that asks the TPM for the same quotes."""
    samples, rates = token_bench.measure(world, SMALL, options.requests, options.rate_s)
    for ours, quotes in samples["evidence"]:
        rows.add_columns("evidence over the socket", "ms", {OURS: ours, "the TPM's own time": quotes})
    for whole, verifier, metadata, quotes in samples["token"]:
        rows.add_columns("token over the socket", "ms", {OURS: whole})
        rows.add_columns("of which the verifier", "ms", {OURS: verifier})
        rows.add_columns("of which the metadata server", "ms", {OURS: metadata})
        rows.add_columns("what the launcher adds to a token", "ms", {OURS: whole - verifier - metadata - quotes})
    for name, rate in rates:
        rows.add_columns(name, "1/s", {OURS: rate})


def verifier_section(world, rows, options):
    """Processor time of all checks, claims and signature, over the same evidence; on one core."""
    program = bench_program(world.programs, "verifier_bench")
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        for ak, token, banks, files in verifier_rate.cases(folder):
            for _ in range(5):
                out = subprocess.run([program, *files, str(options.verifications)], check=True, stdout=subprocess.PIPE)
                rows.add_columns("%s key, %s, %d %s" % (ak, token, len(banks), "bank" if len(banks) == 1 else "banks"),
                                 "1/s and core", {"teeverifierd": float(out.stdout)})
