/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/image_ref.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/str.h>

#include "values.h"

#define TAG_CHARS_MAX 128 /* OCI distribution specification 1.1, "Pulling manifests" */

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool is_made_of(const char *s, size_t n, const char *set)
{
	return n > 0 && strspn(s, set) >= n;
}

/* Name or IPv4 address, or IPv6 address in brackets; then perhaps ":PORT". */
static bool is_host(const char *s, size_t n)
{
	const char *colon = memrchr(s, ':', n), *bracket = memrchr(s, ']', n);
	size_t name_n = n;
	uint16_t port;

	if (colon && (!bracket || colon > bracket)) {
		if (!u16_parse(colon + 1, n - (size_t)(colon + 1 - s), &port) || !port)
			return false;
		name_n = (size_t)(colon - s);
	}
	if (name_n > 2 && s[0] == '[')
		return s[name_n - 1] == ']' &&
		       is_made_of(s + 1, name_n - 2, DIGITS "abcdefABCDEF:.");
	return is_made_of(s, name_n, LOWER UPPER DIGITS ".-") && s[0] != '.' && s[0] != '-' &&
	       s[name_n - 1] != '-';
}

/* Bytes of the separator that @n > 0 bytes of a path component begin with: ".", "_", "__" or
 * dashes; 0 if there is none. */
static size_t separator_len(const char *s, size_t n)
{
	size_t len = 0;

	while (len < n && s[len] == '-')
		len++;
	if (len)
		return len;
	if (s[0] == '.')
		return 1;
	while (len < n && len < 2 && s[len] == '_')
		len++;
	return len;
}

/* [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool is_component(const char *s, size_t n)
{
	for (;;) {
		size_t len = 0;

		while (len < n && is_made_of(s + len, 1, LOWER DIGITS))
			len++;
		if (!len)
			return false;
		s += len;
		n -= len;
		if (!n)
			return true;
		len = separator_len(s, n);
		if (!len)
			return false;
		s += len;
		n -= len;
	}
}

/* OCI distribution specification 1.1, <name>. */
static bool is_path(const char *s, size_t n)
{
	for (;;) {
		const char *slash = memchr(s, '/', n);
		size_t len = slash ? (size_t)(slash - s) : n;

		if (!is_component(s, len))
			return false;
		if (!slash)
			return true;
		s += len + 1;
		n -= len + 1;
	}
}

static bool is_tag(const char *s, size_t n)
{
	return n <= TAG_CHARS_MAX && is_made_of(s, n, LOWER UPPER DIGITS "_.-") && s[0] != '.' &&
	       s[0] != '-';
}

/* Where the parts lie in the text. */
struct parts {
	const char *path; /* behind the first slash */
	size_t path_n;
	const char *tag; /* NULL if there is none */
	size_t tag_n;
	const char *digest; /* NULL if there is none */
};

/* What is wrong, or NULL. */
static const char *parts_find(const char *text, struct parts *ret)
{
	const char *slash = strchr(text, '/'), *at, *colon;

	if (strlen(text) > TL_IMAGE_REF_BYTES_MAX)
		return "it is longer than 1024 bytes";
	if (strstr(text, "://"))
		return "it has '://'; write HOST/PATH:TAG without a scheme";
	if (!slash)
		return "it has no registry host; write HOST/PATH:TAG";
	ret->path = slash + 1;
	at = strchr(slash, '@');
	colon = memchr(slash, ':', at ? (size_t)(at - slash) : strlen(slash));
	if (!at && !colon)
		return "it has neither a tag nor a digest; write HOST/PATH:TAG or "
		       "HOST/PATH@sha256:HEX";
	ret->path_n = (size_t)((colon ? colon : at) - ret->path);
	ret->tag = colon ? colon + 1 : NULL;
	ret->tag_n = !colon ? 0 : at ? (size_t)(at - colon) - 1 : strlen(colon + 1);
	ret->digest = at ? at + 1 : NULL;
	return NULL;
}

static const char *parts_check(const char *text, const struct parts *p)
{
	if (!is_host(text, (size_t)(p->path - text) - 1))
		return "its host is not NAME or NAME:PORT";
	if (!is_path(p->path, p->path_n))
		return "its path is not lower-case letters, digits and single separators";
	if (p->tag && !is_tag(p->tag, p->tag_n))
		return "its tag is not up to 128 letters, digits, '_', '.' and '-'";
	if (p->digest && !tl_digest_text_is_valid(p->digest))
		return "its digest is not sha256: and 64 lower-case hex digits (or sha512: and "
		       "128)";
	return NULL;
}

static int part_copy(const char *s, size_t n, char **ret)
{
	if (!s)
		return 0;
	*ret = strndup(s, n);
	return *ret ? 0 : -ENOMEM;
}

int tl_image_ref_parse(const char *text, struct tl_image_ref *ret, struct tl_error *err)
{
	auto_image_ref struct tl_image_ref ref = { 0 };
	struct parts p = { 0 };
	const char *what = parts_find(text, &p);

	if (!what)
		what = parts_check(text, &p);
	if (what)
		return tl_fail(err, TL_E_IMAGE_REF, EINVAL, "image reference: %s", what);
	if (part_copy(text, strlen(text), &ref.text) ||
	    part_copy(text, (size_t)(p.path - text) - 1, &ref.host) ||
	    part_copy(p.path, p.path_n, &ref.path) || part_copy(p.tag, p.tag_n, &ref.tag) ||
	    part_copy(p.digest, p.digest ? strlen(p.digest) : 0, &ref.digest))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "image reference");
	*ret = ref;
	ref = (struct tl_image_ref){ 0 };
	return 0;
}

char *tl_image_ref_shown(const char *text)
{
	static const char hidden[] = "[REDACTED]";
	const char *scheme = strstr(text, "://"), *from = scheme ? scheme + 3 : text;
	const char *at = strrchr(from, '@');
	size_t kept_n = (size_t)(from - text), rest_n;
	char *shown;

	if (at && (strncmp(at, "@sha256:", 8) == 0 || strncmp(at, "@sha512:", 8) == 0))
		at = memrchr(from, '@', (size_t)(at - from));
	if (!at)
		return strdup(text);
	rest_n = strlen(at);
	shown = malloc(kept_n + strlen(hidden) + rest_n + 1);
	if (!shown)
		return NULL;
	memcpy(shown, text, kept_n);
	memcpy(shown + kept_n, hidden, strlen(hidden));
	memcpy(shown + kept_n + strlen(hidden), at, rest_n + 1);
	return shown;
}

void tl_image_ref_done(struct tl_image_ref *ref)
{
	if (!ref)
		return;
	free(ref->text);
	free(ref->host);
	free(ref->path);
	free(ref->tag);
	free(ref->digest);
	*ref = (struct tl_image_ref){ 0 };
}
