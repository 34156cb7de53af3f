/* SPDX-License-Identifier: Apache-2.0 */
/* Commands and structures: TPM 2.0 Library, parts 2 and 3, revision 1.59. */
#include <teelaunch/tpm_seal.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <teelaunch/cleanup.h>

#include "tpm_esys.h"

#define NO_SESSIONS ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE

/* The file starts with these; another layout gets another number. */
static const uint8_t blob_magic[8] = { 'T', 'L', 'S', 'E', 'A', 'L', 0, 1 };

static const TPMT_SYM_DEF session_cipher = {
	.algorithm = TPM2_ALG_AES,
	.keyBits.aes = 128,
	.mode.aes = TPM2_ALG_CFB,
};

struct tl_sealer {
	struct tpm_esys tpm;
	ESYS_TR primary; /* in the null hierarchy */
	TPML_PCR_SELECTION pcrs;
};

/* A session or object of the TPM that is flushed at the end of the scope. */
struct handle {
	ESYS_CONTEXT *ctx;
	ESYS_TR tr;
};

static void handle_flush(struct handle *h)
{
	if (h->tr != ESYS_TR_NONE)
		(void)Esys_FlushContext(h->ctx, h->tr);
	h->tr = ESYS_TR_NONE;
}
#define auto_handle __attribute__((cleanup(handle_flush)))

/* Freed by ESAPI's own allocator, wiped first. */
static void sensitive_freep(TPM2B_SENSITIVE_DATA **p)
{
	if (*p)
		explicit_bzero(*p, sizeof(**p));
	Esys_Free(*p);
}

static int primary_make(struct tl_sealer *s, struct tl_error *err)
{
	/* A storage key as in TCG TPM v2.0 Provisioning Guidance, 7.5.1, on NIST P-256. */
	const TPM2B_PUBLIC template = {
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    TPMA_OBJECT_SENSITIVEDATAORIGIN |
					    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA |
					    TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT,
			.parameters.eccDetail = {
				.symmetric = {
					.algorithm = TPM2_ALG_AES,
					.keyBits.aes = 128,
					.mode.aes = TPM2_ALG_CFB,
				},
				.scheme.scheme = TPM2_ALG_NULL,
				.curveID = TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
	const TPM2B_SENSITIVE_CREATE no_secret = { 0 };
	const TPML_PCR_SELECTION no_pcrs = { 0 };
	const TPM2B_DATA no_info = { 0 };
	TSS2_RC rc;

	rc = Esys_CreatePrimary(s->tpm.ctx, ESYS_TR_RH_NULL, ESYS_TR_PASSWORD, ESYS_TR_NONE,
				ESYS_TR_NONE, &no_secret, &template, &no_info, &no_pcrs,
				&s->primary, NULL, NULL, NULL, NULL);
	if (rc == TSS2_RC_SUCCESS)
		return 0;
	s->primary = ESYS_TR_NONE;
	return tpm_fail(&s->tpm, err, rc, "make a key of the null hierarchy");
}

static bool is_extended(const struct tl_quote *q)
{
	size_t n = tl_hash_size(q->hash);

	for (size_t i = 0; i < q->n_pcrs; i++) {
		const uint8_t *value = q->pcrs[i].bytes;

		/* As they are after a reset: all bits zero, in some registers all one. */
		if ((*value == 0 || *value == 0xff) && memcmp(value, value + 1, n - 1) == 0)
			return false;
	}
	return q->n_pcrs > 0;
}

/* Has the firmware measured the boot into this bank? Some leave banks that are allocated empty. */
static int bank_is_used(struct tl_sealer *s, const TPMS_PCR_SELECTION *firmware, bool *ret,
			struct tl_error *err)
{
	auto_free struct tl_quote *q = calloc(1, sizeof(*q));
	int r = q ? tpm_read_pcrs(&s->tpm, firmware, q, err)
		  : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "PCRs");

	if (r == 0)
		*ret = is_extended(q);
	return r;
}

static TPMS_PCR_SELECTION selection_of(uint16_t hash, uint32_t bits)
{
	return (TPMS_PCR_SELECTION){
		.hash = hash,
		.sizeofSelect = 3,
		.pcrSelect = { bits & 0xff, bits >> 8 & 0xff, bits >> 16 & 0xff },
	};
}

/* The policy is over one bank: the best that is allocated, and used. SHA-1 wouldn't bind anything.
 */
static int bank_choose(struct tl_sealer *s, struct tl_error *err)
{
	static const uint16_t good[] = { TL_SHA384, TL_SHA256, TL_SHA512 };
	TPML_PCR_SELECTION allocated = { 0 };
	struct tl_banks banks = { 0 };
	int r = tpm_read_banks(&s->tpm, &banks, &allocated, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < TL_ARRAY_SIZE(good); i++)
		for (size_t b = 0; b < banks.n; b++)
			if (banks.hashes[b] == good[i]) {
				TPMS_PCR_SELECTION firmware =
					selection_of(good[i], TL_SEAL_PCRS_FIRMWARE);
				bool is_used = false;

				r = bank_is_used(s, &firmware, &is_used, err);
				if (r < 0)
					return r;
				if (!is_used)
					continue;
				s->pcrs.count = 1;
				s->pcrs.pcrSelections[0] = selection_of(good[i], TL_SEAL_PCRS);
				return 0;
			}
	return tl_fail(err, TL_E_TPM_BANKS, ENOTSUP,
		       "the boot is measured into no PCR bank of SHA-256 or better");
}

int tl_sealer_open(const char *tcti, struct tl_sealer **ret, struct tl_error *err)
{
	auto_sealer struct tl_sealer *s = calloc(1, sizeof(*s));
	struct tpm_link *link = NULL;
	int r;

	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "TPM for sealing");
	s->primary = ESYS_TR_NONE;
	r = tpm_link_open(tcti, TPM_COMMAND_BUDGET_MS, &link, err);
	if (r == 0)
		r = tpm_esys_init(&s->tpm, link, err);
	if (r == 0)
		r = bank_choose(s, err);
	if (r == 0)
		r = primary_make(s, err);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}

