/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier's own keys, and JWTs signed by them (RFC 7515 compact form, RS256 or ES256; for
 * ES256 the signature is r || s, RFC 7518 section 3.4).
 */
#pragma once

#include <stddef.h>

#include <jansson.h>
#include <openssl/types.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define TOKEN_KEYS_MAX 8

struct token_keys; /* read-only once filled */
struct token_keys *token_keys_new(void);
struct token_keys *token_keys_free(struct token_keys *k);
static inline void token_keys_freep(struct token_keys **k)
{
	*k = token_keys_free(*k);
}
#define auto_token_keys __attribute__((cleanup(token_keys_freep)))

/**
 * Add the private keys of a PEM text, at least one, unencrypted: RSA of 2048 to 4096 bits, or
 * P-256. The first one added signs; all are published, so that a key can be announced before it
 * signs, and stay after. Codes: TL_E_VERIFY_KEYS.
 */
int token_keys_add(struct token_keys *k, const struct tl_secret *pem, struct tl_error *err);
/** Add a P-256 key that nobody else has. Codes: TL_E_VERIFY_KEYS. */
int token_keys_make(struct token_keys *k, struct tl_error *err);
size_t token_keys_count(const struct token_keys *k);

/** Of all keys, the one that signs first: "RS256", "ES256". A new reference, or NULL. */
json_t *token_keys_algs(const struct token_keys *k);
/** RFC 7638 thumbprint of the key that signs. */
const char *token_keys_kid(const struct token_keys *k);

/** The JWK set with all public keys: kty, parameters, use, alg, kid. A new reference, or NULL. */
json_t *token_keys_jwks(const struct token_keys *k);

/** @ret  the compact JWT, owned by the caller. A token is a secret: never log it. */
int jwt_sign(const struct token_keys *k, const json_t *claims, struct tl_secret *ret,
	     struct tl_error *err);

/**
 * The parts that all kinds of tokens share.
 * @alg     "RS256" or "ES256", the key's
 * @header  borrowed; NULL is lack of memory
 */
int jwt_sign_as(EVP_PKEY *key, const char *alg, const json_t *header, const json_t *claims,
		struct tl_secret *ret, struct tl_error *err);

/** The first private key of a PEM text, never asking for a password; NULL if there is none. */
EVP_PKEY *private_key_read(const struct tl_secret *pem);
