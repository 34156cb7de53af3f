/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCK certificate of a platform and its chain ("Intel SGX PCK Certificate and Certificate
 * Revocation List Profile Specification", 1.5): a path to the root that the verifier was given, and
 * the platform's data in the SGX extension, 1.2.840.113741.1.13.1 (section 1.3.5): SEQUENCE of
 * { OID, value }; .2 TCB (.2.1 to .2.16 component SVNs, .2.17 PCE SVN), .3 PCE-ID, .4 FMSPC.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "cert_path.h"
#include "tdx_quote.h"

#define TDX_FMSPC       6
#define TDX_PCE_ID      2
#define TDX_CHAIN_DEPTH 2 /* the processor's or platform's CA stands between */

struct tdx_pck {
	uint8_t fmspc[TDX_FMSPC];
	uint8_t pce_id[TDX_PCE_ID];
	uint8_t svn[TDX_SVN_BYTES]; /* of the 16 components */
	uint16_t pce_svn;
	EVP_PKEY *key; /* P-256 */
};
void tdx_pck_done(struct tdx_pck *p);
#define auto_tdx_pck __attribute__((cleanup(tdx_pck_done)))

/** True for a certificate with the SGX extension: a platform's, whatever is in it. */
bool tdx_pck_is_one(const X509 *cert);

/**
 * The chain of a quote: PEM, PCK certificate first. Each certificate of it must be part of the path
 * to a root of @store.
 * @flags  X509_V_FLAG_*: whether revocation lists of @store are asked
 * @ret    set on success only; owned by the caller
 * Returns 0, -EACCES with TL_E_VERIFY_TDX_CHAIN, or -ENOMEM.
 */
int tdx_pck_verify(X509_STORE *store, unsigned long flags, const struct tdx_span *pem,
		   int64_t now_s, struct tdx_pck *ret, struct tl_error *err);
