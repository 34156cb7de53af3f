/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workload output as JSON lines for the machine's log collector:
 * {"message":"...","severity":"..."}. Pure. Escapes as Go's encoding/json does, so that downstream
 * parsers see what they always saw.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/buf.h>

/**
 * Append the records of one chunk: its lines without trailing CRs, empty ones left out. A chunk
 * that doesn't end in a line feed ends in a record all the same. 0, -ENOBUFS or -ENOMEM; @ret is
 * unchanged on failure.
 */
int json_lines_encode(const char *severity, const void *chunk, size_t n, struct tl_buf *ret);

/* Encoded bytes per input byte at most (\u0000), and what surrounds a record. */
#define JSON_LINES_GROWTH   6
#define JSON_LINES_OVERHEAD 64

/**
 * How many of the @n bytes can be encoded now: up to the last line feed; all but an unfinished
 * UTF-8 sequence when @is_flush.
 */
size_t json_lines_complete(const void *data, size_t n, bool is_flush);
