/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "json_lines.h"

#define UTF8_BYTES_MAX 4

/* Bytes of the valid UTF-8 sequence at @s, or 0. */
static size_t sequence_bytes(const char *s, size_t n)
{
	for (size_t k = 1; k <= UTF8_BYTES_MAX && k <= n; k++)
		if (tl_utf8_is_valid(s, k))
			return k;
	return 0;
}

static const struct {
	char byte;
	const char *text;
} short_escapes[] = {
	{ '"', "\\\"" }, { '\\', "\\\\" }, { '\b', "\\b" }, { '\f', "\\f" },
	{ '\n', "\\n" }, { '\r', "\\r" },  { '\t', "\\t" },
};

static int ascii_append(struct tl_buf *b, char c)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(short_escapes); i++)
		if (short_escapes[i].byte == c)
			return tl_buf_append_str(b, short_escapes[i].text);
	if ((unsigned char)c < 0x20 || c == '<' || c == '>' || c == '&')
		return tl_buf_printf(b, "\\u%04x", (unsigned int)c);
	return tl_buf_append(b, &c, 1);
}

/* U+2028 and U+2029 end a line in JavaScript. */
static int sequence_append(struct tl_buf *b, const char *s, size_t n)
{
	if (n == 1)
		return ascii_append(b, *s);
	if (n == 3 && memcmp(s, "\xe2\x80\xa8", 3) == 0)
		return tl_buf_append_str(b, "\\u2028");
	if (n == 3 && memcmp(s, "\xe2\x80\xa9", 3) == 0)
		return tl_buf_append_str(b, "\\u2029");
	return tl_buf_append(b, s, n);
}

static int text_append(struct tl_buf *b, const char *s, size_t n)
{
	int r = 0;

	while (r == 0 && n > 0) {
		size_t k = sequence_bytes(s, n);

		r = k ? sequence_append(b, s, k) : tl_buf_append_str(b, "\\ufffd");
		s += k ? k : 1;
		n -= k ? k : 1;
	}
	return r;
}

static int record_append(struct tl_buf *b, const char *severity, const char *line, size_t n)
{
	int r;

	while (n > 0 && line[n - 1] == '\r')
		n--;
	if (n == 0)
		return 0;
	r = tl_buf_append_str(b, "{\"message\":\"");
	if (r == 0)
		r = text_append(b, line, n);
	if (r == 0)
		r = tl_buf_append_str(b, "\",\"severity\":\"");
	if (r == 0)
		r = text_append(b, severity, strlen(severity));
	return r ? r : tl_buf_append_str(b, "\"}\n");
}

int json_lines_encode(const char *severity, const void *chunk, size_t n, struct tl_buf *ret)
{
	size_t before = ret->len_bytes;
	const char *p = chunk;
	int r = 0;

	while (r == 0 && n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t line_n = end ? (size_t)(end - p) : n;

		r = record_append(ret, severity, p, line_n);
		p += end ? line_n + 1 : line_n;
		n -= end ? line_n + 1 : line_n;
	}
	if (r < 0 && ret->data) {
		ret->len_bytes = before;
		ret->data[before] = '\0';
	}
	return r;
}

/* Bytes at the end that may be the beginning of a character. */
static size_t unfinished_bytes(const unsigned char *s, size_t n)
{
	for (size_t back = 1; back < UTF8_BYTES_MAX && back <= n; back++) {
		unsigned char c = s[n - back];
		size_t needed = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;

		if (c >= 0x80 && c < 0xc0)
			continue; /* a continuation: look further back for its lead byte */
		return needed > back ? back : 0;
	}
	return 0;
}

size_t json_lines_complete(const void *data, size_t n, bool is_flush)
{
	const char *last = n ? memrchr(data, '\n', n) : NULL;
	size_t cut;

	if (last)
		return (size_t)(last - (const char *)data) + 1;
	if (!is_flush)
		return 0;
	cut = unfinished_bytes(data, n);
	return n > cut ? n - cut : n;
}
