/* SPDX-License-Identifier: Apache-2.0 */
#include "identity.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>

#include "jwk.h"

#define ES256_HALF 32

struct identity_key {
	char *kid; /* NULL: the set doesn't name it */
	const char *alg;
	EVP_PKEY *key;
};

struct identity_keys {
	char *issuer;
	struct identity_key items[IDENTITY_KEYS_MAX];
	size_t n;
};

/* The three parts of a compact JWT. */
struct jwt_parts {
	json_t *header;
	json_t *claims;
	uint8_t *signature;
	size_t signature_n;
	size_t signed_n; /* header and claims with the dot, as they stand in the token */
};

static void jwt_parts_done(struct jwt_parts *p)
{
	json_decref(p->header);
	json_decref(p->claims);
	free(p->signature);
}
#define auto_jwt_parts __attribute__((cleanup(jwt_parts_done)))

struct identity_keys *identity_keys_free(struct identity_keys *k)
{
	for (size_t i = 0; k && i < k->n; i++) {
		free(k->items[i].kid);
		EVP_PKEY_free(k->items[i].key);
	}
	if (k)
		free(k->issuer);
	free(k);
	return NULL;
}

static int key_add(struct identity_keys *k, const json_t *jwk)
{
	const char *kid = json_string_value(json_object_get(jwk, "kid"));
	struct identity_key item = { .key = jwk_key(jwk) };

	if (!item.key)
		return 0;
	item.alg = jwk_alg(item.key);
	item.kid = kid ? strdup(kid) : NULL;
	if (k->n == IDENTITY_KEYS_MAX || (kid && !item.kid)) {
		EVP_PKEY_free(item.key);
		free(item.kid);
		return -ENOMEM;
	}
	k->items[k->n++] = item;
	return 0;
}

