/* SPDX-License-Identifier: Apache-2.0 */
/* Google Cloud Attestation: the Confidential Computing API, v1, over REST. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/http.h>

#include "gca_reply.h"
#include "gca_request.h"
#include "json_secret.h"
#include "verifier_ops.h"

#define USER_AGENT             "teelaunch"
#define TRY_TIMEOUT_DEFAULT_MS 20000
#define WARNINGS_MAX           16
/* A token has at most 1 MiB (jwt.h); the rest is for the errors beside it. */
#define REPLY_MAX_BYTES (2 * 1024 * 1024)
/* Enums as numbers, as the service's own clients ask for. */
#define QUERY "?%24alt=json%3Benum-encoding%3Dint"

struct gca {
	struct tl_http *http;
	struct tl_cancel *cancel;
	char *url;
	char *ca_file;
	char *project;
	char *region;
	char *location; /* resource name, as the service gave it; NULL until asked */
	enum tl_verifier_api api;
	uint64_t try_timeout_ms;
};

/* One challenge and what answers it. */
struct round {
	struct gca *g;
	const struct verifier_attempt *attempt;
	uint64_t *ret_retry_after_ms;
	int64_t *ret_date_s;
	char *challenge; /* resource name */
	uint8_t *nonce;
	size_t nonce_len;
	bool is_record_wanted; /* the verifier knows the launch record's log */
	struct tl_secret principals[VERIFIER_PRINCIPALS_MAX];
	struct tl_evidence evidence;
	struct tl_image_signatures signatures;
};

static void round_done(struct round *r)
{
	free(r->challenge);
	free(r->nonce);
	for (size_t i = 0; i < VERIFIER_PRINCIPALS_MAX; i++)
		tl_secret_done(&r->principals[i]);
	tl_evidence_done(&r->evidence);
	tl_image_signatures_done(&r->signatures);
}
#define auto_round __attribute__((cleanup(round_done)))

static int fail_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "verifier request");
}

/* --- one call of the API ------------------------------------------------------------------ */

struct call {
	const char *method;
	const char *path;          /* after "/v1/" */
	const char *field;         /* of the request message, that routes it; NULL = none */
	const char *resource;      /* its value */
	const struct tl_buf *body; /* NULL = none */
};

/* "Bearer <token>", or empty if there is no source for it. */
static int authorization_get(const struct tl_attest_sources *s, struct tl_secret *ret,
			     struct tl_error *err)
{
	static const char scheme[] = "Bearer ";
	auto_secret struct tl_secret token = { 0 };
	size_t n;
	char *value;
	int r = s->bearer ? s->bearer(s->bearer_ctx, &token, err) : 0;

	if (r < 0 || !s->bearer)
		return r;
	n = sizeof(scheme) - 1 + token.len_bytes;
	value = malloc(n + 1);
	if (!value)
		return fail_memory(err);
	memcpy(value, scheme, sizeof(scheme) - 1);
	memcpy(value + sizeof(scheme) - 1, token.bytes, token.len_bytes);
	value[n] = '\0';
	tl_secret_consume(ret, value, n);
	return 0;
}

/* "x-goog-request-params: name=projects%2Fp": how the service's front end finds its region. */
static int routing_header(const struct call *c, struct tl_buf *ret)
{
	int r = tl_buf_printf(ret, "x-goog-request-params: %s=", c->field);

	return r < 0 ? r : tl_form_encode(c->resource, ret);
}

static int call_send(const struct round *o, const struct call *c, const char *routing,
		     struct tl_http_response *ret, struct tl_error *err)
{
	const char *const headers[] = { "Content-Type: application/json",
					"x-goog-api-client: gl-c/17 rest/UNKNOWN", routing, NULL };
	auto_secret struct tl_secret authorization = { 0 };
	auto_free char *url = NULL;
	struct tl_http_request req = {
		.method = c->method,
		.headers = headers,
		.authorization = &authorization,
		.body = c->body ? c->body->data : NULL,
		.body_bytes = c->body ? c->body->len_bytes : 0,
		.ca_file = o->g->ca_file,
		.response_max_bytes = REPLY_MAX_BYTES,
		.cancel = o->g->cancel,
	};
	int r;

