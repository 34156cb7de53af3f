/* SPDX-License-Identifier: Apache-2.0 */
#include "token_api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#define HTML "text/html"
#define TEXT "text/plain; charset=utf-8"
#define JSON "application/json"

#define PATH_MAX_BYTES 256

/* --- answers -------------------------------------------------------------------------------- */

static struct token_reply *reply_of(int status, const char *content_type, const char *body,
				    size_t n)
{
	struct token_reply *r = calloc(1, sizeof(*r));

	if (!r || tl_secret_set(&r->body, body, n) < 0) {
		free(r);
		return NULL;
	}
	atomic_init(&r->refs, 1);
	r->status = status;
	r->content_type = content_type;
	return r;
}

struct token_reply *token_reply_new(int status, const char *content_type, const char *body)
{
	return reply_of(status, content_type, body, strlen(body));
}

struct token_reply *token_reply_ref(struct token_reply *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

struct token_reply *token_reply_unref(struct token_reply *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) > 1)
		return NULL;
	if (r->gauge)
		atomic_fetch_sub(r->gauge, 1);
	tl_secret_done(&r->body);
	free(r);
	return NULL;
}

struct token_reply *token_api_token(const struct tl_secret *token)
{
	return reply_of(200, HTML, token->bytes, token->len_bytes);
}

struct token_reply *token_api_evidence(const char *json)
{
	return token_reply_new(200, JSON, json);
}

struct token_reply *token_api_refusal(int status, const char *text)
{
	return token_reply_new(status, TEXT, text);
}

/* The service's own refusals are the caller's mistakes; the rest is nobody's. */
static int status_of(const struct tl_error *err)
{
	static const struct {
		enum tl_code code;
		int status;
	} rows[] = {
		{ TL_E_TOKEN_REQUEST, 400 },        { TL_E_VERIFIER_REFUSED, 400 },
		{ TL_E_VERIFIER_CREDENTIALS, 400 }, { TL_E_VERIFIER_LOCATION, 400 },
		{ TL_E_TOKEN_RATE, 429 },           { TL_E_INTERRUPTED, 503 },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		if (rows[i].code == err->code)
			return rows[i].status;
	return 500;
}

struct token_reply *token_api_failure(const struct token_ask *ask, const struct tl_error *err,
				      uint64_t retry_after_ms)
{
	bool is_token = ask->work != TOKEN_WORK_EVIDENCE;
	int status = status_of(err);
	char body[TL_ERROR_MSG_MAX + 80];
	struct token_reply *r;

	(void)snprintf(body, sizeof(body), "%s%s",
		       !is_token || status == 429 ? ""
		       : ask->is_default          ? "failed to retrieve attestation service token: "
					 : "failed to retrieve custom attestation service token: ",
		       err->msg);
	r = token_reply_new(status, is_token ? HTML : TEXT, body);
	if (r)
		r->retry_after_s = retry_after_ms / 1000 + (retry_after_ms % 1000 > 0);
	return r;
}

/* --- paths ---------------------------------------------------------------------------------- */

void token_ask_done(struct token_ask *a)
{
	token_request_done(&a->request);
	tl_blob_done(&a->challenge);
}

bool token_ask_equal(const struct token_ask *a, const struct token_ask *b)
{
	if (a->work != b->work || a->is_default != b->is_default)
		return false;
	if (a->work == TOKEN_WORK_EVIDENCE)
		return a->mask == b->mask && a->challenge.n == b->challenge.n &&
		       memcmp(a->challenge.bytes, b->challenge.bytes, a->challenge.n) == 0;
	return a->is_default || token_request_equal(&a->request, &b->request);
}

static bool is_uncached(const char *cache_control)
{
	return cache_control &&
	       (strcasestr(cache_control, "no-cache") || strcasestr(cache_control, "no-store") ||
		strcasestr(cache_control, "max-age=0"));
}

static struct token_reply *token_route(const struct token_http *req, struct token_ask *ask)
{
	struct tl_error err = { 0 };
	char text[96];

	if (strcmp(req->method, "GET") == 0) {
		ask->is_default = true;
		ask->is_uncached = is_uncached(req->cache_control);
		return NULL;
	}
	if (strcmp(req->method, "POST") == 0) {
		if (token_request_parse(req->body, req->body_n, &ask->request, &err) == 0)
			return NULL;
		return token_reply_new(status_of(&err), HTML, err.msg);
	}
	(void)snprintf(text, sizeof(text), "TEE server received an invalid HTTP method: %.32s",
		       req->method);
	return token_reply_new(400, HTML, text);
}

static struct token_reply *gca_route(const struct token_http *req, const struct token_clients *have,
				     struct token_ask *ask)
{
	if (!have->has_gca)
		return token_reply_new(
			500, HTML, "no GCA verifier client present, please try rebooting your VM");
	return token_route(req, ask);
}

static struct token_reply *intel_route(const struct token_http *req,
				       const struct token_clients *have, struct token_ask *ask)
{
	if (!have->has_intel)
		return token_reply_new(500, HTML,
				       "no ITA verifier client present - ensure ITA Region and Key "
				       "are defined in metadata");
	return token_route(req, ask);
}

static const char *first_filled(const char *a, const char *b, const char *c)
{
	return a && *a ? a : b && *b ? b : c;
}

static struct token_reply *evidence_route(const struct token_http *req,
					  const struct token_clients *have, struct token_ask *ask)
{
	struct tl_error err = { 0 };

	(void)have;
	if (strcmp(req->method, "POST") != 0)
		return token_api_refusal(405, "method not allowed");
	if (evidence_request_parse(req->body, req->body_n, &ask->challenge, &err) < 0)
		return token_api_refusal(status_of(&err), err.msg);
	ask->mask =
		evidence_mask_parse(first_filled(req->fields, req->dollar_fields, req->field_mask));
	return NULL;
}

static struct token_reply *keys_route(const struct token_http *req,
				      const struct token_clients *have, struct token_ask *ask)
{
	(void)req, (void)have, (void)ask;
	return token_api_refusal(403, "keymanager not enabled");
}

static struct token_reply *host_route(const struct token_http *req,
				      const struct token_clients *have, struct token_ask *ask)
{
	(void)req, (void)have, (void)ask;
	return token_api_refusal(403, "host attestation not enabled");
}

static const struct route {
	const char *path;
	enum token_work work;
	struct token_reply *(*handle)(const struct token_http *req,
				      const struct token_clients *have, struct token_ask *ask);
} routes[] = {
	{ "/v1/token", TOKEN_WORK_GCA, gca_route },
	{ "/v1/intel/token", TOKEN_WORK_INTEL, intel_route },
	{ "/v1/evidence", TOKEN_WORK_EVIDENCE, evidence_route },
	{ "/v1/keys:getEndorsement", TOKEN_WORK_NONE, keys_route },
	{ "/v1/hostAttestation", TOKEN_WORK_NONE, host_route },
};

static const struct route *route_find(const char *path)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(routes); i++)
		if (strcmp(routes[i].path, path) == 0)
			return &routes[i];
	return NULL;
}

