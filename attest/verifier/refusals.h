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

struct refusals {
	struct tl_error items[REFUSALS_MAX];
	size_t n; /* all refusals, the ones that found no room counted */
};

/** Add one; @fmt as for tl_fail(). */
void refuse(struct refusals *r, enum tl_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/** Add a filled error. */
void refuse_error(struct refusals *r, const struct tl_error *err);

/** How many can be read from items[]. */
static inline size_t refusals_kept(const struct refusals *r)
{
	return r->n < REFUSALS_MAX ? r->n : REFUSALS_MAX;
}
