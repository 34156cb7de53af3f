/* SPDX-License-Identifier: Apache-2.0 */
/* The Confidential Computing API's texts: token options (shared vectors), bodies, replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "attest/gca_reply.h"
#include "attest/gca_request.h"
#include "attest/json_secret.h"

/* --- options ------------------------------------------------------------------------------ */

static void list_read(const json_t *list, struct tl_strv *ret)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		assert_int_equal(tl_strv_add(ret, json_string_value(item)), 0);
	}
}

/* The token socket's JSON to our options. */
static void options_read(const json_t *v, struct tl_token_options *ret)
{
	const json_t *tags = json_object_get(v, "aws_principal_tag_options");
	const json_t *allowed = json_object_get(tags, "allowed_principal_tags");
	const json_t *signatures = json_object_get(allowed, "container_image_signatures");

	*ret = (struct tl_token_options){
		.audience = json_string_value(json_object_get(v, "audience")),
		.token_type = json_string_value(json_object_get(v, "token_type")),
		.has_principal_tags = tags,
		.has_allowed_tags = allowed,
		.has_signature_key_ids = signatures,
	};
	list_read(json_object_get(v, "nonces"), &ret->nonces);
	list_read(json_object_get(signatures, "key_ids"), &ret->signature_key_ids);
}

static void token_options_of_the_vectors_become_the_apis(void **state)
{
	json_auto_t *doc = json_load_file(TL_VECTORS "/token-options.json", 0, NULL);
	const json_t *cases = json_object_get(doc, "cases");
	json_t *v;
	size_t i;

	(void)state;
	assert_int_equal(json_array_size(cases), 15);
	json_array_foreach(cases, i, v)
	{
		struct tl_token_options options;
		json_auto_t *got = NULL;

		options_read(json_object_get(v, "token_options"), &options);
		got = gca_space_options(&options);
		if (!json_equal(got, json_object_get(v, "expect_options")))
			fail_msg("%s", json_string_value(json_object_get(v, "id")));
		tl_strv_done(&options.nonces);
		tl_strv_done(&options.signature_key_ids);
	}
}

