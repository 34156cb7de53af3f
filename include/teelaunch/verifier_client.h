/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking an attestation verifier for a token. One handle for one verifier; a service is a table of
 * functions, so that another kind is one more table. A handle belongs to one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/evidence.h>
#include <teelaunch/image_signature.h>
#include <teelaunch/jwt.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

/* Google Cloud Attestation's production service. */
#define TL_VERIFIER_URL_DEFAULT "https://confidentialcomputing.googleapis.com"
/* Audience of a token for which neither an audience nor a nonce was asked. */
#define TL_TOKEN_AUDIENCE_DEFAULT "https://sts.googleapis.com"

/* Which call of the Confidential Computing API, v1, gets the evidence. */
enum tl_verifier_api {
	TL_VERIFIER_CONFIDENTIAL_SPACE, /* :verifyConfidentialSpace, as the reference launcher does
					 */
	TL_VERIFIER_ATTESTATION,        /* :verifyAttestation */
};

/* Strings are copied. */
struct tl_verifier_options {
	const char *url;     /* https://host[:port], no path; NULL = TL_VERIFIER_URL_DEFAULT */
	const char *ca_file; /* PEM bundle instead of the system's trust store; NULL = system */
	const char *project; /* "my-project" */
	const char *region;  /* "us-central1" */
	enum tl_verifier_api api;
	uint64_t try_timeout_ms;  /* for each HTTP request; 0 = 20 s */
	uint64_t budget_ms;       /* for a whole tl_verifier_attest(), retries included; 0 = 60 s */
	struct tl_cancel *cancel; /* borrowed until close; NULL = none */
};

/* Where the parts of a request come from. Each is called again for every attempt: a challenge is
 * used once. They return 0 or a negative errno with @err filled, which ends the attestation unless
 * its class is TL_RETRY. Their time counts against the budget, but isn't cut short by it. */
struct tl_attest_sources {
	/* Access token for the API, sent as "Authorization: Bearer"; NULL = none is sent. */
	int (*bearer)(void *ctx, struct tl_secret *ret, struct tl_error *err);
	void *bearer_ctx;
	/* Identity token number @i of @n_principals: the machine's own service account first.
	 * @audience has @n bytes, which may be any. */
	int (*principal)(void *ctx, size_t i, const char *audience, size_t n, struct tl_secret *ret,
			 struct tl_error *err);
	void *principal_ctx;
	size_t n_principals;
	/* Fresh evidence over @nonce. @ret is set on success only; the client frees it. */
	int (*collect)(void *ctx, const void *nonce, size_t n, struct tl_evidence *ret,
		       struct tl_error *err);
	void *collect_ctx;
	/* Told the name of the service's challenge once it is there; NULL = nobody is. Must not
	 * block. */
	void (*challenged)(void *ctx, const char *name);
	void *challenged_ctx;
	/* The image's signatures as they are now, sent along; NULL = none. @ret is an empty list,
	 * set on success only; the client frees it. Asks nobody: it must not block. */
	int (*signatures)(void *ctx, struct tl_image_signatures *ret, struct tl_error *err);
	void *signatures_ctx;
};

/* What kind of token (vectors/token-options.json). Borrowed during the call. */
struct tl_token_options {
	const char *audience;    /* NULL or "" = none */
	struct tl_strv nonces;   /* items are borrowed too */
	const char *token_type;  /* "OIDC", "PKI", "LIMITED_AWS", "AWS_PRINCIPALTAGS" */
	bool has_principal_tags; /* the three levels of AWS_PRINCIPALTAGS' options: */
	bool has_allowed_tags;   /* each counts only if the one above is given */
	bool has_signature_key_ids;
	struct tl_strv signature_key_ids;
};

/** The launcher's own: OIDC for TL_TOKEN_AUDIENCE_DEFAULT. */
struct tl_token_options tl_token_options_default(void);

struct tl_attest_result {
	struct tl_secret token; /* the JWT */
	struct tl_jwt claims;   /* read, not verified; not expired when it came */
	int64_t date_s;         /* the verifier's clock when it answered; 0: it didn't say */
	int64_t now_ms;         /* since the epoch, by the clock that is believed: see below */
	int64_t skew_s;         /* this machine's clock less the verifier's; 0 if that is unknown */
	struct tl_strv
		warnings; /* the verifier's partial errors; foreign text, cut at 256 bytes each */
	unsigned int attempts; /* made, the successful one counted */
};
void tl_attest_result_done(struct tl_attest_result *r);
#define auto_attest_result __attribute__((cleanup(tl_attest_result_done)))

/* The host sets this machine's clock, and may set it wrong. So a token's dates are compared with
 * the verifier's own clock (Date, by TLS), unless the two differ by more than this. Without a Date
 * the difference is told from the token's iat, and this machine's clock is believed. */
#define TL_CLOCK_SKEW_MAX_S 86400

struct tl_verifier;

/** Google Cloud Attestation, or a verifier that speaks its REST API. No I/O. */
int tl_verifier_open_gca(const struct tl_verifier_options *options, struct tl_verifier **ret,
			 struct tl_error *err);
struct tl_verifier *tl_verifier_close(struct tl_verifier *v);
static inline void tl_verifier_closep(struct tl_verifier **v)
{
	*v = tl_verifier_close(*v);
}
#define auto_verifier __attribute__((cleanup(tl_verifier_closep)))

/**
 * Get a token: location check (once a handle), challenge, identity tokens, evidence, verification.
 *
 * Blocks until there is a token, a permanent refusal, cancellation, or the end of the budget.
 * Transport failures, 429 (its Retry-After is honoured) and 5xx are retried with full jitter, each
 * time from a new challenge. Untrusted TLS and other statuses end it at once.
 *
 * @options  NULL = tl_token_options_default()
 * @ret      set on success only; owned by the caller
 *
 * Codes TL_E_VERIFIER_*, TL_E_TOKEN_MALFORMED, TL_E_TOKEN_EXPIRED, TL_E_NET_*, TL_E_INTERRUPTED,
 * and those of the sources. The verifier's own words are escaped, cut, and freed of anything as
 * long as a token.
 */
int tl_verifier_attest(struct tl_verifier *v, const struct tl_attest_sources *sources,
		       const struct tl_token_options *options, struct tl_attest_result *ret,
		       struct tl_error *err);

/**
 * The same in one attempt: nothing is retried, for callers with a schedule of their own.
 *
 * @budget_ms           for the attempt
 * @ret_retry_after_ms  on failure: the earliest time to come back as the verifier said, 0 = it
 *                      said nothing
 */
int tl_verifier_attest_once(struct tl_verifier *v, const struct tl_attest_sources *sources,
			    const struct tl_token_options *options, uint64_t budget_ms,
			    struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
			    struct tl_error *err);
