/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "launcher/unpack/view.h"

struct place {
	char path[64];
	int outer, inner; /* a directory in a directory */
};

static int place_make(void **state)
{
	static struct place p;

	snprintf(p.path, sizeof(p.path), "/tmp/tl-view-XXXXXX");
	assert_non_null(mkdtemp(p.path));
	p.outer = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkdirat(p.outer, "inner", 0755), 0);
	p.inner = openat(p.outer, "inner", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(p.inner >= 0);
	*state = &p;
	return 0;
}

static int place_remove(void **state)
{
	const struct place *p = *state;

	unlinkat(p->inner, "file", 0);
	unlinkat(p->inner, "zero", 0);
	unlinkat(p->outer, "beside", 0);
	close(p->inner);
	unlinkat(p->outer, "inner", AT_REMOVEDIR);
	close(p->outer);
	return rmdir(p->path);
}

static int view(const struct place *p, bool is_read_only)
{
	int fd = tl_view_open(p->inner, is_read_only);

	if (fd == -EPERM && geteuid() != 0)
		skip();
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

static ino_t ino_of(int fd, const char *path)
{
	struct stat st;

	assert_int_equal(fstatat(fd, path, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st.st_ino;
}

static int try_open(int fd, const char *path, int flags)
{
	auto_close int opened = openat(fd, path, flags | O_CLOEXEC, 0600);

	return opened < 0 ? -errno : 0;
}

static void nothing_leads_out(void **state)
{
	const struct place *p = *state;
	auto_close int fd = view(p, false);

	assert_int_equal(ino_of(fd, "."), ino_of(p->inner, "."));
	assert_int_equal(ino_of(p->inner, ".."), ino_of(p->outer, "."));
	assert_int_equal(ino_of(fd, ".."), ino_of(fd, "."));
	assert_int_equal(ino_of(fd, "../../.."), ino_of(fd, "."));
}

static void what_is_made_in_a_view_is_in_the_directory(void **state)
{
	const struct place *p = *state;
	auto_close int fd = view(p, false);

	assert_int_equal(try_open(fd, "file", O_WRONLY | O_CREAT | O_EXCL), 0);
	assert_int_equal(ino_of(fd, "file"), ino_of(p->inner, "file"));
}

static void nothing_is_linked_into_a_view(void **state)
{
	const struct place *p = *state;
	auto_close int fd = view(p, false);

	assert_int_equal(try_open(p->outer, "beside", O_WRONLY | O_CREAT), 0);
	assert_int_equal(linkat(p->outer, "beside", fd, "file", 0), -1);
	assert_int_equal(errno, EXDEV);
}

static void no_device_of_a_view_is_opened(void **state)
{
	const struct place *p = *state;
	auto_close int fd = view(p, false);

	if (mknodat(fd, "zero", S_IFCHR | 0666, makedev(1, 5)) < 0)
		skip();
	assert_int_equal(try_open(fd, "zero", O_RDONLY), -EACCES);
}

static void a_read_only_view_is_not_written_to(void **state)
{
	const struct place *p = *state;
	auto_close int fd = view(p, true);

	assert_int_equal(try_open(p->inner, "file", O_WRONLY | O_CREAT), 0);
	assert_int_equal(try_open(fd, "file", O_WRONLY), -EROFS);
	assert_int_equal(try_open(fd, "new", O_WRONLY | O_CREAT), -EROFS);
	assert_int_equal(fchownat(fd, "file", 1, 1, 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(unlinkat(fd, "file", 0), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(try_open(fd, "file", O_RDONLY), 0);
}

static void what_is_no_descriptor_is_said(void **state)
{
	(void)state;
	assert_int_equal(tl_view_open(-1, true), geteuid() == 0 ? -EBADF : -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_leads_out, place_make, place_remove),
		cmocka_unit_test_setup_teardown(what_is_made_in_a_view_is_in_the_directory,
						place_make, place_remove),
		cmocka_unit_test_setup_teardown(nothing_is_linked_into_a_view, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(no_device_of_a_view_is_opened, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(a_read_only_view_is_not_written_to, place_make,
						place_remove),
		cmocka_unit_test(what_is_no_descriptor_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
