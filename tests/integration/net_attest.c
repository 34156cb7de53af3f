/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the metadata to the token file with nothing faked but the cloud, for net_attest.py:
 *
 *   net_attest METADATA_HOST VERIFIER_URL VERIFIER_CA TCTI FIRMWARE_LOG DIR
 *
 * Measures a launch into the TPM, then asks for a token by each call of the API; the first token
 * goes to DIR/a, the other to DIR/b. One line each: "ok <attempts>", or "TL0804 denied <message>".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/clock.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/tee.h>
#include <teelaunch/token_file.h>
#include <teelaunch/verifier_client.h>

#include "launcher/metadata.h"

struct machine {
	struct metadata *metadata;
	struct tl_tee *tee;
};

static int bearer(void *ctx, struct tl_secret *ret, struct tl_error *err)
{
	return metadata_access_token(((struct machine *)ctx)->metadata, ret, err);
}

static int principal(void *ctx, size_t i, const char *audience, size_t n, struct tl_secret *ret,
		     struct tl_error *err)
{
	(void)i;
	return metadata_identity_token(((struct machine *)ctx)->metadata, audience, n, ret, err);
}

static int collect(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
		   struct tl_error *err)
{
	return tl_tee_evidence(((struct machine *)ctx)->tee, nonce, n, ret, err);
}

static int measure(struct tl_tee *tee, struct tl_error *err)
{
	auto_events struct tl_event_list list = { 0 };
	auto_strv struct tl_strv args = { 0 };
	const struct tl_launch_facts facts = {
		.image_ref = "127.0.0.1:5000/demo/hello:1",
		.image_digest = "sha256:"
				"adb591795f9e9047f9117163b83c2ebcd5edc4503644d59a98cf911aef0367f8",
		.restart_policy = "Never",
		.image_id = "sha256:"
			    "d5496fd75dd8262f0495ab5706fc464659eb7f481e384700e6174b6c44144cae",
		.args = &args,
	};
	int r;

	if (tl_strv_add(&args, "/hello") < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "arguments");
	r = tl_launch_events_build(&facts, &list, err);
	return r < 0 ? r : tl_tee_measure_launch(tee, &list, NULL, err);
}

static int attest(struct machine *m, const struct tl_verifier_options *options, const char *dir,
		  struct tl_error *err)
{
	const struct tl_attest_sources sources = {
		.bearer = bearer,
		.bearer_ctx = m,
		.principal = principal,
		.principal_ctx = m,
		.n_principals = 1,
		.collect = collect,
		.collect_ctx = m,
	};
	auto_verifier struct tl_verifier *v = NULL;
	auto_attest_result struct tl_attest_result res = { 0 };
	struct tl_token_status status = { .state = TL_TOKEN_VALID };
	int r = tl_verifier_open_gca(options, &v, err);

	if (r >= 0)
		r = tl_verifier_attest(v, &sources, NULL, &res, err);
	if (r >= 0)
		r = tl_token_file_write(dir, &res.token, err);
	status.expires_at_s = res.claims.exp_s;
	status.refreshed_at_s = tl_clock_real_s();
	if (r >= 0)
		r = tl_token_status_write(dir, &status, err);
	if (r >= 0)
		printf("ok %u\n", res.attempts);
	return r;
}

static int run(char **argv, struct machine *m, struct tl_error *err)
{
	const struct tl_tpm_options tpm = { .tcti = argv[4], .firmware_log = argv[5] };
	struct tl_verifier_options options = { .url = argv[2], .ca_file = argv[3] };
	char dir[512];
	int r = metadata_open(argv[1], NULL, &m->metadata, err);

	if (r >= 0)
		r = metadata_project(m->metadata, &options.project, err);
	if (r >= 0)
		r = metadata_region(m->metadata, &options.region, err);
	if (r >= 0)
		r = tl_tpm_open(&tpm, &m->tee, err);
	if (r >= 0)
		r = measure(m->tee, err);
	for (int i = 0; r >= 0 && i < 2; i++) {
		options.api = i ? TL_VERIFIER_ATTESTATION : TL_VERIFIER_CONFIDENTIAL_SPACE;
		options.budget_ms = 5000;
		snprintf(dir, sizeof(dir), "%s/%c", argv[6], 'a' + i);
		r = attest(m, &options, dir, err);
	}
	return r;
}

int main(int argc, char **argv)
{
	struct machine m = { 0 };
	struct tl_error err = { 0 };
	int r;

	if (argc != 7)
		return 2;
	r = run(argv, &m, &err);
	if (r < 0)
		printf("%s %s %s\n", tl_catalogue_find(err.code)->id, tl_class_name(err.class),
		       err.msg);
	tl_tee_close(m.tee);
	metadata_close(m.metadata);
	return r < 0;
}
