/* SPDX-License-Identifier: Apache-2.0 */
/* The token socket's words: requests, limits, masks, nonces, statuses, by the shared vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/token_server.h>

#include "attest/token_api.h"
#include "attest/token_bucket.h"

#define LONG_NONCE "nnnnnnnn"

static const struct token_clients both = { true, true };
static const struct token_clients gca_only = { true, false };

/* --- the vectors of the socket ------------------------------------------------------------- */

/* What stands for the agent of a vector: what it would fail with, or 0. */
static int agent_fails(const char *agent, struct tl_error *err)
{
	static const struct {
		const char *agent;
		enum tl_code code;
	} rows[] = {
		/* 400, 404, 409 ... of the service */
		{ "grpc:InvalidArgument", TL_E_VERIFIER_REFUSED },
		{ "grpc:FailedPrecondition", TL_E_VERIFIER_REFUSED },
		{ "grpc:NotFound", TL_E_VERIFIER_LOCATION },
		{ "grpc:Aborted", TL_E_VERIFIER_REFUSED },
		{ "grpc:OutOfRange", TL_E_VERIFIER_REFUSED },
		{ "grpc:Canceled", TL_E_VERIFIER_REFUSED },
		/* 401, 403 */
		{ "grpc:PermissionDenied", TL_E_VERIFIER_CREDENTIALS },
		{ "grpc:Unauthenticated", TL_E_VERIFIER_CREDENTIALS },
		/* 429, 5xx, and what can't be read */
		{ "grpc:ResourceExhausted", TL_E_VERIFIER_BUSY },
		{ "grpc:Internal", TL_E_VERIFIER_UNAVAILABLE },
		{ "grpc:Unavailable", TL_E_VERIFIER_UNAVAILABLE },
		{ "grpc:Unknown", TL_E_VERIFIER_RESPONSE },
		{ "error:agent error", TL_E_TPM_GONE },
	};

	if (strcmp(agent, "ok") == 0)
		return 0;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].agent, agent) == 0)
			return tl_fail(err, rows[i].code, EIO, "%s",
				       strcmp(agent, "error:agent error") == 0 ? "agent error"
									       : "words");
	fail_msg("agent '%s' isn't known here", agent);
	return 0;
}

/* As the socket does it: routed, done by an agent that does as the vector says, answered. */
static struct token_reply *served(const json_t *v, const char *body)
{
	const char *target = json_string_value(json_object_get(v, "path"));
	const char *query = strchr(target, '?');
	auto_free char *path = strndup(target, query ? (size_t)(query - target) : strlen(target));
	const struct tl_secret token = { .bytes = (char[]){ "<token>" }, .len_bytes = 7 };
	const struct token_http req = {
		.method = json_string_value(json_object_get(v, "method")),
		.path = path,
		.dollar_fields = query && strncmp(query, "?$fields=", 9) == 0 ? query + 9 : NULL,
		.body = body ? body : "",
		.body_n = body ? strlen(body) : 0,
	};
	bool has_intel = json_array_size(json_object_get(v, "clients")) == 2;
	auto_evidence struct tl_evidence e = { 0 };
	auto_free char *json = NULL;
	struct token_reply *reply = NULL;
	struct tl_error err = { 0 };
	struct token_ask ask;

	token_api_route(&req, has_intel ? &both : &gca_only, &ask, &reply);
	if (ask.work == TOKEN_WORK_NONE)
		return reply;
	assert_null(reply);
	if (agent_fails(json_string_value(json_object_get(v, "agent")), &err) < 0)
		reply = token_api_failure(&ask, &err, 0);
	else if (ask.work != TOKEN_WORK_EVIDENCE)
		reply = token_api_token(&token);
	else if (evidence_format(ask.mask, &ask.challenge, &e, &json) == 0)
		reply = token_api_evidence(json);
	token_ask_done(&ask);
	return reply;
}

