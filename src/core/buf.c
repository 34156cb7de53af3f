/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/buf.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tl_buf_init(struct tl_buf *b, size_t max_bytes)
{
	*b = (struct tl_buf){ .max_bytes = max_bytes };
}

void tl_buf_done(struct tl_buf *b)
{
	if (!b)
		return;
	if (b->data)
		explicit_bzero(b->data, b->cap_bytes);
	free(b->data);
	*b = (struct tl_buf){ .max_bytes = b->max_bytes };
}

/* Not realloc(): that would leave a copy of what may be a secret behind, unwiped. */
static int grow(struct tl_buf *b, size_t need)
{
	size_t cap = b->cap_bytes ? b->cap_bytes : 64;
	uint8_t *data;

	if (need <= b->cap_bytes)
		return 0;
	while (cap < need)
		cap *= 2;
	data = malloc(cap);
	if (!data)
		return -ENOMEM;
	if (b->data) {
		memcpy(data, b->data, b->len_bytes + 1);
		explicit_bzero(b->data, b->cap_bytes);
		free(b->data);
	}
	b->data = data;
	b->cap_bytes = cap;
	return 0;
}

int tl_buf_append(struct tl_buf *b, const void *data, size_t len_bytes)
{
	int r;

	if (len_bytes > b->max_bytes || b->len_bytes > b->max_bytes - len_bytes)
		return -ENOBUFS;
	r = grow(b, b->len_bytes + len_bytes + 1);
	if (r < 0)
		return r;
	if (len_bytes)
		memcpy(b->data + b->len_bytes, data, len_bytes);
	b->len_bytes += len_bytes;
	b->data[b->len_bytes] = '\0';
	return 0;
}

int tl_buf_append_str(struct tl_buf *b, const char *s)
{
	return tl_buf_append(b, s, strlen(s));
}

static int append_be(struct tl_buf *b, uint64_t v, size_t n)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
	return tl_buf_append(b, bytes, n);
}

int tl_buf_append_u8(struct tl_buf *b, uint8_t v)
{
	return append_be(b, v, 1);
}

int tl_buf_append_be16(struct tl_buf *b, uint16_t v)
{
	return append_be(b, v, 2);
}

int tl_buf_append_be32(struct tl_buf *b, uint32_t v)
{
	return append_be(b, v, 4);
}

int tl_buf_append_be64(struct tl_buf *b, uint64_t v)
{
	return append_be(b, v, 8);
}

int tl_buf_printf(struct tl_buf *b, const char *fmt, ...)
{
	va_list ap;
	size_t need;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return -EINVAL;
	need = (size_t)n;
	if (need > b->max_bytes || b->len_bytes > b->max_bytes - need)
		return -ENOBUFS;
	r = grow(b, b->len_bytes + need + 1);
	if (r < 0)
		return r;
	va_start(ap, fmt);
	vsnprintf((char *)b->data + b->len_bytes, need + 1, fmt, ap);
	va_end(ap);
	b->len_bytes += need;
	return 0;
}

void tl_buf_reset(struct tl_buf *b)
{
	b->len_bytes = 0;
	if (b->data)
		b->data[0] = '\0';
}

void tl_buf_consume(struct tl_buf *b, size_t n)
{
	if (n > b->len_bytes)
		n = b->len_bytes;
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len_bytes - n);
	b->len_bytes -= n;
	b->data[b->len_bytes] = '\0';
}

const char *tl_buf_str(const struct tl_buf *b)
{
	return b->data ? (const char *)b->data : "";
}

char *tl_buf_take_str(struct tl_buf *b)
{
	char *s = (char *)b->data;

	if (!s)
		return strdup("");
	*b = (struct tl_buf){ .max_bytes = b->max_bytes };
	return s;
}
