/* SPDX-License-Identifier: Apache-2.0 */
#include "tpm_esys.h"

#include <errno.h>
#include <string.h>

#include <tss2/tss2_rc.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/record_log.h>

#define NO_SESSIONS       ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE
#define EMPTY_PASSWORD    ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE
#define PCRS_PER_READ     8   /* what one TPML_DIGEST holds: TPM 2.0 part 2, 10.9.7 */
#define NV_BLOCK_FALLBACK 512 /* every TPM for PCs reads that much: PC Client PTP 1.05, 4.6 */

int tpm_esys_init(struct tpm_esys *t, struct tpm_link *consume_link, struct tl_error *err)
{
	struct tpm_esys got = { .link = consume_link };
	TSS2_RC rc;

	rc = Esys_Initialize(&got.ctx, tpm_link_tcti(consume_link), NULL);
	if (rc != TSS2_RC_SUCCESS) {
		int r = tpm_fail(&got, err, rc, "set up ESAPI");

		tpm_link_close(consume_link);
		return r;
	}
	*t = got;
	return 0;
}

void tpm_esys_done(struct tpm_esys *t)
{
	Esys_Finalize(&t->ctx);
	t->link = tpm_link_close(t->link);
}

int tpm_esys_renew(struct tpm_esys *t, TPM2_HANDLE keep, ESYS_TR *ret_kept, struct tl_error *err)
{
	ESYS_CONTEXT *fresh = NULL;
	ESYS_TR kept = ESYS_TR_NONE;
	TSS2_RC rc = Esys_Initialize(&fresh, tpm_link_tcti(t->link), NULL);

	if (rc == TSS2_RC_SUCCESS && keep)
		rc = Esys_TR_FromTPMPublic(fresh, keep, NO_SESSIONS, &kept);
	if (rc != TSS2_RC_SUCCESS) {
		Esys_Finalize(&fresh);
		return tpm_fail(t, err, rc, "set up ESAPI again");
	}
	Esys_Finalize(&t->ctx);
	t->ctx = fresh;
	if (keep && ret_kept)
		*ret_kept = kept;
	tpm_link_flush(t->link, keep);
	return 0;
}

static int fail_by_link(const struct tpm_esys *t, struct tl_error *err, const char *what)
{
	switch (tpm_link_state(t->link)) {
	case TPM_LINK_BUSY:
		return tl_fail(err, TL_E_TPM_BUSY, EBUSY, "%s: the TPM is busy", what);
	case TPM_LINK_LATE:
		return tl_fail(err, TL_E_TPM_GONE, ETIMEDOUT, "%s: the TPM doesn't answer", what);
	case TPM_LINK_GONE:
		return tl_fail(err, TL_E_TPM_GONE, ENODEV, "%s: the connection to the TPM is lost",
			       what);
	case TPM_LINK_UP:
		break;
	}
	return 0;
}

/* Warnings of the TPM pass: part 2, 6.6.1 "RC_WARN", and the TPM's layer is 0. */
static bool is_warning(TSS2_RC rc)
{
	return (rc & TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER && !(rc & TPM2_RC_FMT1) &&
	       (rc & TPM2_RC_WARN) == TPM2_RC_WARN;
}

int tpm_fail(const struct tpm_esys *t, struct tl_error *err, TSS2_RC rc, const char *what)
{
	int r = fail_by_link(t, err, what);

	if (r < 0)
		return r;
	if (rc == TPM2_RC_LOCKOUT)
		return tl_fail(err, TL_E_TPM_LOCKOUT, EACCES, "%s: %s", what, Tss2_RC_Decode(rc));
	if ((rc & ~TSS2_RC_LAYER_MASK) == TSS2_BASE_RC_MEMORY &&
	    (rc & TSS2_RC_LAYER_MASK) != TSS2_TPM_RC_LAYER)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "%s: no memory", what);
	return tl_fail(err, is_warning(rc) ? TL_E_TPM_BUSY : TL_E_TPM_COMMAND, EIO, "%s: %s", what,
		       Tss2_RC_Decode(rc));
}

static uint32_t selection_bits(const TPMS_PCR_SELECTION *selection)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < selection->sizeofSelect && i < sizeof(bits); i++)
		bits |= (uint32_t)selection->pcrSelect[i] << 8 * i;
	return bits;
}

static int add_bank(const TPMS_PCR_SELECTION *selection, struct tl_banks *banks,
		    TPML_PCR_SELECTION *selections, struct tl_error *err)
{
	if (!selection_bits(selection))
		return 0;
	if (!tl_hash_size(selection->hash))
		return tl_fail(err, TL_E_TPM_BANKS, ENOTSUP,
			       "PCR bank 0x%04x is allocated, but its hash is unknown here",
			       selection->hash);
	/* Four known hashes and none twice: that bounds the array too. */
	for (size_t i = 0; i < banks->n; i++)
		if (banks->hashes[i] == selection->hash)
			return tl_fail(err, TL_E_TPM_BANKS, EBADMSG, "PCR bank %s is there twice",
				       tl_hash_name(selection->hash));
	if (~selection_bits(selection) & (1U << TL_CEL_PCR | 1U << TL_RECORD_PCR))
		return tl_fail(err, TL_E_TPM_BANKS, ENOTSUP, "PCR bank %s lacks PCR %d or %d",
			       tl_hash_name(selection->hash), TL_CEL_PCR, TL_RECORD_PCR);
	banks->hashes[banks->n++] = selection->hash;
	selections->pcrSelections[selections->count++] = *selection;
	return 0;
}

