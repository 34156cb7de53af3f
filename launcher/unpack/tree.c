/* SPDX-License-Identifier: Apache-2.0 */
#include "tree_private.h"

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

/* OCI image-spec, layer.md, "Whiteouts". */
#define WHITEOUT ".wh."
#define OPAQUE   WHITEOUT WHITEOUT ".opq"

int tl_tree_open(struct tl_tree **ret, int root)
{
	struct tl_tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return -ENOMEM;
	tree->top = tree->levels;
	tree->levels[0].fd = root;
	tree->implicit_end = &tree->implicit_first;
	*ret = tree;
	return 0;
}

static void keep(void *node)
{
	(void)node; /* freed along the list */
}

struct tl_tree *tl_tree_close(struct tl_tree *tree)
{
	if (!tree)
		return NULL;
	for (; tree->top > tree->levels; tree->top--)
		close(tree->top->fd);
	tdestroy(tree->implicit_by_ino, keep);
	while (tree->implicit_first) {
		struct implicit *d = tree->implicit_first;

		tree->implicit_first = d->next;
		free(d);
	}
	free(tree);
	return NULL;
}

uint64_t tl_tree_implicit_n(const struct tl_tree *tree)
{
	return tree->implicit_n;
}

static int fail(struct tl_unpack_fault *fault, const struct tl_tar_entry *e, const char *what)
{
	return tl_unpack_fail_sys(fault, errno, "%s '%s'", what, e->path);
}

/* Clear the way for @name in the top directory: what isn't a directory goes. -EEXIST without a word
 * in @fault: it is one. */
static int remove_old(struct tl_tree *tree, const struct tl_tar_entry *e, const char *name,
		      struct tl_unpack_fault *fault)
{
	struct stat st;

	if (fstatat(tree->top->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "look at");
	if (S_ISDIR(st.st_mode))
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, EEXIST,
				      "'%s' replaces a directory", e->path);
	if (S_ISLNK(st.st_mode)) {
		tree->replaced_link = true;
		/* containerd sets directories' times at the end, by their names. */
		if (tree->named_through)
			return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
					      "'%s' replaces a link, of which there may be one on "
					      "the way to a directory",
					      e->path);
	}
	return unlinkat(tree->top->fd, name, 0) < 0 ? fail(fault, e, "replace") : 0;
}

/* What setxattr() said of @x, which containerd lets pass in some cases. */
static int judge_xattr(const struct tl_tar_entry *e, const struct tl_pax_xattr *x, int r,
		       struct tl_unpack_fault *fault)
{
	if (r == 0 || errno == EOPNOTSUPP)
		return 0;
	/* Only files and directories have attributes of users. */
	if (errno == EPERM && e->type != TL_TAR_FILE && e->type != TL_TAR_DIRECTORY &&
	    strncmp(x->name, "user.", 5) == 0)
		return 0;
	return tl_unpack_fail_sys(fault, errno, "attribute '%s' of '%s'", x->name, e->path);
}

static bool is_refused(const struct tl_pax_xattr *x)
{
	return strncmp(x->name, "trusted.", 8) == 0;
}

