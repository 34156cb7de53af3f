/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#include "launcher/memory.h"

#define PRESENT     (UINT64_C(1) << 63) /* Linux, admin-guide/mm/pagemap.rst */
#define TABLE_BYTES (512 * 1024)

/* In the file, and in no page with anything that is written. */
static const uint8_t table[TABLE_BYTES] __attribute__((aligned(4096))) = {
	[0] = 7,
	[TABLE_BYTES / 2] = 8,
	[TABLE_BYTES - 1] = 9,
};
/* Written once at the start by the loader (RELRO), and by ourselves. */
static const uint8_t *const relocated[] = { table, table + 1, table + 2 };
static int written = 1;

static size_t present_of(const void *from, size_t n_bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	auto_close int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	size_t n = 0;

	assert_true(fd >= 0);
	for (size_t at = 0; at < n_bytes; at += page) {
		uint64_t entry;

		assert_int_equal(pread(fd, &entry, sizeof(entry),
				       (off_t)(((uintptr_t)from + at) / page * sizeof(entry))),
				 sizeof(entry));
		n += (entry & PRESENT) != 0;
	}
	return n;
}

/* Without a swap there is nowhere else for its pages to be. */
static bool is_file_in_memory(void)
{
	struct statfs fs;

	assert_int_equal(statfs("/proc/self/exe", &fs), 0);
	return fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

/* Pages that the linker wrote and the disk doesn't have yet stay. */
static void program_sync(void)
{
	auto_close int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
}

static void touch(void)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < TABLE_BYTES; i += 512)
		sum = (uint8_t)(sum + table[i]);
}

static void constants_leave_memory_and_come_back(void **state)
{
	size_t before;

	(void)state;
	program_sync();
	touch();
	before = present_of(table, TABLE_BYTES);
	assert_true(before >= TABLE_BYTES / 4096 / 2);
	memory_give_back();
	if (!is_file_in_memory())
		assert_true(present_of(table, TABLE_BYTES) < before / 4);
	assert_int_equal(table[0], 7);
	assert_int_equal(table[TABLE_BYTES / 2], 8);
	assert_int_equal(table[TABLE_BYTES - 1], 9);
}

static void what_was_written_stays(void **state)
{
	char *text = strdup("of the heap");
	int on_stack = 3;

	(void)state;
	written = 2;
	for (int i = 0; i < 3; i++) {
		memory_give_back();
		assert_int_equal(written, 2);
		assert_int_equal(on_stack, 3);
		assert_string_equal(text, "of the heap");
		assert_ptr_equal(relocated[2], table + 2);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(constants_leave_memory_and_come_back),
		cmocka_unit_test(what_was_written_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