struct tl_sealer *tl_sealer_close(struct tl_sealer *s)
{
	if (!s)
		return NULL;
	if (s->primary != ESYS_TR_NONE)
		(void)Esys_FlushContext(s->tpm.ctx, s->primary);
	tpm_esys_done(&s->tpm);
	free(s);
	return NULL;
}

static int session_start(struct tl_sealer *s, TPM2_SE type, TPMA_SESSION attributes,
			 struct handle *ret, struct tl_error *err)
{
	TSS2_RC rc = Esys_StartAuthSession(s->tpm.ctx, s->primary, ESYS_TR_NONE, NO_SESSIONS, NULL,
					   type, &session_cipher, TPM2_ALG_SHA256, &ret->tr);

	ret->ctx = s->tpm.ctx;
	if (rc != TSS2_RC_SUCCESS)
		ret->tr = ESYS_TR_NONE;
	else
		rc = Esys_TRSess_SetAttributes(s->tpm.ctx, ret->tr,
					       attributes | TPMA_SESSION_CONTINUESESSION, 0xff);
	return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(&s->tpm, err, rc, "start a session");
}

int tl_sealer_random(struct tl_sealer *s, uint8_t *bytes, size_t n, struct tl_error *err)
{
	auto_handle struct handle session = { .tr = ESYS_TR_NONE };
	int r = session_start(s, TPM2_SE_HMAC, TPMA_SESSION_ENCRYPT, &session, err);

	while (r == 0 && n) {
		auto_esys TPM2B_DIGEST *got = NULL;
		size_t wanted = n < 32 ? n : 32;
		TSS2_RC rc = Esys_GetRandom(s->tpm.ctx, session.tr, ESYS_TR_NONE, ESYS_TR_NONE,
					    (UINT16)wanted, &got);

		if (rc != TSS2_RC_SUCCESS)
			return tpm_fail(&s->tpm, err, rc, "get random bytes");
		/* A TPM may give fewer than asked for, never none (part 3, 16.1). */
		if (!got->size || got->size > wanted)
			return tl_fail(err, TL_E_TPM_COMMAND, EBADMSG,
				       "get random bytes: %u instead of %zu", got->size, wanted);
		memcpy(bytes, got->buffer, got->size);
		bytes += got->size;
		n -= got->size;
		explicit_bzero(got, sizeof(*got));
	}
	return r;
}

