/* SPDX-License-Identifier: Apache-2.0 */
#include "p256.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "../openssl_auto.h"

#define HALF (P256_RAW_BYTES / 2)

EVP_PKEY *p256_key_new(const uint8_t xy[P256_RAW_BYTES])
{
	auto_pkey_ctx EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	auto_param_bld OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
	auto_param OSSL_PARAM *params = NULL;
	uint8_t point[1 + P256_RAW_BYTES] = { 4 }; /* uncompressed: SEC 1, 2.3.3 */
	EVP_PKEY *key = NULL;

	memcpy(point + 1, xy, P256_RAW_BYTES);
	if (bld &&
	    OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) ==
		    1 &&
	    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) ==
		    1)
		params = OSSL_PARAM_BLD_to_param(bld);
	if (!ctx || !params || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	ERR_clear_error();
	return key;
}

/* OpenSSL wants signatures in DER. */
static int der_make(const uint8_t rs[P256_RAW_BYTES], unsigned char **ret)
{
	auto_ecdsa ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(rs, HALF, NULL), *s = BN_bin2bn(rs + HALF, HALF, NULL);

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s) == 1)
		return i2d_ECDSA_SIG(sig, ret);
	BN_free(r);
	BN_free(s);
	return -1;
}

bool p256_signature_is_good(EVP_PKEY *key, const uint8_t rs[P256_RAW_BYTES], const void *data,
			    size_t n)
{
	auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	auto_openssl unsigned char *der = NULL;
	int der_n = der_make(rs, &der);
	bool is_good = ctx && der_n > 0 &&
		       EVP_DigestVerifyInit_ex(ctx, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
		       EVP_DigestVerify(ctx, der, (size_t)der_n, data, n) == 1;

	ERR_clear_error();
	return is_good;
}
