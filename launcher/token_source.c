/* SPDX-License-Identifier: Apache-2.0 */
#include "token_source.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>
#include <teelaunch/snp.h>
#include <teelaunch/verifier_ita.h>

#include "attest_words.h"
#include "launch_facts.h"
#include "metadata.h"
#include "signature_store.h"

static int source_bearer(void *ctx, struct tl_secret *ret, struct tl_error *err)
{
	struct token_source *s = ctx;

	return metadata_access_token(s->metadata, ret, err);
}

/* The machine's own account first, then those it may act for, in the operator's order. */
static int source_principal(void *ctx, size_t i, const char *audience, size_t n,
			    struct tl_secret *ret, struct tl_error *err)
{
	struct token_source *s = ctx;
	auto_secret struct tl_secret bearer = { 0 };
	int r;

	if (i == 0)
		return metadata_identity_token(s->metadata, audience, n, ret, err);
	r = metadata_access_token(s->metadata, &bearer, err);
	return r < 0 ? r
		     : tl_account_token(s->accounts, &bearer,
					s->launch->spec.impersonate_service_accounts.items[i - 1],
					audience, n, ret, err);
}

/* Beside the TPM's quotes, which attest: a token without it is better than none. */
static void snp_add(const struct token_source *s, const void *nonce, size_t n,
		    struct tl_evidence *e)
{
	struct tl_error err = { 0 };

	if (s->launch->has_snp && tl_snp_add(&tl_tsm_paths_linux, nonce, n, e, &err) < 0)
		tl_log_event(LOG_WARNING, "snp.missing", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}

int token_source_evidence(struct token_source *s, const void *nonce, size_t n,
			  struct tl_evidence *ret, struct tl_error *err)
{
	struct tl_error inner = { 0 };
	bool is_news;
	int r = tl_tee_evidence(s->launch->tee, nonce, n, ret, err);

	if (r < 0)
		return r;
	snp_add(s, nonce, n, ret);
	if (tl_cert_chain_add(s->launch->cert_chain, ret, s->cancel, &is_news, &inner) < 0)
		tl_log_event(LOG_WARNING, "ak_chain.missing", "code=%s msg='%s'",
			     tl_catalogue_find(inner.code)->id, TL_Q(inner.msg));
	else if (is_news && ret->n_chain)
		tl_log_event(LOG_INFO, "ak_chain.fetched", "certificates=%zu", ret->n_chain);
	return 0;
}

static int source_collect(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
			  struct tl_error *err)
{
	const struct token_source *s = ctx;
	const struct attest_words *words = attest_words_of(s->launch->tee);
	int r = token_source_evidence(ctx, nonce, n, ret, err);

	if (r == 0)
		tl_log_event(LOG_INFO, "attest.quoted", "tee=%s msg='%s'", words->tee,
			     words->quoting);
	return r;
}

static void source_challenged(void *ctx, const char *name)
{
	(void)ctx;
	tl_log_event(LOG_INFO, "attest.challenge",
		     "challenge_name='%s' msg='Successfully created challenge'", TL_Q(name));
}

static int verifier_open(struct launch *l, struct tl_cancel *cancel, uint64_t budget_ms,
			 struct tl_verifier **ret, struct tl_error *err)
{
	struct tl_verifier_options options = {
		.url = launch_verifier_url(&l->spec, l->options->verifier),
		.ca_file = l->options->verifier_roots,
		.api = strcmp(l->options->verifier_api, "verifyAttestation") == 0
			       ? TL_VERIFIER_ATTESTATION
			       : TL_VERIFIER_CONFIDENTIAL_SPACE,
		.budget_ms = budget_ms,
		.cancel = cancel,
	};
	int r;

	/* Read once and kept by the launch's reader, so the keeper's verifier gets the same. */
	r = metadata_project(l->metadata, &options.project, err);
	if (r == 0)
		r = metadata_region(l->metadata, &options.region, err);
	return r < 0 ? r : tl_verifier_open_gca(&options, ret, err);
}

static int intel_open(const struct launch *l, struct tl_cancel *cancel, struct tl_verifier **ret,
		      struct tl_error *err)
{
	const struct tl_ita_options options = {
		.region = l->spec.ita_region,
		.url = l->options->ita,
		.ca_file = l->options->ita_roots,
		.api_key = &l->spec.ita_api_key,
		.cancel = cancel,
	};

	return l->spec.ita_region ? tl_verifier_open_ita(&options, ret, err) : 0;
}

static int accounts_open(const struct launch *l, struct tl_cancel *cancel,
			 struct tl_account_client **ret, struct tl_error *err)
{
	const struct tl_account_options options = { .url = l->options->iam,
						    .ca_file = l->options->google_roots,
						    .cancel = cancel };

	return l->spec.impersonate_service_accounts.n ? tl_account_open(&options, ret, err) : 0;
}

static int source_open(struct launch *l, struct tl_cancel *cancel, uint64_t budget_ms,
		       struct token_source *s, struct tl_error *err)
{
	int r;

	s->launch = l;
	s->cancel = cancel;
	s->sources = (struct tl_attest_sources){ .bearer = source_bearer,
						 .bearer_ctx = s,
						 .principal = source_principal,
						 .principal_ctx = s,
						 .n_principals =
							 1 + l->spec.impersonate_service_accounts.n,
						 .collect = source_collect,
						 .collect_ctx = s,
						 .challenged = source_challenged,
						 .signatures_ctx = l->signatures };
	if (l->signatures)
		s->sources.signatures = signature_store_read;
	r = verifier_open(l, cancel, budget_ms, &s->verifier, err);
	if (r == 0)
		r = intel_open(l, cancel, &s->intel, err);
	return r < 0 ? r : accounts_open(l, cancel, &s->accounts, err);
}

int token_source_open(struct launch *l, struct tl_cancel *cancel, struct token_source *ret,
		      struct tl_error *err)
{
	int r;

	*ret = (struct token_source){ .is_metadata_own = true };
	r = metadata_open(l->options->metadata_host, cancel, &ret->metadata, err);
	/* Its verifier makes single attempts, which bring their own time. */
	return r < 0 ? r : source_open(l, cancel, 0, ret, err);
}

int token_source_open_main(struct launch *l, uint64_t budget_ms, struct token_source *ret,
			   struct tl_error *err)
{
	*ret = (struct token_source){ .metadata = l->metadata };
	return source_open(l, l->cancel, budget_ms, ret, err);
}

void token_source_close(struct token_source *s)
{
	tl_verifier_close(s->verifier);
	tl_verifier_close(s->intel);
	tl_account_close(s->accounts);
	if (s->is_metadata_own)
		metadata_close(s->metadata);
	*s = (struct token_source){ 0 };
}