static int policy_pcrs(struct tl_sealer *s, ESYS_TR session, struct tl_error *err)
{
	const TPM2B_DIGEST as_they_are = { 0 };
	TSS2_RC rc = Esys_PolicyPCR(s->tpm.ctx, session, NO_SESSIONS, &as_they_are, &s->pcrs);

	return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(&s->tpm, err, rc, "state the PCR policy");
}

/* The TPM computes it: in a trial session TPM2_PolicyPCR takes the values of now. */
static int policy_digest(struct tl_sealer *s, TPM2B_DIGEST *ret, struct tl_error *err)
{
	auto_handle struct handle trial = { .tr = ESYS_TR_NONE };
	auto_esys TPM2B_DIGEST *digest = NULL;
	TSS2_RC rc;
	int r = session_start(s, TPM2_SE_TRIAL, 0, &trial, err);

	if (r == 0)
		r = policy_pcrs(s, trial.tr, err);
	if (r < 0)
		return r;
	rc = Esys_PolicyGetDigest(s->tpm.ctx, trial.tr, NO_SESSIONS, &digest);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(&s->tpm, err, rc, "get the policy's digest");
	*ret = *digest;
	return 0;
}

static int object_create(struct tl_sealer *s, const TPM2B_DIGEST *policy,
			 const struct tl_secret *secret, TPM2B_PRIVATE **ret_private,
			 TPM2B_PUBLIC **ret_public, struct tl_error *err)
{
	/* Without userWithAuth the policy is the only way in. */
	const TPM2B_PUBLIC public = {
		.publicArea = {
			.type = TPM2_ALG_KEYEDHASH,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
					    TPMA_OBJECT_NODA,
			.authPolicy = *policy,
			.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL,
		},
	};
	auto_handle struct handle session = { .tr = ESYS_TR_NONE };
	const TPML_PCR_SELECTION no_pcrs = { 0 };
	const TPM2B_DATA no_info = { 0 };
	TPM2B_SENSITIVE_CREATE in = { 0 };
	TSS2_RC rc;
	int r = session_start(s, TPM2_SE_HMAC, TPMA_SESSION_DECRYPT, &session, err);

	if (r < 0)
		return r;
	in.sensitive.data.size = (UINT16)secret->len_bytes;
	memcpy(in.sensitive.data.buffer, secret->bytes, secret->len_bytes);
	rc = Esys_Create(s->tpm.ctx, s->primary, session.tr, ESYS_TR_NONE, ESYS_TR_NONE, &in,
			 &public, &no_info, &no_pcrs, ret_private, ret_public, NULL, NULL, NULL);
	explicit_bzero(&in, sizeof(in));
	return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(&s->tpm, err, rc, "seal");
}

static int blob_write(const TPM2B_PRIVATE *private, const TPM2B_PUBLIC *public, struct tl_buf *ret,
		      struct tl_error *err)
{
	uint8_t bytes[sizeof(*private) + sizeof(*public)];
	size_t n = 0;
	int r = -EBADMSG;

	if (Tss2_MU_TPM2B_PRIVATE_Marshal(private, bytes, sizeof(bytes), &n) == TSS2_RC_SUCCESS &&
	    Tss2_MU_TPM2B_PUBLIC_Marshal(public, bytes, sizeof(bytes), &n) == TSS2_RC_SUCCESS)
		r = tl_buf_append(ret, blob_magic, sizeof(blob_magic));
	if (r == 0)
		r = tl_buf_append(ret, bytes, n);
	return r < 0 ? tl_fail_sys(err, TL_E_TPM_COMMAND, -r, "write down what was sealed") : 0;
}

