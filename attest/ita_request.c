/* SPDX-License-Identifier: Apache-2.0 */
#include "ita_request.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "json_secret.h"
#include "openssl_auto.h"

static const struct {
	const char *region, *url;
} regions[] = {
	{ "US", "https://api.trustauthority.intel.com" },
	{ "EU", "https://api.eu.trustauthority.intel.com" },
};

const char *ita_region_url(const char *region)
{
	/* The C locale is never left: strcasecmp() folds ASCII alone. */
	for (size_t i = 0; i < TL_ARRAY_SIZE(regions); i++)
		if (strcasecmp(region, regions[i].region) == 0)
			return regions[i].url;
	return NULL;
}

/* --- the nonce ---------------------------------------------------------------------------- */

void ita_nonce_done(struct ita_nonce *n)
{
	tl_blob_done(&n->val);
	tl_blob_done(&n->iat);
	tl_blob_done(&n->signature);
}

static int part_read(const json_t *reply, const char *name, struct tl_blob *ret,
		     struct tl_error *err)
{
	const json_t *text = json_object_get(reply, name);
	int r = json_is_string(text)
			? tl_base64_decode(TL_BASE64_STD, json_string_value(text),
					   json_string_length(text), &ret->bytes, &ret->n)
			: -EINVAL;

	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "nonce");
	if (r < 0 || !ret->n || ret->n > ITA_NONCE_PART_MAX_BYTES)
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "nonce: '%s' is not base64 of 1 to %d bytes", name,
			       ITA_NONCE_PART_MAX_BYTES);
	return 0;
}

static int challenge_make(struct ita_nonce *n)
{
	auto_md_ctx EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	return ctx && EVP_DigestInit_ex(ctx, EVP_sha512(), NULL) == 1 &&
			       EVP_DigestUpdate(ctx, n->val.bytes, n->val.n) == 1 &&
			       EVP_DigestUpdate(ctx, n->iat.bytes, n->iat.n) == 1 &&
			       EVP_DigestFinal_ex(ctx, n->challenge, NULL) == 1
		       ? 0
		       : -ENOMEM;
}

int ita_nonce_read(const json_t *reply, struct ita_nonce *ret, struct tl_error *err)
{
	struct ita_nonce n = { 0 };
	int r = part_read(reply, "val", &n.val, err);

	if (r == 0)
		r = part_read(reply, "iat", &n.iat, err);
	if (r == 0)
		r = part_read(reply, "signature", &n.signature, err);
	if (r == 0 && challenge_make(&n) < 0)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "nonce");
	if (r < 0) {
		ita_nonce_done(&n);
		return r;
	}
	*ret = n;
	return 0;
}

int ita_audience(const struct ita_nonce *nonce, struct tl_buf *ret)
{
	int r;

	tl_buf_init(ret, ITA_NONCE_PART_MAX_BYTES + 16);
	r = tl_buf_append_str(ret, "ita://");
	return r < 0 ? r : tl_buf_append(ret, nonce->val.bytes, nonce->val.n);
}

/* --- the request -------------------------------------------------------------------------- */

/* Steals @value; false when it or the room for it is missing. */
static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

/* Bytes and lists that are empty are null: the service's own client is written in Go. */
static json_t *bytes_json(const struct tl_blob *b)
{
	auto_free char *text = b->n ? tl_base64_encode(TL_BASE64_STD, b->bytes, b->n) : NULL;

	return b->n ? json_string(text) : json_null();
}

static json_t *list_or_null(json_t *take_list)
{
	if (!take_list || json_array_size(take_list))
		return take_list;
	json_decref(take_list);
	return json_null();
}

