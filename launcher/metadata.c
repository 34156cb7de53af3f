/* SPDX-License-Identifier: Apache-2.0 */
#include "metadata.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/http.h>
#include <teelaunch/json_scan.h>
#include <teelaunch/str.h>

#include "attest/json_secret.h"

/* What Google's own client sends; the server logs it. */
#define USER_AGENT         "gcloud-golang/0.1"
#define CONNECT_TIMEOUT_MS 2000
#define REQUEST_TIMEOUT_MS 5000
#define VALUE_MAX_BYTES    1024
#define HOST_MAX_BYTES     255
/* A token this close to its end is not handed out again: its use takes time too. */
#define TOKEN_MARGIN_MS 60000
/* Nothing of this API lives longer; a larger number would only overflow. */
#define TOKEN_LIFE_MAX_S 86400

static const struct tl_backoff backoff = { .base_ms = 100, .cap_ms = 1600, .attempts_max = 6 };

/* A small text of the metadata: where it is, and how it is kept. */
enum value {
	VALUE_PROJECT,
	VALUE_ZONE, /* "projects/123/zones/us-central1-a" */
	VALUE_ID,
	VALUE_NAME,
	VALUES_N,
};

static const char *const value_paths[VALUES_N] = {
	[VALUE_PROJECT] = "project/project-id",
	[VALUE_ZONE] = "instance/zone",
	[VALUE_ID] = "instance/id",
	[VALUE_NAME] = "instance/name",
};

struct metadata {
	char *host;
	struct tl_http *http;
	struct tl_cancel *cancel;
	char *values[VALUES_N];
	char *region;
	struct tl_buf attributes;
	bool has_attributes;
	struct tl_secret access_token;
	struct tl_deadline access_token_until;
};

static bool is_host(const char *host)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789.-:[]";
	size_t n = strlen(host);

	return n && n <= HOST_MAX_BYTES && strspn(host, allowed) == n;
}

int metadata_open(const char *host, struct tl_cancel *cancel, struct metadata **ret,
		  struct tl_error *err)
{
	auto_metadata struct metadata *m = NULL;

	if (tl_str_is_empty(host))
		host = METADATA_HOST_DEFAULT;
	if (!is_host(host))
		return tl_fail(err, TL_E_METADATA_HOST, EINVAL,
			       "'%.300s' is not a host or host:port", host);
	m = calloc(1, sizeof(*m));
	if (m) {
		m->cancel = cancel;
		m->host = strdup(host);
		m->http = tl_http_new(USER_AGENT);
	}
	if (!m || !m->host || !m->http)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "metadata client");
	*ret = take_ptr(m);
	return 0;
}

struct metadata *metadata_close(struct metadata *m)
{
	if (!m)
		return NULL;
	for (size_t i = 0; i < VALUES_N; i++)
		free(m->values[i]);
	free(m->region);
	tl_buf_done(&m->attributes);
	tl_secret_done(&m->access_token);
	tl_http_free(m->http);
	free(m->host);
	free(m);
	return NULL;
}

/* --- one request with its retries -------------------------------------------------------- */

static bool is_genuine(const struct tl_http_response *res)
{
	const char *flavor = tl_kvs_get(&res->headers, "metadata-flavor");

	return flavor && strcmp(flavor, "Google") == 0;
}

static int judge_status(const struct tl_http_response *res, struct tl_error *err)
{
	if (res->status >= 500)
		return tl_fail(err, TL_E_METADATA_UNAVAILABLE, EAGAIN, "status %d", res->status);
	if (!is_genuine(res))
		return tl_fail(err, TL_E_METADATA_NOT_GENUINE, EPROTO,
			       "status %d without the header 'Metadata-Flavor: Google'",
			       res->status);
	if (res->status == 200)
		return 0;
	if (res->status == 404)
		return tl_fail(err, TL_E_METADATA_NOT_DEFINED, ENOENT, "not defined (404)");
	if (res->status == 429)
		return tl_fail(err, TL_E_METADATA_UNAVAILABLE, EBUSY, "too many requests (429)");
	return tl_fail(err, TL_E_METADATA_REFUSED, EPROTO, "status %d: %.200s", res->status,
		       tl_buf_str(&res->body));
}

