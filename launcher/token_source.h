/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that asks a verifier for tokens in the machine's name, for one thread. */
#pragma once

#include <teelaunch/account_token.h>
#include <teelaunch/tee.h>
#include <teelaunch/verifier_client.h>

#include "sequence.h"

struct token_source {
	struct launch *launch;    /* borrowed: TEE, certificates, the accounts to act for */
	struct tl_cancel *cancel; /* borrowed */
	struct metadata *metadata;
	struct tl_account_client *accounts; /* NULL: none is impersonated */
	struct tl_verifier *verifier;
	struct tl_verifier *intel; /* Intel Trust Authority; NULL: not asked for */
	struct tl_attest_sources sources;
	bool is_metadata_own;
};

/**
 * With a metadata reader of its own, for a thread of its own: nothing but the TEE is shared.
 * Project and region come from the launch's reader, which has read them once.
 *
 * @ret  holds pointers to itself: it stays where it is. token_source_close() in every case
 * No I/O, if the launch's reader has both.
 */
int token_source_open(struct launch *l, struct tl_cancel *cancel, struct token_source *ret,
		      struct tl_error *err);
/** The same with the launch's own reader and cancellation, for the main thread. @budget_ms: for a
 * whole tl_verifier_attest(). */
int token_source_open_main(struct launch *l, uint64_t budget_ms, struct token_source *ret,
			   struct tl_error *err);
/**
 * Evidence with the certificates above the attestation key's, if they can be had: a verifier may
 * have its own. As tl_tee_evidence().
 */
int token_source_evidence(struct token_source *s, const void *nonce, size_t n,
			  struct tl_evidence *ret, struct tl_error *err);
/** A source of zeros is fine. */
void token_source_close(struct token_source *s);
