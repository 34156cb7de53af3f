/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a maximum given at init: hostile input can't grow it further.
 * By value; not thread-safe. An append that fails changes nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_buf {
	uint8_t *data; /* always followed by a NUL that isn't counted, once anything was appended */
	size_t len_bytes;
	size_t cap_bytes;
	size_t max_bytes;
};

/** An empty buffer that never holds more than @max_bytes; allocates nothing yet. */
void tl_buf_init(struct tl_buf *b, size_t max_bytes);
/** Wipe and free; the buffer may be used again with the same maximum. NULL is fine. */
void tl_buf_done(struct tl_buf *b);
#define auto_buf __attribute__((cleanup(tl_buf_done)))

/* Appends take no bytes of the buffer's own. They return 0, -ENOBUFS when the maximum would be
 * passed, or -ENOMEM. */
int tl_buf_append(struct tl_buf *b, const void *data, size_t len_bytes);
int tl_buf_append_str(struct tl_buf *b, const char *s);
int tl_buf_append_u8(struct tl_buf *b, uint8_t v);
int tl_buf_append_be16(struct tl_buf *b, uint16_t v);
int tl_buf_append_be32(struct tl_buf *b, uint32_t v);
int tl_buf_append_be64(struct tl_buf *b, uint64_t v);
int tl_buf_printf(struct tl_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** Forget the content, keep the memory. */
void tl_buf_reset(struct tl_buf *b);
/** Drop the first @n bytes (all, if there are fewer). */
void tl_buf_consume(struct tl_buf *b, size_t n);
/** The content as a C string: "" when empty; borrowed until the next change. */
const char *tl_buf_str(const struct tl_buf *b);
/** Take the content as a heap string (never NULL except out of memory); the buffer is empty after.
 */
char *tl_buf_take_str(struct tl_buf *b);
