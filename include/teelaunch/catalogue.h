/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error catalogue: every failure a user can see has one row in src/core/catalogue.def. The
 * table generates this enum, the texts, `teelaunch explain-error` and teelaunch-errors(7). A number
 * is never reused and never changes its meaning.
 */
#pragma once

#include <stddef.h>

/* What may follow from a failure (docs/ARCHITECTURE.md, exit decision). */
enum tl_class {
	TL_FATAL,    /* integrity, or a bug: never retried */
	TL_DENIED,   /* policy or an input that a retry can't change */
	TL_RETRY,    /* network, registry, verifier, containerd, TPM busy */
	TL_WORKLOAD, /* the workload itself ended badly */
};

enum tl_code {
	TL_OK = 0,
#define TL_ROW(number, name, stage, class, cause, effect, action) name = number,
#include "../../src/core/catalogue.def"
#undef TL_ROW
};

struct tl_catalogue_row {
	enum tl_code code;
	char id[7]; /* "TL0301" */
	enum tl_class class : 8;
	const char *stage;  /* stage of the launch in which it arises */
	const char *effect; /* what it means for the launch */
	const char *action; /* what to do now */
};

/* What only tools for people show: apart, so that the launcher doesn't carry it. */
struct tl_catalogue_words {
	const char *name;  /* "TL_E_IMAGE_REF_MISSING" */
	const char *cause; /* what happened, in general terms */
};

/** The whole table, ordered by number; @ret_n gets its length. Static storage. */
const struct tl_catalogue_row *tl_catalogue(size_t *ret_n);

/** The row of @code, or the row of TL_E_INTERNAL when there is none. Never NULL. */
const struct tl_catalogue_row *tl_catalogue_find(enum tl_code code);

/** The same. */
const struct tl_catalogue_words *tl_catalogue_words(enum tl_code code);

/** "fatal", "denied", "retry", "workload". */
const char *tl_class_name(enum tl_class class);
