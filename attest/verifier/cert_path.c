/* SPDX-License-Identifier: Apache-2.0 */
#include "cert_path.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#define SECURITY_LEVEL 2 /* OpenSSL's: 112 bits; no SHA-1 signatures, RSA from 2048 bits */

X509 *cert_der_read(const void *der, size_t n)
{
	const unsigned char *p = der;
	X509 *x = n ? d2i_X509(NULL, &p, (long)n) : NULL;

	ERR_clear_error();
	if (x && p != (const unsigned char *)der + n) {
		X509_free(x);
		return NULL;
	}
	return x;
}

int cert_pem_read(const char *pem, size_t n, STACK_OF(X509) * ret, struct tl_error *err)
{
	auto_bio BIO *bio = BIO_new_mem_buf(pem, (int)n);
	X509 *x;

	if (!bio || n > INT32_MAX)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for certificates");
	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		if (sk_X509_num(ret) >= CERT_PEM_MAX || sk_X509_push(ret, x) <= 0) {
			X509_free(x);
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "more than %d certificates in one PEM text", CERT_PEM_MAX);
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || !sk_X509_num(ret)) {
		ERR_clear_error();
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "%d good certificates, then text that is no PEM certificate",
			       sk_X509_num(ret));
	}
	ERR_clear_error();
	return 0;
}

X509 *cert_any_read(const void *bytes, size_t n)
{
	X509 *x = cert_der_read(bytes, n);
	auto_x509_stack STACK_OF(X509) *list = x || !n ? NULL : sk_X509_new_null();

	if (list && cert_pem_read(bytes, n, list, NULL) == 0 && sk_X509_num(list) == 1)
		x = sk_X509_pop(list);
	return x;
}

X509_CRL *cert_crl_read(const void *bytes, size_t n)
{
	auto_bio BIO *bio = n && n <= INT32_MAX ? BIO_new_mem_buf(bytes, (int)n) : NULL;
	const unsigned char *p = bytes;
	X509_CRL *crl = bio ? PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL) : NULL;

	if (!crl && bio)
		crl = d2i_X509_CRL(NULL, &p, (long)n);
	ERR_clear_error();
	return crl;
}

int cert_path_check(X509_STORE *store, X509 *leaf, STACK_OF(X509) * untrusted, int64_t now_s,
		    int depth, unsigned long flags, STACK_OF(X509) * *ret_path, int *ret_depth)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	int result = X509_V_ERR_OUT_OF_MEM;

	*ret_depth = 0;
	if (ctx && X509_STORE_CTX_init(ctx, store, leaf, untrusted) == 1) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_time(param, (time_t)now_s);
		X509_VERIFY_PARAM_set_depth(param, depth);
		X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
		(void)X509_VERIFY_PARAM_set_flags(param, flags);
		if (X509_verify_cert(ctx) == 1)
			result = X509_V_OK;
		else if (X509_STORE_CTX_get_error(ctx) != X509_V_OK)
			result = X509_STORE_CTX_get_error(ctx);
		*ret_depth = X509_STORE_CTX_get_error_depth(ctx);
	}
	if (result == X509_V_OK && ret_path)
		*ret_path = X509_STORE_CTX_get1_chain(ctx);
	X509_STORE_CTX_free(ctx);
	ERR_clear_error();
	return result;
}
