/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader of device-mapper tables. The library's calls are played by this file, so that a kernel
 * can say anything; that the real one is understood is shown in the VM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <libdevmapper.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <teelaunch/cleanup.h>

#include "launcher/disk/dm_table.h"

/* What the played kernel answers, and what it was asked. */
static struct {
	int errnum;
	struct dm_info info;
	const char *name, *uuid;
	struct {
		const char *type, *params;
	} targets[DM_TARGETS_MAX + 1];
	size_t n;
	char asked[64];
	bool is_secure, is_destroyed;
} kernel;

static char task_memory;

struct dm_task *dm_task_create(int type)
{
	assert_int_equal(type, DM_DEVICE_TABLE);
	return (void *)&task_memory;
}

void dm_task_destroy(struct dm_task *dmt)
{
	(void)dmt;
	kernel.is_destroyed = true;
}

int dm_task_secure_data(struct dm_task *dmt)
{
	(void)dmt;
	return kernel.is_secure = true;
}

int dm_task_set_name(struct dm_task *dmt, const char *name)
{
	(void)dmt;
	return snprintf(kernel.asked, sizeof(kernel.asked), "%s", name) >= 0;
}

int dm_task_set_major_minor(struct dm_task *dmt, int major, int minor, int fallback)
{
	(void)dmt;
	assert_int_equal(fallback, 0);
	return snprintf(kernel.asked, sizeof(kernel.asked), "%d:%d", major, minor) >= 0;
}

int dm_task_run(struct dm_task *dmt)
{
	(void)dmt;
	return kernel.errnum == 0;
}

int dm_task_get_errno(struct dm_task *dmt)
{
	(void)dmt;
	return kernel.errnum;
}

/* libdevmapper.h makes this name a macro for its versioned symbol. */
int(dm_task_get_info)(struct dm_task *dmt, struct dm_info *dmi)
{
	(void)dmt;
	*dmi = kernel.info;
	return 1;
}

const char *dm_task_get_name(const struct dm_task *dmt)
{
	(void)dmt;
	return kernel.name;
}

const char *dm_task_get_uuid(const struct dm_task *dmt)
{
	(void)dmt;
	return kernel.uuid;
}

void *dm_get_next_target(struct dm_task *dmt, void *next, uint64_t *start, uint64_t *length,
			 char **target_type, char **params)
{
	size_t i = next ? (size_t)((char *)next - &task_memory) : 0;

	(void)dmt;
	if (i >= kernel.n)
		return NULL;
	*start = 8 * i;
	*length = 8;
	*target_type = (char *)(uintptr_t)kernel.targets[i].type;
	*params = (char *)(uintptr_t)kernel.targets[i].params;
	return i + 1 < kernel.n ? &task_memory + i + 1 : NULL;
}

void dm_log_with_errno_init(dm_log_with_errno_fn fn)
{
	assert_non_null(fn);
}

static int kernel_set(void **state)
{
	(void)state;
	memset(&kernel, 0, sizeof(kernel));
	kernel.info = (struct dm_info){ .exists = 1, .live_table = 1, .major = 254, .minor = 3 };
	kernel.name = "root";
	kernel.uuid = "CRYPT-VERITY-1";
	return 0;
}

static void a_table_is_read_by_number_and_by_name(void **state)
{
	auto_dm_table struct dm_table t = { 0 };
	auto_dm_table struct dm_table again = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	kernel.targets[0].type = "verity";
	kernel.targets[0].params = "1 254:0  254:1 4096 ";
	kernel.targets[1].type = "zero";
	kernel.n = 2;
	kernel.info.read_only = 1;
	assert_int_equal(dm_table_read(makedev(254, 3), &t, &err), 0);
	assert_string_equal(kernel.asked, "254:3");
	assert_true(kernel.is_secure && kernel.is_destroyed);
	assert_string_equal(t.name, "root");
	assert_string_equal(t.uuid, "CRYPT-VERITY-1");
	assert_true(t.is_read_only);
	assert_false(t.is_suspended || t.has_inactive);
	assert_int_equal(t.targets_n, 2);
	assert_string_equal(t.targets[0].type, "verity");
	assert_int_equal(t.targets[0].args.n, 4);
	assert_string_equal(t.targets[0].args.items[2], "254:1");
	assert_int_equal(t.targets[1].start_sectors, 8);
	assert_int_equal(t.targets[1].length_sectors, 8);
	assert_int_equal(t.targets[1].args.n, 0);

	kernel.info.suspended = kernel.info.inactive_table = 1;
	kernel.uuid = NULL;
	assert_int_equal(dm_table_read_name("root", &again, &err), 0);
	assert_string_equal(kernel.asked, "root");
	assert_string_equal(again.uuid, "");
	assert_true(again.is_suspended && again.has_inactive);
}

