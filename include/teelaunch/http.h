/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP client, the only user of libcurl. Names no third-party type.
 *
 * A client owns a connection cache and serves one thread at a time; use one client a thread.
 * Proxy settings of the environment are ignored: nothing the operator sets may divert traffic.
 * Certificates and host names are always verified; there is no switch for it. TLS 1.2 is the least.
 * No netrc, cookies, content decoding or protocols other than http and https (HTTP/1.1 and HTTP/2).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>
#include <teelaunch/error.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

/* Bodies of statuses other than 2xx are kept up to here; the rest is not even read. */
#define TL_HTTP_ERROR_BODY_MAX 4096
/* Header lines of one response, interim responses included. */
#define TL_HTTP_HEADERS_MAX (64 * 1024)

struct tl_http;

/** @user_agent is copied. NULL on lack of memory. Does no I/O. Safe from any thread. */
struct tl_http *tl_http_new(const char *user_agent);
struct tl_http *tl_http_free(struct tl_http *h);
static inline void tl_http_freep(struct tl_http **h)
{
	*h = tl_http_free(*h);
}
#define auto_http __attribute__((cleanup(tl_http_freep)))

struct tl_http_request {
	const char *method; /* "GET", "HEAD", "POST", ... */
	const char *url;    /* https only, unless is_plain_allowed; user:password@ is refused */
	const char *const
		*headers; /* "Name: value", NULL-terminated, or NULL; no credentials here */
	/* Value of the Authorization header. Sent to the URL's own origin (scheme, host, port)
	 * only: a redirect to another origin loses it. NULL = none. */
	const struct tl_secret *authorization;
	const char *authorization_name; /* another header for it, as "x-api-key"; NULL = none */
	const void *body;               /* request body; NULL = none */
	size_t body_bytes;
	const char *ca_file; /* PEM bundle that replaces the system's trust store; NULL = system */
	const char *tls12_ciphers; /* all that may be used in TLS 1.2, OpenSSL's names; NULL =
				      OpenSSL's choice. TLS 1.3 has no weak ones */
	bool is_plain_allowed;     /* http:// too: the metadata server only */
	/* 0 = a 3xx is returned as it is. GET and HEAD only; never from https to http. */
	unsigned int redirects_max;
	struct tl_deadline deadline; /* for the whole request, redirects included */
	uint64_t connect_timeout_ms; /* name, TCP and TLS, for each hop; 0 = 30 s */
	uint64_t stall_timeout_ms;   /* no byte for so long = failure; 0 = deadline only */
	size_t response_max_bytes;   /* more than this is a failure, whatever Content-Length says */
	/*
	 * Where the body of a 2xx response goes as it arrives; NULL = into the response. A non-zero
	 * return ends the request with that value (a negative errno) and leaves @err alone: the
	 * sink fills its own. Other statuses' bodies are kept in the response, cut at
	 * TL_HTTP_ERROR_BODY_MAX. @status is the final response's, known before the first byte.
	 */
	int (*sink)(void *ctx, int status, const void *data, size_t n);
	void *sink_ctx;
	struct tl_cancel *cancel; /* NULL = none */
};

struct tl_http_response {
	int status;
	struct tl_buf body;
	struct tl_kvs
		headers; /* of the final response; names in lower case; at most 64 KiB in all */
	char *final_url; /* after redirects; its query may be a credential: never log it */
};

void tl_http_response_done(struct tl_http_response *r);
#define auto_http_response __attribute__((cleanup(tl_http_response_done)))

/**
 * One request, blocking until its end, its deadline or its cancellation. Any status is a success
 * here. Nothing is retried, except once on a kept connection that the server had closed meanwhile.
 *
 * @ret  set only on success; owned by the caller
 *
 * Failures have codes TL_E_NET_* or TL_E_INTERRUPTED (TL_E_IO for an unusable @ca_file) and name
 * the host, never the path, the query, a header or a credential.
 */
int tl_http_perform(struct tl_http *h, const struct tl_http_request *req,
		    struct tl_http_response *ret, struct tl_error *err);