	if (asprintf(&url, "%s/v1/%s%s", o->g->url, c->path, QUERY) < 0) {
		url = NULL;
		return fail_memory(err);
	}
	req.url = url;
	r = authorization_get(o->attempt->sources, &authorization, err);
	if (r < 0)
		return r;
	/* Only now: the source of the credential had its own time. */
	req.deadline = tl_deadline_min(o->attempt->deadline,
				       tl_deadline_in(tl_clock_mono_ms(), o->g->try_timeout_ms));
	return tl_http_perform(o->g->http, &req, ret, err);
}

static int call_api(const struct round *o, const struct call *c, json_t **ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	auto_buf struct tl_buf routing = { 0 };
	int r;

	tl_buf_init(&routing, 4 * GCA_NAME_MAX_BYTES);
	if (c->field && routing_header(c, &routing) < 0)
		return fail_memory(err);
	r = call_send(o, c, c->field ? tl_buf_str(&routing) : NULL, &res, err);
	if (r < 0)
		return r;
	/* A refused call has a date, too: the last one is the best. */
	*o->ret_date_s = gca_date_s(tl_kvs_get(&res.headers, "date"));
	*o->ret_retry_after_ms =
		gca_retry_after_ms(tl_kvs_get(&res.headers, "retry-after"),
				   *o->ret_date_s ? *o->ret_date_s : tl_clock_real_s());
	return gca_reply_parse(res.status, res.body.data, res.body.len_bytes, ret, err);
}

/* --- location ------------------------------------------------------------------------------ */

static void list_regions(const json_t *reply, struct tl_buf *ret)
{
	const json_t *list = json_object_get(reply, "locations");
	json_t *location;
	size_t i;

	json_array_foreach(list, i, location)
	{
		const char *id = json_string_value(json_object_get(location, "locationId"));

		if (id && tl_buf_printf(ret, "%s%s", ret->len_bytes ? ", " : "", id) < 0)
			return;
	}
}

/* The region was refused: say which ones there are. */
static int fail_location(const struct round *o, const struct tl_error *refusal,
			 struct tl_error *err)
{
	auto_free char *path = NULL;
	json_auto_t *reply = NULL;
	auto_buf struct tl_buf regions = { 0 };
	struct call c = { .method = "GET" };

	tl_buf_init(&regions, GCA_WORDS_MAX_BYTES);
	if (asprintf(&path, "projects/%s/locations", o->g->project) < 0) {
		path = NULL;
		return fail_memory(err);
	}
	c.path = path;
	if (call_api(o, &c, &reply, NULL) == 0)
		list_regions(reply, &regions);
	return tl_fail(err, TL_E_VERIFIER_LOCATION, ENOENT,
		       "project '%s', region '%s': %.200s; available regions: %s", o->g->project,
		       o->g->region, refusal->msg,
		       regions.len_bytes ? tl_buf_str(&regions) : "not told");
}

static int location_take(struct gca *g, const json_t *reply, struct tl_error *err)
{
	const char *name = json_string_value(json_object_get(reply, "name"));

	if (!name || !gca_name_is_valid(name))
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "location: the reply's 'name' is not a resource name");
	g->location = strdup(name);
	return g->location ? 0 : fail_memory(err);
}

static int location_get(const struct round *o, struct tl_error *err)
{
	auto_free char *path = NULL;
	json_auto_t *reply = NULL;
	struct tl_error refusal = { 0 };
	struct call c = { .method = "GET", .field = "name" };
	int r;

	if (o->g->location)
		return 0;
	if (asprintf(&path, "projects/%s/locations/%s", o->g->project, o->g->region) < 0) {
		path = NULL;
		return fail_memory(err);
	}
	c.path = path;
	c.resource = path;
	r = call_api(o, &c, &reply, &refusal);
	if (refusal.code == TL_E_VERIFIER_REFUSED)
		return fail_location(o, &refusal, err);
	if (r < 0) {
		*err = refusal;
		return tl_wrap(err, r, "location");
	}
	return location_take(o->g, reply, err);
}

