/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

/* --- every short name ------------------------------------------------------------------------ */

#define LETTERS_MAX 9

/* The next word over "/.a", shortest first; false behind the last. */
static bool word_next(char *word)
{
	static const char letters[] = "/.a";
	size_t n = strlen(word);

	for (size_t i = n; i-- > 0;) {
		const char *next = strchr(letters, word[i]) + 1;

		if (*next) {
			word[i] = *next;
			return true;
		}
		word[i] = letters[0];
	}
	if (n == LETTERS_MAX)
		return false;
	memset(word, letters[0], n + 1);
	word[n + 1] = '\0';
	return true;
}

/* The names of a path beneath a root, one after the other on a stack: ".." takes one away. */
static void cleaned(const char *raw, char *ret)
{
	size_t starts[LETTERS_MAX + 8], n = 0, at = 0;

	for (const char *part = raw; *part; part += strcspn(part, "/")) {
		size_t len;

		part += strspn(part, "/");
		len = strcspn(part, "/");
		if (len == 2 && part[0] == '.' && part[1] == '.') {
			at = n ? starts[--n] : 0;
		} else if (len && !(len == 1 && part[0] == '.')) {
			starts[n++] = at;
			if (at)
				ret[at++] = '/';
			memcpy(ret + at, part, len);
			at += len;
		}
	}
	ret[at] = '\0';
}

/* None leads out of the root, and none keeps a part that would. */
static void every_name_stays_beneath_its_root(void **state)
{
	char raw[LETTERS_MAX + 1] = "", want[LETTERS_MAX + 1], got[TL_PATH_CAP];
	size_t n = 0;

	(void)state;
	do {
		cleaned(raw, want);
		assert_int_equal(tl_path_clean(raw, got), strlen(want));
		assert_string_equal(got, want);
		assert_false(*got == '/' || tl_path_goes_back(got));
		n++;
	} while (word_next(raw));
	assert_int_equal(n, 29524); /* 3^0 + ... + 3^9 */
}

/* Every target of the link d/l in d/l/x: as text it is the path of where the link is, the target,
 * the rest. */
static void every_link_leads_beneath_its_root(void **state)
{
	char target[LETTERS_MAX + 1] = "", text[LETTERS_MAX + 8], want[LETTERS_MAX + 8],
				  got[TL_PATH_CAP];
	size_t refused = 0, from_link;

	(void)state;
	do {
		int r = tl_path_follow("d/l/x", 3, target, got, &from_link);

		if (tl_path_goes_back(target)) {
			assert_int_equal(r, -ELOOP);
			refused++;
			continue;
		}
		(void)snprintf(text, sizeof(text), "%s%s/x", *target == '/' ? "" : "d/", target);
		cleaned(text, want);
		assert_string_equal(got, want);
		assert_int_equal(r, strlen(want));
		assert_in_range(from_link, 0, r - 1);
	} while (word_next(target));
	assert_in_range(refused, 1, 29523);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_cleaned_as_text),
		cmocka_unit_test(a_path_too_long_is_refused),
		cmocka_unit_test(a_link_is_followed_as_text),
		cmocka_unit_test(every_name_stays_beneath_its_root),
		cmocka_unit_test(every_link_leads_beneath_its_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
