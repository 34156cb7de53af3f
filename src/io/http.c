/* SPDX-License-Identifier: Apache-2.0 */
#include "http_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

/* curl_global_init() is thread-safe and counts its callers since then: no "once" of our own. */
_Static_assert(LIBCURL_VERSION_NUM >= 0x075700, "libcurl 7.87 or later");

#define CONNECTIONS_KEPT_MAX 8
/* Wake up now and then even if nothing happens: the clock that deadlines use counts suspended
 * time, poll() does not. */
#define POLL_MAX_MS 1000

static void exchange_done(struct tl_http_exchange *x)
{
	curl_url_cleanup(x->url);
	free(x->origin);
}
#define auto_exchange __attribute__((cleanup(exchange_done)))

static void curl_freep(char **p)
{
	curl_free(*p);
}
#define auto_curl_text __attribute__((cleanup(curl_freep)))

struct tl_http *tl_http_new(const char *user_agent)
{
	struct tl_http *h;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	h = calloc(1, sizeof(*h));
	if (!h) {
		curl_global_cleanup();
		return NULL;
	}
	h->multi = curl_multi_init();
	h->easy = curl_easy_init();
	h->user_agent = strdup(user_agent);
	if (!h->multi || !h->easy || !h->user_agent)
		return tl_http_free(h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT_MAX);
	return h;
}

struct tl_http *tl_http_free(struct tl_http *h)
{
	if (!h)
		return NULL;
	curl_easy_cleanup(h->easy);
	curl_multi_cleanup(h->multi);
	free(h->user_agent);
	free(h);
	curl_global_cleanup();
	return NULL;
}

void tl_http_response_done(struct tl_http_response *r)
{
	if (!r)
		return;
	tl_buf_done(&r->body);
	tl_kvs_done(&r->headers);
	free(r->final_url);
	*r = (struct tl_http_response){ 0 };
}

/* --- URLs ------------------------------------------------------------------------------- */

static bool url_has_part(CURLU *url, CURLUPart part)
{
	auto_curl_text char *text = NULL;

	return curl_url_get(url, part, &text, 0) == CURLUE_OK;
}

