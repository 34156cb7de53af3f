/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage that gets a token for what was measured, and keeps it fresh while the workload runs.
 *
 * The first token is asked for here, with the launch's own cancellation and budget. From then on
 * the keeper's thread owns what it needs: a verifier client and a metadata reader of its own. The
 * TPM it shares with the token socket, in turns: whatever the workload asks for, the keeper waits
 * for one quote at most.
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
#include "signature_keeper.h"
#include "signature_store.h"
#include "token_source.h"

/* A clock that differs more from the verifier's is worth a word: tokens live an hour. */
#define SKEW_MAX_S 60
/* For asking all repositories for signatures at most this part of the first token's budget. */
#define SIGNATURES_OF_BUDGET 3

/* What lives as long as the keeper. */
struct token_keeping {
	struct signature_store *signatures; /* the launch's; NULL: none */
	struct tl_cancel *quit;
	struct token_source source;
	struct tl_token_keeper *keeper;
};

static struct token_keeping *keeping_free(struct token_keeping *k)
{
	if (!k)
		return NULL;
	k->keeper = tl_token_keeper_stop(k->keeper);
	token_source_close(&k->source);
	tl_cancel_free(k->quit);
	free(k);
	return NULL;
}

static void skew_tell(int64_t skew_s)
{
	if (skew_s > SKEW_MAX_S || skew_s < -SKEW_MAX_S)
		tl_log_event(LOG_WARNING, "clock.skew",
			     "skew_s=%" PRId64 " msg='this clock against the verifier'", skew_s);
}

/* In the keeper's threads. */
static void keeper_event(void *ctx, enum tl_token_event event, const struct tl_token_status *status,
			 const struct tl_error *err)
{
	/* By the verifier's clock, as far as it is known. */
	int64_t now_s = tl_clock_real_s() - status->clock_skew_s;
	int64_t next_in_s = status->next_attempt_at_s - tl_clock_real_s();

	(void)ctx;
	switch (event) {
	case TL_TOKEN_REFRESHED:
		/* The words that tools of the reference's users look for. */
		tl_log_event(LOG_INFO, "token.refreshed",
			     "expires_in_s=%" PRId64 " next_in_s=%" PRId64
			     " msg='successfully refreshed attestation token'",
			     status->expires_at_s - now_s, next_in_s);
		skew_tell(status->clock_skew_s);
		return;
	case TL_TOKEN_REFRESH_FAILED:
		tl_log_event(LOG_WARNING, "token.refresh_failed",
			     "code=%s attempts=%u state=%s expires_in_s=%" PRId64
			     " next_in_s=%" PRId64
			     " msg='failed to refresh attestation service token: %s'",
			     tl_catalogue_find(err->code)->id, status->attempts,
			     tl_token_state_name(status->state), status->expires_at_s - now_s,
			     next_in_s, TL_Q(err->msg));
		return;
	case TL_TOKEN_HAS_EXPIRED:
		tl_log_event(LOG_ERR, "token.expired", "attempts=%u next_in_s=%" PRId64,
			     status->attempts, next_in_s);
		return;
	}
}

/* In the keeper's thread. */
static void keeper_prepare(void *ctx, uint64_t budget_ms)
{
	struct token_keeping *k = ctx;

	if (k->signatures)
		(void)signature_store_refresh(k->signatures, k->source.metadata, k->quit,
					      budget_ms < SIGNATURES_MS ? budget_ms
									: SIGNATURES_MS);
}

/* In the keeper's thread. */
static void keeper_warning(void *ctx, const char *words)
{
	(void)ctx;
	tl_log_event(LOG_WARNING, "token.warning", "msg='%s'", TL_Q(words));
}

static int keeper_start(struct launch *l, const struct tl_attest_result *first,
			struct tl_error *err)
{
	struct token_keeping *k = calloc(1, sizeof(*k));
	struct tl_token_keeper_options options = { .dir = l->options->shared_dir,
						   .prepare = keeper_prepare,
						   .prepare_ctx = k,
						   .warning = keeper_warning,
						   .event = keeper_event };
	int r;

