/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "dm_device.h"
#include "mounts.h"
#include "tables.h"

#define SWAPS_MAX (64 * 1024)
/* Of the machine's first process: a unit with a sandbox sees others, all of them read-only. */
#define MOUNTS_PATH "/proc/1/mountinfo"

static int tables_check(const struct disk_record *r, struct tl_error *err)
{
	auto_dm_table struct dm_table integrity = { 0 };
	auto_dm_table struct dm_table crypt = { 0 };
	char status[DM_DEVICE_PARAMS_MAX];
	int x = dm_table_read_name(DISK_INTEGRITY_NAME, &integrity, err);

	if (x == 0)
		x = dm_table_read_name(DISK_CRYPT_NAME, &crypt, err);
	if (x == 0)
		x = disk_tables_check(r, &integrity, &crypt, err);
	if (x == 0)
		x = dm_device_status(DISK_INTEGRITY_NAME, sizeof(status), status, err);
	return x < 0 ? x : disk_integrity_status_check(r, status, err);
}

static int text_read(const char *path, size_t max, struct tl_buf *ret, struct tl_error *err)
{
	int r;

	tl_buf_init(ret, max);
	r = tl_file_read(path, ret, NULL);
	return r < 0 ? tl_fail_sys(err, TL_E_MACHINE_FACTS, -r, "read '%s'", path) : 0;
}

int disk_check(const struct disk_record *r, struct tl_error *err)
{
	auto_mount_list struct mount_list mounts = { 0 };
	auto_buf struct tl_buf text = { 0 };
	int x = tables_check(r, err);

	if (x == 0)
		x = text_read(MOUNTS_PATH, MOUNTINFO_MAX, &text, err);
	if (x == 0)
		x = mountinfo_parse(tl_buf_str(&text), &mounts, err);
	return x < 0 ? x : disk_mounts_check(r, &mounts, err);
}

int disk_swap_parse(const char *text, struct tl_error *err)
{
	const char *second = strchr(text, '\n');

	if (strncmp(text, "Filename", strlen("Filename")) != 0 || !second)
		return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL, "/proc/swaps isn't understood");
	second++;
	if (*second)
		return tl_fail(err, TL_E_SWAP_ON, EBUSY, "memory is swapped out to '%.*s'",
			       (int)strcspn(second, " \t\n"), second);
	return 0;
}

int disk_swap_check(struct tl_error *err)
{
	auto_buf struct tl_buf text = { 0 };
	int r = text_read("/proc/swaps", SWAPS_MAX, &text, err);

	return r < 0 ? r : disk_swap_parse(tl_buf_str(&text), err);
}
