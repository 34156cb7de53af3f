/* SPDX-License-Identifier: Apache-2.0 */
#include "inflate.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <isa-l/igzip_lib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <teelaunch/cleanup.h>

#include "gzip_header.h"

/* Enough to tell the formats apart. */
#define HEAD_BYTES 10

enum format { FORMAT_UNKNOWN, FORMAT_NONE, FORMAT_GZIP, FORMAT_ZSTD };

struct tl_inflate {
	int fd;
	enum format format;
	bool is_end;    /* of what can be read */
	bool is_within; /* a member or a frame, which has to end */
	uint64_t bytes_in, bytes_out;
	size_t at, n; /* what of @in is not used yet: n bytes from there on */
	ZSTD_DCtx *zstd;
	struct inflate_state gzip;
	uint8_t in[TL_INFLATE_IN_BYTES];
	uint8_t out[TL_INFLATE_OUT_BYTES];
};

int tl_inflate_new(int fd, struct tl_inflate **ret, struct tl_error *err)
{
	struct tl_inflate *z = malloc(sizeof(*z));

	if (!z)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory to inflate a layer");
	/* Not the buffers: pages that nobody needs stay untouched. */
	memset(z, 0, offsetof(struct tl_inflate, gzip));
	z->fd = fd;
	*ret = z;
	return 0;
}

struct tl_inflate *tl_inflate_free(struct tl_inflate *z)
{
	if (!z)
		return NULL;
	ZSTD_freeDCtx(z->zstd);
	free(z);
	return NULL;
}

uint64_t tl_inflate_bytes_in(const struct tl_inflate *z)
{
	return z->bytes_in;
}

uint64_t tl_inflate_bytes_out(const struct tl_inflate *z)
{
	return z->bytes_out;
}

const char *tl_inflate_format(const struct tl_inflate *z)
{
	static const char *const names[] = {
		[FORMAT_UNKNOWN] = "",
		[FORMAT_NONE] = "none",
		[FORMAT_GZIP] = "gzip",
		[FORMAT_ZSTD] = "zstd",
	};

	return names[z->format];
}

/* One read, behind what is there, which does not fill the buffer. */
static int fill(struct tl_inflate *z, struct tl_error *err)
{
	ssize_t n;

	if (z->at)
		memmove(z->in, z->in + z->at, z->n);
	z->at = 0;
	do
		n = read(z->fd, z->in + z->n, sizeof(z->in) - z->n);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "reading the layer");
	z->is_end = n == 0;
	z->n += (size_t)n;
	z->bytes_in += (uint64_t)n;
	return 0;
}

static int broken(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_UNPACK, EBADMSG, "%s", what);
}

/* --- none ---------------------------------------------------------------------------------- */

static ssize_t none_next(struct tl_inflate *z, const void **ret, struct tl_error *err)
{
	size_t n;
	int r = z->n || z->is_end ? 0 : fill(z, err);

	if (r < 0)
		return r;
	n = z->n;
	*ret = z->in + z->at;
	z->n = 0;
	return (ssize_t)n;
}

/* --- gzip ---------------------------------------------------------------------------------- */

static const char *gzip_fault(int r)
{
	if (r == ISAL_INCORRECT_CHECKSUM)
		return "gzip: a checksum or a size is wrong";
	return "gzip: the compressed data is damaged";
}

/* Past the header of the next member; 1, or 0 at the end. */
static int gzip_begin(struct tl_inflate *z, struct tl_error *err)
{
	ssize_t n = 0;
	int r = 0;

	static_assert(TL_GZIP_HEADER_MAX < TL_INFLATE_IN_BYTES, "a header fits into the buffer");
	while (r == 0 && (n = tl_gzip_header_read(z->in + z->at, z->n)) == 0 && !z->is_end)
		r = fill(z, err);
	if (r < 0)
		return r;
	if (n < 0)
		return broken(err, "gzip: what should be a member has no header of one");
	if (n == 0)
		return z->n ? broken(err, "gzip: the layer ends within a header") : 0;
	z->at += (size_t)n;
	z->n -= (size_t)n;
	isal_inflate_reset(&z->gzip);
	z->gzip.crc_flag = ISAL_GZIP_NO_HDR_VER;
	z->is_within = true;
	return 1;
}

/* Put what is there through the decoder; 1 if it did anything, 0 if not. */
static int gzip_step(struct tl_inflate *z, struct tl_error *err)
{
	struct inflate_state *s = &z->gzip;
	const uint32_t room = s->avail_out;
	int r;

	s->next_in = z->in + z->at;
	s->avail_in = (uint32_t)z->n;
	r = isal_inflate(s);
	if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
		return broken(err, gzip_fault(r));
	r = s->avail_in != z->n || s->avail_out != room;
	z->at += z->n - s->avail_in;
	z->n = s->avail_in;
	if (s->block_state == ISAL_BLOCK_FINISH)
		z->is_within = false;
	return r;
}

