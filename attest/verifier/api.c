/* SPDX-License-Identifier: Apache-2.0 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#include "../json_secret.h"
#include "api_error.h"
#include "claims_aws.h"
#include "decision.h"

#define NO_STORE       "no-store"
#define CACHE_DOCUMENT "public, max-age=300"
#define JWKS_PATH      "/.well-known/jwks.json"
#define BEARER         "Bearer "
#define CALLER_MIN_LEN 16
#define CODES_MAX      (REFUSALS_MAX * 8)

struct route {
	const char *method;
	const char *prefix;
	const char *suffix;  /* what stands between the two is a resource name; NULL: prefix only */
	bool has_challenge;  /* the resource is a challenge's, not a location's */
	bool is_for_callers; /* needs a known caller, if callers are checked */
	int (*serve)(const struct api *api, const struct api_request *req,
		     const struct resource *res, struct api_reply *ret, struct tl_error *err);
};

/* Takes over @consume_body. */
static int reply_json(json_t *consume_body, const char *cache, struct api_reply *ret,
		      struct tl_error *err)
{
	ret->body = consume_body ? json_dumps(consume_body, JSON_COMPACT) : NULL;
	json_decref(consume_body);
	if (!ret->body)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for a reply");
	ret->body_n = strlen(ret->body);
	ret->status = 200;
	ret->cache = cache;
	return 0;
}

static int serve_health(const struct api *api, const struct api_request *req,
			const struct resource *res, struct api_reply *ret, struct tl_error *err)
{
	(void)api;
	(void)req;
	(void)res;
	return reply_json(json_pack("{s:s}", "status", "ok"), NO_STORE, ret, err);
}

static int serve_jwks(const struct api *api, const struct api_request *req,
		      const struct resource *res, struct api_reply *ret, struct tl_error *err)
{
	(void)req;
	(void)res;
	return reply_json(token_keys_jwks(api->keys), CACHE_DOCUMENT, ret, err);
}

/* OpenID Connect Discovery 1.0, section 3: what applies to an issuer without any login. */
static int serve_discovery(const struct api *api, const struct api_request *req,
			   const struct resource *res, struct api_reply *ret, struct tl_error *err)
{
	json_t *uri = json_sprintf("%s" JWKS_PATH, api->claims.issuer);

	(void)req;
	(void)res;
	return reply_json(
		json_pack("{s:s, s:o, s:[s], s:[s], s:o, s:[sssssssssssssssss]}", "issuer",
			  api->claims.issuer, "jwks_uri", uri, "response_types_supported",
			  "id_token", "subject_types_supported", "public",
			  "id_token_signing_alg_values_supported", token_keys_algs(api->keys),
			  "claims_supported", "iss", "sub", "aud", "iat", "nbf", "exp", "eat_nonce",
			  "eat_profile", "secboot", "oemid", "hwmodel", "swname", "swversion",
			  "dbgstat", "submods", "google_service_accounts", CLAIMS_AWS),
		CACHE_DOCUMENT, ret, err);
}

static int serve_location(const struct api *api, const struct api_request *req,
			  const struct resource *res, struct api_reply *ret, struct tl_error *err)
{
	json_t *name = json_sprintf("projects/%s/locations/%s", res->project, res->location);

	(void)api;
	(void)req;
	return reply_json(json_pack("{s:o, s:s}", "name", name, "locationId", res->location),
			  NO_STORE, ret, err);
}

