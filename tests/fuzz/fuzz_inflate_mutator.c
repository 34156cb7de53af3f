/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mutations of fuzz_inflate's inputs: after every other one the trailer is put right (RFC 1952,
 * section 2.3.1), which a fuzzer that doesn't know the checksum never finds.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "fuzz.h"

#define GZIP_HEAD  10
#define GZIP_TAIL  8
#define PIECE_BYTE 1 /* what comes before: the size of pieces */
#define OUT_BYTES  (64 * 1024)

size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned int seed);

static void le32_put(uint8_t *to, uint32_t value)
{
	for (size_t i = 0; i < 4; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

/* Returns the size, with the trailer behind the deflated data; @n if there is no such thing. */
static size_t trailer_set(uint8_t *data, size_t n, size_t max)
{
	static uint8_t out[OUT_BYTES];
	uint32_t sum = (uint32_t)crc32(0, NULL, 0), total = 0;
	z_stream z = { 0 };
	size_t end;
	int r = Z_OK;

	if (n < GZIP_HEAD || data[0] != 0x1f || data[1] != 0x8b || data[3] ||
	    inflateInit2(&z, -15) != Z_OK)
		return n;
	z.next_in = data + GZIP_HEAD;
	z.avail_in = (uInt)(n - GZIP_HEAD);
	while (r == Z_OK && total < OUT_BYTES * 16) {
		z.next_out = out;
		z.avail_out = sizeof(out);
		r = inflate(&z, Z_NO_FLUSH);
		sum = (uint32_t)crc32(sum, out, (uInt)(sizeof(out) - z.avail_out));
		total += (uint32_t)sizeof(out) - z.avail_out;
	}
	end = n - z.avail_in;
	inflateEnd(&z);
	if (r != Z_STREAM_END || end + GZIP_TAIL > max)
		return n;
	le32_put(data + end, sum);
	le32_put(data + end + 4, total);
	return end + GZIP_TAIL > n ? end + GZIP_TAIL : n;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned int seed)
{
	n = LLVMFuzzerMutate(data, n, max);
	if (seed % 2 && n > PIECE_BYTE)
		n = PIECE_BYTE + trailer_set(data + PIECE_BYTE, n - PIECE_BYTE, max - PIECE_BYTE);
	return n;
}
