/* SPDX-License-Identifier: Apache-2.0 */
#include "gzip_header.h"

#include <errno.h>
#include <string.h>

#include <isa-l/crc.h>

#define FIXED_BYTES 10
#define HAS_CRC     0x02
#define HAS_EXTRA   0x04
#define HAS_NAME    0x08
#define HAS_COMMENT 0x10

static size_t number_of(const uint8_t *data)
{
	return (size_t)data[0] | (size_t)data[1] << 8;
}

/* The size of a text with its NUL; 0: it goes on; or -EBADMSG. */
static ssize_t text_bytes(const uint8_t *data, size_t n)
{
	const size_t cap = n < TL_GZIP_TEXT_MAX ? n : TL_GZIP_TEXT_MAX;
	const uint8_t *end = memchr(data, '\0', cap);

	if (end)
		return end - data + 1;
	return n < TL_GZIP_TEXT_MAX ? 0 : -EBADMSG;
}

ssize_t tl_gzip_header_read(const uint8_t *data, size_t n)
{
	static const uint8_t magic[] = { 0x1f, 0x8b, 8 };
	static const uint8_t texts[] = { HAS_NAME, HAS_COMMENT };
	size_t at = FIXED_BYTES;
	uint8_t flags;

	if (memcmp(data, magic, n < sizeof(magic) ? n : sizeof(magic)) != 0)
		return -EBADMSG;
	if (n < FIXED_BYTES)
		return 0;
	flags = data[3];
	if (flags & HAS_EXTRA) {
		if (n < at + 2 || n < at + 2 + number_of(data + at))
			return 0;
		at += 2 + number_of(data + at);
	}
	for (size_t i = 0; i < sizeof(texts); i++) {
		ssize_t r = flags & texts[i] ? text_bytes(data + at, n - at) : 0;

		if (r < 0 || (r == 0 && (flags & texts[i])))
			return r;
		at += (size_t)r;
	}
	if (!(flags & HAS_CRC))
		return (ssize_t)at;
	if (n < at + 2)
		return 0;
	/* The lower half of the CRC of all that is before it. */
	if (number_of(data + at) != (crc32_gzip_refl(0, data, at) & 0xffff))
		return -EBADMSG;
	return (ssize_t)(at + 2);
}