/* RFC 3339, UTC. */
static void time_text(int64_t at_s, char ret[32])
{
	time_t t = (time_t)at_s;
	struct tm tm = { 0 };

	(void)gmtime_r(&t, &tm);
	(void)strftime(ret, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static json_t *name_json(const struct resource *res)
{
	return json_sprintf("projects/%s/locations/%s/challenges/%s", res->project, res->location,
			    res->challenge);
}

static int serve_challenge(const struct api *api, const struct api_request *req,
			   const struct resource *res, struct api_reply *ret, struct tl_error *err)
{
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	struct resource challenge;
	char created[32], expires[32];
	auto_free char *nonce_text = NULL;
	int r = challenge_issue(api->minter, req->now_s, res, &challenge, nonce, err);

	if (r < 0)
		return r;
	nonce_text = tl_base64_encode(TL_BASE64_STD, nonce, sizeof(nonce));
	time_text(req->now_s, created);
	time_text(req->now_s + (int64_t)api->challenge_ttl_s, expires);
	return reply_json(nonce_text ? json_pack("{s:o, s:s, s:s, s:b, s:s, s:b}", "name",
						 name_json(&challenge), "createTime", created,
						 "expireTime", expires, "used", 0, "tpmNonce",
						 nonce_text, "launchRecord", 1)
				     : NULL,
			  NO_STORE, ret, err);
}

#define RPC_INVALID_ARGUMENT 3 /* google.rpc.Code */
#define RPC_UNIMPLEMENTED    12

static void partial_error_add(json_t *list, int code, const char *message)
{
	(void)json_array_append_new(list,
				    json_pack("{s:i, s:s}", "code", code, "message", message));
}

/* What was sent but not looked at, or dropped, is said: nobody shall take silence for consent. */
static json_t *partial_errors(const struct api *api, const struct verify_request *req,
			      const struct checked_evidence *ev)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ev->signatures.problems.n; i++)
		partial_error_add(list, RPC_INVALID_ARGUMENT, ev->signatures.problems.items[i]);
	if (req->id_tokens_n && !api->rules.identity)
		partial_error_add(list, RPC_UNIMPLEMENTED,
				  "identity tokens are not checked by this verifier; "
				  "google_service_accounts is empty");
	return list;
}

static int token_issue(const struct api *api, const struct verify_request *req,
		       const struct checked_evidence *ev, int64_t now_s, const char *field,
		       struct api_reply *ret, json_t **ret_claims, struct tl_error *err)
{
	auto_secret struct tl_secret token = { 0 };
	const struct pki_signer *pki = req->token.is_pki ? api->pki : NULL;
	json_t *claims = NULL, *reply, *partial;
	int r = claims_build(&api->claims, &req->token, ev, now_s,
			     pki ? pki_signer_end(pki) : INT64_MAX, &claims, err);

	if (r == 0)
		r = pki ? pki_sign(pki, claims, &token, err)
			: jwt_sign(api->keys, claims, &token, err);
	if (r < 0) {
		json_decref(claims);
		return r;
	}
	*ret_claims = claims;
	reply = json_pack("{s:s}", field, token.bytes);
	partial = partial_errors(api, req, ev);
	if (json_array_size(partial) && reply)
		(void)json_object_set(reply, "partialErrors", partial);
	json_decref(partial);
	r = reply_json(json_incref(reply), NO_STORE, ret, err);
	json_secret_wipe(json_object_get(reply, field));
	json_decref(reply);
	return r;
}

/* One verification under way. */
struct verification {
	const struct api *api;
	char name[sizeof(struct resource) + 64]; /* the challenge's */
	int64_t now_s;
	uint64_t started_ms;
	struct verify_request *body;
	struct checked_evidence ev;
	struct refusals refusals;
	struct checks_made made;
	json_t *claims;
};

static void verification_done(struct verification *v)
{
	(void)verify_request_free(v->body);
	checked_evidence_done(&v->ev);
	json_decref(v->claims);
}
#define auto_verification __attribute__((cleanup(verification_done)))

static void codes_list(const struct refusals *r, char ret[CODES_MAX])
{
	size_t at = 0;

	for (size_t i = 0; i < refusals_kept(r) && at < CODES_MAX - 8; i++)
		at += (size_t)snprintf(ret + at, CODES_MAX - at, "%s%s", i ? "," : "",
				       tl_catalogue_find(r->items[i].code)->id);
}

static void decision_report(const struct verification *v)
{
	const struct checked_evidence *ev = &v->ev;
	auto_free char *line = NULL;
	char codes[CODES_MAX] = "";
	struct verifier_decision d = {
		.is_accepted = v->refusals.n == 0,
		.codes = codes,
		.reason = v->refusals.n ? v->refusals.items[0].msg : "",
		.anchor = claims_hwmodel(ev),
		.instance = ev->ak.instance.name,
		.image = ev->launch.image_digest ? ev->launch.image_digest : "",
		.machine_image = ev->image ? ev->image->version : "",
		.signatures = ev->signatures.n,
		.signatures_dropped = ev->signatures.dropped,
		.signature_problem =
			ev->signatures.problems.n ? ev->signatures.problems.items[0] : "",
		.took_ms = v->api->clock_ms() - v->started_ms,
	};

	if (!v->api->decided)
		return;
	codes_list(&v->refusals, codes);
	if (v->api->has_decision_lines)
		line = decision_line(&d, v->now_s, v->name, &v->refusals, &v->made,
				     v->api->has_claims_in_lines ? v->claims : NULL);
	d.line = line;
	v->api->decided(v->api->decided_ctx, &d);
}

