/* SPDX-License-Identifier: Apache-2.0 */
#include "console_lines.h"

#include <string.h>

#include <teelaunch/str.h>

static size_t plain_bytes(const char *s, size_t n)
{
	return *s == '\t' ? 1 : tl_utf8_printable_bytes(s, n);
}

static int text_append(struct tl_buf *b, const char *s, size_t n)
{
	int r = 0;

	while (r == 0 && n > 0) {
		size_t run = 0, len;

		while (run < n && (len = plain_bytes(s + run, n - run)))
			run += len;
		if (run == 0) {
			run = 1;
			r = tl_buf_printf(b, "\\x%02x", (unsigned int)(unsigned char)*s);
		} else {
			r = tl_buf_append(b, s, run);
		}
		s += run;
		n -= run;
	}
	return r;
}

static int line_append(struct tl_buf *b, const char *prefix, const char *line, size_t n)
{
	int r = tl_buf_append_str(b, prefix);

	if (n > 0 && line[n - 1] == '\r')
		n--;
	if (r == 0)
		r = text_append(b, line, n);
	return r ? r : tl_buf_append_str(b, "\n");
}

int console_lines_encode(const char *prefix, const void *chunk, size_t n, struct tl_buf *ret)
{
	size_t before = ret->len_bytes;
	const char *p = chunk;
	int r = 0;

	while (r == 0 && n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t line_n = end ? (size_t)(end - p) : n;

		r = line_append(ret, prefix, p, line_n);
		p += end ? line_n + 1 : line_n;
		n -= end ? line_n + 1 : line_n;
	}
	if (r < 0 && ret->data) {
		ret->len_bytes = before;
		ret->data[before] = '\0';
	}
	return r;
}
