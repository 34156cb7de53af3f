/* SPDX-License-Identifier: Apache-2.0 */
#include "resource.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

struct part {
	const char *keyword;
	const char *charset;
	size_t max;
	size_t offset;
};

static const struct part parts[] = {
	{ "projects/", ALNUM "._:-", RESOURCE_PART_MAX, offsetof(struct resource, project) },
	{ "/locations/", ALNUM "._:-", RESOURCE_PART_MAX, offsetof(struct resource, location) },
	{ "/challenges/", ALNUM "_-", RESOURCE_ID_MAX, offsetof(struct resource, challenge) },
};

/* How long the run of allowed characters is; stops at @n. */
static size_t span(const char *s, size_t n, const char *charset)
{
	size_t len = 0;

	while (len < n && s[len] && strchr(charset, s[len]))
		len++;
	return len;
}

int resource_parse(const char *name, size_t n, struct resource *ret)
{
	struct resource res = { 0 };

	for (size_t i = 0; i < TL_ARRAY_SIZE(parts); i++) {
		const struct part *p = &parts[i];
		size_t key_len = strlen(p->keyword);
		size_t len;

		if (i == 2 && n == 0)
			break;
		if (n < key_len || memcmp(name, p->keyword, key_len) != 0)
			return -EINVAL;
		name += key_len;
		n -= key_len;
		len = span(name, n, p->charset);
		if (len == 0 || len > p->max)
			return -EINVAL;
		memcpy((char *)&res + p->offset, name, len);
		name += len;
		n -= len;
	}
	if (n)
		return -EINVAL;
	*ret = res;
	return 0;
}
