/* SPDX-License-Identifier: Apache-2.0 */
#include "vm_attestation.h"

#include <errno.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#include "fields.h"
#include "request_parts.h"

static int parse_bank(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct request_bank_names names = { "hashAlgorithm", "pcrValues", "tpmsAttest",
							 "tpmtSignature" };

	return request_bank_parse(v, path, &names, ctx, err);
}

static int parse_banks(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return elements_parse(v, path, REQUEST_BANKS_MAX, parse_bank, ctx, err);
}

static int parse_firmware_log(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->firmware_log, err);
}

static int parse_launch_log(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->launch_log, err);
}

static int parse_ak_cert(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->ak_cert, err);
}

static int parse_chain_cert(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct verify_request *r = ctx;

	return base64_parse(v, path, &r->chain[r->chain_n++], err);
}

static int parse_chain(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return elements_parse(v, path, REQUEST_CHAIN_MAX, parse_chain_cert, ctx, err);
}

static int parse_certificates(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "akCert", parse_ak_cert, true },
		{ "akCertChain", parse_chain, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_endorsement(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "akCertEndorsement", parse_certificates, true },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_tpm(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "quotes", parse_banks, true },
		{ "pcclientBootEventLog", parse_firmware_log, true },
		{ "celLaunchEventLog", parse_launch_log, true },
		{ "endorsement", parse_endorsement, true },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_td(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct request_tdx_names names = { "tdQuote", "ccelBootEventLog",
							"celLaunchEventLog", NULL };

	return request_tdx_parse(v, path, &names, ctx, err);
}

static int parse_quote(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "tdxCcelQuote", parse_td, false },
		{ "tpmQuote", parse_tpm, false },
	};
	struct vm_attestation *a = ctx;

	/* A oneof of the protocol: each carries a nonce of its own. */
	if (json_object_get(v, "tdxCcelQuote") && json_object_get(v, "tpmQuote"))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' has both 'tpmQuote' and 'tdxCcelQuote'", path);
	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), a->request, err);
}

static int parse_label(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct vm_attestation *a = ctx;

	a->has_label = true;
	return base64_parse(v, path, &a->label, err);
}

static int parse_challenge(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct vm_attestation *a = ctx;

	a->has_challenge = true;
	return base64_parse(v, path, &a->challenge, err);
}

static int parse_extra(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct vm_attestation *a = ctx;

	a->has_extra = true;
	return base64_parse(v, path, &a->extra, err);
}

static int parse_record_log(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct vm_attestation *a = ctx;

	return base64_parse(v, path, &a->request->record_log, err);
}

void vm_attestation_done(struct vm_attestation *a)
{
	(void)verify_request_free(a->request);
	tl_buf_done(&a->label);
	tl_buf_done(&a->challenge);
	tl_buf_done(&a->extra);
}

int vm_attestation_parse(const void *text, size_t n, struct vm_attestation *ret,
			 struct tl_error *err)
{
	static const struct field fields[] = {
		{ "label", parse_label, false },
		{ "challenge", parse_challenge, false },
		{ "extraData", parse_extra, false },
		{ "quote", parse_quote, true },
		{ "launchRecordLog", parse_record_log, false },
		{ "deviceReports", unsupported_parse, false },
		{ "acpiData", unsupported_parse, false },
	};
	json_auto_t *root = NULL;
	int r = request_json_load(text, n, &root, err);

	if (r < 0)
		return r;
	tl_buf_init(&ret->label, VM_ATTESTATION_BLOB_MAX);
	tl_buf_init(&ret->challenge, VM_ATTESTATION_BLOB_MAX);
	tl_buf_init(&ret->extra, VM_ATTESTATION_BLOB_MAX);
	ret->request = verify_request_new();
	if (!ret->request)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for evidence");
	r = fields_parse(root, "", fields, TL_ARRAY_SIZE(fields), ret, err);
	if (r == 0 && ret->request->banks_n == 0 && !ret->request->has_tdx)
		r = tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'quote.tpmQuote.quotes' is empty");
	return r;
}