int identity_keys_new(const char *jwks, size_t n, const char *issuer, struct identity_keys **ret,
		      struct tl_error *err)
{
	auto_identity_keys struct identity_keys *k = calloc(1, sizeof(*k));
	json_t *root = tl_json_scan(jwks, n, NULL)
			       ? NULL
			       : json_loadb(jwks, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *keys = json_object_get(root, "keys");
	int r = 0;

	if (k)
		k->issuer = strdup(issuer);
	if (!k || !k->issuer)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < json_array_size(keys); i++)
		r = key_add(k, json_array_get(keys, i));
	json_decref(root);
	if (r < 0)
		return tl_fail(err, TL_E_VERIFY_KEYS, ENOMEM,
			       "no room for the identity keys; at most %d are kept",
			       IDENTITY_KEYS_MAX);
	if (k->n == 0)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the identity JWK set has no RSA or P-256 key");
	*ret = take_ptr(k);
	return 0;
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

static int parts_read(const struct tl_secret *token, struct jwt_parts *ret)
{
	const char *text = token->bytes;
	const char *dot = memchr(text, '.', token->len_bytes);
	const char *end = text + token->len_bytes;
	const char *dot2 = dot ? memchr(dot + 1, '.', (size_t)(end - dot - 1)) : NULL;

	if (!dot2)
		return -EINVAL;
	ret->header = part_json(text, (size_t)(dot - text));
	ret->claims = part_json(dot + 1, (size_t)(dot2 - dot - 1));
	ret->signed_n = (size_t)(dot2 - text);
	if (!json_is_object(ret->header) || !json_is_object(ret->claims))
		return -EINVAL;
	return tl_base64_decode(TL_BASE64_URL, dot2 + 1, (size_t)(end - dot2 - 1), &ret->signature,
				&ret->signature_n);
}

/* r || s to the DER that OpenSSL wants. */
static int ecdsa_der(struct jwt_parts *p)
{
	ECDSA_SIG *es = ECDSA_SIG_new();
	BIGNUM *r = NULL, *s = NULL;
	unsigned char *der = NULL;
	int n = -1;

	if (p->signature_n == 2 * ES256_HALF) {
		r = BN_bin2bn(p->signature, ES256_HALF, NULL);
		s = BN_bin2bn(p->signature + ES256_HALF, ES256_HALF, NULL);
	}
	if (es && r && s && ECDSA_SIG_set0(es, r, s) == 1) {
		n = i2d_ECDSA_SIG(es, &der);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(es);
	if (n <= 0)
		return -EINVAL;
	free(p->signature);
	p->signature_n = (size_t)n;
	p->signature = malloc((size_t)n);
	if (p->signature)
		memcpy(p->signature, der, (size_t)n);
	OPENSSL_free(der);
	return p->signature ? 0 : -ENOMEM;
}

static bool signature_is_good(const struct identity_key *k, const struct tl_secret *token,
			      struct jwt_parts *p)
{
	EVP_MD_CTX *ctx;
	bool is_good;

	if (strcmp(k->alg, "ES256") == 0 && ecdsa_der(p) < 0)
		return false;
	ctx = EVP_MD_CTX_new();
	is_good = ctx && EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, k->key) == 1 &&
		  EVP_DigestVerify(ctx, p->signature, p->signature_n,
				   (const unsigned char *)token->bytes, p->signed_n) == 1;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return is_good;
}

/* By kid; a set of one key without kid serves tokens without kid. */
static const struct identity_key *key_find(const struct identity_keys *k, const json_t *header)
{
	const char *kid = json_string_value(json_object_get(header, "kid"));

	for (size_t i = 0; i < k->n; i++)
		if (kid && k->items[i].kid && strcmp(kid, k->items[i].kid) == 0)
			return &k->items[i];
	return !kid && k->n == 1 ? &k->items[0] : NULL;
}

static bool is_string(const json_t *claims, const char *name, const char *due)
{
	const char *s = json_string_value(json_object_get(claims, name));

	return s && strcmp(s, due) == 0;
}

static const char *claims_fault(const struct identity_keys *k, const json_t *claims,
				const char *audience, int64_t now_s)
{
	const json_t *exp = json_object_get(claims, "exp"), *iat = json_object_get(claims, "iat");
	const json_t *email = json_object_get(claims, "email");

	if (!is_string(claims, "iss", k->issuer))
		return "its issuer is not the configured one";
	if (!is_string(claims, "aud", audience))
		return "its audience is not this challenge's name";
	if (!json_is_integer(exp) || json_integer_value(exp) <= now_s)
		return "it has expired, or has no 'exp'";
	if (iat && (!json_is_integer(iat) || json_integer_value(iat) > now_s + IDENTITY_CLOCK_SKEW))
		return "it was issued in the future";
	if (!json_is_string(email) || json_string_length(email) == 0 ||
	    json_string_length(email) > IDENTITY_EMAIL_MAX ||
	    !json_is_true(json_object_get(claims, "email_verified")))
		return "it has no verified 'email'";
	return NULL;
}

int identity_check(const struct identity_keys *k, const struct tl_secret *token,
		   const char *audience, int64_t now_s, char **ret_email, struct tl_error *err)
{
	auto_jwt_parts struct jwt_parts p = { 0 };
	const struct identity_key *key;
	const char *fault = NULL;
	char *email;

	if (parts_read(token, &p) < 0)
		return tl_fail(err, TL_E_VERIFY_IDENTITY, EACCES,
			       "the identity token is no compact JWT");
	key = key_find(k, p.header);
	if (!key)
		fault = "its key is not in the configured set";
	else if (!is_string(p.header, "alg", key->alg))
		fault = "its algorithm is not the key's";
	else if (json_object_get(p.header, "crit"))
		fault = "it has critical header fields";
	else if (!signature_is_good(key, token, &p))
		fault = "its signature is wrong";
	else
		fault = claims_fault(k, p.claims, audience, now_s);
	if (fault)
		return tl_fail(err, TL_E_VERIFY_IDENTITY, EACCES, "the identity token: %s", fault);
	email = strdup(json_string_value(json_object_get(p.claims, "email")));
	if (!email)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for an e-mail address");
	*ret_email = email;
	return 0;
}
