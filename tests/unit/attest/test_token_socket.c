/* SPDX-License-Identifier: Apache-2.0 */
/* The token socket's file: what a process beside it can see under its name, at any moment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/token_server.h>

#include "token_socket.h"

#define BACKLOG   4
#define TEMPORARY "." TL_TOKEN_SOCKET_NAME ".tmp"

struct world {
	char dir[64], path[128], temporary[128];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/tl-socket-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof(w->path), "%s/" TL_TOKEN_SOCKET_NAME, w->dir);
	(void)snprintf(w->temporary, sizeof(w->temporary), "%s/" TEMPORARY, w->dir);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	assert_int_equal(tl_token_socket_remove(w->dir, NULL), 0);
	assert_int_equal(rmdir(w->dir), 0); /* nothing is left in it */
	free(w);
	return 0;
}

static void file_make(const char *path)
{
	auto_close int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
}

static int connects(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	return connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

/* All that has happened to @name since @watch began, as a mask. */
static uint32_t events_of(int watch, const char *name)
{
	union {
		char bytes[8192];
		struct inotify_event first;
	} in;
	uint32_t seen = 0;
	ssize_t n;

	while ((n = read(watch, in.bytes, sizeof(in.bytes))) > 0)
		for (size_t at = 0; at < (size_t)n;) {
			const struct inotify_event *event = (const void *)(in.bytes + at);

			assert_false(event->mask & IN_Q_OVERFLOW);
			if (event->len > 0 && strcmp(event->name, name) == 0)
				seen |= event->mask;
			at += sizeof(*event) + event->len;
		}
	return seen;
}

static void the_name_comes_by_a_rename_and_never_changes(void **state)
{
	struct world *w = *state;
	auto_close int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), fd = -1;
	mode_t before = umask(0077);
	struct stat is;

	assert_true(inotify_add_watch(watch, w->dir, IN_CREATE | IN_ATTRIB | IN_DELETE | IN_MOVE) >=
		    0);
	assert_int_equal(token_socket_listen(w->dir, BACKLOG, &fd, NULL), 0);
	umask(before);
	assert_int_equal(events_of(watch, TL_TOKEN_SOCKET_NAME), IN_MOVED_TO);
	assert_int_equal(lstat(w->path, &is), 0);
	assert_true(S_ISSOCK(is.st_mode));
	assert_int_equal(is.st_mode & 07777, 0777);
	assert_int_equal(connects(w->path), 0);

	/* The watch does see a mode that is set afterwards. */
	assert_int_equal(chmod(w->path, 0700), 0);
	assert_int_equal(events_of(watch, TL_TOKEN_SOCKET_NAME), IN_ATTRIB);
}

static void what_a_killed_launcher_left_is_replaced(void **state)
{
	struct world *w = *state;
	auto_close int fd = -1;

	file_make(w->path);
	file_make(w->temporary);
	assert_int_equal(token_socket_listen(w->dir, BACKLOG, &fd, NULL), 0);
	assert_int_equal(connects(w->path), 0);
	assert_int_equal(access(w->temporary, F_OK), -1);
}

static void a_name_that_cannot_be_had_is_an_error_and_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct tl_error err = { 0 };
	int fd = -1;

	assert_int_equal(mkdir(w->path, 0700), 0);
	assert_true(token_socket_listen(w->dir, BACKLOG, &fd, &err) < 0);
	assert_int_equal(err.code, TL_E_TOKEN_SOCKET);
	assert_int_equal(fd, -1);
	assert_int_equal(access(w->temporary, F_OK), -1);
	assert_int_equal(rmdir(w->path), 0);
}

static void folders_that_are_none_are_refused(void **state)
{
	struct world *w = *state;
	struct tl_error err = { 0 };
	char deep[256];
	int fd = -1;

	assert_int_equal(token_socket_listen("/tmp/tl-socket-none", BACKLOG, &fd, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_TOKEN_SOCKET);

	(void)snprintf(deep, sizeof(deep), "%s/link", w->dir);
	assert_int_equal(symlink(w->dir, deep), 0);
	assert_true(token_socket_listen(deep, BACKLOG, &fd, &err) < 0);
	assert_int_equal(unlink(deep), 0);

	/* A path of a socket has 107 bytes at most (unix(7)); a shorter one would be another file.
	 */
	(void)snprintf(deep, sizeof(deep), "%s/%0100d", w->dir, 0);
	assert_int_equal(mkdir(deep, 0700), 0);
	assert_int_equal(token_socket_listen(deep, BACKLOG, &fd, &err), -ENAMETOOLONG);
	assert_int_equal(rmdir(deep), 0);
	assert_int_equal(fd, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_name_comes_by_a_rename_and_never_changes, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_a_killed_launcher_left_is_replaced, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			a_name_that_cannot_be_had_is_an_error_and_leaves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(folders_that_are_none_are_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
