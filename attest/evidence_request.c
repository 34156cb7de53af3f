/* SPDX-License-Identifier: Apache-2.0 */
#include "evidence_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#define DECODE_FAILED "failed to decode request: "

/* --- the request ---------------------------------------------------------------------------- */

static unsigned int field_bit(const char *name, size_t n)
{
	static const struct {
		const char *name;
		unsigned int bit;
	} names[] = {
		{ "label", EVIDENCE_LABEL_FIELD },
		{ "challenge", EVIDENCE_CHALLENGE },
		{ "extraData", EVIDENCE_EXTRA_DATA },
		{ "extra_data", EVIDENCE_EXTRA_DATA },
		{ "quote", EVIDENCE_QUOTE },
		{ "deviceReports", EVIDENCE_DEVICES },
		{ "device_reports", EVIDENCE_DEVICES },
		{ "launchRecordLog", EVIDENCE_RECORD },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++)
		if (strlen(names[i].name) == n && memcmp(names[i].name, name, n) == 0)
			return names[i].bit;
	return 0;
}

unsigned int evidence_mask_parse(const char *mask)
{
	const unsigned int all =
		EVIDENCE_LABEL_FIELD | EVIDENCE_CHALLENGE | EVIDENCE_EXTRA_DATA | EVIDENCE_QUOTE;
	unsigned int bits = 0;

	if (!mask || !*mask)
		return all;
	for (const char *at = mask, *end; at; at = *end ? end + 1 : NULL) {
		const char *first = at, *last;

		end = at + strcspn(at, ",");
		last = end;
		if (end - at == 1 && *at == '*')
			bits |= all | EVIDENCE_DEVICES;
		while (first < last && *first == ' ')
			first++;
		while (last > first && last[-1] == ' ')
			last--;
		bits |= field_bit(first, (size_t)(last - first));
	}
	return bits;
}

/* proto3 JSON takes either alphabet, with or without padding; ours are strict, so it is brought
 * into the one form first. */
static int base64_any_decode(const char *text, size_t n, struct tl_blob *ret)
{
	auto_free char *url = malloc(n + 1);
	auto_free uint8_t *bytes = NULL;
	size_t len;
	int r;

	if (!url)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		url[i] = text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
	len = n;
	if (n % 4 == 0)
		for (int i = 0; i < 2 && len && url[len - 1] == '='; i++)
			len--;
	r = tl_base64_decode(TL_BASE64_URL, url, len, &bytes, &len);
	if (r < 0)
		return r;
	free(ret->bytes);
	*ret = (struct tl_blob){ .bytes = take_ptr(bytes), .n = len };
	return 0;
}

static int challenge_take(const json_t *value, struct tl_blob *ret, struct tl_error *err)
{
	auto_blob struct tl_blob challenge = { 0 };
	int r;

	if (value && !json_is_string(value) && !json_is_null(value))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "'challenge' must be a string in base64");
	if (!json_string_length(value))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL, "challenge is required");
	r = base64_any_decode(json_string_value(value), json_string_length(value), &challenge);
	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "evidence request");
	if (r < 0)
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "'challenge' isn't base64");
	tl_blob_done(ret);
	*ret = challenge;
	challenge = (struct tl_blob){ 0 };
	return 0;
}

int evidence_request_parse(const void *body, size_t n, struct tl_blob *ret, struct tl_error *err)
{
	json_error_t why;
	json_auto_t *doc = json_loadb(body, n, JSON_REJECT_DUPLICATES, &why);
	const char *name;
	json_t *value;

	if (!doc)
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL, DECODE_FAILED "%s at byte %d",
			       n ? why.text : "empty body", why.position);
	if (!json_is_object(doc))
		return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
			       DECODE_FAILED "the body must be a JSON object");
	json_object_foreach(doc, name, value)
	{
		if (strcmp(name, "challenge") != 0)
			return tl_fail(err, TL_E_TOKEN_REQUEST, EINVAL,
				       DECODE_FAILED "unknown field '%.64s'", name);
	}
	return challenge_take(json_object_get(doc, "challenge"), ret, err);
}

int evidence_nonce(uint16_t hash, const struct tl_blob *challenge, const struct tl_blob *extra,
		   uint8_t *ret)
{
	uint8_t inner[TL_HASH_SIZE_MAX];
	auto_hasher struct tl_hasher *first = tl_hasher_new(hash);
	auto_hasher struct tl_hasher *second = tl_hasher_new(hash);
	size_t n = tl_hash_size(hash);

	if (!first || !second || tl_hasher_update(first, challenge->bytes, challenge->n) < 0)
		return -EIO;
	if (extra && (tl_digest(hash, extra->n ? extra->bytes : inner, extra->n, inner) < 0 ||
		      tl_hasher_update(first, inner, n) < 0))
		return -EIO;
	if (tl_hasher_final(first, inner) < 0 ||
	    tl_hasher_update(second, EVIDENCE_LABEL, sizeof(EVIDENCE_LABEL) - 1) < 0 ||
	    tl_hasher_update(second, inner, n) < 0 || tl_hasher_final(second, ret) < 0)
		return -EIO;
	return 0;
}

