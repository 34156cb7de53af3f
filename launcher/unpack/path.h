/* SPDX-License-Identifier: Apache-2.0 */
/* Names of an archive's entries, as paths beneath a root. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * With the NUL. containerd puts its snapshot's directory before a name, and the sum may not pass
 * PATH_MAX (4096): what is longer than this may work there or not.
 */
#define TL_PATH_CAP 3584

/**
 * @raw without "/", "." and empty parts, ".." applied to the text (never above the root): "a/b",
 * or "" for the root. What Go's filepath.Clean("/" + raw) says, without its first "/".
 *
 * @ret  TL_PATH_CAP bytes; not @raw. Returns the length or -ENAMETOOLONG.
 */
int tl_path_clean(const char *raw, char *ret);

/** A ".." behind a name, which it takes back if the text is a path, unless the name is a link. */
bool tl_path_goes_back(const char *raw);

/**
 * Where a symbolic link leads. The link is @path's first @link_bytes, "dir/name", clean; its target
 * replaces them, and what follows in @path is appended: clean again.
 *
 * @ret_target_bytes  of @ret, what came from the link
 * Returns the length of @ret, -ENAMETOOLONG, or -ELOOP for a target with a ".." behind a name:
 * containerd takes such a one as text here and as a path there.
 */
int tl_path_follow(const char *path, size_t link_bytes, const char *target, char *ret,
		   size_t *ret_target_bytes);
