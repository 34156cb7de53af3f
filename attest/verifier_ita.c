/* SPDX-License-Identifier: Apache-2.0 */
/* Intel Trust Authority: the appraisal API, v2. */
#include <teelaunch/verifier_ita.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/http.h>

#include "gca_reply.h"
#include "ita_request.h"
#include "json_secret.h"
#include "verifier_ops.h"

#define USER_AGENT             "teelaunch"
#define TRY_TIMEOUT_DEFAULT_MS 20000
/* A token has at most 1 MiB (jwt.h). */
#define REPLY_MAX_BYTES (2 * 1024 * 1024)
#define NONCE_PATH      "/appraisal/v2/nonce"
#define TOKEN_PATH      "/appraisal/v2/attest/gcp/confidentialspace"
/* All that the service's own client offers below TLS 1.3. */
#define CIPHERS "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384"

struct ita {
	struct tl_http *http;
	struct tl_cancel *cancel;
	char *url;
	char *ca_file;
	struct tl_secret api_key;
	uint64_t try_timeout_ms;
};

/* One nonce and what answers it. */
struct round {
	const struct ita *ita;
	const struct verifier_attempt *attempt;
	uint64_t *ret_retry_after_ms;
	int64_t *ret_date_s;
	struct ita_nonce nonce;
	struct tl_secret principals[VERIFIER_PRINCIPALS_MAX];
	struct tl_evidence evidence;
	struct tl_image_signatures signatures;
};

static void round_done(struct round *o)
{
	ita_nonce_done(&o->nonce);
	for (size_t i = 0; i < VERIFIER_PRINCIPALS_MAX; i++)
		tl_secret_done(&o->principals[i]);
	tl_evidence_done(&o->evidence);
	tl_image_signatures_done(&o->signatures);
}
#define auto_round __attribute__((cleanup(round_done)))

static int fail_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "verifier request");
}

/* --- one call of the API ------------------------------------------------------------------ */

/* A service that sends the key back must not get it into an error, in whatever words. */
static void key_erase(const struct tl_secret *key, struct tl_buf *body)
{
	size_t at = 0;

	while (!tl_secret_is_empty(key) && at < body->len_bytes) {
		uint8_t *found =
			memmem(body->data + at, body->len_bytes - at, key->bytes, key->len_bytes);

		if (!found)
			return;
		memset(found, '*', key->len_bytes);
		at = (size_t)(found - body->data) + key->len_bytes;
	}
}

/* @body  NULL = GET */
static int call_api(const struct round *o, const char *path, const struct tl_buf *body,
		    json_t **ret, struct tl_error *err)
{
	const char *const headers[] = { "Accept: application/json",
					body ? "Content-Type: application/json" : NULL, NULL };
	auto_http_response struct tl_http_response res = { 0 };
	auto_free char *url = NULL;
	struct tl_http_request req = {
		.method = body ? "POST" : "GET",
		.headers = headers,
		.authorization = &o->ita->api_key,
		.authorization_name = "x-api-key",
		.body = body ? body->data : NULL,
		.body_bytes = body ? body->len_bytes : 0,
		.ca_file = o->ita->ca_file,
		.tls12_ciphers = CIPHERS,
		.deadline =
			tl_deadline_min(o->attempt->deadline,
					tl_deadline_in(tl_clock_mono_ms(), o->ita->try_timeout_ms)),
		.response_max_bytes = REPLY_MAX_BYTES,
		.cancel = o->ita->cancel,
	};
	int r;

	if (asprintf(&url, "%s%s", o->ita->url, path) < 0) {
		url = NULL;
		return fail_memory(err);
	}
	req.url = url;
	r = tl_http_perform(o->ita->http, &req, &res, err);
	if (r < 0)
		return r;
	*o->ret_date_s = gca_date_s(tl_kvs_get(&res.headers, "date"));
	*o->ret_retry_after_ms =
		gca_retry_after_ms(tl_kvs_get(&res.headers, "retry-after"),
				   *o->ret_date_s ? *o->ret_date_s : tl_clock_real_s());
	if (res.status != 200)
		key_erase(&o->ita->api_key, &res.body);
	return gca_reply_parse(res.status, res.body.data, res.body.len_bytes, ret, err);
}

/* --- nonce and token ----------------------------------------------------------------------- */

static int nonce_get(struct round *o, struct tl_error *err)
{
	json_auto_t *reply = NULL;
	int r = call_api(o, NONCE_PATH, NULL, &reply, err);

	if (r == 0)
		r = ita_nonce_read(reply, &o->nonce, err);
	return tl_wrap(err, r, "Intel Trust Authority, nonce");
}

