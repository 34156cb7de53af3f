/* SPDX-License-Identifier: Apache-2.0 */
#include "jwt_sign.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "../openssl_auto.h"
#include "jwk.h"

#define ES256_HALF    32
#define SIGNATURE_MAX 1024
#define JWT_MAX       (4 * 1024 * 1024)

struct token_key {
	EVP_PKEY *key;
	const char *alg;
	char kid[JWK_KID_MAX];
};

struct token_keys {
	struct token_key items[TOKEN_KEYS_MAX];
	size_t n;
};

struct token_keys *token_keys_new(void)
{
	return calloc(1, sizeof(struct token_keys));
}

struct token_keys *token_keys_free(struct token_keys *k)
{
	for (size_t i = 0; k && i < k->n; i++)
		EVP_PKEY_free(k->items[i].key);
	free(k);
	return NULL;
}

size_t token_keys_count(const struct token_keys *k)
{
	return k->n;
}

json_t *token_keys_algs(const struct token_keys *k)
{
	json_t *algs = json_array();
	const char *first = k->n ? k->items[0].alg : "", *other = NULL;

	for (size_t i = 1; !other && i < k->n; i++)
		if (strcmp(k->items[i].alg, first) != 0)
			other = k->items[i].alg;
	if (json_array_append_new(algs, json_string(first)) == 0 &&
	    (!other || json_array_append_new(algs, json_string(other)) == 0))
		return algs;
	json_decref(algs);
	return NULL;
}

const char *token_keys_kid(const struct token_keys *k)
{
	return k->items[0].kid;
}

/* An encrypted key is refused instead of asking on the terminal. */
static int no_passphrase(char *buf, int size, int rwflag, void *ctx)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	(void)ctx;
	return -1;
}

static int key_take(struct token_keys *k, EVP_PKEY *consume_key, struct tl_error *err)
{
	struct token_key item = { .key = consume_key, .alg = jwk_alg(consume_key) };
	const char *fault = NULL;

	if (!item.alg || jwk_thumbprint(consume_key, item.kid) < 0)
		fault = "the token key is neither RSA of 2048 to 4096 bits nor P-256";
	for (size_t i = 0; !fault && i < k->n; i++)
		if (strcmp(k->items[i].kid, item.kid) == 0)
			fault = "the token key is given twice";
	if (fault) {
		EVP_PKEY_free(consume_key);
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "%s", fault);
	}
	k->items[k->n++] = item;
	return 0;
}

EVP_PKEY *private_key_read(const struct tl_secret *pem)
{
	auto_bio BIO *bio = BIO_new_mem_buf(pem->bytes, (int)pem->len_bytes);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

	ERR_clear_error();
	return key;
}

/* How many private keys a PEM text announces: as many must be read, or something is broken. */
static size_t private_keys_count(const struct tl_secret *pem)
{
	static const char begin[] = "-----BEGIN ", kind[] = "PRIVATE KEY-----";
	const char *at = pem->bytes;
	size_t n = 0;

	while ((at = strstr(at, begin))) {
		const char *line_end = at + strcspn(at, "\r\n");

		n += (size_t)(line_end - at) >= sizeof(kind) - 1 &&
		     memcmp(line_end - (sizeof(kind) - 1), kind, sizeof(kind) - 1) == 0;
		at = line_end;
	}
	return n;
}

int token_keys_add(struct token_keys *k, const struct tl_secret *pem, struct tl_error *err)
{
	auto_bio BIO *bio = BIO_new_mem_buf(pem->bytes, (int)pem->len_bytes);
	size_t before = k->n;
	EVP_PKEY *key;

	while (bio && (key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL))) {
		int r;

		if (k->n == TOKEN_KEYS_MAX) {
			EVP_PKEY_free(key);
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "more than %d token keys",
				       TOKEN_KEYS_MAX);
		}
		r = key_take(k, key, err);
		if (r < 0)
			return r;
	}
	ERR_clear_error();
	if (k->n == before || k->n - before != private_keys_count(pem))
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the token key is no unencrypted PEM private key");
	return 0;
}

