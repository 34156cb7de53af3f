/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The attestation key: made again at every start from the cloud's template, vouched for by the
 * cloud's certificate. NV indices: go-tpm-tools, client/handles.go (Google Compute Engine, ECC).
 */
#pragma once

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>

#include "tpm_esys.h"

#define TPM_AK_CERT_NV     0x01C10002
#define TPM_AK_TEMPLATE_NV 0x01C10003
#define TPM_CERT_MAX_BYTES 8192

struct tpm_ak {
	ESYS_TR handle;        /* loaded; ESYS_TR_NONE: not */
	TPM2_HANDLE object;    /* the same, as the TPM calls it */
	bool needs_policy;     /* authorization is the EK policy, not the empty password */
	struct tl_blob public; /* TPMT_PUBLIC */
	struct tl_blob cert;   /* DER */
};

/**
 * Read the template, make the key, read the certificate, and check that they belong together.
 * Codes: TL_E_AK_TEMPLATE, TL_E_AK_KEY, TL_E_AK_CERT, TL_E_AK_MISMATCH, TL_E_TPM_*.
 * @ret  set on success only; owned by the caller
 */
int tpm_ak_load(const struct tpm_esys *t, struct tpm_ak *ret, struct tl_error *err);
/** Flush the key. Zero-initialised with handle ESYS_TR_NONE is fine. */
void tpm_ak_done(const struct tpm_esys *t, struct tpm_ak *ak);
/** TPM2_Quote over one bank's selection with the key's own scheme. Fills attest and signature. */
int tpm_ak_quote(const struct tpm_esys *t, const struct tpm_ak *ak,
		 const TPMS_PCR_SELECTION *selection, const void *nonce, size_t nonce_len,
		 struct tl_quote *ret, struct tl_error *err);

/** Pure: is this certificate for that key? TL_E_AK_CERT or TL_E_AK_MISMATCH. */
int tpm_ak_check_cert(const TPMT_PUBLIC *key, const struct tl_blob *cert, struct tl_error *err);
