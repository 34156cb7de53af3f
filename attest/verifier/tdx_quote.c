/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_quote.h"

#include <errno.h>
#include <string.h>

#include "le_reader.h"

#define KEY_TYPE_P256     2
#define TEE_TYPE_TDX      0x81
#define BODY_TD_REPORT_10 2
#define BODY_TD_REPORT_15 3
#define TD_REPORT_10      584
#define TD_REPORT_15      648
#define CERT_DATA_QE      6 /* QE report certification data */
#define CERT_DATA_PCK     5 /* PCK certificate chain */

/* A.3.1: the only vendor whose quoting enclave signs with this layout. */
static const uint8_t vendor_intel[16] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
					  0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };

static int fail_at(const struct le_reader *r, const char *what, struct tl_error *err)
{
	return tl_fail(err, TL_E_VERIFY_TDX_QUOTE, EBADMSG, "TDX quote, byte %zu: %s", r->at, what);
}

static int fail_value(const struct le_reader *r, const char *what, unsigned int due,
		      unsigned int found, struct tl_error *err)
{
	return tl_fail(err, TL_E_VERIFY_TDX_QUOTE, EBADMSG,
		       "TDX quote, byte %zu: %s is %u; %u was due", r->at, what, found, due);
}

static void copy(struct le_reader *r, void *ret, size_t n)
{
	const uint8_t *p = le_read_bytes(r, n);

	if (p)
		memcpy(ret, p, n);
}

static uint64_t read_u64(struct le_reader *r)
{
	uint64_t low = le_read(r, 4);

	return low | (uint64_t)le_read(r, 4) << 32;
}

static int header_read(struct le_reader *r, struct td_quote *q, struct tl_error *err)
{
	const uint8_t *vendor;
	uint32_t key_type, tee_type;

	q->version = (uint16_t)le_read(r, 2);
	key_type = le_read(r, 2);
	tee_type = le_read(r, 4);
	(void)le_read_bytes(r, 4); /* reserved */
	vendor = le_read_bytes(r, sizeof(vendor_intel));
	(void)le_read_bytes(r, 20); /* user data: the platform's identity, which proves nothing */
	if (r->is_short)
		return fail_at(r, "the header is cut off", err);
	if (q->version != 4 && q->version != 5)
		return fail_value(r, "the version", 4, q->version, err);
	if (key_type != KEY_TYPE_P256)
		return fail_value(r, "the type of the attestation key", KEY_TYPE_P256, key_type,
				  err);
	if (tee_type != TEE_TYPE_TDX)
		return fail_value(r, "the type of the TEE", TEE_TYPE_TDX, tee_type, err);
	if (memcmp(vendor, vendor_intel, sizeof(vendor_intel)) != 0)
		return fail_at(r, "the vendor of the quoting enclave is not Intel", err);
	return 0;
}

/* Version 5 says what the body is; version 4 knows one. */
static int body_size_read(struct le_reader *r, uint16_t version, size_t *ret, struct tl_error *err)
{
	uint32_t type, size;

	*ret = TD_REPORT_10;
	if (version == 4)
		return 0;
	type = le_read(r, 2);
	size = le_read(r, 4);
	if (r->is_short)
		return fail_at(r, "the description of the body is cut off", err);
	if (type == BODY_TD_REPORT_15)
		*ret = TD_REPORT_15;
	else if (type != BODY_TD_REPORT_10)
		return fail_value(r, "the type of the body", BODY_TD_REPORT_15, type, err);
	if (size != *ret)
		return fail_value(r, "the size of the body", (unsigned int)*ret, size, err);
	return 0;
}

static int body_read(struct le_reader *r, struct td_quote *q, struct tl_error *err)
{
	struct tdx_report *td = &q->td;
	size_t size = 0;
	int e = body_size_read(r, q->version, &size, err);
	size_t start = r->at;

	if (e < 0)
		return e;
	copy(r, td->tee_tcb_svn, sizeof(td->tee_tcb_svn));
	copy(r, td->mr_seam, sizeof(td->mr_seam));
	copy(r, td->mr_signer_seam, sizeof(td->mr_signer_seam));
	copy(r, td->seam_attributes, sizeof(td->seam_attributes));
	td->td_attributes = read_u64(r);
	(void)le_read_bytes(r, 8); /* XFAM */
	copy(r, td->mrtd, sizeof(td->mrtd));
	/* MRCONFIGID, MROWNER, MROWNERCONFIG: whatever the host gave. */
	(void)le_read_bytes(r, 3 * TDX_REGISTER_BYTES);
	copy(r, td->rtmr, sizeof(td->rtmr));
	copy(r, td->report_data, sizeof(td->report_data));
	(void)le_read_bytes(r, r->is_short ? 0 : size - (r->at - start));
	if (r->is_short)
		return fail_at(r, "the TD report is cut off", err);
	q->signed_part = (struct tdx_span){ r->data, r->at };
	return 0;
}

