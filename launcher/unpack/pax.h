/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended headers of the pax format (POSIX.1-2017, pax, "pax Extended Header"), read as Go's
 * archive/tar 1.19 reads them, which is what containerd 1.6 unpacks with. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "fault.h"

/* An inode holds few: one block of ext4, 4 KiB; an xattr takes 16 bytes of it and its name. */
#define TL_PAX_XATTRS_MAX 128

/* Seconds beyond this would wrap in Go's arithmetic, to no time that anybody meant. */
#define TL_PAX_SECONDS_MAX (INT64_C(1) << 62)

struct tl_pax_time {
	int64_t s;  /* -1 for any time before 1970: the end is the same, 1970 */
	int64_t ns; /* 0 to 999,999,999 */
};

struct tl_pax_xattr {
	const char *name;
	const char *value; /* not text; followed by a NUL */
	size_t value_bytes;
};

enum tl_pax_key {
	TL_PAX_PATH,
	TL_PAX_LINKPATH,
	TL_PAX_UID,
	TL_PAX_GID,
	TL_PAX_ATIME,
	TL_PAX_CTIME,
	TL_PAX_MTIME,
	TL_PAX_SIZE,
	TL_PAX_UNAME, /* these two are only checked */
	TL_PAX_GNAME,
	TL_PAX_KEYS_N,
};

/* All pointers go into the text that was read. */
struct tl_pax {
	/* The last record of each key; NULL: none, or an empty one, which leaves the header's
	 * value. path and linkpath hold no NUL but the last. */
	const char *values[TL_PAX_KEYS_N];
	struct tl_pax_xattr xattrs[TL_PAX_XATTRS_MAX]; /* each name once */
	size_t xattrs_n;
};

/**
 * Read all records of one extended header.
 *
 * @text  @n bytes; is changed (names and values are terminated in place), and must outlive @ret
 * @ret   set on success only
 *
 * BROKEN where Go refuses, UNSUPPORTED for sparse files (GNU.sparse.*) and too many attributes.
 */
int tl_pax_read(char *text, size_t n, struct tl_pax *ret, struct tl_unpack_fault *fault);

/** A decimal number as Go's ParseInt takes it: a sign or none, digits. 0 or -EINVAL. */
int tl_pax_number(const char *s, int64_t *ret);

/** "1350244992.023960108", rounded down to nanoseconds. 0, -EINVAL, or -ERANGE for one beyond
 * TL_PAX_SECONDS_MAX. */
int tl_pax_time(const char *s, struct tl_pax_time *ret);