static void expect(const json_t *v, const json_t *expected, const char *body)
{
	const char *id = json_string_value(json_object_get(v, "id"));
	const char *exact = json_string_value(json_object_get(expected, "body"));
	const char *part = json_string_value(json_object_get(expected, "body_contains"));
	const char *type = json_string_value(json_object_get(expected, "content_type"));
	struct token_reply *reply = served(v, body);

	assert_non_null(reply);
	if (reply->status != json_integer_value(json_object_get(expected, "status")) ||
	    (exact && strcmp(reply->body.bytes, exact) != 0) ||
	    (part && !strstr(reply->body.bytes, part)) ||
	    (type && strcmp(reply->content_type, type) != 0))
		fail_msg("%s: %d %s '%s'", id, reply->status, reply->content_type,
			 reply->body.bytes);
	token_reply_unref(reply);
}

static const json_t *fixed_find(const json_t *fixed, const char *id)
{
	const json_t *q;
	size_t i;

	json_array_foreach(json_object_get(fixed, "cases"), i, q)
	{
		if (strcmp(json_string_value(json_object_get(q, "file")), "tee-server") == 0 &&
		    strcmp(json_string_value(json_object_get(q, "id")), id) == 0)
			return json_object_get(q, "expect");
	}
	return NULL;
}

/* The body with a nonce that is long enough instead of "n"; NULL if there is none. */
static char *with_long_nonce(const char *body)
{
	const char *at = body ? strstr(body, "[\"n\"]") : NULL;
	char *ret = NULL;

	if (at)
		assert_true(asprintf(&ret, "%.*s[\"" LONG_NONCE "\"]%s", (int)(at - body), body,
				     at + 5) > 0);
	return ret;
}

static void every_vector_is_answered_as_it_says(void **state)
{
	json_auto_t *doc = json_load_file(TL_VECTORS "/tee-server.json", 0, NULL);
	json_auto_t *fixed = json_load_file(TL_VECTORS "/fixed-quirks.json", 0, NULL);
	size_t n_fixed = 0, n_long = 0, i;
	const json_t *v;

	(void)state;
	assert_true(json_array_size(json_object_get(doc, "cases")) >= 50);
	json_array_foreach(json_object_get(doc, "cases"), i, v)
	{
		const char *body = json_string_value(json_object_get(v, "request_body"));
		const json_t *instead =
			fixed_find(fixed, json_string_value(json_object_get(v, "id")));
		auto_free char *longer = with_long_nonce(body);

		n_fixed += instead != NULL;
		expect(v, instead ? instead : json_object_get(v, "expect"), body);
		if (longer) { /* differs by the nonce alone */
			n_long++;
			expect(v, json_object_get(v, "expect"), longer);
		}
	}
	assert_true(n_long >= 20);
	assert_int_equal(n_fixed, n_long + 6);
}

/* --- requests ------------------------------------------------------------------------------ */

