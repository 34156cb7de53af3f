/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifier as a service: the Confidential Computing REST API (v1) over TLS, with discovery
 * document and key set. docs/verifier.md says what it checks, and what it does not.
 *
 * A pool of libmicrohttpd's threads serves the connections (docs/ARCHITECTURE.md).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

#include "snp_rules.h"
#include "tdx_options.h"

/* Reports one verification. No secret, no token. Called on any serving thread; texts borrowed. */
struct verifier_decision {
	bool is_accepted;
	const char *codes;         /* of all refusals: "TL1013,TL1015"; "" if accepted */
	const char *reason;        /* the first refusal's text; "" if accepted */
	const char *anchor;        /* root set that vouched; "" if none did */
	const char *instance;      /* name in the AK's certificate, or "" */
	const char *image;         /* measured image digest, or ""; meaningless if refused */
	const char *machine_image; /* version of the VM image that booted, or "" */
	size_t signatures;         /* of the container image, good ones */
	size_t signatures_dropped;
	const char *signature_problem; /* of the first one dropped, or "" */
	uint64_t took_ms;
	const char *line; /* all of it in JSON (decision.h), with its end; NULL: not wanted */
};

/* Everything is borrowed until verifier_start() returns; files are read there. */
struct verifier_options {
	const char *listen;              /* "127.0.0.1:8443", "[::1]:0"; port 0 = any */
	const char *tls_cert;            /* PEM file: the server's certificate, then its chain */
	const char *tls_key;             /* PEM file */
	const char *issuer;              /* https URL; NULL = "https://<host>:<port>" of listen */
	struct tl_strv token_keys;       /* PEM files; the first signs */
	const char *pki_key;             /* PEM file; NULL = no PKI tokens */
	const char *pki_chain;           /* PEM file, needed with pki_key */
	struct tl_strv ak_roots;         /* "NAME=PEM file" */
	struct tl_strv ak_intermediates; /* PEM files */
	struct tl_strv references;       /* files; none: which image booted isn't judged */
	struct snp_options snp;          /* without roots: SEV-SNP reports are refused unread */
	struct tdx_options tdx;          /* without a root: TDX evidence is refused unread */
	struct tl_strv required_tees;    /* "tdx", "snp": one of them; none: no demand */
	struct tl_strv challenge_keys;   /* files of 32 bytes or more; none = random */
	uint64_t challenge_ttl_s;
	uint64_t token_ttl_s;
	uint64_t threads; /* that serve; 0 = as many as processors */
	const char *swname;
	const char *swversion;       /* NULL = an empty claim; references exclude it */
	const char *identity_jwks;   /* file; NULL = identity tokens are not looked at */
	const char *identity_issuer; /* needed with identity_jwks */
	const char *callers; /* file, one bearer token a line; NULL = callers are not checked */
	bool explain;        /* error replies say what each check expected and found */
	bool decision_lines; /* decisions come with a line of JSON */
	bool log_claims;     /* which has the claims of the token */
	void (*decided)(void *ctx, const struct verifier_decision *d); /* NULL = nobody listens */
	void *decided_ctx;
};

struct verifier;

/** Read the files, bind, serve. Codes: TL_E_VERIFY_KEYS, _REFERENCE, _SERVER, TL_E_IO. */
int verifier_start(const struct verifier_options *opt, struct verifier **ret, struct tl_error *err);
/**
 * Read the files again (but those of TLS), all or nothing: on failure what was in force stays.
 * Requests under way end with what they began with; challenges that were presented stay known.
 * Not from two threads at once. Codes as verifier_start().
 */
int verifier_reload(struct verifier *v, const struct verifier_options *opt, struct tl_error *err);
#define VERIFIER_KID_MAX 64
/** RFC 7638 thumbprint of the key that signs now. */
void verifier_kid(struct verifier *v, char ret[VERIFIER_KID_MAX]);
uint16_t verifier_port(const struct verifier *v);
/** Ends the thread; requests under way are cut. NULL is fine. */
struct verifier *verifier_stop(struct verifier *v);
static inline void verifier_stopp(struct verifier **v)
{
	*v = verifier_stop(*v);
}
#define auto_verifier_service __attribute__((cleanup(verifier_stopp)))