int tpm_read_banks(const struct tpm_esys *t, struct tl_banks *ret, TPML_PCR_SELECTION *ret_sel,
		   struct tl_error *err)
{
	auto_esys TPMS_CAPABILITY_DATA *data = NULL;
	TPML_PCR_SELECTION selections = { 0 };
	struct tl_banks banks = { 0 };
	int r = 0;
	TSS2_RC rc;

	rc = Esys_GetCapability(t->ctx, NO_SESSIONS, TPM2_CAP_PCRS, 0, 1, NULL, &data);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(t, err, rc, "read the PCR banks");
	if (data->capability != TPM2_CAP_PCRS)
		return tl_fail(err, TL_E_TPM_COMMAND, EBADMSG, "read the PCR banks: wrong answer");
	for (uint32_t i = 0; r >= 0 && i < data->data.assignedPCR.count; i++)
		r = add_bank(&data->data.assignedPCR.pcrSelections[i], &banks, &selections, err);
	if (r < 0)
		return r;
	if (!banks.n)
		return tl_fail(err, TL_E_TPM_BANKS, ENOTSUP, "no PCR bank is allocated");
	*ret = banks;
	*ret_sel = selections;
	return 0;
}

/* Move up to eight of the @todo bits into @ret_now. */
static void take_bits(uint32_t *todo, TPMS_PCR_SELECTION *ret_now)
{
	unsigned int n = 0;

	memset(ret_now->pcrSelect, 0, sizeof(ret_now->pcrSelect));
	for (unsigned int i = 0; i < TL_PCRS_MAX && n < PCRS_PER_READ; i++) {
		if (!(*todo & 1U << i))
			continue;
		ret_now->pcrSelect[i / 8] |= (uint8_t)(1 << i % 8);
		*todo &= ~(1U << i);
		n++;
	}
}

static int store_values(uint32_t bits, const TPML_DIGEST *values, struct tl_quote *ret,
			struct tl_error *err)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < TL_PCRS_MAX; i++) {
		struct tl_pcr_value *value = &ret->pcrs[ret->n_pcrs];

		if (!(bits & 1U << i))
			continue;
		if (n >= values->count || values->digests[n].size != tl_hash_size(ret->hash))
			return tl_fail(err, TL_E_TPM_COMMAND, EBADMSG,
				       "read PCR %u: the TPM gave other values than asked for", i);
		value->index = (uint8_t)i;
		memcpy(value->bytes, values->digests[n].buffer, values->digests[n].size);
		ret->n_pcrs++;
		n++;
	}
	return 0;
}

int tpm_read_pcrs(const struct tpm_esys *t, const TPMS_PCR_SELECTION *selection,
		  struct tl_quote *ret, struct tl_error *err)
{
	TPML_PCR_SELECTION now = { .count = 1, .pcrSelections = { *selection } };
	uint32_t todo = selection_bits(selection);
	int r = 0;

	ret->hash = selection->hash;
	ret->n_pcrs = 0;
	while (r >= 0 && todo) {
		auto_esys TPML_PCR_SELECTION *got = NULL;
		auto_esys TPML_DIGEST *values = NULL;
		TSS2_RC rc;

		take_bits(&todo, &now.pcrSelections[0]);
		rc = Esys_PCR_Read(t->ctx, NO_SESSIONS, &now, NULL, &got, &values);
		if (rc != TSS2_RC_SUCCESS)
			return tpm_fail(t, err, rc, "read PCRs");
		if (got->count != 1 || got->pcrSelections[0].hash != selection->hash ||
		    selection_bits(&got->pcrSelections[0]) != selection_bits(&now.pcrSelections[0]))
			return tl_fail(err, TL_E_TPM_COMMAND, EBADMSG,
				       "read PCRs: the TPM gave other ones than asked for");
		r = store_values(selection_bits(&got->pcrSelections[0]), values, ret, err);
	}
	return r;
}

int tpm_extend_pcr(const struct tpm_esys *t, unsigned int pcr,
		   const struct tl_event_digests *digests, struct tl_error *err)
{
	TPML_DIGEST_VALUES values = { .count = (uint32_t)digests->n };
	TSS2_RC rc;

	for (size_t i = 0; i < digests->n; i++) {
		values.digests[i].hashAlg = digests->items[i].hash;
		memcpy(&values.digests[i].digest, digests->items[i].bytes,
		       tl_hash_size(digests->items[i].hash));
	}
	rc = Esys_PCR_Extend(t->ctx, ESYS_TR_PCR0 + pcr, EMPTY_PASSWORD, &values);
	return rc == TSS2_RC_SUCCESS ? 0 : tpm_fail(t, err, rc, "extend the launch register");
}

