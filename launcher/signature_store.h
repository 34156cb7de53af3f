/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signatures of the image that is launched: asked for by one thread at a time (the main one
 * before the first token, then the token keeper's before each refresh, or signature_keeper.h's),
 * read by all that ask for tokens. A request on the token socket never asks a repository.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/cancel.h>
#include <teelaunch/image_signature.h>

#define SIGNATURES_MS 10000 /* for asking all repositories */

struct launch;
struct metadata;
struct signature_store;

/** NULL in @ret without tee-signed-image-repos. Borrows the launch's options, spec and image. */
int signature_store_new(const struct launch *l, struct signature_store **ret, struct tl_error *err);
struct signature_store *signature_store_free(struct signature_store *s);

/**
 * Ask the repositories, and log what came of it. Blocks for at most @budget_ms, and for a token of
 * the account if one of them is a registry that may see it. Never fails: what can't be had is
 * missing, and said.
 *
 * @metadata  this thread's own
 * Returns false if something is missing that may be had soon: a repository that didn't answer.
 */
bool signature_store_refresh(struct signature_store *s, struct metadata *metadata,
			     struct tl_cancel *cancel, uint64_t budget_ms);

/** tl_attest_sources.signatures: the last ones. Any thread; doesn't block. */
int signature_store_read(void *store, struct tl_image_signatures *ret, struct tl_error *err);
