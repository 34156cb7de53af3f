/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a gzip member (RFC 1952, 2.3), judged as Go's compress/gzip does, which containerd
 * reads with: bits that the RFC reserves don't count, a text of more than 511 bytes is refused, and
 * the header's CRC is checked. (ISA-L gets that CRC wrong when a header comes in two pieces.) Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of a name or a comment, with its NUL: Go's buffer. */
#define TL_GZIP_TEXT_MAX 512
/* Fixed part, extra field, name and comment, CRC. */
#define TL_GZIP_HEADER_MAX (10 + 2 + 0xffff + 2 * TL_GZIP_TEXT_MAX + 2)

/** The header's size; 0: it goes on behind @n; or -EBADMSG. */
ssize_t tl_gzip_header_read(const uint8_t *data, size_t n);
