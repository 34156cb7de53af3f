/* SPDX-License-Identifier: Apache-2.0 */
/* Small files. All calls block on the file system only; every descriptor is O_CLOEXEC. */
#pragma once

#include <dirent.h>
#include <stddef.h>
#include <sys/types.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

/** Write all of it; retries short writes and EINTR. 0 or -errno. */
int tl_write_all(int fd, const void *data, size_t n);

/**
 * Append the file's content to @ret. Files of /proc and /sys, whose size reads as 0, work too.
 * A file larger than @ret's maximum is -EFBIG. Code TL_E_IO; @ret is unchanged on failure.
 */
int tl_file_read(const char *path, struct tl_buf *ret, struct tl_error *err);

/**
 * Replace @name in @dirfd atomically: a reader sees the old file or the new one, never a part.
 * The temporary file is ".<name>.tmp" in the same folder and is removed on failure; links are not
 * followed.
 */
int tl_file_replace(int dirfd, const char *name, const void *data, size_t n, mode_t mode,
		    struct tl_error *err);

/**
 * The next entry of @dir, "." and ".." among them: 1 with @ret, which lasts until the next call; 0
 * at the end; -errno. (readdir(3) says the same of an end and of an error.)
 */
int tl_dir_next(DIR *dir, const struct dirent **ret);
