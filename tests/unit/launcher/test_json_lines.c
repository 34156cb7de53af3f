/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "launcher/workload/console_lines.h"
#include "launcher/workload/json_lines.h"

static void decoded(const json_t *one, const char *key, uint8_t **ret, size_t *ret_n)
{
	assert_int_equal(
		tl_base64_decode(TL_BASE64_STD, json_string_value(json_object_get(one, key)),
				 json_string_length(json_object_get(one, key)), ret, ret_n),
		0);
}

static void check_vector(const json_t *one)
{
	auto_free uint8_t *chunk = NULL;
	auto_free uint8_t *expected = NULL;
	auto_buf struct tl_buf got = { 0 };
	size_t chunk_n, expected_n;

	decoded(one, "chunk_b64", &chunk, &chunk_n);
	decoded(one, "output_b64", &expected, &expected_n);
	tl_buf_init(&got, 1024 * 1024);
	assert_int_equal(json_lines_encode(json_string_value(json_object_get(one, "severity")),
					   chunk, chunk_n, &got),
			 0);
	if (got.len_bytes != expected_n ||
	    (expected_n && memcmp(got.data, expected, expected_n) != 0))
		fail_msg("%s: %s", json_string_value(json_object_get(one, "id")), tl_buf_str(&got));
}

static void every_vector_comes_out_byte_for_byte(void **state)
{
	json_error_t e;
	json_t *all = json_load_file(TL_VECTORS "/json-log-lines.json", 0, &e);
	json_t *cases = json_object_get(all, "cases");

	(void)state;
	assert_true(json_array_size(cases) >= 20);
	for (size_t i = 0; i < json_array_size(cases); i++)
		check_vector(json_array_get(cases, i));
	json_decref(all);
}

static void what_does_not_fit_changes_nothing(void **state)
{
	auto_buf struct tl_buf got = { 0 };

	(void)state;
	tl_buf_init(&got, 60);
	assert_int_equal(json_lines_encode("INFO", "a\n", 2, &got), 0);
	assert_int_equal(json_lines_encode("INFO", "bcdefghijklmnopqrstuvwxyz\n", 26, &got),
			 -ENOBUFS);
	assert_string_equal(tl_buf_str(&got), "{\"message\":\"a\",\"severity\":\"INFO\"}\n");
}

static void a_chunk_is_cut_after_a_line_or_before_an_unfinished_character(void **state)
{
	(void)state;
	assert_int_equal(json_lines_complete("one\ntwo", 7, false), 4);
	assert_int_equal(json_lines_complete("one", 3, false), 0);
	assert_int_equal(json_lines_complete("one", 3, true), 3);
	assert_int_equal(json_lines_complete("\xc3", 1, true), 1); /* nothing else to pass on */
	assert_int_equal(json_lines_complete("a\xc3", 2, true), 1);
	assert_int_equal(json_lines_complete("a\xc3\xa4", 3, true), 3);
	assert_int_equal(json_lines_complete("a\xe2\x82", 3, true), 1);
	assert_int_equal(json_lines_complete("a\xf0\x9f\x92", 4, true), 1);
	assert_int_equal(json_lines_complete("a\x82\x82\x82\x82", 5, true), 5); /* no lead byte */
	assert_int_equal(json_lines_complete("", 0, true), 0);
}

static void assert_console(const char *chunk, size_t n, const char *expected)
{
	auto_buf struct tl_buf got = { 0 };

	tl_buf_init(&got, n * (CONSOLE_LINES_GROWTH + CONSOLE_LINES_PREFIX_MAX) + 1);
	assert_int_equal(console_lines_encode("w: ", chunk, n, &got), 0);
	assert_string_equal(tl_buf_str(&got), expected);
}

static void no_byte_of_a_workload_leaves_its_line_on_the_console(void **state)
{
	static const struct {
		const char *chunk, *expected;
	} cases[] = {
		{ "one\ntwo", "w: one\nw: two\n" },
		{ "one\r\n\n\tx\n", "w: one\nw: \nw: \tx\n" },
		{ "50%\rlevel=INFO event=forged\n", "w: 50%\\x0dlevel=INFO event=forged\n" },
		{ "\033[2J\033[1A\b\x7f", "w: \\x1b[2J\\x1b[1A\\x08\\x7f\n" },
		{ "\xc2\x9b"
		  "31m",
		  "w: \\xc2\\x9b31m\n" }, /* CSI in one character */
		{ "a\xe2\x80\xa8z", "w: a\\xe2\\x80\\xa8z\n" },
		{ "c\xe2\x81\xa7z\xe2\x81\xa9", "w: c\\xe2\\x81\\xa7z\\xe2\\x81\\xa9\n" },
		{ "\xff\xc3(\xed\xa0\x80", "w: \\xff\\xc3(\\xed\\xa0\\x80\n" },
		{ "Gr\xc3\xbc\xc3\x9f"
		  "e \xf0\x9f\x98\x80 {\"a\":\"b\\n\"}",
		  "w: Gr\xc3\xbc\xc3\x9f"
		  "e \xf0\x9f\x98\x80 {\"a\":\"b\\n\"}\n" },
		{ "", "" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++)
		assert_console(cases[i].chunk, strlen(cases[i].chunk), cases[i].expected);
	assert_console("a\0b", 3, "w: a\\x00b\n");
}

static void a_console_line_that_does_not_fit_changes_nothing(void **state)
{
	auto_buf struct tl_buf got = { 0 };

	(void)state;
	tl_buf_init(&got, 12);
	assert_int_equal(console_lines_encode("w: ", "a\n", 2, &got), 0);
	assert_int_equal(console_lines_encode("w: ", "\001\001\n", 3, &got), -ENOBUFS);
	assert_string_equal(tl_buf_str(&got), "w: a\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_comes_out_byte_for_byte),
		cmocka_unit_test(no_byte_of_a_workload_leaves_its_line_on_the_console),
		cmocka_unit_test(a_console_line_that_does_not_fit_changes_nothing),
		cmocka_unit_test(what_does_not_fit_changes_nothing),
		cmocka_unit_test(a_chunk_is_cut_after_a_line_or_before_an_unfinished_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
