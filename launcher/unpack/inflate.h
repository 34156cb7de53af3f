/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer's bytes as they come -> its archive, block by block. What it is compressed with is told
 * by its first bytes, as containerd does, and never by a name: gzip (RFC 1952), Zstandard (RFC
 * 8878), and everything else is taken for an archive as it is, an empty stream too.
 *
 * Strict to the end: members of gzip and frames of Zstandard may follow one another, but nothing
 * else, and a stream that ends within one is broken. Checksums are checked. (Go's readers, which
 * containerd uses, judge the same; pigz, if it is installed, lets bytes after the last member
 * pass.)
 *
 * All memory is taken when the reader is made; but a Zstandard frame takes its window, at most
 * 2^TL_INFLATE_WINDOW_LOG_MAX bytes. Blocking; one thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <teelaunch/error.h>

/* Bytes of the two buffers: reads as large as a pipe can be, blocks that stay in the cache. */
#define TL_INFLATE_IN_BYTES  ((size_t)256 << 10)
#define TL_INFLATE_OUT_BYTES ((size_t)256 << 10)

/* What zstd's levels to 19 take at most (8 MiB), and what RFC 8878, 3.1.1.1.2 asks of a reader. */
#define TL_INFLATE_WINDOW_LOG_MAX 23

struct tl_inflate;

/** @fd: borrowed; read from where it stands to its end. */
int tl_inflate_new(int fd, struct tl_inflate **ret, struct tl_error *err);
struct tl_inflate *tl_inflate_free(struct tl_inflate *z);

static inline void tl_inflate_freep(struct tl_inflate **z)
{
	tl_inflate_free(*z);
}
#define auto_inflate __attribute__((cleanup(tl_inflate_freep)))

/**
 * The next block: 1 to TL_INFLATE_OUT_BYTES bytes at @ret, good until the next call; 0 at the end,
 * when the whole stream was read.
 *
 * -EBADMSG (TL_E_UNPACK)     broken
 * -EOPNOTSUPP (TL_E_UNPACK)  a window above the limit: somebody else may take it
 * -ENOMEM (TL_E_NO_MEMORY); else what read(2) says (TL_E_IO)
 */
ssize_t tl_inflate_next(struct tl_inflate *z, const void **ret, struct tl_error *err);

/* So far: bytes read, and bytes given out. */
uint64_t tl_inflate_bytes_in(const struct tl_inflate *z);
uint64_t tl_inflate_bytes_out(const struct tl_inflate *z);

/** "gzip", "zstd", "none", or "" before the first block. */
const char *tl_inflate_format(const struct tl_inflate *z);
