/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resource names of the Confidential Computing REST API, v1:
 * projects/P/locations/R and projects/P/locations/R/challenges/ID. Pure.
 */
#pragma once

#include <stddef.h>

/* Project ids have at most 30 characters, with a domain prefix more; locations some 20. */
#define RESOURCE_PART_MAX 100
/* A challenge id of ours has 76 characters (challenge.h). */
#define RESOURCE_ID_MAX 128

struct resource {
	char project[RESOURCE_PART_MAX + 1];
	char location[RESOURCE_PART_MAX + 1];
	char challenge[RESOURCE_ID_MAX + 1]; /* "" = the name of a location */
};

/**
 * Read a name, without a leading slash. Parts are 1..MAX characters of [A-Za-z0-9._:-]; challenge
 * ids of [A-Za-z0-9_-].
 * Returns 0 or -EINVAL; @ret is set on success only.
 */
int resource_parse(const char *name, size_t n, struct resource *ret);