static void refused(const char *body, const char *words)
{
	static char poison[] = "poison";
	struct token_request r = { .audience = poison };
	struct tl_error err = { 0 };

	assert_int_equal(token_request_parse(body, strlen(body), &r, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_TOKEN_REQUEST);
	if (!strstr(err.msg, words))
		fail_msg("%.80s: %s", body, err.msg);
	assert_ptr_equal(r.audience, poison);
}

static void each_limit_is_named_with_field_and_length(void **state)
{
	static const char *const rows[][2] = {
		{ "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonces\":[\"12345678\","
		  "\"1234567\"]}",
		  "'nonces[1]' has 7 bytes; it must have 8 to 88" },
		{ "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonces\":[1]}",
		  "'nonces[0]' must be" },
		{ "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonces\":[\"12345678\","
		  "\"12345678\","
		  "\"12345678\",\"12345678\",\"12345678\",\"12345678\",\"12345678\"]}",
		  "'nonces' has 7 elements; the limit is 6" },
		{ "{\"audience\":\"a\",\"token_type\":\"oidc\"}", "'token_type' is 'oidc'" },
		{ "{\"audience\":\"a\"}", "token_type is a required parameter" },
		{ "{\"audience\":\"a\",\"AUDIENCE\":\"b\",\"token_type\":\"OIDC\"}",
		  "more than one field" },
		{ "{\"audience\":\"a\",\"audience\":\"b\",\"token_type\":\"OIDC\"}", "duplicate" },
		{ "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonce\":[]}",
		  "unknown field 'nonce'" },
		{ "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"aws_principal_tag_options\":{"
		  "\"x\":1}}",
		  "unknown field 'x'" },
		{ "{\"audience\":7}", "'audience' must be a string" },
		{ "{\"audience\":\"a\\u0000b\",\"token_type\":\"OIDC\"}", "failed to parse" },
		{ "{\"audience\":\"a b\",\"token_type\":\"OIDC\"}", "control character at byte 1" },
		{ "[]", "must be a JSON object" },
		{ "\"x\"", "must be a JSON object" },
		{ "{", "failed to parse POST body as TokenOptions" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		refused(rows[i][0], rows[i][1]);
}

static void audiences_and_nonces_have_exact_limits(void **state)
{
	(void)state;
	for (size_t n = 511; n <= 514; n++) {
		auto_token_request struct token_request r = { 0 };
		char body[700];
		char text[600];

		memset(text, 'a', n);
		text[n] = '\0';
		(void)snprintf(body, sizeof(body), "{\"audience\":\"%s\",\"token_type\":\"PKI\"}",
			       text);
		if (n > 512) {
			(void)snprintf(text, sizeof(text),
				       "'audience' has %zu bytes; the limit is 512", n);
			refused(body, text);
		} else {
			assert_int_equal(token_request_parse(body, strlen(body), &r, NULL), 0);
		}
	}
	for (size_t n = 87; n <= 89; n++) {
		auto_token_request struct token_request r = { 0 };
		char body[200];

		(void)snprintf(body, sizeof(body),
			       "{\"audience\":\"a\",\"token_type\":\"OIDC\",\"nonces\":[\"%0*d\"]}",
			       (int)n, 0);
		if (n > 88)
			refused(body, "'nonces[0]' has 89 bytes; it must have 8 to 88");
		else
			assert_int_equal(token_request_parse(body, strlen(body), &r, NULL), 0);
	}
}

static void the_default_audience_is_out_of_reach_of_the_custom_path(void **state)
{
	static const char *const audiences[] = {
		"https://sts.googleapis.com",     "https://sts.googleapis.com/",
		"HTTPS://STS.googleapis.COM",     "https://sts.googleapis.com//",
		"https:\\/\\/sts.googleapis.com", "\\u0068ttps://sts.googleapis.com",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(audiences); i++) {
		char body[200];

		(void)snprintf(body, sizeof(body),
			       "{\"audience\":\"%s\",\"token_type\":\"OIDC\","
			       "\"nonces\":[\"12345678\"]}",
			       audiences[i]);
		refused(body, "default identity token");
	}
	refused("{\"audience\":\"https://sts.googleapis.com \",\"token_type\":\"OIDC\"}", "space");
}

static void a_request_becomes_the_clients_options(void **state)
{
	static const char body[] =
		"{\"Audience\":\"https://a\",\"nonces\":[\"12345678\",\"abcdefgh\"],"
		"\"token_type\":\"AWS_PRINCIPALTAGS\",\"aws_principal_tag_options\":"
		"{\"allowed_principal_tags\":{\"container_image_signatures\":"
		"{\"key_ids\":[\"k1\",\"k2\"]}}}} trailing";
	auto_token_request struct token_request r = { 0 };
	auto_token_request struct token_request other = { 0 };
	struct tl_token_options o;

	(void)state;
	assert_int_equal(token_request_parse(body, sizeof(body) - 1, &r, NULL), 0);
	o = token_request_options(&r);
	assert_string_equal(o.audience, "https://a");
	assert_int_equal(o.nonces.n, 2);
	assert_string_equal(o.nonces.items[1], "abcdefgh");
	assert_true(o.has_principal_tags && o.has_allowed_tags && o.has_signature_key_ids);
	assert_int_equal(o.signature_key_ids.n, 2);
	assert_int_equal(token_request_parse(body, sizeof(body) - 1, &other, NULL), 0);
	assert_true(token_request_equal(&r, &other));
	other.nonces.items[1][0] = 'x';
	assert_false(token_request_equal(&r, &other));
}

/* --- evidence ------------------------------------------------------------------------------ */

static void blob_of(const json_t *text, struct tl_blob *ret)
{
	if (!json_is_string(text))
		return;
	assert_int_equal(tl_base64_decode(TL_BASE64_STD, json_string_value(text),
					  json_string_length(text), &ret->bytes, &ret->n),
			 0);
}

static void nonces_are_those_of_the_vectors(void **state)
{
	json_auto_t *doc = json_load_file(TL_VECTORS "/evidence-nonce.json", 0, NULL);
	const json_t *v;
	size_t i;

	(void)state;
	assert_int_equal(json_array_size(json_object_get(doc, "cases")), 7);
	json_array_foreach(json_object_get(doc, "cases"), i, v)
	{
		static const struct {
			enum tl_hash hash;
			const char *key;
		} roots[] = { { TL_SHA256, "tpm_sha256_hex" }, { TL_SHA512, "tdx_sha512_hex" } };
		const json_t *extra_text = json_object_get(v, "extra_data_b64");
		auto_blob struct tl_blob challenge = { 0 };
		auto_blob struct tl_blob extra = { 0 };

		blob_of(json_object_get(v, "challenge_b64"), &challenge);
		blob_of(extra_text, &extra);
		for (size_t k = 0; k < TL_ARRAY_SIZE(roots); k++) {
			uint8_t nonce[TL_HASH_SIZE_MAX];
			char hex[2 * TL_HASH_SIZE_MAX + 1];

			assert_int_equal(evidence_nonce(roots[k].hash, &challenge,
							json_is_string(extra_text) ? &extra : NULL,
							nonce),
					 0);
			tl_hex_encode(nonce, tl_hash_size(roots[k].hash), hex);
			assert_string_equal(hex,
					    json_string_value(json_object_get(v, roots[k].key)));
		}
	}
}

static void masks_choose_parts(void **state)
{
	const unsigned int all =
		EVIDENCE_LABEL_FIELD | EVIDENCE_CHALLENGE | EVIDENCE_EXTRA_DATA | EVIDENCE_QUOTE;
	static const struct {
		const char *mask;
		unsigned int bits;
	} rows[] = {
		{ "label,quote", EVIDENCE_LABEL_FIELD | EVIDENCE_QUOTE },
		{ " label , extra_data", EVIDENCE_LABEL_FIELD | EVIDENCE_EXTRA_DATA },
		{ "extraData", EVIDENCE_EXTRA_DATA },
		{ "deviceReports,device_reports", EVIDENCE_DEVICES },
		{ "nothing,Quote,", 0 },
		{ ",", 0 },
		{ " *", 0 },
	};

	(void)state;
	assert_int_equal(evidence_mask_parse(NULL), all);
	assert_int_equal(evidence_mask_parse(""), all);
	assert_int_equal(evidence_mask_parse("label,*"), all | EVIDENCE_DEVICES);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		assert_int_equal(evidence_mask_parse(rows[i].mask), rows[i].bits);
}

static void challenges_come_in_every_base64(void **state)
{
	static const struct {
		const char *text;
		size_t n; /* 0: refused */
	} rows[] = {
		{ "AAA=", 2 }, { "AAA", 2 },   { "+/-_", 3 }, { "AA==", 1 }, { "AA", 1 },
		{ "A", 0 },    { "AA=", 0 },   { "A===", 0 }, { "====", 0 }, { "AAAA====", 0 },
		{ "AA A", 0 }, { "AAAA=", 0 }, { "AB", 0 }, /* stray bits */
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_blob struct tl_blob got = { 0 };
		struct tl_error err = { 0 };
		char body[64];
		int r;

		(void)snprintf(body, sizeof(body), "{\"challenge\":\"%s\"}", rows[i].text);
		r = evidence_request_parse(body, strlen(body), &got, &err);
		if (!rows[i].n != (r < 0) || got.n != rows[i].n)
			fail_msg("%s: %d, %zu bytes", rows[i].text, r, got.n);
	}
}

static void other_evidence_requests_are_refused_and_leave_the_output_alone(void **state)
{
	static const char *const bodies[] = { "",
					      "{}",
					      "[]",
					      "{\"challenge\":null}",
					      "{\"challenge\":1}",
					      "{\"challenge\":\"AAAA\",\"challenge\":\"AAAA\"}",
					      "{\"challenge\":\"AAAA\"} x",
					      "{\"Challenge\":\"AAAA\"}" };
	auto_blob struct tl_blob got = { 0 };

	(void)state;
	assert_int_equal(tl_blob_set(&got, "old", 3), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bodies); i++) {
		struct tl_error err = { 0 };

		assert_int_equal(evidence_request_parse(bodies[i], strlen(bodies[i]), &got, &err),
				 -EINVAL);
		assert_int_equal(err.code, TL_E_TOKEN_REQUEST);
		assert_memory_equal(got.bytes, "old", 3);
	}
}

/* One quote or the other; what the processor signed has no certificate of the TPM beside it. */
static void evidence_is_of_the_root_that_attests(void **state)
{
	static const char tdx[] = "{\"quote\":{\"tdxCcelQuote\":{\"ccelBootEventLog\":\"Y2NlbA==\","
				  "\"celLaunchEventLog\":\"cnRtcg==\",\"tdQuote\":\"cXVvdGU=\"}}}";
	const struct tl_blob challenge = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	auto_free char *before = NULL, *after = NULL, *label = NULL;
	json_auto_t *want = json_loads(tdx, 0, NULL);
	json_auto_t *got = NULL;

	(void)state;
	e.n_quotes = 1;
	e.quotes[0].hash = TL_SHA256;
	assert_int_equal(tl_blob_set(&e.cel, "pcr", 3), 0);
	assert_int_equal(tl_blob_set(&e.ak_cert, "ak", 2), 0);
	assert_int_equal(evidence_format(EVIDENCE_QUOTE, &challenge, &e, &before), 0);
	assert_non_null(strstr(before, "tpmQuote"));
	assert_int_equal(tl_blob_set(&e.tdx.quote, "quote", 5), 0);
	assert_int_equal(tl_blob_set(&e.tdx.ccel_table, "table", 5), 0);
	assert_int_equal(tl_blob_set(&e.tdx.ccel_data, "ccel", 4), 0);
	assert_int_equal(tl_blob_set(&e.tdx.cel, "rtmr", 4), 0);
	assert_int_equal(evidence_format(EVIDENCE_QUOTE, &challenge, &e, &after), 0);
	got = json_loads(after, 0, NULL);
	assert_true(json_equal(got, want));
	assert_int_equal(evidence_format(EVIDENCE_LABEL_FIELD, &challenge, &e, &label), 0);
	assert_null(strstr(label, "quote"));
}

/* --- paths --------------------------------------------------------------------------------- */

static void tricks_with_paths_find_nothing(void **state)
{
	static const struct {
		const char *path;
		int status;
	} rows[] = {
		{ "/v1/token/", 404 },
		{ "//v1/token", 301 },
		{ "/v1/./token", 301 },
		{ "/v1/x/../token", 301 },
		{ "/../v1/token", 301 },
		{ "/v1/token%00", 404 },
		{ "/v1/token/..", 404 },
		{ "v1/token", 404 },
		{ "", 404 },
		{ "*", 404 },
		{ "/V1/token", 404 },
		{ "/v1/token;x", 404 },
		{ "http://x/v1/token", 404 },
		{ "/v1//evidence", 301 },
		{ "/v1/token\r\nX: y", 404 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		const struct token_http req = { .method = "GET", .path = rows[i].path, .body = "" };
		struct token_reply *reply = NULL;
		struct token_ask ask;

		token_api_route(&req, &both, &ask, &reply);
		assert_non_null(reply);
		assert_int_equal(ask.work, TOKEN_WORK_NONE);
		if (reply->status != rows[i].status)
			fail_msg("'%s': %d", rows[i].path, reply->status);
		assert_true(!reply->location == (reply->status != 301));
		if (reply->status == 404)
			assert_string_equal(reply->body.bytes, "404 page not found\n");
		token_reply_unref(reply);
	}
}

static void a_long_path_is_not_ours(void **state)
{
	char path[5000];
	struct token_http req = { .method = "GET", .path = path, .body = "" };
	struct token_reply *reply = NULL;
	struct token_ask ask;

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	path[0] = '/';
	token_api_route(&req, &both, &ask, &reply);
	assert_int_equal(reply->status, 404);
	token_reply_unref(reply);
}

/* --- the bucket ---------------------------------------------------------------------------- */

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
	struct token_bucket b = token_bucket_new(60, 5, 1000);
	uint64_t wait_ms = 0;
	unsigned int given = 0;

	(void)state;
	for (uint64_t now_ms = 1000; now_ms < 61000; now_ms++)
		given += token_bucket_take(&b, now_ms, &wait_ms);
	assert_int_equal(given, 5 + 59);
	assert_true(wait_ms >= 1 && wait_ms <= 1000);
	/* However long nobody came: not more than the burst; a clock that jumps back gives nothing.
	 */
	given = 0;
	for (int i = 0; i < 100; i++)
		given += token_bucket_take(&b, UINT64_MAX / 2, &wait_ms);
	assert_int_equal(given, 5);
	assert_false(token_bucket_take(&b, 0, &wait_ms));
	assert_int_equal(wait_ms, 1000);
}

/* --- the socket ---------------------------------------------------------------------------- */

static void a_folder_that_cannot_hold_a_socket_is_said(void **state)
{
	char dir[] = "/tmp/tl-socket-XXXXXX";
	char longer[200];
	struct tl_token_server_options options = { .dir = longer, .limits = { 60, 5, 0 } };
	struct tl_token_server *got = NULL;
	struct tl_error err = { 0 };

	(void)state;
	assert_non_null(mkdtemp(dir));
	options.quit = tl_cancel_new();
	(void)snprintf(longer, sizeof(longer), "%s/%0100d", dir, 0);
	assert_int_equal(mkdir(longer, 0700), 0);
	assert_int_equal(tl_token_server_start(&options, &got, &err), -ENAMETOOLONG);
	assert_int_equal(err.code, TL_E_TOKEN_SOCKET);
	assert_null(got);
	assert_int_equal(rmdir(longer), 0);
	assert_int_equal(tl_token_server_start(&options, &got, &err), -ENOENT);
	assert_null(got);
	assert_int_equal(tl_token_socket_remove(longer, &err), 0);
	assert_int_equal(rmdir(dir), 0);
	tl_cancel_free(options.quit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_is_answered_as_it_says),
		cmocka_unit_test(each_limit_is_named_with_field_and_length),
		cmocka_unit_test(audiences_and_nonces_have_exact_limits),
		cmocka_unit_test(the_default_audience_is_out_of_reach_of_the_custom_path),
		cmocka_unit_test(a_request_becomes_the_clients_options),
		cmocka_unit_test(nonces_are_those_of_the_vectors),
		cmocka_unit_test(masks_choose_parts),
		cmocka_unit_test(evidence_is_of_the_root_that_attests),
		cmocka_unit_test(challenges_come_in_every_base64),
		cmocka_unit_test(other_evidence_requests_are_refused_and_leave_the_output_alone),
		cmocka_unit_test(tricks_with_paths_find_nothing),
		cmocka_unit_test(a_long_path_is_not_ours),
		cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
		cmocka_unit_test(a_folder_that_cannot_hold_a_socket_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
