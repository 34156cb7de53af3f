/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/launch_spec.h>

const struct choice restart_policies[] = {
	{ "Never", TL_RESTART_NEVER },
	{ "OnFailure", TL_RESTART_ON_FAILURE },
	{ "Always", TL_RESTART_ALWAYS },
	{ NULL, 0 },
};

const struct choice log_redirects[] = {
	{ "false", TL_LOG_NOWHERE },
	{ "serial", TL_LOG_SERIAL },
	{ "cloud_logging", TL_LOG_CLOUD_LOGGING },
	{ "true", TL_LOG_EVERYWHERE },
	{ NULL, 0 },
};

const struct choice monitoring_levels[] = {
	{ "none", TL_MONITORING_NONE },
	{ "memoryOnly", TL_MONITORING_MEMORY_ONLY },
	{ "all", TL_MONITORING_ALL },
	{ NULL, 0 },
};

bool bool_parse(const char *text, bool *ret)
{
	static const struct choice spellings[] = {
		{ "1", true },    { "t", true },      { "T", true },      { "TRUE", true },
		{ "true", true }, { "True", true },   { "0", false },     { "f", false },
		{ "F", false },   { "FALSE", false }, { "false", false }, { "False", false },
		{ NULL, false },
	};
	unsigned int value;

	if (!choice_parse(spellings, text, false, &value))
		return false;
	*ret = value;
	return true;
}

/* tolower() would ask the locale. */
static char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool is_equal_folded(const char *a, const char *b)
{
	while (*a && ascii_lower(*a) == ascii_lower(*b)) {
		a++;
		b++;
	}
	return *a == *b;
}

bool has_prefix_folded(const char *s, const char *prefix)
{
	while (*prefix && ascii_lower(*s) == *prefix) {
		s++;
		prefix++;
	}
	return !*prefix;
}

bool choice_parse(const struct choice *choices, const char *text, bool is_folded, unsigned int *ret)
{
	for (; choices->name; choices++) {
		if (is_folded ? !is_equal_folded(choices->name, text) : strcmp(choices->name, text))
			continue;
		*ret = choices->value;
		return true;
	}
	return false;
}

const char *choice_name(const struct choice *choices, unsigned int value)
{
	for (; choices->name; choices++)
		if (choices->value == value)
			return choices->name;
	return "";
}

int list_split(const char *text, char separator, bool is_empty_dropped, size_t max,
	       struct tl_strv *ret)
{
	auto_strv struct tl_strv list = { 0 };

	for (const char *from = text, *to;; from = to + 1) {
		int r = 0;

		to = strchrnul(from, separator);
		if (to != from || !is_empty_dropped)
			r = list.n < max ? tl_strv_add_len(&list, from, (size_t)(to - from))
					 : -E2BIG;
		if (r < 0)
			return r;
		if (!*to)
			break;
	}
	*ret = list;
	list = (struct tl_strv){ 0 };
	return 0;
}

bool u16_parse(const char *s, size_t n, uint16_t *ret)
{
	uint32_t value = 0;

	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
		value = value * 10 + (uint32_t)(s[i] - '0');
		if (value > UINT16_MAX)
			return false;
	}
	if (!n)
		return false;
	*ret = (uint16_t)value;
	return true;
}

bool schema_version_is_known(const char *text)
{
	uint16_t version;

	return u16_parse(text, strlen(text), &version) && version > 0 && version <= SCHEMA_VERSION;
}

static const char *const spaces[] = {
	" ",
	"\t",
	"\n",
	"\v",
	"\f",
	"\r",
	"\xc2\x85",
	"\xc2\xa0",
	"\xe1\x9a\x80",
	"\xe2\x80\x80",
	"\xe2\x80\x81",
	"\xe2\x80\x82",
	"\xe2\x80\x83",
	"\xe2\x80\x84",
	"\xe2\x80\x85",
	"\xe2\x80\x86",
	"\xe2\x80\x87",
	"\xe2\x80\x88",
	"\xe2\x80\x89",
	"\xe2\x80\x8a",
	"\xe2\x80\xa8",
	"\xe2\x80\xa9",
	"\xe2\x80\xaf",
	"\xe2\x81\x9f",
	"\xe3\x80\x80",
};

/* Bytes of the white space at the start (or the end) of the @n bytes at @s; 0 if none. */
static size_t space_len(const char *s, size_t n, bool is_at_end)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(spaces); i++) {
		size_t len = strlen(spaces[i]);

		if (len <= n && memcmp(is_at_end ? s + n - len : s, spaces[i], len) == 0)
			return len;
	}
	return 0;
}

bool is_element_odd(const char *s)
{
	size_t n = strlen(s);

	return !n || space_len(s, n, false) || space_len(s, n, true);
}

char *space_trim(const char *s)
{
	size_t n = strlen(s), len;

	while ((len = space_len(s, n, false))) {
		s += len;
		n -= len;
	}
	while ((len = space_len(s, n, true)))
		n -= len;
	return strndup(s, n);
}

