/* SPDX-License-Identifier: Apache-2.0 */
/* The token file and its status: content, modes, atomic replacement, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/token_file.h>

#define PATH_MAX_BYTES 512

struct place {
	char parent[64];
	char dir[80];
};

static int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	snprintf(p->parent, sizeof(p->parent), "/tmp/tl-token-XXXXXX");
	assert_non_null(mkdtemp(p->parent));
	snprintf(p->dir, sizeof(p->dir), "%s/shared", p->parent);
	*state = p;
	return 0;
}

static int place_remove(void **state)
{
	struct place *p = *state;
	char path[PATH_MAX_BYTES];

	tl_token_files_remove(p->dir, NULL);
	snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, p->dir);
	rmdir(path);
	unlink(p->dir);
	rmdir(p->dir);
	snprintf(path, sizeof(path), "%s/elsewhere", p->parent);
	rmdir(path);
	assert_int_equal(rmdir(p->parent), 0);
	free(p);
	return 0;
}

static void read_file(const struct place *p, const char *name, struct tl_buf *ret)
{
	char path[PATH_MAX_BYTES];

	tl_buf_init(ret, 4096);
	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	assert_int_equal(tl_file_read(path, ret, NULL), 0);
}

static mode_t mode_of(const struct place *p, const char *name)
{
	char path[PATH_MAX_BYTES];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", p->dir, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

static void write_token(const struct place *p, const char *text)
{
	auto_secret struct tl_secret jwt = { 0 };
	struct tl_error err = { 0 };

	assert_int_equal(tl_secret_set(&jwt, text, strlen(text)), 0);
	assert_int_equal(tl_token_file_write(p->dir, &jwt, &err), 0);
}

static void the_file_holds_the_bare_token_and_modes_ignore_the_umask(void **state)
{
	const struct place *p = *state;
	auto_buf struct tl_buf got = { 0 };
	mode_t old = umask(0077);

	write_token(p, "h.c.s");
	umask(old);
	read_file(p, TL_TOKEN_FILE_NAME, &got);
	assert_string_equal(tl_buf_str(&got), "h.c.s");
	assert_int_equal(mode_of(p, TL_TOKEN_FILE_NAME), 0644);
	assert_int_equal(mode_of(p, "."), 0755);
}

static void a_reader_that_has_the_old_file_open_keeps_it_whole(void **state)
{
	const struct place *p = *state;
	auto_buf struct tl_buf got = { 0 };
	auto_close int fd = -1;
	char path[PATH_MAX_BYTES], old[16] = { 0 };

	write_token(p, "old.old.old");
	snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, p->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	write_token(p, "new.new.new");
	assert_int_equal(read(fd, old, sizeof(old) - 1), 11);
	assert_string_equal(old, "old.old.old");
	read_file(p, TL_TOKEN_FILE_NAME, &got);
	assert_string_equal(tl_buf_str(&got), "new.new.new");
}

static void an_empty_token_leaves_the_old_file(void **state)
{
	const struct place *p = *state;
	struct tl_secret empty = { 0 };
	auto_buf struct tl_buf got = { 0 };
	struct tl_error err = { 0 };

	write_token(p, "a.b.c");
	assert_int_equal(tl_token_file_write(p->dir, &empty, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_TOKEN_MALFORMED);
	read_file(p, TL_TOKEN_FILE_NAME, &got);
	assert_string_equal(tl_buf_str(&got), "a.b.c");
}

static void a_folder_that_is_a_link_is_refused(void **state)
{
	const struct place *p = *state;
	auto_secret struct tl_secret jwt = { 0 };
	struct tl_error err = { 0 };
	char elsewhere[PATH_MAX_BYTES];

	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", p->parent);
	assert_int_equal(mkdir(elsewhere, 0755), 0);
	assert_int_equal(symlink(elsewhere, p->dir), 0);
	assert_int_equal(tl_secret_set(&jwt, "a.b.c", 5), 0);
	assert_true(tl_token_file_write(p->dir, &jwt, &err) < 0);
	assert_int_equal(err.code, TL_E_TOKEN_FILE);
	assert_non_null(strstr(err.msg, p->dir));
	assert_int_equal(rmdir(elsewhere), 0); /* empty: nothing got there */
}

