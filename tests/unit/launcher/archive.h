/* SPDX-License-Identifier: Apache-2.0 */
/* Archives for the tests of launcher/unpack, byte by byte, and a source that hands them out. */
#pragma once

#include <stdio.h>
#include <string.h>

#include <teelaunch/buf.h>

#include "launcher/unpack/tar.h"

#define ARCHIVE_MAX ((size_t)8 << 20)
#define ARCHIVE_EMPTY                                                                              \
	{                                                                                          \
		.max_bytes = ARCHIVE_MAX                                                           \
	}
#define BLOCK 512

/* Numbers as text, so that anything can be written. */
struct header {
	const char *name;
	char type; /* '0' if none is given */
	const char *link;
	const char *mode;
	const char *uid;
	const char *gid;
	const char *size;
	const char *mtime;
	const char *major;
	const char *minor;
	const char *magic; /* 8 bytes; NULL: ustar */
	const char *prefix;
};

static inline void field_set(uint8_t *block, size_t at, size_t n, const char *text)
{
	if (text)
		memcpy(block + at, text, strnlen(text, n));
}

static inline void checksum_set(uint8_t *block)
{
	char text[12];
	unsigned int sum = 0;

	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < BLOCK; i++)
		sum += block[i];
	(void)snprintf(text, sizeof(text), "%06o", sum);
	memcpy(block + 148, text, 7);
}

static inline void header_fill(const struct header *h, uint8_t block[static BLOCK])
{
	memset(block, 0, BLOCK);
	field_set(block, 0, 100, h->name);
	field_set(block, 100, 8, h->mode ? h->mode : "0000644");
	field_set(block, 108, 8, h->uid);
	field_set(block, 116, 8, h->gid);
	field_set(block, 124, 12, h->size);
	field_set(block, 136, 12, h->mtime ? h->mtime : "07346545000");
	block[156] = h->type ? (uint8_t)h->type : '0';
	field_set(block, 157, 100, h->link);
	memcpy(block + 257, h->magic ? h->magic : "ustar\00000", 8);
	field_set(block, 329, 8, h->major);
	field_set(block, 337, 8, h->minor);
	field_set(block, 345, 155, h->prefix);
	checksum_set(block);
}

static inline void header_add(struct tl_buf *a, const struct header *h)
{
	uint8_t block[BLOCK];

	header_fill(h, block);
	assert_int_equal(tl_buf_append(a, block, BLOCK), 0);
}

static inline void data_add(struct tl_buf *a, const void *data, size_t n)
{
	static const uint8_t zeroes[BLOCK];

	assert_int_equal(tl_buf_append(a, data, n), 0);
	assert_int_equal(tl_buf_append(a, zeroes, -n & (BLOCK - 1)), 0);
}

/* An entry with data; h->size is set from it. */
static inline void entry_add(struct tl_buf *a, struct header h, const void *data, size_t n)
{
	char size[12];

	(void)snprintf(size, sizeof(size), "%011zo", n);
	h.size = size;
	header_add(a, &h);
	data_add(a, data, n);
}

/* A pax record; its length counts itself. */
static inline void record_add(struct tl_buf *records, const char *key, const void *value, size_t n)
{
	size_t rest = strlen(key) + n + 3;
	size_t length = rest + 1;

	while (length != rest + (size_t)snprintf(NULL, 0, "%zu", length))
		length++;
	assert_int_equal(tl_buf_printf(records, "%zu %s=", length, key), 0);
	assert_int_equal(tl_buf_append(records, value, n), 0);
	assert_int_equal(tl_buf_append(records, "\n", 1), 0);
}

static inline void pax_add(struct tl_buf *a, const char *records, size_t n)
{
	entry_add(a, (struct header){ .name = "x", .type = 'x' }, records, n);
}

static inline void end_add(struct tl_buf *a)
{
	static const uint8_t zeroes[BLOCK];

	data_add(a, zeroes, BLOCK);
	data_add(a, zeroes, BLOCK);
}

/* The archive in pieces of so many bytes; 0: as one. */
struct pieces {
	const struct tl_buf *a;
	size_t piece_bytes;
	size_t at;
};

static inline ssize_t pieces_read(void *ctx, const uint8_t **ret, struct tl_unpack_fault *fault)
{
	struct pieces *p = ctx;
	size_t left = p->a->len_bytes - p->at;
	size_t n = p->piece_bytes && p->piece_bytes < left ? p->piece_bytes : left;

	(void)fault;
	*ret = p->a->data + p->at;
	p->at += n;
	return (ssize_t)n;
}
