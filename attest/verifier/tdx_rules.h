/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TDX evidence is held against, all of it given offline: Intel's root, revocation lists, TCB
 * info for each kind of platform, the identity of the quoting enclave, and which TCB statuses are
 * accepted. Nothing is ever fetched. Read-only once filled.
 */
#pragma once

#include <stdbool.h>

#include "tdx_tcb.h"

#define TDX_TCB_INFOS_MAX 32

struct tdx_rules {
	X509_STORE *store;
	unsigned long flags; /* X509_V_FLAG_* of paths: revocation, if lists were given */
	bool has_tcb;        /* the following is there, and judged */
	X509 *signer;        /* of TCB info and identity */
	struct tdx_tcb_info infos[TDX_TCB_INFOS_MAX];
	size_t infos_n;
	struct tdx_qe_identity qe;
	bool accepts[TDX_TCB_STATUSES];
};

/** With the certificates of a PEM text as roots. Codes: TL_E_VERIFY_KEYS, TL_E_NO_MEMORY. */
int tdx_rules_new(const char *root_pem, size_t n, struct tdx_rules **ret, struct tl_error *err);
struct tdx_rules *tdx_rules_free(struct tdx_rules *r);
static inline void tdx_rules_freep(struct tdx_rules **r)
{
	*r = tdx_rules_free(*r);
}
#define auto_tdx_rules __attribute__((cleanup(tdx_rules_freep)))

/**
 * A revocation list, PEM or DER. With one given, every CA of a path needs a list that is valid at
 * the time of the check. TL_E_VERIFY_TDX_COLLATERAL.
 */
int tdx_rules_add_crl(struct tdx_rules *r, const void *bytes, size_t n, struct tl_error *err);

/**
 * The certificate that signs Intel's statements on TCBs, first in the PEM text: directly below the
 * root, no CA and no platform's. Before the two that follow. TL_E_VERIFY_TDX_COLLATERAL.
 */
int tdx_rules_set_signer(struct tdx_rules *r, const char *pem, size_t n, int64_t now_s,
			 struct tl_error *err);
/* Files as Intel serves them; signed by that certificate. TL_E_VERIFY_TDX_COLLATERAL. */
int tdx_rules_add_tcb_info(struct tdx_rules *r, const char *text, size_t n, struct tl_error *err);
int tdx_rules_set_qe_identity(struct tdx_rules *r, const char *text, size_t n,
			      struct tl_error *err);

/** One that may be, beside "UpToDate"; TL_E_USAGE if it is none, or "Revoked". */
int tdx_rules_accept(struct tdx_rules *r, const char *status, struct tl_error *err);
