/* SPDX-License-Identifier: Apache-2.0 */
#include "http_private.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#define CONNECT_TIMEOUT_DEFAULT_MS 30000
/* Few, large reads: layers are hundreds of megabytes. */
#define RECEIVE_BUFFER_BYTES (256 * 1024)

void tl_http_headers_freep(struct curl_slist **list)
{
	for (struct curl_slist *l = *list; l; l = l->next)
		explicit_bzero(l->data, strlen(l->data));
	curl_slist_free_all(*list);
}
int tl_http_fail_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "HTTP request");
}

/* --- callbacks: what arrives ------------------------------------------------------------- */

static size_t stop_at(struct tl_http_exchange *x, enum tl_http_stop why)
{
	x->stop = why;
	return 0; /* less than was offered: curl ends the transfer */
}

static bool is_line(const char *line, size_t len, const char *start)
{
	size_t n = strlen(start);

	return len >= n && memcmp(line, start, n) == 0;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct tl_http_exchange *x = ctx;
	const size_t len = size * n;

	x->header_bytes += len;
	if (x->header_bytes > TL_HTTP_HEADERS_MAX)
		return stop_at(x, STOP_HEADERS_TOO_LARGE);
	if (is_line(line, len, "HTTP/"))
		x->are_headers_complete = false; /* what came was interim, as "103 Early Hints" */
	else if (is_line(line, len, "\r") || is_line(line, len, "\n"))
		x->are_headers_complete = true; /* and stays so: what follows are trailers */
	return len;
}

static size_t on_error_body(struct tl_http_exchange *x, const char *data, size_t n)
{
	size_t room = TL_HTTP_ERROR_BODY_MAX - x->res->body.len_bytes;

	if (tl_buf_append(&x->res->body, data, n < room ? n : room) < 0)
		return stop_at(x, STOP_NO_MEMORY);
	return n <= room ? n : stop_at(x, STOP_ERROR_BODY_CUT);
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct tl_http_exchange *x = ctx;
	size_t n = size * count;
	curl_off_t announced = -1;
	long status = 0;

	curl_easy_getinfo(x->http->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status / 100 != 2)
		return on_error_body(x, data, n);
	curl_easy_getinfo(x->http->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
	x->body_bytes += n;
	if (x->body_bytes > x->req->response_max_bytes ||
	    (announced > 0 && (uint64_t)announced > x->req->response_max_bytes))
		return stop_at(x, STOP_BODY_TOO_LARGE);
	if (x->req->sink) {
		x->sink_r = x->req->sink(x->req->sink_ctx, (int)status, data, n);
		return x->sink_r ? stop_at(x, STOP_SINK) : n;
	}
	return tl_buf_append(&x->res->body, data, n) < 0 ? stop_at(x, STOP_NO_MEMORY) : n;
}

/* --- the request ------------------------------------------------------------------------- */

static bool is_header_value(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] < 0x20 && s[i] != '\t')
			return false;
	return true;
}

static int header_add(struct curl_slist **list, const char *line)
{
	struct curl_slist *grown = curl_slist_append(*list, line);

	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

static int header_add_authorization(struct curl_slist **list, const char *name,
				    const struct tl_secret *value)
{
	struct tl_buf line;
	int r;

	tl_buf_init(&line, TL_HTTP_HEADERS_MAX);
	r = tl_buf_printf(&line, "%s: ", name ? name : "Authorization");
	if (r == 0)
		r = tl_buf_append(&line, value->bytes, value->len_bytes);
	if (r == 0)
		r = header_add(list, tl_buf_str(&line));
	tl_buf_done(&line);
	return r;
}

int tl_http_headers_build(const struct tl_http_exchange *x, struct curl_slist **list,
			  struct tl_error *err)
{
	const struct tl_secret *secret = x->is_authorization_dropped ? NULL : x->req->authorization;
	int r = header_add(list, "Expect:"); /* never wait for "100 Continue" */

	for (const char *const *h = x->req->headers; r == 0 && h && *h; h++) {
		if (!is_header_value(*h, strlen(*h)))
			return tl_fail(err, TL_E_NET_URL, EINVAL, "control character in a header");
		r = header_add(list, *h);
	}
	if (r == 0 && secret && !tl_secret_is_empty(secret)) {
		if (!is_header_value(secret->bytes, secret->len_bytes))
			return tl_fail(err, TL_E_NET_URL, EINVAL,
				       "control character in the credential for '%s'", x->origin);
		r = header_add_authorization(list, x->req->authorization_name, secret);
	}
	return r < 0 ? tl_http_fail_memory(err) : 0;
}

struct option_long {
	CURLoption option;
	long value;
};

struct option_pointer {
	CURLoption option;
	const void *value;
};

/* What no request can change. */
static const struct option_long options_fixed[] = {
	{ CURLOPT_SSL_VERIFYPEER, 1 },
	{ CURLOPT_SSL_VERIFYHOST, 2 },
	{ CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2 },
	{ CURLOPT_NETRC, CURL_NETRC_IGNORED },
	{ CURLOPT_FOLLOWLOCATION, 0 },
	{ CURLOPT_HTTP_CONTENT_DECODING, 0 },
	{ CURLOPT_NOSIGNAL, 1 },
	{ CURLOPT_QUICK_EXIT, 1 }, /* a name server that hangs must not hold up a cancellation */
	{ CURLOPT_TCP_KEEPALIVE, 1 },
	{ CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_BYTES },
};

static CURLcode set_longs(CURL *e, const struct option_long *o, size_t n)
{
	CURLcode c = CURLE_OK;

	for (size_t i = 0; i < n && c == CURLE_OK; i++)
		c = curl_easy_setopt(e, o[i].option, o[i].value);
	return c;
}

static CURLcode set_pointers(CURL *e, const struct option_pointer *o, size_t n)
{
	CURLcode c = CURLE_OK;

	for (size_t i = 0; i < n && c == CURLE_OK; i++)
		c = curl_easy_setopt(e, o[i].option, o[i].value);
	return c;
}

static CURLcode set_method(CURL *e, const struct tl_http_request *req)
{
	CURLcode c = CURLE_OK;

	if (strcmp(req->method, "HEAD") == 0)
		return curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	if (req->body || strcmp(req->method, "POST") == 0) {
		c = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE,
				     (curl_off_t)(req->body ? req->body_bytes : 0));
		if (!c)
			c = curl_easy_setopt(e, CURLOPT_POSTFIELDS, req->body ? req->body : "");
	}
	if (!c && strcmp(req->method, "GET") != 0 && strcmp(req->method, "POST") != 0)
		c = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
	return c;
}

