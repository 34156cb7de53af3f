/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims as AWS can read them: sts:AssumeRoleWithWebIdentity takes conditions on session tags, in
 * the claim "https://aws.amazon.com/tags" (AWS, "Passing session tags using
 * AssumeRoleWithWebIdentity"), object "principal_tags", each a list of one string. The names are
 * those of Confidential Space (token-claims page, "AWS principal tag claims"): hwmodel, swname,
 * swversion, gce.project_id, gce.zone, and either container.image_digest or
 * container.signatures.key_ids: sorted key ids joined by "=". There is no
 * confidential_space.support_attributes: nobody says so much of our images. Ours are dbgstat and
 * teelaunch_image.root_hash: without them a policy could not tell a debug image. Pure.
 */
#pragma once

#include "claims.h"

#define CLAIMS_AWS "https://aws.amazon.com/tags"

/**
 * @key_ids  wanted in the tag container.signatures.key_ids, instead of the image's digest; those
 *           without a good signature are left out, and without any there is neither tag
 * @ret      a new reference, set on success only
 *
 * Returns 0, -EINVAL with TL_E_VERIFY_TOKEN_OPTIONS if the key ids don't fit a tag, or -ENOMEM.
 */
int claims_aws_build(const struct claims_options *opt, const struct tl_strv *key_ids,
		     const struct checked_evidence *ev, json_t **ret, struct tl_error *err);