static int get_once(struct metadata *m, const char *url, size_t max_bytes,
		    struct tl_http_response *ret, struct tl_error *err)
{
	static const char *const headers[] = { "Metadata-Flavor: Google", NULL };
	const struct tl_http_request req = {
		.method = "GET",
		.url = url,
		.headers = headers,
		.is_plain_allowed = true,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), REQUEST_TIMEOUT_MS),
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.response_max_bytes = max_bytes,
		.cancel = m->cancel,
	};
	auto_http_response struct tl_http_response res = { 0 };
	int r = tl_http_perform(m->http, &req, &res, err);

	if (r == 0)
		r = judge_status(&res, err);
	if (r < 0)
		return r;
	*ret = res;
	res = (struct tl_http_response){ 0 };
	return 0;
}

static bool is_worth_a_retry(const struct tl_error *err, int r)
{
	static const enum tl_code codes[] = { TL_E_NET_CONNECT, TL_E_NET_RESET, TL_E_NET_TIMEOUT,
					      TL_E_NET_RESOLVE };

	for (size_t i = 0; i < TL_ARRAY_SIZE(codes); i++)
		if (err->code == codes[i])
			return true;
	/* A 429 is of the same kind, but asking again would only feed it. */
	return err->code == TL_E_METADATA_UNAVAILABLE && r != -EBUSY;
}

/* @query  NULL, or what follows the "?" */
static int get(struct metadata *m, const char *path, const char *query, size_t max_bytes,
	       struct tl_http_response *ret, struct tl_error *err)
{
	auto_free char *url = NULL;
	struct tl_error e = { 0 };
	uint64_t wait_ms;
	int r;

	if (asprintf(&url, "http://%s/computeMetadata/v1/%s%s%s", m->host, path, query ? "?" : "",
		     query ? query : "") < 0) {
		url = NULL;
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "metadata request");
	}
	for (unsigned int attempt = 1;; attempt++) {
		r = get_once(m, url, max_bytes, ret, &e);
		if (r == 0)
			return 0;
		if (!is_worth_a_retry(&e, r) ||
		    !tl_backoff_next(&backoff, attempt + 1, tl_clock_random(), &wait_ms))
			break;
		if (tl_cancel_sleep(m->cancel, wait_ms)) {
			r = tl_fail(&e, TL_E_INTERRUPTED, ECANCELED, "cancelled");
			break;
		}
	}
	if (err)
		*err = e;
	return tl_wrap(err, r, "metadata '%s'", path);
}

/* --- values ------------------------------------------------------------------------------- */