static void the_older_call_names_the_token_type_by_its_number(void **state)
{
	static const struct {
		const char *type, *expect;
	} rows[] = {
		{ "OIDC", "{\"tokenType\":1}" },
		{ "PKI", "{\"tokenType\":2}" },
		{ "LIMITED_AWS", "{\"tokenType\":3}" },
		{ "AWS_PRINCIPALTAGS", "{\"tokenType\":4}" },
		{ "oidc", "{}" },
		{ NULL, "{}" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		const struct tl_token_options options = { .token_type = rows[i].type };
		json_auto_t *got = gca_token_options(&options);
		auto_free char *text = json_dumps(got, JSON_COMPACT);

		assert_string_equal(text, rows[i].expect);
	}
}

/* --- bodies ------------------------------------------------------------------------------- */

static void evidence_make(struct tl_evidence *e)
{
	static const uint8_t bytes[] = { 0xff, 0xfe, 0xfd };

	tl_evidence_init(e);
	e->n_quotes = 2;
	for (size_t i = 0; i < e->n_quotes; i++) {
		struct tl_quote *q = &e->quotes[i];

		q->hash = i ? TL_SHA256 : TL_SHA1;
		q->n_pcrs = 2;
		q->pcrs[0].index = 0;
		q->pcrs[1].index = 13;
		memset(q->pcrs[1].bytes, 0xab, tl_hash_size(q->hash));
		assert_int_equal(tl_blob_set(&q->attest, bytes, 1), 0);
		assert_int_equal(tl_blob_set(&q->signature, bytes, 2), 0);
	}
	assert_int_equal(tl_blob_set(&e->tcg_event_log, "log", 3), 0);
	assert_int_equal(tl_blob_set(&e->cel, bytes, 3), 0);
	assert_int_equal(tl_blob_set(&e->ak_cert, "cert", 4), 0);
	assert_int_equal(tl_blob_set(&e->cert_chain[0], "issuer", 6), 0);
	e->n_chain = 1;
}

#define QUOTES                                                                                     \
	"\"tpmAttestation\":{\"quotes\":["                                                         \
	"{\"hashAlgo\":4,\"pcrValues\":{\"0\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAA=\","                   \
	"\"13\":\"q6urq6urq6urq6urq6urq6urq6s=\"},\"rawQuote\":\"/w==\",\"rawSignature\":\"//"     \
	"4=\"},"                                                                                   \
	"{\"hashAlgo\":11,\"pcrValues\":{\"0\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\","  \
	"\"13\":\"q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\"},"                                \
	"\"rawQuote\":\"/w==\",\"rawSignature\":\"//4=\"}],"                                       \
	"\"tcgEventLog\":\"bG9n\",\"canonicalEventLog\":\"//79\",\"akCert\":\"Y2VydA==\","         \
	"\"certChain\":[\"aXNzdWVy\"]}"

static void body_is(enum tl_verifier_api api, size_t n_principals,
		    const struct tl_image_signatures *signatures, const char *expect)
{
	struct tl_secret principals[2] = { 0 };
	const struct tl_token_options options = { .audience = "a", .token_type = "OIDC" };
	auto_evidence struct tl_evidence evidence = { 0 };
	auto_buf struct tl_buf body = { 0 };
	json_auto_t *wanted = json_loads(expect, 0, NULL);
	json_auto_t *got = NULL;

	assert_non_null(wanted);
	evidence_make(&evidence);
	tl_secret_set(&principals[0], "one.a.b", 7);
	tl_secret_set(&principals[1], "two.a.b", 7);
	assert_int_equal(gca_verify_body(api, "projects/p/locations/r/challenges/c", principals,
					 n_principals, &evidence, signatures, &options, &body,
					 NULL),
			 0);
	got = json_loadb(tl_buf_str(&body), body.len_bytes, 0, NULL);
	if (!json_equal(got, wanted))
		fail_msg("%s", tl_buf_str(&body));
	tl_secret_done(&principals[0]);
	tl_secret_done(&principals[1]);
}

static void the_body_of_verify_confidential_space_is_exact(void **state)
{
	(void)state;
	body_is(TL_VERIFIER_CONFIDENTIAL_SPACE, 2, NULL,
		"{\"challenge\":\"projects/p/locations/r/challenges/c\",\"gcpCredentials\":"
		"{\"serviceAccountIdTokens\":[\"one.a.b\",\"two.a.b\"]},\"signedEntities\":[{}]"
		"," QUOTES
		",\"options\":{\"audience\":\"a\",\"tokenProfile\":1,\"signatureType\":1}}");
}

static void the_body_of_verify_attestation_is_exact(void **state)
{
	(void)state;
	body_is(TL_VERIFIER_ATTESTATION, 0, NULL,
		"{\"challenge\":\"projects/p/locations/r/challenges/c\",\"gcpCredentials\":{},"
		"\"confidentialSpaceInfo\":{\"signedEntities\":[{}]}," QUOTES
		",\"tokenOptions\":{\"audience\":\"a\",\"tokenType\":1}}");
}

/* Where there is no place for the TPM's quotes, or the TPM couldn't take the nonce, its certificate
 * says which machine it is. */
static void tdx_evidence_takes_its_own_fields(void **state)
{
	static const char td[] = "\"tdCcel\":{\"ccelAcpiTable\":\"dA==\",\"ccelData\":\"ZA==\","
				 "\"canonicalEventLog\":\"cnRtcg==\",\"tdQuote\":\"cQ==\"}";
	static const struct {
		enum tl_verifier_api api;
		size_t n_quotes;
		const char *identity;
	} rows[] = {
		{ TL_VERIFIER_CONFIDENTIAL_SPACE, 2,
		  "\"gceShieldedIdentity\":{\"akCert\":\"Y2VydA=="
		  "\",\"akCertChain\":[\"aXNzdWVy\"]}" },
		{ TL_VERIFIER_ATTESTATION, 0,
		  "\"tpmAttestation\":{\"akCert\":\"Y2VydA==\",\"certChain\":[\"aXNzdWVy\"]}" },
		{ TL_VERIFIER_ATTESTATION, 2, QUOTES },
	};
	const struct tl_token_options options = { .audience = "a" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_evidence struct tl_evidence e = { 0 };
		auto_buf struct tl_buf body = { 0 };

		bool is_beside = rows[i].api == TL_VERIFIER_ATTESTATION && rows[i].n_quotes;

		evidence_make(&e);
		e.n_quotes = rows[i].n_quotes;
		assert_int_equal(tl_blob_set(&e.tdx.quote, "q", 1), 0);
		assert_int_equal(tl_blob_set(&e.tdx.cel, "rtmr", 4), 0);
		assert_int_equal(tl_blob_set(&e.tdx.ccel_table, "t", 1), 0);
		assert_int_equal(tl_blob_set(&e.tdx.ccel_data, "d", 1), 0);
		assert_int_equal(
			gca_verify_body(rows[i].api, "c", NULL, 0, &e, NULL, &options, &body, NULL),
			0);
		assert_non_null(strstr(tl_buf_str(&body), td));
		assert_non_null(strstr(tl_buf_str(&body), rows[i].identity));
		assert_int_equal(strstr(tl_buf_str(&body), "quotes") != NULL, is_beside);
	}
}

static void an_snp_report_goes_where_there_is_a_place_for_it(void **state)
{
	static const char snp[] =
		"\"sevSnpAttestation\":{\"report\":\"cmVwb3J0\",\"auxBlob\":\"Y2VydHM=\"}";
	static const enum tl_verifier_api apis[] = { TL_VERIFIER_CONFIDENTIAL_SPACE,
						     TL_VERIFIER_ATTESTATION };
	const struct tl_token_options options = { .audience = "a" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(apis); i++) {
		auto_evidence struct tl_evidence e = { 0 };
		auto_buf struct tl_buf body = { 0 };

		evidence_make(&e);
		assert_int_equal(tl_blob_set(&e.snp.report, "report", 6), 0);
		assert_int_equal(tl_blob_set(&e.snp.certificates, "certs", 5), 0);
		assert_int_equal(
			gca_verify_body(apis[i], "c", NULL, 0, &e, NULL, &options, &body, NULL), 0);
		assert_int_equal(strstr(tl_buf_str(&body), snp) != NULL, i);
		assert_int_equal(strstr(tl_buf_str(&body), "sevSnp") != NULL, i);
		assert_non_null(strstr(tl_buf_str(&body), QUOTES));
	}
}

#define SIGNED                                                                                     \
	"\"signedEntities\":[{\"containerImageSignatures\":[{\"payload\":\"e30=\",\"signature\":"  \
	"\"//4=\"},{\"payload\":\"W10=\",\"signature\":\"//4=\"}]}]"

static void image_signatures_are_one_signed_entity(void **state)
{
	static const uint8_t bytes[] = { 0xff, 0xfe };
	const struct tl_blob payloads[] = { { (uint8_t *)(uintptr_t) "{}", 2 },
					    { (uint8_t *)(uintptr_t) "[]", 2 } };
	const struct tl_blob signature = { (uint8_t *)(uintptr_t)bytes, 2 };
	auto_image_signatures struct tl_image_signatures none = { 0 };
	auto_image_signatures struct tl_image_signatures two = { 0 };

	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(tl_image_signatures_add(&two, &payloads[i], &signature), 0);
	body_is(TL_VERIFIER_CONFIDENTIAL_SPACE, 0, &none,
		"{\"challenge\":\"projects/p/locations/r/challenges/c\",\"gcpCredentials\":{},"
		"\"signedEntities\":[{}]," QUOTES
		",\"options\":{\"audience\":\"a\",\"tokenProfile\":1,\"signatureType\":1}}");
	body_is(TL_VERIFIER_CONFIDENTIAL_SPACE, 0, &two,
		"{\"challenge\":\"projects/p/locations/r/challenges/"
		"c\",\"gcpCredentials\":{}," SIGNED "," QUOTES
		",\"options\":{\"audience\":\"a\",\"tokenProfile\":1,\"signatureType\":1}}");
	body_is(TL_VERIFIER_ATTESTATION, 0, &two,
		"{\"challenge\":\"projects/p/locations/r/challenges/c\",\"gcpCredentials\":{},"
		"\"confidentialSpaceInfo\":{" SIGNED "}," QUOTES
		",\"tokenOptions\":{\"audience\":\"a\",\"tokenType\":1}}");
}

static void evidence_above_the_limit_is_refused_by_name(void **state)
{
	const struct tl_token_options options = { 0 };
	auto_evidence struct tl_evidence evidence = { 0 };
	auto_buf struct tl_buf body = { 0 };
	struct tl_error err = { 0 };
	auto_free char *huge = calloc(1, GCA_REQUEST_MAX_BYTES);

	(void)state;
	assert_int_equal(tl_blob_set(&evidence.cel, huge, GCA_REQUEST_MAX_BYTES), 0);
	assert_true(gca_verify_body(TL_VERIFIER_ATTESTATION, "projects/p", NULL, 0, &evidence, NULL,
				    &options, &body, &err) < 0);
	assert_int_equal(err.code, TL_E_VERIFIER_REFUSED);
	assert_int_equal(body.len_bytes, 0);
}

/* --- replies ------------------------------------------------------------------------------ */

static void a_status_becomes_its_code(void **state)
{
	static const struct {
		int status;
		enum tl_code code;
	} rows[] = {
		{ 302, TL_E_VERIFIER_REFUSED },     { 400, TL_E_VERIFIER_REFUSED },
		{ 401, TL_E_VERIFIER_CREDENTIALS }, { 403, TL_E_VERIFIER_CREDENTIALS },
		{ 404, TL_E_VERIFIER_REFUSED },     { 408, TL_E_VERIFIER_UNAVAILABLE },
		{ 409, TL_E_VERIFIER_REFUSED },     { 429, TL_E_VERIFIER_BUSY },
		{ 500, TL_E_VERIFIER_UNAVAILABLE }, { 503, TL_E_VERIFIER_UNAVAILABLE },
		{ 599, TL_E_VERIFIER_UNAVAILABLE }, { 204, TL_E_VERIFIER_REFUSED },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_error err = { 0 };
		json_t *reply = NULL;

		assert_true(gca_reply_parse(rows[i].status, "{}", 2, &reply, &err) < 0);
		assert_int_equal(err.code, rows[i].code);
		assert_null(reply);
	}
}

static void only_an_aborted_exchange_is_begun_anew(void **state)
{
	static const struct {
		int status;
		const char *body;
		enum tl_code code;
	} rows[] = {
		{ 409, "{\"error\":{\"status\":\"ABORTED\"}}", TL_E_VERIFIER_UNAVAILABLE },
		{ 409, "{\"error\":{\"status\":\"ALREADY_EXISTS\"}}", TL_E_VERIFIER_REFUSED },
		{ 409, "{\"error\":{\"status\":7}}", TL_E_VERIFIER_REFUSED },
		{ 409, "{\"status\":\"ABORTED\"}", TL_E_VERIFIER_REFUSED },
		{ 409, "ABORTED", TL_E_VERIFIER_REFUSED },
		{ 409, "", TL_E_VERIFIER_REFUSED },
		{ 400, "{\"error\":{\"status\":\"ABORTED\"}}", TL_E_VERIFIER_REFUSED },
		{ 403, "{\"error\":{\"status\":\"ABORTED\"}}", TL_E_VERIFIER_CREDENTIALS },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_error err = { 0 };
		json_t *reply = NULL;

		assert_true(gca_reply_parse(rows[i].status, rows[i].body, strlen(rows[i].body),
					    &reply, &err) < 0);
		assert_int_equal(err.code, rows[i].code);
		assert_null(reply);
	}
}

static void the_services_words_are_shown_escaped_and_without_tokens(void **state)
{
	static const char body[] =
		"{\"error\":{\"code\":403,\"message\":\"no \\u001b[31m eyJhbGciOiJSUzI1NiJ9."
		"CANARYeyJleHAiOjIwMDB9.c2lnbmF0dXJl for projects/p/locations/r\","
		"\"status\":\"PERMISSION_DENIED\"}}";
	struct tl_error err = { 0 };
	json_t *reply = NULL;

	(void)state;
	assert_true(gca_reply_parse(403, body, sizeof(body) - 1, &reply, &err) < 0);
	assert_string_equal(err.msg, "status 403: no \\x1b[31m [...] for projects/p/locations/r");
}

static void words_are_cut_and_may_be_anything(void **state)
{
	auto_free char *long_text = malloc(5000);
	struct tl_error err = { 0 };
	json_t *reply = NULL;
	char cut[8];

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		long_text[i] = i % 8 ? 'x' : ' ';
	assert_true(gca_reply_parse(500, long_text, 5000, &reply, &err) < 0);
	assert_true(strlen(err.msg) < GCA_WORDS_MAX_BYTES + 20);
	assert_true(gca_reply_parse(500, NULL, 0, &reply, &err) < 0);
	assert_string_equal(err.msg, "status 500");
	gca_words_redact("0123456789", cut, sizeof(cut));
	assert_string_equal(cut, "0123456");
	gca_words_redact("0123456789012345678901234567890123456789", cut, sizeof(cut));
	assert_string_equal(cut, "[...]");
	gca_words_redact("anything", cut, 1);
	assert_string_equal(cut, "");
}

static void a_200_must_be_a_json_object(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"null",
		"{",
		"{} {}",
		"<html>",
		"\"x\"",
		"{\"deep\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}",
	};
	json_t *reply = NULL;
	struct tl_error err = { 0 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bodies); i++) {
		assert_true(gca_reply_parse(200, bodies[i], strlen(bodies[i]), &reply, &err) < 0);
		assert_int_equal(err.code, TL_E_VERIFIER_RESPONSE);
		assert_null(reply);
	}
	assert_int_equal(gca_reply_parse(200, "{\"x\":1}", 7, &reply, &err), 0);
	assert_int_equal(json_object_size(reply), 1);
	json_decref(reply);
}

