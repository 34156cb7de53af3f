/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/account_token.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/http.h>

#include "gca_reply.h"
#include "json_secret.h"
#include "verifier_ops.h"

#define USER_AGENT             "teelaunch"
#define TRY_TIMEOUT_DEFAULT_MS 10000
#define ACCOUNT_MAX_BYTES      320 /* RFC 5321: 64 + 1 + 255 */
#define AUDIENCE_MAX_BYTES     (16 * 1024)
#define REPLY_MAX_BYTES        (1024 * 1024)

struct tl_account_client {
	struct tl_http *http;
	struct tl_cancel *cancel;
	char *url;
	char *ca_file;
	uint64_t try_timeout_ms;
};

static int fail_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "impersonation");
}

struct tl_account_client *tl_account_close(struct tl_account_client *c)
{
	if (!c)
		return NULL;
	tl_http_free(c->http);
	free(c->url);
	free(c->ca_file);
	free(c);
	return NULL;
}

int tl_account_open(const struct tl_account_options *o, struct tl_account_client **ret,
		    struct tl_error *err)
{
	const char *url = o->url ? o->url : TL_IAM_URL_DEFAULT;
	struct tl_account_client *c;
	int r = verifier_url_check(url, err);

	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return fail_memory(err);
	c->http = tl_http_new(USER_AGENT);
	c->cancel = o->cancel;
	c->url = strdup(url);
	c->ca_file = o->ca_file ? strdup(o->ca_file) : NULL;
	c->try_timeout_ms = o->try_timeout_ms ? o->try_timeout_ms : TRY_TIMEOUT_DEFAULT_MS;
	if (!c->http || !c->url || (o->ca_file && !c->ca_file)) {
		tl_account_close(c);
		return fail_memory(err);
	}
	*ret = c;
	return 0;
}

/* It becomes a part of the path. */
static bool is_account(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.+@";
	const char *at = strchr(s, '@');

	return strlen(s) <= ACCOUNT_MAX_BYTES && strspn(s, allowed) == strlen(s) && at && at > s &&
	       at[1] && !strchr(at + 1, '@') && !strstr(s, "..");
}

/* --- request ------------------------------------------------------------------------------ */

/* Valid UTF-8 as it is, every other byte as U+FFFD. */
static int text_of(const char *bytes, size_t n, struct tl_buf *ret)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0;) {
		size_t len = 1;

		while (len < 4 && len < n - i && !tl_utf8_is_valid(bytes + i, len))
			len++;
		if (tl_utf8_is_valid(bytes + i, len)) {
			r = tl_buf_append(ret, bytes + i, len);
			i += len;
		} else {
			r = tl_buf_append_str(ret, "\xef\xbf\xbd");
			i++;
		}
	}
	return r;
}

/* @ret  a new JSON text; NULL when out of memory, or if the audience is too long */
static char *body_make(const char *audience, size_t n)
{
	auto_buf struct tl_buf text = { 0 };
	json_auto_t *body = json_object();

	tl_buf_init(&text, 3 * AUDIENCE_MAX_BYTES);
	if (n > AUDIENCE_MAX_BYTES || text_of(audience, n, &text) < 0 ||
	    json_object_set_new(body, "audience", json_stringn(tl_buf_str(&text), text.len_bytes)) <
		    0 ||
	    json_object_set_new(body, "includeEmail", json_true()) < 0)
		return NULL;
	return json_dumps(body, JSON_COMPACT);
}

static int authorization_make(const struct tl_secret *bearer, struct tl_secret *ret)
{
	static const char scheme[] = "Bearer ";
	size_t n = sizeof(scheme) - 1 + bearer->len_bytes;
	char *value = malloc(n + 1);

	if (!value)
		return -ENOMEM;
	memcpy(value, scheme, sizeof(scheme) - 1);
	memcpy(value + sizeof(scheme) - 1, bearer->bytes, bearer->len_bytes);
	value[n] = '\0';
	tl_secret_consume(ret, value, n);
	return 0;
}

static int call_send(struct tl_account_client *c, const struct tl_secret *bearer,
		     const char *account, const char *body, struct tl_http_response *ret,
		     struct tl_error *err)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	auto_secret struct tl_secret authorization = { 0 };
	auto_free char *url = NULL;
	struct tl_http_request req = {
		.method = "POST",
		.headers = headers,
		.authorization = &authorization,
		.body = body,
		.body_bytes = strlen(body),
		.ca_file = c->ca_file,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), c->try_timeout_ms),
		.response_max_bytes = REPLY_MAX_BYTES,
		.cancel = c->cancel,
	};

	if (asprintf(&url, "%s/v1/projects/-/serviceAccounts/%s:generateIdToken", c->url, account) <
	    0) {
		url = NULL;
		return fail_memory(err);
	}
	req.url = url;
	if (authorization_make(bearer, &authorization) < 0)
		return fail_memory(err);
	return tl_http_perform(c->http, &req, ret, err);
}

/* --- reply -------------------------------------------------------------------------------- */

static bool is_jwt(const json_t *token)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";
	const char *s = json_string_value(token);
	size_t n = json_string_length(token);

	return s && n && n <= TL_ACCOUNT_TOKEN_MAX_BYTES && strspn(s, allowed) == n;
}

static int reply_take(const struct tl_http_response *res, const char *account,
		      struct tl_secret *ret, struct tl_error *err)
{
	json_auto_t *reply = NULL;
	struct tl_error inner = { 0 };
	const json_t *token;

	if (gca_reply_parse(res->status / 100 == 2 ? 200 : res->status, res->body.data,
			    res->body.len_bytes, &reply, &inner) < 0)
		return inner.class == TL_RETRY
			       ? tl_fail(err, TL_E_IMPERSONATE_BUSY, EAGAIN,
					 "service account '%s': %s", account, inner.msg)
			       : tl_fail(err, TL_E_IMPERSONATE, EACCES, "service account '%s': %s",
					 account, inner.msg);
	token = json_object_get(reply, "token");
	if (!is_jwt(token)) {
		json_secret_wipe(token);
		return tl_fail(err, TL_E_IMPERSONATE_BUSY, EBADMSG,
			       "service account '%s': the reply's 'token' is not a JWT of at most "
			       "%d bytes",
			       account, TL_ACCOUNT_TOKEN_MAX_BYTES);
	}
	return json_secret_take(token, ret) < 0 ? fail_memory(err) : 0;
}

int tl_account_token(struct tl_account_client *c, const struct tl_secret *bearer,
		     const char *account, const char *audience, size_t n, struct tl_secret *ret,
		     struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	auto_free char *body = NULL;
	int r;

	if (!is_account(account) || !n)
		return tl_fail(err, TL_E_IMPERSONATE, EINVAL,
			       "service account '%.100s': not an e-mail address%s", account,
			       n ? "" : ", or no audience");
	body = body_make(audience, n);
	if (!body)
		return fail_memory(err);
	r = call_send(c, bearer, account, body, &res, err);
	if (r < 0)
		return tl_wrap(err, r, "service account '%s'", account);
	return reply_take(&res, account, ret, err);
}
