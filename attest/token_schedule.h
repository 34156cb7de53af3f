/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to refresh a token. Pure: time and chance come in as values. The numbers are those of the
 * Confidential Space launcher (its refresher multiplies and adds doubles in this very order), so
 * that a fleet of both behaves alike; but that launcher knows no deadline: one outage of some
 * minutes can leave it without a token for more than an hour.
 */
#pragma once

#include <stdint.h>

/** A uniform value of [0, 1) out of 64 uniform bits. */
double token_unit_random(uint64_t bits);

/**
 * Nanoseconds until the next refresh of a token with @remaining_ns of life left: 70 % to 90 % of
 * it. A negative life counts as none. @random is in [0, 1).
 */
int64_t token_next_wait_ns(int64_t remaining_ns, double random);

/**
 * Nanoseconds until retry number @attempt (1 = the first) of a refresh that failed: 60 s, doubling
 * up to 3600 s, each spread over 50 % to 150 %. @random is in [0, 1).
 */
int64_t token_backoff_ns(unsigned int attempt, double random);

/* As expiry nears, and after it, no wait is longer: a service that is back is noticed in time. */
#define TOKEN_URGENT_WAIT_MS 30000
/* A service that asks for a longer pause than this isn't believed. */
#define TOKEN_RETRY_AFTER_MAX_MS (3600 * 1000)
/* The least pause between two refreshes, however short a token lives. */
#define TOKEN_PAUSE_MIN_MS 1000

/* 292 years of nanoseconds fit in an int64_t; a life longer than a century is cut. */
#define TOKEN_LIFE_MAX_S (INT64_C(100) * 365 * 86400)

/* What the keeper of a token waits for. Times are monotonic milliseconds. */
struct token_plan {
	uint64_t expires_at_ms;
	uint64_t next_at_ms;   /* of the next attempt */
	unsigned int failures; /* since the last success */
};

/** A token came at @now_ms that lives @life_ms longer. */
void token_plan_success(struct token_plan *p, uint64_t now_ms, uint64_t life_ms, double random);

/**
 * An attempt failed at @now_ms. The wait is token_backoff_ns(), but never longer than a quarter of
 * the life left or TOKEN_URGENT_WAIT_MS, whichever is more; such a shortened wait is spread over
 * 50 % to 100 %. The verifier's own @retry_after_ms (0: none; an hour at most) is the
 * least, spread over 100 % to 150 %.
 */
void token_plan_failure(struct token_plan *p, uint64_t now_ms, uint64_t retry_after_ms,
			double random);
