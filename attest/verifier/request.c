/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#include "../json_secret.h"
#include "fields.h"
#include "request_parts.h"

/* No jansson text holds a NUL: JSON_ALLOW_NUL is never given, so strings are what strlen() says. */
#define LOAD_FLAGS JSON_REJECT_DUPLICATES

static int parse_challenge(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct verify_request *r = ctx;

	return string_parse(v, path, REQUEST_CHALLENGE_MAX, &r->challenge, err);
}

/* Identity tokens. */

static int parse_id_token(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct verify_request *r = ctx;

	if (!json_is_string(v) || json_string_length(v) > REQUEST_ID_TOKEN_MAX)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' must be a string of at most %d bytes", path,
			       REQUEST_ID_TOKEN_MAX);
	if (json_secret_take(v, &r->id_tokens[r->id_tokens_n]) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path);
	r->id_tokens_n++;
	return 0;
}

static int parse_id_tokens(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return elements_parse(v, path, REQUEST_ID_TOKENS_MAX, parse_id_token, ctx, err);
}

static int parse_credentials(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "serviceAccountIdTokens", parse_id_tokens, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

/* Signatures of the image: read here, judged when the image's digest is known. */

struct signature_bytes {
	struct tl_buf payload;
	struct tl_buf signature;
};

static int parse_payload(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct signature_bytes *)ctx)->payload, err);
}

static int parse_image_signature(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct signature_bytes *)ctx)->signature, err);
}

static int signature_add(const struct signature_bytes *b, const char *path,
			 struct verify_request *ret, struct tl_error *err)
{
	const struct tl_blob payload = { b->payload.data, b->payload.len_bytes };
	const struct tl_blob signature = { b->signature.data, b->signature.len_bytes };
	int r = tl_image_signatures_add(&ret->signatures, &payload, &signature);

	if (r == -ENOBUFS)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s': at most %d signatures with %d bytes together are read", path,
			       TL_SIGNATURES_MAX, TL_SIGNATURES_MAX_BYTES);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for '%s'", path) : 0;
}

static int parse_signature(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "payload", parse_payload, false },
		{ "signature", parse_image_signature, false },
	};
	struct signature_bytes b = { .payload = { .max_bytes = TL_SIGNATURE_PAYLOAD_MAX_BYTES },
				     .signature = { .max_bytes = TL_SIGNATURE_MAX_BYTES } };
	int r = fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), &b, err);

	if (r == 0)
		r = signature_add(&b, path, ctx, err);
	tl_buf_done(&b.payload);
	tl_buf_done(&b.signature);
	return r;
}

static int parse_signatures(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return elements_parse(v, path, TL_SIGNATURES_MAX, parse_signature, ctx, err);
}

static int parse_signed_entity(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "containerImageSignatures", parse_signatures, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

static int parse_signed_entities(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return elements_parse(v, path, REQUEST_ENTITIES_MAX, parse_signed_entity, ctx, err);
}

static int parse_space_info(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "signedEntities", parse_signed_entities, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

/* TPM evidence. */

static int parse_hash(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	struct bank_evidence *b = ctx;
	json_int_t number = json_integer_value(v);

	if (!json_is_integer(v) || number <= 0 || number > UINT16_MAX ||
	    tl_hash_size((uint16_t)number) == 0)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' must be the TCG number of sha1 (4), sha256 (11), sha384 (12) "
			       "or sha512 (13)",
			       path);
	b->hash = (uint16_t)number;
	return 0;
}

static int parse_quote_bytes(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct bank_evidence *)ctx)->quote, err);
}

static int parse_signature_bytes(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct bank_evidence *)ctx)->signature, err);
}

static int parse_pcr(const char *key, const json_t *v, const char *path, struct bank_evidence *b,
		     struct tl_error *err)
{
	auto_buf struct tl_buf value = { .max_bytes = TL_HASH_SIZE_MAX };
	uint64_t pcr;
	int r;

