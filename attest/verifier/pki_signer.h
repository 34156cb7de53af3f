/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens that are verified by certificates instead of the key set: header "x5c" (RFC 7515, 4.1.6),
 * the certificate of the signing key first, each signed by the next, up to the root. The relying
 * party has the root and asks nobody.
 */
#pragma once

#include <stdint.h>

#include <jansson.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#define PKI_CHAIN_MAX 6

struct pki_signer; /* read-only */
struct pki_signer *pki_signer_free(struct pki_signer *s);
static inline void pki_signer_freep(struct pki_signer **s)
{
	*s = pki_signer_free(*s);
}
#define auto_pki_signer __attribute__((cleanup(pki_signer_freep)))

/**
 * @key    PEM, unencrypted: RSA of 2048 to 4096 bits, or P-256
 * @chain  PEM: the key's certificate, then its issuers in order; the root may be left out
 *
 * Checked: the first certificate is the key's, each is signed by the next, all are valid at
 * @now_s. Codes: TL_E_VERIFY_KEYS.
 */
int pki_signer_new(const struct tl_secret *key, const struct tl_secret *chain, int64_t now_s,
		   struct pki_signer **ret, struct tl_error *err);

/** When the first of the certificates ends; a token must end before. Seconds since 1970. */
int64_t pki_signer_end(const struct pki_signer *s);

/** As jwt_sign(). */
int pki_sign(const struct pki_signer *s, const json_t *claims, struct tl_secret *ret,
	     struct tl_error *err);
