/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every reason why evidence was refused: checks that don't depend on one another all run, and each
 * adds what it found. By value, allocates nothing, so that a refusal can never get lost for lack of
 * memory.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/error.h>

/* More than the independent checks there are over four banks; further ones are only counted. */
#define REFUSALS_MAX 32

/* Two digests of 64 bytes would fit beside their names. */
#define REFUSAL_VALUE_MAX 160

/* What a check compared, as text; both "" if it didn't compare two values. */
struct refusal_values {
	char expected[REFUSAL_VALUE_MAX];
	char found[REFUSAL_VALUE_MAX];
};

struct refusals {
	struct tl_error items[REFUSALS_MAX];
	struct refusal_values values[REFUSALS_MAX];
	size_t n; /* all refusals, the ones that found no room counted */
};

/** Add one; @fmt as for tl_fail(). */
void refuse(struct refusals *r, enum tl_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/** The values of the refusal that was added last. */
void refuse_values(struct refusals *r, const char *expected, const char *found);
/** The same for bytes, shown in hex; NULL is nothing. */
void refuse_bytes(struct refusals *r, const void *expected, size_t expected_n, const void *found,
		  size_t found_n);

/** Add a filled error. */
void refuse_error(struct refusals *r, const struct tl_error *err);

/** How many can be read from items[]. */
static inline size_t refusals_kept(const struct refusals *r)
{
	return r->n < REFUSALS_MAX ? r->n : REFUSALS_MAX;
}