	if (tl_str_parse_u64(key, PCRS_MAX - 1, &pcr) < 0 || (key[0] == '0' && key[1]))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s' has a key '%.16s'; keys are PCR numbers from 0 to 23", path,
			       key);
	r = base64_parse(v, path, &value, err);
	if (r < 0)
		return r;
	if (value.len_bytes != tl_hash_size(b->hash))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s': PCR %s has %zu bytes; a %s value has %zu", path, key,
			       value.len_bytes, tl_hash_name(b->hash), tl_hash_size(b->hash));
	memcpy(b->pcrs.value[pcr], value.data, value.len_bytes);
	b->pcrs.mask |= UINT32_C(1) << pcr;
	return 0;
}

static int parse_pcrs(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	json_t *obj = (json_t *)(uintptr_t)v;

	if (!json_is_object(v))
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'%s' must be a JSON object",
			       path);
	for (void *it = json_object_iter(obj); it; it = json_object_iter_next(obj, it)) {
		int r = parse_pcr(json_object_iter_key(it), json_object_iter_value(it), path, ctx,
				  err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_skipped(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	(void)v;
	(void)path;
	(void)ctx;
	(void)err;
	return 0;
}

int request_bank_parse(const json_t *v, const char *path, const struct request_bank_names *names,
		       struct verify_request *req, struct tl_error *err)
{
	/* PCR values can only be read once the bank is known, whatever the order of the keys. */
	const struct field first[] = {
		{ names->hash, parse_hash, true },
		{ names->pcrs, parse_skipped, true },
		{ names->quote, parse_quote_bytes, true },
		{ names->signature, parse_signature_bytes, true },
	};
	struct bank_evidence *b = &req->banks[req->banks_n];
	char pcrs_path[FIELD_PATH_MAX];
	int rc;

	tl_buf_init(&b->quote, REQUEST_QUOTE_MAX);
	tl_buf_init(&b->signature, REQUEST_SIGNATURE_MAX);
	req->banks_n++;
	rc = fields_parse(v, path, first, TL_ARRAY_SIZE(first), b, err);
	if (rc < 0)
		return rc;
	for (struct bank_evidence *o = req->banks; o < b; o++)
		if (o->hash == b->hash)
			return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
				       "'%s': bank %s is quoted more than once", path,
				       tl_hash_name(b->hash));
	(void)snprintf(pcrs_path, sizeof(pcrs_path), "%.100s.%s", path, names->pcrs);
	return parse_pcrs(json_object_get(v, names->pcrs), pcrs_path, b, err);
}

static int parse_bank(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct request_bank_names names = { "hashAlgo", "pcrValues", "rawQuote",
							 "rawSignature" };

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

static int parse_record_log(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->record_log, err);
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

/* The AK's certificate has two places, and the request holds one. */
static int identity_is_first_check(struct verify_request *req, const char *path,
				   struct tl_error *err)
{
	if (req->has_identity)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'%s': the machine's certificate was given before; "
			       "'tpmAttestation' and 'gceShieldedIdentity' exclude each other",
			       path);
	req->has_identity = true;
	return 0;
}

/* Beside TDX evidence it may be nothing but the machine's identity (:verifyAttestation). */
static int parse_tpm_identity(const json_t *v, const char *path, struct verify_request *req,
			      struct tl_error *err)
{
	static const struct field fields[] = {
		{ "akCert", parse_ak_cert, true },
		{ "certChain", parse_chain, false },
	};

	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), req, err);
}

static int parse_tpm(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "quotes", parse_banks, true },
		{ "tcgEventLog", parse_firmware_log, true },
		{ "canonicalEventLog", parse_launch_log, true },
		{ "launchRecordLog", parse_record_log, false },
		{ "akCert", parse_ak_cert, true },
		{ "certChain", parse_chain, false },
	};
	struct verify_request *req = ctx;
	int r = identity_is_first_check(req, path, err);

	if (r < 0)
		return r;
	req->has_tpm = true;
	if (req->has_tdx && json_is_object(v) && !json_object_get(v, "quotes"))
		return parse_tpm_identity(v, path, req, err);
	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

/* TDX evidence. */

static int parse_td_quote(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->tdx.quote, err);
}

static int parse_ccel_table(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->tdx.ccel_table, err);
}

static int parse_ccel(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->tdx.ccel, err);
}

