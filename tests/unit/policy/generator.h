/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A generator of attributes documents and labels, for the properties that must hold of every
 * launch. The same seed gives the same cases. It fails the running test when it can't go on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/launch_policy.h>

#define MEMBERS_MAX 48
#define VALUES_MAX  8
#define LADDERS     10

/* xorshift; @seed is never 0. */
uint32_t next_random(uint32_t *seed);
bool coin(uint32_t *seed);

/*
 * What a key may say. # stands for a digit from 1, @ for a letter from A to C, both anew each time.
 */
struct source {
	const char *name;
	const char *good[VALUES_MAX]; /* allowed by the loosest labels */
	const char *bad[VALUES_MAX];  /* refused, or allowed by no label */
	const char *unless;           /* left out of a good document that has this one */
};

/* Row @i; NULL past the end. */
const struct source *key_source(size_t i);

/* From loosest to tightest, NULL for an absent label; what is equal may stand in any order. */
struct ladder {
	const char *name, *values[VALUES_MAX];
	size_t n;
	enum { ANY, OLD_MONITORING, NEW_MONITORING } kind; /* the old label excludes the new ones */
};
extern const struct ladder ladders[LADDERS];

/* Members of a JSON object, each as text, so that they can be put in any order. */
struct members {
	char *names[MEMBERS_MAX], *texts[MEMBERS_MAX];
	size_t n;
};

void members_done(struct members *m);
#define auto_members __attribute__((cleanup(members_done)))

bool members_have(const struct members *m, const char *name);
void members_shuffle(struct members *m, uint32_t *seed);

/* The object; the caller frees it. */
char *members_text(const struct members *m);

/* An attributes document: one that the loosest labels allow, or any. */
void attributes_random(struct members *m, bool is_good, uint32_t *seed);

/* The labels on these rungs, with the old monitoring label or with the new ones. */
void labels_write(struct members *m, const unsigned int *rungs, bool is_old_monitoring);

/* The loosest labels, or any: also one that can't be read. */
void labels_random(struct members *m, bool is_good, uint32_t *seed);
