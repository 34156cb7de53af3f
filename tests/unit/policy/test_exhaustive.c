/* SPDX-License-Identifier: Apache-2.0 */
/* Small pure functions on every input up to a size, against a second way to compute the answer: in
 * place of a model checker, which Debian doesn't have. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>
#include <teelaunch/verdict.h>

#include "../../../policy/values.h"

/* The next word over @letters, shortest first; false behind the last of @max letters. */
static bool word_next(char *word, size_t max, const char *letters)
{
	size_t n = strlen(word);

	for (size_t i = n; i-- > 0;) {
		const char *next = strchr(letters, word[i]) + 1;

		if (*next) {
			word[i] = *next;
			return true;
		}
		word[i] = letters[0];
	}
	if (n == max)
		return false;
	memset(word, letters[0], n + 1);
	word[n + 1] = '\0';
	return true;
}

/* --- paths --------------------------------------------------------------------------------- */

#define PATH_LETTERS 9

/* A path as the list of its names: each is at an offset of the text. */
struct names {
	struct {
		const char *at;
		size_t n;
	} items[PATH_LETTERS + 1];
	size_t n;
};

/* By the definition of Go's path.Clean: ".." takes the name before it away, if there is one. */
static struct names path_names(const char *path)
{
	struct names ret = { .n = 0 };
	const bool is_absolute = *path == '/';

	for (; *path; path += strcspn(path, "/")) {
		size_t n;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 0 || (n == 1 && *path == '.'))
			continue;
		if (n == 2 && memcmp(path, "..", 2) == 0) {
			const size_t last = ret.n - 1;

			if (ret.n &&
			    !(ret.items[last].n == 2 && memcmp(ret.items[last].at, "..", 2) == 0)) {
				ret.n--;
				continue;
			}
			if (is_absolute)
				continue;
		}
		ret.items[ret.n].at = path;
		ret.items[ret.n++].n = n;
	}
	return ret;
}

static void path_join(const char *path, const struct names *names, char *ret)
{
	if (*path == '/')
		*ret++ = '/';
	for (size_t i = 0; i < names->n; i++) {
		if (i)
			*ret++ = '/';
		memcpy(ret, names->items[i].at, names->items[i].n);
		ret += names->items[i].n;
	}
	if (!names->n && *path != '/')
		*ret++ = '.';
	*ret = '\0';
}

static void every_path_is_cleaned(void **state)
{
	char path[PATH_LETTERS + 1] = "", want[PATH_LETTERS + 2];
	size_t n = 0;

	(void)state;
	do {
		const struct names names = path_names(path);
		auto_free char *got = path_clean(path), *twice = NULL;

		assert_non_null(got);
		path_join(path, &names, want);
		assert_string_equal(got, want);
		twice = path_clean(got);
		assert_string_equal(twice, got);
		assert_int_equal(path_is_clean(path), *path == '/' && strcmp(path, want) == 0);
		n++;
	} while (word_next(path, PATH_LETTERS, "/.a"));
	assert_int_equal(n, 29524); /* 3^0 + ... + 3^9 */
}

static bool is_name_equal(const struct names *a, const struct names *b, size_t i)
{
	return a->items[i].n == b->items[i].n &&
	       memcmp(a->items[i].at, b->items[i].at, a->items[i].n) == 0;
}

/* Every pair of clean paths: contained is what has the folder's names before its own. */
static void every_containment_is_by_whole_names(void **state)
{
	char dir[6] = "", path[6];
	size_t below = 0, beside = 0;

	(void)state;
	do {
		const struct names of_dir = path_names(dir);

		if (!path_is_clean(dir))
			continue;
		path[0] = '\0';
		do {
			const struct names of_path = path_names(path);
			bool want = of_path.n >= of_dir.n;

			if (!path_is_clean(path))
				continue;
			for (size_t i = 0; want && i < of_dir.n; i++)
				want = is_name_equal(&of_dir, &of_path, i);
			assert_int_equal(path_is_below(dir, path), want);
			*(want ? &below : &beside) += 1;
		} while (word_next(path, sizeof(path) - 1, "/.ab"));
	} while (word_next(dir, sizeof(dir) - 1, "/.ab"));
	assert_true(below > 100 && beside > 1000);
}

/* --- numbers ------------------------------------------------------------------------------- */

/* What @text says, in a type that none of these can overflow; -1: no number. */
static __int128 number_of(const char *text)
{
	__int128 ret = 0;

	if (!*text || strspn(text, "0123456789") != strlen(text))
		return -1;
	for (; *text; text++)
		ret = ret * 10 + (*text - '0');
	return ret;
}

static void number_assert(const char *text, uint64_t max)
{
	const __int128 want = number_of(text);
	uint64_t got = 42;
	const int r = tl_str_parse_u64(text, max, &got);

	assert_int_equal(r, want < 0 ? -EINVAL : want > max ? -ERANGE : 0);
	assert_true(got == (r ? 42 : (uint64_t)want));
}