static int parse_td_launch_log(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->tdx.launch_log, err);
}

int request_tdx_parse(const json_t *v, const char *path, const struct request_tdx_names *names,
		      struct verify_request *req, struct tl_error *err)
{
	const struct field fields[] = {
		{ names->quote, parse_td_quote, true },
		{ names->ccel, parse_ccel, true },
		{ names->launch_log, parse_td_launch_log, true },
		{ names->table, parse_ccel_table, false },
	};

	req->has_tdx = true;
	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields) - !names->table, req, err);
}

static int parse_td(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct request_tdx_names names = { "tdQuote", "ccelData", "canonicalEventLog",
							"ccelAcpiTable" };

	return request_tdx_parse(v, path, &names, ctx, err);
}

/* SEV-SNP evidence. */

static int parse_snp_report(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->snp.report, err);
}

static int parse_snp_certs(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return base64_parse(v, path, &((struct verify_request *)ctx)->snp.certs, err);
}

static int parse_snp(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	static const struct field fields[] = {
		{ "report", parse_snp_report, true },
		{ "auxBlob", parse_snp_certs, false },
	};

	((struct verify_request *)ctx)->has_snp = true;
	return fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

/* Who the machine is, if no TPM quote says it. */
static int parse_shielded_identity(const json_t *v, const char *path, void *ctx,
				   struct tl_error *err)
{
	static const struct field fields[] = {
		{ "akCert", parse_ak_cert, true },
		{ "akCertChain", parse_chain, false },
	};

	int r = identity_is_first_check(ctx, path, err);

	return r < 0 ? r : fields_parse(v, path, fields, TL_ARRAY_SIZE(fields), ctx, err);
}

/* What kind of token is wanted. */

static int parse_options(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return token_options_parse_space(v, path, &((struct verify_request *)ctx)->token, err);
}

static int parse_token_options(const json_t *v, const char *path, void *ctx, struct tl_error *err)
{
	return token_options_parse_attestation(v, path, &((struct verify_request *)ctx)->token,
					       err);
}

static const struct field fields_space[] = {
	{ "challenge", parse_challenge, false },
	{ "gcpCredentials", parse_credentials, false },
	{ "signedEntities", parse_signed_entities, false },
	{ "tdCcel", parse_td, false },
	{ "sevSnpAttestation", parse_snp, false },
	{ "gceShieldedIdentity", parse_shielded_identity, false },
	{ "nvidiaAttestation", unsupported_parse, false },
	{ "tpmAttestation", parse_tpm, false },
	{ "options", parse_options, false },
};

static const struct field fields_attestation[] = {
	{ "challenge", parse_challenge, false },
	{ "gcpCredentials", parse_credentials, false },
	{ "confidentialSpaceInfo", parse_space_info, false },
	{ "tdCcel", parse_td, false },
	{ "sevSnpAttestation", parse_snp, false },
	{ "attester", parse_skipped, false },
	{ "tpmAttestation", parse_tpm, false },
	{ "tokenOptions", parse_token_options, false },
};

static const struct {
	const struct field *fields;
	size_t n;
} bodies[] = {
	[REQUEST_CONFIDENTIAL_SPACE] = { fields_space, TL_ARRAY_SIZE(fields_space) },
	[REQUEST_ATTESTATION] = { fields_attestation, TL_ARRAY_SIZE(fields_attestation) },
};

struct verify_request *verify_request_new(void)
{
	struct verify_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->banks = calloc(REQUEST_BANKS_MAX, sizeof(*r->banks));
	r->id_tokens = calloc(REQUEST_ID_TOKENS_MAX, sizeof(*r->id_tokens));
	if (!r->banks || !r->id_tokens)
		return verify_request_free(r);
	tl_buf_init(&r->firmware_log, REQUEST_FIRMWARE_LOG_MAX);
	tl_buf_init(&r->launch_log, REQUEST_LAUNCH_LOG_MAX);
	tl_buf_init(&r->record_log, REQUEST_RECORD_LOG_MAX);
	tl_buf_init(&r->ak_cert, REQUEST_CERT_MAX);
	tl_buf_init(&r->tdx.quote, REQUEST_TDX_QUOTE_MAX);
	tl_buf_init(&r->tdx.ccel_table, REQUEST_ACPI_TABLE_MAX);
	tl_buf_init(&r->tdx.ccel, REQUEST_FIRMWARE_LOG_MAX);
	tl_buf_init(&r->tdx.launch_log, REQUEST_LAUNCH_LOG_MAX);
	tl_buf_init(&r->snp.report, REQUEST_SNP_REPORT_MAX);
	tl_buf_init(&r->snp.certs, REQUEST_SNP_CERTS_MAX);
	for (size_t i = 0; i < REQUEST_CHAIN_MAX; i++)
		tl_buf_init(&r->chain[i], REQUEST_CERT_MAX);
	return r;
}

struct verify_request *verify_request_free(struct verify_request *r)
{
	if (!r)
		return NULL;
	for (size_t i = 0; r->banks && i < REQUEST_BANKS_MAX; i++) {
		tl_buf_done(&r->banks[i].quote);
		tl_buf_done(&r->banks[i].signature);
	}
	for (size_t i = 0; r->id_tokens && i < REQUEST_ID_TOKENS_MAX; i++)
		tl_secret_done(&r->id_tokens[i]);
	for (size_t i = 0; i < REQUEST_CHAIN_MAX; i++)
		tl_buf_done(&r->chain[i]);
	tl_buf_done(&r->firmware_log);
	tl_buf_done(&r->launch_log);
	tl_buf_done(&r->record_log);
	tl_buf_done(&r->ak_cert);
	tl_buf_done(&r->tdx.quote);
	tl_buf_done(&r->tdx.ccel_table);
	tl_buf_done(&r->tdx.ccel);
	tl_buf_done(&r->tdx.launch_log);
	tl_buf_done(&r->snp.report);
	tl_buf_done(&r->snp.certs);
	tl_image_signatures_done(&r->signatures);
	token_options_done(&r->token);
	free(r->banks);
	free(r->id_tokens);
	free(r->challenge);
	free(r);
	return NULL;
}

static int request_finish(struct verify_request *r, struct tl_error *err)
{
	if (!r->has_tpm && !r->has_tdx)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL, "'tpmAttestation' is missing");
	if (r->banks_n == 0 && !r->has_tdx)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'tpmAttestation.quotes' is empty");
	if (r->has_snp && r->has_tdx)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'sevSnpAttestation' belongs to a TPM's quotes, not to 'tdCcel'");
	if (r->ak_cert.len_bytes == 0 && r->has_tdx)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'gceShieldedIdentity' is missing: 'tdCcel' names no machine");
	return token_options_finish(&r->token, err);
}