/* --- challenge and verification ------------------------------------------------------------ */

static int challenge_take(struct round *o, const json_t *reply, struct tl_error *err)
{
	const char *name = json_string_value(json_object_get(reply, "name"));
	const json_t *nonce = json_object_get(reply, "tpmNonce");
	int r;

	if (!name || !gca_name_is_valid(name) || !json_is_string(nonce))
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "challenge: the reply has no usable 'name' and 'tpmNonce'");
	r = tl_base64_decode(TL_BASE64_STD, json_string_value(nonce), json_string_length(nonce),
			     &o->nonce, &o->nonce_len);
	if (r == -ENOMEM)
		return fail_memory(err);
	if (r < 0 || !o->nonce_len || o->nonce_len > TL_NONCE_MAX_BYTES)
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "challenge: 'tpmNonce' is not base64 of 1 to %d bytes",
			       TL_NONCE_MAX_BYTES);
	o->is_record_wanted = json_is_true(json_object_get(reply, "launchRecord"));
	o->challenge = strdup(name);
	return o->challenge ? 0 : fail_memory(err);
}

static int challenge_get(struct round *o, struct tl_error *err)
{
	auto_free char *path = NULL;
	auto_buf struct tl_buf body = { 0 };
	json_auto_t *reply = NULL;
	struct call c = { .method = "POST", .field = "parent", .resource = o->g->location };
	int r;

	tl_buf_init(&body, 2);
	if (tl_buf_append_str(&body, "{}") < 0 ||
	    asprintf(&path, "%s/challenges", o->g->location) < 0) {
		path = NULL;
		return fail_memory(err);
	}
	c.path = path;
	c.body = &body;
	r = call_api(o, &c, &reply, err);
	return r < 0 ? tl_wrap(err, r, "challenge") : challenge_take(o, reply, err);
}

/* The service issued a token all the same: these are for the operator to read. */
static int warnings_take(const json_t *reply, struct tl_strv *ret)
{
	const json_t *list = json_object_get(reply, "partialErrors");
	size_t n = json_array_size(list);
	int r = 0;

	for (size_t i = 0; i < n && i < WARNINGS_MAX && r == 0; i++) {
		const json_t *item = json_array_get(list, i);
		const char *message = json_string_value(json_object_get(item, "message"));
		char words[GCA_WORDS_MAX_BYTES];

		gca_words_redact(message ? message : "no message", words, sizeof(words));
		r = tl_strv_add(ret, words);
	}
	return r;
}

static int token_take(const struct gca *g, const json_t *reply, struct tl_attest_result *ret,
		      struct tl_error *err)
{
	const char *field =
		g->api == TL_VERIFIER_CONFIDENTIAL_SPACE ? "attestationToken" : "oidcClaimsToken";
	const json_t *token = json_object_get(reply, field);

	if (!json_string_length(token))
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "verification: the reply has no '%s'", field);
	if (json_secret_take(token, &ret->token) < 0 || warnings_take(reply, &ret->warnings) < 0)
		return fail_memory(err);
	return 0;
}

static int verify(const struct round *o, struct tl_attest_result *ret, struct tl_error *err)
{
	const struct tl_attest_sources *s = o->attempt->sources;
	const char *call_name = o->g->api == TL_VERIFIER_CONFIDENTIAL_SPACE
					? "verifyConfidentialSpace"
					: "verifyAttestation";
	auto_free char *path = NULL;
	auto_buf struct tl_buf body = { 0 };
	json_auto_t *reply = NULL;
	struct call c = {
		.method = "POST", .field = "challenge", .resource = o->challenge, .body = &body
	};
	int r = gca_verify_body(o->g->api, o->challenge, o->principals, s->n_principals,
				&o->evidence, &o->signatures, o->attempt->options, &body, err);

	if (r < 0)
		return r;
	if (asprintf(&path, "%s:%s", o->challenge, call_name) < 0) {
		path = NULL;
		return fail_memory(err);
	}
	c.path = path;
	r = call_api(o, &c, &reply, err);
	return r < 0 ? tl_wrap(err, r, "%s", call_name) : token_take(o->g, reply, ret, err);
}

