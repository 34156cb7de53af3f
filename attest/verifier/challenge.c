/* SPDX-License-Identifier: Apache-2.0 */
#include "challenge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#define VERSION      1
#define EXPIRY_AT    1
#define RANDOM_AT    9
#define RANDOM_BYTES 16
#define MAC_AT       25
#define MAC_BYTES    32
#define ID_BYTES     (MAC_AT + MAC_BYTES)
/* Enough of the MAC to tell challenges apart that all had a good one. */
#define USED_BYTES 16

struct used {
	uint8_t mac[USED_BYTES];
};

struct challenge_minter {
	struct tl_secret key;
	uint64_t ttl_s;
	struct used *used; /* a ring */
	size_t used_max;
	size_t used_n;
	size_t used_next;
};

int challenge_minter_new(const struct tl_secret *key, uint64_t ttl_s, size_t used_max,
			 struct challenge_minter **ret, struct tl_error *err)
{
	auto_challenge_minter struct challenge_minter *m = calloc(1, sizeof(*m));
	uint8_t random[CHALLENGE_KEY_BYTES_MIN];
	int r;

	if (key && key->len_bytes < CHALLENGE_KEY_BYTES_MIN)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the challenge key has %zu bytes; it needs at least %d",
			       key->len_bytes, CHALLENGE_KEY_BYTES_MIN);
	if (m)
		m->used = calloc(used_max, sizeof(*m->used));
	if (!m || !m->used)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for challenges");
	m->ttl_s = ttl_s;
	m->used_max = used_max;
	if (!key && RAND_bytes(random, sizeof(random)) != 1)
		return tl_fail(err, TL_E_INTERNAL, EIO, "no random bytes for the challenge key");
	r = key ? tl_secret_set(&m->key, key->bytes, key->len_bytes)
		: tl_secret_set(&m->key, random, sizeof(random));
	OPENSSL_cleanse(random, sizeof(random));
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the challenge key");
	*ret = take_ptr(m);
	return 0;
}

struct challenge_minter *challenge_minter_free(struct challenge_minter *m)
{
	if (m) {
		tl_secret_done(&m->key);
		free(m->used);
		free(m);
	}
	return NULL;
}

static int hmac(const struct challenge_minter *m, const struct tl_buf *text, uint8_t ret[MAC_BYTES],
		struct tl_error *err)
{
	unsigned int n = MAC_BYTES;

	if (!HMAC(EVP_sha256(), m->key.bytes, (int)m->key.len_bytes, text->data, text->len_bytes,
		  ret, &n))
		return tl_fail(err, TL_E_INTERNAL, EIO, "HMAC-SHA256 failed");
	return 0;
}

/* Lengths go in front of texts: no two pairs of project and location make the same bytes. */
static int id_mac(const struct challenge_minter *m, const struct resource *where,
		  const uint8_t *head, uint8_t ret[MAC_BYTES], struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = 1024 };

	if (tl_buf_append_str(&text, "teelaunch challenge 1") < 0 ||
	    tl_buf_append_be32(&text, (uint32_t)strlen(where->project)) < 0 ||
	    tl_buf_append_str(&text, where->project) < 0 ||
	    tl_buf_append_be32(&text, (uint32_t)strlen(where->location)) < 0 ||
	    tl_buf_append_str(&text, where->location) < 0 || tl_buf_append(&text, head, MAC_AT) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	return hmac(m, &text, ret, err);
}

static int id_nonce(const struct challenge_minter *m, const uint8_t id[ID_BYTES],
		    uint8_t ret[CHALLENGE_NONCE_BYTES], struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = 1024 };

	if (tl_buf_append_str(&text, "teelaunch nonce 1") < 0 ||
	    tl_buf_append(&text, id, ID_BYTES) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	return hmac(m, &text, ret, err);
}

int challenge_issue(const struct challenge_minter *m, int64_t now_s, const struct resource *where,
		    struct resource *ret, uint8_t ret_nonce[CHALLENGE_NONCE_BYTES],
		    struct tl_error *err)
{
	uint64_t expiry_s = (uint64_t)now_s + m->ttl_s;
	uint8_t id[ID_BYTES] = { VERSION };
	auto_free char *text = NULL;
	int r;

	for (int i = 0; i < 8; i++)
		id[EXPIRY_AT + i] = (uint8_t)(expiry_s >> (56 - 8 * i));
	if (RAND_bytes(id + RANDOM_AT, RANDOM_BYTES) != 1)
		return tl_fail(err, TL_E_INTERNAL, EIO, "no random bytes for a challenge");
	r = id_mac(m, where, id, id + MAC_AT, err);
	if (r < 0)
		return r;
	text = tl_base64_encode(TL_BASE64_URL, id, sizeof(id));
	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	r = id_nonce(m, id, ret_nonce, err);
	if (r < 0)
		return r;
	*ret = *where;
	memcpy(ret->challenge, text, strlen(text) + 1);
	return 0;
}

static bool was_used(const struct challenge_minter *m, const uint8_t *mac)
{
	for (size_t i = 0; i < m->used_n; i++)
		if (memcmp(m->used[i].mac, mac, USED_BYTES) == 0)
			return true;
	return false;
}

static void remember(struct challenge_minter *m, const uint8_t *mac)
{
	memcpy(m->used[m->used_next].mac, mac, USED_BYTES);
	m->used_next = (m->used_next + 1) % m->used_max;
	if (m->used_n < m->used_max)
		m->used_n++;
}

int challenge_redeem(struct challenge_minter *m, int64_t now_s, const struct resource *name,
		     uint8_t ret_nonce[CHALLENGE_NONCE_BYTES], struct tl_error *err)
{
	auto_free uint8_t *id = NULL;
	uint8_t mac[MAC_BYTES];
	uint64_t expiry_s = 0;
	size_t n = 0;
	int r;

	r = tl_base64_decode(TL_BASE64_URL, name->challenge, strlen(name->challenge), &id, &n);
	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	if (r < 0 || n != ID_BYTES || id[0] != VERSION)
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_FORGED, EACCES,
			       "the challenge isn't one of this verifier's");
	r = id_mac(m, name, id, mac, err);
	if (r < 0)
		return r;
	if (CRYPTO_memcmp(mac, id + MAC_AT, MAC_BYTES) != 0)
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_FORGED, EACCES,
			       "the challenge isn't one of this verifier's for project '%s', "
			       "location '%s'",
			       name->project, name->location);
	for (int i = 0; i < 8; i++)
		expiry_s = expiry_s << 8 | id[EXPIRY_AT + i];
	if (expiry_s <= (uint64_t)now_s)
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_EXPIRED, EACCES,
			       "the challenge expired %" PRIu64 " s ago",
			       (uint64_t)now_s - expiry_s);
	if (was_used(m, id + MAC_AT))
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_USED, EACCES,
			       "the challenge was presented before");
	r = id_nonce(m, id, ret_nonce, err);
	if (r < 0)
		return r;
	remember(m, id + MAC_AT);
	return 0;
}
