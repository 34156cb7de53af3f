/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens in compact form (RFC 7515, 7519) held against a JWK set (RFC 7517). The key says
 * which algorithm it is for, never the token: RS256, PS256 (only by a key whose "alg" says so) or
 * ES256. Hostile bytes. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include <teelaunch/error.h>

#define JWK_SET_BYTES_MAX (256 * 1024)
#define JWK_SET_KEYS_MAX  32

struct jwk_set; /* read-only */

/**
 * Keys that are no RSA or P-256 keys, or are for something else than such signatures, are skipped;
 * one must be left. Codes: TL_E_VERIFY_KEYS.
 */
int jwk_set_new(const char *text, size_t n, struct jwk_set **ret, struct tl_error *err);
struct jwk_set *jwk_set_free(struct jwk_set *s);
static inline void jwk_set_freep(struct jwk_set **s)
{
	*s = jwk_set_free(*s);
}
#define auto_jwk_set __attribute__((cleanup(jwk_set_freep)))

/* The three parts. */
struct signed_jwt {
	json_t *header; /* objects */
	json_t *claims;
	uint8_t *signature;
	size_t signature_n;
	const char *signed_text; /* borrowed: header and claims with the dot, as they stand there */
	size_t signed_n;
};
void signed_jwt_done(struct signed_jwt *j);
#define auto_signed_jwt __attribute__((cleanup(signed_jwt_done)))

/**
 * @text  must outlive @ret
 * @ret   owned by the caller in any case
 * Returns 0, -EINVAL when it is no compact JWT, or -ENOMEM.
 */
int signed_jwt_parse(const char *text, size_t n, struct signed_jwt *ret);

/** NULL: signed by a key of the set. Else what is wrong, as words after "the token: "; static. */
const char *signed_jwt_fault(const struct jwk_set *keys, const struct signed_jwt *jwt);
