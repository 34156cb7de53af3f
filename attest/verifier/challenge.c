/* SPDX-License-Identifier: Apache-2.0 */
#include "challenge.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
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

/* A random number decides the group: a look-up costs a group's length, whatever is remembered. */
#define GROUP_MAX 16

struct used {
	uint8_t mac[USED_BYTES];
};

/* A ring of the newest. */
struct group {
	struct used items[GROUP_MAX];
	size_t n;
	size_t next;
};

struct memory {
	pthread_mutex_t lock;
	unsigned int owners;
	struct group *groups;
	size_t groups_n;
	size_t group_max;
};

struct challenge_minter {
	struct tl_secret keys[CHALLENGE_KEYS_MAX];
	size_t keys_n;
	uint64_t ttl_s;
	struct memory *memory;
};

static struct memory *memory_new(size_t used_max)
{
	struct memory *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->owners = 1;
	m->group_max = used_max < GROUP_MAX ? used_max : GROUP_MAX;
	m->groups_n = used_max / m->group_max;
	m->groups = calloc(m->groups_n, sizeof(*m->groups));
	if (!m->groups) {
		free(m);
		return NULL;
	}
	pthread_mutex_init(&m->lock, NULL);
	return m;
}

static struct memory *memory_ref(struct memory *m)
{
	pthread_mutex_lock(&m->lock);
	m->owners++;
	pthread_mutex_unlock(&m->lock);
	return m;
}

static void memory_unref(struct memory *m)
{
	bool is_last;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	is_last = --m->owners == 0;
	pthread_mutex_unlock(&m->lock);
	if (!is_last)
		return;
	pthread_mutex_destroy(&m->lock);
	free(m->groups);
	free(m);
}

static int keys_set(struct challenge_minter *m, const struct tl_secret *keys, size_t n,
		    struct tl_error *err)
{
	if (n > CHALLENGE_KEYS_MAX)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "more than %d challenge keys",
			       CHALLENGE_KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		if (keys[i].len_bytes < CHALLENGE_KEY_BYTES_MIN)
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "challenge key %zu has %zu bytes; it needs at least %d",
				       i + 1, keys[i].len_bytes, CHALLENGE_KEY_BYTES_MIN);
		if (tl_secret_set(&m->keys[i], keys[i].bytes, keys[i].len_bytes) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge key");
		m->keys_n++;
	}
	return 0;
}

