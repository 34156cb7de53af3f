/* SPDX-License-Identifier: Apache-2.0 */
/* The file of decision lines, when it can't take what it should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../../../src/teeverifierd_decisions.h"

struct place {
	char dir[32];
	char path[64];
	struct decisions d;
};

static void place_use(struct place *p)
{
	struct tl_error err = { 0 };
	int fd = -1;

	assert_int_equal(decisions_open(p->path, &fd, &err), 0);
	decisions_use(&p->d, fd);
}

static void place_init(struct place *p)
{
	*p = (struct place){ .d = DECISIONS_NOWHERE };
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/teelaunch-XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->path, sizeof(p->path), "%s/decisions", p->dir);
	place_use(p);
}

static void place_done(struct place *p)
{
	decisions_done(&p->d);
	(void)unlink(p->path);
	assert_int_equal(rmdir(p->dir), 0);
}

static void assert_holds(const struct place *p, const char *due)
{
	char text[256] = "";
	int fd = open(p->path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	assert_int_equal(n, strlen(due));
	assert_string_equal(text, due);
}

/* Files may have that many bytes. */
static void limit(rlim_t bytes)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

static int ignore_signal(void **state)
{
	(void)state;
	return signal(SIGXFSZ, SIG_IGN) == SIG_ERR;
}

static void a_part_of_a_line_is_told_and_the_next_one_is_whole(void **state)
{
	struct place p;
	struct tl_error err = { 0 };

	(void)state;
	place_init(&p);
	assert_int_equal(decisions_write(&p.d, "{\"a\":1}\n", &err), 0);
	limit(12);
	assert_true(decisions_write(&p.d, "{\"b\":2}\n", &err) < 0);
	assert_int_equal(err.code, TL_E_IO);
	assert_non_null(strstr(err.msg, "4 of 8 bytes"));
	assert_true(decisions_write(&p.d, "{\"c\":3}\n", &err) < 0);
	assert_non_null(strstr(err.msg, "behind a part of a line"));
	limit(RLIM_INFINITY);
	assert_int_equal(decisions_write(&p.d, "{\"d\":4}\n", &err), 0);
	assert_int_equal(decisions_write(&p.d, "{\"e\":5}\n", &err), 0);
	assert_holds(&p, "{\"a\":1}\n{\"b\"\n{\"d\":4}\n{\"e\":5}\n");
	place_done(&p);
}

static void a_line_of_which_nothing_was_written_leaves_no_trace(void **state)
{
	struct place p;
	struct tl_error err = { 0 };

	(void)state;
	place_init(&p);
	assert_int_equal(decisions_write(&p.d, "1\n", &err), 0);
	limit(2);
	assert_true(decisions_write(&p.d, "2\n", &err) < 0);
	assert_non_null(strstr(err.msg, "0 of 2 bytes"));
	limit(RLIM_INFINITY);
	assert_int_equal(decisions_write(&p.d, "3\n", &err), 0);
	assert_holds(&p, "1\n3\n");
	place_done(&p);
}

static void the_same_file_opened_again_still_ends_in_a_part(void **state)
{
	struct place p;
	struct tl_error err = { 0 };

	(void)state;
	place_init(&p);
	limit(3);
	assert_true(decisions_write(&p.d, "12345\n", &err) < 0);
	limit(RLIM_INFINITY);
	place_use(&p);
	assert_int_equal(decisions_write(&p.d, "6\n", &err), 0);
	assert_holds(&p, "123\n6\n");
	limit(7);
	assert_true(decisions_write(&p.d, "12345\n", &err) < 0);
	limit(RLIM_INFINITY);
	/* Kept open, so that its number isn't the new file's. */
	int old = open(p.path, O_RDONLY | O_CLOEXEC);

	assert_int_equal(unlink(p.path), 0);
	place_use(&p);
	close(old);
	assert_int_equal(decisions_write(&p.d, "7\n", &err), 0);
	assert_holds(&p, "7\n");
	place_done(&p);
}

static void a_line_for_which_there_was_no_memory_is_told(void **state)
{
	struct place p;
	struct tl_error err = { 0 };

	(void)state;
	place_init(&p);
	assert_int_equal(decisions_write(&p.d, NULL, &err), -ENOMEM);
	assert_int_equal(err.code, TL_E_NO_MEMORY);
	assert_holds(&p, "");
	place_done(&p);
}

static void lines_that_go_nowhere_are_not_lost(void **state)
{
	struct decisions d = DECISIONS_NOWHERE;
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(decisions_write(&d, NULL, &err), 0);
	assert_int_equal(decisions_write(&d, "1\n", &err), 0);
	decisions_done(&d);
}

static void a_file_that_can_not_be_opened_keeps_what_was_there(void **state)
{
	struct tl_error err = { 0 };
	int fd = 42;

	(void)state;
	assert_int_equal(decisions_open("/nonexistent/decisions", &fd, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_IO);
	assert_int_equal(fd, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_part_of_a_line_is_told_and_the_next_one_is_whole),
		cmocka_unit_test(a_line_of_which_nothing_was_written_leaves_no_trace),
		cmocka_unit_test(the_same_file_opened_again_still_ends_in_a_part),
		cmocka_unit_test(a_line_for_which_there_was_no_memory_is_told),
		cmocka_unit_test(lines_that_go_nowhere_are_not_lost),
		cmocka_unit_test(a_file_that_can_not_be_opened_keeps_what_was_there),
	};

	return cmocka_run_group_tests(tests, ignore_signal, NULL);
}
