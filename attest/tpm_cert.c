/* SPDX-License-Identifier: Apache-2.0 */
/* The TPM's public key and its certificate, compared by OpenSSL. */
#include "tpm_ak.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

#include <teelaunch/cleanup.h>

#include "openssl_auto.h"

#define POINT_MAX_BYTES      (1 + 2 * TPM2_MAX_ECC_KEY_BYTES)
#define RSA_DEFAULT_EXPONENT 65537 /* what 0 stands for: TPM 2.0 part 2, 12.2.3.5 */

static const struct curve {
	TPM2_ECC_CURVE id;
	const char *name;
	size_t field_bytes;
} curves[] = {
	{ TPM2_ECC_NIST_P256, "prime256v1", 32 },
	{ TPM2_ECC_NIST_P384, "secp384r1", 48 },
};

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *build)
{
	auto_param OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	auto_pkey_ctx EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *key = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		return NULL;
	return key;
}

/* SEC 1, 2.3.3: 4, x, y, each as long as the field; a TPM may leave leading zeros out. */
static bool write_point(const TPMS_ECC_POINT *point, size_t field_bytes, uint8_t *ret)
{
	if (point->x.size > field_bytes || point->y.size > field_bytes)
		return false;
	memset(ret, 0, 1 + 2 * field_bytes);
	ret[0] = 4;
	memcpy(ret + 1 + field_bytes - point->x.size, point->x.buffer, point->x.size);
	memcpy(ret + 1 + 2 * field_bytes - point->y.size, point->y.buffer, point->y.size);
	return true;
}

static EVP_PKEY *ecc_key(const TPMT_PUBLIC *from)
{
	auto_param_bld OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	const TPM2_ECC_CURVE id = from->parameters.eccDetail.curveID;
	uint8_t point[POINT_MAX_BYTES];

	for (size_t i = 0; build && i < TL_ARRAY_SIZE(curves); i++) {
		const struct curve *c = &curves[i];

		if (c->id != id)
			continue;
		if (!write_point(&from->unique.ecc, c->field_bytes, point) ||
		    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, c->name,
						    0) != 1 ||
		    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point,
						     1 + 2 * c->field_bytes) != 1)
			return NULL;
		return make_key("EC", build);
	}
	return NULL;
}

static EVP_PKEY *rsa_key(const TPMT_PUBLIC *from)
{
	auto_param_bld OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	auto_bn BIGNUM *n = BN_bin2bn(from->unique.rsa.buffer, from->unique.rsa.size, NULL);
	uint32_t e = from->parameters.rsaDetail.exponent;

	if (!build || !n || OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
	    OSSL_PARAM_BLD_push_uint32(build, OSSL_PKEY_PARAM_RSA_E,
				       e ? e : RSA_DEFAULT_EXPONENT) != 1)
		return NULL;
	return make_key("RSA", build);
}

static EVP_PKEY *key_of(const TPMT_PUBLIC *from)
{
	if (from->type == TPM2_ALG_ECC)
		return ecc_key(from);
	return from->type == TPM2_ALG_RSA ? rsa_key(from) : NULL;
}

static int check_cert(const TPMT_PUBLIC *public, const struct tl_blob *der, struct tl_error *err)
{
	const unsigned char *p = der->bytes;
	auto_pkey EVP_PKEY *key = key_of(public);
	auto_x509 X509 *cert = NULL;
	EVP_PKEY *certified;

	if (!key)
		return tl_fail(err, TL_E_AK_KEY, ENOTSUP,
			       "attestation key is neither P-256, P-384 nor RSA");
	if (der->n <= LONG_MAX)
		cert = d2i_X509(NULL, &p, (long)der->n);
	if (!cert || p != der->bytes + der->n)
		return tl_fail(err, TL_E_AK_CERT, EBADMSG,
			       "attestation key's certificate, NV 0x%08x: not one X.509 "
			       "certificate in DER",
			       TPM_AK_CERT_NV);
	certified = X509_get0_pubkey(cert);
	if (!certified || EVP_PKEY_eq(certified, key) != 1)
		return tl_fail(err, TL_E_AK_MISMATCH, EBADMSG,
			       "certificate in NV 0x%08x isn't for the key that the template in NV "
			       "0x%08x gives",
			       TPM_AK_CERT_NV, TPM_AK_TEMPLATE_NV);
	return 0;
}

int tpm_ak_check_cert(const TPMT_PUBLIC *key, const struct tl_blob *cert, struct tl_error *err)
{
	int r = check_cert(key, cert, err);

	ERR_clear_error();
	return r;
}
