/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the registry client share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/http.h>

#include "registry.h"
#include "registry_host.h"

struct tl_registry {
	struct tl_http *http;
	struct registry_host host;
	char *path;
	struct tl_strv roots; /* "HOST=PEM-FILE", each checked at open */
	char *google_roots;   /* NULL = system's store */
	char *user_agent;
	struct tl_secret access_token;  /* empty = none */
	struct tl_secret authorization; /* for the registry's own origin; empty = none yet */
	struct tl_registry_limits limits;
	struct tl_deadline deadline;
	struct tl_cancel *cancel; /* borrowed */
	uint64_t requests;
};

/* One exchange, redirects included. */
struct registry_request {
	const char *method;
	const char *url;
	const char *const *headers;
	const struct tl_secret *authorization; /* for the URL's own origin; NULL = none */
	const char *body;                      /* NULL = none */
	size_t body_bytes;
	size_t response_max_bytes;
	unsigned int redirects_max;
	struct tl_deadline deadline;
	int (*sink)(void *ctx, int status, const void *data, size_t n);
	void *sink_ctx;
};

/** True if the access token may be shown to the registry at all. */
bool registry_has_token_for_host(const struct tl_registry *r);

/**
 * Send @q and follow redirects, each hop with the roots of its own host.
 * @ret_is_foreign  the answer came from another origin than the URL's; NULL is fine
 */
int registry_send(struct tl_registry *r, const struct registry_request *q,
		  struct tl_http_response *ret, bool *ret_is_foreign, struct tl_error *err);

/** registry_send() with the registry's credential; on 401 a new one is fetched, once. */
int registry_send_authorized(struct tl_registry *r, struct registry_request *q, const char *what,
			     struct tl_http_response *ret, struct registry_attempt *ret_attempt,
			     struct tl_error *err);

/** Turn an unwanted status into an error. @what names what was asked for. Always fails. */
int registry_status_fail(const struct tl_registry *r, const char *what,
			 const struct tl_http_response *response,
			 struct registry_attempt *ret_attempt, struct tl_error *err);

/** May the failure of an HTTP request that @err describes go away? */
bool registry_is_net_retryable(const struct tl_error *err);

/** Answer the challenges of a 401: fetch a token, or set up Basic. Replaces r->authorization. */
int registry_login(struct tl_registry *r, const struct tl_http_response *unauthorized,
		   struct registry_attempt *ret_attempt, struct tl_error *err);
