/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/request.h"

#define SHA256_ZEROS "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define BANK                                                                                       \
	"{\"pcrValues\":{\"0\":\"" SHA256_ZEROS "\",\"23\":\"" SHA256_ZEROS                        \
	"\"},\"rawQuote\":\"cXVvdGU=\",\"rawSignature\":\"c2ln\",\"hashAlgo\":11}"
#define TPM(banks)                                                                                 \
	"\"tpmAttestation\":{\"quotes\":[" banks "],\"tcgEventLog\":\"Znc=\","                     \
	"\"canonicalEventLog\":\"Y2Vs\",\"akCert\":\"YWs=\",\"certChain\":[\"Y2E=\"]}"

static struct verify_request *parse(const char *body, struct tl_error *err)
{
	struct verify_request *r = NULL;

	(void)verify_request_parse(REQUEST_CONFIDENTIAL_SPACE, body, strlen(body), &r, err);
	return r;
}

static void refused(const char *body, enum tl_code code, const char *named)
{
	struct tl_error err = { 0 };

	assert_null(parse(body, &err));
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, named))
		fail_msg("'%s' doesn't name '%s'", err.msg, named);
}

static void a_whole_request_is_read(void **state)
{
	auto_verify_request struct verify_request *r = parse(
		"{\"challenge\":\"c\",\"gcpCredentials\":{\"serviceAccountIdTokens\":[\"a.b.c\"]},"
		"\"signedEntities\":[{}]," TPM(BANK) ",\"options\":{\"audience\":\"me\","
						     "\"nonce\":[\"12345678\"],"
						     "\"tokenProfile\":1,\"signatureType\":\"SIG"
						     "NATURE_TYPE_OIDC\"}}",
		NULL);

	(void)state;
	assert_non_null(r);
	assert_string_equal(r->challenge, "c");
	assert_int_equal(r->id_tokens_n, 1);
	assert_string_equal(r->id_tokens[0].bytes, "a.b.c");
	assert_int_equal(r->signatures.n, 0);
	assert_int_equal(r->banks_n, 1);
	assert_int_equal(r->banks[0].hash, TL_SHA256);
	assert_int_equal(r->banks[0].pcrs.mask, 1 << 23 | 1);
	assert_string_equal(tl_buf_str(&r->banks[0].quote), "quote");
	assert_string_equal(tl_buf_str(&r->banks[0].signature), "sig");
	assert_string_equal(tl_buf_str(&r->firmware_log), "fw");
	assert_string_equal(tl_buf_str(&r->launch_log), "cel");
	assert_string_equal(tl_buf_str(&r->ak_cert), "ak");
	assert_int_equal(r->chain_n, 1);
	assert_string_equal(tl_buf_str(&r->chain[0]), "ca");
	assert_string_equal(r->token.audience, "me");
	assert_int_equal(r->token.nonces.n, 1);
}

static void the_default_audience_is_for_requests_without_audience_and_nonce(void **state)
{
	auto_verify_request struct verify_request *none = parse("{" TPM(BANK) "}", NULL);
	auto_verify_request struct verify_request *empty =
		parse("{" TPM(BANK) ",\"options\":{\"audience\":\"\",\"nonce\":[]}}", NULL);
	auto_verify_request struct verify_request *nonce =
		parse("{" TPM(BANK) ",\"options\":{\"nonce\":[\"12345678\"]}}", NULL);

	(void)state;
	assert_string_equal(none->token.audience, REQUEST_AUDIENCE_DEFAULT);
	assert_string_equal(empty->token.audience, REQUEST_AUDIENCE_DEFAULT);
	assert_string_equal(nonce->token.audience, "");
}

static void verify_attestation_has_its_own_fields(void **state)
{
	static const char body[] = "{" TPM(BANK) ",\"confidentialSpaceInfo\":{\"signedEntities\":[]"
						 "},\"tokenOptions\":{\"tokenType\":1}}";
	auto_verify_request struct verify_request *r = NULL;

	(void)state;
	assert_int_equal(
		verify_request_parse(REQUEST_ATTESTATION, body, sizeof(body) - 1, &r, NULL), 0);
	refused(body, TL_E_VERIFY_REQUEST, "'confidentialSpaceInfo'");
}

#define SIGNATURES(list)                                                                           \
	"{" TPM(BANK) ",\"signedEntities\":[{\"containerImageSignatures\":[" list "]},{}]}"

