/* SPDX-License-Identifier: Apache-2.0 */
#include "tree_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#define DIRECTORY_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
#define IMPLICIT_MODE   0755 /* containerd's, where no lower layer has the directory */

int tl_tree_open_beneath(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned int)flags | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
}

static int compare_ino(const void *a, const void *b)
{
	ino_t x = ((const struct implicit *)a)->ino;
	ino_t y = ((const struct implicit *)b)->ino;

	return (x > y) - (x < y);
}

struct implicit *tl_tree_implicit_find(const struct tl_tree *tree, ino_t ino)
{
	struct implicit key = { .ino = ino };
	void *found = tfind(&key, &tree->implicit_by_ino, compare_ino);

	return found ? *(struct implicit **)found : NULL;
}

static int add_implicit(struct tl_tree *tree, ino_t ino, struct tl_unpack_fault *fault)
{
	size_t n = strlen(tree->path) + 1;
	struct implicit *d;

	tree->implicit_bytes += sizeof(*d) + n;
	if (tree->implicit_n == TL_TREE_IMPLICIT_MAX ||
	    tree->implicit_bytes > TL_TREE_IMPLICIT_BYTES_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "too many directories that no entry names");
	d = malloc(sizeof(*d) + n);
	if (!d)
		return tl_unpack_fail_sys(fault, ENOMEM, "directory '%s'", tree->path);
	*d = (struct implicit){ .ino = ino };
	memcpy(d->path, tree->path, n);
	*tree->implicit_end = d;
	tree->implicit_end = &d->next;
	tree->implicit_n++;
	tree->top->implicit = d;
	if (!tsearch(d, &tree->implicit_by_ino, compare_ino))
		return tl_unpack_fail_sys(fault, ENOMEM, "directory '%s'", tree->path);
	return 0;
}

int tl_tree_leave(struct tl_tree *tree, size_t n, struct tl_unpack_fault *fault)
{
	int r = 0;

	for (; tree->top >= tree->levels + n && tree->top > tree->levels; tree->top--) {
		struct level *level = tree->top;

		if (r == 0 && level->is_dirty && level->has_times &&
		    futimens(level->fd, level->times) < 0)
			r = tl_unpack_fail_sys(fault, errno, "times of '%s'", tree->path);
		close(level->fd);
		tree->path[level[-1].path_bytes] = '\0';
	}
	return r;
}

int tl_tree_touch(struct tl_tree *tree, struct tl_unpack_fault *fault)
{
	struct level *level = tree->top;
	struct stat st;

	if (level->is_dirty)
		return 0;
	level->is_dirty = true;
	if (level->implicit)
		level->implicit->is_touched = true;
	/* The root's times are nobody's; those of an entry come with it. */
	if (level->has_times || level->implicit || level == tree->levels)
		return 0;
	if (fstat(level->fd, &st) < 0)
		return tl_unpack_fail_sys(fault, errno, "directory '%s'", tree->path);
	level->implicit = tl_tree_implicit_find(tree, st.st_ino);
	if (level->implicit && !level->implicit->is_named) {
		level->implicit->is_touched = true;
		return 0;
	}
	level->has_times = true;
	level->times[0] = st.st_atim;
	level->times[1] = st.st_mtim;
	return 0;
}

int tl_tree_push(struct tl_tree *tree, const char *name, size_t n, struct tl_unpack_fault *fault)
{
	struct level *top = tree->top;
	size_t at = top->path_bytes;
	int fd;

	if (top == tree->levels + TL_TREE_DEPTH_MAX)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "directories are nested too deep");
	/* A link may have led further down than its own name is long. */
	if (at + 1 + n >= sizeof(tree->path))
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, ENAMETOOLONG,
				      "a path that links make too long");
	if (at > 0)
		tree->path[at++] = '/';
	memcpy(tree->path + at, name, n);
	tree->path[at + n] = '\0';
	fd = openat(top->fd, tree->path + at, DIRECTORY_FLAGS);
	if (fd < 0) {
		int r = tl_unpack_fail_sys(fault, errno, "directory '%s'", tree->path);

		tree->path[top->path_bytes] = '\0';
		return r;
	}
	tree->top++;
	*tree->top = (struct level){ .fd = fd, .path_bytes = at + n };
	return 0;
}

/* A directory that no entry named: the next level. */
static int make_implicit(struct tl_tree *tree, const char *name, size_t n,
			 struct tl_unpack_fault *fault)
{
	char part[NAME_MAX + 1];
	struct stat st;
	int r;

