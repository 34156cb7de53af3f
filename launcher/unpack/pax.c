/* SPDX-License-Identifier: Apache-2.0 */
#include "pax.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <teelaunch/cleanup.h>

/* "5 =\n" would have an empty key; the shortest record is "5 a=\n". */
#define RECORD_BYTES_MIN 5

static const struct key {
	const char *name;
	bool is_string; /* NUL is refused */
} keys[TL_PAX_KEYS_N] = {
	[TL_PAX_PATH] = { "path", true },    [TL_PAX_LINKPATH] = { "linkpath", true },
	[TL_PAX_UID] = { "uid", false },     [TL_PAX_GID] = { "gid", false },
	[TL_PAX_ATIME] = { "atime", false }, [TL_PAX_CTIME] = { "ctime", false },
	[TL_PAX_MTIME] = { "mtime", false }, [TL_PAX_SIZE] = { "size", false },
	[TL_PAX_UNAME] = { "uname", true },  [TL_PAX_GNAME] = { "gname", true },
};

static const char xattr_prefix[] = "SCHILY.xattr.";
static const char sparse_prefix[] = "GNU.sparse.";

int tl_pax_number(const char *s, int64_t *ret)
{
	bool is_negative = *s == '-';
	uint64_t max = is_negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
	uint64_t v = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		unsigned int digit = (unsigned int)(unsigned char)*s - '0';

		if (digit > 9 || v > (max - digit) / 10)
			return -EINVAL;
		v = v * 10 + digit;
	}
	*ret = is_negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int tl_pax_time(const char *s, struct tl_pax_time *ret)
{
	char seconds[24]; /* of an int64_t with its sign: 20 */
	size_t n = strcspn(s, ".");
	struct tl_pax_time t = { 0 };

	if (n >= sizeof(seconds))
		return -EINVAL;
	memcpy(seconds, s, n);
	seconds[n] = '\0';
	if (tl_pax_number(seconds, &t.s) < 0)
		return -EINVAL;
	if (s[n] == '.') {
		const char *fraction = s + n + 1;
		int64_t weight = 100000000;

		if (fraction[strspn(fraction, "0123456789")] != '\0')
			return -EINVAL;
		for (; *fraction; fraction++, weight /= 10)
			t.ns += (*fraction - '0') * weight;
	}
	if (t.s > TL_PAX_SECONDS_MAX || t.s < -TL_PAX_SECONDS_MAX)
		return -ERANGE;
	if (t.s < 0 || (*s == '-' && t.ns > 0))
		t = (struct tl_pax_time){ .s = -1 };
	*ret = t;
	return 0;
}

static int broken(struct tl_unpack_fault *fault)
{
	return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0, "a pax record that is none");
}

/* One record, "<decimal length of all of it> <key>=<value>\n": where it ends, and its parts. */
static int split(char *text, size_t n, size_t *ret_n, char **ret_key, char **ret_value)
{
	char *space = memchr(text, ' ', n);
	char *equals;
	int64_t length;

	if (!space)
		return -EINVAL;
	*space = '\0';
	if (strlen(text) != (size_t)(space - text) || tl_pax_number(text, &length) < 0 ||
	    length < RECORD_BYTES_MIN || (uint64_t)length > n)
		return -EINVAL;
	/* At least the newline behind the space. */
	if (length < space + 2 - text || text[length - 1] != '\n')
		return -EINVAL;
	text[length - 1] = '\0';
	equals = memchr(space + 1, '=', (size_t)(text + length - 1 - (space + 1)));
	if (!equals || equals == space + 1)
		return -EINVAL;
	*equals = '\0';
	*ret_n = (size_t)length;
	*ret_key = space + 1;
	*ret_value = equals + 1;
	/* A NUL within the key would end it early. */
	return strlen(*ret_key) == (size_t)(equals - *ret_key) ? 0 : -EINVAL;
}

static int add_xattr(struct tl_pax *pax, const char *name, const char *value, size_t n,
		     struct tl_unpack_fault *fault)
{
	struct tl_pax_xattr *x = pax->xattrs;

	while (x < pax->xattrs + pax->xattrs_n && strcmp(x->name, name) != 0)
		x++;
	if (x == pax->xattrs + TL_PAX_XATTRS_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "more than %d extended attributes", TL_PAX_XATTRS_MAX);
	if (x == pax->xattrs + pax->xattrs_n)
		pax->xattrs_n++;
	*x = (struct tl_pax_xattr){ .name = name, .value = value, .value_bytes = n };
	return 0;
}

static int add(struct tl_pax *pax, const char *key, const char *value, size_t n,
	       struct tl_unpack_fault *fault)
{
	if (strncmp(key, xattr_prefix, strlen(xattr_prefix)) == 0)
		return add_xattr(pax, key + strlen(xattr_prefix), value, n, fault);
	if (strncmp(key, sparse_prefix, strlen(sparse_prefix)) == 0)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "a sparse file");
	for (size_t i = 0; i < TL_ARRAY_SIZE(keys); i++) {
		if (strcmp(key, keys[i].name) != 0)
			continue;
		if (strlen(value) != n) /* for the others, Go finds it when it reads the number */
			return keys[i].is_string
				       ? broken(fault)
				       : tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
							"a pax record '%s' with a NUL", key);
		pax->values[i] = n ? value : NULL;
		return 0;
	}
	return 0;
}

int tl_pax_read(char *text, size_t n, struct tl_pax *ret, struct tl_unpack_fault *fault)
{
	struct tl_pax pax;
	size_t length;
	char *key;
	char *value;
	int r;

	/* Not the array: it is long, and most entries have none. */
	memset(pax.values, 0, sizeof(pax.values));
	pax.xattrs_n = 0;
	for (; n > 0; text += length, n -= length) {
		if (split(text, n, &length, &key, &value) < 0)
			return broken(fault);
		r = add(&pax, key, value, (size_t)(text + length - 1 - value), fault);
		if (r < 0)
			return r;
	}
	memcpy(ret->values, pax.values, sizeof(pax.values));
	memcpy(ret->xattrs, pax.xattrs, pax.xattrs_n * sizeof(pax.xattrs[0]));
	ret->xattrs_n = pax.xattrs_n;
	return 0;
}