/* --- the answer ----------------------------------------------------------------------------- */

static json_t *base64_json(const void *bytes, size_t n)
{
	auto_free char *text = tl_base64_encode(TL_BASE64_STD, bytes, n);

	return text ? json_string(text) : NULL;
}

/* proto3 JSON leaves out what is empty. */
static int blob_set(json_t *o, const char *name, const struct tl_blob *b)
{
	return b->n ? json_object_set_new(o, name, base64_json(b->bytes, b->n)) : 0;
}

static json_t *quote_json(const struct tl_quote *q)
{
	json_t *o = json_pack("{s:i, s:{}}", "hashAlgorithm", q->hash, "pcrValues");
	json_t *values = json_object_get(o, "pcrValues");
	int r = 0;

	for (size_t i = 0; i < q->n_pcrs && r == 0; i++) {
		char index[8];

		(void)snprintf(index, sizeof(index), "%u", q->pcrs[i].index);
		r = json_object_set_new(values, index,
					base64_json(q->pcrs[i].bytes, tl_hash_size(q->hash)));
	}
	if (r == 0 && blob_set(o, "tpmsAttest", &q->attest) == 0 &&
	    blob_set(o, "tpmtSignature", &q->signature) == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *endorsement_json(const struct tl_evidence *e)
{
	json_t *cert = json_object();
	json_t *chain = json_array();
	int r = blob_set(cert, "akCert", &e->ak_cert);

	for (size_t i = 0; i < e->n_chain && r == 0; i++)
		r = json_array_append_new(chain,
					  base64_json(e->cert_chain[i].bytes, e->cert_chain[i].n));
	if (r == 0 && e->n_chain)
		r = json_object_set(cert, "akCertChain", chain);
	json_decref(chain);
	if (r < 0) {
		json_decref(cert);
		return NULL;
	}
	return json_pack("{s:o}", "akCertEndorsement", cert);
}

static json_t *tpm_quote_json(const struct tl_evidence *e)
{
	json_t *o = json_pack("{s:[]}", "quotes");
	json_t *quotes = json_object_get(o, "quotes");
	int r = o ? 0 : -1;

	for (size_t i = 0; i < e->n_quotes && r == 0; i++)
		r = json_array_append_new(quotes, quote_json(&e->quotes[i]));
	if (r == 0)
		r = blob_set(o, "pcclientBootEventLog", &e->tcg_event_log);
	if (r == 0)
		r = blob_set(o, "celLaunchEventLog", &e->cel);
	if (r == 0)
		r = json_object_set_new(o, "endorsement", endorsement_json(e));
	if (r == 0)
		return json_pack("{s:o}", "tpmQuote", o);
	json_decref(o);
	return NULL;
}

/* No ACPI table and no certificate of the machine: the message has no field for them. */
static json_t *tdx_quote_json(const struct tl_evidence *e)
{
	json_t *o = json_object();

	if (o && blob_set(o, "ccelBootEventLog", &e->tdx.ccel_data) == 0 &&
	    blob_set(o, "celLaunchEventLog", &e->tdx.cel) == 0 &&
	    blob_set(o, "tdQuote", &e->tdx.quote) == 0)
		return json_pack("{s:o}", "tdxCcelQuote", o);
	json_decref(o);
	return NULL;
}

int evidence_format(unsigned int mask, const struct tl_blob *challenge, const struct tl_evidence *e,
		    char **ret)
{
	json_auto_t *o = json_object();
	char *text;
	int r = o ? 0 : -1;

	if (r == 0 && (mask & EVIDENCE_LABEL_FIELD))
		r = json_object_set_new(o, "label",
					base64_json(EVIDENCE_LABEL, sizeof(EVIDENCE_LABEL) - 1));
	if (r == 0 && (mask & EVIDENCE_CHALLENGE))
		r = blob_set(o, "challenge", challenge);
	if (r == 0 && (mask & EVIDENCE_QUOTE))
		r = json_object_set_new(o, "quote",
					e->tdx.quote.n ? tdx_quote_json(e) : tpm_quote_json(e));
	if (r == 0 && e && (mask & EVIDENCE_RECORD))
		r = blob_set(o, "launchRecordLog", &e->record);
	text = r == 0 ? json_dumps(o, JSON_COMPACT) : NULL;
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}