static int blob_read(const uint8_t *blob, size_t n, TPM2B_PRIVATE *private, TPM2B_PUBLIC *public,
		     struct tl_error *err)
{
	size_t at = sizeof(blob_magic);

	if (n < at || memcmp(blob, blob_magic, at) != 0 ||
	    Tss2_MU_TPM2B_PRIVATE_Unmarshal(blob, n, &at, private) != TSS2_RC_SUCCESS ||
	    Tss2_MU_TPM2B_PUBLIC_Unmarshal(blob, n, &at, public) != TSS2_RC_SUCCESS || at != n)
		return tl_fail(err, TL_E_UNSEAL, EBADMSG, "not a sealed blob of ours");
	return 0;
}

int tl_seal(struct tl_sealer *s, const struct tl_secret *secret, struct tl_buf *ret,
	    struct tl_error *err)
{
	auto_esys TPM2B_PRIVATE *private = NULL;
	auto_esys TPM2B_PUBLIC *public = NULL;
	TPM2B_DIGEST policy = { 0 };
	int r;

	if (tl_secret_is_empty(secret) || secret->len_bytes > TL_SEAL_SECRET_MAX)
		return tl_fail(err, TL_E_INTERNAL, EINVAL, "seal %zu bytes", secret->len_bytes);
	r = policy_digest(s, &policy, err);
	if (r == 0)
		r = object_create(s, &policy, secret, &private, &public, err);
	return r < 0 ? r : blob_write(private, public, ret, err);
}

/* What the TPM itself refuses is a closed door; the rest is trouble with the TPM. */
static int unseal_fail(struct tl_sealer *s, struct tl_error *err, TSS2_RC rc, const char *what)
{
	struct tl_error why = { 0 };
	int r = tpm_fail(&s->tpm, &why, rc, what);

	if (why.code == TL_E_TPM_COMMAND)
		return tl_fail(err, TL_E_UNSEAL, EACCES, "%s", why.msg);
	if (err)
		*err = why;
	return r;
}

int tl_unseal(struct tl_sealer *s, const uint8_t *blob, size_t n, struct tl_secret *ret,
	      struct tl_error *err)
{
	__attribute__((cleanup(sensitive_freep))) TPM2B_SENSITIVE_DATA *out = NULL;
	auto_handle struct handle session = { .tr = ESYS_TR_NONE };
	auto_handle struct handle object = { .ctx = s->tpm.ctx, .tr = ESYS_TR_NONE };
	TPM2B_PRIVATE private = { 0 };
	TPM2B_PUBLIC public = { 0 };
	TSS2_RC rc;
	int r = blob_read(blob, n, &private, &public, err);

	if (r < 0)
		return r;
	rc = Esys_Load(s->tpm.ctx, s->primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
		       &private, &public, &object.tr);
	if (rc != TSS2_RC_SUCCESS) {
		object.tr = ESYS_TR_NONE;
		return unseal_fail(s, err, rc, "load what was sealed, in this boot of the TPM");
	}
	r = session_start(s, TPM2_SE_POLICY, TPMA_SESSION_ENCRYPT, &session, err);
	if (r == 0)
		r = policy_pcrs(s, session.tr, err);
	if (r < 0)
		return r;
	rc = Esys_Unseal(s->tpm.ctx, object.tr, session.tr, ESYS_TR_NONE, ESYS_TR_NONE, &out);
	if (rc != TSS2_RC_SUCCESS)
		return unseal_fail(s, err, rc, "unseal with the registers as they are now");
	if (tl_secret_alloc_locked(ret, out->size) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "unsealed secret");
	memcpy(ret->bytes, out->buffer, out->size);
	return 0;
}
