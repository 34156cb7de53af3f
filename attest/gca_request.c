/* SPDX-License-Identifier: Apache-2.0 */
#include "gca_request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "json_secret.h"

/* google.cloud.confidentialcomputing.v1, service.proto: TokenProfile, SignatureType, TokenType. */
static const struct {
	const char *name;
	int profile;    /* 1 = default EAT, 2 = AWS */
	int signature;  /* 1 = OIDC, 2 = PKI */
	int token_type; /* of :verifyAttestation */
	bool takes_principal_tags;
} token_types[] = {
	{ "OIDC", 1, 1, 1, false },
	{ "PKI", 1, 2, 2, false },
	{ "LIMITED_AWS", 2, 1, 3, false },
	{ "AWS_PRINCIPALTAGS", 2, 1, 4, true },
};
#define PROFILE_DEFAULT 1

static int type_row(const struct tl_token_options *o)
{
	for (size_t i = 0; o->token_type && i < TL_ARRAY_SIZE(token_types); i++)
		if (strcmp(o->token_type, token_types[i].name) == 0)
			return (int)i;
	return -1;
}

/* Steals @value; false when it or the room for it is missing. */
static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static bool put_bytes(json_t *object, const char *key, const struct tl_blob *b)
{
	auto_free char *text = b->n ? tl_base64_encode(TL_BASE64_STD, b->bytes, b->n) : NULL;

	return !b->n || (text && put(object, key, json_string(text)));
}

