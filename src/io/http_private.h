/* SPDX-License-Identifier: Apache-2.0 */
/* What http.c (hops, redirects, limits) and http_transfer.c (one libcurl transfer) share. */
#pragma once

#include <curl/curl.h>

#include <teelaunch/http.h>

struct tl_http {
	CURLM *multi;       /* owns the connections */
	CURL *easy;         /* reused for every hop: keeps TLS sessions */
	bool is_easy_spent; /* the hop before ended in a failure */
	char *user_agent;
};

/* Why a callback ended the transfer. */
enum tl_http_stop {
	STOP_NONE,
	STOP_HEADERS_TOO_LARGE,
	STOP_BODY_TOO_LARGE,
	STOP_SINK,
	STOP_ERROR_BODY_CUT, /* not a failure */
	STOP_NO_MEMORY,
};

/* One request and the hop it is at. */
struct tl_http_exchange {
	struct tl_http *http;
	const struct tl_http_request *req;
	struct tl_http_response *res;
	CURLU *url;
	char *origin; /* scheme://host:port of this hop; safe to show */
	bool is_authorization_dropped;
	enum tl_http_stop stop;
	int sink_r;
	int status;
	size_t header_bytes;
	bool are_headers_complete; /* of the final response; libcurl takes a cut one for good */
	uint64_t body_bytes;
	char reason[CURL_ERROR_SIZE];
};

/** The list may hold the Authorization header: wiped, then freed. */
void tl_http_headers_freep(struct curl_slist **list);
#define auto_http_headers __attribute__((cleanup(tl_http_headers_freep)))

int tl_http_fail_memory(struct tl_error *err);

/** The request headers of this hop, appended to @list; the Authorization header if it may go there.
 */
int tl_http_headers_build(const struct tl_http_exchange *x, struct curl_slist **list,
			  struct tl_error *err);

/** Prepare http->easy for this hop; @headers is borrowed until the transfer ends. */
int tl_http_set_up(struct tl_http_exchange *x, struct curl_slist *headers, struct tl_error *err);
