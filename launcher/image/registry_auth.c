/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials: Basic, and the distribution project's token protocol (its documents "Token
 * Authentication Specification" and "OAuth2 Token Authentication").
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/json_scan.h>

#include "registry_private.h"
#include "url.h"
#include "www_authenticate.h"

#define USER                     "_token"
#define CLIENT_ID                "containerd-client"
#define TOKEN_RESPONSE_BYTES_MAX (256 * 1024)
#define TOKEN_BYTES_MAX          (32 * 1024)
#define SCOPES_MAX               16
#define FORM_BYTES_MAX           (128 * 1024)

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a credential");
}

/* "<scheme> <value>" into r->authorization. */
static int authorization_set(struct tl_secret *ret, const char *scheme, const char *value,
			     struct tl_error *err)
{
	char *text;
	int n = asprintf(&text, "%s %s", scheme, value);

	if (n < 0)
		return no_memory(err);
	tl_secret_done(ret);
	tl_secret_consume(ret, text, (size_t)n);
	return 0;
}

static int basic_make(const struct tl_registry *r, struct tl_secret *ret, struct tl_error *err)
{
	auto_secret struct tl_secret pair = { 0 };
	auto_secret struct tl_secret encoded = { 0 };
	char *text;
	int n = asprintf(&text, USER ":%s", r->access_token.bytes);

	if (n < 0)
		return no_memory(err);
	tl_secret_consume(&pair, text, (size_t)n);
	text = tl_base64_encode(TL_BASE64_STD, pair.bytes, pair.len_bytes);
	if (!text)
		return no_memory(err);
	tl_secret_consume(&encoded, text, strlen(text));
	return authorization_set(ret, "Basic", encoded.bytes, err);
}

/* --- scopes -------------------------------------------------------------------------------- */

static int text_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The challenge's scopes and the one we need: sorted, each once. */
static int scopes_make(const struct tl_registry *r, const char *asked, struct tl_strv *ret,
		       struct tl_error *err)
{
	if (tl_strv_printf(ret, "repository:%s:pull", r->path) < 0)
		return no_memory(err);
	while (asked && *asked) {
		size_t n = strcspn(asked, " ");
		auto_free char *scope = strndup(asked, n);

		if (!scope)
			return no_memory(err);
		if (n && !tl_strv_contains(ret, scope) && tl_strv_add(ret, scope) < 0)
			return no_memory(err);
		if (ret->n > SCOPES_MAX)
			return tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL,
				       "the registry asks for more than %d scopes", SCOPES_MAX);
		asked += n + strspn(asked + n, " ");
	}
	qsort(ret->items, ret->n, sizeof(*ret->items), text_compare);
	return 0;
}

static int form_add(struct tl_buf *b, const char *separator, const char *name, const char *value)
{
	int r = tl_buf_append_str(b, separator);

	if (r == 0)
		r = tl_buf_append_str(b, name);
	if (r == 0)
		r = tl_buf_append_str(b, "=");
	return r < 0 ? r : url_encode(b, value);
}

/* --- the answer ---------------------------------------------------------------------------- */

/* jansson doesn't wipe what it frees. */
static void json_wipe(json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach(object, key, value)
	{
		if (json_is_string(value))
			explicit_bzero((char *)(uintptr_t)json_string_value(value),
				       json_string_length(value));
	}
}

/* What can stand in a header: RFC 6750 section 2.1 allows fewer, registries send more. */
static bool token_is_sane(const char *token)
{
	size_t n = strnlen(token, TOKEN_BYTES_MAX + 1);

	for (size_t i = 0; i < n; i++)
		if (token[i] <= 0x20 || token[i] >= 0x7f)
			return false;
	return n && n <= TOKEN_BYTES_MAX;
}

static int token_read(const struct tl_http_response *response, struct tl_secret *ret,
		      struct tl_error *err)
{
	const char *text = (const char *)response->body.data;
	size_t n = response->body.len_bytes;
	json_auto_t *root = tl_json_scan(text, n, NULL)
				    ? NULL
				    : json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const char *token = json_string_value(json_object_get(root, "access_token"));
	int e;

	if (tl_str_is_empty(token))
		token = json_string_value(json_object_get(root, "token"));
	if (tl_str_is_empty(token) || !token_is_sane(token))
		e = tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL,
			    "the registry's token server answers without a usable token");
	else
		e = authorization_set(ret, "Bearer", token, err);
	json_wipe(root);
	return e;
}

/* --- the two ways to ask ------------------------------------------------------------------- */

struct exchange {
	struct tl_registry *registry;
	const struct challenge *challenge;
	struct tl_strv scopes;
	bool has_secret; /* the token server may see the access token */
};

static void exchange_done(struct exchange *x)
{
	tl_strv_done(&x->scopes);
}
#define auto_exchange __attribute__((cleanup(exchange_done)))