static void retry_after_is_read_as_seconds_or_as_a_date(void **state)
{
	static const struct {
		const char *value;
		uint64_t expect_ms;
	} rows[] = {
		{ NULL, 0 },
		{ "", 0 },
		{ "0", 0 },
		{ "7", 7000 },
		{ "86400", 86400000 },
		{ "86401", 0 },
		{ "-1", 0 },
		{ "7 s", 0 },
		{ "99999999999999999999", 0 },
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 0 }, /* past */
		{ "Thu, 01 Jan 2026 00:00:30 GMT", 30000 },
		{ "Thu, 01 Jan 2027 00:00:30 GMT", 86400000 },
		{ "Thu, 01 Jan 2026 00:00:30", 0 },
		{ "Thu, 01 Jan 2026 00:00:30 GMT!", 0 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		assert_int_equal(gca_retry_after_ms(rows[i].value, 1767225600), rows[i].expect_ms);
}

static void resource_names_cannot_leave_their_place(void **state)
{
	static const char *const bad[] = { "",
					   "projects",
					   "projects/",
					   "project/p",
					   "/projects/p",
					   "projects/p/../q",
					   "projects//p",
					   "projects/p?x",
					   "projects/p#x",
					   "projects/p x",
					   "projects/p%2f",
					   "projects/p\n" };
	char long_name[GCA_NAME_MAX_BYTES + 2];

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++)
		if (gca_name_is_valid(bad[i]))
			fail_msg("accepted '%s'", bad[i]);
	assert_true(gca_name_is_valid("projects/p/locations/us-central1/challenges/a_B-1.2"));
	memset(long_name, 'a', sizeof(long_name));
	memcpy(long_name, "projects/", 9);
	long_name[GCA_NAME_MAX_BYTES + 1] = '\0';
	assert_false(gca_name_is_valid(long_name));
	long_name[GCA_NAME_MAX_BYTES] = '\0';
	assert_true(gca_name_is_valid(long_name));
}