static void signatures_are_read_with_their_limits(void **state)
{
	auto_verify_request struct verify_request *r =
		parse(SIGNATURES("{\"payload\":\"e30=\",\"signature\":\"c2ln\"},"
				 "{\"payload\":\"e30=\",\"signature\":\"c2ln\"}"),
		      NULL);

	(void)state;
	assert_non_null(r);
	assert_int_equal(r->signatures.n, 1); /* the same one twice is one */
	assert_memory_equal(r->signatures.items[0].payload.bytes, "{}", 2);
	assert_memory_equal(r->signatures.items[0].signature.bytes, "sig", 3);
	refused(SIGNATURES("{\"payload\":\"e30\"}"), TL_E_VERIFY_REQUEST,
		"containerImageSignatures[0].payload'");
	refused(SIGNATURES("{\"key\":\"\"}"), TL_E_VERIFY_REQUEST, "[0].key'");
	refused(SIGNATURES("7"), TL_E_VERIFY_REQUEST, "containerImageSignatures[0]'");
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	refused("{\"tpmAttestation\":{}}", TL_E_VERIFY_REQUEST, "'tpmAttestation.quotes'");
	refused("{" TPM("") "}", TL_E_VERIFY_REQUEST, "'tpmAttestation.quotes' is empty");
	refused("{" TPM("1") "}", TL_E_VERIFY_REQUEST, "'tpmAttestation.quotes[0]'");
	refused("{" TPM(BANK "," BANK) "}", TL_E_VERIFY_REQUEST, "sha256");
	refused("{" TPM(BANK) ",\"colour\":1}", TL_E_VERIFY_REQUEST, "'colour'");
	refused("{" TPM(BANK) ",\"nvidiaAttestation\":{}}", TL_E_VERIFY_UNSUPPORTED,
		"'nvidiaAttestation'");
	refused("{" TPM(BANK) ",\"options\":{\"signatureType\":3}}", TL_E_VERIFY_TOKEN_OPTIONS,
		"'options.signatureType'");
	refused("{" TPM(BANK) ",\"options\":{\"nonce\":[\"12345678\",\"1234567\"]}}",
		TL_E_VERIFY_TOKEN_OPTIONS, "'options.nonce[1]'");
	refused("{} {}", TL_E_VERIFY_REQUEST, "not JSON");
	refused("{\"a\":\"\\u0000\"}", TL_E_VERIFY_REQUEST, "not JSON");
}

static void a_bank_is_read_strictly(void **state)
{
	static const char *const banks[] = {
		/* PCR keys: too large, not canonical, signed, empty */
		"{\"24\":\"" SHA256_ZEROS "\"}", "{\"00\":\"" SHA256_ZEROS "\"}",
		"{\"+1\":\"" SHA256_ZEROS "\"}", "{\"\":\"" SHA256_ZEROS "\"}",
		/* values: another size, not base64, no string, base64url, no padding */
		"{\"0\":\"AAAA\"}", "{\"0\":\"A\"}", "{\"0\":1}",
		"{\"0\":\"--------------------------------------------\"}",
		"{\"0\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}", "[]"
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(banks); i++) {
		char body[1024];

		assert_true(snprintf(body, sizeof(body),
				     "{" TPM("{\"hashAlgo\":11,\"pcrValues\":%s,\"rawQuote\":\"\","
					     "\"rawSignature\":\"\"}") "}",
				     banks[i]) < (int)sizeof(body));
		refused(body, TL_E_VERIFY_REQUEST, "pcrValues");
	}
	refused("{" TPM("{\"hashAlgo\":18,\"pcrValues\":{},\"rawQuote\":\"\",\"rawSignature\":"
			"\"\"}") "}",
		TL_E_VERIFY_REQUEST, "hashAlgo");
}

static void blobs_have_their_limits(void **state)
{
	auto_buf struct tl_buf body = { .max_bytes = 65536 };

	(void)state;
	assert_int_equal(tl_buf_append_str(&body, "{\"tpmAttestation\":{\"quotes\":[" BANK "],"
						  "\"tcgEventLog\":\"\",\"canonicalEventLog\":"
						  "\"\",\"akCert\":\""),
			 0);
	for (size_t i = 0; i < REQUEST_CERT_MAX / 3 + 1; i++)
		assert_int_equal(tl_buf_append_str(&body, "AAAA"), 0);
	assert_int_equal(tl_buf_append_str(&body, "\"}}"), 0);
	refused(tl_buf_str(&body), TL_E_VERIFY_REQUEST, "limit of 16384 bytes");
}

/* A few megabytes of "[{},{},..." would cost a hundred times as much once parsed. */
static void a_body_of_too_many_values_is_refused_before_it_is_parsed(void **state)
{
	static char body[2 * 150000 + 32];
	struct verify_request *r = NULL;
	struct tl_error err = { 0 };
	size_t at = 0;

	(void)state;
	body[at++] = '[';
	for (int i = 0; i < 150000; i++) {
		body[at++] = '1';
		body[at++] = ',';
	}
	body[at - 1] = ']';
	assert_int_equal(verify_request_parse(REQUEST_CONFIDENTIAL_SPACE, body, at, &r, &err),
			 -EFBIG);
	assert_int_equal(err.code, TL_E_VERIFY_TOO_LARGE);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_body_of_too_many_values_is_refused_before_it_is_parsed),
		cmocka_unit_test(a_whole_request_is_read),
		cmocka_unit_test(the_default_audience_is_for_requests_without_audience_and_nonce),
		cmocka_unit_test(verify_attestation_has_its_own_fields),
		cmocka_unit_test(signatures_are_read_with_their_limits),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(a_bank_is_read_strictly),
		cmocka_unit_test(blobs_have_their_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
