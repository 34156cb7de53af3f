#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test_completion.py BUILD PROGRAMS: what bash offers behind each word, against what --help says."""

import os
import re
import subprocess
import sys
import tempfile
import unittest

BUILD, PROGRAMS = (os.path.abspath(a) for a in sys.argv[1:3])
OPTION = re.compile(r"^  (--[a-z][a-z-]*)", re.M)

ASK = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_teelaunch_complete "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


def offered(*words, cwd=None):
    """What bash offers for the last word, sorted. Nothing on standard error, and no failure."""
    completion = os.path.join(BUILD, "completions", os.path.basename(words[0]))
    done = subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", ASK, "bash", completion, *words], cwd=cwd,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
                          check=False)
    if done.returncode:
        raise AssertionError("%s: %s" % (words, done.stdout))
    return sorted(done.stdout.split("\n")[:-1]) if done.stdout.strip() else []


def helped(program, *verb):
    text = subprocess.run([os.path.join(PROGRAMS, program), *verb, "--help"], stdout=subprocess.PIPE,
                          text=True, timeout=60, check=True).stdout
    return sorted(set(OPTION.findall(text)) | {"--help"})


class Completion(unittest.TestCase):
    def test_verbs_are_offered_first(self):
        self.assertEqual(offered("teelaunchd", ""),
                         ["--help", "--version", "disk", "exit", "firewall", "run"])
        self.assertEqual(offered("teelaunch", "ex"), ["explain", "explain-error"])

    def test_every_option_of_every_verb_is_offered_and_no_other(self):
        for program, verbs in (("teelaunchd", ("run", "disk", "firewall", "exit")),
                               ("teelaunch", ("explain", "measure", "verify", "vm"))):
            self.assertEqual([v for v in offered(program, "") if not v.startswith("-")],
                             sorted(verbs + (("explain-error", "timeline") if program == "teelaunch" else ())))
            for verb in verbs:
                with self.subTest(program=program, verb=verb):
                    options = helped(program, verb)
                    self.assertGreater(len(options), 1)
                    self.assertEqual(offered(program, verb, "--"), options)
        self.assertEqual(offered("teeverifierd", "--"), helped("teeverifierd"))

    def test_words_are_offered_where_an_option_takes_one_of_them(self):
        self.assertEqual(offered("teelaunchd", "run", "--disk", ""), ["protected", "unprotected"])
        self.assertEqual(offered("/usr/sbin/teelaunchd", "run", "--root", "any", "--disk", "u"), ["unprotected"])
        self.assertEqual(offered("teelaunchd", "run", "--cloud-logging", ""), ["off"])
        self.assertEqual(offered("teeverifierd", "--log-level", "e"), ["err"])

    def test_nothing_is_offered_where_nothing_is_known(self):
        for words in (("teelaunchd", "run", "--drain-ms", ""), ("teelaunch", "verify", "--nonce", ""),
                      ("teeverifierd", "--issuer", "")):
            self.assertEqual(offered(*words), [])

    def test_behind_an_option_without_a_value_comes_the_next_option(self):
        self.assertIn("--labels", offered("teelaunch", "explain", "--json", "--"))
        self.assertIn("--tls-key", offered("teeverifierd", "--explain", "--"))

    def test_files_folders_and_pairs(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "a dir"))
            for name in ("a file", "b"):
                with open(os.path.join(folder, name), "w", encoding="ascii"):
                    pass
            for words, want in (
                    (("teelaunch", "explain", "--attributes", "a"), ["a dir", "a file"]),
                    (("teelaunchd", "disk", "--mount-point", ""), ["a dir"]),
                    (("teelaunchd", "disk", "--device", "b"), ["b"]),
                    (("teeverifierd", "--ak-roots", ""), []),
                    (("teeverifierd", "--ak-roots", "VTPM", "="), ["a dir", "a file", "b"]),
                    (("teeverifierd", "--ak-roots", "VTPM", "=", "b"), ["b"]),
                    (("teelaunchd", "run", "--registry-roots", "host", "=", "b"), ["b"]),
                    (("teelaunchd", "run", "--tcti", "x", "=", "b"), [])):
                with self.subTest(words=words):
                    self.assertEqual(offered(*words, cwd=folder), want)

    def test_codes_are_offered_to_explain_error(self):
        codes = subprocess.run([os.path.join(PROGRAMS, "teelaunch"), "explain-error"], text=True,
                               stdout=subprocess.PIPE, timeout=60, check=True).stdout
        codes = sorted(line.split()[0] for line in codes.splitlines())
        self.assertGreater(len(codes), 100)
        self.assertEqual(offered("teelaunch", "explain-error", "TL"), codes)
        self.assertEqual(offered("teelaunch", "explain-error", codes[0], codes[1]), [codes[1]])

    def test_words_that_are_no_verb_do_no_harm(self):
        self.assertEqual(offered("teelaunch", "$(touch x)", "--ver"), ["--version"])
        self.assertEqual(offered("teelaunch", "explain", "*", "--sche"), ["--schema"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
