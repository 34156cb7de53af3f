/* SPDX-License-Identifier: Apache-2.0 */
/* One attempt to stream a blob, from an offset on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "registry_private.h"

struct reading {
	int (*sink)(void *ctx, const void *data, size_t n);
	void *sink_ctx;
	uint64_t offset_bytes; /* where reading began */
	uint64_t skip_bytes;   /* of a full response to a request for the rest */
	uint64_t left_bytes;
	bool has_begun;
	struct tl_error *err;
	bool is_sink_failed;
};

static int take(void *ctx, int status, const void *data, size_t n)
{
	struct reading *g = ctx;
	const char *bytes = data;
	size_t skip;
	int e;

	if (!g->has_begun) {
		/* RFC 9110 section 14.2: a server may ignore Range and send everything. */
		g->skip_bytes = status == 206 ? 0 : g->offset_bytes;
		g->has_begun = true;
	}
	skip = g->skip_bytes < n ? (size_t)g->skip_bytes : n;
	g->skip_bytes -= skip;
	n -= skip;
	if (!n)
		return 0;
	if (n > g->left_bytes)
		return tl_fail(g->err, TL_E_LAYER_SIZE, EMSGSIZE,
			       "the registry sends more bytes than the manifest states");
	e = g->sink(g->sink_ctx, bytes + skip, n);
	if (e < 0) {
		g->is_sink_failed = true;
		return e;
	}
	g->left_bytes -= n;
	return 0;
}

/* A response that ended as HTTP wants it, but before the blob did. */
static int short_fail(const struct reading *g, const struct tl_descriptor *d,
		      const struct tl_http_response *response, struct registry_attempt *ret,
		      struct tl_error *err)
{
	bool is_length_stated = tl_kvs_get(&response->headers, "content-length") != NULL;

	/* A partial response may be shorter than asked for, and one that ends with the connection
	 * can't be told from a broken one: both may go on from here. */
	ret->is_retryable = response->status == 206 || !is_length_stated;
	if (ret->is_retryable)
		return tl_fail(err, TL_E_NET_RESET, ECONNRESET,
			       "the response ended %llu bytes before the end of the layer",
			       (unsigned long long)g->left_bytes);
	return tl_fail(err, TL_E_LAYER_SIZE, EMSGSIZE,
		       "the registry's blob ends %llu bytes before the %llu of the manifest",
		       (unsigned long long)g->left_bytes, (unsigned long long)d->size_bytes);
}

static int read_response(struct tl_registry *r, struct registry_request *q, struct reading *g,
			 const struct tl_descriptor *d, struct registry_attempt *ret,
			 struct tl_error *err)
{
	auto_http_response struct tl_http_response response = { 0 };
	int e = registry_send_authorized(r, q, "a layer", &response, ret, err);

	if (e < 0) {
		if (g->is_sink_failed || err->code == TL_E_LAYER_SIZE)
			*ret = (struct registry_attempt){ 0 };
		return e;
	}
	return g->left_bytes ? short_fail(g, d, &response, ret, err) : 0;
}

int registry_read_blob(struct tl_registry *r, const struct tl_descriptor *d, uint64_t offset_bytes,
		       int (*sink)(void *ctx, const void *data, size_t n), void *ctx,
		       struct registry_attempt *ret_attempt, struct tl_error *err)
{
	auto_free char *url = NULL;
	auto_free char *range = NULL;
	struct tl_error own = { 0 };
	struct reading g = { .sink = sink,
			     .sink_ctx = ctx,
			     .offset_bytes = offset_bytes,
			     .left_bytes = d->size_bytes - offset_bytes,
			     .err = err ? err : &own };

	*ret_attempt = (struct registry_attempt){ 0 };
	err = g.err;
	if (offset_bytes >= d->size_bytes)
		return offset_bytes == d->size_bytes
			       ? 0
			       : tl_fail(err, TL_E_LAYER_SIZE, EMSGSIZE,
					 "there are more bytes than the manifest states");
	if (asprintf(&url, "https://%s/v2/%s/blobs/%s", r->host.authority, r->path, d->digest) <
		    0 ||
	    asprintf(&range, "Range: bytes=%llu-", (unsigned long long)offset_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a URL");
	const char *const headers[] = { range, NULL };
	struct registry_request q = {
		.method = "GET",
		.url = url,
		.headers = offset_bytes ? headers : NULL,
		.response_max_bytes = SIZE_MAX, /* take() counts more strictly */
		.redirects_max = r->limits.redirects_max,
		.deadline = tl_deadline_never(),
		.sink = take,
		.sink_ctx = &g,
	};

	return read_response(r, &q, &g, d, ret_attempt, err);
}