static json_t *string_list(const struct tl_strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < v->n; i++)
		if (json_array_append_new(list, json_string(v->items[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

static json_t *principal_tags(const struct tl_token_options *o)
{
	json_auto_t *tags = json_object();
	json_auto_t *allowed = json_object();
	json_auto_t *signatures = json_object();

	if (!tags || !allowed || !signatures)
		return NULL;
	if (!o->has_allowed_tags)
		return json_incref(tags);
	if (o->has_signature_key_ids) {
		if (o->signature_key_ids.n &&
		    !put(signatures, "keyIds", string_list(&o->signature_key_ids)))
			return NULL;
		if (!put(allowed, "containerImageSignatures", json_incref(signatures)))
			return NULL;
	}
	return put(tags, "allowedPrincipalTags", json_incref(allowed)) ? json_incref(tags) : NULL;
}

static bool put_common(json_t *object, const struct tl_token_options *o, int row)
{
	if (!tl_str_is_empty(o->audience) && !put(object, "audience", json_string(o->audience)))
		return false;
	if (o->nonces.n && !put(object, "nonce", string_list(&o->nonces)))
		return false;
	return row < 0 || !token_types[row].takes_principal_tags || !o->has_principal_tags ||
	       put(object, "awsPrincipalTagsOptions", principal_tags(o));
}

json_t *gca_space_options(const struct tl_token_options *o)
{
	json_auto_t *object = json_object();
	int row = type_row(o);

	if (!put_common(object, o, row) ||
	    !put(object, "tokenProfile",
		 json_integer(row < 0 ? PROFILE_DEFAULT : token_types[row].profile)))
		return NULL;
	if (row >= 0 && !put(object, "signatureType", json_integer(token_types[row].signature)))
		return NULL;
	return json_incref(object);
}

json_t *gca_token_options(const struct tl_token_options *o)
{
	json_auto_t *object = json_object();
	int row = type_row(o);

	if (!put_common(object, o, row))
		return NULL;
	if (row >= 0 && !put(object, "tokenType", json_integer(token_types[row].token_type)))
		return NULL;
	return json_incref(object);
}

/* --- evidence ----------------------------------------------------------------------------- */

static json_t *quote_json(const struct tl_quote *q)
{
	json_auto_t *quote = json_object();
	json_auto_t *values = json_object();
	size_t size = tl_hash_size(q->hash);

	for (size_t i = 0; i < q->n_pcrs; i++) {
		auto_free char *text = tl_base64_encode(TL_BASE64_STD, q->pcrs[i].bytes, size);
		char index[4];

		snprintf(index, sizeof(index), "%u", q->pcrs[i].index);
		if (!text || !put(values, index, json_string(text)))
			return NULL;
	}
	if (!put(quote, "hashAlgo", json_integer(q->hash)) ||
	    !put(quote, "pcrValues", json_incref(values)) ||
	    !put_bytes(quote, "rawQuote", &q->attest) ||
	    !put_bytes(quote, "rawSignature", &q->signature))
		return NULL;
	return json_incref(quote);
}

static json_t *chain_json(const struct tl_evidence *e)
{
	json_auto_t *chain = json_array();

	for (size_t i = 0; i < e->n_chain; i++) {
		const struct tl_blob *b = &e->cert_chain[i];
		auto_free char *text = tl_base64_encode(TL_BASE64_STD, b->bytes, b->n);

		if (!text || json_array_append_new(chain, json_string(text)) < 0)
			return NULL;
	}
	return json_incref(chain);
}

static json_t *tpm_attestation(const struct tl_evidence *e)
{
	json_auto_t *object = json_object();
	json_auto_t *quotes = json_array();

	for (size_t i = 0; i < e->n_quotes; i++)
		if (json_array_append_new(quotes, quote_json(&e->quotes[i])) < 0)
			return NULL;
	if (!put(object, "quotes", json_incref(quotes)) ||
	    !put_bytes(object, "tcgEventLog", &e->tcg_event_log) ||
	    !put_bytes(object, "canonicalEventLog", &e->cel) ||
	    !put_bytes(object, "launchRecordLog", &e->record) ||
	    !put_bytes(object, "akCert", &e->ak_cert) ||
	    (e->n_chain && !put(object, "certChain", chain_json(e))))
		return NULL;
	return json_incref(object);
}

/* The machine's certificate beside a quote that isn't the TPM's. */
static json_t *machine_identity(const struct tl_evidence *e, const char *chain)
{
	json_auto_t *object = json_object();

	return put_bytes(object, "akCert", &e->ak_cert) &&
			       (!e->n_chain || put(object, chain, chain_json(e)))
		       ? json_incref(object)
		       : NULL;
}

static json_t *tdx_attestation(const struct tl_evidence *e)
{
	json_auto_t *object = json_object();

	return put_bytes(object, "ccelAcpiTable", &e->tdx.ccel_table) &&
			       put_bytes(object, "ccelData", &e->tdx.ccel_data) &&
			       put_bytes(object, "canonicalEventLog", &e->tdx.cel) &&
			       put_bytes(object, "tdQuote", &e->tdx.quote)
		       ? json_incref(object)
		       : NULL;
}

static json_t *snp_attestation(const struct tl_evidence *e)
{
	json_auto_t *object = json_object();

	return put_bytes(object, "report", &e->snp.report) &&
			       put_bytes(object, "auxBlob", &e->snp.certificates)
		       ? json_incref(object)
		       : NULL;
}

/* :verifyConfidentialSpace has no place for a TPM's quotes beside TDX, nor for SEV-SNP: there the
 * TPM's key says which machine it is, and nothing else. */
static bool put_evidence_space(json_t *body, const struct tl_evidence *e)
{
	if (!e->tdx.quote.n)
		return put(body, "tpmAttestation", tpm_attestation(e));
	return put(body, "tdCcel", tdx_attestation(e)) &&
	       put(body, "gceShieldedIdentity", machine_identity(e, "akCertChain"));
}

/* The TPM's quotes go along with TDX: the launch record has no other register. */
static bool put_evidence_any(json_t *body, const struct tl_evidence *e)
{
	bool has_tpm = e->n_quotes || !e->tdx.quote.n;

	return (!e->tdx.quote.n || put(body, "tdCcel", tdx_attestation(e))) &&
	       (!e->snp.report.n || put(body, "sevSnpAttestation", snp_attestation(e))) &&
	       put(body, "tpmAttestation",
		   has_tpm ? tpm_attestation(e) : machine_identity(e, "certChain"));
}

static bool put_evidence(json_t *body, enum tl_verifier_api api, const struct tl_evidence *e)
{
	return api == TL_VERIFIER_CONFIDENTIAL_SPACE ? put_evidence_space(body, e)
						     : put_evidence_any(body, e);
}

/* --- the body ----------------------------------------------------------------------------- */

static json_t *signature_json(const struct tl_image_signature *s)
{
	json_auto_t *object = json_object();

	return put_bytes(object, "payload", &s->payload) &&
			       put_bytes(object, "signature", &s->signature)
		       ? json_incref(object)
		       : NULL;
}

/* Always one entity, as the service expects; empty without signatures. */
static json_t *signed_entities(const struct tl_image_signatures *signatures)
{
	json_auto_t *list = json_array();

	if (!signatures || !signatures->n)
		return json_pack("[{}]");
	for (size_t i = 0; i < signatures->n; i++)
		if (json_array_append_new(list, signature_json(&signatures->items[i])) < 0)
			return NULL;
	return json_pack("[{s:O}]", "containerImageSignatures", list);
}

static bool put_rest(json_t *body, enum tl_verifier_api api,
		     const struct tl_image_signatures *signatures,
		     const struct tl_token_options *options)
{
	json_t *info;

	if (api == TL_VERIFIER_CONFIDENTIAL_SPACE)
		return put(body, "signedEntities", signed_entities(signatures)) &&
		       put(body, "options", gca_space_options(options));
	info = json_object();
	return put(body, "confidentialSpaceInfo", info) &&
	       put(info, "signedEntities", signed_entities(signatures)) &&
	       put(body, "tokenOptions", gca_token_options(options));
}

static bool put_principals(json_t *body, json_t *tokens, const struct tl_secret *principals,
			   size_t n)
{
	json_t *credentials = json_object();

	if (!put(body, "gcpCredentials", credentials))
		return false;
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(
			    tokens, json_stringn(principals[i].bytes, principals[i].len_bytes)) < 0)
			return false;
	return !n || put(credentials, "serviceAccountIdTokens", json_incref(tokens));
}

static int dump_into(const char *text, size_t n, void *buf)
{
	return tl_buf_append(buf, text, n);
}

int gca_verify_body(enum tl_verifier_api api, const char *challenge,
		    const struct tl_secret *principals, size_t n_principals,
		    const struct tl_evidence *evidence,
		    const struct tl_image_signatures *signatures,
		    const struct tl_token_options *options, struct tl_buf *ret,
		    struct tl_error *err)
{
	json_auto_t *body = json_object();
	json_auto_t *tokens = json_array();
	bool is_complete = put(body, "challenge", json_string(challenge)) &&
			   put_principals(body, tokens, principals, n_principals) &&
			   put_evidence(body, api, evidence) &&
			   put_rest(body, api, signatures, options);
	json_t *token;
	size_t i;
	int r;

	tl_buf_init(ret, GCA_REQUEST_MAX_BYTES);
	r = is_complete ? json_dump_callback(body, dump_into, ret, JSON_COMPACT) : -1;
	json_array_foreach(tokens, i, token)
	{
		json_secret_wipe(token);
	}
	if (r == 0)
		return 0;
	tl_buf_done(ret);
	/* What can't be dumped, though complete, is too large (or not UTF-8: no option is). */
	if (is_complete)
		return tl_fail(err, TL_E_VERIFIER_REFUSED, EMSGSIZE,
			       "evidence is larger than the %d bytes that a request may have",
			       GCA_REQUEST_MAX_BYTES);
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "attestation request");
}