	if (n > NAME_MAX)
		return tl_unpack_fail_sys(fault, ENAMETOOLONG, "directory in '%s'", tree->path);
	memcpy(part, name, n);
	part[n] = '\0';
	r = tl_tree_touch(tree, fault);
	if (r < 0)
		return r;
	if (mkdirat(tree->top->fd, part, IMPLICIT_MODE) < 0)
		return tl_unpack_fail_sys(fault, errno, "make '%s' in '%s'", part, tree->path);
	r = tl_tree_push(tree, name, n, fault);
	if (r < 0)
		return r;
	/* A parent with set-group-ID hands it down; containerd's chmod takes it away. */
	if (fstat(tree->top->fd, &st) < 0 ||
	    ((st.st_mode & 07777) != IMPLICIT_MODE && fchmod(tree->top->fd, IMPLICIT_MODE) < 0))
		return tl_unpack_fail_sys(fault, errno, "directory '%s'", tree->path);
	return add_implicit(tree, st.st_ino, fault);
}

/* How many levels the stack has in common with @path. */
static size_t common_levels(const struct tl_tree *tree, const char *path, size_t n)
{
	const struct level *level = tree->levels + 1;

	for (; level <= tree->top; level++) {
		size_t from = level[-1].path_bytes;
		size_t to = level->path_bytes;

		if (to > n || (to < n && path[to] != '/') ||
		    memcmp(tree->path + from, path + from, to - from) != 0)
			break;
	}
	return (size_t)(level - tree->levels);
}

/* -ENOTDIR with no word in @fault: something on the way is no directory, maybe a link. */
static int enter_real(struct tl_tree *tree, const char *path, size_t n,
		      struct tl_unpack_fault *fault)
{
	int r = tl_tree_leave(tree, common_levels(tree, path, n), fault);

	while (r == 0 && tree->top->path_bytes < n) {
		const char *name = path + tree->top->path_bytes + (tree->top > tree->levels);
		const char *end = memchr(name, '/', (size_t)(path + n - name));
		size_t name_n = (size_t)((end ? end : path + n) - name);

		r = tl_tree_push(tree, name, name_n, fault);
		if (r == -ENOENT)
			r = make_implicit(tree, name, name_n, fault);
	}
	return r;
}

int tl_tree_enter(struct tl_tree *tree, const char *path, size_t n, struct tl_unpack_fault *fault)
{
	char resolved[TL_PATH_CAP];
	int r;

	if (n == tree->top->path_bytes && memcmp(path, tree->path, n) == 0)
		return 0;
	r = enter_real(tree, path, n, fault);
	if (r != -ENOTDIR)
		return r;
	memcpy(resolved, path, n);
	resolved[n] = '\0';
	r = tl_tree_resolve(tree->levels[0].fd, resolved, fault);
	return r < 0 ? r : enter_real(tree, resolved, strlen(resolved), fault);
}

/* The target of the link @path, terminated: its length; -EINVAL: it is something else. */
static int read_link(int root, const char *path, char ret[static TL_TAR_LINK_CAP])
{
	ssize_t n = readlinkat(root, path, ret, TL_TAR_LINK_CAP);

	if (n < 0)
		return -errno;
	if (n == TL_TAR_LINK_CAP)
		return -ENAMETOOLONG;
	ret[n] = '\0';
	return (int)n;
}

int tl_tree_resolve(int root, char *path, struct tl_unpack_fault *fault)
{
	char target[TL_TAR_LINK_CAP];
	char next[TL_PATH_CAP];
	size_t from_link = 0; /* so much of the path came from a link */
	size_t links = 0;

	for (size_t at = 0; path[at];) {
		size_t end = at + 1 + strcspn(path + at + 1, "/");
		char rest = path[end];
		int r;

		path[end] = '\0';
		r = read_link(root, path, target);
		path[end] = rest;
		at = end;
		if (r == -EINVAL)
			continue;
		if (r == -ENOENT)
			return 0;
		if (r < 0)
			return tl_unpack_fail_sys(fault, -r, "link '%s'", path);
		if (end <= from_link || ++links > TL_TREE_LINKS_MAX)
			return tl_unpack_fail_sys(fault, ELOOP, "links on the way to '%s'", path);
		r = tl_path_follow(path, end, target, next, &from_link);
		if (r < 0)
			return tl_unpack_fail_sys(fault, -r, "link on the way to '%s'", path);
		memcpy(path, next, (size_t)r + 1);
		at = 0;
	}
	return 0;
}
