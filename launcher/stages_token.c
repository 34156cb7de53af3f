/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage that gets a token for what was measured, and keeps it fresh while the workload runs.
 *
 * The first token is asked for here, with the launch's own cancellation and budget. From then on
 * the keeper's thread owns what it needs: a verifier client and a metadata reader of its own, and
 * the TPM, which nobody else uses until the keeper is stopped.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/log.h>
#include <teelaunch/token_keeper.h>
#include <teelaunch/verifier_client.h>

#include "metadata.h"
#include "sequence.h"

/* A clock that differs more from the verifier's is worth a word: tokens live an hour. */
#define SKEW_MAX_S 60

/* Everything that asks for tokens with one cancellation; one thread's. */
struct token_source {
	struct metadata *metadata; /* borrowed or, for the keeper, owned */
	struct tl_tee *tee;
	struct tl_verifier *verifier;
	struct tl_attest_sources sources;
};

/* What lives as long as the keeper. */
struct token_keeping {
	struct tl_cancel *quit;
	struct token_source source;
	struct tl_token_keeper *keeper;
};

static int source_bearer(void *ctx, struct tl_secret *ret, struct tl_error *err)
{
	struct token_source *s = ctx;

	return metadata_access_token(s->metadata, ret, err);
}

static int source_principal(void *ctx, size_t i, const char *audience, struct tl_secret *ret,
			    struct tl_error *err)
{
	struct token_source *s = ctx;

	(void)i; /* the machine's own account is the only principal */
	return metadata_identity_token(s->metadata, audience, ret, err);
}

static int source_collect(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
			  struct tl_error *err)
{
	struct token_source *s = ctx;

	return tl_tee_evidence(s->tee, nonce, n, ret, err);
}

static int verifier_open(struct launch *l, struct tl_cancel *cancel, struct tl_verifier **ret,
			 struct tl_error *err)
{
	struct tl_verifier_options options = {
		.url = l->options->verifier,
		.ca_file = l->options->verifier_roots,
		.api = strcmp(l->options->verifier_api, "verifyAttestation") == 0
			       ? TL_VERIFIER_ATTESTATION
			       : TL_VERIFIER_CONFIDENTIAL_SPACE,
		.budget_ms = l->options->first_token_budget_ms,
		.cancel = cancel,
	};
	int r;

	/* gca-service-env names another of Google's services; a unit that names its own verifier
	 * wins. */
	if (strcmp(options.url, TL_VERIFIER_URL_DEFAULT) == 0 && *l->spec.gca_address)
		options.url = l->spec.gca_address;
	/* Read once and kept by the launch's reader, so the keeper's verifier gets the same. */
	r = metadata_project(l->metadata, &options.project, err);
	if (r == 0)
		r = metadata_region(l->metadata, &options.region, err);
	return r < 0 ? r : tl_verifier_open_gca(&options, ret, err);
}

static int source_open(struct launch *l, struct tl_cancel *cancel, struct metadata *metadata,
		       struct token_source *ret, struct tl_error *err)
{
	*ret = (struct token_source){
		.metadata = metadata,
		.tee = l->tee,
		.sources = { .bearer = source_bearer,
			     .bearer_ctx = ret,
			     .principal = source_principal,
			     .principal_ctx = ret,
			     .n_principals = 1,
			     .collect = source_collect,
			     .collect_ctx = ret },
	};
	return verifier_open(l, cancel, &ret->verifier, err);
}

static struct token_keeping *keeping_free(struct token_keeping *k)
{
	if (!k)
		return NULL;
	k->keeper = tl_token_keeper_stop(k->keeper);
	tl_verifier_close(k->source.verifier);
	metadata_close(k->source.metadata);
	tl_cancel_free(k->quit);
	free(k);
	return NULL;
}

