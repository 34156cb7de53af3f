/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tar archive, entry by entry, as Go's archive/tar 1.19 reads it (containerd 1.6 unpacks with
 * that): V7, ustar, pax and GNU headers. One pass, nothing allocated after open.
 *
 * Reads only what it reads exactly as Go does: the rest is UNSUPPORTED (sparse files, global
 * headers, star's own format...), and what Go refuses is BROKEN. No general reader would do:
 * libarchive gives out names and types that it has already interpreted, in places otherwise than
 * Go, so that nobody could tell.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "fault.h"
#include "path.h"
#include "pax.h"

/* A symbolic link's target, with the NUL: PATH_MAX, the kernel's own limit. */
#define TL_TAR_LINK_CAP 4096
/* Of a pax header or a GNU long name: Go's limit, too. */
#define TL_TAR_SPECIAL_BYTES_MAX (UINT64_C(1) << 20)

/* The types that containerd unpacks, as in the header (POSIX.1-2017, pax, "ustar Interchange
 * Format"). */
enum tl_tar_type {
	TL_TAR_FILE = '0',
	TL_TAR_HARD_LINK = '1',
	TL_TAR_SYMLINK = '2',
	TL_TAR_CHAR = '3',
	TL_TAR_BLOCK = '4',
	TL_TAR_DIRECTORY = '5',
	TL_TAR_FIFO = '6',
};

struct tl_tar_entry {
	enum tl_tar_type type;
	mode_t mode; /* 07777 of it */
	uid_t uid;
	gid_t gid;
	dev_t device;             /* of TL_TAR_CHAR and TL_TAR_BLOCK */
	struct timespec times[2]; /* last access, last change of the content; 1970 or later */
	uint64_t size_bytes;      /* of the data that follows; 0 unless TL_TAR_FILE */
	const char *path;         /* clean (path.h); "" is the root itself */
	const char *link;         /* of the two kinds of links: raw */
	const struct tl_pax_xattr *xattrs;
	size_t xattrs_n;
};

/* Where the archive comes from. */
struct tl_tar_source {
	/* The next piece: its size and, borrowed until the next call, *@ret; 0 at the end; a
	 * negative errno with @fault filled. Never called again after either. */
	ssize_t (*read)(void *ctx, const uint8_t **ret, struct tl_unpack_fault *fault);
	void *ctx;
};

struct tl_tar;
int tl_tar_open(struct tl_tar **ret, struct tl_tar_source source); /* 0 or -ENOMEM */
struct tl_tar *tl_tar_close(struct tl_tar *tar);                   /* NULL is fine; returns NULL */
static inline void tl_tar_closep(struct tl_tar **t)
{
	*t = tl_tar_close(*t);
}
#define auto_tar __attribute__((cleanup(tl_tar_closep)))

/**
 * The next entry; what is left of the data of the one before is skipped.
 *
 * @ret  borrowed until the next call of any function here but tl_tar_data()
 * Returns 1, 0 at the archive's end, or a negative errno with @fault filled.
 */
int tl_tar_next(struct tl_tar *tar, const struct tl_tar_entry **ret, struct tl_unpack_fault *fault);

/**
 * The next piece of the entry's data, as it lies in the source's buffer: its size, 0 at the end,
 * or a negative errno. *@ret is borrowed until the next call.
 */
ssize_t tl_tar_data(struct tl_tar *tar, const uint8_t **ret, struct tl_unpack_fault *fault);

/** Read on to the source's end, after tl_tar_next() said 0: anything may follow an archive. */
int tl_tar_drain(struct tl_tar *tar, struct tl_unpack_fault *fault);