int token_keys_make(struct token_keys *k, struct tl_error *err)
{
	EVP_PKEY *key = k->n < TOKEN_KEYS_MAX ? EVP_EC_gen("P-256") : NULL;

	ERR_clear_error();
	return key ? key_take(k, key, err)
		   : tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "no token key can be made");
}

json_t *token_keys_jwks(const struct token_keys *k)
{
	json_t *keys = json_array();

	for (size_t i = 0; i < k->n; i++) {
		json_t *jwk = jwk_public(k->items[i].key);

		if (!jwk || json_object_set_new(jwk, "use", json_string("sig")) < 0 ||
		    json_object_set_new(jwk, "alg", json_string(k->items[i].alg)) < 0 ||
		    json_object_set_new(jwk, "kid", json_string(k->items[i].kid)) < 0 ||
		    json_array_append_new(keys, jwk) < 0) {
			json_decref(keys);
			return NULL;
		}
	}
	return json_pack("{s:o}", "keys", keys);
}

static int part_append(struct tl_buf *ret, const void *data, size_t n)
{
	auto_free char *text = tl_base64_encode(TL_BASE64_URL, data, n);

	if (!text)
		return -ENOMEM;
	if (ret->len_bytes && tl_buf_append_u8(ret, '.') < 0)
		return -ENOBUFS;
	return tl_buf_append_str(ret, text);
}

static int json_append(struct tl_buf *ret, const json_t *value)
{
	auto_free char *text = json_dumps(value, JSON_COMPACT);

	return text ? part_append(ret, text, strlen(text)) : -ENOMEM;
}

/* r || s of 32 bytes each, out of OpenSSL's DER. */
static int ecdsa_raw(uint8_t *sig, size_t *n)
{
	const unsigned char *p = sig;
	ECDSA_SIG *es = d2i_ECDSA_SIG(NULL, &p, (long)*n);
	int r = -EIO;

	if (es && BN_bn2binpad(ECDSA_SIG_get0_r(es), sig, ES256_HALF) == ES256_HALF &&
	    BN_bn2binpad(ECDSA_SIG_get0_s(es), sig + ES256_HALF, ES256_HALF) == ES256_HALF) {
		*n = 2 * ES256_HALF;
		r = 0;
	}
	ECDSA_SIG_free(es);
	return r;
}

static int signature_append(struct tl_buf *text, EVP_PKEY *key, const char *alg)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t sig[SIGNATURE_MAX];
	size_t n = sizeof(sig);
	bool is_signed = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
			 EVP_DigestSign(ctx, sig, &n, text->data, text->len_bytes) == 1;
	int r = is_signed ? 0 : -EIO;

	EVP_MD_CTX_free(ctx);
	if (r == 0 && strcmp(alg, "ES256") == 0)
		r = ecdsa_raw(sig, &n);
	ERR_clear_error();
	return r < 0 ? r : part_append(text, sig, n);
}

int jwt_sign_as(EVP_PKEY *key, const char *alg, const json_t *header, const json_t *claims,
		struct tl_secret *ret, struct tl_error *err)
{
	auto_buf struct tl_buf text = { .max_bytes = JWT_MAX };
	int r = header ? json_append(&text, header) : -ENOMEM;

	if (r == 0)
		r = json_append(&text, claims);
	if (r == 0)
		r = signature_append(&text, key, alg);
	if (r == 0)
		r = tl_secret_set(ret, text.data, text.len_bytes);
	return r < 0 ? tl_fail(err, TL_E_INTERNAL, -r, "the token can't be signed") : 0;
}

int jwt_sign(const struct token_keys *k, const json_t *claims, struct tl_secret *ret,
	     struct tl_error *err)
{
	const struct token_key *key = &k->items[0];
	json_t *header =
		json_pack("{s:s, s:s, s:s}", "alg", key->alg, "kid", key->kid, "typ", "JWT");
	int r = jwt_sign_as(key->key, key->alg, header, claims, ret, err);

	json_decref(header);
	return r;
}
