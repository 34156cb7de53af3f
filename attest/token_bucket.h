/* SPDX-License-Identifier: Apache-2.0 */
/* A token bucket: so many a minute, and so many at once after a quiet time. A value; no clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct token_bucket {
	uint64_t per_minute; /* 1 to 1,000,000 */
	uint64_t burst;      /* 1 to 1,000,000 */
	uint64_t level;      /* in 1/60000 of one */
	uint64_t at_ms;      /* when the level was right */
};

/** Full. */
struct token_bucket token_bucket_new(uint64_t per_minute, uint64_t burst, uint64_t now_ms);
/** Another rate from now on; what is above the new burst is lost. */
void token_bucket_adapt(struct token_bucket *b, uint64_t per_minute, uint64_t burst,
			uint64_t now_ms);
/** Whether there is one, or false with the time after which there will be. */
bool token_bucket_has(struct token_bucket *b, uint64_t now_ms, uint64_t *ret_wait_ms);
/** Take one, or false with the time after which there will be one. */
bool token_bucket_take(struct token_bucket *b, uint64_t now_ms, uint64_t *ret_wait_ms);
