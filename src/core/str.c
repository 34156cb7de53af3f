/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/str.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int strv_push(struct tl_strv *v, char *consume_s)
{
	char **items;

	if (!consume_s)
		return -ENOMEM;
	items = reallocarray(v->items, v->n + 2, sizeof(*items));
	if (!items) {
		free(consume_s);
		return -ENOMEM;
	}
	items[v->n++] = consume_s;
	items[v->n] = NULL;
	v->items = items;
	return 0;
}

int tl_strv_add(struct tl_strv *v, const char *s)
{
	return strv_push(v, strdup(s));
}

int tl_strv_add_len(struct tl_strv *v, const char *s, size_t n)
{
	return strv_push(v, strndup(s, n));
}

int tl_strv_printf(struct tl_strv *v, const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? -ENOMEM : strv_push(v, s);
}

int tl_strv_copy(const struct tl_strv *from, struct tl_strv *ret)
{
	struct tl_strv copy = { 0 };

	for (size_t i = 0; i < from->n; i++) {
		int r = tl_strv_add(&copy, from->items[i]);

		if (r < 0) {
			tl_strv_done(&copy);
			return r;
		}
	}
	*ret = copy;
	return 0;
}

bool tl_strv_contains(const struct tl_strv *v, const char *s)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->items[i], s) == 0)
			return true;
	return false;
}

void tl_strv_done(struct tl_strv *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++) {
		explicit_bzero(v->items[i], strlen(v->items[i]));
		free(v->items[i]);
	}
	free(v->items);
	*v = (struct tl_strv){ 0 };
}

int tl_kvs_add(struct tl_kvs *v, const char *key, const char *value)
{
	struct tl_kv *items = reallocarray(v->items, v->n + 1, sizeof(*items));
	struct tl_kv kv;

	if (!items)
		return -ENOMEM;
	v->items = items;
	kv = (struct tl_kv){ .key = strdup(key), .value = strdup(value) };
	if (!kv.key || !kv.value) {
		free(kv.key);
		free(kv.value);
		return -ENOMEM;
	}
	items[v->n++] = kv;
	return 0;
}

int tl_kvs_set(struct tl_kvs *v, const char *key, const char *value)
{
	for (size_t i = 0; i < v->n; i++) {
		char *copy;

		if (strcmp(v->items[i].key, key) != 0)
			continue;
		copy = strdup(value);
		if (!copy)
			return -ENOMEM;
		explicit_bzero(v->items[i].value, strlen(v->items[i].value));
		free(v->items[i].value);
		v->items[i].value = copy;
		return 0;
	}
	return tl_kvs_add(v, key, value);
}

const char *tl_kvs_get(const struct tl_kvs *v, const char *key)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->items[i].key, key) == 0)
			return v->items[i].value;
	return NULL;
}

static int kv_compare(const void *a, const void *b)
{
	const struct tl_kv *x = a, *y = b;

	return strcmp(x->key, y->key);
}

void tl_kvs_sort(struct tl_kvs *v)
{
	if (v->n)
		qsort(v->items, v->n, sizeof(*v->items), kv_compare);
}

void tl_kvs_done(struct tl_kvs *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->n; i++) {
		explicit_bzero(v->items[i].value, strlen(v->items[i].value));
		free(v->items[i].key);
		free(v->items[i].value);
	}
	free(v->items);
	*v = (struct tl_kvs){ 0 };
}

bool tl_str_starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool tl_str_ends_with(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

int tl_str_parse_u64(const char *s, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (const char *p = s; *p; p++)
		if (*p < '0' || *p > '9')
			return -EINVAL;
	for (const char *p = s; *p; p++) {
		uint64_t digit = (uint64_t)(*p - '0');

		if (v > (UINT64_MAX - digit) / 10)
			return -ERANGE;
		v = v * 10 + digit;
	}
	if (v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

/* Length of the well-formed UTF-8 character at @s (Unicode 15, table 3-7); 0 if there is none. */
static size_t utf8_char_len(const unsigned char *s, size_t n)
{
	static const struct {
		unsigned char first_lo, first_hi, second_lo, second_hi, len;
	} forms[] = {
		{ 0x00, 0x7f, 0, 0, 1 },       { 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (s[0] < forms[i].first_lo || s[0] > forms[i].first_hi)
			continue;
		if (n < forms[i].len)
			return 0;
		if (forms[i].len > 1 && (s[1] < forms[i].second_lo || s[1] > forms[i].second_hi))
			return 0;
		for (size_t k = 2; k < forms[i].len; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].len;
	}
	return 0;
}

bool tl_utf8_is_valid(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;

	while (n) {
		size_t len = utf8_char_len(p, n);

		if (!len)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

size_t tl_utf8_printable_bytes(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len = utf8_char_len(p, n);
	/* C1 controls are U+0080..U+009F: c2 80 .. c2 9f. */
	bool is_control =
		len == 1 ? p[0] < 0x20 || p[0] == 0x7f : len == 2 && p[0] == 0xc2 && p[1] < 0xa0;
	/* U+2028, U+2029 and the bidirectional overrides can make a line read as another. */
	bool is_layout = len == 3 && p[0] == 0xe2 &&
			 ((p[1] == 0x80 && p[2] >= 0xa8 && p[2] <= 0xae) ||
			  (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9));

	return is_control || is_layout ? 0 : len;
}

void tl_str_escape(const char *s, char *ret, size_t cap_bytes)
{
	static const char hex[] = "0123456789abcdef";
	size_t left = strlen(s), at = 0;

	if (!cap_bytes)
		return;
	while (left) {
		size_t len = tl_utf8_printable_bytes(s, left);

		if (len) {
			if (at + len >= cap_bytes)
				break;
			memcpy(ret + at, s, len);
			at += len;
		} else {
			len = 1;
			if (at + 4 >= cap_bytes)
				break;
			ret[at++] = '\\';
			ret[at++] = 'x';
			ret[at++] = hex[(unsigned char)*s >> 4];
			ret[at++] = hex[*s & 15];
		}
		s += len;
		left -= len;
	}
	ret[at] = '\0';
}

#define DISTANCE_MAX 63

unsigned int tl_str_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned int row[DISTANCE_MAX + 1];

	if (n > DISTANCE_MAX || m > DISTANCE_MAX)
		return UINT32_MAX;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned int)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned int diagonal = row[0];

		row[0] = (unsigned int)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[m];
}
