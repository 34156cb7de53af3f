/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What callers may spend of one budget: together no more than the budget, and each no more than its
 * share of the rate, an equal part among those who asked within the last minute. One caller alone
 * has it all. A value; no clock.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "token_bucket.h"

#define TOKEN_CALLERS_MAX 17 /* 16 containers, and whatever isn't one */
/* Who hasn't asked for so long has no share. */
#define TOKEN_SHARE_MS 60000

struct token_shares {
	uint64_t per_minute, burst;
	struct token_bucket total;
	struct token_sharer {
		struct token_bucket bucket;
		uint64_t asked_at_ms;
		bool has_asked;
	} callers[TOKEN_CALLERS_MAX];
};

void token_shares_init(struct token_shares *s, uint64_t per_minute, uint64_t burst,
		       uint64_t now_ms);
/** Take one for caller number @who, or false with the time after which there may be one. */
bool token_shares_take(struct token_shares *s, size_t who, uint64_t now_ms, uint64_t *ret_wait_ms);
