/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/digest.h>

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

static const struct hash {
	uint16_t id;
	const char *name;
	size_t size;
	const EVP_MD *(*md)(void);
} hashes[] = {
	{ TL_SHA1, "sha1", 20, EVP_sha1 },
	{ TL_SHA256, "sha256", 32, EVP_sha256 },
	{ TL_SHA384, "sha384", 48, EVP_sha384 },
	{ TL_SHA512, "sha512", 64, EVP_sha512 },
};

static const struct hash *find(uint16_t id)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(hashes); i++)
		if (hashes[i].id == id)
			return &hashes[i];
	return NULL;
}

size_t tl_hash_size(uint16_t hash)
{
	const struct hash *h = find(hash);

	return h ? h->size : 0;
}

const char *tl_hash_name(uint16_t hash)
{
	const struct hash *h = find(hash);

	return h ? h->name : NULL;
}

uint16_t tl_hash_by_name(const char *name)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(hashes); i++)
		if (strcmp(hashes[i].name, name) == 0)
			return hashes[i].id;
	return 0;
}

int tl_digest(uint16_t hash, const void *data, size_t n, uint8_t *ret)
{
	const struct hash *h = find(hash);

	if (!h)
		return -EINVAL;
	return EVP_Digest(data, n, ret, NULL, h->md(), NULL) == 1 ? 0 : -EIO;
}

int tl_hkdf_sha256(const void *material, size_t n, const char *info, uint8_t *ret, size_t ret_n)
{
	/* OSSL_PARAM has no const; neither is written to. */
	union {
		const void *in;
		void *out;
	} key = { .in = material }, label = { .in = info };
	char hash[] = "SHA256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.out, n),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, label.out, strlen(info)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_HKDF, NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ok = ctx && EVP_KDF_derive(ctx, ret, ret_n, params) == 1;

	EVP_KDF_CTX_free(ctx); /* wipes the key */
	EVP_KDF_free(kdf);
	return ok ? 0 : -EIO;
}

struct tl_hasher {
	EVP_MD_CTX *ctx;
};

struct tl_hasher *tl_hasher_new(uint16_t hash)
{
	auto_hasher struct tl_hasher *h = calloc(1, sizeof(*h));
	const struct hash *row = find(hash);

	if (!h || !row)
		return NULL;
	h->ctx = EVP_MD_CTX_new();
	if (!h->ctx || EVP_DigestInit_ex(h->ctx, row->md(), NULL) != 1)
		return NULL;
	return take_ptr(h);
}

int tl_hasher_update(struct tl_hasher *h, const void *data, size_t n)
{
	return EVP_DigestUpdate(h->ctx, data, n) == 1 ? 0 : -EIO;
}

int tl_hasher_final(struct tl_hasher *h, uint8_t *ret)
{
	return EVP_DigestFinal_ex(h->ctx, ret, NULL) == 1 ? 0 : -EIO;
}

struct tl_hasher *tl_hasher_free(struct tl_hasher *h)
{
	if (h)
		EVP_MD_CTX_free(h->ctx);
	free(h);
	return NULL;
}

bool tl_digest_text_is_valid(const char *s)
{
	size_t digits;

	if (strncmp(s, "sha256:", 7) == 0)
		digits = 64;
	else if (strncmp(s, "sha512:", 7) == 0)
		digits = 128;
	else
		return false;
	return strspn(s + 7, "0123456789abcdef") == digits && s[7 + digits] == '\0';
}

int tl_digest_text_of(const void *data, size_t n, struct tl_digest_text *ret)
{
	uint8_t digest[32];

	if (tl_digest(TL_SHA256, data, n, digest) < 0)
		return -EIO;
	memcpy(ret->text, "sha256:", 7);
	tl_hex_encode(digest, sizeof(digest), ret->text + 7);
	return 0;
}
