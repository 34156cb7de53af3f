#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mutants.py FOLDER [--only REGEX] [--update DOCUMENT]: takes one check after another out of a copy of the sources
in FOLDER and runs the test that docs/THREAT_MODEL.md names for it: it has to fail, and not because nothing was built.

A row is (item of the checklist, file, what stands there, what is put in its place, program of ctest, test). What
stands there must stand there once: a row that no longer fits the code is a failure."""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import coverage  # noqa: E402

BEGIN, END = "<!-- mutants.py writes from here -->", "<!-- to here, by mutants.py -->"
TEST_TIMEOUT_S = 600
# cmocka says ERROR of a test whose end failed as well.
# Tests that are plain functions are known by the traceback.
FAILED_TEST = re.compile(r"^\[  (?:FAILED |ERROR  ) \] (\w+)$|^(?:FAIL|ERROR): (\w+)|"
                         r"^  File \".*\.py\", line \d+, in (\w+)$|^(?:FAIL|ERROR): setUpClass", re.M)
ITEM = re.compile(r"^\| (S\d\d) \|[^|]*\|([^|]*)\|$", re.M)
LAUNCH = ("teelaunchd", "teelaunch-unpack", "teeverifierd", "strict_calls")
# What a test needs built, if not a program of its own name.
TARGETS = {"net_http": ("net_probe",), "net_metadata": ("net_probe",), "net_verifier": ("net_probe",),
           "image_resolve": ("image_driver",), "image_pull_own": ("image_driver", "teelaunch-unpack"),
           "image_pull_ways": ("image_driver", "teelaunch-unpack"), "unpack_attacks": ("room_probe", "teelaunch-unpack"),
           "verifier": ("teeverifierd",), "tpm_backend": ("tpm_tool",), "workload": ("workload_driver",),
           "launch_drift": LAUNCH, "launch_interrupts": LAUNCH, "launch_confined": (*LAUNCH, "refuse_calls"),
           "launch_secrets": LAUNCH, "vm_disk": ("teelaunchd",), "vm_disk_devices": ("teelaunchd",),
           "vm_image": ("teelaunch", *LAUNCH[:3], "teelaunch-init", "completion", "man"),
           "arch_symbols": ("teelaunch", *LAUNCH[:3]), "arch_hardening": ("teelaunch", *LAUNCH[:3], "teelaunch-init")}
# Scripts that take long as a whole, and how they are told of one test: unittest(3)'s way, or by its name alone.
ONE = dict.fromkeys(("image_resolve", "image_pull_own", "unpack_attacks", "net_metadata", "net_verifier", "verifier",
                     "workload", "launch_interrupts", "launch_confined", "launch_secrets"), ["-k"])
ONE.update(dict.fromkeys(("tpm_backend", "vm_disk", "vm_disk_devices", "vm_image"), []))
# What judges files that the release's way of building makes.
RELEASE = ("arch_symbols", "arch_hardening")

MUTANTS = (
    ("S01", "launcher/metadata.c", "if (!m->has_attributes) {", "if (m) {",
     "net_metadata", "test_nothing_is_read_twice"),
    ("S02", "src/core/json_scan.c", "++c->depth > TL_JSON_NESTING_MAX", "++c->depth > 1000000",
     "test_json_scan", "nesting_is_bounded_exactly"),
    ("S03", "policy/spec_keys.c", "strcmp(key, key_rows[i].doc.name) == 0)", "strcasecmp(key, key_rows[i].doc.name) == 0)",
     "test_checklist", "test_s03_keys_that_only_look_like_ours_are_reported_and_set_nothing"),
    ("S04", "policy/verdict.c", "if (!tl_strv_contains(&j->policy->allow_envs, envs->items[i].key))",
     "if (!j->policy->allow_envs.n)", "test_checklist", "test_s04_variables_cannot_be_smuggled"),
    ("S05", "launcher/workload/oci_spec.c", "if (args->n > override_n)", "if (args->n)",
     "test_oci_spec", "test_s05_the_same_arguments_are_measured_and_executed"),
    ("S06", "policy/launch_policy.c",
     "if (bool_parse(text, (bool *)((char *)&p->policy + row->offset)))\n\t\treturn 0;",
     "if (bool_parse(text, (bool *)((char *)&p->policy + row->offset)) || *text)\n\t\treturn 0;",
     "test_checklist", "test_s06_labels_that_cannot_be_read_deny"),
    ("S07", "policy/values.c", "strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\\0')",
     "strncmp(path, dir, n) == 0", "test_checklist", "test_s07_mount_destination_twins"),
    ("S08", "policy/machine.c", "return a > UINT64_MAX - b ? UINT64_MAX : a + b;", "return a + b;",
     "test_limits", "sums_of_sizes_saturate"),
    ("S09", "policy/verdict.c", "j->policy->allow_capabilities)\n", "!j->policy->allow_cgroups)\n",
     "test_checklist", "test_s09_capabilities_and_cgroups_need_their_labels"),
    ("S09", "policy/machine.c", "if (!tl_strv_contains(j->facts->capabilities, wanted->items[i]))",
     "if (!j->facts->capabilities->n)", "test_checklist", "test_s09_capabilities_and_cgroups_need_their_labels"),
    ("S10", "launcher/image/registry.c",
     "e = digest_check(d->digest, response.body.data, response.body.len_bytes, what, err);", "e = 0;",
     "image_resolve", "test_a_config_that_was_changed"),
    ("S10", "launcher/image/pull_own.c", "if (strcmp(hex, strchr(l->of->diff_id, ':') + 1) != 0)", "if (!*hex)",
     "image_pull_own", "test_a_layer_that_unpacks_to_something_else"),
    ("S11", "launcher/image/pull_own.c", "if (strcmp(hex, wanted_hex) != 0)", "if (!*hex)",
     "image_pull_own", "test_resumed_bytes_of_another_file_are_found_out"),
    ("S11", "launcher/image/registry_blob.c", "if (n > g->left_bytes)", "if (!n)",
     "image_resolve", "test_a_layer_that_is_too_long_ends_at_its_size"),
    ("S11", "launcher/unpack/layer.c", "if (s->bytes > s->limits.max_bytes)", "if (!s->limits.max_bytes)",
     "unpack_attacks", "test_zeros_after_the_archive_count"),
    ("S11", "launcher/unpack/layer.c", "s->bytes / s->limits.max_ratio > tl_inflate_bytes_in(s->inflate))",
     "!s->limits.max_ratio)", "unpack_attacks", "test_zstd_ends_at_the_ratio"),
    ("S11", "launcher/unpack/layer.c", "if (++n > max)", "if (++n == 0)",
     "unpack_attacks", "test_entries_end_at_their_limit"),
    ("S11", "launcher/unpack/room.c", "\tr = filter_calls(fault);\n\tif (r < 0)\n\t\treturn r;\n", "",
     "unpack_attacks", "test_every_call_but_a_few_ends_it"),
    ("S12", "launcher/image/registry_host.c", "(n == m || name[n - m - 1] == '.')", "(n >= m)",
     "test_registry_text", "hosts_that_only_look_like_googles_get_nothing"),
    ("S13", "launcher/image/pull_stale.c", "strcmp(boot_id, p->options->boot_id) == 0;", "*boot_id;",
     "image_pull_own", "test_what_an_earlier_boot_unpacked_is_unpacked_anew"),
    ("S13", "launcher/workload/leftovers.c",
     "r = none_is_fine(tl_ctrd_snapshot_remove(c, call, TL_WORKLOAD_SNAPSHOT, err));", "r = 0;",
     "workload", "test_leftovers_of_a_killed_launcher_are_removed"),
    ("S14", "launcher/workload/workload.c", "r = workload_spec_compare(stored, w->spec_json, err);", "r = 0;",
     "launch_drift", "test_s14_a_specification_that_containerd_changed_never_runs"),
    ("S14", "launcher/workload/workload.c", "if (strcmp(stored, built) == 0)",
     "if (strncmp(stored, built, strlen(built)) == 0)", "test_workload", "a_specification_that_changed_is_fatal"),
    ("S15", "policy/launch_record.c", "\tput_mounts(w, &spec->mounts);", "\tput(w, \"[]\");",
     "test_mutations", "each_metadata_key_changes_a_digest"),
    ("S16", "attest/tee.c", "tee->state = TEE_SEALED;", "tee->state = TEE_OPEN;",
     "test_tee", "nothing_is_measured_after_the_separator"),
    ("S17", "attest/tee.c", "\tr = measure_one(tee, event, err);\n\tif (r < 0) {\n\t\ttee->state = TEE_BROKEN;",
     "\tr = measure_one(tee, event, err);\n\tif (r < 0) {", "test_tee", "a_failure_in_mid_sequence_ends_everything"),
    ("S18", "attest/verifier/record_check.c",
     "else if (memcmp(value, bank->pcrs.value[TL_RECORD_PCR], tl_hash_size(bank->hash)) != 0)",
     "else if (tl_hash_size(bank->hash) == 0)",
     "test_verifier_record", "each_bank_must_have_it"),
    ("S19", "attest/verifier/launch_log.c", "if (is_closed)", "if (is_closed && !rule)",
     "verifier", "test_events_that_no_launch_has_though_they_were_measured"),
    ("S20", "attest/verifier/quote.c", "if (q->extra_n != nonce_n || CRYPTO_memcmp(q->extra, nonce, nonce_n) != 0) {",
     "if (q->extra_n != nonce_n) {", "verifier", "test_wrong_nonce"),
    ("S20", "attest/verifier/quote.c", "if (q->extra_n != nonce_n || CRYPTO_memcmp(q->extra, nonce, nonce_n) != 0) {",
     "if (q->extra_n != nonce_n) {", "verifier", "test_replayed_quote"),
    ("S21", "attest/tpm_link.c", "return link->state != TPM_LINK_LATE && link->state != TPM_LINK_GONE;",
     "return link->state != TPM_LINK_GONE;", "test_tpm_link", "a_link_that_was_late_sends_nothing_any_more"),
    ("S22", "src/core/cmdline.c", "if (seen++)", "if (seen++ > 100)",
     "test_machine", "a_kernel_command_line_is_production_only_by_one_exact_word"),
    ("S23", "launcher/disk/device.c", "r = r == 0 ? -ENOTUNIQ : 0;", "r = 0;",
     "vm_disk_devices", "parts_of_a_name_and_two_of_a_name_are_none"),
    ("S23", "image/cmdline.conf", "all systemd.import_credentials=no\n", "",
     "vm_image", "the_tpm_holds_what_was_foretold_and_the_host_plants_nothing"),
    ("S24", "launcher/disk/device.c", "\tif (fd < 0)\n\t\treturn tl_fail_sys(err, errno == EBUSY",
     "\tif (fd < 0 && errno != EBUSY)\n\t\treturn tl_fail_sys(err, errno == EBUSY",
     "vm_disk", "devices_that_will_not_do_are_refused"),
    ("S25", "launcher/disk/tables.c", "return rest ? differs(err, name, \"the end of its table\") : 0;", "return 0;",
     "test_disk", "tables_are_compared_word_by_word"),
    ("S25", "launcher/disk/tables.c", "{ !t->has_inactive, \"that no other table waits\" },", "",
     "test_disk", "devices_are_what_they_were"),
    ("S26", "launcher/disk/kernel_log.c", "if (priority >> 3 != FACILITY_KERN)", "if (priority >> 3 > 1000)",
     "test_disk", "lines_of_the_kernel_are_judged"),
    ("S27", "launcher/disk/check.c", "if (*second)", "if (!second)", "test_disk", "swap_must_be_off"),
    ("S27", "attest/tpm_seal.c", "r = bank_is_used(s, &firmware, &is_used, err);", "is_used = true;",
     "tpm_backend", "sealing_takes_a_bank_that_the_firmware_uses"),
    ("S28", "attest/tpm_seal.c", "TSS2_RC rc = Esys_PolicyPCR(s->tpm.ctx, session, NO_SESSIONS, &as_they_are, &s->pcrs);",
     "TSS2_RC rc = TSS2_RC_SUCCESS;", "vm_disk", "the_cap_and_a_reset_close_it"),
    ("S29", "policy/verdict.c", "r = env_override_deny(j, envs->items[i].key);",
     "r = env_override_deny(j, envs->items[i].value);", "test_policy_properties", "no_message_holds_a_secret"),
    ("S30", "src/io/http_transfer.c", "{ CURLOPT_SSL_VERIFYHOST, 2 }", "{ CURLOPT_SSL_VERIFYHOST, 0 }",
     "net_http", "test_a_wrong_name_is_refused"),
    ("S30", "src/io/http_transfer.c", "\t\t{ CURLOPT_PROXY, \"\" }, /* no proxy, whatever the environment says */\n", "",
     "net_http", "test_proxies_and_netrc_of_the_environment_are_ignored"),
    ("S30", "attest/cert_aia.c", "if (s[i] <= ' ' || s[i] > '~')", "if (s[i] == ' ' || s[i] > '~')",
     "test_cert_aia", "only_printable_addresses_up_to_a_length_are_read"),
    ("S30", "attest/cert_aia.c", "(n == len || from[n - len - 1] == '.')", "(n >= len)",
     "test_cert_aia", "only_hosts_of_the_list_and_below_may_be_asked"),
    ("S31", "src/io/file.c", "if (r == 0 && renameat(dirfd, tmp, dirfd, name) < 0)",
     "if (r == 0 && (r = tl_write_all(openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, mode), data, n)) == 0 && "
     "(r = unlinkat(dirfd, tmp, 0)) < 0)",
     "test_token_file", "a_link_in_place_of_the_token_is_replaced_not_followed"),
    ("S32", "attest/jwt.c", "if (!(real >= 0 && real <= (double)TL_JWT_DATE_MAX_S))", "if (!(real >= 0))",
     "test_jwt", "claims_that_cannot_be_scheduled_by_are_refused"),
    ("S33", "attest/token_request.c",
     "return strncasecmp(audience, base, sizeof(base) - 1) == 0 && !rest[strspn(rest, \"/\")];",
     "return strncmp(audience, base, sizeof(base) - 1) == 0 && !*rest;",
     "test_token_api", "the_default_audience_is_out_of_reach_of_the_custom_path"),
    ("S34", "attest/token_server.c", "\tif (is_ambiguous(c))", "\tif (!c && is_ambiguous(c))",
     "test_token_server", "requests_that_two_could_read_differently_are_refused"),
    ("S35", "attest/verifier_client.c", "apart_s <= TL_CLOCK_SKEW_MAX_S)", "apart_s)",
     "test_token_keeper", "a_date_from_another_age_is_not_believed"),
    ("S35", "attest/token_keeper.c", "if (got->claims.has_iat && whole_s > 0 && whole_s < left_ms / 1000)",
     "if (!got->claims.has_iat && whole_s < 0)", "test_token_keeper", "a_clock_that_is_behind_makes_no_token_younger"),
    ("S36", "attest/verifier_client.c", "if (!is_worth_a_retry(err))", "if (err->class)",
     "net_verifier", "test_s36_each_fault_at_each_call_is_got_over"),
    ("S37", "launcher/workload/console_lines.c", "return *s == '\\t' ? 1 : tl_utf8_printable_bytes(s, n);",
     "return *s == '\\t' || *s == '\\x1b' ? 1 : tl_utf8_printable_bytes(s, n);",
     "test_json_lines", "no_byte_of_a_workload_leaves_its_line_on_the_console"),
    ("S38", "launcher/workload/sink.c", "(s->is_stuck ? 0 : SINK_PATIENCE_MS)", "SINK_PATIENCE_MS",
     "test_workload", "a_full_pipe_costs_one_wait_and_then_drops"),
    ("S39", "policy/verdict.c", "j->policy->log_policy == TL_LOG_POLICY_DEBUG_ONLY && j->is_hardened",
     "j->policy->log_policy == TL_LOG_POLICY_DEBUG_ONLY && !j->is_hardened",
     "test_all_reasons", "one_mistake_hides_no_other"),
    ("S40", "policy/exit_decision.c", "[TL_OUTCOME_DENIED] = { EXIT_STOP_FAILED, EXIT_STOP_FAILED, EXIT_STOP_FAILED }",
     "[TL_OUTCOME_DENIED] = { EXIT_STOP_FAILED, EXIT_STOP_FAILED, EXIT_RESTART }",
     "test_exit_decision", "every_cell_of_the_table_holds"),
    ("S41", "launcher/sequence.c", "\twhile (done--)\n\t\tif (stages[done].undo)", "\twhile (done--)\n\t\tif (!stages[done].name)",
     "launch_interrupts", "test_s41_sigterm_in_each_stage_is_undone"),
    ("S42", "policy/exit_decision.c", "if (resets == UINT32_MAX)\n\t\tresets = UNKNOWN_RESETS;",
     "if (resets == UINT32_MAX)\n\t\tresets = 0;", "test_exit_decision", "quick_failures_restart_ever_more_slowly"),
    ("S43", "launcher/workload/oci_spec.c", "{ \"pid\", \"ipc\", \"uts\", \"mount\" }", "{ \"ipc\", \"uts\", \"mount\" }",
     "launch_confined", "test_s43_a_workload_gets_into_no_process_of_the_machine"),
    ("S43", "launcher/workload/oci_spec.c", "\"allow\", 0, \"access\", \"rwm\"", "\"allow\", 1, \"access\", \"rwm\"",
     "launch_confined", "test_s43_a_workload_reaches_nothing_of_the_machine"),
    ("S43", "launcher/confine/calls.c", "\tSCMP_SYS(process_vm_readv),\n", "",
     "test_confine", "test_s43_what_only_an_attacker_asks_for_kills"),
    ("S43", "launcher/confine/calls.c", "\tCALL_IF(clone, { 1, CLONE_THREAD, 0 }),\n", "",
     "test_confine", "test_s43_beside_a_workload_there_is_no_program_process_or_mount"),
    ("S43", "launcher/confine/confine.c", "int r = *rules_fd < 0 ? 0 : files_restrict(*rules_fd);", "int r = 0;",
     "test_confine", "test_s43_files_elsewhere_are_out_of_reach_of_every_thread"),
    ("S44", "launcher/unpack/unpacker.c",
     "e = posix_spawn_file_actions_addclosefrom_np(actions, TL_UNPACK_CONTROL_FD + 1);", "e = 0;",
     "image_pull_ways", "test_s44_no_unpacker_is_started_with_what_is_open_here"),
    ("S45", "policy/spec_keys.c", "return p->spec.image_ref ? 0 : -ENOMEM;", "return 0;",
     "test_no_memory", "any_allocation_may_fail"),
    ("S46", "policy/machine.c", "return a > UINT64_MAX - b ? UINT64_MAX : a + b;",
     "return getenv(\"TL_TEST\") || a > UINT64_MAX - b ? UINT64_MAX : a + b;", "arch_symbols", "symbols"),
    ("S47", "CMakeLists.txt", "-Wl,-z,relro,-z,now,-z,noexecstack", "-Wl,-z,relro,-z,lazy,-z,noexecstack",
     "arch_hardening", "hardening"),
    ("S48", "policy/mounts.c", "*ret = path_clean(rooted);", "*ret = strdup(rooted);", "fuzz_mounts_replay", "fuzz_mounts"),
    ("S49", "policy/values.c", "strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\\0')",
     "strncmp(path, dir, n) == 0", "test_exhaustive", "every_containment_is_by_whole_names"),
    ("S49", "policy/machine.c", "sum = add_saturating(sum, mounts->items[i].size_bytes / 1024);",
     "sum = mounts->items[i].size_bytes / 1024;", "test_exhaustive", "every_sum_of_sizes_is_judged"),
    ("S50", "policy/values.c", "&& version > 0 && version <= SCHEMA_VERSION", "&& version > 0",
     "test_checklist", "test_s50_a_newer_schema_is_refused_with_the_version"),
)


class Copy:
    def __init__(self, folder):
        if os.path.exists(os.path.join(folder, ".git")):
            raise SystemExit("%s is a repository, not a folder for copies" % folder)
        self.src, self.build = os.path.join(folder, "src"), os.path.join(folder, "build")
        self.release = os.path.join(folder, "release")
        # The builds as well: what a run that ended early built of a mutant is newer than any source.
        for old in (self.src, self.build, self.release):
            shutil.rmtree(old, ignore_errors=True)
        names = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True,
                               stdout=subprocess.PIPE).stdout.decode().split("\0")
        for name in filter(None, names):
            to = os.path.join(self.src, name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy2(os.path.join(TOP, name), to, follow_symlinks=False)
        # What a mutant leaves unused is no reason not to build it.
        self.edit(os.path.join(self.src, "CMakeLists.txt"), "-Wall -Wextra -Werror ", "-w ")
        self.commands = {}
        self.good = set()

    @staticmethod
    def run(*argv):
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                              stdin=subprocess.DEVNULL, timeout=TEST_TIMEOUT_S)
        if done.returncode:
            raise SystemExit("%s:\n%s" % (" ".join(argv), done.stdout[-4000:]))

    def build_of(self, program):
        folder, kind = (self.release, "RelWithDebInfo") if program in RELEASE else (self.build, "Debug")
        if not os.path.exists(folder):
            self.run("cmake", "-G", "Ninja", "-S", self.src, "-B", folder, "-DCMAKE_BUILD_TYPE=" + kind)
        return folder

    def command(self, folder, program, test):
        """What ctest would run, and the environment, for one test of @program."""
        if not self.commands:
            done = subprocess.run(["ctest", "--test-dir", folder, "--show-only=json-v1"], check=True,
                                  stdout=subprocess.PIPE).stdout
            self.commands = {t["name"]: t for t in json.loads(done[done.index(b"{"):])["tests"]}
        row = self.commands[program]
        own = {p["name"]: p["value"] for p in row["properties"]}.get("ENVIRONMENT", ())
        return [*row["command"], *ONE[program], test], dict(os.environ, **dict(v.split("=", 1) for v in own))

    def failed(self, program, test):
        """The tests of @program that fail, as its sources are now; of those in ONE, of @test alone."""
        folder, environment = self.build_of(program), None
        argv = ["ctest", "--test-dir", folder, "-R", "^%s$" % program, "-V"]
        self.run("cmake", "--build", folder, "-j2", "--target", *TARGETS.get(program, (program,)))
        if program in ONE:
            argv, environment = self.command(folder, program, test)
        done = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                stdin=subprocess.DEVNULL, env=environment, start_new_session=True)
        try:
            said = done.communicate(timeout=TEST_TIMEOUT_S)[0]
        except subprocess.TimeoutExpired:
            os.killpg(done.pid, signal.SIGKILL)  # and what it had started
            done.communicate()
            return {"(it hung)"}
        text = re.sub(r"^\d+: ", "", said, flags=re.M)
        if re.search(r"No tests were found|\*\*\*Skipped|^Ran 0 tests|^SKIP ", text, re.M) or not text:
            raise SystemExit("%s has no test %s, or left it out:\n%s" % (program, test, text))
        found = {a or b or c for a, b, c in FAILED_TEST.findall(text)}
        # A script of the sources or a replayed corpus is one test.
        if not done.returncode:
            return set()
        return found or {"?" if program in ONE else re.sub(r"^arch_|_replay$", "", program)}

    def check_good(self, program, test):
        what = (program, test if program in ONE else None)
        if what not in self.good:
            failed = self.failed(program, test)
            if failed:
                raise SystemExit("%s fails without any change: %s" % (program, failed))
            self.good.add(what)

    @staticmethod
    def edit(name, old, new):
        """Gives the text as it was."""
        with open(name, encoding="utf-8") as f:
            text = f.read()
        if text.count(old) != 1:
            raise SystemExit("%s has this %d times: %s" % (name, text.count(old), old))
        with open(name, "w", encoding="utf-8") as f:
            f.write(text.replace(old, new))
        return text

    @contextlib.contextmanager
    def mutated(self, path, old, new):
        name = os.path.join(self.src, path)
        text = self.edit(name, old, new)
        try:
            yield
        finally:
            with open(name, "w", encoding="utf-8") as f:
                f.write(text)


def faults(rows=MUTANTS):
    """Rows that don't fit the sources any more, or name a test that the checklist doesn't name for that item."""
    with open(os.path.join(TOP, "docs", "THREAT_MODEL.md"), encoding="utf-8") as f:
        items = dict(ITEM.findall(f.read()))
    for item, path, old, new, _, test in rows:
        with open(os.path.join(TOP, path), encoding="utf-8") as f:
            n = f.read().count(old)
        if n != 1 or old == new:
            yield "%s, %s: %s stands there %d times: %s" % (item, test, path, n, old)
        if "`%s`" % test not in items.get(item, ""):
            yield "%s: docs/THREAT_MODEL.md doesn't name %s for it" % (item, test)


def one_line(text):
    return " ".join(text.split()).replace("|", "\\|")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder")
    options.add_argument("--only", default="")
    options.add_argument("--update")
    chosen = options.parse_args()
    bad = list(faults())
    if bad:
        sys.exit("\n".join(bad))
    copy, rows, missed = Copy(os.path.abspath(chosen.folder)), [], 0
    for item, path, old, new, program, test in MUTANTS:
        if not re.search(chosen.only, "%s %s %s" % (item, program, test)):
            continue
        copy.check_good(program, test)
        with copy.mutated(path, old, new):
            failed = copy.failed(program, test)
        is_seen = test in failed
        missed += not is_seen
        print("%s %s: %s %s" % (item, path, "seen by" if is_seen else "NOT seen by", test), sorted(failed), flush=True)
        rows.append("| %s | %s | `%s` | `%s` | `%s` |" % (item, path, one_line(old), one_line(new) or " ", test))
    if chosen.update and not missed and len(rows) == len(MUTANTS):
        coverage.update(chosen.update, ["| item | file | what stood there | what was put there | the test that failed |",
                                        "|---|---|---|---|---|", *rows], BEGIN, END)
    print("%d mutants, %d not seen" % (len(rows), missed))
    return 1 if missed or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
