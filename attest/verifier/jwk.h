/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Web Keys (RFC 7517, RFC 7518 section 6) to and from OpenSSL: RSA and P-256. Pure. */
#pragma once

#include <stddef.h>

#include <jansson.h>
#include <openssl/types.h>

#include <teelaunch/error.h>

/* RFC 7638: base64url of a SHA-256, and a NUL. */
#define JWK_KID_MAX 44

/** "RS256" or "ES256", by the kind of key; NULL for any other, and for RSA below 2048 bits. */
const char *jwk_alg(const EVP_PKEY *key);

/** The public key alone: kty and its parameters, nothing else. A new reference, or NULL. */
json_t *jwk_public(const EVP_PKEY *key);

/** The RFC 7638 thumbprint. 0 or -ENOMEM. */
int jwk_thumbprint(const EVP_PKEY *key, char ret[JWK_KID_MAX]);

/**
 * The key of a JWK, which must be one that jwk_alg() names.
 * Returns a new key, or NULL if it can't be read.
 */
EVP_PKEY *jwk_key(const json_t *jwk);