/* Before the challenge is spent: can the wanted token be issued at all? The body may name the
 * challenge too; then it must be the one of the path. */
static int challenge_check(const struct api *api, const struct api_request *req,
			   const struct resource *res, const struct verify_request *body,
			   const char *name, uint8_t ret_nonce[CHALLENGE_NONCE_BYTES],
			   struct tl_error *err)
{
	if (body->challenge && strcmp(body->challenge, name) != 0)
		return tl_fail(err, TL_E_VERIFY_REQUEST, EINVAL,
			       "'challenge' is not the challenge of the path");
	if (body->has_tdx && !api->rules.tdx)
		return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
			       "'tdCcel' is not checked by this verifier (--tdx-root); send TPM "
			       "evidence");
	if (body->has_snp && !api->rules.snp)
		return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
			       "'sevSnpAttestation' is not checked by this verifier (--snp-root); "
			       "send TPM evidence");
	if (body->token.is_pki && !api->pki)
		return tl_fail(err, TL_E_VERIFY_UNSUPPORTED, EINVAL,
			       "this verifier has no certificate for PKI tokens (--pki-key, "
			       "--pki-chain)");
	if (body->token.is_pki && pki_signer_end(api->pki) <= req->now_s)
		return tl_fail(err, TL_E_VERIFY_SERVER, EIO,
			       "the certificate for PKI tokens has expired");
	return challenge_redeem(api->minter, req->now_s, res, ret_nonce, err);
}

static int verify(const struct api *api, const struct api_request *req, const struct resource *res,
		  enum request_kind kind, const char *field, struct api_reply *ret,
		  struct tl_error *err)
{
	auto_verification struct verification v = { .api = api,
						    .now_s = req->now_s,
						    .started_ms = api->clock_ms() };
	uint8_t nonce[CHALLENGE_NONCE_BYTES];
	int r = verify_request_parse(kind, req->body, req->body_n, &v.body, err);

	(void)snprintf(v.name, sizeof(v.name), "projects/%s/locations/%s/challenges/%s",
		       res->project, res->location, res->challenge);
	v.made.has_images = api->rules.images && api->rules.images->n;
	v.made.has_tpm = v.body && v.body->banks_n;
	v.made.has_tdx = v.body && v.body->has_tdx;
	v.made.has_tdx_tcb = v.made.has_tdx && api->rules.tdx && api->rules.tdx->has_tcb;
	v.made.has_snp = v.body && v.body->has_snp;
	v.made.has_snp_tcb = v.made.has_snp && api->rules.snp && api->rules.snp->leasts_n;
	v.made.has_required_tee = api->rules.tees_required != 0;
	v.made.has_identity = api->rules.identity && v.body && v.body->id_tokens_n;
	if (r == 0)
		r = challenge_check(api, req, res, v.body, v.name, nonce, err);
	if (r == 0)
		evidence_check(&api->rules, v.body, nonce, sizeof(nonce), v.name, req->now_s, &v.ev,
			       &v.refusals);
	if (r == 0 && v.refusals.n == 0)
		r = token_issue(api, v.body, &v.ev, req->now_s, field, ret, &v.claims, err);
	if (r < 0)
		refuse_error(&v.refusals, err);
	decision_report(&v);
	if (v.refusals.n) {
		api_reply_done(ret);
		api_refuse(&v.refusals, api->is_explaining ? &v.made : NULL, ret);
	}
	return 0;
}

static int serve_verify_space(const struct api *api, const struct api_request *req,
			      const struct resource *res, struct api_reply *ret,
			      struct tl_error *err)
{
	return verify(api, req, res, REQUEST_CONFIDENTIAL_SPACE, "attestationToken", ret, err);
}

static int serve_verify_attestation(const struct api *api, const struct api_request *req,
				    const struct resource *res, struct api_reply *ret,
				    struct tl_error *err)
{
	return verify(api, req, res, REQUEST_ATTESTATION, "oidcClaimsToken", ret, err);
}