static void no_key_leaves_the_reader(void **state)
{
	static const struct {
		const char *type, *params, *word;
		size_t at;
	} cases[] = {
		{ "crypt", "aes-xts-plain64 00ff 0 254:0 0", "*", 1 },
		{ "crypt", "capi:gcm(aes)-random :32:logon:name 0 254:0 0", ":32:logon:name", 1 },
		{ "crypt", "cipher_null-ecb - 0 254:0 0", "-", 1 },
		{ "integrity", "254:0 0 28 D 1 internal_hash:hmac(sha256):00ff",
		  "internal_hash:hmac(sha256):*", 5 },
		{ "integrity", "254:0 0 28 D 1 journal_mac:x:00ff", "journal_mac:x:*", 5 },
		{ "integrity", "254:0 0 28 D 1 journal_crypt:x:00ff", "journal_crypt:x:*", 5 },
		{ "integrity", "254:0 0 28 D 1 internal_hash:crc32c", "internal_hash:crc32c", 5 },
		{ "integrity", "254:0 0 28 D 1 block_size:4096", "block_size:4096", 5 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct dm_target t = { 0 };

		assert_int_equal(dm_target_parse(cases[i].type, 0, 8, cases[i].params, &t), 0);
		assert_true(t.args.n > cases[i].at);
		assert_string_equal(t.args.items[cases[i].at], cases[i].word);
		tl_strv_done(&t.args);
	}
}

static void fails(int errnum)
{
	struct dm_table t = { .major = 77 }; /* the poison */
	struct tl_error err = { 0 };

	assert_int_equal(dm_table_read(makedev(254, 3), &t, &err), -errnum);
	assert_int_equal(err.code, TL_E_DM_TABLE);
	assert_int_equal(err.class, TL_FATAL);
	assert_non_null(strstr(err.msg, "254:3"));
	assert_int_equal(t.major, 77);
	assert_int_equal(dm_table_read_name("root", &t, NULL), errnum == ESTALE ? 0 : -errnum);
	if (errnum != ESTALE)
		assert_int_equal(t.major, 77);
	else
		dm_table_done(&t);
}

static void what_the_kernel_refuses_or_does_not_know_is_an_error(void **state)
{
	kernel.errnum = ENXIO;
	fails(ENXIO);
	kernel_set(state);
	kernel.info.exists = 0;
	fails(ENXIO);
	kernel_set(state);
	kernel.info.minor = 4; /* it answers for another device than the one asked for */
	fails(ESTALE);
}

static void what_does_not_fit_is_an_error(void **state)
{
	static char long_text[200];
	static char many[3 * DM_ARGS_MAX];

	kernel.n = DM_TARGETS_MAX + 1;
	for (size_t i = 0; i < kernel.n; i++) {
		kernel.targets[i].type = "zero";
		kernel.targets[i].params = "a b";
	}
	fails(E2BIG);
	kernel_set(state);
	memset(long_text, 'x', sizeof(long_text) - 1);
	kernel.name = long_text;
	fails(EINVAL);
	kernel_set(state);
	kernel.n = 1;
	kernel.targets[0].type = "a-type-of-16-byt";
	fails(EINVAL);
	kernel.targets[0].type = "";
	fails(EINVAL);
	kernel.targets[0].type = "zero";
	for (size_t i = 0; i < DM_ARGS_MAX + 1; i++)
		memcpy(many + 2 * i, "a ", 3);
	kernel.targets[0].params = many;
	fails(E2BIG);
}

static void a_device_without_a_table_has_no_targets(void **state)
{
	auto_dm_table struct dm_table t = { 0 };

	(void)state;
	assert_int_equal(dm_table_read_name("root", &t, NULL), 0);
	assert_int_equal(t.targets_n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_table_is_read_by_number_and_by_name, kernel_set),
		cmocka_unit_test_setup(no_key_leaves_the_reader, kernel_set),
		cmocka_unit_test_setup(what_the_kernel_refuses_or_does_not_know_is_an_error,
				       kernel_set),
		cmocka_unit_test_setup(what_does_not_fit_is_an_error, kernel_set),
		cmocka_unit_test_setup(a_device_without_a_table_has_no_targets, kernel_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