	if (!k || !(k->quit = tl_cancel_new())) {
		free(k);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token keeper");
	}
	k->signatures = l->signatures;
	r = token_source_open(l, k->quit, &k->source, err);
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

/* Within the first token's budget, so that most of it is left for the verifier. */
static bool signatures_first(const struct launch *l)
{
	uint64_t part_ms = l->options->first_token_budget_ms / SIGNATURES_OF_BUDGET;

	return !l->signatures ||
	       signature_store_refresh(l->signatures, l->metadata, l->cancel,
				       part_ms < SIGNATURES_MS ? part_ms : SIGNATURES_MS);
}

static int first_token(struct launch *l, struct tl_attest_result *ret, struct tl_error *err)
{
	struct token_source source = { 0 };
	uint64_t budget_ms = l->options->first_token_budget_ms;
	uint64_t began_ms = tl_clock_mono_ms(), took_ms;
	int r;

	(void)signatures_first(l); /* the keeper asks again */
	took_ms = tl_clock_mono_ms() - began_ms;
	r = token_source_open_main(l, took_ms < budget_ms ? budget_ms - took_ms : 1, &source, err);

	if (r == 0)
		r = tl_verifier_attest(source.verifier, &source.sources, NULL, ret, err);
	token_source_close(&source);
	return r;
}

static int token_begin(struct launch *l, struct tl_error *err)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	int r = first_token(l, &result, err);

	if (r == 0)
		r = keeper_start(l, &result, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < result.warnings.n; i++)
		keeper_warning(NULL, result.warnings.items[i]);
	skew_tell(result.skew_s);
	l->report.token.clock_skew_s = result.skew_s;
	l->report.token.state = tl_token_state_name(TL_TOKEN_VALID);
	l->report.token.expires_at = result.claims.exp_s;
	l->report.token.attempts = result.attempts;
	tl_log_event(LOG_INFO, "token.ready", "expires_in_s=%" PRId64 " attempts=%u",
		     result.claims.exp_s - tl_clock_real_s(), result.attempts);
	return 0;
}

/* For the token socket: there is no refresh that would ask for them. */
static int signatures_keep(struct launch *l, struct tl_error *err)
{
	bool is_complete = signatures_first(l);
	int r = 0;

	if (l->signatures)
		r = signature_keeper_start(l->signatures, l->options->metadata_host, is_complete,
					   &l->signature_keeper, err);
	if (r < 0)
		l->signatures = signature_store_free(l->signatures);
	return r;
}

int stage_token(struct launch *l, struct tl_error *err)
{
	int r = signature_store_new(l, &l->signatures, err);

	if (r < 0)
		return r;
	if (l->spec.is_gca_refresh_disabled || l->spec.ita_region) {
		tl_log_event(LOG_INFO, "token.disabled", "key=%s",
			     l->spec.ita_region ? "ita-region" : "tee-disable-gca-refresh");
		return signatures_keep(l, err);
	}
	if (*l->spec.gca_address && strcmp(l->options->verifier, TL_VERIFIER_URL_DEFAULT) != 0)
		tl_log_event(LOG_WARNING, "verifier.fixed", "key=gca-service-env url='%s' msg='%s'",
			     TL_Q(l->options->verifier), "the image names its own verifier");
	r = token_begin(l, err);
	if (r < 0)
		stage_token_undo(l); /* the first of the two files may be there */
	return r;
}

void stage_token_undo(struct launch *l)
{
	struct tl_token_status last = { 0 };
	struct tl_error err = { 0 };

	if (l->tokens) {
		tl_token_keeper_status(l->tokens->keeper, &last);
		l->report.token.state = tl_token_state_name(last.state);
		l->report.token.expires_at = last.expires_at_s;
		l->report.token.clock_skew_s = last.clock_skew_s;
		l->tokens = keeping_free(l->tokens);
		tl_log_event(LOG_INFO, "token.stopped", "msg='token refreshing stopped'");
	}
	l->signature_keeper = signature_keeper_stop(l->signature_keeper);
	l->signatures = signature_store_free(l->signatures);
	if (tl_token_files_remove(l->options->shared_dir, &err) < 0) {
		tl_log_event(LOG_WARNING, "token.not_removed", "msg='%s'", TL_Q(err.msg));
		l->is_swept = false; /* once more, when all else is gone */
	}
}