static int key_make(struct challenge_minter *m, struct tl_error *err)
{
	uint8_t random[CHALLENGE_KEY_BYTES_MIN];
	int r;

	if (RAND_bytes(random, sizeof(random)) != 1)
		return tl_fail(err, TL_E_INTERNAL, EIO, "no random bytes for the challenge key");
	r = tl_secret_set(&m->keys[0], random, sizeof(random));
	OPENSSL_cleanse(random, sizeof(random));
	if (r < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge key");
	m->keys_n = 1;
	return 0;
}

int challenge_minter_new(const struct tl_secret *keys, size_t keys_n, uint64_t ttl_s,
			 size_t used_max, struct challenge_minter **ret, struct tl_error *err)
{
	auto_challenge_minter struct challenge_minter *m = calloc(1, sizeof(*m));
	int r;

	if (m)
		m->memory = memory_new(used_max);
	if (!m || !m->memory)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for challenges");
	m->ttl_s = ttl_s;
	r = keys_n ? keys_set(m, keys, keys_n, err) : key_make(m, err);
	if (r == 0)
		*ret = take_ptr(m);
	return r;
}

int challenge_minter_renew(const struct challenge_minter *old, const struct tl_secret *keys,
			   size_t keys_n, uint64_t ttl_s, struct challenge_minter **ret,
			   struct tl_error *err)
{
	auto_challenge_minter struct challenge_minter *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for challenges");
	m->memory = memory_ref(old->memory);
	m->ttl_s = ttl_s;
	r = keys_set(m, keys_n ? keys : old->keys, keys_n ? keys_n : old->keys_n, err);
	if (r == 0)
		*ret = take_ptr(m);
	return r;
}

struct challenge_minter *challenge_minter_free(struct challenge_minter *m)
{
	for (size_t i = 0; m && i < CHALLENGE_KEYS_MAX; i++)
		tl_secret_done(&m->keys[i]);
	if (m)
		memory_unref(m->memory);
	free(m);
	return NULL;
}

static int hmac(const struct tl_secret *key, const struct tl_buf *text, uint8_t ret[MAC_BYTES],
		struct tl_error *err)
{
	unsigned int n = MAC_BYTES;

	if (!HMAC(EVP_sha256(), key->bytes, (int)key->len_bytes, text->data, text->len_bytes, ret,
		  &n))
		return tl_fail(err, TL_E_INTERNAL, EIO, "HMAC-SHA256 failed");
	return 0;
}

/* Lengths go in front of texts: no two pairs of project and location make the same bytes. */
static int id_mac(const struct tl_secret *key, const struct resource *where, const uint8_t *head,
		  uint8_t ret[MAC_BYTES], struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = 1024 };

	if (tl_buf_append_str(&text, "teelaunch challenge 1") < 0 ||
	    tl_buf_append_be32(&text, (uint32_t)strlen(where->project)) < 0 ||
	    tl_buf_append_str(&text, where->project) < 0 ||
	    tl_buf_append_be32(&text, (uint32_t)strlen(where->location)) < 0 ||
	    tl_buf_append_str(&text, where->location) < 0 || tl_buf_append(&text, head, MAC_AT) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	return hmac(key, &text, ret, err);
}

static int id_nonce(const struct tl_secret *key, const uint8_t id[ID_BYTES],
		    uint8_t ret[CHALLENGE_NONCE_BYTES], struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = 1024 };

	if (tl_buf_append_str(&text, "teelaunch nonce 1") < 0 ||
	    tl_buf_append(&text, id, ID_BYTES) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	return hmac(key, &text, ret, err);
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
	r = id_mac(&m->keys[0], where, id, id + MAC_AT, err);
	if (r < 0)
		return r;
	text = tl_base64_encode(TL_BASE64_URL, id, sizeof(id));
	if (!text)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	r = id_nonce(&m->keys[0], id, ret_nonce, err);
	if (r < 0)
		return r;
	*ret = *where;
	memcpy(ret->challenge, text, strlen(text) + 1);
	return 0;
}

/* False if it was there before. The MAC of a good challenge is as good as random. */
static bool remember(struct memory *m, const uint8_t *mac)
{
	uint32_t number =
		(uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 | (uint32_t)mac[2] << 8 | mac[3];
	struct group *g = &m->groups[number % m->groups_n];
	bool is_new = true;

	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; is_new && i < g->n; i++)
		is_new = memcmp(g->items[i].mac, mac, USED_BYTES) != 0;
	if (is_new) {
		memcpy(g->items[g->next].mac, mac, USED_BYTES);
		g->next = (g->next + 1) % m->group_max;
		if (g->n < m->group_max)
			g->n++;
	}
	pthread_mutex_unlock(&m->lock);
	return is_new;
}

/* The key that made the id, if it was one of ours. */
static int key_find(const struct challenge_minter *m, const struct resource *name,
		    const uint8_t id[ID_BYTES], const struct tl_secret **ret, struct tl_error *err)
{
	for (size_t i = 0; i < m->keys_n; i++) {
		uint8_t mac[MAC_BYTES];
		int r = id_mac(&m->keys[i], name, id, mac, err);

		if (r < 0)
			return r;
		if (CRYPTO_memcmp(mac, id + MAC_AT, MAC_BYTES) == 0) {
			*ret = &m->keys[i];
			return 0;
		}
	}
	return tl_fail(err, TL_E_VERIFY_CHALLENGE_FORGED, EACCES,
		       "the challenge isn't one of this verifier's for project '%s', "
		       "location '%s'",
		       name->project, name->location);
}

int challenge_redeem(const struct challenge_minter *m, int64_t now_s, const struct resource *name,
		     uint8_t ret_nonce[CHALLENGE_NONCE_BYTES], struct tl_error *err)
{
	auto_free uint8_t *id = NULL;
	const struct tl_secret *key = NULL;
	uint64_t expiry_s = 0;
	size_t n = 0;
	int r;

	r = tl_base64_decode(TL_BASE64_URL, name->challenge, strlen(name->challenge), &id, &n);
	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a challenge");
	if (r < 0 || n != ID_BYTES || id[0] != VERSION)
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_FORGED, EACCES,
			       "the challenge isn't one of this verifier's");
	r = key_find(m, name, id, &key, err);
	if (r < 0)
		return r;
	for (int i = 0; i < 8; i++)
		expiry_s = expiry_s << 8 | id[EXPIRY_AT + i];
	if (expiry_s <= (uint64_t)now_s)
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_EXPIRED, EACCES,
			       "the challenge expired %" PRIu64 " s ago",
			       (uint64_t)now_s - expiry_s);
	if (!remember(m->memory, id + MAC_AT))
		return tl_fail(err, TL_E_VERIFY_CHALLENGE_USED, EACCES,
			       "the challenge was presented before");
	return id_nonce(key, id, ret_nonce, err);
}
