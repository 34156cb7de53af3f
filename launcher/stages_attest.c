/* SPDX-License-Identifier: Apache-2.0 */
/* The stages that prove what will run: measure it, and get a token for it. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/log.h>
#include <teelaunch/token_file.h>
#include <teelaunch/verdict.h>
#include <teelaunch/verifier_client.h>

#include "metadata.h"
#include "sequence.h"
#include "workload/workload.h"

int stage_tpm(struct launch *l, struct tl_error *err)
{
	const struct tl_tpm_options options = {
		.tcti = l->options->tcti,
		.firmware_log = l->options->firmware_log,
	};
	const struct tl_strv *warnings;
	const struct tl_banks *banks;
	int r = tl_tpm_open(&options, &l->tee, err);

	if (r < 0)
		return r;
	warnings = tl_tee_warnings(l->tee);
	for (size_t i = 0; i < warnings->n; i++)
		tl_log_event(LOG_WARNING, "tpm.warning", "msg='%s'", TL_Q(warnings->items[i]));
	banks = tl_tee_banks(l->tee);
	for (size_t i = 0; i < banks->n; i++)
		tl_log_event(LOG_INFO, "tpm.bank", "hash=%s", tl_hash_name(banks->hashes[i]));
	return 0;
}

void stage_tpm_undo(struct launch *l)
{
	l->tee = tl_tee_close(l->tee);
}

int stage_measure(struct launch *l, struct tl_error *err)
{
	const struct tl_launch_facts facts = {
		.image_ref = l->spec.image_ref,
		.image_digest = l->image.target.digest,
		.restart_policy = tl_restart_policy_name(l->spec.restart_policy),
		.image_id = l->image.config.digest,
		.args = tl_workload_args(l->workload),
		.env = tl_workload_env(l->workload),
		.override_env = &l->spec.envs,
		.override_cmd = &l->spec.cmd,
		/* What is done, not what is asked for: a claim must be true. */
		.is_memory_monitored = (TL_FEATURES_OF_RELEASE & TL_FEATURE_MONITORING) &&
				       l->spec.monitoring == TL_MONITORING_MEMORY_ONLY,
	};
	uint8_t pcr[TL_HASH_SIZE_MAX];
	int r = tl_launch_events_build(&facts, &l->events, err);

	if (r == 0)
		r = tl_tee_measure_launch(l->tee, &l->events, l->cancel, err);
	if (r < 0)
		return r;
	l->report.measured.events = l->events.n;
	if (tl_events_replay(&l->events, TL_SHA256, pcr) == 0) {
		tl_hex_encode(pcr, tl_hash_size(TL_SHA256), l->pcr13_hex);
		l->report.measured.pcr13_sha256 = l->pcr13_hex;
	}
	tl_log_event(LOG_INFO, "measured", "events=%zu pcr13_sha256=%s", l->events.n, l->pcr13_hex);
	return 0;
}

static int source_bearer(void *ctx, struct tl_secret *ret, struct tl_error *err)
{
	struct launch *l = ctx;

	return metadata_access_token(l->metadata, ret, err);
}

static int source_principal(void *ctx, size_t i, const char *audience, struct tl_secret *ret,
			    struct tl_error *err)
{
	struct launch *l = ctx;

	(void)i; /* the machine's own account is the only principal */
	return metadata_identity_token(l->metadata, audience, ret, err);
}

static int source_collect(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
			  struct tl_error *err)
{
	struct launch *l = ctx;

	return tl_tee_evidence(l->tee, nonce, n, ret, err);
}

static int verifier_open(struct launch *l, struct tl_verifier **ret, struct tl_error *err)
{
	struct tl_verifier_options options = {
		.url = l->options->verifier,
		.ca_file = l->options->verifier_roots,
		.api = strcmp(l->options->verifier_api, "verifyAttestation") == 0
			       ? TL_VERIFIER_ATTESTATION
			       : TL_VERIFIER_CONFIDENTIAL_SPACE,
		.budget_ms = l->options->first_token_budget_ms,
		.cancel = l->cancel,
	};
	int r;

	if (*l->spec.gca_address && strcmp(options.url, TL_VERIFIER_URL_DEFAULT) != 0)
		tl_log_event(LOG_WARNING, "verifier.fixed", "key=gca-service-env url='%s' msg='%s'",
			     TL_Q(options.url), "the image names its own verifier");
	/* gca-service-env names another of Google's services; a unit that names its own verifier
	 * wins. */
	if (strcmp(options.url, TL_VERIFIER_URL_DEFAULT) == 0 && *l->spec.gca_address)
		options.url = l->spec.gca_address;
	r = metadata_project(l->metadata, &options.project, err);
	if (r == 0)
		r = metadata_region(l->metadata, &options.region, err);
	return r < 0 ? r : tl_verifier_open_gca(&options, ret, err);
}

static int token_publish(struct launch *l, const struct tl_attest_result *result,
			 struct tl_error *err)
{
	const struct tl_token_status status = {
		.state = TL_TOKEN_VALID,
		.expires_at_s = result->claims.exp_s,
		.refreshed_at_s = tl_clock_real_s(),
	};
	int r = tl_token_file_write(l->options->shared_dir, &result->token, err);

	return r < 0 ? r : tl_token_status_write(l->options->shared_dir, &status, err);
}

int stage_token(struct launch *l, struct tl_error *err)
{
	const struct tl_attest_sources sources = {
		.bearer = source_bearer,
		.bearer_ctx = l,
		.principal = source_principal,
		.principal_ctx = l,
		.n_principals = 1,
		.collect = source_collect,
		.collect_ctx = l,
	};
	auto_attest_result struct tl_attest_result result = { 0 };
	auto_verifier struct tl_verifier *verifier = NULL;
	int r;

	if (l->spec.is_gca_refresh_disabled) {
		tl_log_event(LOG_INFO, "token.disabled", "key=tee-disable-gca-refresh");
		return 0;
	}
	r = verifier_open(l, &verifier, err);
	if (r == 0)
		r = tl_verifier_attest(verifier, &sources, NULL, &result, err);
	if (r < 0)
		return r;
	r = token_publish(l, &result, err);
	if (r < 0) {
		stage_token_undo(l); /* the first of the two files may be there */
		return r;
	}
	for (size_t i = 0; i < result.warnings.n; i++)
		tl_log_event(LOG_WARNING, "token.warning", "msg='%s'",
			     TL_Q(result.warnings.items[i]));
	l->report.token.state = tl_token_state_name(TL_TOKEN_VALID);
	l->report.token.expires_at = result.claims.exp_s;
	l->report.token.attempts = result.attempts;
	tl_log_event(LOG_INFO, "token.ready", "expires_in_s=%" PRId64 " attempts=%u",
		     result.claims.exp_s - tl_clock_real_s(), result.attempts);
	return 0;
}

void stage_token_undo(struct launch *l)
{
	struct tl_error err = { 0 };

	if (tl_token_files_remove(l->options->shared_dir, &err) < 0)
		tl_log_event(LOG_WARNING, "token.not_removed", "msg='%s'", TL_Q(err.msg));
}
