/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm_ak.h"

#include <errno.h>
#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <teelaunch/cleanup.h>

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE

/* PolicySecret(TPM_RH_ENDORSEMENT), SHA-256: TCG EK Credential Profile 2.5, B.6.2, "PolicyA". */
static const uint8_t ek_policy[32] = {
	0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc,
	0x8d, 0x46, 0xa5, 0xd7, 0x24, 0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52,
	0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa,
};

/* A key without one of these could be used to sign what isn't a quote, or elsewhere. */
static const struct {
	TPMA_OBJECT bit;
	const char *name;
} needed_attributes[] = {
	{ TPMA_OBJECT_FIXEDTPM, "fixedTPM" },
	{ TPMA_OBJECT_SENSITIVEDATAORIGIN, "sensitiveDataOrigin" },
	{ TPMA_OBJECT_RESTRICTED, "restricted" },
	{ TPMA_OBJECT_SIGN_ENCRYPT, "sign" },
};

static int bad_template(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_AK_TEMPLATE, EBADMSG, "attestation key's template, NV 0x%08x: %s",
		       TPM_AK_TEMPLATE_NV, what);
}

/*
 * The same bytes must reach the TPM, because another `unique` makes another key. ESAPI takes a
 * structure, so it is checked that it marshals to what was read.
 */
static int parse_template(const struct tl_blob *bytes, TPMT_PUBLIC *ret, struct tl_error *err)
{
	uint8_t again[sizeof(TPMT_PUBLIC)];
	size_t used = 0, n = 0;

	if (Tss2_MU_TPMT_PUBLIC_Unmarshal(bytes->bytes, bytes->n, &used, ret) != TSS2_RC_SUCCESS ||
	    used != bytes->n)
		return bad_template(err, "not a TPMT_PUBLIC");
	if (Tss2_MU_TPMT_PUBLIC_Marshal(ret, again, sizeof(again), &n) != TSS2_RC_SUCCESS ||
	    n != bytes->n || memcmp(again, bytes->bytes, n) != 0)
		return bad_template(err, "can't be given to the TPM unchanged");
	return 0;
}

static int check_attributes(const TPMT_PUBLIC *key, struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(needed_attributes); i++)
		if (!(key->objectAttributes & needed_attributes[i].bit))
			return tl_fail(err, TL_E_AK_KEY, EACCES, "attestation key isn't '%s'",
				       needed_attributes[i].name);
	if (key->objectAttributes & TPMA_OBJECT_DECRYPT)
		return tl_fail(err, TL_E_AK_KEY, EACCES, "attestation key can decrypt");
	return 0;
}

static int check_policy(const TPMT_PUBLIC *key, struct tl_error *err)
{
	const TPM2B_DIGEST *policy = &key->authPolicy;

	if (policy->size == 0)
		return 0;
	if (policy->size == sizeof(ek_policy) &&
	    memcmp(policy->buffer, ek_policy, sizeof(ek_policy)) == 0)
		return 0;
	return tl_fail(err, TL_E_AK_KEY, EACCES,
		       "attestation key has an unknown authorization policy");
}

static int create_key(const struct tpm_esys *t, const TPMT_PUBLIC *template, struct tpm_ak *ak,
		      TPMT_PUBLIC *ret, struct tl_error *err)
{
	const TPM2B_PUBLIC in = { .publicArea = *template };
	const TPM2B_SENSITIVE_CREATE no_secret = { 0 };
	const TPML_PCR_SELECTION no_pcrs = { 0 };
	const TPM2B_DATA no_info = { 0 };
	auto_esys TPM2B_PUBLIC *out = NULL;
	TSS2_RC rc;

	rc = Esys_CreatePrimary(t->ctx, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE,
				ESYS_TR_NONE, &no_secret, &in, &no_info, &no_pcrs, &ak->handle,
				&out, NULL, NULL, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		ak->handle = ESYS_TR_NONE;
		return tpm_fail(t, err, rc, "make the attestation key from its template");
	}
	rc = Esys_TR_GetTpmHandle(t->ctx, ak->handle, &ak->object);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(t, err, rc, "find the attestation key");
	*ret = out->publicArea;
	return 0;
}

