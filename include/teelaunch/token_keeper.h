/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token keeper: two threads that have a fresh token in the workload's folder for as long as the
 * verifier gives one, and an honest word beside it (token.status) when it doesn't.
 *
 * A refresh is due after 70 % to 90 % of the life left. A failed one is tried again with growing
 * pauses that shrink as the expiry nears (attest/token_schedule.h). Monotonic time decides; the
 * token's dates are compared with the verifier's clock (TL_CLOCK_SKEW_MAX_S). The expiry is noticed
 * when it comes, whatever attempt is under way.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/token_file.h>
#include <teelaunch/verifier_client.h>

enum tl_token_event {
	TL_TOKEN_REFRESHED,
	TL_TOKEN_REFRESH_FAILED, /* @err says why; the old token stays in the file */
	TL_TOKEN_HAS_EXPIRED,    /* and there is no other */
};

/* All borrowed until tl_token_keeper_stop(). */
struct tl_token_keeper_options {
	/* Used by the keeper's thread alone from start to stop; so is what the sources need. Opened
	 * with @quit as its cancellation, else stopping may last as long as one request. */
	struct tl_verifier *verifier;
	const struct tl_attest_sources *sources;
	const char *dir;        /* of the token file; its parent exists */
	uint64_t attempt_ms;    /* for one attempt, all its requests together; 0 = 25 s */
	struct tl_cancel *quit; /* requested by tl_token_keeper_stop() */
	/* Called in the keeper's thread before the first attempt of each refresh, not before it is
	 * tried again: what the sources give may be made up to date here. Its time is not the
	 * attempt's; it may take @budget_ms, a part of the old token's life. May be NULL. */
	void (*prepare)(void *ctx, uint64_t budget_ms);
	void *prepare_ctx;
	/* Called in the keeper's thread for each of the verifier's partial errors, before the
	 * event. May be NULL. */
	void (*warning)(void *ctx, const char *words);
	/* Called in the keeper's threads, after the files were written. @err: filled for
	 * TL_TOKEN_REFRESH_FAILED, else NULL. May be NULL. */
	void (*event)(void *ctx, enum tl_token_event event, const struct tl_token_status *status,
		      const struct tl_error *err);
	void *event_ctx; /* of @warning, too */
};

struct tl_token_keeper;

/**
 * Write the files for the token that there is, and keep it from now on. The state files are removed
 * by their owner, after the stop.
 * Codes: TL_E_TOKEN_FILE, TL_E_NO_MEMORY. After a failure some file may be there.
 */
int tl_token_keeper_start(const struct tl_token_keeper_options *options,
			  const struct tl_attest_result *first, struct tl_token_keeper **ret,
			  struct tl_error *err);

/** As token.status has it. Any thread. */
void tl_token_keeper_status(struct tl_token_keeper *k, struct tl_token_status *ret);

/** Ends the threads: blocks for the request under way, which is cancelled. NULL is fine; returns
 * NULL. */
struct tl_token_keeper *tl_token_keeper_stop(struct tl_token_keeper *k);