int tpm_read_property(const struct tpm_esys *t, TPM2_PT property, uint32_t *ret,
		      struct tl_error *err)
{
	auto_esys TPMS_CAPABILITY_DATA *data = NULL;
	const TPML_TAGGED_TPM_PROPERTY *list;
	TSS2_RC rc;

	rc = Esys_GetCapability(t->ctx, NO_SESSIONS, TPM2_CAP_TPM_PROPERTIES, property, 1, NULL,
				&data);
	if (rc != TSS2_RC_SUCCESS)
		return tpm_fail(t, err, rc, "read a property of the TPM");
	list = &data->data.tpmProperties;
	/* A TPM without the property answers with the next one. */
	if (data->capability != TPM2_CAP_TPM_PROPERTIES || list->count != 1 ||
	    list->tpmProperty[0].property != property)
		return tl_fail(err, TL_E_TPM_COMMAND, ENOENT, "the TPM has no property 0x%x",
			       property);
	*ret = list->tpmProperty[0].value;
	return 0;
}

/* An error that says "not there" rather than "broken": handle unknown, not written, not allowed. */
static int fail_nv(const struct tpm_esys *t, struct tl_error *err, TSS2_RC rc, TPM2_HANDLE index,
		   const char *name, enum tl_code code)
{
	struct tl_error inner = { 0 };
	int r = tpm_fail(t, &inner, rc, "read");

	if (inner.code != TL_E_TPM_COMMAND)
		return tl_fail(err, inner.code, -r, "%s, NV 0x%08x: %s", name, index, inner.msg);
	return tl_fail(err, code, ENOENT, "%s, NV 0x%08x: %s", name, index, Tss2_RC_Decode(rc));
}

static TSS2_RC read_nv_blocks(const struct tpm_esys *t, ESYS_TR nv, uint16_t size, uint32_t block,
			      uint8_t *ret)
{
	for (uint32_t done = 0; done < size;) {
		auto_esys TPM2B_MAX_NV_BUFFER *data = NULL;
		uint16_t n = (uint16_t)(size - done < block ? size - done : block);
		TSS2_RC rc;

		rc = Esys_NV_Read(t->ctx, ESYS_TR_RH_OWNER, nv, EMPTY_PASSWORD, n, (uint16_t)done,
				  &data);
		if (rc != TSS2_RC_SUCCESS)
			return rc;
		if (data->size != n)
			return TSS2_ESYS_RC_MALFORMED_RESPONSE;
		memcpy(ret + done, data->buffer, n);
		done += n;
	}
	return TSS2_RC_SUCCESS;
}

static TSS2_RC read_nv_size(const struct tpm_esys *t, ESYS_TR nv, uint16_t *ret)
{
	auto_esys TPM2B_NV_PUBLIC *pub = NULL;
	auto_esys TPM2B_NAME *name = NULL;
	TSS2_RC rc = Esys_NV_ReadPublic(t->ctx, nv, NO_SESSIONS, &pub, &name);

	if (rc == TSS2_RC_SUCCESS)
		*ret = pub->nvPublic.dataSize;
	return rc;
}

int tpm_read_nv(const struct tpm_esys *t, TPM2_HANDLE index, const char *name, size_t max_bytes,
		enum tl_code code, struct tl_blob *ret, struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	struct tl_error inner = { 0 };
	ESYS_TR nv = ESYS_TR_NONE;
	uint32_t block = 0;
	uint16_t size = 0;
	TSS2_RC rc;
	int r = tpm_read_property(t, TPM2_PT_NV_BUFFER_MAX, &block, &inner);

	/* Whatever else it is would fail the reading, too, and hide its own reason. */
	if (r < 0 && r != -ENOENT)
		return tl_fail(err, inner.code, -r, "%s, NV 0x%08x: %s", name, index, inner.msg);
	if (r < 0 || !block)
		block = NV_BLOCK_FALLBACK;
	rc = Esys_TR_FromTPMPublic(t->ctx, index, NO_SESSIONS, &nv);
	if (rc != TSS2_RC_SUCCESS)
		return fail_nv(t, err, rc, index, name, code);
	rc = read_nv_size(t, nv, &size);
	if (rc == TSS2_RC_SUCCESS && size && size <= max_bytes) {
		bytes = malloc(size);
		rc = bytes ? read_nv_blocks(t, nv, size, block, bytes) : TSS2_ESYS_RC_MEMORY;
	}
	Esys_TR_Close(t->ctx, &nv);
	if (rc != TSS2_RC_SUCCESS)
		return fail_nv(t, err, rc, index, name, code);
	if (!bytes)
		return tl_fail(err, code, EFBIG, "%s, NV 0x%08x: %u bytes; must be 1 to %zu", name,
			       index, size, max_bytes);
	*ret = (struct tl_blob){ .bytes = take_ptr(bytes), .n = size };
	return 0;
}