/* In the keeper's thread. */
static void keeper_event(void *ctx, enum tl_token_event event, const struct tl_token_status *status,
			 const struct tl_error *err)
{
	int64_t now_s = tl_clock_real_s();

	(void)ctx;
	switch (event) {
	case TL_TOKEN_REFRESHED:
		/* The words that tools of the reference's users look for. */
		tl_log_event(LOG_INFO, "token.refreshed",
			     "expires_in_s=%" PRId64 " next_in_s=%" PRId64
			     " msg='successfully refreshed attestation token'",
			     status->expires_at_s - now_s, status->next_attempt_at_s - now_s);
		return;
	case TL_TOKEN_REFRESH_FAILED:
		tl_log_event(LOG_WARNING, "token.refresh_failed",
			     "code=%s attempts=%u state=%s expires_in_s=%" PRId64
			     " next_in_s=%" PRId64
			     " msg='failed to refresh attestation service token: %s'",
			     tl_catalogue_find(err->code)->id, status->attempts,
			     tl_token_state_name(status->state), status->expires_at_s - now_s,
			     status->next_attempt_at_s - now_s, TL_Q(err->msg));
		return;
	case TL_TOKEN_HAS_EXPIRED:
		tl_log_event(LOG_ERR, "token.expired", "attempts=%u next_in_s=%" PRId64,
			     status->attempts, status->next_attempt_at_s - now_s);
		return;
	}
}

static int keeper_start(struct launch *l, const struct tl_attest_result *first,
			struct tl_error *err)
{
	struct token_keeping *k = calloc(1, sizeof(*k));
	struct tl_token_keeper_options options = { .dir = l->options->shared_dir,
						   .event = keeper_event };
	struct metadata *metadata = NULL;
	int r;

	if (!k || !(k->quit = tl_cancel_new())) {
		free(k);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token keeper");
	}
	r = metadata_open(l->options->metadata_host, k->quit, &metadata, err);
	if (r == 0)
		r = source_open(l, k->quit, metadata, &k->source, err);
	if (r == 0) {
		options.verifier = k->source.verifier;
		options.sources = &k->source.sources;
		options.quit = k->quit;
		r = tl_token_keeper_start(&options, first, &k->keeper, err);
	}
	if (r < 0) {
		keeping_free(k);
		return r;
	}
	l->tokens = k;
	return 0;
}

static void skew_tell(const struct tl_jwt *claims)
{
	int64_t skew_s = tl_clock_real_s() - claims->iat_s;

	if (claims->has_iat && (skew_s > SKEW_MAX_S || skew_s < -SKEW_MAX_S))
		tl_log_event(LOG_WARNING, "clock.skew",
			     "skew_s=%" PRId64 " msg='this clock against the verifier'", skew_s);
}

static int first_token(struct launch *l, struct tl_attest_result *ret, struct tl_error *err)
{
	struct token_source source = { 0 };
	auto_verifier struct tl_verifier *verifier = NULL;
	int r = source_open(l, l->cancel, l->metadata, &source, err);

	verifier = source.verifier;
	return r < 0 ? r : tl_verifier_attest(verifier, &source.sources, NULL, ret, err);
}

int stage_token(struct launch *l, struct tl_error *err)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	int r;

	if (l->spec.is_gca_refresh_disabled) {
		tl_log_event(LOG_INFO, "token.disabled", "key=tee-disable-gca-refresh");
		return 0;
	}
	if (*l->spec.gca_address && strcmp(l->options->verifier, TL_VERIFIER_URL_DEFAULT) != 0)
		tl_log_event(LOG_WARNING, "verifier.fixed", "key=gca-service-env url='%s' msg='%s'",
			     TL_Q(l->options->verifier), "the image names its own verifier");
	r = first_token(l, &result, err);
	if (r < 0)
		return r;
	r = keeper_start(l, &result, err);
	if (r < 0) {
		stage_token_undo(l); /* the first of the two files may be there */
		return r;
	}
	for (size_t i = 0; i < result.warnings.n; i++)
		tl_log_event(LOG_WARNING, "token.warning", "msg='%s'",
			     TL_Q(result.warnings.items[i]));
	skew_tell(&result.claims);
	l->report.token.state = tl_token_state_name(TL_TOKEN_VALID);
	l->report.token.expires_at = result.claims.exp_s;
	l->report.token.attempts = result.attempts;
	tl_log_event(LOG_INFO, "token.ready", "expires_in_s=%" PRId64 " attempts=%u",
		     result.claims.exp_s - tl_clock_real_s(), result.attempts);
	return 0;
}

void stage_token_undo(struct launch *l)
{
	struct tl_token_status last = { 0 };
	struct tl_error err = { 0 };

	if (l->tokens) {
		tl_token_keeper_status(l->tokens->keeper, &last);
		l->report.token.state = tl_token_state_name(last.state);
		l->report.token.expires_at = last.expires_at_s;
		l->tokens = keeping_free(l->tokens);
	}
	if (tl_token_files_remove(l->options->shared_dir, &err) < 0)
		tl_log_event(LOG_WARNING, "token.not_removed", "msg='%s'", TL_Q(err.msg));
}
