/* SPDX-License-Identifier: Apache-2.0 */
#include "gca_reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <teelaunch/json_scan.h>
#include <teelaunch/str.h>

/* Longer than any word, digest prefix or part of a resource name; shorter than any token. */
#define TOKEN_RUN_MIN 40

static const char token_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789-_.+=";
static const char name_characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.:/";

void gca_words_redact(const char *words, char *ret, size_t cap_bytes)
{
	static const char mark[] = "[...]";
	size_t used = 0;

	while (*words && used + 1 < cap_bytes) {
		size_t run = strspn(words, token_characters);
		const char *from = run >= TOKEN_RUN_MIN ? mark : words;
		size_t n = run >= TOKEN_RUN_MIN ? sizeof(mark) - 1 : run ? run : 1;
		size_t room = cap_bytes - used - 1;

		memcpy(ret + used, from, n < room ? n : room);
		used += n < room ? n : room;
		words += run ? run : 1;
	}
	ret[used] = '\0';
}

/* NULL if it is not JSON, or more than a reply needs; a new reference. */
static json_t *reply_load(const void *body, size_t n)
{
	return n && !tl_json_scan(body, n, NULL) ? json_loadb(body, n, 0, NULL) : NULL;
}

/* google.rpc.Status in a JSON reply: {"error": {"code", "message", "status"}} */
static const char *member_of(const json_t *reply, const char *name)
{
	return json_string_value(json_object_get(json_object_get(reply, "error"), name));
}

static void words_of(const json_t *reply, const void *body, size_t n, char *ret, size_t cap_bytes)
{
	const char *message = member_of(reply, "message");
	char raw[4 * GCA_WORDS_MAX_BYTES];

	if (!message) {
		snprintf(raw, sizeof(raw), "%.*s", (int)(n < sizeof(raw) ? n : sizeof(raw) - 1),
			 n ? (const char *)body : "");
		message = raw;
	}
	gca_words_redact(message, ret, cap_bytes);
}

/* Of google.rpc.Code: a higher part of the exchange is to be begun anew. Other 409 are for good. */
static bool is_aborted(int status, const json_t *reply)
{
	const char *name = status == 409 ? member_of(reply, "status") : NULL;

	return name && strcmp(name, "ABORTED") == 0;
}

static enum tl_code code_of(int status)
{
	static const struct {
		int first, last;
		enum tl_code code;
	} rows[] = {
		{ 401, 401, TL_E_VERIFIER_CREDENTIALS }, { 403, 403, TL_E_VERIFIER_CREDENTIALS },
		{ 408, 408, TL_E_VERIFIER_UNAVAILABLE }, { 429, 429, TL_E_VERIFIER_BUSY },
		{ 500, 599, TL_E_VERIFIER_UNAVAILABLE },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (status >= rows[i].first && status <= rows[i].last)
			return rows[i].code;
	return TL_E_VERIFIER_REFUSED;
}

int gca_reply_parse(int status, const void *body, size_t n, json_t **ret, struct tl_error *err)
{
	json_auto_t *reply = reply_load(body, n);
	char words[GCA_WORDS_MAX_BYTES];

	if (status != 200) {
		enum tl_code code =
			is_aborted(status, reply) ? TL_E_VERIFIER_UNAVAILABLE : code_of(status);

		words_of(reply, body, n, words, sizeof(words));
		return tl_fail(err, code,
			       tl_catalogue_find(code)->class == TL_RETRY ? EAGAIN : EACCES,
			       "status %d%s%s", status, *words ? ": " : "", words);
	}
	if (!json_is_object(reply))
		return tl_fail(err, TL_E_VERIFIER_RESPONSE, EBADMSG,
			       "the reply is not a JSON object, or is too large a one");
	*ret = json_incref(reply);
	return 0;
}

int64_t gca_date_s(const char *value)
{
	struct tm date = { 0 };
	const char *end;
	int64_t at_s;

	if (tl_str_is_empty(value))
		return 0;
	/* IMF-fixdate, RFC 9110 section 5.6.7; the C locale is never left */
	end = strptime(value, "%a, %d %b %Y %H:%M:%S GMT", &date);
	if (!end || *end)
		return 0;
	at_s = timegm(&date);
	return at_s > 0 ? at_s : 0;
}

uint64_t gca_retry_after_ms(const char *value, int64_t now_s)
{
	uint64_t s;
	int64_t at_s;

	if (tl_str_is_empty(value))
		return 0;
	if (tl_str_parse_u64(value, GCA_RETRY_AFTER_MAX_MS / 1000, &s) == 0)
		return s * 1000;
	at_s = gca_date_s(value);
	if (at_s <= now_s)
		return 0;
	s = (uint64_t)(at_s - now_s) * 1000;
	return s < GCA_RETRY_AFTER_MAX_MS ? s : GCA_RETRY_AFTER_MAX_MS;
}

bool gca_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	return n <= GCA_NAME_MAX_BYTES && strspn(name, name_characters) == n &&
	       tl_str_starts_with(name, "projects/") && !strstr(name, "..") &&
	       !strstr(name, "//") && name[n - 1] != '/';
}