static const struct route routes[] = {
	{ "GET", "/healthz", NULL, false, false, serve_health },
	{ "GET", "/.well-known/openid-configuration", NULL, false, false, serve_discovery },
	{ "GET", JWKS_PATH, NULL, false, false, serve_jwks },
	{ "GET", "/v1/", "", false, true, serve_location },
	{ "POST", "/v1/", "/challenges", false, true, serve_challenge },
	{ "POST", "/v1/", ":verifyConfidentialSpace", true, true, serve_verify_space },
	{ "POST", "/v1/", ":verifyAttestation", true, true, serve_verify_attestation },
};

static bool route_fits(const struct route *route, const char *path, struct resource *ret)
{
	size_t head = strlen(route->prefix), n = strlen(path), tail;

	if (!route->suffix)
		return strcmp(path, route->prefix) == 0;
	tail = strlen(route->suffix);
	return n >= head + tail && tl_str_starts_with(path, route->prefix) &&
	       tl_str_ends_with(path, route->suffix) &&
	       resource_parse(path + head, n - head - tail, ret) == 0 &&
	       (ret->challenge[0] != '\0') == route->has_challenge;
}

static int caller_check(const struct api *api, const char *authorization, struct tl_error *err)
{
	uint8_t digest[TL_HASH_SIZE_MAX];
	const char *token;
	unsigned int known = 0;

	if (!api->callers || api->callers->n == 0)
		return 0;
	if (!authorization || !tl_str_starts_with(authorization, BEARER))
		return tl_fail(err, TL_E_VERIFY_CALLER, EACCES,
			       "the request has no header 'Authorization: Bearer <token>'");
	token = authorization + strlen(BEARER);
	if (tl_digest(TL_SHA256, token, strlen(token), digest) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "SHA-256 failed");
	for (size_t i = 0; i < api->callers->n; i++)
		known |= CRYPTO_memcmp(digest, api->callers->digests[i], 32) == 0;
	return known ? 0
		     : tl_fail(err, TL_E_VERIFY_CALLER, EACCES,
			       "the bearer token is not a known "
			       "caller's");
}

static int dispatch(const struct api *api, const struct api_request *req, struct api_reply *ret,
		    struct tl_error *err)
{
	bool is_known_path = false;

	for (size_t i = 0; i < TL_ARRAY_SIZE(routes); i++) {
		const struct route *route = &routes[i];
		struct resource res = { 0 };
		int r = 0;

		if (!route_fits(route, req->path, &res))
			continue;
		is_known_path = true;
		if (strcmp(route->method, req->method) != 0)
			continue;
		if (route->is_for_callers)
			r = caller_check(api, req->authorization, err);
		return r < 0 ? r : route->serve(api, req, &res, ret, err);
	}
	return tl_fail(err, TL_E_VERIFY_ROUTE, ENOENT, "%s '%.200s' is not served%s", req->method,
		       req->path, is_known_path ? "; the path is, with another method" : "");
}

void api_handle(const struct api *api, const struct api_request *req, struct api_reply *ret)
{
	struct tl_error err = { 0 };

	*ret = (struct api_reply){ 0 };
	if (dispatch(api, req, ret, &err) < 0) {
		api_reply_done(ret);
		api_fail(&err, ret);
	}
}

int api_callers_read(const char *text, size_t n, struct api_callers *ret, struct tl_error *err)
{
	struct api_callers callers = { 0 };
	uint8_t digest[TL_HASH_SIZE_MAX];

	while (n) {
		const char *end = memchr(text, '\n', n);
		size_t len = end ? (size_t)(end - text) : n;

		if (len && (len < CALLER_MIN_LEN || len > API_CALLER_TOKEN_MAX ||
			    callers.n == API_CALLERS_MAX))
			return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
				       "callers: line %zu: at most %d tokens, each of %d to %d "
				       "characters",
				       callers.n + 1, API_CALLERS_MAX, CALLER_MIN_LEN,
				       API_CALLER_TOKEN_MAX);
		if (len && tl_digest(TL_SHA256, text, len, digest) < 0)
			return tl_fail(err, TL_E_INTERNAL, EIO, "SHA-256 failed");
		if (len)
			memcpy(callers.digests[callers.n++], digest, 32);
		text += end ? len + 1 : len;
		n -= end ? len + 1 : len;
	}
	if (callers.n == 0)
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL, "callers: the file has no token");
	*ret = callers;
	return 0;
}