static void what_cannot_be_replaced_leaves_no_temporary_file(void **state)
{
	const struct place *p = *state;
	auto_secret struct tl_secret jwt = { 0 };
	struct tl_error err = { 0 };
	char path[PATH_MAX_BYTES];

	assert_int_equal(mkdir(p->dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, p->dir);
	assert_int_equal(mkdir(path, 0755), 0); /* a folder can't be replaced by a file */
	assert_int_equal(tl_secret_set(&jwt, "CANARY.b.c", 10), 0);
	assert_true(tl_token_file_write(p->dir, &jwt, &err) < 0);
	assert_int_equal(err.code, TL_E_TOKEN_FILE);
	assert_int_equal(err.class, TL_RETRY);
	assert_null(strstr(err.msg, "CANARY"));
	snprintf(path, sizeof(path), "%s/." TL_TOKEN_FILE_NAME ".tmp", p->dir);
	assert_int_equal(access(path, F_OK), -1);
}

static void the_status_is_one_json_object_of_its_schema(void **state)
{
	const struct place *p = *state;
	const struct tl_token_status s = { .state = TL_TOKEN_STALE,
					   .expires_at_s = 5000,
					   .refreshed_at_s = 1400,
					   .attempts = 3,
					   .last_error = TL_E_VERIFIER_BUSY,
					   .clock_skew_s = -7 };
	auto_buf struct tl_buf got = { 0 };

	assert_int_equal(tl_token_status_write(p->dir, &s, NULL), 0);
	read_file(p, TL_TOKEN_STATUS_NAME, &got);
	assert_string_equal(tl_buf_str(&got),
			    "{\"schema\":\"teelaunch.token-status/1\",\"state\":\"stale\","
			    "\"expires_at\":5000,\"refreshed_at\":1400,\"next_attempt_at\":null,"
			    "\"attempts\":3,\"last_error\":{\"code\":\"TL0801\"},"
			    "\"clock_skew_s\":-7}");
	assert_int_equal(mode_of(p, TL_TOKEN_STATUS_NAME), 0644);
}

static void a_status_without_a_token_says_none(void **state)
{
	const struct place *p = *state;
	const struct tl_token_status s = { 0 };
	auto_buf struct tl_buf got = { 0 };

	assert_int_equal(tl_token_status_write(p->dir, &s, NULL), 0);
	read_file(p, TL_TOKEN_STATUS_NAME, &got);
	assert_string_equal(tl_buf_str(&got),
			    "{\"schema\":\"teelaunch.token-status/1\",\"state\":\"none\","
			    "\"expires_at\":null,\"refreshed_at\":null,\"next_attempt_at\":null,"
			    "\"attempts\":0,\"last_error\":null,\"clock_skew_s\":0}");
}

static void removal_removes_both_and_tolerates_their_absence(void **state)
{
	const struct place *p = *state;
	const struct tl_token_status s = { 0 };

	assert_int_equal(tl_token_files_remove(p->dir, NULL), 0); /* no folder at all */
	write_token(p, "a.b.c");
	assert_int_equal(tl_token_status_write(p->dir, &s, NULL), 0);
	assert_int_equal(tl_token_files_remove(p->dir, NULL), 0);
	assert_int_equal(rmdir(p->dir), 0); /* empty */
}

/* A link where the token goes is replaced; what it points at isn't touched. */
static void a_link_in_place_of_the_token_is_replaced_not_followed(void **state)
{
	const struct place *p = *state;
	static const char *const names[] = { TL_TOKEN_FILE_NAME, "." TL_TOKEN_FILE_NAME ".tmp" };
	char path[160], target[160];
	auto_buf struct tl_buf got = { 0 };

	(void)snprintf(target, sizeof(target), "%s.target", p->dir);
	write_token(p, "old"); /* makes the folder */
	for (size_t i = 0; i < TL_ARRAY_SIZE(names); i++) {
		auto_close int fd = open(target, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
		struct stat is;

		assert_true(fd >= 0);
		(void)snprintf(path, sizeof(path), "%s/%s", p->dir, names[i]);
		(void)unlink(path);
		assert_int_equal(symlink(target, path), 0);
		write_token(p, "a.b.c");
		assert_int_equal(stat(target, &is), 0);
		assert_int_equal(is.st_size, 0);
	}
	read_file(p, TL_TOKEN_FILE_NAME, &got);
	assert_string_equal(tl_buf_str(&got), "a.b.c");
	assert_int_equal(mode_of(p, TL_TOKEN_FILE_NAME), 0644);
	(void)unlink(path);
	assert_int_equal(unlink(target), 0);
}

/* 0, or which of the promises was broken. */
static int write_too_much(const struct place *p)
{
	static char text[65536];
	const struct tl_secret big = { .bytes = text, .len_bytes = sizeof(text) };
	char path[PATH_MAX_BYTES], got[8] = "";
	struct tl_error err = { 0 };
	auto_close int fd = -1;

	write_token(p, "old");
	memset(text, 'x', sizeof(text));
	if (tl_token_file_write(p->dir, &big, &err) >= 0 || err.code != TL_E_TOKEN_FILE)
		return 1;
	(void)snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, p->dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (read(fd, got, sizeof(got)) != 3 || memcmp(got, "old", 3) != 0)
		return 2;
	(void)snprintf(path, sizeof(path), "%s/." TL_TOKEN_FILE_NAME ".tmp", p->dir);
	return access(path, F_OK) == 0 ? 3 : 0;
}

/* In a process of its own; @limit makes large writes end early. */
static int write_in_child(const struct place *p, void (*limit)(const struct place *p))
{
	pid_t child = fork();
	int status = 0;

	if (child == 0) {
		limit(p);
		_exit(write_too_much(p));
	}
	assert_true(child > 0 && waitpid(child, &status, 0) == child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 100;
}

static void limit_file_size(const struct place *p)
{
	const struct rlimit small = { 4096, 4096 };

	(void)p;
	(void)signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &small) < 0)
		_exit(10);
}

/* A disk of four pages, that only this process sees. */
static void fill_disk(const struct place *p)
{
	if (unshare(geteuid() ? CLONE_NEWUSER | CLONE_NEWNS : CLONE_NEWNS) < 0)
		_exit(20); /* may be forbidden */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    (mkdir(p->dir, 0755) < 0 && errno != EEXIST) ||
	    mount("tmpfs", p->dir, "tmpfs", 0, "size=16k") < 0)
		_exit(21);
}

