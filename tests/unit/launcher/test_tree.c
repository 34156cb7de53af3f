/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "archive.h"
#include "launcher/unpack/tree.h"

/* Without root, entries belong to whoever runs the test, and some cases are left out. */
static bool is_root(void)
{
	return geteuid() == 0;
}

struct fixture {
	char dir[64];
	int root;  /* "root" beneath it: the tree; beside it "outside" */
	int lower; /* "lower" beneath it */
	mode_t umask;
};

static int make_fixture(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int base;

	assert_non_null(f);
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test_tree.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->umask = umask(0);
	base = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(base >= 0);
	assert_int_equal(mkdirat(base, "root", 0755), 0);
	assert_int_equal(mkdirat(base, "lower", 0755), 0);
	assert_int_equal(mkdirat(base, "outside", 0755), 0);
	f->root = openat(base, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->lower = openat(base, "lower", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->root >= 0 && f->lower >= 0);
	close(base);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static int remove_fixture(void **state)
{
	struct fixture *f = *state;

	close(f->root);
	close(f->lower);
	assert_int_equal(chdir("/"), 0);
	umask(f->umask);
	assert_int_equal(nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(f);
	return 0;
}

static struct tl_tar_entry entry(enum tl_tar_type type, const char *path, const char *link)
{
	return (struct tl_tar_entry){
		.type = type,
		.mode = type == TL_TAR_DIRECTORY ? 0755 : 0644,
		.uid = geteuid(),
		.gid = getegid(),
		.times = { { 2000, 5 }, { 1000, 7 } },
		.path = path,
		.link = link ? link : "",
	};
}

/* "f a/b" file, "d a" directory, "s a>b" symbolic link, "h a>b" hard link, "p a" fifo. */
static int add_text(struct tl_tree *tree, const char *text, struct tl_unpack_fault *fault)
{
	static const char types[] = "fhs..dp";
	char path[NAME_MAX + 8];
	char *link;
	struct tl_tar_entry e;

	(void)snprintf(path, sizeof(path), "%s", text + 2);
	link = strchr(path, '>');
	if (link)
		*link++ = '\0';
	e = entry((enum tl_tar_type)('0' + (strchr(types, text[0]) - types)), path, link);
	return tl_tree_add(tree, &e, NULL, fault);
}

/* Files need a reader for their data, of which they have none: an empty archive. */
static int add(struct tl_tree *tree, struct tl_tar_entry e, struct tl_unpack_fault *fault)
{
	auto_tar struct tl_tar *tar = NULL;
	struct tl_buf a = { 0 };
	struct pieces source = { .a = &a };

	assert_int_equal(tl_tar_open(&tar, (struct tl_tar_source){ pieces_read, &source }), 0);
	return tl_tree_add(tree, &e, tar, fault);
}

static int add_row(struct tl_tree *tree, const char *text, struct tl_unpack_fault *fault)
{
	char path[NAME_MAX + 8];

	if (text[0] != 'f')
		return add_text(tree, text, fault);
	(void)snprintf(path, sizeof(path), "%s", text + 2);
	return add(tree, entry(TL_TAR_FILE, path, NULL), fault);
}

/* All of a NULL-terminated list; the result of the first that fails, or of the end. */
static int build(const struct fixture *f, const char *const *rows, size_t lower_n,
		 struct tl_unpack_fault *fault)
{
	auto_tree struct tl_tree *tree = NULL;
	int r = 0;

	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	for (; r == 0 && *rows; rows++)
		r = add_row(tree, *rows, fault);
	if (r == 0)
		r = tl_tree_end(tree, fault);
	return r < 0 ? r : tl_tree_inherit(tree, &f->lower, lower_n, fault);
}

#define ROWS(...)                                                                                  \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static void assert_built(const struct fixture *f, const char *const *rows)
{
	struct tl_unpack_fault fault = { 0 };

	if (build(f, rows, 1, &fault) < 0)
		fail_msg("%s", fault.text);
}

static void assert_unsupported(const struct fixture *f, const char *const *rows)
{
	struct tl_unpack_fault fault = { 0 };

	assert_true(build(f, rows, 1, &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_UNSUPPORTED);
	assert_true(fault.text[0] != '\0');
}

static struct stat look(const struct fixture *f, const char *path)
{
	struct stat st = { 0 };

	if (fstatat(f->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		fail_msg("'%s': %m", path);
	return st;
}

static bool exists(int dirfd, const char *path)
{
	struct stat st;

	return fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

static void each_kind_gets_its_attributes(void **state)
{
	const struct fixture *f = *state;
	struct tl_pax_xattr x[] = { { "user.one", "a\0b", 3 }, { "trusted.no", "x", 1 } };
	static const enum tl_tar_type types[] = { TL_TAR_FILE,  TL_TAR_SYMLINK,   TL_TAR_CHAR,
						  TL_TAR_BLOCK, TL_TAR_DIRECTORY, TL_TAR_FIFO };
	static const mode_t kinds[] = { S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFDIR, S_IFIFO };
	auto_tree struct tl_tree *tree = NULL;
	struct tl_unpack_fault fault = { 0 };

	if (!is_root())
		skip();
	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(types); i++) {
		char path[] = { (char)types[i], '\0' };
		struct tl_tar_entry e = entry(types[i], path, "to");

		e.mode = 06751;
		e.uid = 12;
		e.gid = 34;
		e.device = makedev(8, 300);
		e.xattrs = x;
		e.xattrs_n = TL_ARRAY_SIZE(x);
		assert_int_equal(add(tree, e, &fault), 0);
	}
	assert_int_equal(tl_tree_end(tree, &fault), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(types); i++) {
		char path[] = { (char)types[i], '\0' };
		struct stat st = look(f, path);

		assert_int_equal(st.st_mode & S_IFMT, kinds[i]);
		if (!S_ISLNK(st.st_mode))
			assert_int_equal(st.st_mode & 07777, 06751);
		assert_int_equal(st.st_uid, 12);
		assert_int_equal(st.st_gid, 34);
		assert_int_equal(st.st_atim.tv_sec, 2000);
		assert_int_equal(st.st_mtim.tv_sec, 1000);
		assert_int_equal(st.st_mtim.tv_nsec, 7);
		if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
			assert_int_equal(st.st_rdev, makedev(8, 300));
	}
}

static void attributes_of_files_are_set_and_trusted_ones_not(void **state)
{
	const struct fixture *f = *state;
	struct tl_pax_xattr x[] = { { "user.one", "a\0b", 3 }, { "trusted.no", "x", 1 } };
	struct tl_tar_entry e = entry(TL_TAR_FILE, "f", NULL);
	auto_tree struct tl_tree *tree = NULL;
	struct tl_unpack_fault fault = { 0 };
	auto_close int fd = -1;
	char value[8];
	char names[64];

	e.xattrs = x;
	e.xattrs_n = TL_ARRAY_SIZE(x);
	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	assert_int_equal(add(tree, e, &fault), 0);
	fd = openat(f->root, "f", O_RDONLY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "user.one", value, sizeof(value)), 3);
	assert_memory_equal(value, "a\0b", 3);
	assert_int_equal(flistxattr(fd, names, sizeof(names)), sizeof("user.one"));
}

static void an_attribute_that_cannot_be_is_unsupported(void **state)
{
	const struct fixture *f = *state;
	struct tl_pax_xattr x = { "user.", "", 0 };
	struct tl_tar_entry e = entry(TL_TAR_FILE, "f", NULL);
	auto_tree struct tl_tree *tree = NULL;
	struct tl_unpack_fault fault = { 0 };

	e.xattrs = &x;
	e.xattrs_n = 1;
	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	assert_true(add(tree, e, &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_UNSUPPORTED);
}

static void a_later_entry_replaces_what_is_no_directory(void **state)
{
	const struct fixture *f = *state;
	ino_t ino;

	assert_built(f, ROWS("f a", "f b", "s l>a", "p p", "h h>a", "d d"));
	ino = look(f, "a").st_ino;
	assert_built(f, ROWS("f a", "s b>x", "d l", "f p", "f h", "d d"));
	assert_true(look(f, "a").st_ino != ino);
	assert_true(S_ISLNK(look(f, "b").st_mode));
	assert_true(S_ISDIR(look(f, "l").st_mode));
	assert_true(S_ISREG(look(f, "p").st_mode));
	assert_int_equal(look(f, "h").st_nlink, 1);
}

static void a_directory_is_not_replaced(void **state)
{
	static const char *const rows[] = { "f d", "s d>x", "p d", "h d>f" };

	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		assert_unsupported(*state, ROWS("f f", "d d", rows[i]));
}

static void directories_get_their_times_last(void **state)
{
	const struct fixture *f = *state;

	assert_built(f, ROWS("d a", "d a/b", "f a/b/f", "d c", "f a/b/g", "f a/h", "f a/b/f"));
	assert_int_equal(look(f, "a").st_mtim.tv_sec, 1000);
	assert_int_equal(look(f, "a").st_mtim.tv_nsec, 7);
	assert_int_equal(look(f, "a").st_atim.tv_sec, 2000);
	assert_int_equal(look(f, "a/b").st_mtim.tv_sec, 1000);
	assert_int_equal(look(f, "c").st_mtim.tv_sec, 1000);
	/* Named after what is in it, and again. */
	assert_built(f, ROWS("f x/f", "d x", "f x/g", "d x", "f y/g"));
	assert_int_equal(look(f, "x").st_mtim.tv_sec, 1000);
	assert_true(look(f, "y").st_mtim.tv_sec > 1000000000);
}

static void the_root_itself_is_left_alone(void **state)
{
	const struct fixture *f = *state;
	struct stat was = look(f, ".");

	assert_built(f, ROWS("d "));
	assert_int_equal(look(f, ".").st_mtim.tv_sec, was.st_mtim.tv_sec);
	assert_int_equal(look(f, ".").st_mode, was.st_mode);
}

static void a_link_on_the_way_resolves_within_the_root(void **state)
{
	const struct fixture *f = *state;
	struct stat outside;

	assert_built(f, ROWS("d d", "d d/e", "s rel>d", "s abs>/d/e", "s d/up>../../../../d",
			     "s far>/nowhere/to", "f rel/1", "f abs/2", "f d/up/3", "f far/4",
			     "f rel/e/5"));
	assert_true(exists(f->root, "d/1"));
	assert_true(exists(f->root, "d/e/2"));
	assert_true(exists(f->root, "d/3"));
	assert_true(exists(f->root, "nowhere/to/4"));
	assert_true(exists(f->root, "d/e/5"));
	assert_built(f, ROWS("s out>../outside", "f out/x", "s home>/root", "f home/x"));
	assert_true(exists(f->root, "outside/x"));
	assert_true(exists(f->root, "root/x"));
	assert_int_equal(fstatat(f->root, "../outside", &outside, 0), 0);
	assert_false(exists(f->root, "../outside/x"));
}

static void links_that_containerd_reads_otherwise_are_unsupported(void **state)
{
	const struct fixture *f = *state;

	assert_built(f, ROWS("d d", "s one>d", "s two>one", "s text>d/../d", "s loop>loop",
			     "f file", "p fifo"));
	assert_unsupported(f, ROWS("f two/x"));
	assert_unsupported(f, ROWS("f text/x"));
	assert_unsupported(f, ROWS("f loop/x"));
	assert_unsupported(f, ROWS("f file/x"));
	assert_unsupported(f, ROWS("f fifo/x"));
	/* A directory behind a link, and a link that changes: in both orders. */
	assert_unsupported(f, ROWS("d one/x", "s two>d"));
	assert_unsupported(f, ROWS("s loop>d", "d one/y"));
}

static void a_hard_link_is_the_same_file(void **state)
{
	const struct fixture *f = *state;

	assert_built(f, ROWS("d d", "d e", "f d/f", "s d/s>f", "s l>d", "h h>d/f", "h d/g>d/f",
			     "h e/s>/d/s", "h e/f>l/f", "h e/up>../d/f"));
	assert_int_equal(look(f, "h").st_ino, look(f, "d/f").st_ino);
	assert_int_equal(look(f, "d/g").st_ino, look(f, "d/f").st_ino);
	assert_int_equal(look(f, "e/f").st_ino, look(f, "d/f").st_ino);
	assert_int_equal(look(f, "e/up").st_ino, look(f, "d/f").st_ino);
	assert_int_equal(look(f, "e/s").st_ino, look(f, "d/s").st_ino);
	assert_int_equal(look(f, "d/f").st_nlink, 5);
}

static void a_hard_link_to_nothing_is_unsupported(void **state)
{
	const struct fixture *f = *state;

	assert_built(f, ROWS("d d", "f f", "s l>d", "s ll>l"));
	assert_unsupported(f, ROWS("h h>none"));
	assert_unsupported(f, ROWS("h h>d"));
	assert_unsupported(f, ROWS("h h>"));
	assert_unsupported(f, ROWS("h h>f/"));
	assert_unsupported(f, ROWS("h h>d/.."));
	assert_unsupported(f, ROWS("h h>l/../f"));
	assert_unsupported(f, ROWS("h h>ll/f"));
	assert_unsupported(f, ROWS("h f>f"));
	assert_unsupported(f, ROWS("h h>../outside"));
}

static void whiteouts_become_overlays_marks(void **state)
{
	const struct fixture *f = *state;
	struct tl_unpack_fault fault = { 0 };
	char value[4];
	auto_close int fd = -1;

	if (!is_root())
		skip();
	assert_built(
		f, ROWS("f d/.wh.gone", "d o", "f o/.wh..wh..opq", "f .wh..wh.aufs", "d .wh.dir"));
	assert_true(S_ISCHR(look(f, "d/gone").st_mode));
	assert_int_equal(look(f, "d/gone").st_rdev, 0);
	assert_true(S_ISCHR(look(f, ".wh.aufs").st_mode));
	assert_true(S_ISCHR(look(f, "dir").st_mode));
	fd = openat(f->root, "o", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)), 1);
	assert_int_equal(value[0], 'y');
	/* The directory's times are the entry's. */
	assert_int_equal(look(f, "o").st_mtim.tv_sec, 1000);
	assert_unsupported(f, ROWS("f there", "f .wh.there"));
	/* A layer without a parent. */
	assert_true(build(f, ROWS("f .wh.other"), 0, &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_UNSUPPORTED);
}

static void a_whiteout_of_no_name_is_broken(void **state)
{
	static const char *const rows[] = { "f .wh.", "f d/.wh..", "f .wh..." };

	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_unpack_fault fault = { 0 };

		assert_true(build(*state, ROWS(rows[i]), 1, &fault) < 0);
		assert_int_equal(fault.why, TL_UNPACK_BROKEN);
	}
}

static void make_lower(const struct fixture *f, const char *path, mode_t mode)
{
	const struct timespec times[2] = { { 400, 0 }, { 300, 0 } };
	auto_close int fd = -1;

	assert_int_equal(mkdirat(f->lower, path, 0700), 0);
	fd = openat(f->lower, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(fsetxattr(fd, "user.low", "x", 1, 0), 0);
	assert_int_equal(futimens(fd, times), 0);
}

static ssize_t xattr_bytes(const struct fixture *f, const char *path)
{
	auto_close int fd = openat(f->root, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char value[8];

	return fgetxattr(fd, "user.low", value, sizeof(value));
}

static void unnamed_directories_take_after_the_lower_layer(void **state)
{
	const struct fixture *f = *state;

	make_lower(f, "a", 01711);
	make_lower(f, "a/b", 0700);
	make_lower(f, "named", 0700);
	make_lower(f, "real", 0750);
	assert_int_equal(symlinkat("real", f->lower, "link"), 0);
	assert_int_equal(mkfifoat(f->lower, "fifo", 0600), 0);
	assert_built(f,
		     ROWS("f a/b/f", "f named/f", "d named", "f none/f", "f link/f", "f fifo/f"));
	assert_int_equal(look(f, "a").st_mode & 07777, 01711);
	assert_int_equal(look(f, "a/b").st_mode & 07777, 0700);
	assert_int_equal(look(f, "a").st_atim.tv_sec, 400);
	assert_true(look(f, "a").st_mtim.tv_sec > 1000000000); /* something was made in it */
	assert_int_equal(look(f, "named").st_mode & 07777, 0755);
	assert_int_equal(look(f, "named").st_mtim.tv_sec, 1000);
	assert_int_equal(look(f, "none").st_mode & 07777, 0755);
	assert_int_equal(look(f, "link").st_mode & 07777, 0750);
	assert_int_equal(look(f, "fifo").st_mode & 07777, 0755);
	assert_int_equal(xattr_bytes(f, "a"), 1);
	assert_int_equal(xattr_bytes(f, "named"), 1);
	assert_int_equal(xattr_bytes(f, "none"), -1);
}

static void an_untouched_directory_takes_the_lower_time_too(void **state)
{
	const struct fixture *f = *state;

	if (!is_root())
		skip();
	make_lower(f, "a", 0711);
	make_lower(f, "a/b", 0711);
	assert_built(f, ROWS("f a/b/.wh..wh..opq"));
	assert_int_equal(look(f, "a/b").st_mtim.tv_sec, 300);
	assert_true(look(f, "a").st_mtim.tv_sec > 1000000000);
}

static void what_containerd_would_have_inherited_earlier_is_unsupported(void **state)
{
	/* user::rwx, user:7:rwx, group::r-x, mask::rwx, other::r-x (posix_acl_xattr.h). */
	static const uint8_t acl[] = { 2,   0,   0,   0,   1,   0,   7,  0,   255, 255, 255,
				       255, 2,   0,   7,   0,   7,   0,  0,   0,   4,   0,
				       5,   0,   255, 255, 255, 255, 16, 0,   7,   0,   255,
				       255, 255, 255, 32,  0,   5,   0,  255, 255, 255, 255 };
	const struct fixture *f = *state;
	auto_close int fd = -1;

	make_lower(f, "group", 02755);
	assert_unsupported(f, ROWS("f group/none/f"));
	assert_built(f, ROWS("f group/f"));
	make_lower(f, "inner", 0755);
	make_lower(f, "outer", 0755);
	fd = openat(f->lower, "inner", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fsetxattr(fd, "system.posix_acl_default", acl, sizeof(acl), 0) < 0) {
		assert_int_equal(errno, EOPNOTSUPP);
		skip();
	}
	assert_unsupported(f, ROWS("f inner/f"));
	close(take_fd(fd));
	fd = openat(f->lower, "outer", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(fsetxattr(fd, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
	assert_unsupported(f, ROWS("f outer/f", "d outer"));
}

static void lower_layers_that_containerd_fails_on_are_unsupported(void **state)
{
	const struct fixture *f = *state;

	assert_int_equal(mkfifoat(f->lower, "a", 0600), 0);
	assert_int_equal(symlinkat("loop", f->lower, "loop"), 0);
	assert_unsupported(f, ROWS("f a/b/f"));
	assert_unsupported(f, ROWS("f loop/b/f"));
}

static void depth_has_a_limit(void **state)
{
	const struct fixture *f = *state;
	auto_tree struct tl_tree *tree = NULL;
	struct tl_unpack_fault fault = { 0 };
	char path[2 * TL_TREE_DEPTH_MAX + 4] = "";
	struct tl_tar_entry e = entry(TL_TAR_SYMLINK, path, "x");

	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = i % 2 ? '/' : 'd';
	path[sizeof(path) - 1] = '\0';
	path[2 * TL_TREE_DEPTH_MAX + 1] = '\0';
	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	assert_int_equal(tl_tree_add(tree, &e, NULL, &fault), 0);
	assert_int_equal(tl_tree_implicit_n(tree), TL_TREE_DEPTH_MAX);
	path[2 * TL_TREE_DEPTH_MAX] = 'e';
	path[2 * TL_TREE_DEPTH_MAX + 1] = '/';
	assert_true(tl_tree_add(tree, &e, NULL, &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_UNSUPPORTED);
	/* Closed with all of it open. */
}

static void a_name_too_long_is_unsupported(void **state)
{
	char name[NAME_MAX + 4] = "f ";

	memset(name + 2, 'n', NAME_MAX + 1);
	assert_unsupported(*state, ROWS(name));
}

/* By way of a link a path can get longer than any name. */
static void a_path_that_a_link_makes_too_long_is_unsupported(void **state)
{
	const struct fixture *f = *state;
	char part[NAME_MAX + 1] = "";
	char deep[TL_PATH_CAP] = "";
	char through[NAME_MAX + 3];
	auto_tree struct tl_tree *tree = NULL;
	struct tl_unpack_fault fault = { 0 };

	memset(part, 'n', NAME_MAX);
	while (strlen(deep) + NAME_MAX + 2 < sizeof(deep))
		(void)snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "%s/", part);
	(void)snprintf(deep + strlen(deep), sizeof(deep) - strlen(deep), "last");
	(void)snprintf(through, sizeof(through), "l/%s", part);
	assert_int_equal(tl_tree_open(&tree, f->root), 0);
	assert_int_equal(add(tree, entry(TL_TAR_DIRECTORY, deep, NULL), &fault), 0);
	assert_int_equal(add(tree, entry(TL_TAR_SYMLINK, "l", deep), &fault), 0);
	assert_int_equal(add(tree, entry(TL_TAR_FILE, through, NULL), &fault), 0);
	part[0] = 'm';
	(void)snprintf(through, sizeof(through), "l/%s", part);
	assert_true(add(tree, entry(TL_TAR_DIRECTORY, through, NULL), &fault) < 0);
	assert_int_equal(fault.why, TL_UNPACK_UNSUPPORTED);
	assert_int_equal(fault.error, ENAMETOOLONG);
}

#define TREE_TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, remove_fixture)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(each_kind_gets_its_attributes),
		TREE_TEST(attributes_of_files_are_set_and_trusted_ones_not),
		TREE_TEST(an_attribute_that_cannot_be_is_unsupported),
		TREE_TEST(a_later_entry_replaces_what_is_no_directory),
		TREE_TEST(a_directory_is_not_replaced),
		TREE_TEST(directories_get_their_times_last),
		TREE_TEST(the_root_itself_is_left_alone),
		TREE_TEST(a_link_on_the_way_resolves_within_the_root),
		TREE_TEST(links_that_containerd_reads_otherwise_are_unsupported),
		TREE_TEST(a_hard_link_is_the_same_file),
		TREE_TEST(a_hard_link_to_nothing_is_unsupported),
		TREE_TEST(whiteouts_become_overlays_marks),
		TREE_TEST(a_whiteout_of_no_name_is_broken),
		TREE_TEST(unnamed_directories_take_after_the_lower_layer),
		TREE_TEST(an_untouched_directory_takes_the_lower_time_too),
		TREE_TEST(what_containerd_would_have_inherited_earlier_is_unsupported),
		TREE_TEST(lower_layers_that_containerd_fails_on_are_unsupported),
		TREE_TEST(depth_has_a_limit),
		TREE_TEST(a_name_too_long_is_unsupported),
		TREE_TEST(a_path_that_a_link_makes_too_long_is_unsupported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
