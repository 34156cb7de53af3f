/* SPDX-License-Identifier: Apache-2.0 */
/* The own way of a layer: pull_own.c until it is extracted, pull_place.c from there. */
#pragma once

#include "pull_private.h"

/* The own way: until the layer is EXTRACTED, and from there into its snapshot. */
int pull_own_fetch(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		   struct tl_error *err);
int pull_own_commit(struct pull *p, struct pull_layer *l, struct tl_error *err);
/** After a failure @r of these: 0 if the layer is queued again, for the other way; else why not. */
int pull_own_fails(struct pull *p, struct pull_layer *l, int r, struct tl_error *err);
/** End the unpacker, close and forget the scratch. The snapshot stays. */
void pull_own_end(struct pull_layer *l);
