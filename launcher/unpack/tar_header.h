/* SPDX-License-Identifier: Apache-2.0 */
/* The header block of a tar archive (POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar's
 * manual, "Basic Tar Format"; V7), read as Go's archive/tar 1.19 does. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "pax.h"

#define TL_TAR_BLOCK_BYTES 512
/* A prefix of 155, "/", a name of 100, NUL. */
#define TL_TAR_HEADER_NAME_CAP 257

struct tl_tar_header {
	char type;
	int64_t size;
	int64_t mode;
	int64_t uid;
	int64_t gid;
	int64_t major;
	int64_t minor;
	struct tl_pax_time mtime;
	struct tl_pax_time atime; /* if has_atime */
	bool has_atime;
	char name[TL_TAR_HEADER_NAME_CAP];
	char link[101];
};

/** @block is not all zeroes. BROKEN where Go refuses; UNSUPPORTED for star's format, and for GNU
 * headers in which an old Go's writer may have put a prefix. */
int tl_tar_header_read(const uint8_t block[static TL_TAR_BLOCK_BYTES], struct tl_tar_header *ret,
		       struct tl_unpack_fault *fault);