static int gca_attempt(void *impl, const struct verifier_attempt *a, struct tl_attest_result *ret,
		       uint64_t *ret_retry_after_ms, struct tl_error *err)
{
	auto_round struct round o = { .g = impl,
				      .attempt = a,
				      .ret_retry_after_ms = ret_retry_after_ms,
				      .ret_date_s = &ret->date_s };
	int r = location_get(&o, err);

	if (r == 0)
		r = challenge_get(&o, err);
	if (r == 0 && a->sources->challenged)
		a->sources->challenged(a->sources->challenged_ctx, o.challenge);
	if (r == 0)
		r = verifier_principals_get(a->sources, o.challenge, strlen(o.challenge),
					    o.principals, err);
	if (r == 0)
		r = a->sources->collect(a->sources->collect_ctx, o.nonce, o.nonce_len, &o.evidence,
					err);
	if (r == 0 && a->sources->signatures)
		r = a->sources->signatures(a->sources->signatures_ctx, &o.signatures, err);
	if (!o.is_record_wanted)
		tl_blob_done(&o.evidence.record);
	return r == 0 ? verify(&o, ret, err) : r;
}

/* --- the handle ---------------------------------------------------------------------------- */

static void gca_close(void *impl)
{
	struct gca *g = impl;

	if (!g)
		return;
	tl_http_free(g->http);
	free(g->url);
	free(g->ca_file);
	free(g->project);
	free(g->region);
	free(g->location);
	free(g);
}

static const struct verifier_ops gca_ops = { .attempt = gca_attempt, .close = gca_close };

/* Both come from the metadata and become parts of a path. */
static bool is_path_part(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.:";

	return !tl_str_is_empty(s) && strlen(s) <= 100 && strspn(s, allowed) == strlen(s) &&
	       !strstr(s, "..");
}

static int options_check(const struct tl_verifier_options *o, const char *url, struct tl_error *err)
{
	int r = verifier_url_check(url, err);

	if (r < 0)
		return r;
	if (!is_path_part(o->project) || !is_path_part(o->region))
		return tl_fail(
			err, TL_E_VERIFIER_LOCATION, EINVAL,
			"project '%.100s', region '%.100s': not names of a project and a region",
			o->project ? o->project : "", o->region ? o->region : "");
	return 0;
}

static struct gca *gca_new(const struct tl_verifier_options *o, const char *url)
{
	struct gca *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->http = tl_http_new(USER_AGENT);
	g->cancel = o->cancel;
	g->url = strdup(url);
	g->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	g->project = strdup(o->project);
	g->region = strdup(o->region);
	g->api = o->api;
	g->try_timeout_ms = o->try_timeout_ms ? o->try_timeout_ms : TRY_TIMEOUT_DEFAULT_MS;
	if (g->http && g->url && g->project && g->region && (g->ca_file || !o->ca_file))
		return g;
	gca_close(g);
	return NULL;
}

int tl_verifier_open_gca(const struct tl_verifier_options *options, struct tl_verifier **ret,
			 struct tl_error *err)
{
	const char *url = options->url ? options->url : TL_VERIFIER_URL_DEFAULT;
	struct gca *g;
	int r = options_check(options, url, err);

	if (r < 0)
		return r;
	g = gca_new(options, url);
	if (!g)
		return fail_memory(err);
	r = verifier_new(&gca_ops, g, options, ret, err);
	if (r < 0)
		gca_close(g);
	return r;
}
