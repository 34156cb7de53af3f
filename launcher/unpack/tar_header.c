/* SPDX-License-Identifier: Apache-2.0 */
#include "tar_header.h"

#include <errno.h>
#include <string.h>

/* Offset and size in the block. */
struct field {
	size_t at;
	size_t n;
};

static const struct field f_name = { 0, 100 };
static const struct field f_mode = { 100, 8 };
static const struct field f_uid = { 108, 8 };
static const struct field f_gid = { 116, 8 };
static const struct field f_size = { 124, 12 };
static const struct field f_mtime = { 136, 12 };
static const struct field f_checksum = { 148, 8 };
static const struct field f_type = { 156, 1 };
static const struct field f_link = { 157, 100 };
static const struct field f_magic = { 257, 8 }; /* and version */
static const struct field f_major = { 329, 8 };
static const struct field f_minor = { 337, 8 };
static const struct field f_prefix = { 345, 155 };
static const struct field f_gnu_atime = { 345, 12 };
static const struct field f_gnu_ctime = { 357, 12 };
static const struct field f_star_trailer = { 508, 4 };

enum format { V7, USTAR, GNU, STAR };

static bool is_text(const uint8_t *block, struct field f, const char *text, size_t n)
{
	return memcmp(block + f.at, text, n) == 0;
}

static enum format format_of(const uint8_t *block)
{
	/* Without the version: Go looks at "ustar\0" only. */
	if (is_text(block, f_magic, "ustar", 6))
		return is_text(block, f_star_trailer, "tar", 4) ? STAR : USTAR;
	return is_text(block, f_magic, "ustar  ", 8) ? GNU : V7;
}

static bool is_padding(uint8_t c)
{
	return c == ' ' || c == '\0';
}

/* Octal, between spaces and NULs; ends at a NUL, too. Nothing is 0. */
static int read_octal(const uint8_t *s, size_t n, int64_t *ret)
{
	uint64_t v = 0;

	while (n > 0 && is_padding(s[0]))
		s++, n--;
	while (n > 0 && is_padding(s[n - 1]))
		n--;
	for (; n > 0 && *s; s++, n--) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		v = v << 3 | (uint64_t)(*s - '0'); /* at most 12 digits: 36 bits */
	}
	*ret = (int64_t)v;
	return 0;
}

/* GNU's base-256: two's complement, big endian, the first bit set. */
static int read_binary(const uint8_t *s, size_t n, int64_t *ret)
{
	uint8_t invert = s[0] & 0x40 ? 0xff : 0;
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = s[i] ^ invert;

		if (v >> 56)
			return -EINVAL;
		v = v << 8 | (i == 0 ? c & 0x7f : c);
	}
	if (v >> 63)
		return -EINVAL;
	*ret = invert ? (int64_t)~v : (int64_t)v;
	return 0;
}

static int read_number(const uint8_t *block, struct field f, int64_t *ret)
{
	const uint8_t *s = block + f.at;

	return s[0] & 0x80 ? read_binary(s, f.n, ret) : read_octal(s, f.n, ret);
}

static int read_time(const uint8_t *block, struct field f, struct tl_pax_time *ret)
{
	int64_t s;

	if (read_number(block, f, &s) < 0)
		return -EINVAL;
	if (s > TL_PAX_SECONDS_MAX || s < -TL_PAX_SECONDS_MAX)
		return -ERANGE;
	*ret = (struct tl_pax_time){ .s = s < 0 ? -1 : s };
	return 0;
}

static bool is_checksum_right(const uint8_t *block)
{
	int32_t sum_unsigned = 0;
	int32_t sum_signed = 0; /* Sun's tar */
	int64_t said;

	for (size_t i = 0; i < TL_TAR_BLOCK_BYTES; i++) {
		sum_unsigned += block[i];
		sum_signed += (int8_t)block[i];
	}
	/* The field itself counts as spaces. */
	for (size_t i = f_checksum.at; i < f_checksum.at + f_checksum.n; i++) {
		sum_unsigned += ' ' - block[i];
		sum_signed += ' ' - (int8_t)block[i];
	}
	return read_octal(block + f_checksum.at, f_checksum.n, &said) == 0 &&
	       (said == sum_unsigned || said == sum_signed);
}

/* Without a NUL it fills the field. Returns the length; @ret has a byte more than the field. */
static size_t read_string(const uint8_t *block, struct field f, char *ret)
{
	size_t n = strnlen((const char *)block + f.at, f.n);

	memcpy(ret, block + f.at, n);
	ret[n] = '\0';
	return n;
}

static void read_name(const uint8_t *block, enum format format, char *ret)
{
	size_t n = 0;

	if (format == USTAR)
		n = read_string(block, f_prefix, ret);
	if (n > 0)
		ret[n++] = '/';
	read_string(block, f_name, ret + n);
}

static int read_gnu_times(const uint8_t *block, struct tl_tar_header *h)
{
	struct tl_pax_time ctime;

	h->has_atime = block[f_gnu_atime.at] != 0;
	if (h->has_atime && read_time(block, f_gnu_atime, &h->atime) < 0)
		return -EINVAL;
	if (block[f_gnu_ctime.at] != 0 && read_time(block, f_gnu_ctime, &ctime) < 0)
		return -EINVAL;
	return 0;
}

int tl_tar_header_read(const uint8_t block[static TL_TAR_BLOCK_BYTES], struct tl_tar_header *ret,
		       struct tl_unpack_fault *fault)
{
	enum format format = format_of(block);
	struct tl_tar_header h;
	int r;

	if (!is_checksum_right(block))
		return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0,
				      "a tar header's checksum is wrong");
	if (format == STAR)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "a header of star's format");
	h.type = (char)block[f_type.at];
	h.major = 0;
	h.minor = 0;
	h.has_atime = false;
	read_name(block, format, h.name);
	read_string(block, f_link, h.link);
	r = read_time(block, f_mtime, &h.mtime);
	if (read_number(block, f_size, &h.size) < 0 || read_number(block, f_mode, &h.mode) < 0 ||
	    read_number(block, f_uid, &h.uid) < 0 || read_number(block, f_gid, &h.gid) < 0 ||
	    r == -EINVAL ||
	    (format != V7 && (read_number(block, f_major, &h.major) < 0 ||
			      read_number(block, f_minor, &h.minor) < 0)))
		return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0,
				      "a number in a tar header that is none");
	if (r < 0 || (format == GNU && read_gnu_times(block, &h) < 0))
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "a time in a tar header that is none");
	*ret = h;
	return 0;
}
