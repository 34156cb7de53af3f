/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stateless challenges: the id authenticates itself, so that any replica with the same key can
 * answer for it.
 *
 *   id    = base64url(version 1 | expiry, 8 bytes big-endian seconds | 16 random bytes | MAC)
 *   MAC   = HMAC-SHA256(key, "teelaunch challenge 1" | project | location | the bytes before it)
 *   nonce = HMAC-SHA256(key, "teelaunch nonce 1" | id's bytes), 32 bytes
 *
 * Several keys can be in force: the first makes challenges, all are accepted, so that keys change
 * while replicas with the old and the new files answer each other's challenges.
 *
 * Single use is NOT enforced across replicas: each replica remembers the challenges it saw itself,
 * a bounded number of them, the oldest forgotten first. That is sound, because presenting evidence
 * twice within a challenge's short life proves nothing new: the nonce still shows that the TPM made
 * the quote after the challenge was issued, and the token says the same things about the same boot.
 * The memory only keeps a stolen request from being answered again by the same replica.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#include "resource.h"

#define CHALLENGE_NONCE_BYTES   32
#define CHALLENGE_KEY_BYTES_MIN 32
#define CHALLENGE_KEYS_MAX      4
#define CHALLENGE_TTL_S_DEFAULT 300
#define CHALLENGE_TTL_S_MAX     3600
/* What one replica remembers: some 100 verifications a second over the default life time. */
#define CHALLENGE_USED_MAX 32768

/* Thread-safe: the keys never change, and what was presented is remembered under a lock. */
struct challenge_minter;

/**
 * @keys      copied; each of at least CHALLENGE_KEY_BYTES_MIN bytes; the first makes challenges
 * @keys_n    0 = one random key, for this process alone; at most CHALLENGE_KEYS_MAX
 * @used_max  how many presented challenges are remembered, at least 1. From 16 on they are kept in
 *            groups of 16 by chance, so a full memory forgets some a little early.
 */
int challenge_minter_new(const struct tl_secret *keys, size_t keys_n, uint64_t ttl_s,
			 size_t used_max, struct challenge_minter **ret, struct tl_error *err);
/**
 * The same with other keys; @old and the new one share what they remember, and either may go first.
 * @keys_n  0 = the keys of @old
 */
int challenge_minter_renew(const struct challenge_minter *old, const struct tl_secret *keys,
			   size_t keys_n, uint64_t ttl_s, struct challenge_minter **ret,
			   struct tl_error *err);
struct challenge_minter *challenge_minter_free(struct challenge_minter *m);
static inline void challenge_minter_freep(struct challenge_minter **m)
{
	*m = challenge_minter_free(*m);
}
#define auto_challenge_minter __attribute__((cleanup(challenge_minter_freep)))

/**
 * A new challenge for the project and location of @where.
 * @ret  a copy of @where with the id filled in
 */
int challenge_issue(const struct challenge_minter *m, int64_t now_s, const struct resource *where,
		    struct resource *ret, uint8_t ret_nonce[CHALLENGE_NONCE_BYTES],
		    struct tl_error *err);

/**
 * Check a challenge that a caller presents, and remember it as used, whatever comes of the rest.
 *
 * Returns 0, or -EACCES with TL_E_VERIFY_CHALLENGE_FORGED, _EXPIRED or _USED. MACs are compared in
 * constant time. @ret_nonce is set on success only.
 */
int challenge_redeem(const struct challenge_minter *m, int64_t now_s, const struct resource *name,
		     uint8_t ret_nonce[CHALLENGE_NONCE_BYTES], struct tl_error *err);
