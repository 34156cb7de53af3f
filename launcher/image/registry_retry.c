/* SPDX-License-Identifier: Apache-2.0 */
/* What a status means, and how long to wait before the next attempt. */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/json_scan.h>

#include "registry_private.h"

#define ERROR_CODE_BYTES_MAX 40

static const struct {
	int from, to;
	enum tl_code code;
	int errnum;
	bool is_retryable;
	const char *text;
} statuses[] = {
	{ 401, 401, TL_E_REGISTRY_DENIED, EACCES, false, "refuses access" },
	{ 403, 403, TL_E_REGISTRY_DENIED, EACCES, false, "refuses access" },
	{ 404, 404, TL_E_IMAGE_NOT_FOUND, ENOENT, false, "doesn't have it" },
	{ 408, 408, TL_E_REGISTRY_SERVER, ETIMEDOUT, true, "did not get the request in time" },
	{ 416, 416, TL_E_LAYER_SIZE, EMSGSIZE, false, "has fewer bytes than the manifest states" },
	{ 429, 429, TL_E_REGISTRY_BUSY, EBUSY, true, "limits requests" },
	{ 500, 599, TL_E_REGISTRY_SERVER, EREMOTEIO, true, "fails" },
	{ 0, 999, TL_E_REGISTRY_REQUEST, EPROTO, false, "answers unexpectedly" },
};

/*
 * The code of the first error in the body (OCI distribution specification 1.1, "Error codes"). Not
 * its message: that may quote the request, and so a credential.
 */
static void error_code_read(const struct tl_http_response *response, char ret[ERROR_CODE_BYTES_MAX])
{
	const char *text = (const char *)response->body.data;
	size_t n = response->body.len_bytes;
	json_auto_t *root = tl_json_scan(text, n, NULL)
				    ? NULL
				    : json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
	const json_t *first = json_array_get(json_object_get(root, "errors"), 0);
	const char *code = json_string_value(json_object_get(first, "code"));

	ret[0] = '\0';
	if (!code || strlen(code) >= ERROR_CODE_BYTES_MAX - 1 ||
	    code[strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_")])
		return;
	snprintf(ret, ERROR_CODE_BYTES_MAX, " %s", code);
}

/* RFC 9110 section 10.2.3: seconds, or a date. 0 if absent or unreadable. */
static uint64_t retry_after_ms(const struct tl_registry *r, const struct tl_http_response *response)
{
	const char *text = tl_kvs_get(&response->headers, "retry-after");
	uint64_t seconds = 0, limit_s = r->limits.retry_after_max_ms / 1000;
	struct tm tm = { 0 };

	if (!text)
		return 0;
	if (tl_str_parse_u64(text, UINT64_MAX, &seconds) < 0) {
		const char *end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		int64_t left = end && !*end ? timegm(&tm) - tl_clock_real_s() : 0;

		seconds = left > 0 ? (uint64_t)left : 0;
	}
	return (seconds < limit_s ? seconds : limit_s) * 1000;
}

static const char *credential_hint(const struct tl_registry *r)
{
	if (registry_has_token_for_host(r))
		return " with the service account's token";
	if (r->host.is_token_offered)
		return "; there was no access token, so only public images can be pulled";
	return "; no credential is sent to this registry, so only public images can be pulled";
}

int registry_status_fail(const struct tl_registry *r, const char *what,
			 const struct tl_http_response *response,
			 struct registry_attempt *ret_attempt, struct tl_error *err)
{
	char error_code[ERROR_CODE_BYTES_MAX];
	size_t i = 0;

	error_code_read(response, error_code);
	while (i + 1 < TL_ARRAY_SIZE(statuses) &&
	       (response->status < statuses[i].from || response->status > statuses[i].to))
		i++;
	*ret_attempt = (struct registry_attempt){
		.is_retryable = statuses[i].is_retryable,
		.retry_after_ms = statuses[i].is_retryable ? retry_after_ms(r, response) : 0,
	};
	return tl_fail(err, statuses[i].code, statuses[i].errnum,
		       "registry '%s', %s of '%s': it %s (HTTP %d%s)%s", r->host.authority, what,
		       r->path, statuses[i].text, response->status, error_code,
		       statuses[i].code == TL_E_REGISTRY_DENIED ? credential_hint(r) : "");
}

static int interrupted(struct tl_error *err)
{
	return tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "interrupted while waiting to try again");
}

int registry_backoff(const struct tl_registry *r, unsigned int attempt,
		     const struct registry_attempt *last, struct tl_deadline deadline,
		     struct tl_error *err)
{
	struct pollfd wake = { .fd = tl_cancel_fd(r->cancel), .events = POLLIN };
	uint64_t now_ms = tl_clock_mono_ms(), wait_ms;

	if (tl_cancel_is_requested(r->cancel))
		return interrupted(err);
	if (!tl_backoff_next(&r->limits.backoff, attempt, tl_clock_random(), &wait_ms))
		return -ETIME;
	if (last->retry_after_ms)
		/* Not all clients at the very same moment. */
		wait_ms = last->retry_after_ms + wait_ms % (r->limits.backoff.base_ms + 1);
	deadline = tl_deadline_min(deadline, r->deadline);
	if (wait_ms >= tl_deadline_left_ms(deadline, now_ms))
		return -ETIME;
	/* A signal only makes the wait shorter. */
	(void)poll(&wake, 1, (int)wait_ms);
	return tl_cancel_is_requested(r->cancel) ? interrupted(err) : 0;
}
