/* SPDX-License-Identifier: Apache-2.0 */
#include "token_source.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "metadata.h"
#include "signature_store.h"

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

static int verifier_open(struct launch *l, struct tl_cancel *cancel, uint64_t budget_ms,
			 struct tl_verifier **ret, struct tl_error *err)
{
	struct tl_verifier_options options = {
		.url = l->options->verifier,
		.ca_file = l->options->verifier_roots,
		.api = strcmp(l->options->verifier_api, "verifyAttestation") == 0
			       ? TL_VERIFIER_ATTESTATION
			       : TL_VERIFIER_CONFIDENTIAL_SPACE,
		.budget_ms = budget_ms,
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

static int source_open(struct launch *l, struct tl_cancel *cancel, uint64_t budget_ms,
		       struct token_source *s, struct tl_error *err)
{
	s->tee = l->tee;
	s->sources = (struct tl_attest_sources){ .bearer = source_bearer,
						 .bearer_ctx = s,
						 .principal = source_principal,
						 .principal_ctx = s,
						 .n_principals = 1,
						 .collect = source_collect,
						 .collect_ctx = s,
						 .signatures_ctx = l->signatures };
	if (l->signatures)
		s->sources.signatures = signature_store_read;
	return verifier_open(l, cancel, budget_ms, &s->verifier, err);
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
	if (s->is_metadata_own)
		metadata_close(s->metadata);
	*s = (struct token_source){ 0 };
}
