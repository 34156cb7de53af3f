/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes, by OpenSSL's libcrypto, named by the TCG algorithm registry's numbers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* TCG Algorithm Registry rev. 1.34, table 3. */
enum tl_hash {
	TL_SHA1 = 0x0004,
	TL_SHA256 = 0x000B,
	TL_SHA384 = 0x000C,
	TL_SHA512 = 0x000D,
};

#define TL_HASH_SIZE_MAX 64
/* "sha512:" + 128 hex digits + NUL */
#define TL_DIGEST_TEXT_MAX 136

/** Digest size in bytes; 0 for a number that isn't in enum tl_hash. */
size_t tl_hash_size(uint16_t hash);
/** "sha1", "sha256", "sha384", "sha512"; NULL for others. */
const char *tl_hash_name(uint16_t hash);
/** The number for a name; 0 if unknown. */
uint16_t tl_hash_by_name(const char *name);

/** One-shot hash of @n bytes; @ret holds tl_hash_size(hash) bytes. 0, -EINVAL (hash) or -EIO. */
int tl_digest(uint16_t hash, const void *data, size_t n, uint8_t *ret);

/**
 * HKDF with SHA-256 (RFC 5869), without a salt: @ret_n (at most 8160) bytes out of @n bytes of key
 * material. @info names what they are for. 0 or -EIO.
 */
int tl_hkdf_sha256(const void *material, size_t n, const char *info, uint8_t *ret, size_t ret_n);

struct tl_hasher;                               /* a hash under way; not thread-safe */
struct tl_hasher *tl_hasher_new(uint16_t hash); /* NULL: unknown hash or out of memory */
int tl_hasher_update(struct tl_hasher *h, const void *data, size_t n);
/** Ends the hash; only _free may follow. */
int tl_hasher_final(struct tl_hasher *h, uint8_t *ret);
struct tl_hasher *tl_hasher_free(struct tl_hasher *h);
static inline void tl_hasher_freep(struct tl_hasher **h)
{
	*h = tl_hasher_free(*h);
}
#define auto_hasher __attribute__((cleanup(tl_hasher_freep)))

/* An OCI content digest (image-spec, descriptor.md, "Digests"), as text "sha256:<64 hex>". */
struct tl_digest_text {
	char text[TL_DIGEST_TEXT_MAX];
};

/** True for "sha256:" or "sha512:" and exactly the right number of lower-case hex digits. */
bool tl_digest_text_is_valid(const char *s);
/** The digest of @n bytes as text; sha256. 0 or -EIO. */
int tl_digest_text_of(const void *data, size_t n, struct tl_digest_text *ret);