static void a_full_disk_leaves_the_old_token_whole(void **state)
{
	const struct place *p = *state;
	int r;

	assert_int_equal(write_in_child(p, limit_file_size), 0);
	r = write_in_child(p, fill_disk);
	if (r != 20 && r != 21)
		assert_int_equal(r, 0);
	else
		print_message("no mount namespace here: the full disk was a file size limit\n");
}

struct reading {
	const struct place *p;
	atomic_bool is_over;
	atomic_uint parts, wholes;
};

static void *read_on(void *arg)
{
	struct reading *r = arg;
	char path[160], got[20001];

	(void)snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, r->p->dir);
	while (!atomic_load(&r->is_over)) {
		auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got));
		bool is_whole = (n == 100 && got[0] == 'a' && got[99] == 'a') ||
				(n == 20000 && got[0] == 'b' && got[19999] == 'b');

		atomic_fetch_add(is_whole ? &r->wholes : &r->parts, 1);
	}
	return NULL;
}

static void a_reader_never_sees_a_part_of_a_token(void **state)
{
	struct reading reading = { .p = *state };
	static char short_one[101], long_one[20001];
	pthread_t thread;

	memset(short_one, 'a', 100);
	memset(long_one, 'b', 20000);
	write_token(reading.p, short_one);
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reading), 0);
	for (int i = 0; i < 1000 || atomic_load(&reading.wholes) < 100; i++)
		write_token(reading.p, i % 2 ? short_one : long_one);
	atomic_store(&reading.is_over, true);
	pthread_join(thread, NULL);
	assert_int_equal(atomic_load(&reading.parts), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			the_file_holds_the_bare_token_and_modes_ignore_the_umask, place_make,
			place_remove),
		cmocka_unit_test_setup_teardown(a_reader_that_has_the_old_file_open_keeps_it_whole,
						place_make, place_remove),
		cmocka_unit_test_setup_teardown(an_empty_token_leaves_the_old_file, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(a_folder_that_is_a_link_is_refused, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(
			a_link_in_place_of_the_token_is_replaced_not_followed, place_make,
			place_remove),
		cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_token_whole, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(a_reader_never_sees_a_part_of_a_token, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(what_cannot_be_replaced_leaves_no_temporary_file,
						place_make, place_remove),
		cmocka_unit_test_setup_teardown(the_status_is_one_json_object_of_its_schema,
						place_make, place_remove),
		cmocka_unit_test_setup_teardown(a_status_without_a_token_says_none, place_make,
						place_remove),
		cmocka_unit_test_setup_teardown(removal_removes_both_and_tolerates_their_absence,
						place_make, place_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
