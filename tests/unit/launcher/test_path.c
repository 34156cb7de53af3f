/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "launcher/unpack/path.h"

static void names_are_cleaned_as_text(void **state)
{
	static const char *const names[][2] = {
		{ "a", "a" },
		{ "./a", "a" },
		{ "/a//b/./c/", "a/b/c" },
		{ "./", "" },
		{ ".", "" },
		{ "/", "" },
		{ "..", "" },
		{ "../../a", "a" },
		{ "a/../b", "b" },
		{ "a/../../b", "b" },
		{ "a/b/../..", "" },
		{ "...", "..." },
		{ "a/..b", "a/..b" },
		{ "\xff\n", "\xff\n" },
		{ "a/b/..", "a" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++) {
		char got[TL_PATH_CAP];

		assert_int_equal(tl_path_clean(names[i][0], got), strlen(names[i][1]));
		assert_string_equal(got, names[i][1]);
	}
}

static void a_path_too_long_is_refused(void **state)
{
	char raw[TL_PATH_CAP + 2];
	char got[TL_PATH_CAP];

	(void)state;
	memset(raw, 'a', sizeof(raw));
	raw[TL_PATH_CAP - 2] = '\0';
	assert_int_equal(tl_path_clean(raw, got), TL_PATH_CAP - 2);
	raw[TL_PATH_CAP - 2] = 'a';
	raw[TL_PATH_CAP - 1] = '\0';
	assert_int_equal(tl_path_clean(raw, got), -ENAMETOOLONG);
}

static void a_link_is_followed_as_text(void **state)
{
	static const struct {
		const char *path;
		size_t link;
		const char *target;
		const char *want; /* NULL: -ELOOP */
		size_t from_link;
	} rows[] = {
		{ "l/x", 1, "d", "d/x", 1 },
		{ "a/l/x/y", 3, "d", "a/d/x/y", 3 },
		{ "a/l/x", 3, "/d/e", "d/e/x", 3 },
		{ "a/b/l/x", 5, "../d", "a/d/x", 3 },
		{ "a/l/x", 3, "../../../d", "d/x", 1 },
		{ "a/l", 3, "..", "", 0 },
		{ "a/l/x", 3, "/", "x", 0 },
		{ "a/l/x", 3, "d/../e", NULL, 0 },
		{ "a/l/x", 3, "../d/..", NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		char got[TL_PATH_CAP];
		size_t from_link = 99;
		int r = tl_path_follow(rows[i].path, rows[i].link, rows[i].target, got, &from_link);

		if (!rows[i].want) {
			assert_int_equal(r, -ELOOP);
			continue;
		}
		assert_string_equal(got, rows[i].want);
		assert_int_equal(r, strlen(rows[i].want));
		assert_int_equal(from_link, rows[i].from_link);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_cleaned_as_text),
		cmocka_unit_test(a_path_too_long_is_refused),
		cmocka_unit_test(a_link_is_followed_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
