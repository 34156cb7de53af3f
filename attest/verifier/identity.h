/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Identity tokens of service accounts (OpenID Connect Core 1.0, section 2): signed by a key of the
 * configured set, by the configured issuer, for the challenge's name as audience. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define IDENTITY_JWKS_MAX   (256 * 1024)
#define IDENTITY_EMAIL_MAX  320 /* RFC 5321: 64 + 1 + 255 */
#define IDENTITY_CLOCK_SKEW 60  /* seconds that the issuer's clock may be ahead */

struct identity_keys; /* read-only */

/**
 * @jwks    RFC 7517 key set; keys that are neither RSA nor P-256 are skipped, one must be left
 * @issuer  what "iss" must be, exactly
 * Codes: TL_E_VERIFY_KEYS.
 */
int identity_keys_new(const char *jwks, size_t n, const char *issuer, struct identity_keys **ret,
		      struct tl_error *err);
struct identity_keys *identity_keys_free(struct identity_keys *k);
static inline void identity_keys_freep(struct identity_keys **k)
{
	*k = identity_keys_free(*k);
}
#define auto_identity_keys __attribute__((cleanup(identity_keys_freep)))

/**
 * Check one token (RS256 or ES256, as the key is).
 * @ret_email  new string: "email", which "email_verified" must confirm
 * Returns 0, or -EACCES with TL_E_VERIFY_IDENTITY, never quoting the token.
 */
int identity_check(const struct identity_keys *k, const struct tl_secret *token,
		   const char *audience, int64_t now_s, char **ret_email, struct tl_error *err);