static int qe_report_read(struct le_reader *r, struct td_quote *q, struct tl_error *err)
{
	struct le_reader sub = { .data = le_read_bytes(r, TDX_QE_REPORT), .n = TDX_QE_REPORT };

	if (!sub.data)
		return fail_at(r, "the report of the quoting enclave is cut off", err);
	q->qe_signed_part = (struct tdx_span){ sub.data, sub.n };
	(void)le_read_bytes(&sub, 16); /* CPUSVN */
	q->qe.miscselect = le_read(&sub, 4);
	(void)le_read_bytes(&sub, 28);
	copy(&sub, q->qe.attributes, sizeof(q->qe.attributes));
	(void)le_read_bytes(&sub, 32 + 32); /* MRENCLAVE; reserved */
	copy(&sub, q->qe.mr_signer, sizeof(q->qe.mr_signer));
	(void)le_read_bytes(&sub, 96);
	q->qe.isv_prod_id = (uint16_t)le_read(&sub, 2);
	q->qe.isv_svn = (uint16_t)le_read(&sub, 2);
	(void)le_read_bytes(&sub, 60);
	copy(&sub, q->qe.report_data, sizeof(q->qe.report_data));
	return 0;
}

/* Type and size of certification data that must fill the rest of @r. */
static int cert_data_open(struct le_reader *r, unsigned int type_due, const char *what,
			  struct tl_error *err)
{
	uint32_t type = le_read(r, 2), size = le_read(r, 4);

	if (r->is_short)
		return fail_at(r, "certification data is cut off", err);
	if (type != type_due)
		return fail_value(r, what, type_due, type, err);
	if (size != r->n - r->at)
		return fail_value(r, "the size of certification data", (unsigned int)(r->n - r->at),
				  size, err);
	return 0;
}

static int signature_read(struct le_reader *r, struct td_quote *q, struct tl_error *err)
{
	int e;

	q->signature = le_read_bytes(r, TDX_SIGNATURE);
	q->attestation_key = le_read_bytes(r, TDX_KEY);
	if (r->is_short)
		return fail_at(r, "the signature is cut off", err);
	e = cert_data_open(r, CERT_DATA_QE, "the type of certification data", err);
	if (e == 0)
		e = qe_report_read(r, q, err);
	if (e < 0)
		return e;
	q->qe_signature = le_read_bytes(r, TDX_SIGNATURE);
	q->qe_auth.n = le_read(r, 2);
	q->qe_auth.data = le_read_bytes(r, q->qe_auth.n);
	if (r->is_short)
		return fail_at(r, "authentication data of the quoting enclave is cut off", err);
	e = cert_data_open(r, CERT_DATA_PCK, "the type of certification data below the QE's", err);
	if (e < 0)
		return e;
	q->pck_chain.n = r->n - r->at;
	q->pck_chain.data = le_read_bytes(r, q->pck_chain.n);
	while (q->pck_chain.n && q->pck_chain.data[q->pck_chain.n - 1] == '\0')
		q->pck_chain.n--;
	return q->pck_chain.n ? 0 : fail_at(r, "the chain of the PCK certificate is empty", err);
}

static int rest_check(const struct le_reader *r, struct tl_error *err)
{
	for (size_t i = r->at; i < r->n; i++)
		if (r->data[i] != 0)
			return fail_at(r, "something other than zeros follows the quote", err);
	return 0;
}

int td_quote_parse(const void *data, size_t n, struct td_quote *ret, struct tl_error *err)
{
	struct le_reader r = { .data = data, .n = n }, signature;
	struct td_quote q = { 0 };
	uint32_t size;
	int e;

	if (n > TDX_QUOTE_MAX)
		return tl_fail(err, TL_E_VERIFY_TDX_QUOTE, EBADMSG,
			       "the TDX quote has %zu bytes; at most %d are read", n,
			       TDX_QUOTE_MAX);
	e = header_read(&r, &q, err);
	if (e == 0)
		e = body_read(&r, &q, err);
	if (e < 0)
		return e;
	size = le_read(&r, 4);
	signature = r;
	(void)le_read_bytes(&r, size);
	if (r.is_short)
		return fail_at(&r, "the signature is cut off", err);
	signature.n = r.at;
	e = signature_read(&signature, &q, err);
	if (e == 0)
		e = rest_check(&r, err);
	if (e < 0)
		return e;
	*ret = q;
	return 0;
}
