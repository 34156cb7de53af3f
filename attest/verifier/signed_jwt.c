/* SPDX-License-Identifier: Apache-2.0 */
#include "signed_jwt.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>

#include "jwk.h"

#define ES256_HALF 32

struct set_key {
	char *kid; /* NULL: the set doesn't name it */
	const char *alg;
	EVP_PKEY *key;
};

struct jwk_set {
	struct set_key items[JWK_SET_KEYS_MAX];
	size_t n;
};

/* --- the set ------------------------------------------------------------------------------ */

struct jwk_set *jwk_set_free(struct jwk_set *s)
{
	for (size_t i = 0; s && i < s->n; i++) {
		free(s->items[i].kid);
		EVP_PKEY_free(s->items[i].key);
	}
	free(s);
	return NULL;
}

/* What the key is for; NULL: nothing that is done here. */
static const char *alg_of(const json_t *jwk, const EVP_PKEY *key)
{
	const char *natural = jwk_alg(key);
	const char *alg = json_string_value(json_object_get(jwk, "alg"));
	const char *use = json_string_value(json_object_get(jwk, "use"));

	if (use && strcmp(use, "sig") != 0)
		return NULL;
	if (!alg || strcmp(alg, natural) == 0)
		return natural;
	return strcmp(natural, "RS256") == 0 && strcmp(alg, "PS256") == 0 ? "PS256" : NULL;
}

static int key_add(struct jwk_set *s, const json_t *jwk)
{
	const char *kid = json_string_value(json_object_get(jwk, "kid"));
	struct set_key item = { .key = jwk_key(jwk) };

	item.alg = item.key ? alg_of(jwk, item.key) : NULL;
	if (!item.alg) {
		EVP_PKEY_free(item.key);
		return 0;
	}
	item.kid = kid ? strdup(kid) : NULL;
	if (s->n == JWK_SET_KEYS_MAX || (kid && !item.kid)) {
		EVP_PKEY_free(item.key);
		free(item.kid);
		return -ENOMEM;
	}
	s->items[s->n++] = item;
	return 0;
}

int jwk_set_new(const char *text, size_t n, struct jwk_set **ret, struct tl_error *err)
{
	json_auto_t *root = n > JWK_SET_BYTES_MAX || tl_json_scan(text, n, NULL)
				    ? NULL
				    : json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	auto_jwk_set struct jwk_set *s = calloc(1, sizeof(*s));
	const json_t *keys = json_object_get(root, "keys");
	int r = s ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++)
		r = key_add(s, json_array_get(keys, i));
	if (r < 0)
		return tl_fail(err, TL_E_VERIFY_KEYS, ENOMEM,
			       "no room for the keys of the JWK set; at most %d are kept",
			       JWK_SET_KEYS_MAX);
	if (s->n == 0)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the JWK set has no RSA or P-256 key");
	*ret = take_ptr(s);
	return 0;
}

/* --- the token ---------------------------------------------------------------------------- */

void signed_jwt_done(struct signed_jwt *j)
{
	json_decref(j->header);
	json_decref(j->claims);
	free(j->signature);
	*j = (struct signed_jwt){ 0 };
}

static json_t *part_json(const char *text, size_t n)
{
	auto_free uint8_t *bytes = NULL;
	size_t bytes_n = 0;

	if (tl_base64_decode(TL_BASE64_URL, text, n, &bytes, &bytes_n) < 0 ||
	    tl_json_scan(bytes, bytes_n, NULL))
		return NULL;
	return json_loadb((const char *)bytes, bytes_n, JSON_REJECT_DUPLICATES, NULL);
}

int signed_jwt_parse(const char *text, size_t n, struct signed_jwt *ret)
{
	const char *end = text + n;
	const char *dot = memchr(text, '.', n);
	const char *dot2 = dot ? memchr(dot + 1, '.', (size_t)(end - dot - 1)) : NULL;

	if (!dot2)
		return -EINVAL;
	ret->header = part_json(text, (size_t)(dot - text));
	ret->claims = part_json(dot + 1, (size_t)(dot2 - dot - 1));
	ret->signed_text = text;
	ret->signed_n = (size_t)(dot2 - text);
	if (!json_is_object(ret->header) || !json_is_object(ret->claims))
		return -EINVAL;
	return tl_base64_decode(TL_BASE64_URL, dot2 + 1, (size_t)(end - dot2 - 1), &ret->signature,
				&ret->signature_n);
}

/* --- the signature ------------------------------------------------------------------------ */

/* r || s to the DER that OpenSSL wants; its length, or -1. */
static int ecdsa_der(const struct signed_jwt *j, unsigned char **ret)
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	BIGNUM *r = NULL, *s = NULL;
	int n = -1;

	if (j->signature_n == 2 * ES256_HALF) {
		r = BN_bin2bn(j->signature, ES256_HALF, NULL);
		s = BN_bin2bn(j->signature + ES256_HALF, ES256_HALF, NULL);
	}
	if (es && r && s && ECDSA_SIG_set0(es, r, s) == 1) {
		n = i2d_ECDSA_SIG(es, ret);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(es);
	return n;
}

static bool is_verified(const struct set_key *k, const struct signed_jwt *j,
			const unsigned char *signature, size_t n)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL; /* the other's */
	bool is_good;

	is_good = ctx && EVP_DigestVerifyInit(ctx, &key, EVP_sha256(), NULL, k->key) == 1;
	/* RFC 7518, 3.5: MGF1 with the same hash, a salt of the hash's size. */
	if (is_good && strcmp(k->alg, "PS256") == 0)
		is_good = EVP_PKEY_CTX_set_rsa_padding(key, RSA_PKCS1_PSS_PADDING) == 1 &&
			  EVP_PKEY_CTX_set_rsa_pss_saltlen(key, RSA_PSS_SALTLEN_DIGEST) == 1;
	is_good = is_good &&
		  EVP_DigestVerify(ctx, signature, n, (const unsigned char *)j->signed_text,
				   j->signed_n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return is_good;
}

static bool signature_is_good(const struct set_key *k, const struct signed_jwt *j)
{
	unsigned char *der = NULL;
	bool is_good;
	int n;

	if (strcmp(k->alg, "ES256") != 0)
		return is_verified(k, j, j->signature, j->signature_n);
	n = ecdsa_der(j, &der);
	is_good = n > 0 && is_verified(k, j, der, (size_t)n);
	OPENSSL_free(der);
	return is_good;
}

/* By kid; a set of one key serves tokens without kid. */
static const struct set_key *key_find(const struct jwk_set *s, const json_t *header)
{
	const char *kid = json_string_value(json_object_get(header, "kid"));

	for (size_t i = 0; i < s->n; i++)
		if (kid && s->items[i].kid && strcmp(kid, s->items[i].kid) == 0)
			return &s->items[i];
	return !kid && s->n == 1 ? &s->items[0] : NULL;
}

const char *signed_jwt_fault(const struct jwk_set *keys, const struct signed_jwt *jwt)
{
	const struct set_key *key = key_find(keys, jwt->header);
	const char *alg = json_string_value(json_object_get(jwt->header, "alg"));

	if (!key)
		return "its key is not in the configured set";
	if (!alg || strcmp(alg, key->alg) != 0)
		return "its algorithm is not the key's";
	if (json_object_get(jwt->header, "crit"))
		return "it has critical header fields";
	if (!signature_is_good(key, jwt))
		return "its signature is wrong";
	return NULL;
}
