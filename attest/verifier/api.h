/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The REST API as a table of routes: a request in, a reply out. Knows no socket. Thread-safe: all
 * of it is read-only but the minter, which locks what it remembers.
 *
 *   GET  /v1/projects/P/locations/R               any project and location exist
 *   POST /v1/projects/P/locations/R/challenges
 *   POST /v1/<challenge>:verifyConfidentialSpace
 *   POST /v1/<challenge>:verifyAttestation
 *   GET  /.well-known/openid-configuration, /.well-known/jwks.json, /healthz
 *
 * Errors are Google's: {"error":{"code","message","status","details"}}; the message names every
 * check that failed, details has them one by one (google.rpc.ErrorInfo, reason = catalogue id).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "challenge.h"
#include "claims.h"
#include "evidence_check.h"
#include "jwt_sign.h"
#include "pki_signer.h"
#include "verifier.h"

#define API_CALLERS_MAX      64
#define API_CALLER_TOKEN_MAX 4096

/* SHA-256 of each bearer token that may call; n 0 = callers are not checked. */
struct api_callers {
	uint8_t digests[API_CALLERS_MAX][32];
	size_t n;
};

/* Everything is borrowed. */
struct api {
	const struct challenge_minter *minter;
	uint64_t challenge_ttl_s;
	struct evidence_rules rules;
	struct claims_options claims;
	const struct token_keys *keys;
	const struct pki_signer *pki; /* NULL: no PKI tokens */
	const struct api_callers *callers;
	bool is_explaining;         /* error replies say what was expected and found */
	bool has_decision_lines;    /* decisions come with a line of JSON */
	bool has_claims_in_lines;   /* with the claims of the token */
	uint64_t (*clock_ms)(void); /* monotonic, for decision lines */
	void (*decided)(void *ctx, const struct verifier_decision *d);
	void *decided_ctx;
};

struct api_request {
	const char *method;
	const char *path;          /* decoded, without query */
	const char *authorization; /* header's value or NULL */
	const void *body;
	size_t body_n;
	int64_t now_s;
};

struct api_reply {
	int status;
	const char *cache; /* Cache-Control; static */
	char *body;        /* JSON; may hold a token */
	size_t body_n;
};
void api_reply_done(struct api_reply *r); /* wipes */
#define auto_api_reply __attribute__((cleanup(api_reply_done)))

/** Always fills @ret; owned by the caller. On lack of memory the body may be NULL. */
void api_handle(const struct api *api, const struct api_request *req, struct api_reply *ret);

/** The reply for a failure that happened before there was a whole request. */
void api_fail(const struct tl_error *err, struct api_reply *ret);

/** One token a line, 16 to API_CALLER_TOKEN_MAX characters. Codes: TL_E_VERIFY_KEYS. */
int api_callers_read(const char *text, size_t n, struct api_callers *ret, struct tl_error *err);
