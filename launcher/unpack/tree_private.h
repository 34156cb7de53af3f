/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the tree: tree.c (entries), tree_path.c (ways to them), tree_lower.c. */
#pragma once

#include <sys/stat.h>

#include "tree.h"

/* A directory that no entry had named when it was made. */
struct implicit {
	struct implicit *next; /* in the order they were made */
	ino_t ino;
	bool is_named;   /* by an entry, later */
	bool is_touched; /* something was made or removed in it: its times are its own */
	char path[];
};

/* An open directory on the way to the current entry. */
struct level {
	int fd;
	size_t path_bytes;         /* its path is so much of tree->path */
	bool has_times;            /* to be set when it is left, once it is dirty */
	bool is_dirty;             /* something was made or removed in it */
	struct implicit *implicit; /* if it was made here, for no entry; else NULL */
	struct timespec times[2];
};

struct tl_tree {
	char path[TL_PATH_CAP];
	struct level levels[TL_TREE_DEPTH_MAX + 1]; /* the first is the root */
	struct level *top;
	struct implicit *implicit_first;
	struct implicit **implicit_end;
	void *implicit_by_ino; /* tsearch(3) */
	uint64_t implicit_n;
	uint64_t implicit_bytes;
	bool has_whiteouts;
	bool replaced_link; /* an entry went over a symbolic link */
	bool named_through; /* a directory's entry was reached through one */
};

/**
 * Make the directory @path, of which @n bytes count, the top level: opened, and made where it is
 * missing. @path is clean.
 */
int tl_tree_enter(struct tl_tree *tree, const char *path, size_t n, struct tl_unpack_fault *fault);

/** Make @name, which is a directory, the level above the top one. */
int tl_tree_push(struct tl_tree *tree, const char *name, size_t n, struct tl_unpack_fault *fault);

/** To be called before something changes in the top directory: its times are kept. */
int tl_tree_touch(struct tl_tree *tree, struct tl_unpack_fault *fault);

/** Close what lies above the first @n levels, and set the times there. */
int tl_tree_leave(struct tl_tree *tree, size_t n, struct tl_unpack_fault *fault);

/** The directory that was made without an entry and has this inode; NULL: none. */
struct implicit *tl_tree_implicit_find(const struct tl_tree *tree, ino_t ino);

/**
 * Replace the links in @path (TL_PATH_CAP bytes, clean, changed in place) by what they point at,
 * within @root. What doesn't exist is no link.
 */
int tl_tree_resolve(int root, char *path, struct tl_unpack_fault *fault);

/** openat2() without following any link; @path "" is @root itself. A descriptor or -1 and errno. */
int tl_tree_open_beneath(int root, const char *path, int flags);
