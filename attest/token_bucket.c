/* SPDX-License-Identifier: Apache-2.0 */
#include "token_bucket.h"

#define ONE UINT64_C(60000) /* a millisecond at one a minute brings 1 */

struct token_bucket token_bucket_new(uint64_t per_minute, uint64_t burst, uint64_t now_ms)
{
	return (struct token_bucket){
		.per_minute = per_minute, .burst = burst, .level = burst * ONE, .at_ms = now_ms
	};
}

static void settle(struct token_bucket *b, uint64_t now_ms)
{
	uint64_t room = b->burst * ONE - b->level;
	uint64_t passed_ms = now_ms > b->at_ms ? now_ms - b->at_ms : 0;

	/* Divided, not multiplied: a machine may sleep for longer than the product could hold. */
	if (passed_ms > room / b->per_minute)
		b->level += room;
	else
		b->level += passed_ms * b->per_minute;
	b->at_ms = now_ms > b->at_ms ? now_ms : b->at_ms;
}

void token_bucket_adapt(struct token_bucket *b, uint64_t per_minute, uint64_t burst,
			uint64_t now_ms)
{
	settle(b, now_ms);
	b->per_minute = per_minute;
	b->burst = burst;
	if (b->level > burst * ONE)
		b->level = burst * ONE;
}

bool token_bucket_has(struct token_bucket *b, uint64_t now_ms, uint64_t *ret_wait_ms)
{
	settle(b, now_ms);
	if (b->level >= ONE)
		return true;
	*ret_wait_ms = (ONE - b->level + b->per_minute - 1) / b->per_minute;
	return false;
}

bool token_bucket_take(struct token_bucket *b, uint64_t now_ms, uint64_t *ret_wait_ms)
{
	if (!token_bucket_has(b, now_ms, ret_wait_ms))
		return false;
	b->level -= ONE;
	return true;
}
