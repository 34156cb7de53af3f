/* SPDX-License-Identifier: Apache-2.0 */
#include "url.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#define SCHEME "https://"

static int bad(struct tl_error *err, const char *why)
{
	return tl_fail(err, TL_E_REGISTRY_PROTOCOL, EINVAL, "the registry names a URL that %s",
		       why);
}

static int characters_check(const char *url, struct tl_error *err)
{
	if (strlen(url) > URL_BYTES_MAX)
		return bad(err, "is too long");
	for (const char *p = url; *p; p++)
		if (*p <= 0x20 || *p >= 0x7f || strchr("\\\"<>^`{|}#", *p))
			return bad(err, "has a character that URLs don't have");
	return 0;
}

int url_host(const char *url, struct registry_host *ret, struct tl_error *err)
{
	auto_free char *authority = NULL;
	size_t n;
	int r = characters_check(url, err);

	if (r < 0)
		return r;
	if (strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
		return bad(err, "isn't https");
	url += strlen(SCHEME);
	n = strcspn(url, "/?");
	if (memchr(url, '@', n))
		return bad(err, "has user information");
	authority = strndup(url, n);
	if (!authority)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a URL");
	r = registry_host_parse(authority, ret, NULL);
	return r < 0 ? bad(err, "has no valid host") : 0;
}

/* How much of @base stays in front of @location. */
static size_t base_kept(const char *base, const char *location)
{
	size_t authority = strlen(SCHEME) + strcspn(base + strlen(SCHEME), "/?");

	if (tl_str_starts_with(location, "//"))
		return strlen("https:");
	if (location[0] == '/')
		return authority;
	if (location[0] == '?')
		return authority + strcspn(base + authority, "?");
	return 0;
}

int url_redirect(const char *base, const char *location, char **ret, struct tl_error *err)
{
	auto_buf struct tl_buf b = { 0 };
	struct registry_host ignored;
	size_t n;
	int r;

	tl_buf_init(&b, URL_BYTES_MAX);
	/* A fragment is the client's own affair (RFC 9110 section 10.2.2). */
	n = strcspn(location, "#");
	if (tl_buf_append(&b, base, base_kept(base, location)) < 0 ||
	    tl_buf_append(&b, location, n) < 0)
		return bad(err, "is too long");
	r = url_host(tl_buf_str(&b), &ignored, err);
	if (r < 0)
		return r;
	*ret = tl_buf_take_str(&b);
	return *ret ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a URL");
}

int url_encode(struct tl_buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		int r = isalnum(c) || strchr("-._~", c) ? tl_buf_append_u8(b, c)
							: tl_buf_printf(b, "%%%02X", c);

		if (r < 0)
			return r;
	}
	return 0;
}