static int store_public(const TPMT_PUBLIC *key, struct tpm_ak *ak, struct tl_error *err)
{
	uint8_t bytes[sizeof(TPMT_PUBLIC)];
	size_t n = 0;

	if (Tss2_MU_TPMT_PUBLIC_Marshal(key, bytes, sizeof(bytes), &n) != TSS2_RC_SUCCESS)
		return tl_fail(err, TL_E_AK_KEY, EBADMSG, "attestation key can't be marshalled");
	if (tl_blob_set(&ak->public, bytes, n) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the attestation key");
	return 0;
}

static int load_key(const struct tpm_esys *t, struct tpm_ak *ak, TPMT_PUBLIC *ret,
		    struct tl_error *err)
{
	auto_blob struct tl_blob bytes = { 0 };
	TPMT_PUBLIC template = { 0 };
	int r;

	r = tpm_read_nv(t, TPM_AK_TEMPLATE_NV, "attestation key's template", sizeof(TPMT_PUBLIC),
			TL_E_AK_TEMPLATE, &bytes, err);
	if (r >= 0)
		r = parse_template(&bytes, &template, err);
	if (r >= 0)
		r = create_key(t, &template, ak, ret, err);
	if (r >= 0)
		r = check_attributes(ret, err);
	if (r >= 0)
		r = check_policy(ret, err);
	if (r >= 0)
		r = store_public(ret, ak, err);
	ak->needs_policy = !(ret->objectAttributes & TPMA_OBJECT_USERWITHAUTH);
	return r;
}

int tpm_ak_load(const struct tpm_esys *t, struct tpm_ak *ret, struct tl_error *err)
{
	struct tpm_ak ak = { .handle = ESYS_TR_NONE };
	TPMT_PUBLIC key = { 0 };
	int r = load_key(t, &ak, &key, err);

	if (r >= 0)
		r = tpm_read_nv(t, TPM_AK_CERT_NV, "attestation key's certificate",
				TPM_CERT_MAX_BYTES, TL_E_AK_CERT, &ak.cert, err);
	if (r >= 0)
		r = tpm_ak_check_cert(&key, &ak.cert, err);
	if (r < 0) {
		tpm_ak_done(t, &ak);
		return r;
	}
	*ret = ak;
	return 0;
}

void tpm_ak_done(const struct tpm_esys *t, struct tpm_ak *ak)
{
	/* If the TPM is gone, so is the key; what only ESAPI can't flush, the link does. */
	if (ak->handle != ESYS_TR_NONE && Esys_FlushContext(t->ctx, ak->handle) != TSS2_RC_SUCCESS)
		(void)Esys_TR_Close(t->ctx, &ak->handle);
	ak->handle = ESYS_TR_NONE;
	tl_blob_done(&ak->public);
	tl_blob_done(&ak->cert);
}

/* A session for one use of a key whose authorization is the EK policy; to be flushed. */
static TSS2_RC start_policy(const struct tpm_esys *t, ESYS_TR *ret)
{
	const TPMT_SYM_DEF no_encryption = { .algorithm = TPM2_ALG_NULL };
	ESYS_TR session = ESYS_TR_NONE;
	TSS2_RC rc;

	rc = Esys_StartAuthSession(t->ctx, ESYS_TR_NONE, ESYS_TR_NONE, NO_SESSIONS, NULL,
				   TPM2_SE_POLICY, &no_encryption, TPM2_ALG_SHA256, &session);
	if (rc != TSS2_RC_SUCCESS)
		return rc;
	/* So that it is there to be flushed whatever becomes of the command that uses it. */
	rc = Esys_TRSess_SetAttributes(t->ctx, session, TPMA_SESSION_CONTINUESESSION,
				       TPMA_SESSION_CONTINUESESSION);
	if (rc == TSS2_RC_SUCCESS)
		rc = Esys_PolicySecret(t->ctx, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD,
				       ESYS_TR_NONE, ESYS_TR_NONE, NULL, NULL, NULL, 0, NULL, NULL);
	if (rc != TSS2_RC_SUCCESS) {
		(void)Esys_FlushContext(t->ctx, session);
		return rc;
	}
	*ret = session;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC run_quote(const struct tpm_esys *t, const struct tpm_ak *ak, ESYS_TR session,
			 const TPM2B_DATA *nonce, const TPML_PCR_SELECTION *selection,
			 TPM2B_ATTEST **ret_attest, TPMT_SIGNATURE **ret_signature)
{
	const TPMT_SIG_SCHEME own_scheme = { .scheme = TPM2_ALG_NULL };

	return Esys_Quote(t->ctx, ak->handle, session, ESYS_TR_NONE, ESYS_TR_NONE, nonce,
			  &own_scheme, selection, ret_attest, ret_signature);
}

static TSS2_RC quote_with_auth(const struct tpm_esys *t, const struct tpm_ak *ak,
			       const TPM2B_DATA *nonce, const TPML_PCR_SELECTION *selection,
			       TPM2B_ATTEST **ret_attest, TPMT_SIGNATURE **ret_signature)
{
	ESYS_TR session = ESYS_TR_PASSWORD;
	TSS2_RC rc;

	if (ak->needs_policy) {
		rc = start_policy(t, &session);
		if (rc != TSS2_RC_SUCCESS)
			return rc;
	}
	rc = run_quote(t, ak, session, nonce, selection, ret_attest, ret_signature);
	if (ak->needs_policy)
		(void)Esys_FlushContext(t->ctx, session);
	return rc;
}

int tpm_ak_quote(const struct tpm_esys *t, const struct tpm_ak *ak,
		 const TPMS_PCR_SELECTION *selection, const void *nonce, size_t nonce_len,
		 struct tl_quote *ret, struct tl_error *err)
{
	const TPML_PCR_SELECTION one = { .count = 1, .pcrSelections = { *selection } };
	auto_esys TPMT_SIGNATURE *signature = NULL;
	auto_esys TPM2B_ATTEST *attest = NULL;
	uint8_t bytes[sizeof(TPMT_SIGNATURE)];
	TPM2B_DATA data = { .size = (uint16_t)nonce_len };
	size_t n = 0;
	TSS2_RC rc;

	if (nonce_len > TL_NONCE_MAX_BYTES || nonce_len > sizeof(data.buffer))
		return tl_fail(err, TL_E_NONCE_SIZE, EINVAL, "nonce has %zu bytes", nonce_len);
	memcpy(data.buffer, nonce, nonce_len);
	rc = quote_with_auth(t, ak, &data, &one, &attest, &signature);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(t, err, rc, "quote");
	rc = Tss2_MU_TPMT_SIGNATURE_Marshal(signature, bytes, sizeof(bytes), &n);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(t, err, rc, "marshal the quote's signature");
	if (tl_blob_set(&ret->attest, attest->attestationData, attest->size) < 0 ||
	    tl_blob_set(&ret->signature, bytes, n) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a quote");
	return 0;
}
