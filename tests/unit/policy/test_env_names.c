/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <errno.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/env_names.h>

static uint8_t *bytes_of(const json_t *item, const char *key, size_t *ret_n)
{
	const char *text = member(item, key);
	uint8_t *bytes = NULL;

	assert_int_equal(tl_base64_decode(TL_BASE64_STD, text, strlen(text), &bytes, ret_n), 0);
	return bytes;
}

static void fault_assert(const json_t *item, enum tl_env_fault fault)
{
	const json_t *expect = json_object_get(item, "expect");
	const char *category = tl_env_fault_category(fault);

	if (json_is_true(json_object_get(expect, "ok"))
		    ? fault != TL_ENV_OK
		    : !category || strcmp(category, member(expect, "category")))
		fail_msg("%s: got %s", member(item, "id"), category ? category : "ok");
}

static void format_assert(const json_t *item)
{
	size_t name_n, value_n;
	auto_free uint8_t *name = bytes_of(item, "name_b64", &name_n);
	auto_free uint8_t *value = bytes_of(item, "value_b64", &value_n);

	fault_assert(item, tl_env_check((char *)name, name_n, (char *)value, value_n));
}

static void parse_assert(const json_t *item)
{
	size_t n;
	auto_free uint8_t *input = bytes_of(item, "input_b64", &n);

	fault_assert(item, tl_env_check_entry((char *)input));
}

static void merge_assert(const json_t *item)
{
	auto_strv struct tl_strv image = { 0 }, got = { 0 };
	auto_kvs struct tl_kvs overrides = { 0 };
	const json_t *want = json_object_get(json_object_get(item, "expect"), "process_env");
	size_t i;
	json_t *entry;

	json_array_foreach(json_object_get(item, "image_env"), i, entry)
		tl_strv_add(&image, json_string_value(entry));
	json_array_foreach(json_object_get(item, "override_env"), i, entry)
	{
		auto_free char *name = strdup(json_string_value(entry));
		char *equals = strchr(name, '=');

		*equals = '\0';
		tl_kvs_add(&overrides, name, equals + 1);
	}
	assert_int_equal(tl_env_merge(&image, &overrides, member(item, "hostname"), &got), 0);
	assert_int_equal(got.n, json_array_size(want));
	for (i = 0; i < got.n; i++)
		assert_string_equal(got.items[i], json_string_value(json_array_get(want, i)));
	assert_null(got.items[got.n]);
}

static void every_vector_holds(void **state)
{
	size_t i;
	json_t *item;

	(void)state;
	VECTORS_FOREACH("env-names", cases, i, item)
	{
		const char *kind = member(item, "kind");

		if (strcmp(kind, "format") == 0)
			format_assert(item);
		else if (strcmp(kind, "parse") == 0)
			parse_assert(item);
		else
			merge_assert(item);
	}
}

static void nul_in_a_value_is_a_fault(void **state)
{
	(void)state;
	assert_int_equal(tl_env_check("A", 1, "a\0b", 3), TL_ENV_VALUE_NUL);
	assert_string_equal(tl_env_fault_category(TL_ENV_VALUE_NUL), "env");
	assert_null(tl_env_fault_category(TL_ENV_OK));
	assert_int_equal(tl_env_check("A\0", 2, "", 0), TL_ENV_NAME_MALFORMED);
	assert_int_equal(tl_env_check("9A", 2, "", 0), TL_ENV_NAME_MALFORMED);
	assert_int_equal(tl_env_check("{", 1, "", 0), TL_ENV_NAME_MALFORMED);
}

static void the_last_of_two_equal_names_gives_its_place(void **state)
{
	auto_strv struct tl_strv image = { 0 }, got = { 0 };
	auto_kvs struct tl_kvs overrides = { 0 };
	static const char *const want[] = { "A=1", "AB=0", "A=new", "C=x", "D", "E=5" };

	(void)state;
	tl_strv_add(&image, "A=1");
	tl_strv_add(&image, "");
	tl_strv_add(&image, "AB=0");
	tl_strv_add(&image, "A=2");
	tl_strv_add(&image, "C");
	tl_strv_add(&image, "D");
	tl_kvs_add(&overrides, "A", "new");
	tl_kvs_add(&overrides, "C", "x");
	tl_kvs_add(&overrides, "E", "5");
	assert_int_equal(tl_env_merge(&image, &overrides, NULL, &got), 0);
	assert_int_equal(got.n, 6);
	for (size_t i = 0; i < got.n; i++)
		assert_string_equal(got.items[i], want[i]);
}

static void a_name_that_only_begins_alike_is_another(void **state)
{
	auto_strv struct tl_strv image = { 0 }, got = { 0 };
	auto_kvs struct tl_kvs overrides = { 0 };

	(void)state;
	tl_strv_add(&image, "AB=1");
	tl_kvs_add(&overrides, "A", "2");
	assert_int_equal(tl_env_merge(&image, &overrides, NULL, &got), 0);
	assert_int_equal(got.n, 2);
	assert_string_equal(got.items[0], "AB=1");
	assert_string_equal(got.items[1], "A=2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_holds),
		cmocka_unit_test(nul_in_a_value_is_a_fault),
		cmocka_unit_test(the_last_of_two_equal_names_gives_its_place),
		cmocka_unit_test(a_name_that_only_begins_alike_is_another),
	};

	return cmocka_run_group_tests_name("env_names", tests, NULL, NULL);
}
