/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workload output as lines for the console that the launcher's own lines go to, too: nothing that
 * the workload writes can be taken for a line of the launcher's, the kernel's or the service
 * manager's, or move the cursor of who looks at it. Pure.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/buf.h>

/* Encoded bytes per input byte at most (\xNN); an empty line is one byte, and becomes a prefix and
 * a line feed. */
#define CONSOLE_LINES_GROWTH     4
#define CONSOLE_LINES_PREFIX_MAX 32

/**
 * Append the lines of one chunk, each behind @prefix (at most CONSOLE_LINES_PREFIX_MAX - 1 bytes)
 * and with a line feed at its end; a CR before it is dropped. Every control character but the
 * tabulator, every byte that isn't UTF-8 and every character that rearranges a line becomes \xNN,
 * byte by byte; a backslash stays what it is. A chunk that doesn't end in a line feed ends in a
 * line all the same.
 *
 * 0, -ENOBUFS or -ENOMEM; @ret is unchanged on failure.
 */
int console_lines_encode(const char *prefix, const void *chunk, size_t n, struct tl_buf *ret);
