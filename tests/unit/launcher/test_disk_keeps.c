/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of the disk's record when setting up fails: a record of a disk outlives any failure.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "launcher/disk/check.h"
#include "launcher/disk/disk.h"
#include "launcher/disk/record.h"

#define SWAP "there is swap"

static bool has_swap;

int __real_fstatfs(int fd, struct statfs *ret);
int __wrap_fstatfs(int fd, struct statfs *ret);
int __wrap_disk_swap_check(struct tl_error *err);

/* The folder counts as one in memory, wherever the test runs. */
int __wrap_fstatfs(int fd, struct statfs *ret)
{
	int r = __real_fstatfs(fd, ret);

	ret->f_type = TMPFS_MAGIC;
	return r;
}

int __wrap_disk_swap_check(struct tl_error *err)
{
	return has_swap ? tl_fail(err, TL_E_SWAP_ON, EINVAL, SWAP) : 0;
}

struct world {
	char dir[64], record[128];
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/tl-disk-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->record, sizeof(w->record), "%s/" DISK_RECORD_NAME, w->dir);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	(void)unlink(w->record);
	assert_int_equal(rmdir(w->dir), 0);
	free(w);
	return 0;
}

static void record_put(const struct world *w, const char *text)
{
	FILE *f = fopen(w->record, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void record_put_error(const struct world *w, enum tl_code code)
{
	auto_buf struct tl_buf text = { 0 };
	struct tl_error why = { 0 };

	tl_buf_init(&text, DISK_RECORD_MAX);
	(void)tl_fail(&why, code, EIO, "as it was before");
	assert_int_equal(disk_record_format_error(&why, &text), 0);
	record_put(w, tl_buf_str(&text));
}

/* disk_up() fails with @code; whether the record is the same as before. */
static bool is_kept(const struct world *w, enum tl_code code)
{
	const struct disk_options options = {
		.device = "/dev/teelaunch-none",
		.mount_point = "/nowhere",
		.containerd_dir = "/nowhere",
		.scratch_dir = "/nowhere",
		.state_dir = w->dir,
		.tcti = "device:/dev/teelaunch-none",
	};
	auto_buf struct tl_buf before = { 0 }, after = { 0 };
	struct tl_error err = { 0 };
	struct disk_record rec;

	tl_buf_init(&before, DISK_RECORD_MAX);
	tl_buf_init(&after, DISK_RECORD_MAX);
	(void)tl_file_read(w->record, &before, NULL);
	assert_true(disk_up(&options, &rec, &err) < 0);
	if (err.code != code)
		fail_msg("code %d, not %d: %s", (int)err.code, (int)code, err.msg);
	assert_int_equal(tl_file_read(w->record, &after, NULL), 0);
	return strcmp(tl_buf_str(&before), tl_buf_str(&after)) == 0;
}

static void what_cannot_be_read_is_kept_whatever_fails_first(void **state)
{
	const struct world *w = *state;

	record_put(w, "{\"schema\":\"teelaunch.disk/1\",\"device\":");
	has_swap = true;
	assert_true(is_kept(w, TL_E_SWAP_ON));
	has_swap = false;
	assert_true(is_kept(w, TL_E_DISK_RECORD));
}

static void a_door_that_is_closed_stays_closed(void **state)
{
	const struct world *w = *state;

	record_put_error(w, TL_E_UNSEAL);
	has_swap = true;
	assert_true(is_kept(w, TL_E_SWAP_ON));
	has_swap = false;
	assert_true(is_kept(w, TL_E_UNSEAL));
}

static void a_failure_without_a_disk_is_told_anew(void **state)
{
	const struct world *w = *state;

	record_put_error(w, TL_E_DISK_BUSY);
	has_swap = true;
	assert_false(is_kept(w, TL_E_SWAP_ON));
	has_swap = false;
	assert_false(is_kept(w, TL_E_DISK_MISSING));
	assert_int_equal(unlink(w->record), 0);
	assert_false(is_kept(w, TL_E_DISK_MISSING));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_kept_whatever_fails_first,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_door_that_is_closed_stays_closed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_failure_without_a_disk_is_told_anew, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