/* OAuth2's password grant. */
static int ask_post(const struct exchange *x, struct tl_http_response *ret, struct tl_error *err)
{
	static const char *const headers[] = {
		"Content-Type: application/x-www-form-urlencoded; charset=utf-8", NULL
	};
	auto_buf struct tl_buf form = { 0 }, scope = { 0 };
	int e;

	tl_buf_init(&form, FORM_BYTES_MAX);
	tl_buf_init(&scope, FORM_BYTES_MAX);
	e = form_add(&form, "", "grant_type", "password");
	for (size_t i = 0; e == 0 && i < x->scopes.n; i++)
		e = tl_buf_printf(&scope, "%s%s", i ? " " : "", x->scopes.items[i]);
	if (e == 0 && x->challenge->service)
		e = form_add(&form, "&", "service", x->challenge->service);
	if (e == 0)
		e = form_add(&form, "&", "client_id", CLIENT_ID);
	if (e == 0)
		e = form_add(&form, "&", "scope", tl_buf_str(&scope));
	if (e == 0)
		e = form_add(&form, "&", "username", USER);
	if (e == 0)
		e = form_add(&form, "&", "password", x->registry->access_token.bytes);
	if (e < 0)
		return no_memory(err);
	const struct registry_request q = {
		.method = "POST",
		.url = x->challenge->realm,
		.headers = headers,
		.body = tl_buf_str(&form),
		.body_bytes = form.len_bytes,
		.response_max_bytes = TOKEN_RESPONSE_BYTES_MAX,
		/* A redirect would carry the form, and the token in it, elsewhere. */
		.redirects_max = 0,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), x->registry->limits.document_ms),
	};

	return registry_send(x->registry, &q, ret, NULL, err);
}

static int ask_get(const struct exchange *x, struct tl_http_response *ret, struct tl_error *err)
{
	const char *realm = x->challenge->realm;
	auto_secret struct tl_secret basic = { 0 };
	auto_buf struct tl_buf url = { 0 };
	const char *separator = strchr(realm, '?') ? "&" : "?";
	int e;

	tl_buf_init(&url, URL_BYTES_MAX);
	e = tl_buf_append_str(&url, realm);
	if (e == 0 && x->challenge->service) {
		e = form_add(&url, separator, "service", x->challenge->service);
		separator = "&";
	}
	for (size_t i = 0; e == 0 && i < x->scopes.n; i++) {
		e = form_add(&url, separator, "scope", x->scopes.items[i]);
		separator = "&";
	}
	if (e < 0)
		return tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL,
			       "the registry's challenge is too long");
	if (x->has_secret) {
		e = basic_make(x->registry, &basic, err);
		if (e < 0)
			return e;
	}
	const struct registry_request q = {
		.method = "GET",
		.url = tl_buf_str(&url),
		.authorization = x->has_secret ? &basic : NULL,
		.response_max_bytes = TOKEN_RESPONSE_BYTES_MAX,
		.redirects_max = x->registry->limits.redirects_max,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), x->registry->limits.document_ms),
	};

	return registry_send(x->registry, &q, ret, NULL, err);
}

/* Token servers that don't know the password grant. */
static bool is_grant_unknown(int status)
{
	return status == 400 || status == 401 || status == 404 || status == 405;
}

static int ask(const struct exchange *x, struct tl_http_response *ret, struct tl_error *err)
{
	if (x->has_secret) {
		auto_http_response struct tl_http_response response = { 0 };
		int e = ask_post(x, &response, err);

		if (e < 0)
			return e;
		if (!is_grant_unknown(response.status)) {
			*ret = response;
			response = (struct tl_http_response){ 0 };
			return 0;
		}
	}
	return ask_get(x, ret, err);
}

/*
 * The realm is the registry's word: a hostile one would name its own server here. So the access
 * token goes to it only if it is, by name, one of the hosts that may have it, and over the pinned
 * roots that such a host has.
 */
static int exchange_prepare(struct exchange *x, struct tl_error *err)
{
	struct registry_host realm;
	int e = url_host(x->challenge->realm, &realm, err);

	if (e < 0)
		return tl_wrap(err, e, "registry '%s', realm", x->registry->host.authority);
	x->has_secret = registry_has_token_for_host(x->registry) && realm.is_token_offered;
	return scopes_make(x->registry, x->challenge->scope, &x->scopes, err);
}

static int bearer_login(struct tl_registry *r, const struct challenge *challenge,
			struct registry_attempt *ret_attempt, struct tl_error *err)
{
	auto_exchange struct exchange x = { .registry = r, .challenge = challenge };
	auto_http_response struct tl_http_response response = { 0 };
	int e = exchange_prepare(&x, err);

	if (e < 0)
		return e;
	e = ask(&x, &response, err);
	if (e < 0) {
		ret_attempt->is_retryable = registry_is_net_retryable(err);
		return tl_wrap(err, e, "registry '%s', token", r->host.authority);
	}
	if (response.status != 200)
		return registry_status_fail(r, "token for the pull", &response, ret_attempt, err);
	return token_read(&response, &r->authorization, err);
}

static int challenges_collect(const struct tl_http_response *response, struct challenges *v,
			      struct tl_error *err)
{
	for (size_t i = 0; i < response->headers.n; i++) {
		int e = 0;

		if (strcmp(response->headers.items[i].key, "www-authenticate") == 0)
			e = challenges_parse(response->headers.items[i].value, v, err);
		if (e < 0)
			return e;
	}
	return 0;
}

int registry_login(struct tl_registry *r, const struct tl_http_response *unauthorized,
		   struct registry_attempt *ret_attempt, struct tl_error *err)
{
	auto_challenges struct challenges v = { 0 };
	const struct challenge *best;
	int e;

	*ret_attempt = (struct registry_attempt){ 0 };
	e = challenges_collect(unauthorized, &v, err);
	if (e < 0)
		return tl_wrap(err, e, "registry '%s'", r->host.authority);
	best = challenges_best(&v);
	if (best && best->scheme == AUTH_BEARER)
		return bearer_login(r, best, ret_attempt, err);
	if (best && registry_has_token_for_host(r))
		return basic_make(r, &r->authorization, err);
	return registry_status_fail(r, "image", unauthorized, ret_attempt, err);
}
