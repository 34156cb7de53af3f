/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#define UNCHANGED ((size_t)-7)

static size_t offset_of_fault(const char *text, size_t n, const char *words)
{
	size_t at = UNCHANGED;
	const char *fault = tl_json_scan(text, n, &at);

	if (!words) {
		assert_null(fault);
		return at;
	}
	assert_non_null(fault);
	assert_non_null(strstr(fault, words));
	assert_ptr_equal(tl_json_scan(text, n, NULL), fault);
	return at;
}

/* '[' and then @n times @unit, cut where the text is full. */
static char *bomb(const char *unit, size_t n)
{
	const size_t unit_n = strlen(unit);
	char *text = malloc(1 + n * unit_n);

	assert_non_null(text);
	text[0] = '[';
	for (size_t i = 0; i < n; i++)
		memcpy(text + 1 + i * unit_n, unit, unit_n);
	return text;
}

static void the_number_of_values_is_bounded_exactly(void **state)
{
	auto_free char *numbers = bomb("0,", TL_JSON_VALUES_MAX);
	auto_free char *objects = bomb("{},", TL_JSON_VALUES_MAX);
	const size_t last = 1 + 2 * (TL_JSON_VALUES_MAX - 1);

	(void)state;
	assert_int_equal(offset_of_fault(numbers, last + 1, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault(numbers, last + 2, "100000 JSON values"), last + 1);
	/* an object and its comma are two: the bracket, 49,999 pairs and a brace are the limit */
	assert_int_equal(offset_of_fault(objects, 3 * TL_JSON_VALUES_MAX, "values"),
			 1 + 3 * (TL_JSON_VALUES_MAX / 2 - 1) + 2);
}

static void nesting_is_bounded_exactly(void **state)
{
	char text[2 * TL_JSON_NESTING_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '[' : '{';
	assert_int_equal(offset_of_fault(text, TL_JSON_NESTING_MAX, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault(text, sizeof(text), "deeper than 32"),
			 TL_JSON_NESTING_MAX);
	/* what is closed doesn't count, and closing more than was opened wins nothing */
	memset(text, ']', TL_JSON_NESTING_MAX + 1);
	memset(text + TL_JSON_NESTING_MAX + 1, '[', TL_JSON_NESTING_MAX + 1);
	assert_int_equal(offset_of_fault(text, sizeof(text), "deeper than 32"),
			 2 * TL_JSON_NESTING_MAX + 1);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '}' : '{';
	assert_int_equal(offset_of_fault(text, sizeof(text), NULL), UNCHANGED);
}

static void what_stands_in_strings_does_not_count(void **state)
{
	auto_free char *text = bomb(",", 2 * TL_JSON_VALUES_MAX);
	static const char escapes[] = "[\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\\\"]";
	static const char closed[] = "\"\\\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[";

	(void)state;
	text[0] = '"';
	assert_int_equal(offset_of_fault(text, 2 * TL_JSON_VALUES_MAX, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault(escapes, sizeof(escapes) - 1, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault(closed, sizeof(closed) - 1, "nested"), sizeof(closed) - 2);
}

static void odd_ends_are_not_read_past(void **state)
{
	(void)state;
	assert_int_equal(offset_of_fault("", 0, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault("\"\\", 2, NULL), UNCHANGED);
	assert_int_equal(offset_of_fault("\"\0[\"", 4, NULL), UNCHANGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_number_of_values_is_bounded_exactly),
		cmocka_unit_test(nesting_is_bounded_exactly),
		cmocka_unit_test(what_stands_in_strings_does_not_count),
		cmocka_unit_test(odd_ends_are_not_read_past),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