static int set_xattrs(int fd, const struct tl_tar_entry *e, struct tl_unpack_fault *fault)
{
	for (const struct tl_pax_xattr *x = e->xattrs; x < e->xattrs + e->xattrs_n; x++) {
		int r = is_refused(x) ? 0 : fsetxattr(fd, x->name, x->value, x->value_bytes, 0);

		r = judge_xattr(e, x, r, fault);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of what can't be opened without doing something: from within its directory. */
static int set_xattrs_at(int dirfd, const char *name, const struct tl_tar_entry *e,
			 struct tl_unpack_fault *fault)
{
	if (e->xattrs_n == 0)
		return 0;
	if (fchdir(dirfd) < 0)
		return fail(fault, e, "directory of");
	for (const struct tl_pax_xattr *x = e->xattrs; x < e->xattrs + e->xattrs_n; x++) {
		int r = is_refused(x) ? 0 : lsetxattr(name, x->name, x->value, x->value_bytes, 0);

		r = judge_xattr(e, x, r, fault);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Owner, attributes, mode of what was opened: in this order, because chown() takes the set-ID bits
 * and an ACL says the mode. A call that would change nothing is spared: @st is of the new file.
 */
static int set_attributes(int fd, const struct tl_tar_entry *e, const struct stat *st,
			  struct tl_unpack_fault *fault)
{
	bool is_owned = st->st_uid == e->uid && st->st_gid == e->gid;
	int r;

	if (!is_owned && fchown(fd, e->uid, e->gid) < 0)
		return fail(fault, e, "owner of");
	r = set_xattrs(fd, e, fault);
	if (r < 0)
		return r;
	if ((!is_owned || e->xattrs_n > 0 || (st->st_mode & 07777) != e->mode) &&
	    fchmod(fd, e->mode) < 0)
		return fail(fault, e, "mode of");
	return 0;
}

/* The same of what has no descriptor, and its times. A hard link's file had a life before: its
 * owner is set again in any case, for what the kernel takes from it then. */
static int set_attributes_at(int dirfd, const char *name, const struct tl_tar_entry *e,
			     struct tl_unpack_fault *fault)
{
	struct stat st;
	int r;

	if (fchownat(dirfd, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "owner of");
	r = set_xattrs_at(dirfd, name, e, fault);
	if (r < 0)
		return r;
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "look at");
	if (!S_ISLNK(st.st_mode) && (st.st_mode & 07777) != e->mode &&
	    fchmodat(dirfd, name, e->mode, 0) < 0)
		return fail(fault, e, "mode of");
	if (utimensat(dirfd, name, e->times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "times of");
	return 0;
}

static int write_data(int fd, const struct tl_tar_entry *e, struct tl_tar *tar,
		      struct tl_unpack_fault *fault)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = tl_tar_data(tar, &data, fault)) > 0)
		while (n > 0) {
			ssize_t done = write(fd, data, (size_t)n);

			if (done < 0 && errno == EINTR)
				continue;
			if (done < 0)
				return fail(fault, e, "write");
			data += done;
			n -= done;
		}
	return (int)n;
}

static int add_file(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
		    struct tl_tar *tar, struct tl_unpack_fault *fault)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	/* Neither of the set-ID bits before the owner is right. */
	auto_close int fd = openat(tree->top->fd, name, flags, e->mode & 0777);
	struct stat st;
	int r;

	if (fd < 0 && errno == EEXIST) {
		r = remove_old(tree, e, name, fault);
		if (r < 0)
			return r;
		fd = openat(tree->top->fd, name, flags, e->mode & 0777);
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(fault, e, "make");
	r = write_data(fd, e, tar, fault);
	if (r < 0)
		return r;
	r = set_attributes(fd, e, &st, fault);
	if (r < 0)
		return r;
	if (futimens(fd, e->times) < 0)
		return fail(fault, e, "times of");
	return close(take_fd(fd)) < 0 ? fail(fault, e, "close") : 0;
}

/* A file becomes a directory; a directory stays, and takes on what the entry says. */
static int make_directory(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
			  struct tl_unpack_fault *fault)
{
	struct stat st;
	int r;

	if (mkdirat(tree->top->fd, name, e->mode & 0777) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(fault, e, "make");
	if (fstatat(tree->top->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "look at");
	if (S_ISDIR(st.st_mode))
		return 0;
	r = remove_old(tree, e, name, fault);
	if (r < 0)
		return r;
	return mkdirat(tree->top->fd, name, e->mode & 0777) < 0 ? fail(fault, e, "make") : 0;
}

static int add_directory(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
			 struct tl_unpack_fault *fault)
{
	struct implicit *implicit;
	struct stat st;
	int r = make_directory(tree, name, e, fault);

	if (r < 0)
		return r;
	r = tl_tree_push(tree, name, strlen(name), fault);
	if (r < 0)
		return r;
	if (fstat(tree->top->fd, &st) < 0)
		return fail(fault, e, "look at");
	r = set_attributes(tree->top->fd, e, &st, fault);
	if (r < 0)
		return r;
	implicit = tl_tree_implicit_find(tree, st.st_ino);
	if (implicit)
		implicit->is_named = true;
	/* The times are set when it is left: what is made in it would change them. */
	tree->top->is_dirty = true;
	tree->top->has_times = true;
	memcpy(tree->top->times, e->times, sizeof(e->times));
	return 0;
}

static int add_symlink(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
		       struct tl_unpack_fault *fault)
{
	int dirfd = tree->top->fd;
	int r = symlinkat(e->link, dirfd, name);

	if (r < 0 && errno == EEXIST) {
		r = remove_old(tree, e, name, fault);
		if (r < 0)
			return r;
		r = symlinkat(e->link, dirfd, name);
	}
	return r < 0 ? fail(fault, e, "make") : set_attributes_at(dirfd, name, e, fault);
}

static int add_node(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
		    struct tl_unpack_fault *fault)
{
	static const mode_t types[] = {
		[TL_TAR_CHAR - '0'] = S_IFCHR,
		[TL_TAR_BLOCK - '0'] = S_IFBLK,
		[TL_TAR_FIFO - '0'] = S_IFIFO,
	};
	mode_t mode = types[e->type - '0'] | e->mode;
	int dirfd = tree->top->fd;
	int r = mknodat(dirfd, name, mode, e->device);

	if (r < 0 && errno == EEXIST) {
		r = remove_old(tree, e, name, fault);
		if (r < 0)
			return r;
		r = mknodat(dirfd, name, mode, e->device);
	}
	return r < 0 ? fail(fault, e, "make") : set_attributes_at(dirfd, name, e, fault);
}

/* The directory of a hard link's target. @path is clean, its last part is the name there. */
static int open_target_dir(const struct tl_tree *tree, char *path, struct tl_unpack_fault *fault)
{
	char *slash = strrchr(path, '/');
	int root = tree->levels[0].fd;
	int fd;

	if (!slash)
		path[0] = '\0';
	else
		*slash = '\0';
	if (strcmp(path, tree->path) == 0)
		return fcntl(tree->top->fd, F_DUPFD_CLOEXEC, 0);
	fd = tl_tree_open_beneath(root, path, O_PATH | O_DIRECTORY);
	if (fd < 0 && errno == ELOOP) {
		int r = tl_tree_resolve(root, path, fault);

		if (r < 0)
			return r;
		fd = tl_tree_open_beneath(root, path, O_PATH | O_DIRECTORY);
	}
	return fd < 0 ? tl_unpack_fail_sys(fault, errno, "directory '%s'", path) : fd;
}

static int add_hard_link(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
			 struct tl_unpack_fault *fault)
{
	const char *slash = strrchr(e->link, '/');
	const char *target = slash ? slash + 1 : e->link;
	char path[TL_PATH_CAP];
	int dirfd = tree->top->fd;
	auto_close int from = -1;
	int r;

	/* containerd takes the first three for directories, and text with a ".." for a path. */
	if (!*target || strcmp(target, ".") == 0 || strcmp(target, "..") == 0 ||
	    tl_path_goes_back(e->link) || tl_path_clean(e->link, path) < 0)
		return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "hard link '%s' to '%s'",
				      e->path, e->link);
	from = open_target_dir(tree, path, fault);
	if (from < 0)
		return from;
	r = linkat(from, target, dirfd, name, 0);
	if (r < 0 && errno == EEXIST) {
		r = remove_old(tree, e, name, fault);
		if (r < 0)
			return r;
		r = linkat(from, target, dirfd, name, 0);
	}
	return r < 0 ? fail(fault, e, "link") : set_attributes_at(dirfd, name, e, fault);
}

/* @name begins with WHITEOUT: overlayfs's marks instead of a file. */
static int add_whiteout(struct tl_tree *tree, const char *name, const struct tl_tar_entry *e,
			struct tl_unpack_fault *fault)
{
	const char *gone = name + strlen(WHITEOUT);

	tree->has_whiteouts = true;
	if (strcmp(name, OPAQUE) == 0) {
		if (fsetxattr(tree->top->fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
			return fail(fault, e, "attribute for");
		return 0;
	}
	if (!*gone || strcmp(gone, ".") == 0 || strcmp(gone, "..") == 0)
		return tl_unpack_fail(fault, TL_UNPACK_BROKEN, 0, "a whiteout of nothing, '%s'",
				      e->path);
	if (mknodat(tree->top->fd, gone, S_IFCHR, 0) < 0)
		return fail(fault, e, "whiteout for");
	if (fchownat(tree->top->fd, gone, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(fault, e, "owner of");
	return 0;
}

/* To the directory of the entry. containerd looks the names of directories up again at the end: if
 * a link was among them, it must still be the same. */
static int enter_parent(struct tl_tree *tree, const struct tl_tar_entry *e, size_t n,
			struct tl_unpack_fault *fault)
{
	int r = tl_tree_enter(tree, e->path, n, fault);

	if (r < 0)
		return r;
	if (e->type == TL_TAR_DIRECTORY &&
	    (n != tree->top->path_bytes || memcmp(e->path, tree->path, n) != 0)) {
		tree->named_through = true;
		if (tree->replaced_link)
			return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0,
					      "directory '%s' is behind a link, and links were "
					      "replaced",
					      e->path);
	}
	return 0;
}

int tl_tree_add(struct tl_tree *tree, const struct tl_tar_entry *entry, struct tl_tar *tar,
		struct tl_unpack_fault *fault)
{
	const char *slash = strrchr(entry->path, '/');
	const char *name = slash ? slash + 1 : entry->path;
	int r;

	/* containerd leaves the root alone. */
	if (!*entry->path)
		return 0;
	r = enter_parent(tree, entry, slash ? (size_t)(slash - entry->path) : 0, fault);
	if (r < 0)
		return r;
	if (strcmp(name, OPAQUE) != 0) { /* which changes no time */
		r = tl_tree_touch(tree, fault);
		if (r < 0)
			return r;
	}
	if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0)
		return add_whiteout(tree, name, entry, fault);
	switch (entry->type) {
	case TL_TAR_FILE:
		return add_file(tree, name, entry, tar, fault);
	case TL_TAR_DIRECTORY:
		return add_directory(tree, name, entry, fault);
	case TL_TAR_SYMLINK:
		return add_symlink(tree, name, entry, fault);
	case TL_TAR_HARD_LINK:
		return add_hard_link(tree, name, entry, fault);
	case TL_TAR_CHAR:
	case TL_TAR_BLOCK:
	case TL_TAR_FIFO:
		return add_node(tree, name, entry, fault);
	}
	return tl_unpack_fail(fault, TL_UNPACK_UNSUPPORTED, 0, "an entry of an unknown type");
}

int tl_tree_end(struct tl_tree *tree, struct tl_unpack_fault *fault)
{
	return tl_tree_leave(tree, 1, fault);
}
