/* SPDX-License-Identifier: Apache-2.0 */
#include "jwk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#define P256          "prime256v1"
#define P256_BYTES    32
#define RSA_BITS_MIN  2048
#define RSA_BITS_MAX  4096
#define RSA_BYTES_MAX (RSA_BITS_MAX / 8)

const char *jwk_alg(const EVP_PKEY *key)
{
	char group[32] = "";

	if (EVP_PKEY_is_a(key, "RSA"))
		return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN &&
				       EVP_PKEY_get_bits(key) <= RSA_BITS_MAX
			       ? "RS256"
			       : NULL;
	if (EVP_PKEY_is_a(key, "EC") &&
	    EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	    strcmp(group, P256) == 0)
		return "ES256";
	return NULL;
}

/* A number of the key in base64url; @width 0 = as short as it is. */
static int number_set(json_t *ret, const char *name, const EVP_PKEY *key, const char *param,
		      size_t width)
{
	uint8_t bytes[RSA_BYTES_MAX];
	auto_free char *text = NULL;
	BIGNUM *bn = NULL;
	int n = -1;

	if (EVP_PKEY_get_bn_param(key, param, &bn) == 1 && BN_num_bytes(bn) <= RSA_BYTES_MAX)
		n = BN_bn2binpad(bn, bytes, width ? (int)width : BN_num_bytes(bn));
	BN_free(bn);
	if (n <= 0)
		return -EINVAL;
	text = tl_base64_encode(TL_BASE64_URL, bytes, (size_t)n);
	return text && json_object_set_new(ret, name, json_string(text)) == 0 ? 0 : -ENOMEM;
}

json_t *jwk_public(const EVP_PKEY *key)
{
	json_t *jwk = json_object();
	const char *alg = jwk_alg(key);
	int r = -EINVAL;

	if (alg && strcmp(alg, "RS256") == 0 &&
	    json_object_set_new(jwk, "kty", json_string("RSA")) == 0) {
		r = number_set(jwk, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
		if (r == 0)
			r = number_set(jwk, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
	} else if (alg && json_object_set_new(jwk, "kty", json_string("EC")) == 0 &&
		   json_object_set_new(jwk, "crv", json_string("P-256")) == 0) {
		r = number_set(jwk, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, P256_BYTES);
		if (r == 0)
			r = number_set(jwk, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, P256_BYTES);
	}
	ERR_clear_error();
	if (r == 0)
		return jwk;
	json_decref(jwk);
	return NULL;
}

int jwk_thumbprint(const EVP_PKEY *key, char ret[JWK_KID_MAX])
{
	uint8_t digest[TL_HASH_SIZE_MAX];
	json_t *jwk = jwk_public(key);
	/* The required members, sorted, without white space: RFC 7638, section 3. */
	auto_free char *text = jwk ? json_dumps(jwk, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	auto_free char *kid = NULL;

	json_decref(jwk);
	if (text && tl_digest(TL_SHA256, text, strlen(text), digest) == 0)
		kid = tl_base64_encode(TL_BASE64_URL, digest, 32);
	if (!kid)
		return -ENOMEM;
	memcpy(ret, kid, JWK_KID_MAX);
	return 0;
}

static BIGNUM *number_get(const json_t *jwk, const char *name, size_t max)
{
	const json_t *v = json_object_get(jwk, name);
	auto_free uint8_t *bytes = NULL;
	size_t n = 0;

	if (!json_is_string(v) || json_string_length(v) > 2 * max ||
	    tl_base64_decode(TL_BASE64_URL, json_string_value(v), json_string_length(v), &bytes,
			     &n) < 0 ||
	    n == 0 || n > max)
		return NULL;
	return BN_bin2bn(bytes, (int)n, NULL);
}

static EVP_PKEY *key_make(const char *type, OSSL_PARAM_BLD *bld)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (params && ctx && EVP_PKEY_fromdata_init(ctx) == 1)
		(void)EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params);
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *rsa_key(const json_t *jwk)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *n = number_get(jwk, "n", RSA_BYTES_MAX), *e = number_get(jwk, "e", 8);
	EVP_PKEY *key = NULL;

	if (bld && n && e && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = key_make("RSA", bld);
	BN_free(n);
	BN_free(e);
	OSSL_PARAM_BLD_free(bld);
	return key;
}

static EVP_PKEY *ec_key(const json_t *jwk)
{
	OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	BIGNUM *x = number_get(jwk, "x", P256_BYTES), *y = number_get(jwk, "y", P256_BYTES);
	const char *crv = json_string_value(json_object_get(jwk, "crv"));
	uint8_t point[1 + 2 * P256_BYTES] = { 0x04 }; /* SEC 1, 2.3.3: uncompressed */
	EVP_PKEY *key = NULL;

	if (bld && x && y && crv && strcmp(crv, "P-256") == 0 &&
	    BN_bn2binpad(x, point + 1, P256_BYTES) > 0 &&
	    BN_bn2binpad(y, point + 1 + P256_BYTES, P256_BYTES) > 0 &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, P256, 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ==
		    1)
		key = key_make("EC", bld);
	BN_free(x);
	BN_free(y);
	OSSL_PARAM_BLD_free(bld);
	return key;
}

EVP_PKEY *jwk_key(const json_t *jwk)
{
	const char *kty = json_string_value(json_object_get(jwk, "kty"));
	EVP_PKEY *key = NULL;

	if (kty && strcmp(kty, "RSA") == 0)
		key = rsa_key(jwk);
	else if (kty && strcmp(kty, "EC") == 0)
		key = ec_key(jwk);
	ERR_clear_error();
	if (key && jwk_alg(key))
		return key;
	EVP_PKEY_free(key);
	return NULL;
}