int request_json_load(const void *text, size_t n, json_t **ret, struct tl_error *err)
{
	const char *too_much;
	json_error_t where;

	if (n > REQUEST_BODY_MAX)
		return tl_fail(err, TL_E_VERIFY_TOO_LARGE, EFBIG,
			       "the body has %zu bytes; the limit is %d", n, REQUEST_BODY_MAX);
	too_much = tl_json_scan(text, n, NULL);
	if (too_much)
		return tl_fail(err, TL_E_VERIFY_TOO_LARGE, EFBIG, "the body is %s", too_much);
	*ret = json_loadb(text, n, LOAD_FLAGS, &where);
	if (*ret)
		return 0;
	return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
		       "the body is not JSON: line %d, column %d: %s", where.line, where.column,
		       where.text);
}

int verify_request_parse(enum request_kind kind, const void *body, size_t n,
			 struct verify_request **ret, struct tl_error *err)
{
	auto_verify_request struct verify_request *req = verify_request_new();
	json_t *root = NULL;
	int r;

	if (!req)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a request");
	r = request_json_load(body, n, &root, err);
	/* It decides what must be in 'tpmAttestation', whatever the order of the keys. */
	req->has_tdx = json_is_object(json_object_get(root, "tdCcel"));
	if (r == 0)
		r = fields_parse(root, "", bodies[kind].fields, bodies[kind].n, req, err);
	json_decref(root);
	if (r == 0)
		r = request_finish(req, err);
	if (r == 0)
		*ret = take_ptr(req);
	return r;
}
