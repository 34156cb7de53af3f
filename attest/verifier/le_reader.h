/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian reading that can't leave the buffer: after a short read everything reads as 0. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct le_reader {
	const uint8_t *data;
	size_t n;
	size_t at;
	bool is_short;
};

/** The next @n bytes, borrowed; NULL when there are fewer. */
static inline const uint8_t *le_read_bytes(struct le_reader *r, size_t n)
{
	const uint8_t *p = r->data + r->at;

	if (r->is_short || n > r->n - r->at) {
		r->is_short = true;
		return NULL;
	}
	r->at += n;
	return p;
}

/** A number of @n bytes, at most 4. */
static inline uint32_t le_read(struct le_reader *r, size_t n)
{
	const uint8_t *p = le_read_bytes(r, n);
	uint32_t v = 0;

	for (size_t i = n; p && i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}