static CURLcode set_trust(CURL *e, const char *ca_file, const char *tls12_ciphers)
{
	CURLcode c = CURLE_OK;

	if (tls12_ciphers)
		c = curl_easy_setopt(e, CURLOPT_SSL_CIPHER_LIST, tls12_ciphers);
	if (c)
		return c;
	if (ca_file)
		c = curl_easy_setopt(e, CURLOPT_CAINFO, ca_file);
	/* Else the system's folder of roots would be trusted beside the given bundle. */
	if (ca_file && !c)
		c = curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	return c;
}

static CURLcode set_transfer(struct tl_http_exchange *x, struct curl_slist *headers)
{
	const uint64_t asked_ms = x->req->connect_timeout_ms;
	const bool is_default = !asked_ms || asked_ms > CONNECT_TIMEOUT_DEFAULT_MS;
	const struct option_long longs[] = {
		{ CURLOPT_CONNECTTIMEOUT_MS,
		  is_default ? CONNECT_TIMEOUT_DEFAULT_MS : (long)asked_ms },
	};
	const struct option_pointer pointers[] = {
		{ CURLOPT_CURLU, x->url },
		{ CURLOPT_PROTOCOLS_STR, x->req->is_plain_allowed ? "http,https" : "https" },
		{ CURLOPT_PROXY, "" }, /* no proxy, whatever the environment says */
		{ CURLOPT_HTTPHEADER, headers },
		{ CURLOPT_USERAGENT, x->http->user_agent },
		{ CURLOPT_ERRORBUFFER, x->reason },
		{ CURLOPT_HEADERDATA, x },
		{ CURLOPT_WRITEDATA, x },
	};
	CURL *e = x->http->easy;
	CURLcode c = set_longs(e, options_fixed, TL_ARRAY_SIZE(options_fixed));

	if (!c)
		c = set_longs(e, longs, TL_ARRAY_SIZE(longs));
	if (!c)
		c = set_pointers(e, pointers, TL_ARRAY_SIZE(pointers));
	if (!c)
		c = curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	return c ? c : curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
}

/* A transfer that failed can leave its receive buffer behind, and libcurl (7.88) then refuses
 * CURLOPT_BUFFERSIZE for ever. Connections and names belong to the multi handle and stay. */
static int easy_renew(struct tl_http *h, struct tl_error *err)
{
	CURL *fresh;

	if (!h->is_easy_spent) {
		curl_easy_reset(h->easy);
		return 0;
	}
	fresh = curl_easy_init();
	if (!fresh)
		return tl_http_fail_memory(err);
	curl_easy_cleanup(h->easy);
	h->easy = fresh;
	h->is_easy_spent = false;
	return 0;
}

int tl_http_set_up(struct tl_http_exchange *x, struct curl_slist *headers, struct tl_error *err)
{
	CURL *e;
	CURLcode c;
	int r;

	x->stop = STOP_NONE;
	x->header_bytes = 0;
	x->are_headers_complete = false;
	x->body_bytes = 0;
	x->reason[0] = '\0';
	tl_buf_reset(&x->res->body);
	r = easy_renew(x->http, err);
	if (r < 0)
		return r;
	e = x->http->easy;
	c = set_transfer(x, headers);
	if (!c)
		c = set_trust(e, x->req->ca_file, x->req->tls12_ciphers);
	if (!c)
		c = set_method(e, x->req);
	if (c == CURLE_OUT_OF_MEMORY)
		return tl_http_fail_memory(err);
	return c ? tl_fail(err, TL_E_INTERNAL, EINVAL, "libcurl refuses an option: %s",
			   curl_easy_strerror(c))
		 : 0;
}
