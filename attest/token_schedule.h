/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to refresh a token. Pure: time and chance come in as values. The numbers are those of the
 * Confidential Space launcher (its refresher multiplies and adds doubles in this very order), so
 * that a fleet of both behaves alike.
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