/* Put one component of a path behind @to; returns the new end. @floor: ".." can't go below it. */
static char *component_add(char *start, char *floor, char *to, const char *name, size_t n)
{
	bool is_parent = n == 2 && name[0] == '.' && name[1] == '.';

	if (!n || (n == 1 && name[0] == '.'))
		return to;
	if (is_parent && to > floor) {
		while (to > floor && to[-1] != '/')
			to--;
		return to > floor ? to - 1 : to;
	}
	if (is_parent && *start == '/')
		return to;
	if (to > start && to[-1] != '/')
		*to++ = '/';
	memcpy(to, name, n);
	return to + n;
}

char *path_clean(const char *path)
{
	/* At most one byte longer than the path: "" becomes ".". */
	char *ret = calloc(1, strlen(path) + 2), *to = ret, *floor = ret;

	if (!ret)
		return NULL;
	if (*path == '/')
		*to++ = '/';
	floor = to;
	for (const char *end; *path; path = *end ? end + 1 : end) {
		size_t n;
		bool is_kept_parent;

		end = strchrnul(path, '/');
		n = (size_t)(end - path);
		is_kept_parent = n == 2 && memcmp(path, "..", 2) == 0 && to == floor;
		to = component_add(ret, floor, to, path, n);
		if (is_kept_parent && *ret != '/')
			floor = to;
	}
	if (to == ret)
		*to++ = '.';
	*to = '\0';
	return ret;
}

bool path_is_clean(const char *path)
{
	const char *at = path;

	if (*path != '/')
		return false;
	while (at[1]) {
		const char *name = at + 1;
		size_t n = (size_t)(strchrnul(name, '/') - name);

		if (!n || (n <= 2 && strspn(name, ".") >= n))
			return false;
		at = name + n;
		if (!*at)
			return true;
	}
	return at == path; /* else there is a slash at the end */
}

bool path_is_below(const char *dir, const char *path)
{
	size_t n = strlen(dir);

	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

#define TYPOS_MAX      3
#define NAME_CHARS_MAX 63 /* of tl_str_distance() */

/* Each character that isn't ASCII becomes one byte that matches none: one wrong letter. */
#define FOREIGN '\x01'

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static bool name_fold(const char *name, char ret[static NAME_CHARS_MAX + 1])
{
	size_t n = 0;

	for (; *name && n < NAME_CHARS_MAX; name++)
		if (!is_continuation(*name))
			ret[n++] = (unsigned char)*name < 0x80 ? ascii_lower(*name) : FOREIGN;
	return !*name;
}

/* The code point at the start of valid UTF-8. */
static uint32_t code_point(const char *s)
{
	unsigned char lead = (unsigned char)*s;
	uint32_t ret = lead < 0xe0 ? lead & 0x1f : lead < 0xf0 ? lead & 0x0f : lead & 0x07;

	while (is_continuation(*++s))
		ret = ret << 6 | ((unsigned char)*s & 0x3f);
	return ret;
}

/* Is @name the known one @near, or in it when that is a prefix, but for case? */
static bool is_case_odd(const char *name, const char *near)
{
	size_t n = near ? strlen(near) : 0;

	if (!n || strncmp(name, near, n) == 0)
		return false;
	return near[n - 1] == '-' ? has_prefix_folded(name, near) : is_equal_folded(name, near);
}

void name_oddity(const char *name, const char *near, char ret[static NAME_ODDITY_BYTES])
{
	unsigned int number = 0;

	for (const char *s = name; *s; s++) {
		number += !is_continuation(*s);
		if ((unsigned char)*s < 0x80)
			continue;
		(void)snprintf(ret, NAME_ODDITY_BYTES,
			       ": its character %u is U+%04" PRIX32 ", which isn't ASCII", number,
			       code_point(s));
		return;
	}
	(void)snprintf(ret, NAME_ODDITY_BYTES, "%s",
		       is_element_odd(name)      ? ": it begins or ends with a space"
		       : is_case_odd(name, near) ? ": upper case is another name"
						 : "");
}

const char *name_rest(const char *name)
{
	for (int i = 0; i < 2; i++)
		name += strcspn(name, "-_") + (name[strcspn(name, "-_")] != '\0');
	return name;
}

const char *nearest_name(const char *name, const char *(*get)(size_t i))
{
	char whole[NAME_CHARS_MAX + 1] = { 0 }, head[NAME_CHARS_MAX + 1] = { 0 };
	const char *best = NULL;
	unsigned int least = 0;

	if (!name_fold(name, whole))
		return NULL;
	memcpy(head, whole, (size_t)(name_rest(whole) - whole));
	for (size_t i = 0; get(i); i++) {
		const char *known = get(i);
		size_t n = strlen(known);
		unsigned int distance = tl_str_distance(known[n - 1] == '-' ? head : whole, known);

		/* More wrong letters, or a third of a short name, make another word. */
		if (distance > TYPOS_MAX || distance > n / 3 || (best && distance >= least))
			continue;
		best = known;
		least = distance;
	}
	return best;
}

const char *tl_restart_policy_name(enum tl_restart_policy policy)
{
	return choice_name(restart_policies, policy);
}

const char *tl_log_redirect_name(enum tl_log_redirect redirect)
{
	return choice_name(log_redirects, redirect);
}

const char *tl_monitoring_name(enum tl_monitoring level)
{
	return choice_name(monitoring_levels, level);
}
