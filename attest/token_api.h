/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token socket's paths, methods, statuses and words, without a socket: a request goes in; out
 * comes what has to be done for it, or the answer at once. Pure.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/secret.h>

#include "evidence_request.h"
#include "token_request.h"

/* One answer, shared by all who asked the same. */
struct token_reply {
	atomic_uint refs;
	int status;
	const char *content_type; /* static */
	uint64_t retry_after_s;   /* 0: none */
	const char *location;     /* static; NULL: none */
	struct tl_secret body;    /* a token is one */
	atomic_uint *gauge;       /* counted down when the answer goes; NULL: none */
};

/** NULL when out of memory. @body is copied. */
struct token_reply *token_reply_new(int status, const char *content_type, const char *body);
struct token_reply *token_reply_ref(struct token_reply *r);
struct token_reply *token_reply_unref(struct token_reply *r); /* NULL is fine; returns NULL */

/* Everything of a request that matters; borrowed. Header and query values are NULL if absent. */
struct token_http {
	const char *method;
	const char *path;          /* decoded, without the query */
	const char *fields;        /* query "fields" */
	const char *dollar_fields; /* query "$fields" */
	const char *field_mask;    /* header X-Goog-FieldMask */
	const char *cache_control;
	const void *body;
	size_t body_n;
};

enum token_work { TOKEN_WORK_NONE, TOKEN_WORK_GCA, TOKEN_WORK_INTEL, TOKEN_WORK_EVIDENCE };

/* What has to be done. */
struct token_ask {
	enum token_work work;
	const char *path; /* static */
	bool is_default;  /* the default token: @request is empty */
	bool is_uncached; /* no token that somebody else asked for before */
	struct token_request request;
	struct tl_blob challenge;
	unsigned int mask;
};
void token_ask_done(struct token_ask *a);
/** True if one answer serves both. */
bool token_ask_equal(const struct token_ask *a, const struct token_ask *b);

/* Which verifier clients there are. */
struct token_clients {
	bool has_gca, has_intel;
};

/**
 * @ret        work to do, or TOKEN_WORK_NONE
 * @ret_reply  set if there is none: the answer, owned by the caller; NULL when out of memory
 */
void token_api_route(const struct token_http *req, const struct token_clients *clients,
		     struct token_ask *ret, struct token_reply **ret_reply);

/** The answer when the work failed. NULL when out of memory. */
struct token_reply *token_api_failure(const struct token_ask *ask, const struct tl_error *err,
				      uint64_t retry_after_ms);
/** The answers when it was done. */
struct token_reply *token_api_token(const struct tl_secret *token);
struct token_reply *token_api_evidence(const char *json);

/** A refusal that has nothing to do with a path: @status and one line. */
struct token_reply *token_api_refusal(int status, const char *text);
