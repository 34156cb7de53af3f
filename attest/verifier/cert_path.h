/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates of any verifier's chain: reading them, and the path to a root (RFC 5280, 6.1). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <teelaunch/error.h>

#include "../openssl_auto.h"

#define CERT_PEM_MAX 64 /* certificates of one text */

static inline void x509_stack_freep(STACK_OF(X509) * *s)
{
	sk_X509_pop_free(*s, X509_free);
}
#define auto_x509_stack __attribute__((cleanup(x509_stack_freep)))

/** DER with nothing after it; NULL if it is anything else. */
X509 *cert_der_read(const void *der, size_t n);

/** DER, or the one certificate of a PEM text; NULL if it is anything else. */
X509 *cert_any_read(const void *bytes, size_t n);

/** A revocation list, PEM or DER; NULL if it is none. */
X509_CRL *cert_crl_read(const void *bytes, size_t n);

/** Append all certificates of a PEM text, at least one. -EINVAL with TL_E_VERIFY_KEYS, -ENOMEM. */
int cert_pem_read(const char *pem, size_t n, STACK_OF(X509) * ret, struct tl_error *err);

/**
 * A path from @leaf to a root of @store, every certificate of it valid at @now_s and with 112 bits
 * of security (no SHA-1).
 * @depth      certificates between the leaf and the root at the most
 * @flags      X509_V_FLAG_*, besides
 * @ret_path   may be NULL; on success the path, the leaf first, owned by the caller
 * @ret_depth  of the certificate that was found wrong
 * Returns X509_V_OK or what was wrong (X509_V_ERR_*).
 */
int cert_path_check(X509_STORE *store, X509 *leaf, STACK_OF(X509) * untrusted, int64_t now_s,
		    int depth, unsigned long flags, STACK_OF(X509) * *ret_path, int *ret_depth);