static void every_number_is_read_or_refused(void **state)
{
	static const uint64_t limits[] = { 0, 1, 9, 10, 255, 999, 65535, UINT32_MAX, UINT64_MAX };
	char text[40] = "";

	(void)state;
	do
		for (size_t i = 0; i < TL_ARRAY_SIZE(limits); i++)
			number_assert(text, limits[i]);
	while (word_next(text, 5, "0129+- x"));
	/* Around each limit, with any digit in any place, and one digit more. */
	for (size_t i = 0; i < TL_ARRAY_SIZE(limits); i++) {
		const int n = snprintf(text, sizeof(text), "%" PRIu64, limits[i]);

		for (int at = 0; at < n; at++)
			for (int digit = '0'; digit <= '9'; digit++) {
				const char was = text[at];

				text[at] = (char)digit;
				number_assert(text, limits[i]);
				text[n] = digit;
				text[n + 1] = '\0';
				number_assert(text, limits[i]);
				text[n] = '\0';
				text[at] = was;
			}
	}
}

static void every_port_is_read_or_refused(void **state)
{
	char text[16];

	(void)state;
	for (unsigned int number = 0; number < 200000; number++)
		for (int width = 1; width < 9; width++) {
			uint16_t got = 0;
			const int n = snprintf(text, sizeof(text), "%0*u", width, number);

			assert_int_equal(u16_parse(text, (size_t)n, &got), number <= UINT16_MAX);
			assert_int_equal(got, number <= UINT16_MAX ? number : 0);
		}
}

/* --- sizes --------------------------------------------------------------------------------- */

/* Around every border of the units and types in use, and what wraps to little when it is summed. */
static const uint64_t sizes[] = {
	0,
	1,
	2,
	1023,
	1024,
	1025,
	UINT32_MAX,
	UINT64_C(1) << 32,
	(UINT64_C(1) << 53) + 1,
	INT64_MAX / 1024,
	INT64_MAX - 1,
	INT64_MAX,
	(UINT64_C(1) << 63) + 1024,
	UINT64_MAX - 1024,
	UINT64_MAX - 1023,
	UINT64_MAX - 1,
	UINT64_MAX,
};

static void memory_assert(const struct tl_launch_spec *spec, uint64_t free_kb)
{
	const struct tl_machine_facts facts = { .mem_available_kb = &free_kb };
	auto_findings struct tl_findings findings = { 0 };
	unsigned __int128 all_kb = spec->dev_shm_size_kb;

	for (size_t i = 0; i < spec->mounts.n; i++)
		all_kb += spec->mounts.items[i].size_bytes / 1024;
	assert_int_equal(tl_machine_check(spec, &facts, &findings), all_kb > free_kb ? -EPERM : 0);
	assert_int_equal(findings.n > 0, all_kb > free_kb);
}

/* No sum of mounts and /dev/shm (INT64_MAX KiB at most, as its key) passes for less than it is. */
static void every_sum_of_sizes_is_judged(void **state)
{
	struct tl_mount mounts[2] = { { .destination = (char[]){ "/a" } },
				      { .destination = (char[]){ "/b" } } };
	struct tl_launch_spec spec = { .mounts = { .items = mounts, .n = 2 } };

	(void)state;
	for (size_t a = 0; a < TL_ARRAY_SIZE(sizes); a++)
		for (size_t b = 0; b < TL_ARRAY_SIZE(sizes); b++)
			for (size_t shm = 0; sizes[shm] <= INT64_MAX; shm++)
				for (size_t free = 0; free < TL_ARRAY_SIZE(sizes); free++) {
					mounts[0].size_bytes = sizes[a];
					mounts[1].size_bytes = sizes[b];
					spec.dev_shm_size_kb = sizes[shm];
					memory_assert(&spec, sizes[free]);
				}
}

static void every_need_of_disk_is_judged(void **state)
{
	(void)state;
	for (size_t a = 0; a < TL_ARRAY_SIZE(sizes); a++)
		for (size_t b = 0; b < TL_ARRAY_SIZE(sizes); b++) {
			auto_findings struct tl_findings findings = { 0 };

			assert_int_equal(tl_disk_space_check(sizes[a], sizes[b], &findings),
					 sizes[a] > sizes[b] ? -EPERM : 0);
			assert_int_equal(findings.n, sizes[a] > sizes[b]);
		}
}

/* Every limit, what is there already, and what is added: all of it, or nothing of it. */
static void every_append_stays_within_its_limit(void **state)
{
	static const size_t more[] = { SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX - 63 };
	uint8_t bytes[160];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	for (size_t max = 0; max < 150; max++)
		for (size_t have = 0; have <= max; have++)
			for (size_t i = 0; i < 152 + TL_ARRAY_SIZE(more); i++) {
				const size_t n = i < 152 ? i : more[i - 152];
				const bool fits = n <= max && have + n <= max;
				auto_buf struct tl_buf b = { 0 };

				tl_buf_init(&b, max);
				assert_int_equal(tl_buf_append(&b, bytes, have), 0);
				assert_int_equal(tl_buf_append(&b, bytes, n), fits ? 0 : -ENOBUFS);
				assert_int_equal(b.len_bytes, fits ? have + n : have);
				assert_int_equal(b.data[b.len_bytes], '\0');
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_path_is_cleaned),
		cmocka_unit_test(every_containment_is_by_whole_names),
		cmocka_unit_test(every_number_is_read_or_refused),
		cmocka_unit_test(every_port_is_read_or_refused),
		cmocka_unit_test(every_sum_of_sizes_is_judged),
		cmocka_unit_test(every_need_of_disk_is_judged),
		cmocka_unit_test(every_append_stays_within_its_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
