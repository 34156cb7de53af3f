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
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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
					   .last_error = TL_E_VERIFIER_BUSY };
	auto_buf struct tl_buf got = { 0 };

	assert_int_equal(tl_token_status_write(p->dir, &s, NULL), 0);
	read_file(p, TL_TOKEN_STATUS_NAME, &got);
	assert_string_equal(tl_buf_str(&got),
			    "{\"schema\":\"teelaunch.token-status/1\",\"state\":\"stale\","
			    "\"expires_at\":5000,\"refreshed_at\":1400,\"next_attempt_at\":null,"
			    "\"attempts\":3,\"last_error\":{\"code\":\"TL0801\"}}");
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
			    "\"attempts\":0,\"last_error\":null}");
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_file_holds_the_bare_token_and_modes_ignore_the_umask),
		TEST(a_reader_that_has_the_old_file_open_keeps_it_whole),
		TEST(an_empty_token_leaves_the_old_file),
		TEST(a_folder_that_is_a_link_is_refused),
		TEST(what_cannot_be_replaced_leaves_no_temporary_file),
		TEST(the_status_is_one_json_object_of_its_schema),
		TEST(a_status_without_a_token_says_none),
		TEST(removal_removes_both_and_tolerates_their_absence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
