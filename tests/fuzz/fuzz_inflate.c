/* SPDX-License-Identifier: Apache-2.0 */
/* A layer's bytes, in pieces as they come, with interruptions, to its archive: every block has a
 * size that it may have, and of what gzip says, it is what zlib says. The first byte chooses the
 * pieces. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/error.h>

#include "fuzz.h"
#include "launcher/unpack/inflate.h"

/* Of an input; above what the kernel gives: a descriptor. */
#define INPUT_BYTES_MAX (1 << 20)
#define FD              (1 << 28)
#define OUT_MAX         ((uint64_t)8 << 20)

/* A second opinion. */
struct opinion {
	z_stream z;
	uint8_t *out; /* TL_INFLATE_OUT_BYTES */
};

static void opinion_done(struct opinion *o)
{
	inflateEnd(&o->z);
}

/* zlib's next @n bytes, over the ends of members; fewer at the end, or where it finds a fault. */
static size_t opinion_read(struct opinion *o, size_t n, bool *ret_is_good)
{
	int r = Z_OK;

	o->z.next_out = o->out;
	o->z.avail_out = (uInt)n;
	*ret_is_good = true;
	while (o->z.avail_out && r == Z_OK) {
		r = inflate(&o->z, Z_NO_FLUSH);
		if (r == Z_STREAM_END && o->z.avail_in)
			r = inflateReset(&o->z);
	}
	*ret_is_good = r == Z_OK || r == Z_STREAM_END;
	return n - o->z.avail_out;
}

/* Whether all that is left is good. */
static bool opinion_is_good(struct opinion *o)
{
	uint64_t total = 0;
	bool is_good;
	size_t n;

	do {
		n = opinion_read(o, TL_INFLATE_OUT_BYTES, &is_good);
		total += n;
	} while (n > 0 && is_good && total <= OUT_MAX);
	return is_good;
}

/* Bits of the header that are to be zero: zlib looks, neither Go nor ISA-L do. */
static bool has_reserved_flags(const uint8_t *data, size_t n)
{
	for (size_t i = 0; i + 3 < n; i++)
		if (data[i] == 0x1f && data[i + 1] == 0x8b && data[i + 2] == 8 &&
		    (data[i + 3] & 0xe0))
			return true;
	return false;
}

/* What a pipe would have, without the kernel: read() of this program (--wrap). */
static struct {
	const uint8_t *at;
	size_t left, piece;
	unsigned int calls;
} from;

ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);
ssize_t __wrap___read_chk(int fd, void *to, size_t n, size_t room); /* with _FORTIFY_SOURCE */

ssize_t __wrap_read(int fd, void *to, size_t n)
{
	if (fd != FD)
		return __real_read(fd, to, n);
	FUZZ_CHECK(n > 0);
	if (from.calls++ % 8 == 7) {
		errno = EINTR;
		return -1;
	}
	if (n > from.piece)
		n = from.piece;
	if (n > from.left)
		n = from.left;
	memcpy(to, from.at, n);
	from.at += n;
	from.left -= n;
	return (ssize_t)n;
}

ssize_t __wrap___read_chk(int fd, void *to, size_t n, size_t room)
{
	FUZZ_CHECK(n <= room);
	return __wrap_read(fd, to, n);
}

/* Both to the end; they must say the same all the way. */
static void compare(struct tl_inflate *z, struct opinion *o)
{
	struct tl_error err = { 0 };
	const void *block;
	bool is_good;
	ssize_t n;

	while ((n = tl_inflate_next(z, &block, &err)) > 0) {
		FUZZ_CHECK((size_t)n <= TL_INFLATE_OUT_BYTES);
		if (o)
			FUZZ_CHECK(opinion_read(o, (size_t)n, &is_good) == (size_t)n &&
				   memcmp(o->out, block, (size_t)n) == 0);
		if (tl_inflate_bytes_out(z) > OUT_MAX)
			return;
	}
	FUZZ_CHECK(n == 0 || n == -EBADMSG || n == -EOPNOTSUPP);
	FUZZ_CHECK((n == 0) == (err.msg[0] == '\0'));
	if (o)
		FUZZ_CHECK(opinion_is_good(o) == (n == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t gzip[] = { 0x1f, 0x8b, 8 };
	static uint8_t out[TL_INFLATE_OUT_BYTES]; /* not to be cleared each time */
	__attribute__((cleanup(opinion_done))) struct opinion o = { .out = out };
	auto_inflate struct tl_inflate *z = NULL;
	struct tl_error err = { 0 };
	bool is_gzip;

	if (size < 1 || size > INPUT_BYTES_MAX)
		return 0;
	from.piece = (size_t)data[0] + 1;
	from.at = ++data;
	from.left = --size;
	from.calls = 0;
	is_gzip = size >= sizeof(gzip) && memcmp(data, gzip, sizeof(gzip)) == 0 &&
		  !has_reserved_flags(data, size);
	FUZZ_CHECK(inflateInit2(&o.z, 15 + 16) == Z_OK);
	o.z.next_in = (Bytef *)(uintptr_t)data;
	o.z.avail_in = (uInt)size;
	FUZZ_CHECK(tl_inflate_new(FD, &z, &err) == 0);
	compare(z, is_gzip ? &o : NULL);
	return 0;
}
