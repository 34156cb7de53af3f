/* SPDX-License-Identifier: Apache-2.0 */
/* Cleanup attributes for the OpenSSL objects of this folder. All of them accept NULL. */
#pragma once

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#define OPENSSL_AUTO(type, name, free_fn)                                                          \
	static inline void name##_freep(type **p)                                                  \
	{                                                                                          \
		free_fn(*p);                                                                       \
	}

OPENSSL_AUTO(X509, x509, X509_free)
OPENSSL_AUTO(EVP_PKEY, pkey, EVP_PKEY_free)
OPENSSL_AUTO(EVP_PKEY_CTX, pkey_ctx, EVP_PKEY_CTX_free)
OPENSSL_AUTO(EVP_MD_CTX, md_ctx, EVP_MD_CTX_free)
OPENSSL_AUTO(BIGNUM, bn, BN_free)
OPENSSL_AUTO(ECDSA_SIG, ecdsa, ECDSA_SIG_free)
OPENSSL_AUTO(BIO, bio, BIO_free_all)
OPENSSL_AUTO(OSSL_PARAM, param, OSSL_PARAM_free)
OPENSSL_AUTO(OSSL_PARAM_BLD, param_bld, OSSL_PARAM_BLD_free)
OPENSSL_AUTO(unsigned char, openssl, OPENSSL_free)

#define auto_x509      __attribute__((cleanup(x509_freep)))
#define auto_pkey      __attribute__((cleanup(pkey_freep)))
#define auto_pkey_ctx  __attribute__((cleanup(pkey_ctx_freep)))
#define auto_md_ctx    __attribute__((cleanup(md_ctx_freep)))
#define auto_bn        __attribute__((cleanup(bn_freep)))
#define auto_ecdsa     __attribute__((cleanup(ecdsa_freep)))
#define auto_bio       __attribute__((cleanup(bio_freep)))
#define auto_param     __attribute__((cleanup(param_freep)))
#define auto_param_bld __attribute__((cleanup(param_bld_freep)))
#define auto_openssl   __attribute__((cleanup(openssl_freep)))