static ssize_t gzip_next(struct tl_inflate *z, const void **ret, struct tl_error *err)
{
	struct inflate_state *s = &z->gzip;

	s->next_out = z->out;
	s->avail_out = sizeof(z->out);
	while (s->avail_out) {
		int r = z->is_within ? 1 : gzip_begin(z, err);

		if (r == 0)
			break;
		if (r > 0 && !z->n && !z->is_end)
			r = fill(z, err);
		if (r >= 0)
			r = gzip_step(z, err);
		if (r < 0)
			return r;
		if (!r && z->is_within && z->n)
			return broken(err, gzip_fault(0));
		if (!r && z->is_within && z->is_end)
			return broken(err, "gzip: the layer ends within a member");
	}
	*ret = z->out;
	return (ssize_t)(sizeof(z->out) - s->avail_out);
}

/* --- zstd ---------------------------------------------------------------------------------- */

static int zstd_fail(size_t code, struct tl_error *err)
{
	switch (ZSTD_getErrorCode(code)) {
	case ZSTD_error_frameParameter_windowTooLarge:
		return tl_fail(err, TL_E_UNPACK, EOPNOTSUPP, "zstd: a window of more than %d MiB",
			       1 << (TL_INFLATE_WINDOW_LOG_MAX - 20));
	case ZSTD_error_memory_allocation:
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a window of zstd");
	default:
		return tl_fail(err, TL_E_UNPACK, EBADMSG, "zstd: %s", ZSTD_getErrorName(code));
	}
}

static ssize_t zstd_next(struct tl_inflate *z, const void **ret, struct tl_error *err)
{
	ZSTD_outBuffer out = { .dst = z->out, .size = sizeof(z->out) };

	while (out.pos < out.size) {
		ZSTD_inBuffer in;
		size_t before = out.pos, more;
		int r = z->n || z->is_end ? 0 : fill(z, err);

		if (r < 0)
			return r;
		if (!z->n && z->is_end && !z->is_within)
			break;
		in = (ZSTD_inBuffer){ .src = z->in + z->at, .size = z->n };
		more = ZSTD_decompressStream(z->zstd, &out, &in);
		if (ZSTD_isError(more))
			return zstd_fail(more, err);
		z->at += in.pos;
		z->n -= in.pos;
		z->is_within = more != 0;
		if (z->is_end && !in.pos && out.pos == before && z->is_within)
			return broken(err, "zstd: the layer ends within a frame");
	}
	*ret = z->out;
	return (ssize_t)out.pos;
}

/* --- which of them ------------------------------------------------------------------------- */

static int zstd_begin(struct tl_inflate *z, struct tl_error *err)
{
	z->zstd = ZSTD_createDCtx();
	if (!z->zstd || ZSTD_isError(ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax,
							    TL_INFLATE_WINDOW_LOG_MAX)))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for zstd");
	return 0;
}

static bool is_zstd(const uint8_t *head, size_t n)
{
	static const uint8_t frame[] = { 0x28, 0xb5, 0x2f, 0xfd };
	/* RFC 8878, 3.1.2: 0x184D2A50 to 0x184D2A5F, little-endian. */
	static const uint8_t skippable[] = { 0x2a, 0x4d, 0x18 };

	if (n >= sizeof(frame) && memcmp(head, frame, sizeof(frame)) == 0)
		return true;
	return n >= 8 && (head[0] & 0xf0) == 0x50 &&
	       memcmp(head + 1, skippable, sizeof(skippable)) == 0;
}

static int format_detect(struct tl_inflate *z, struct tl_error *err)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8 };
	int r = 0;

	while (r == 0 && z->n < HEAD_BYTES && !z->is_end)
		r = fill(z, err);
	if (r < 0)
		return r;
	if (z->n >= sizeof(gzip) && memcmp(z->in, gzip, sizeof(gzip)) == 0) {
		isal_inflate_init(&z->gzip);
		z->format = FORMAT_GZIP;
	} else if (is_zstd(z->in, z->n)) {
		r = zstd_begin(z, err);
		z->format = FORMAT_ZSTD;
	} else {
		z->format = FORMAT_NONE;
	}
	return r;
}

ssize_t tl_inflate_next(struct tl_inflate *z, const void **ret, struct tl_error *err)
{
	ssize_t n = z->format == FORMAT_UNKNOWN ? format_detect(z, err) : 0;

	if (n < 0)
		return n;
	n = z->format == FORMAT_GZIP   ? gzip_next(z, ret, err)
	    : z->format == FORMAT_ZSTD ? zstd_next(z, ret, err)
				       : none_next(z, ret, err);
	if (n > 0)
		z->bytes_out += (uint64_t)n;
	return n;
}