/* "https://host:443", lower case: what decides who may see the Authorization header. */
static int url_origin(CURLU *url, char **ret)
{
	auto_curl_text char *scheme = NULL;
	auto_curl_text char *host = NULL;
	auto_curl_text char *port = NULL;
	char *origin;

	if (curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(url, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		return -EINVAL;
	if (asprintf(&origin, "%s://%s:%s", scheme, host, port) < 0)
		return -ENOMEM;
	for (char *c = origin; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	*ret = origin;
	return 0;
}

/* Take x->url as the next hop, if the rules allow it. */
static int hop_accept(struct tl_http_exchange *x, struct tl_error *err)
{
	auto_free char *origin = NULL;
	int r = url_origin(x->url, &origin);

	if (r == -ENOMEM)
		return tl_http_fail_memory(err);
	if (r < 0 || url_has_part(x->url, CURLUPART_USER) ||
	    url_has_part(x->url, CURLUPART_PASSWORD))
		return tl_fail(err, TL_E_NET_URL, EINVAL,
			       "URL without a host, or with a user or password in it");
	if (!tl_str_starts_with(origin, "https://")) {
		bool is_downgrade = x->origin && tl_str_starts_with(x->origin, "https://");

		if (!tl_str_starts_with(origin, "http://"))
			return tl_fail(err, TL_E_NET_URL, EPROTONOSUPPORT,
				       "'%s': only https can be used", origin);
		if (is_downgrade || !x->req->is_plain_allowed)
			return tl_fail(err, TL_E_NET_PLAIN, EPERM, "'%s'%s%s: TLS is required",
				       origin, is_downgrade ? ", redirected from " : "",
				       is_downgrade ? x->origin : "");
	}
	/* Once lost, it stays lost: a foreign host could send it back to a place of its choice. */
	if (x->origin && strcmp(origin, x->origin) != 0)
		x->is_authorization_dropped = true;
	free(x->origin);
	x->origin = take_ptr(origin);
	return 0;
}

/* libcurl would take "https:///x" for host x; nobody else does. */
static bool has_authority(const char *url)
{
	const char *colon = strchr(url, ':');

	return colon && tl_str_starts_with(colon, "://") && colon[3] && colon[3] != '/';
}

static int url_open(struct tl_http_exchange *x, struct tl_error *err)
{
	if (!has_authority(x->req->url))
		return tl_fail(err, TL_E_NET_URL, EINVAL, "URL without scheme and host");
	x->url = curl_url();
	if (!x->url)
		return tl_http_fail_memory(err);
	if (curl_url_set(x->url, CURLUPART_URL, x->req->url, 0) != CURLUE_OK)
		return tl_fail(err, TL_E_NET_URL, EINVAL, "URL can't be parsed");
	return hop_accept(x, err);
}

/* --- one hop ----------------------------------------------------------------------------- */

static const struct {
	CURLcode curl;
	enum tl_code code;
	int errnum;
	const char *text;
} failures[] = {
	{ CURLE_COULDNT_RESOLVE_HOST, TL_E_NET_RESOLVE, EADDRNOTAVAIL,
	  "the name can't be resolved" },
	{ CURLE_COULDNT_CONNECT, TL_E_NET_CONNECT, ECONNREFUSED, "can't connect" },
	{ CURLE_OPERATION_TIMEDOUT, TL_E_NET_TIMEOUT, ETIMEDOUT, "can't connect in time" },
	{ CURLE_PEER_FAILED_VERIFICATION, TL_E_NET_TLS_UNTRUSTED, EKEYREJECTED, "not trusted" },
	{ CURLE_SSL_CONNECT_ERROR, TL_E_NET_TLS, EPROTO, "TLS handshake failed" },
	{ CURLE_SSL_CIPHER, TL_E_NET_TLS, EPROTO, "TLS handshake failed" },
	{ CURLE_SSL_ISSUER_ERROR, TL_E_NET_TLS_UNTRUSTED, EKEYREJECTED, "not trusted" },
	{ CURLE_SSL_CACERT_BADFILE, TL_E_IO, EINVAL,
	  "the file of trusted certificates can't be used" },
	{ CURLE_URL_MALFORMAT, TL_E_NET_URL, EINVAL, "the URL can't be used" },
	{ CURLE_OUT_OF_MEMORY, TL_E_NO_MEMORY, ENOMEM, "out of memory" },
};

/* curl's own words help with connections and certificates; elsewhere they could quote a URL. */
static bool is_reason_wanted(enum tl_code code)
{
	return code == TL_E_NET_CONNECT || code == TL_E_NET_TLS || code == TL_E_NET_TLS_UNTRUSTED ||
	       code == TL_E_IO;
}

static int fail_headers(const struct tl_http_exchange *x, struct tl_error *err)
{
	return tl_fail(err, TL_E_NET_TOO_LARGE, EFBIG,
		       "'%s': response headers are larger than %d bytes", x->origin,
		       TL_HTTP_HEADERS_MAX);
}

/* A header line above libcurl's own limit looks like lack of memory; it never gets to us. */
static bool is_endless_header(const struct tl_http_exchange *x, CURLcode c)
{
	curl_off_t connected = 0;

	curl_easy_getinfo(x->http->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
	return c == CURLE_OUT_OF_MEMORY && connected && !x->are_headers_complete;
}

static int fail_curl(const struct tl_http_exchange *x, CURLcode c, struct tl_error *err)
{
	if (is_endless_header(x, c))
		return fail_headers(x, err);
	for (size_t i = 0; i < TL_ARRAY_SIZE(failures); i++) {
		bool has_reason = is_reason_wanted(failures[i].code) && x->reason[0];

		if (failures[i].curl == c)
			return tl_fail(err, failures[i].code, failures[i].errnum, "'%s': %s%s%s",
				       x->origin, failures[i].text, has_reason ? ": " : "",
				       has_reason ? x->reason : "");
	}
	return tl_fail(err, TL_E_NET_RESET, ECONNRESET,
		       "'%s': connection ended before the response was complete (%s)", x->origin,
		       curl_easy_strerror(c));
}

static int hop_result(const struct tl_http_exchange *x, CURLcode c, struct tl_error *err)
{
	switch (x->stop) {
	case STOP_NONE:
		if (c == CURLE_OK && !x->are_headers_complete)
			c = CURLE_GOT_NOTHING;
		return c == CURLE_OK ? 0 : fail_curl(x, c, err);
	case STOP_ERROR_BODY_CUT:
		return 0;
	case STOP_SINK:
		return x->sink_r;
	case STOP_NO_MEMORY:
		return tl_http_fail_memory(err);
	case STOP_HEADERS_TOO_LARGE:
		return fail_headers(x, err);
	case STOP_BODY_TOO_LARGE:
		return tl_fail(err, TL_E_NET_TOO_LARGE, EFBIG,
			       "'%s': response is larger than %zu bytes", x->origin,
			       x->req->response_max_bytes);
	}
	return tl_fail(err, TL_E_INTERNAL, EINVAL, "HTTP transfer");
}

static bool take_result(CURLM *multi, CURLcode *ret)
{
	int left;
	const CURLMsg *m;

	while ((m = curl_multi_info_read(multi, &left)))
		if (m->msg == CURLMSG_DONE) {
			*ret = m->data.result;
			return true;
		}
	return false;
}

/* Grows whenever a byte went out or came in; 0 until there is a connection. */
static uint64_t progress(CURL *e)
{
	curl_off_t connected = 0, up = 0, down = 0;
	long headers = 0, request = 0;

	curl_easy_getinfo(e, CURLINFO_PRETRANSFER_TIME_T, &connected);
	if (!connected)
		return 0;
	curl_easy_getinfo(e, CURLINFO_SIZE_UPLOAD_T, &up);
	curl_easy_getinfo(e, CURLINFO_SIZE_DOWNLOAD_T, &down);
	curl_easy_getinfo(e, CURLINFO_HEADER_SIZE, &headers);
	curl_easy_getinfo(e, CURLINFO_REQUEST_SIZE, &request);
	return 1 + (uint64_t)up + (uint64_t)down + (uint64_t)headers + (uint64_t)request;
}

/* Still allowed to go on? Sets how long the next wait may last. */
static int check_limits(const struct tl_http_exchange *x, uint64_t quiet_since_ms, uint64_t now_ms,
			int *ret_wait_ms, struct tl_error *err)
{
	uint64_t left_ms = tl_deadline_left_ms(x->req->deadline, now_ms);
	uint64_t quiet_ms = now_ms - quiet_since_ms;

	if (tl_cancel_is_requested(x->req->cancel))
		return tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "'%s': request cancelled",
			       x->origin);
	if (!left_ms)
		return tl_fail(err, TL_E_NET_TIMEOUT, ETIMEDOUT,
			       "'%s': no complete response before the deadline", x->origin);
	if (x->req->stall_timeout_ms) {
		if (quiet_ms >= x->req->stall_timeout_ms)
			return tl_fail(err, TL_E_NET_TIMEOUT, ETIMEDOUT,
				       "'%s': no byte for %llu ms", x->origin,
				       (unsigned long long)quiet_ms);
		if (x->req->stall_timeout_ms - quiet_ms < left_ms)
			left_ms = x->req->stall_timeout_ms - quiet_ms;
	}
	*ret_wait_ms = left_ms < POLL_MAX_MS ? (int)left_ms : POLL_MAX_MS;
	return 0;
}

static int hop_drive(struct tl_http_exchange *x, struct tl_error *err)
{
	struct curl_waitfd wake = { .fd = tl_cancel_fd(x->req->cancel),
				    .events = CURL_WAIT_POLLIN };
	uint64_t quiet_since_ms = tl_clock_mono_ms();
	uint64_t seen = 0;
	CURLcode result;

	for (;;) {
		uint64_t now_ms, moved;
		int running, wait_ms, r;

		if (curl_multi_perform(x->http->multi, &running) != CURLM_OK)
			return tl_fail(err, TL_E_INTERNAL, EIO, "libcurl transfer");
		if (take_result(x->http->multi, &result))
			return hop_result(x, result, err);
		now_ms = tl_clock_mono_ms();
		moved = progress(x->http->easy);
		if (!moved || moved != seen)
			quiet_since_ms = now_ms;
		seen = moved;
		r = check_limits(x, quiet_since_ms, now_ms, &wait_ms, err);
		if (r < 0)
			return r;
		if (curl_multi_poll(x->http->multi, &wake, wake.fd >= 0, wait_ms, NULL) != CURLM_OK)
			return tl_fail(err, TL_E_INTERNAL, EIO, "libcurl poll");
	}
}

static int hop_run(struct tl_http_exchange *x, struct tl_error *err)
{
	auto_http_headers struct curl_slist *headers = NULL;
	uint64_t now_ms = tl_clock_mono_ms();
	long status = 0;
	int unused, r;

	r = check_limits(x, now_ms, now_ms, &unused, err);
	if (r == 0)
		r = tl_http_headers_build(x, &headers, err);
	if (r == 0)
		r = tl_http_set_up(x, headers, err);
	if (r < 0)
		return r;
	if (curl_multi_add_handle(x->http->multi, x->http->easy) != CURLM_OK)
		return tl_fail(err, TL_E_INTERNAL, EIO, "libcurl start");
	r = hop_drive(x, err);
	curl_multi_remove_handle(x->http->multi, x->http->easy);
	curl_easy_setopt(x->http->easy, CURLOPT_HTTPHEADER, NULL);
	x->http->is_easy_spent = r != 0;
	curl_easy_getinfo(x->http->easy, CURLINFO_RESPONSE_CODE, &status);
	x->status = (int)status;
	return r;
}

/* --- all hops ---------------------------------------------------------------------------- */

static bool is_redirect(const struct tl_http_exchange *x)
{
	const int s = x->status;
	const char *method = x->req->method;

	return (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
	       x->req->redirects_max && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0);
}

/* Point x->url at the Location. Returns 1 if there is none: the response stands as it is. */
static int redirect_follow(struct tl_http_exchange *x, struct tl_error *err)
{
	auto_free char *from = strdup(x->origin);
	struct curl_header *location;
	int r;

	if (!from)
		return tl_http_fail_memory(err);
	if (curl_easy_header(x->http->easy, "location", 0, CURLH_HEADER, -1, &location) !=
	    CURLHE_OK)
		return 1;
	if (curl_url_set(x->url, CURLUPART_URL, location->value, 0) != CURLUE_OK)
		return tl_fail(err, TL_E_NET_REDIRECT, EINVAL, "'%s': Location can't be parsed",
			       from);
	r = hop_accept(x, err);
	return tl_wrap(err, r, "redirect by '%s'", from);
}

static int response_finish(struct tl_http_exchange *x, struct tl_error *err)
{
	auto_curl_text char *url = NULL;
	struct curl_header *h = NULL;

	while ((h = curl_easy_nextheader(x->http->easy, CURLH_HEADER, -1, h))) {
		auto_free char *name = strdup(h->name);

		if (!name)
			return tl_http_fail_memory(err);
		for (char *c = name; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		if (tl_kvs_add(&x->res->headers, name, h->value) < 0)
			return tl_http_fail_memory(err);
	}
	if (curl_url_get(x->url, CURLUPART_URL, &url, 0) != CURLUE_OK)
		return tl_http_fail_memory(err);
	x->res->final_url = strdup(url);
	if (!x->res->final_url)
		return tl_http_fail_memory(err);
	x->res->status = x->status;
	return 0;
}

static int follow_all(struct tl_http_exchange *x, struct tl_error *err)
{
	for (unsigned int hops = 0;; hops++) {
		int r = hop_run(x, err);

		if (r)
			return r;
		if (!is_redirect(x))
			break;
		if (hops == x->req->redirects_max)
			return tl_fail(err, TL_E_NET_REDIRECT, ELOOP,
				       "'%s': more than %u redirects", x->origin,
				       x->req->redirects_max);
		r = redirect_follow(x, err);
		if (r < 0)
			return r;
		if (r > 0)
			break;
	}
	return response_finish(x, err);
}

int tl_http_perform(struct tl_http *h, const struct tl_http_request *req,
		    struct tl_http_response *ret, struct tl_error *err)
{
	auto_http_response struct tl_http_response res = { 0 };
	auto_exchange struct tl_http_exchange x = { .http = h, .req = req, .res = &res };
	int r;

	tl_buf_init(&res.body, req->response_max_bytes > TL_HTTP_ERROR_BODY_MAX
				       ? req->response_max_bytes
				       : TL_HTTP_ERROR_BODY_MAX);
	r = url_open(&x, err);
	if (r == 0)
		r = follow_all(&x, err);
	if (r)
		return r;
	*ret = res;
	res = (struct tl_http_response){ 0 };
	return 0;
}
