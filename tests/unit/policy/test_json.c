/* SPDX-License-Identifier: Apache-2.0 */
/* JSON as the metadata contract reads it, through the launch spec. */
#include "vectors.h"

#include <errno.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>

#define IMAGE "\"tee-image-reference\":\"h.example/p:t\""

static int parse(const char *text, struct tl_launch_spec *spec, struct tl_findings *findings)
{
	return tl_launch_spec_parse(text, strlen(text), NULL, spec, findings);
}

/* JSON exactly as Go's decoder takes it; jansson alone would differ in every line. */
static void json_is_read_as_go_reads_it(void **state)
{
	static const struct {
		const char *json, *value; /* NULL: syntax error */
	} cases[] = {
		{ "\"\\ud800\\u0041\"", "\xef\xbf\xbd"
					"A" },
		{ "\"\\ud800\\ud800\\udc00\"", "\xef\xbf\xbd\xf0\x90\x80\x80" },
		{ "\"\\udc00\\ud800\"", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\\ud800\\\\\"", "\xef\xbf\xbd\\" },
		{ "\"\\uD83D\\uDE00\"", "\xf0\x9f\x98\x80" },
		{ "\"\xed\xa0\x80\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\xc3\"", "\xef\xbf\xbd" },
		{ "\"\xc3\xa9\"", "\xc3\xa9" },
		{ "\"\xf0\x9f\x98\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\xc0\x80\"", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\x7f\"", "\x7f" },
		{ "\"\\/\\b\\f\\n\\r\\t\\\"\"", "/\b\f\n\r\t\"" },
		{ "\"a\tb\"", NULL },
		{ "\"\\x\"", NULL },
		{ "\"\\u12\"", NULL },
		{ "\"\\ud800\\u12\"", NULL },
		{ "\"\\", NULL },
		{ "\"abc", NULL },
		{ "\"\\ud800\\ue000\"", "\xef\xbf\xbd\xee\x80\x80" },
		{ "\"\\ud800\\x\"", NULL },
		{ "\"\\u12zz\"", NULL },
		{ "\"\\ud800abcdefgh\"", "\xef\xbf\xbd"
					 "abcdefgh" },
		{ "\"\xff\xff\xff\xff\xff\"",
		  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\"\\ud800", NULL },
		{ "\"\\ue000\\udbff\"", "\xee\x80\x80\xef\xbf\xbd" },
		{ "\"a\"\xc2\xa0", NULL },
		{ "\"a\"\v", NULL },
		{ "\"a\", \"z\":1e999x", NULL },
		{ "\"a\", \"z\":01", NULL },
		{ "\"a\", \"z\":1.", NULL },
		{ "\"a\", \"z\":-", NULL },
		{ "\"a\", \"z\":1e", NULL },
		{ "\"a\", \"z\":+1", NULL },
		{ "\"a\", \"z\":.5", NULL },
		{ "\"a\", \"z\":NaN", NULL },
		{ "\"a\",", NULL },
		{ "\"a\"} {", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		auto_launch_spec struct tl_launch_spec spec = { 0 };
		auto_free char *text = NULL;

		assert_true(asprintf(&text, "{" IMAGE ",\"tee-env-X\":%s}", cases[i].json) > 0);
		if (!cases[i].value) {
			assert_int_equal(parse(text, &spec, &findings), -EINVAL);
			assert_int_equal(findings.n, 1);
			assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_SYNTAX);
			continue;
		}
		assert_int_equal(parse(text, &spec, &findings), 0);
		assert_string_equal(spec.envs.items[0].value, cases[i].value);
	}
}

/* Numbers of any size are a type error, not a syntax error. */
static void numbers_of_any_size_are_a_type_error(void **state)
{
	static const char *const numbers[] = { "0",        "-0",
					       "1e999",    "123456789012345678901234567890",
					       "-1.5E+10", "1.0e-400" };

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		struct tl_launch_spec spec = { 0 };
		auto_free char *text = NULL;

		assert_true(asprintf(&text, "{" IMAGE ",\"z\":%s}", numbers[i]) > 0);
		assert_int_equal(parse(text, &spec, &findings), -EINVAL);
		assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_TYPE);
	}
}

static void bytes_that_no_text_has_are_a_syntax_error(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} cases[] = { { "{}\0", 3 },
		      { "\0{}", 3 },
		      { "{\"a\":\"\0\"}", 9 },
		      { "\xef\xbb\xbf{}", 5 },
		      { "", 0 },
		      { " ", 1 },
		      { "]", 1 },
		      { "nul", 3 },
		      { "-", 1 },
		      { "1e", 2 },
		      { "1.", 2 },
		      { "1e+", 3 },
		      { "1\0", 2 },
		      { "{\"a\"\0:1}", 8 },
		      { "\"\xff\xff\xff\xff\"]", 7 },
		      { "{\"a\"", 4 },
		      { "{\"a\" ", 5 },
		      { "{\"\\u0000\"", 9 } };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		struct tl_launch_spec spec = { 0 };

		assert_int_equal(
			tl_launch_spec_parse(cases[i].text, cases[i].n, NULL, &spec, &findings),
			-EINVAL);
		assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_SYNTAX);
	}
}

static void other_documents_are_a_type_error(void **state)
{
	static const char *const texts[] = { "1", "-0.5e-3", "true", "\"a\" ", "[]", "[{}]" };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		auto_findings struct tl_findings findings = { 0 };
		struct tl_launch_spec spec = { 0 };

		assert_int_equal(parse(texts[i], &spec, &findings), -EINVAL);
		assert_int_equal(findings.n, 1);
		assert_int_equal(findings.items[0].code, TL_E_ATTRIBUTES_TYPE);
	}
}

/* A key with NUL is an unknown key, whatever it is before the NUL. */
static void nul_in_a_key_becomes_a_replacement_character(void **state)
{
	auto_findings struct tl_findings findings = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };

	(void)state;
	assert_int_equal(parse("{" IMAGE ",\"tee-env-A\\u0000B\" \n:\"v\"}", &spec, &findings), 0);
	assert_string_equal(spec.envs.items[0].key, "A\xef\xbf\xbd"
						    "B");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_read_as_go_reads_it),
		cmocka_unit_test(numbers_of_any_size_are_a_type_error),
		cmocka_unit_test(bytes_that_no_text_has_are_a_syntax_error),
		cmocka_unit_test(other_documents_are_a_type_error),
		cmocka_unit_test(nul_in_a_key_becomes_a_replacement_character),
	};

	return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