static int principals_get(struct round *o, struct tl_error *err)
{
	auto_buf struct tl_buf audience = { 0 };

	if (ita_audience(&o->nonce, &audience) < 0)
		return fail_memory(err);
	return verifier_principals_get(o->attempt->sources, tl_buf_str(&audience),
				       audience.len_bytes, o->principals, err);
}

static int evidence_get(struct round *o, struct tl_error *err)
{
	const struct tl_attest_sources *s = o->attempt->sources;
	int r = s->collect(s->collect_ctx, o->nonce.challenge, sizeof(o->nonce.challenge),
			   &o->evidence, err);

	if (r < 0 || o->evidence.tdx.quote.n)
		return r;
	return tl_fail(err, TL_E_ITA_TDX, ENOTSUP,
		       "Intel Trust Authority takes TDX quotes alone, and this machine makes none");
}

static int token_get(const struct round *o, struct tl_attest_result *ret, struct tl_error *err)
{
	auto_buf struct tl_buf body = { 0 };
	json_auto_t *reply = NULL;
	const json_t *token;
	int r = ita_token_body(&o->nonce, o->principals, o->attempt->sources->n_principals,
			       &o->evidence, &o->signatures, o->attempt->options, &body, err);

	if (r == 0)
		r = call_api(o, TOKEN_PATH, &body, &reply, err);
	if (r < 0)
		return tl_wrap(err, r, "Intel Trust Authority");
	token = json_object_get(reply, "token");
	if (!json_string_length(token))
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "Intel Trust Authority: the reply has no 'token'");
	return json_secret_take(token, &ret->token) < 0 ? fail_memory(err) : 0;
}

static int ita_attempt(void *impl, const struct verifier_attempt *a, struct tl_attest_result *ret,
		       uint64_t *ret_retry_after_ms, struct tl_error *err)
{
	auto_round struct round o = { .ita = impl,
				      .attempt = a,
				      .ret_retry_after_ms = ret_retry_after_ms,
				      .ret_date_s = &ret->date_s };
	int r = nonce_get(&o, err);

	if (r == 0)
		r = principals_get(&o, err);
	if (r == 0)
		r = evidence_get(&o, err);
	if (r == 0 && a->sources->signatures)
		r = a->sources->signatures(a->sources->signatures_ctx, &o.signatures, err);
	return r == 0 ? token_get(&o, ret, err) : r;
}

/* --- the handle ---------------------------------------------------------------------------- */

static void ita_close(void *impl)
{
	struct ita *ita = impl;

	if (!ita)
		return;
	tl_http_free(ita->http);
	free(ita->url);
	free(ita->ca_file);
	tl_secret_done(&ita->api_key);
	free(ita);
}

static const struct verifier_ops ita_ops = { .attempt = ita_attempt, .close = ita_close };

static struct ita *ita_new(const struct tl_ita_options *o, const char *url)
{
	struct ita *ita = calloc(1, sizeof(*ita));

	if (!ita)
		return NULL;
	ita->http = tl_http_new(USER_AGENT);
	ita->cancel = o->cancel;
	ita->url = strdup(url);
	ita->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	ita->try_timeout_ms = o->try_timeout_ms ? o->try_timeout_ms : TRY_TIMEOUT_DEFAULT_MS;
	if (ita->http && ita->url && (ita->ca_file || !o->ca_file) &&
	    tl_secret_set(&ita->api_key, o->api_key->bytes, o->api_key->len_bytes) == 0)
		return ita;
	ita_close(ita);
	return NULL;
}

int tl_verifier_open_ita(const struct tl_ita_options *options, struct tl_verifier **ret,
			 struct tl_error *err)
{
	const struct tl_verifier_options common = { .budget_ms = options->budget_ms,
						    .cancel = options->cancel };
	const char *url = ita_region_url(options->region);
	struct ita *ita;
	int r;

	if (!url)
		return tl_fail(err, TL_E_ITA_REGION, EINVAL,
			       "'%.100s' is not a region of Intel Trust Authority; US and EU are",
			       options->region);
	r = options->url ? verifier_url_check(options->url, err) : 0;
	if (r < 0)
		return r;
	ita = ita_new(options, options->url ? options->url : url);
	if (!ita)
		return fail_memory(err);
	r = verifier_new(&ita_ops, ita, &common, ret, err);
	if (r < 0)
		ita_close(ita);
	return r;
}