static char *trim(char *s)
{
	static const char space[] = " \t\r\n\v\f";
	size_t n;

	s += strspn(s, space);
	n = strlen(s);
	while (n && strchr(space, s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

static bool is_value(const char *s, size_t n)
{
	if (!n || strlen(s) != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return true;
}

static int value_get(struct metadata *m, enum value which, const char **ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	char *text;
	int r;

	if (!m->values[which]) {
		r = get(m, value_paths[which], NULL, VALUE_MAX_BYTES, &res, err);
		if (r < 0)
			return r;
		if (memchr(tl_buf_str(&res.body), '\0', res.body.len_bytes))
			tl_buf_reset(&res.body);
		text = res.body.data ? trim((char *)res.body.data) : NULL;
		if (!text || !is_value(text, strlen(text)))
			return tl_fail(err, TL_E_METADATA_VALUE, EINVAL,
				       "metadata '%s': empty, or not one printable word",
				       value_paths[which]);
		m->values[which] = strdup(text);
		if (!m->values[which])
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "metadata value");
	}
	*ret = m->values[which];
	return 0;
}

int metadata_attributes(struct metadata *m, const struct tl_buf **ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	int r;

	if (!m->has_attributes) {
		r = get(m, "instance/attributes/", "recursive=true", METADATA_ATTRIBUTES_MAX_BYTES,
			&res, err);
		if (r < 0)
			return r;
		m->attributes = res.body;
		res.body = (struct tl_buf){ 0 };
		m->has_attributes = true;
	}
	*ret = &m->attributes;
	return 0;
}

int metadata_project(struct metadata *m, const char **ret, struct tl_error *err)
{
	return value_get(m, VALUE_PROJECT, ret, err);
}

int metadata_instance_id(struct metadata *m, const char **ret, struct tl_error *err)
{
	return value_get(m, VALUE_ID, ret, err);
}

int metadata_instance_name(struct metadata *m, const char **ret, struct tl_error *err)
{
	return value_get(m, VALUE_NAME, ret, err);
}

int metadata_zone(struct metadata *m, const char **ret, struct tl_error *err)
{
	const char *path, *slash;
	int r = value_get(m, VALUE_ZONE, &path, err);

	if (r < 0)
		return r;
	slash = strrchr(path, '/');
	*ret = slash ? slash + 1 : path;
	return 0;
}

int metadata_region(struct metadata *m, const char **ret, struct tl_error *err)
{
	const char *zone, *dash;
	int r = metadata_zone(m, &zone, err);

	if (r < 0)
		return r;
	dash = strrchr(zone, '-');
	if (!dash || dash == zone)
		return tl_fail(
			err, TL_E_METADATA_VALUE, EINVAL,
			"metadata 'instance/zone': '%s' names no region, as us-central1-a does",
			zone);
	if (!m->region)
		m->region = strndup(zone, (size_t)(dash - zone));
	if (!m->region)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "metadata value");
	*ret = m->region;
	return 0;
}

/* --- tokens ------------------------------------------------------------------------------- */

#define ACCESS_TOKEN_PATH   "instance/service-accounts/default/token"
#define IDENTITY_TOKEN_PATH "instance/service-accounts/default/identity"

static int fail_token(struct tl_error *err, const char *path, const char *what)
{
	return tl_fail(err, TL_E_METADATA_VALUE, EBADMSG, "metadata '%s': %s", path, what);
}

static int access_token_parse(struct metadata *m, const struct tl_buf *body, uint64_t now_ms,
			      struct tl_error *err)
{
	json_auto_t *doc = tl_json_scan(tl_buf_str(body), body->len_bytes, NULL)
				   ? NULL
				   : json_loadb(tl_buf_str(body), body->len_bytes, 0, NULL);
	const json_t *token = json_object_get(doc, "access_token");
	const json_t *life = json_object_get(doc, "expires_in");
	json_int_t life_s = json_is_integer(life) ? json_integer_value(life) : 0;

	if (!json_is_string(token))
		return fail_token(err, ACCESS_TOKEN_PATH, "no JSON object with an 'access_token'");
	if (!is_value(json_string_value(token), json_string_length(token))) {
		json_secret_wipe(token);
		return fail_token(err, ACCESS_TOKEN_PATH,
				  "'access_token' is not one printable word");
	}
	if (json_secret_take(token, &m->access_token) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "access token");
	if (life_s < 0)
		life_s = 0;
	if (life_s > TOKEN_LIFE_MAX_S)
		life_s = TOKEN_LIFE_MAX_S;
	m->access_token_until = tl_deadline_in(now_ms, (uint64_t)life_s * 1000);
	return 0;
}

int metadata_access_token(struct metadata *m, struct tl_secret *ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	uint64_t now_ms = tl_clock_mono_ms();
	int r;

	if (tl_deadline_left_ms(m->access_token_until, now_ms) <= TOKEN_MARGIN_MS) {
		r = get(m, ACCESS_TOKEN_PATH, NULL, METADATA_TOKEN_MAX_BYTES, &res, err);
		if (r == 0)
			r = access_token_parse(m, &res.body, now_ms, err);
		if (r < 0)
			return r;
	}
	if (tl_secret_set(ret, m->access_token.bytes, m->access_token.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "access token");
	return 0;
}

static bool is_jwt_text(const char *s, size_t n)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	return n && strspn(s, allowed) == n;
}

int metadata_identity_token(struct metadata *m, const char *audience, size_t n,
			    struct tl_secret *ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	auto_buf struct tl_buf query = { 0 };
	int r;

	tl_buf_init(&query, METADATA_TOKEN_MAX_BYTES);
	r = tl_buf_append_str(&query, "audience=");
	if (r == 0)
		r = tl_form_encode_bytes(audience, n, &query);
	if (r == 0)
		r = tl_buf_append_str(&query, "&format=full");
	if (r < 0)
		return fail_token(err, IDENTITY_TOKEN_PATH, "the audience is too long");
	r = get(m, IDENTITY_TOKEN_PATH, tl_buf_str(&query), METADATA_TOKEN_MAX_BYTES, &res, err);
	if (r < 0)
		return r;
	if (!is_jwt_text(tl_buf_str(&res.body), res.body.len_bytes))
		return fail_token(err, IDENTITY_TOKEN_PATH, "not a JWT");
	if (tl_secret_set(ret, res.body.data, res.body.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "identity token");
	return 0;
}