static json_t *chain_json(const struct tl_evidence *e)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < e->n_chain; i++)
		if (json_array_append_new(list, bytes_json(&e->cert_chain[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list_or_null(list);
}

static json_t *strings_json(const struct tl_strv *v)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < v->n; i++)
		if (json_array_append_new(list, json_string(v->items[i])) < 0) {
			json_decref(list);
			return NULL;
		}
	return list_or_null(list);
}

static json_t *tdx_json(const struct ita_nonce *nonce, const struct tl_evidence *e)
{
	json_auto_t *tdx = json_object();
	json_t *given = json_object();

	if (!put(tdx, "event_log", bytes_json(&e->tdx.ccel_data)) ||
	    !put(tdx, "canonical_event_log", bytes_json(&e->tdx.cel)) ||
	    !put(tdx, "quote", bytes_json(&e->tdx.quote)) || !put(tdx, "verifier_nonce", given) ||
	    !put(given, "val", bytes_json(&nonce->val)) ||
	    !put(given, "iat", bytes_json(&nonce->iat)) ||
	    !put(given, "signature", bytes_json(&nonce->signature)))
		return NULL;
	return json_incref(tdx);
}

static json_t *options_json(const struct tl_token_options *o)
{
	json_auto_t *options = json_object();

	if (!put(options, "audience", json_string(o->audience ? o->audience : "")) ||
	    !put(options, "nonce", strings_json(&o->nonces)) ||
	    !put(options, "token_type", json_string(o->token_type ? o->token_type : "")) ||
	    /* Principal tags are not for this service: always the empty ones. */
	    !put(options, "token_type_options",
		 json_pack("{s:{s:{s:n}}}", "allowed_principal_tags", "container_image_signatures",
			   "key_ids")))
		return NULL;
	return json_incref(options);
}

/* @tokens  the same strings, to be wiped when the text is made */
static json_t *principals_json(json_t *tokens, const struct tl_secret *principals, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(
			    tokens, json_stringn(principals[i].bytes, principals[i].len_bytes)) < 0)
			return NULL;
	return n ? json_incref(tokens) : json_null();
}

static json_t *signatures_json(const struct tl_image_signatures *v)
{
	json_t *list = json_array();

	for (size_t i = 0; list && v && i < v->n; i++) {
		json_auto_t *one = json_object();

		if (!put(one, "payload", bytes_json(&v->items[i].payload)) ||
		    !put(one, "signature", bytes_json(&v->items[i].signature)) ||
		    json_array_append(list, one) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list_or_null(list);
}

static json_t *space_json(const struct tl_image_signatures *signatures,
			  const struct tl_token_options *options)
{
	json_auto_t *space = json_object();

	return put(space, "signed_entities", signatures_json(signatures)) &&
			       put(space, "token_options", options_json(options))
		       ? json_incref(space)
		       : NULL;
}

static json_t *gcpcs_json(json_t *principals, const struct tl_evidence *e,
			  const struct tl_image_signatures *signatures,
			  const struct tl_token_options *options)
{
	json_auto_t *gcpcs = json_object();

	return put(gcpcs, "gcp_credentials", principals) &&
			       put(gcpcs, "ak_cert", bytes_json(&e->ak_cert)) &&
			       put(gcpcs, "intermediate_certs", chain_json(e)) &&
			       put(gcpcs, "confidential_space_info",
				   space_json(signatures, options))
		       ? json_incref(gcpcs)
		       : NULL;
}

static int dump_into(const char *text, size_t n, void *buf)
{
	return tl_buf_append(buf, text, n);
}

int ita_token_body(const struct ita_nonce *nonce, const struct tl_secret *principals,
		   size_t n_principals, const struct tl_evidence *evidence,
		   const struct tl_image_signatures *signatures,
		   const struct tl_token_options *options, struct tl_buf *ret, struct tl_error *err)
{
	json_auto_t *body = json_object();
	json_auto_t *tokens = json_array();
	bool is_complete = put(body, "policy_must_match", json_true()) &&
			   put(body, "tdx", tdx_json(nonce, evidence)) &&
			   put(body, "token_signing_alg", json_string("RS256")) &&
			   put(body, "gcpcs",
			       gcpcs_json(principals_json(tokens, principals, n_principals),
					  evidence, signatures, options));
	json_t *token;
	size_t i;
	int r;

	tl_buf_init(ret, ITA_REQUEST_MAX_BYTES);
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
			       ITA_REQUEST_MAX_BYTES);
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "attestation request");
}
