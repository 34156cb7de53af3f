/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/encoding.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

void tl_hex_encode(const void *data, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = data;

	for (size_t i = 0; i < n; i++) {
		ret[2 * i] = digits[p[i] >> 4];
		ret[2 * i + 1] = digits[p[i] & 15];
	}
	ret[2 * n] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int tl_hex_decode(const char *hex, void *ret, size_t n)
{
	uint8_t *out = ret;

	if (strlen(hex) != 2 * n)
		return -EINVAL;
	for (size_t i = 0; i < 2 * n; i++)
		if (hex_value(hex[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < n; i++)
		out[i] = (uint8_t)(hex_value(hex[2 * i]) * 16 + hex_value(hex[2 * i + 1]));
	return 0;
}

static const char *const alphabets[] = {
	[TL_BASE64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
	[TL_BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

char *tl_base64_encode(enum tl_base64 kind, const void *data, size_t n)
{
	const char *alphabet = alphabets[kind];
	const uint8_t *p = data;
	char *text = malloc((n + 2) / 3 * 4 + 1), *out = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i < 3 ? n - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		v |= have > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= have > 2 ? (uint32_t)p[i + 2] : 0;
		for (size_t k = 0; k <= have; k++)
			*out++ = alphabet[v >> (18 - 6 * k) & 63];
		for (size_t k = have; k < 3 && kind == TL_BASE64_STD; k++)
			*out++ = '=';
	}
	*out = '\0';
	return text;
}

static int base64_value(enum tl_base64 kind, char c)
{
	const char *at = c ? strchr(alphabets[kind], c) : NULL;

	return at ? (int)(at - alphabets[kind]) : -1;
}

int tl_base64_decode(enum tl_base64 kind, const char *text, size_t text_len, uint8_t **ret,
		     size_t *ret_n)
{
	auto_free uint8_t *bytes = NULL;
	size_t n = 0, pad = 0;
	uint32_t v = 0;

	if (kind == TL_BASE64_STD) {
		if (text_len % 4)
			return -EINVAL;
		while (pad < 2 && pad < text_len && text[text_len - 1 - pad] == '=')
			pad++;
		text_len -= pad;
	}
	if (text_len % 4 == 1)
		return -EINVAL;
	bytes = malloc(text_len / 4 * 3 + 3);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < text_len; i++) {
		int d = base64_value(kind, text[i]);

		if (d < 0)
			return -EINVAL;
		v = v << 6 | (uint32_t)d;
		if (i % 4 == 0)
			continue;
		bytes[n++] = (uint8_t)(v >> (6 - 2 * (i % 4)));
	}
	/* The bits left over must be zero, or two texts would mean the same bytes. */
	if ((text_len % 4 == 2 && (v & 15)) || (text_len % 4 == 3 && (v & 3)))
		return -EINVAL;
	bytes[n] = '\0';
	*ret = take_ptr(bytes);
	*ret_n = n;
	return 0;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '_' || c == '.' || c == '~';
}

int tl_form_encode_bytes(const void *data, size_t n, struct tl_buf *ret)
{
	const unsigned char *bytes = data;
	struct tl_buf text;
	int r = 0;

	tl_buf_init(&text, ret->max_bytes);
	for (size_t i = 0; i < n && r == 0; i++) {
		const unsigned char c = bytes[i];

		if (c == ' ')
			r = tl_buf_append_u8(&text, '+');
		else if (is_unreserved(c))
			r = tl_buf_append_u8(&text, c);
		else
			r = tl_buf_printf(&text, "%%%02X", c);
	}
	if (r == 0)
		r = tl_buf_append(ret, text.data, text.len_bytes);
	tl_buf_done(&text);
	return r;
}

int tl_form_encode(const char *s, struct tl_buf *ret)
{
	return tl_form_encode_bytes(s, strlen(s), ret);
}
