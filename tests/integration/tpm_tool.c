/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the TPM backend for tpm_*.py: what a launch does with it, with everything written out.
 *
 *   tpm_tool MODE TCTI FIRMWARE_LOG [OUT [CHAIN]]
 *
 * open      open and close
 * launch    measure a launch, one evidence, files into OUT
 * quotes    the same, then 200 evidences
 * soak      the same, then so many evidences as $TL_EVIDENCES says: resident memory after the first
 * 200 and at the end pause     measure one event, print "ready", wait for a line, measure the rest
 * twice     the same, but evidence of which the first may fail: says "once: " and why
 * late      measure a launch, print "ready", wait for a line, one evidence
 * seal      seal 32 bytes of the TPM's generator: OUT/secret, OUT/blob
 * unseal    open OUT/blob: OUT/unsealed
 * Prints warnings as "warning: ..." and ends with "ok" or, exit code 1, "TL0702 retry message".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/tee.h>
#include <teelaunch/tpm_seal.h>

#define N_QUOTES 200

static const char nonce[] = "nonce of the integration test";

static int write_file(const char *folder, const char *name, const char *suffix, const void *data,
		      size_t n)
{
	auto_buf struct tl_buf path = { 0 };
	auto_close int fd = -1;

	tl_buf_init(&path, 4096);
	if (tl_buf_printf(&path, "%s/%s%s", folder, name, suffix) < 0)
		return -ENOMEM;
	fd = open(tl_buf_str(&path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : tl_write_all(fd, data, n);
}

/* pcrs: index (1 byte) and value, one after the other */
static int write_quote(const char *folder, const struct tl_quote *q)
{
	const char *name = tl_hash_name(q->hash);
	auto_buf struct tl_buf pcrs = { 0 };
	int r = 0;

	tl_buf_init(&pcrs, 4096);
	for (size_t i = 0; r >= 0 && i < q->n_pcrs; i++) {
		r = tl_buf_append_u8(&pcrs, q->pcrs[i].index);
		if (r >= 0)
			r = tl_buf_append(&pcrs, q->pcrs[i].bytes, tl_hash_size(q->hash));
	}
	if (r >= 0)
		r = write_file(folder, name, ".pcrs", pcrs.data, pcrs.len_bytes);
	if (r >= 0)
		r = write_file(folder, name, ".attest", q->attest.bytes, q->attest.n);
	if (r >= 0)
		r = write_file(folder, name, ".signature", q->signature.bytes, q->signature.n);
	return r;
}

static int write_evidence(const char *folder, const struct tl_evidence *e, struct tl_error *err)
{
	int r = write_file(folder, "cel", "", e->cel.bytes, e->cel.n);

	if (r >= 0)
		r = write_file(folder, "nonce", "", nonce, strlen(nonce));
	if (r >= 0)
		r = write_file(folder, "ak", ".der", e->ak_cert.bytes, e->ak_cert.n);
	if (r >= 0)
		r = write_file(folder, "ak", ".tpmt", e->ak_public.bytes, e->ak_public.n);
	if (r >= 0)
		r = write_file(folder, "log", "", e->tcg_event_log.bytes, e->tcg_event_log.n);
	for (size_t i = 0; r >= 0 && i < e->n_quotes; i++)
		r = write_quote(folder, &e->quotes[i]);
	if (r >= 0 && e->n_chain)
		r = write_file(folder, "issuer", ".der", e->cert_chain[0].bytes,
			       e->cert_chain[0].n);
	return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "write to '%s'", folder) : 0;
}

static int make_events(struct tl_event_list *ret, struct tl_error *err)
{
	auto_strv struct tl_strv args = { 0 }, env = { 0 };
	auto_kvs struct tl_kvs override_env = { 0 };
	const struct tl_launch_facts facts = {
		.image_ref = "127.0.0.1:5000/demo/hello:1",
		.image_digest = "sha256:"
				"adb591795f9e9047f9117163b83c2ebcd5edc4503644d59a98cf911aef0367f8",
		.restart_policy = "Never",
		.image_id = "sha256:"
			    "d5496fd75dd8262f0495ab5706fc464659eb7f481e384700e6174b6c44144cae",
		.args = &args,
		.env = &env,
		.override_env = &override_env,
		.override_cmd = &args,
	};

	if (tl_strv_add(&args, "/hello") < 0 || tl_strv_add(&env, "HOSTNAME=demo") < 0 ||
	    tl_kvs_add(&override_env, "NAME", "v\xc3\xa4lue = 1") < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for facts");
	return tl_launch_events_build(&facts, ret, err);
}

static void wait_for_line(void)
{
	puts("ready");
	fflush(stdout);
	while (getchar() > '\n')
		;
}

static int measure(struct tl_tee *tee, const char *mode, struct tl_error *err)
{
	auto_events struct tl_event_list list = { 0 };
	int r = make_events(&list, err);

	if (r < 0)
		return r;
	if (strcmp(mode, "pause") != 0)
		return tl_tee_measure_launch(tee, &list, NULL, err);
	for (size_t i = 0; r >= 0 && i < list.n; i++) {
		r = tl_tee_measure(tee, &list.items[i], err);
		if (i == 0)
			wait_for_line();
	}
	return r;
}

/* After a failure nothing may work any more, and the log must have stayed behind. */
static void probe_broken(struct tl_tee *tee)
{
	const struct tl_event e = { .type = TL_EVENT_SEPARATOR };
	struct tl_evidence evidence = { 0 };
	struct tl_error err = { 0 };

	if (tl_tee_measure(tee, &e, &err) < 0)
		printf("then: %s\n", err.msg);
	if (tl_tee_evidence(tee, "x", 1, &evidence, &err) < 0)
		printf("then: %s\n", err.msg);
	printf("log: %zu bytes\n", tl_tee_log(tee)->len_bytes);
}

static void print_resident(void)
{
	auto_buf struct tl_buf status = { 0 };
	const char *line = NULL;

	tl_buf_init(&status, 65536);
	if (tl_file_read("/proc/self/status", &status, NULL) == 0)
		line = strstr(tl_buf_str(&status), "VmRSS:");
	line = line ? line + strlen("VmRSS:") : "none";
	line += strspn(line, " \t");
	printf("resident_kib=%.*s\n", (int)strspn(line, "0123456789"), line);
}

static int run_open(struct tl_tee *tee, const char *mode, const char *out, struct tl_error *err)
{
	bool is_soak = strcmp(mode, "soak") == 0;
	uint64_t n = strcmp(mode, "quotes") == 0 ? N_QUOTES : strcmp(mode, "twice") == 0 ? 2 : 1;
	int r;

	if (is_soak && tl_str_parse_u64(getenv("TL_EVIDENCES"), UINT32_MAX, &n) < 0)
		return tl_fail(err, TL_E_USAGE, EINVAL, "TL_EVIDENCES");

	for (size_t i = 0; i < tl_tee_warnings(tee)->n; i++)
		printf("warning: %s\n", tl_tee_warnings(tee)->items[i]);
	if (strcmp(mode, "open") == 0)
		return 0;
	r = measure(tee, mode, err);
	if (r < 0)
		probe_broken(tee);
	if (strcmp(mode, "late") == 0)
		wait_for_line();
	for (size_t i = 0; r >= 0 && i < n; i++) {
		auto_evidence struct tl_evidence e = { 0 };

		r = tl_tee_evidence(tee, nonce, strlen(nonce), &e, err);
		if (r < 0 && strcmp(mode, "twice") == 0 && i == 0) {
			printf("once: %s\n", err->msg);
			r = 0;
			continue;
		}
		if (r >= 0 && out && *out)
			r = write_evidence(out, &e, err);
		if (is_soak && (i + 1 == N_QUOTES || i + 1 == n))
			print_resident();
	}
	return r;
}

static int run_seal(struct tl_sealer *s, const char *out, struct tl_error *err)
{
	auto_secret struct tl_secret secret = { 0 };
	auto_buf struct tl_buf blob = { 0 };
	uint8_t bytes[32];
	int r = tl_sealer_random(s, bytes, sizeof(bytes), err);

	tl_buf_init(&blob, TL_SEAL_BLOB_MAX);
	if (r == 0 && tl_secret_set(&secret, bytes, sizeof(bytes)) == 0)
		r = tl_seal(s, &secret, &blob, err);
	if (r == 0)
		r = write_file(out, "secret", "", bytes, sizeof(bytes));
	return r < 0 ? r : write_file(out, "blob", "", blob.data, blob.len_bytes);
}

static int run_unseal(struct tl_sealer *s, const char *out, struct tl_error *err)
{
	auto_secret struct tl_secret secret = { 0 };
	auto_buf struct tl_buf blob = { 0 }, path = { 0 };
	int r;

	tl_buf_init(&blob, TL_SEAL_BLOB_MAX);
	tl_buf_init(&path, 4096);
	r = tl_buf_printf(&path, "%s/blob", out);
	if (r == 0)
		r = tl_file_read(tl_buf_str(&path), &blob, err);
	if (r == 0)
		r = tl_unseal(s, blob.data, blob.len_bytes, &secret, err);
	return r < 0 ? r : write_file(out, "unsealed", "", secret.bytes, secret.len_bytes);
}

static int run_sealer(const char *mode, const char *tcti, const char *out, struct tl_error *err)
{
	auto_sealer struct tl_sealer *s = NULL;
	int r = tl_sealer_open(tcti, &s, err);

	if (r < 0)
		return r;
	return strcmp(mode, "seal") == 0 ? run_seal(s, out, err) : run_unseal(s, out, err);
}

int main(int argc, char **argv)
{
	struct tl_tpm_options options = { 0 };
	struct tl_error err = { 0 };
	auto_tee struct tl_tee *tee = NULL;
	int r;

	if (argc < 4)
		return 2;
	options.tcti = argv[2];
	options.firmware_log = argv[3];
	options.ak_chain = argc > 5 ? argv[5] : NULL;
	if (strstr(argv[1], "seal"))
		r = argc > 4 ? run_sealer(argv[1], argv[2], argv[4], &err) : -EINVAL;
	else
		r = tl_tpm_open(&options, &tee, &err);
	if (r >= 0 && tee)
		r = run_open(tee, argv[1], argc > 4 ? argv[4] : NULL, &err);
	if (r < 0) {
		printf("TL%04d %s %s\n", (int)err.code, tl_class_name(err.class), err.msg);
		return 1;
	}
	puts("ok");
	return 0;
}