/* --- secrets ------------------------------------------------------------------------------ */

static void a_secret_taken_out_of_json_is_wiped_there(void **state)
{
	json_auto_t *string = json_string("CANARY");
	auto_secret struct tl_secret secret = { 0 };

	(void)state;
	assert_int_equal(json_secret_take(string, &secret), 0);
	assert_string_equal(secret.bytes, "CANARY");
	assert_memory_equal(json_string_value(string), "\0\0\0\0\0\0", 6);
	json_secret_wipe(NULL); /* and what is no string is left alone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(token_options_of_the_vectors_become_the_apis),
		cmocka_unit_test(the_older_call_names_the_token_type_by_its_number),
		cmocka_unit_test(the_body_of_verify_confidential_space_is_exact),
		cmocka_unit_test(tdx_evidence_takes_its_own_fields),
		cmocka_unit_test(an_snp_report_goes_where_there_is_a_place_for_it),
		cmocka_unit_test(the_body_of_verify_attestation_is_exact),
		cmocka_unit_test(image_signatures_are_one_signed_entity),
		cmocka_unit_test(evidence_above_the_limit_is_refused_by_name),
		cmocka_unit_test(a_status_becomes_its_code),
		cmocka_unit_test(only_an_aborted_exchange_is_begun_anew),
		cmocka_unit_test(the_services_words_are_shown_escaped_and_without_tokens),
		cmocka_unit_test(words_are_cut_and_may_be_anything),
		cmocka_unit_test(a_200_must_be_a_json_object),
		cmocka_unit_test(retry_after_is_read_as_seconds_or_as_a_date),
		cmocka_unit_test(a_secret_taken_out_of_json_is_wiped_there),
		cmocka_unit_test(resource_names_cannot_leave_their_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
