/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of Intel Trust Authority's appraisal API, v2: the nonce that comes, the request that goes.
 * Pure; the nonce is hostile.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/digest.h>
#include <teelaunch/verifier_client.h>

/* Each part of a nonce; some hundred bytes are usual. */
#define ITA_NONCE_PART_MAX_BYTES 4096
/* As GCA_REQUEST_MAX_BYTES. */
#define ITA_REQUEST_MAX_BYTES (8 * 1024 * 1024)
#define ITA_NONCE_BYTES       64

struct ita_nonce {
	struct tl_blob val, iat, signature;
	uint8_t challenge[ITA_NONCE_BYTES]; /* SHA-512 of val and iat: what is quoted */
};
void ita_nonce_done(struct ita_nonce *n);

/** The host of a region, "US" or "EU" in any case (ASCII); NULL: there is no such region. */
const char *ita_region_url(const char *region);

/** @ret  set on success only. TL_E_VERIFIER_RESPONSE, TL_E_NO_MEMORY. */
int ita_nonce_read(const json_t *reply, struct ita_nonce *ret, struct tl_error *err);

/** "ita://" and val's bytes. @ret  an empty buffer. 0 or -ENOMEM. */
int ita_audience(const struct ita_nonce *nonce, struct tl_buf *ret);

/**
 * @evidence    with a TDX quote
 * @signatures  of the image; NULL = none
 * @ret         an empty buffer; wipe it (tl_buf_done), it holds the tokens
 * TL_E_NO_MEMORY, or TL_E_VERIFIER_REFUSED when it would be larger than ITA_REQUEST_MAX_BYTES.
 */
int ita_token_body(const struct ita_nonce *nonce, const struct tl_secret *principals,
		   size_t n_principals, const struct tl_evidence *evidence,
		   const struct tl_image_signatures *signatures,
		   const struct tl_token_options *options, struct tl_buf *ret,
		   struct tl_error *err);
