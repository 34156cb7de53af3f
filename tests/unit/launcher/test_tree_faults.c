/* SPDX-License-Identifier: Apache-2.0 */
/* Each call to the file system fails once while a layer of one entry of each kind is put there, by
 * the linker's --wrap: the layer has failed, and says why. A file that lacks its owner, its rights
 * or its attributes would be another image than the one that is measured. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "archive.h"
#include "launcher/unpack/tree.h"

static struct {
	const char *name;
	int at, seen; /* the at-th one fails; 0: none */
} fault_at;

static bool fails_now(const char *name)
{
	if (!fault_at.at || strcmp(name, fault_at.name) != 0 || ++fault_at.seen != fault_at.at)
		return false;
	errno = EIO;
	return true;
}

#define WRAP(type, name, parameters, arguments)                                                    \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails_now(#name) ? -1 : __real_##name arguments;                            \
	}

WRAP(int, fchdir, (int fd), (fd))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(int, fchmodat, (int dir, const char *path, mode_t mode, int flags), (dir, path, mode, flags))
WRAP(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(int, fchownat, (int dir, const char *path, uid_t uid, gid_t gid, int flags),
     (dir, path, uid, gid, flags))
WRAP(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t n), (fd, name, value, n))
WRAP(ssize_t, flistxattr, (int fd, char *names, size_t n), (fd, names, n))
WRAP(int, fsetxattr, (int fd, const char *name, const void *value, size_t n, int flags),
     (fd, name, value, n, flags))
WRAP(int, lsetxattr, (const char *path, const char *name, const void *value, size_t n, int flags),
     (path, name, value, n, flags))
WRAP(int, fstat, (int fd, struct stat *st), (fd, st))
WRAP(int, fstatat, (int dir, const char *path, struct stat *st, int flags), (dir, path, st, flags))
WRAP(int, futimens, (int fd, const struct timespec *times), (fd, times))
WRAP(int, utimensat, (int dir, const char *path, const struct timespec *times, int flags),
     (dir, path, times, flags))
WRAP(int, linkat, (int from, const char *old, int to, const char *path, int flags),
     (from, old, to, path, flags))
WRAP(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
WRAP(int, mknodat, (int dir, const char *path, mode_t mode, dev_t device),
     (dir, path, mode, device))
WRAP(ssize_t, readlinkat, (int dir, const char *path, char *link, size_t n), (dir, path, link, n))
WRAP(int, symlinkat, (const char *to, int dir, const char *path), (to, dir, path))
WRAP(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* A directory for the layer, and one for the layer below with what it inherits. */
static void folders_make(char dir[64], int *ret_root, int *ret_lower)
{
	int base, implicit;

	snprintf(dir, 64, "/tmp/test_tree_faults.XXXXXX");
	assert_non_null(mkdtemp(dir));
	base = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(base, "root", 0755), 0);
	assert_int_equal(mkdirat(base, "lower", 0755), 0);
	*ret_root = openat(base, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_lower = openat(base, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(*ret_lower, "implicit", 0711), 0);
	implicit = openat(*ret_lower, "implicit", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Where the file system has such: tmpfs has none. */
	(void)fsetxattr(implicit, "user.x", "1", 1, 0);
	close(implicit);
	close(base);
}

static int layer_put(int root, int lower, struct tl_unpack_fault *why)
{
	static const struct tl_pax_xattr xattrs[] = {
		{ .name = "trusted.y", .value = "2", .value_bytes = 1 }
	};
	static const struct {
		enum tl_tar_type type;
		const char *path, *link;
	} rows[] = {
		{ TL_TAR_DIRECTORY, "d", "" },      { TL_TAR_FILE, "d/f", "" },
		{ TL_TAR_FILE, "d/f", "" },         { TL_TAR_SYMLINK, "d/s", "f" },
		{ TL_TAR_HARD_LINK, "d/h", "d/f" }, { TL_TAR_FIFO, "d/p", "" },
		{ TL_TAR_DIRECTORY, "d", "" },      { TL_TAR_SYMLINK, "way", "d" },
		{ TL_TAR_FILE, "way/g", "" },       { TL_TAR_FILE, "implicit/f", "" },
		{ TL_TAR_FILE, "d/.wh.gone", "" },  { TL_TAR_FILE, "d/.wh..wh..opq", "" },
	};
	auto_tree struct tl_tree *tree = NULL;
	int r = tl_tree_open(&tree, root);

	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(rows); i++) {
		auto_tar struct tl_tar *tar = NULL;
		struct tl_buf none = { 0 };
		struct pieces source = { .a = &none };
		struct tl_tar_entry e = {
			.type = rows[i].type,
			.mode = rows[i].type == TL_TAR_DIRECTORY ? 02750 : 04640,
			.uid = 1000,
			.gid = 1001,
			.times = { { 2000, 5 }, { 1000, 7 } },
			.path = rows[i].path,
			.link = rows[i].link,
			.xattrs = xattrs,
			.xattrs_n = TL_ARRAY_SIZE(xattrs),
		};

		r = tl_tar_open(&tar, (struct tl_tar_source){ pieces_read, &source });
		if (r == 0)
			r = tl_tree_add(tree, &e, tar, why);
	}
	if (r == 0)
		r = tl_tree_end(tree, why);
	return r < 0 ? r : tl_tree_inherit(tree, &lower, 1, why);
}

/* Whether it was reached. */
static bool fails_well(const char *name, int at)
{
	struct tl_unpack_fault why = { 0 };
	char dir[64];
	int root, lower, r;
	bool is_reached;

	folders_make(dir, &root, &lower);
	fault_at.name = name;
	fault_at.seen = 0;
	fault_at.at = at;
	r = layer_put(root, lower, &why);
	fault_at.at = 0;
	is_reached = fault_at.seen >= at;
	if (is_reached && (r == 0 || !*why.text))
		fail_msg("%s, the %d. time: %d '%s'", name, at, r, why.text);
	if (!is_reached && r < 0)
		fail_msg("%s: %d '%s' without a fault", name, r, why.text);
	close(root);
	close(lower);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	return is_reached;
}

static void no_call_that_fails_leaves_a_layer_behind_as_whole(void **state)
{
	static const char *const names[] = { "fchdir",     "fchmod",    "fchmodat",   "fchown",
					     "fchownat",   "fgetxattr", "flistxattr", "fsetxattr",
					     "lsetxattr",  "fstat",     "fstatat",    "futimens",
					     "utimensat",  "linkat",    "mkdirat",    "mknodat",
					     "readlinkat", "symlinkat", "unlinkat" };

	(void)state;
	if (geteuid() != 0)
		return; /* owners, devices and trusted attributes are root's */
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++) {
		int n = 0;

		while (fails_well(names[i], n + 1))
			n++;
		print_message("%s: %d\n", names[i], n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_call_that_fails_leaves_a_layer_behind_as_whole),
	};

	umask(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
