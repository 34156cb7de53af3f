/* SPDX-License-Identifier: Apache-2.0 */
#include "tree_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

/* What one directory hands down. The sizes are the kernel's own limits. */
struct attributes {
	char names[XATTR_LIST_MAX];
	char value[XATTR_SIZE_MAX];
	bool hands_group_down; /* so far: a directory with set-group-ID */
	bool has_orphan;       /* so far: one that no lower layer has */
};

/*
 * The directory @path of the layer @root. A descriptor; -ENOENT without a word in @fault: the layer
 * has nothing there; -ENOTDIR: something else.
 */
static int open_lower(int root, const char *path, struct tl_unpack_fault *fault)
{
	char resolved[TL_PATH_CAP];
	struct stat st;
	int fd = tl_tree_open_beneath(root, path, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd >= 0 || errno == ENOENT)
		return fd >= 0 ? fd : -ENOENT;
	memcpy(resolved, path, strlen(path) + 1);
	if (errno == ELOOP) {
		r = tl_tree_resolve(root, resolved, fault);
		if (r < 0)
			return -ELOOP;
		fd = tl_tree_open_beneath(root, resolved, O_RDONLY | O_DIRECTORY);
		if (fd >= 0 || errno == ENOENT)
			return fd >= 0 ? fd : -ENOENT;
	}
	/* The last part may be something else, but none on the way: containerd fails there. */
	r = errno;
	if (r == ENOTDIR && fstatat(root, resolved, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return -ENOTDIR;
	tl_unpack_fail_sys(fault, r, "directory '%s' of a lower layer", path);
	return -ELOOP;
}

/* ACLs: one for what is made inside came too late, and one over a mode of its own has another
 * order than containerd's. */
static bool is_late(const struct implicit *d, const char *name)
{
	return strcmp(name, "system.posix_acl_default") == 0 ||
	       (d->is_named && strcmp(name, "system.posix_acl_access") == 0);
}

static int copy_xattr(int from, int to, const char *name, struct attributes *a)
{
	ssize_t n = fgetxattr(from, name, a->value, sizeof(a->value));

	if (n < 0)
		return errno == EOPNOTSUPP || errno == ENODATA ? 0 : -1;
	/* What an entry said stays. */
	if (fsetxattr(to, name, a->value, (size_t)n, XATTR_CREATE) == 0)
		return 0;
	return errno == EOPNOTSUPP || errno == ENODATA || errno == EEXIST ? 0 : -1;
}

static int copy_xattrs(int from, int to, const struct implicit *d, struct attributes *a,
		       struct tl_unpack_fault *fault)
{
	ssize_t n = flistxattr(from, a->names, sizeof(a->names));

	if (n < 0 && errno != EOPNOTSUPP)
		return tl_unpack_fail_sys(fault, errno, "attributes of '%s'", d->path);
	for (const char *name = a->names; name < a->names + n; name += strlen(name) + 1) {
		if (strncmp(name, "trusted.", 8) == 0)
			continue;
		if (is_late(d, name))
			return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
					      "'%s' inherits an ACL", d->path);
		if (copy_xattr(from, to, name, a) < 0)
			return tl_unpack_fail_sys(fault, errno, "attribute '%s' of '%s'", name,
						  d->path);
	}
	return 0;
}

static int copy_stat(int from, int to, const struct implicit *d, struct attributes *a,
		     struct tl_unpack_fault *fault)
{
	struct timespec times[2];
	struct stat st;

	if (fstat(from, &st) < 0)
		return tl_unpack_fail_sys(fault, errno, "look at '%s'", d->path);
	a->hands_group_down = a->hands_group_down || (st.st_mode & S_ISGID);
	if (d->is_named)
		return 0;
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	if (d->is_touched)
		times[1].tv_nsec = UTIME_OMIT;
	if (fchown(to, st.st_uid, st.st_gid) < 0 || fchmod(to, st.st_mode & 07777) < 0 ||
	    futimens(to, times) < 0)
		return tl_unpack_fail_sys(fault, errno, "attributes of '%s'", d->path);
	return 0;
}

static int inherit(const struct tl_tree *tree, const struct implicit *d, int from,
		   struct attributes *a, struct tl_unpack_fault *fault)
{
	auto_close int to =
		tl_tree_open_beneath(tree->levels[0].fd, d->path, O_RDONLY | O_DIRECTORY);
	int r;

	if (to < 0)
		return tl_unpack_fail_sys(fault, errno, "directory '%s'", d->path);
	r = copy_stat(from, to, d, a, fault);
	return r < 0 ? r : copy_xattrs(from, to, d, a, fault);
}

static int inherit_from_topmost(const struct tl_tree *tree, const struct implicit *d,
				const int *lower, size_t n, struct attributes *a,
				struct tl_unpack_fault *fault)
{
	for (size_t i = 0; i < n; i++) {
		auto_close int from = open_lower(lower[i], d->path, fault);

		if (from >= 0)
			return inherit(tree, d, from, a, fault);
		if (from == -ENOTDIR)
			break;
		if (from != -ENOENT)
			return from;
	}
	a->has_orphan = true;
	return 0;
}

int tl_tree_inherit(struct tl_tree *tree, const int *lower, size_t n, struct tl_unpack_fault *fault)
{
	auto_free struct attributes *a = NULL;

	if (n == 0 && tree->has_whiteouts)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "whiteouts in a layer without a parent");
	if (n == 0 || !tree->implicit_first)
		return 0;
	a = malloc(sizeof(*a));
	if (!a)
		return tl_unpack_fail_sys(fault, ENOMEM, "lower layers");
	a->hands_group_down = false;
	a->has_orphan = false;
	for (const struct implicit *d = tree->implicit_first; d; d = d->next) {
		int r = inherit_from_topmost(tree, d, lower, n, a, fault);

		if (r < 0)
			return r;
	}
	/* containerd made the directory when its parent had the lower layer's mode already. */
	if (a->hands_group_down && a->has_orphan)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
				      "directories that inherit a group from another one");
	return 0;
}
