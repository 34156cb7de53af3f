/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a layer, beneath one directory: what containerd 1.6's overlay Apply would leave
 * there, entry by entry (archive/tar.go; snapshot of a layer with a parent).
 *
 *   - An entry over an earlier one replaces it; a directory over a directory takes on its
 *     attributes. A directory is never replaced by something else here: UNSUPPORTED.
 *   - ".wh.NAME" makes an overlayfs whiteout, ".wh..wh..opq" marks its directory opaque.
 *   - Directories that no entry named (yet) are made; tl_tree_inherit() gives them the attributes
 *     that the layers below have for them.
 *   - Links on the way to an entry resolve within the root. Where containerd's own way of doing so
 *     would differ from the kernel's (a link that leads through links, ".." in a link behind a
 *     name) it is UNSUPPORTED.
 *
 * Nothing is opened by a path of more than one part without RESOLVE_NO_SYMLINKS, so that nothing
 * outside of the root is reached, confined or not. Open directories are kept along the path of the
 * current entry: an archive in its usual order costs each directory one open().
 *
 * Blocks on the file system. The process's umask is to be 0; its current directory changes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tar.h"

/* Directories in a path. One descriptor each; real trees have some 20. */
#define TL_TREE_DEPTH_MAX 256
/* Directories that no entry named: their names are kept until tl_tree_inherit(). An archive of a
 * build tool that names none has some thousands. */
#define TL_TREE_IMPLICIT_MAX       65536
#define TL_TREE_IMPLICIT_BYTES_MAX (UINT64_C(8) << 20)
/* Links on the way to one entry: as the kernel. */
#define TL_TREE_LINKS_MAX 40

struct tl_tree;

/** @root  a directory, borrowed until close. 0 or -ENOMEM. */
int tl_tree_open(struct tl_tree **ret, int root);
struct tl_tree *tl_tree_close(struct tl_tree *tree); /* NULL is fine; always returns NULL */
static inline void tl_tree_closep(struct tl_tree **t)
{
	*t = tl_tree_close(*t);
}
#define auto_tree __attribute__((cleanup(tl_tree_closep)))

/** Put one entry into the tree; the data of a file is read from @tar, which @entry is of. */
int tl_tree_add(struct tl_tree *tree, const struct tl_tar_entry *entry, struct tl_tar *tar,
		struct tl_unpack_fault *fault);

/** After the last entry: the times of the directories that are open yet. */
int tl_tree_end(struct tl_tree *tree, struct tl_unpack_fault *fault);

/**
 * Give directories that the archive didn't name the attributes that the topmost of @n lower layers
 * has for them. After tl_tree_end(). With none, a layer without a parent, whiteouts are
 * UNSUPPORTED: there containerd removes files instead.
 */
int tl_tree_inherit(struct tl_tree *tree, const int *lower, size_t n,
		    struct tl_unpack_fault *fault);

/** Directories that were made though no entry had named them. */
uint64_t tl_tree_implicit_n(const struct tl_tree *tree);
