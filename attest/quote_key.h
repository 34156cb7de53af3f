/* SPDX-License-Identifier: Apache-2.0 */
/* tl_quote_check() for who checks many quotes by one key: reading the certificate takes longer than
 * the check itself. */
#pragma once

#include <openssl/evp.h>

#include <teelaunch/evidence.h>

/** The key of a certificate (DER); NULL if it has none that can be read. Owned by the caller. */
EVP_PKEY *quote_key_read(const struct tl_blob *cert_der);
/** As tl_quote_check(). @key may be NULL: TL_E_QUOTE_INVALID. */
int quote_check_by_key(const struct tl_quote *quote, EVP_PKEY *key, const void *nonce,
		       size_t nonce_len, struct tl_error *err);