/* The path without "//", "/./" and "/../", as Go's ServeMux has it; "" if it is too long for one of
 * ours. */
static void path_clean(const char *path, char ret[PATH_MAX_BYTES])
{
	size_t n = 0;

	for (const char *at = path; *at;) {
		const char *part = at + strspn(at, "/");
		size_t len = strcspn(part, "/");

		at = part + len;
		if (len == 2 && memcmp(part, "..", 2) == 0) {
			while (n && ret[--n] != '/')
				;
		} else if (len && !(len == 1 && *part == '.')) {
			if (n + len + 2 >= PATH_MAX_BYTES) {
				n = 0;
				break;
			}
			ret[n++] = '/';
			memcpy(ret + n, part, len);
			n += len;
		} else if (!len && n && part > path) {
			ret[n++] = '/'; /* at the end: another path */
		}
	}
	ret[n] = '\0';
}

/* Only to paths that are ours: nothing of the request comes back in a header. */
static struct token_reply *unknown_path(const char *path)
{
	char clean[PATH_MAX_BYTES];
	const struct route *route;
	struct token_reply *r;

	path_clean(path, clean);
	route = *path == '/' ? route_find(clean) : NULL;
	if (!route)
		return token_api_refusal(404, "404 page not found\n");
	r = token_api_refusal(301, "Moved Permanently\n");
	if (r)
		r->location = route->path;
	return r;
}

void token_api_route(const struct token_http *req, const struct token_clients *clients,
		     struct token_ask *ret, struct token_reply **ret_reply)
{
	const struct route *route = route_find(req->path);
	struct token_ask ask = { 0 };
	struct token_reply *reply;

	if (!route) {
		*ret = ask;
		*ret_reply = unknown_path(req->path);
		return;
	}
	ask.path = route->path;
	ask.work = route->work;
	reply = route->handle(req, clients, &ask);
	if (reply || route->work == TOKEN_WORK_NONE) {
		token_ask_done(&ask);
		*ret = (struct token_ask){ .path = route->path };
		*ret_reply = reply;
		return;
	}
	*ret = ask;
	*ret_reply = NULL;
}
