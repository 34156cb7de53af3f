/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signatures of an image that repositories have: cosign's tag (sha256-<hex>.sig), and what
 * refers to the image (OCI 1.1: the referrers interface, or its tag sha256-<hex> where a registry
 * has none). Asked with the registry client that pulls images: same roots, same rules about the
 * account's token, same limits.
 *
 * What is found is data for the verifier. Here only what can't be a signature of this image is
 * dropped: a payload without its digest or for another image, a signature that isn't base64.
 */
#pragma once

#include <teelaunch/cancel.h>
#include <teelaunch/image_signature.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

#define SIGNATURE_REPOS_MAX 16

struct signature_access {
	const struct tl_strv *roots; /* as tl_registry_options, all borrowed */
	const char *google_roots;
	const char *user_agent;
	const struct tl_secret *access_token;
	struct tl_cancel *cancel;
	uint64_t budget_ms; /* for all repositories; each gets its share of what is left */
	/* Something is missing: a whole repository, or, with TL_E_IMAGE_SIGNATURE, one signature of
	 * it. */
	void (*problem)(void *ctx, const char *repo, const struct tl_error *err);
	void *problem_ctx;
};

struct signature_repo {
	char *text; /* as it was given */
	/* Of the last time that it could be asked. A failure that may go away (network, 429, 5xx)
	 * takes nothing away; an answer does, "denied" too. */
	struct tl_image_signatures found;
	size_t dropped;
};

/* By value; one thread at a time. */
struct signature_finder {
	char *digest; /* of the image: the index's, if it has one */
	struct signature_repo *repos;
	size_t n;
};

/**
 * @repos   the first SIGNATURE_REPOS_MAX different ones count
 * @digest  valid per tl_digest_text_is_valid()
 * Returns 0 or -ENOMEM; signature_finder_done() in any case.
 */
int signature_finder_init(struct signature_finder *f, const struct tl_strv *repos,
			  const char *digest);
void signature_finder_done(struct signature_finder *f);

/**
 * Ask all repositories, one after the other. Blocks for at most the budget.
 *
 * @ret  an empty list: what all repositories have, one of each in turn, within the list's limits:
 *       none crowds out another
 * Returns 0 (whatever failed was told to @access->problem) or -ENOMEM.
 */
int signature_finder_run(struct signature_finder *f, const struct signature_access *access,
			 struct tl_image_signatures *ret);
