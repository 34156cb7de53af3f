/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token as its reader has to check it: signature, dates, audience. Every reason is told, whether
 * or not there was one before. Pure; hostile bytes.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include <teelaunch/error.h>

#include "refusals.h"
#include "signed_jwt.h"

#define TOKEN_BYTES_MAX    (1024 * 1024)
#define TOKEN_CLOCK_SKEW_S 60 /* that the issuer's clock may be ahead */

struct token_rules {
	const struct jwk_set *keys;
	const char *audience; /* that must be among the token's; NULL: not looked at */
	int64_t now_s;
};

/**
 * @ret_claims  a new reference, also if the token is refused: then they are nobody's word
 * @refusals    TL_E_VERIFY_TOKEN_SIGNATURE, TL_E_VERIFY_TOKEN_CLAIMS
 * Returns 0 (judged), -EBADMSG (TL_E_TOKEN_MALFORMED: no compact JWT) or -ENOMEM. No message quotes
 * the token.
 */
int token_check(const struct token_rules *rules, const char *token, size_t n, json_t **ret_claims,
		struct refusals *refusals, struct tl_error *err);
