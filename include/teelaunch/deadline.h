/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as values: nothing here reads a clock. "now" is monotonic milliseconds (tl_clock_mono_ms()
 * in io/), so every schedule can be tested without waiting.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tl_deadline {
	uint64_t at_ms; /* monotonic; UINT64_MAX = never */
};

struct tl_deadline tl_deadline_in(uint64_t now_ms, uint64_t budget_ms);
struct tl_deadline tl_deadline_never(void);
/** The earlier of the two. */
struct tl_deadline tl_deadline_min(struct tl_deadline a, struct tl_deadline b);
bool tl_deadline_is_past(struct tl_deadline d, uint64_t now_ms);
/** Milliseconds left: 0 when past, UINT64_MAX when never. */
uint64_t tl_deadline_left_ms(struct tl_deadline d, uint64_t now_ms);

/* Retry schedule: exponential with full jitter, a cap, and a number of attempts. */
struct tl_backoff {
	uint64_t base_ms;
	uint64_t cap_ms;
	unsigned int attempts_max; /* all attempts, the first one counted */
};

/**
 * How long to wait before attempt number @attempt (2 = the first retry).
 *
 * @random  uniform over the whole range of uint64_t; the wait is uniform in [0, min(cap, base *
 * 2^(attempt-2))] Returns true and sets @ret_ms, or false when the attempts are used up.
 */
bool tl_backoff_next(const struct tl_backoff *b, unsigned int attempt, uint64_t random,
		     uint64_t *ret_ms);
