/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>

#include "launcher/root.h"

#define HASH  "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define OTHER "10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static void the_root_hash_is_one_exact_word(void **state)
{
	static const struct {
		const char *cmdline;
		int r;
	} cases[] = {
		{ "roothash=" HASH, 0 },
		{ "ro quiet roothash=" HASH " x=y\n", 0 },
		{ "x=\"roothash=" OTHER "\" roothash=" HASH, 0 },
		{ "xroothash=" OTHER " roothash=" HASH " roothash.x=1", 0 },
		{ "ro quiet", -ENOENT },
		{ "roothash", -ENOENT },
		{ "roothash=", -EINVAL },
		{ "roothash=" HASH " roothash=" HASH, -EINVAL },
		{ "roothash=" HASH " roothash=" OTHER, -EINVAL },
		{ "roothash=" HASH "0", -EINVAL },
		{ "roothash=0011", -EINVAL },
		{ "roothash=00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff",
		  -EINVAL },
		{ "roothash=\"" HASH "\"", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		char got[ROOT_HASH_HEX + 1] = "poison";
		struct tl_error err = { 0 };

		assert_int_equal(root_hash_parse(cases[i].cmdline, got, &err), cases[i].r);
		assert_string_equal(got, cases[i].r ? "poison" : HASH);
		assert_int_equal(err.code, cases[i].r ? TL_E_ROOT : 0);
	}
}

#define VERITY(hash, options) "1 254:1 254:1 4096 4096 25600 25600 sha256 " hash " -" options
#define GOOD                  VERITY(HASH, " 1 restart_on_corruption")

static void the_root_is_one_verity_target_that_checks_every_block(void **state)
{
	enum { WRITABLE = 1, SUSPENDED = 2, CHANGING = 4, TWO = 8, NONE = 16, LATER = 32 };
	static const struct {
		const char *type, *params;
		int flags, r;
	} cases[] = {
		{ "verity", GOOD, 0, 0 },
		{ "verity", VERITY(HASH, ""), 0, 0 },
		{ "verity", VERITY(HASH, " 0"), 0, 0 },
		{ "verity", VERITY(HASH, " 3 panic_on_corruption fec_roots 2"), 0, 0 },
		{ "verity", VERITY(OTHER, ""), 0, -EINVAL },
		{ "linear", "254:1 0", 0, -EINVAL },
		{ "verity", "1 254:1 254:1 4096 4096 25600 25600 sha1 " HASH " -", 0, -EINVAL },
		{ "verity", "0 254:1 254:1 4096 4096 25600 25600 sha256 " HASH " -", 0, -EINVAL },
		{ "verity", "1 254:1 254:1 4096 4096 25600 25600 sha256", 0, -EINVAL },
		{ "verity", "", 0, -EINVAL },
		{ "verity", VERITY(HASH, " 1 ignore_corruption"), 0, -EPERM },
		{ "verity", VERITY(HASH, " 1 check_at_most_once"), 0, -EPERM },
		{ "verity", VERITY(HASH, " 2 restart_on_corruption check_at_most_once"), 0,
		  -EPERM },
		{ "verity", VERITY(HASH, " 1 of_tomorrow"), 0, -EPERM },
		{ "verity", VERITY(HASH, " 1 fec_roots"), 0, -EPERM },
		{ "verity", VERITY(HASH, " 2 restart_on_corruption"), 0, -EINVAL },
		{ "verity", VERITY(HASH, " 0 check_at_most_once"), 0, -EINVAL },
		{ "verity", VERITY(HASH, " x"), 0, -EINVAL },
		{ "verity", GOOD, WRITABLE, -EINVAL },
		{ "verity", GOOD, SUSPENDED, -EINVAL },
		{ "verity", GOOD, CHANGING, -EINVAL },
		{ "verity", GOOD, TWO, -EINVAL },
		{ "verity", GOOD, NONE, -EINVAL },
		{ "verity", GOOD, LATER, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		auto_dm_table struct dm_table t = {
			.name = "root",
			.is_read_only = !(cases[i].flags & WRITABLE),
			.is_suspended = cases[i].flags & SUSPENDED,
			.has_inactive = cases[i].flags & CHANGING,
			.targets_n = cases[i].flags & NONE  ? 0
				     : cases[i].flags & TWO ? 2
							    : 1,
		};
		struct tl_error err = { 0 };

		for (size_t n = 0; n < t.targets_n; n++)
			assert_int_equal(dm_target_parse(cases[i].type,
							 cases[i].flags & LATER ? 8 : 0, 8,
							 cases[i].params, &t.targets[n]),
					 0);
		assert_int_equal(root_table_judge(&t, HASH, &err), cases[i].r);
		assert_int_equal(err.code, cases[i].r ? TL_E_ROOT : 0);
	}
}

static void a_root_with_a_block_that_did_not_match_is_refused(void **state)
{
	static const struct {
		const char *status;
		bool is_good;
	} cases[] = {
		{ "V", true }, { "V -", true }, { "V 12", true }, { "C", false },  { "C -", false },
		{ "", false }, { " V", false }, { "v", false },   { "VC", false }, { "0 V", false },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct tl_error err = { 0 };

		assert_int_equal(root_status_judge(cases[i].status, &err),
				 cases[i].is_good ? 0 : -EBADMSG);
		assert_int_equal(err.code, cases[i].is_good ? 0 : TL_E_ROOT);
	}
}

/* What an image of ours has, in the order in which it is mounted. */
static const char *const mounts_good[] = {
	"20 1 253:0 / / ro,nosuid,nodev - erofs /dev/dm-0 ro,user_xattr",
	"21 20 0:5 / /dev rw - devtmpfs dev rw,size=1k",
	"22 20 0:21 / /proc rw - proc proc rw",
	"23 20 0:22 / /sys rw - sysfs sys rw",
	"24 23 0:7 / /sys/kernel/security rw - securityfs securityfs rw",
	"25 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
	"26 20 0:24 / /run rw - tmpfs tmpfs rw",
	"27 20 0:30 / /tmp rw - tmpfs tmpfs rw",
	"28 20 0:31 / /var rw - tmpfs tmpfs rw",
	"29 28 253:2 /c /var/lib/containerd rw,nosuid,nodev - ext4 /dev/mapper/x rw",
	"30 20 0:24 /machine-id /etc/machine-id ro - tmpfs tmpfs rw",
	"31 26 0:50 / /run/containerd/x/rootfs rw - overlay overlay rw,lowerdir=/x",
};

/* The good ones, number @without left out and @more added. */
static int judge(size_t without, const char *more, struct tl_error *err)
{
	auto_mount_list struct mount_list mounts = { 0 };
	char text[8192] = "";
	size_t n = 0;

	for (size_t i = 0; i < TL_ARRAY_SIZE(mounts_good); i++)
		if (i != without)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s\n", mounts_good[i]);
	snprintf(text + n, sizeof(text) - n, "%s%s", more, *more ? "\n" : "");
	assert_int_equal(mountinfo_parse(text, &mounts, NULL), 0);
	return root_mounts_judge(&mounts, err);
}

static void only_what_the_image_mounts_may_be_mounted(void **state)
{
	static const struct {
		size_t without;
		const char *more;
		const char *named; /* in the message; NULL: accepted */
	} cases[] = {
		{ 99, "", NULL },
		{ 24, "40 20 0:60 / /run/credentials rw - ramfs ramfs rw", NULL },
		{ 99, "40 20 0:60 / /usr rw - tmpfs tmpfs rw", "'/usr'" },
		{ 99, "40 20 0:60 / /usr rw - overlay overlay rw", "'/usr'" },
		{ 99, "40 20 0:60 / /usr/lib/x ro - tmpfs tmpfs ro", "'/usr/lib/x'" },
		{ 99, "40 20 253:0 /evil /etc/ssl ro - erofs /dev/dm-0 ro", "'/etc/ssl'" },
		{ 99, "40 20 0:60 / /etc/machine-idx rw - tmpfs tmpfs rw", "machine-idx" },
		{ 99, "40 20 0:60 / /usrx rw - tmpfs tmpfs rw", NULL },
		{ 99, "40 20 8:1 / /mnt rw - ext4 /dev/sda1 rw", "8:1" },
		{ 99, "40 26 254:16 / /run/disk ro - ext4 /dev/vdb ro", "254:16" },
		{ 99, "40 20 0:60 / /mnt rw - 9p host rw", "9p" },
		{ 99, "40 20 0:60 / /mnt rw - virtiofs host rw", "virtiofs" },
		{ 99, "40 20 0:60 / /mnt rw - fuse.sshfs host rw", "fuse.sshfs" },
		{ 99, "40 20 0:60 / /mnt rw - nfs4 host:/ rw", "nfs4" },
		{ 99, "40 20 0:60 / / rw - tmpfs tmpfs rw", "read-only" },
		{ 99, "40 22 0:60 /x /proc/cmdline rw - tmpfs tmpfs rw", "'/proc/cmdline'" },
		{ 99, "40 22 0:60 / /proc rw - tmpfs tmpfs rw", "'/proc'" },
		{ 99, "40 27 253:3 / /tmp rw - ext4 /dev/mapper/y rw", "'/tmp'" },
		{ 0, "20 1 253:0 / / rw - erofs /dev/dm-0 ro", "read-only" },
		{ 0, "20 1 253:0 / / ro - ext4 /dev/dm-0 rw", "read-only" },
		{ 0, "20 1 253:0 /sub / ro - ext4 /dev/dm-0 ro", "read-only" },
		{ 1, "", "'/dev'" },
		{ 4, "", "'/sys/kernel/security'" },
		{ 6, "", "'/run'" },
		{ 7, "", "'/tmp'" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct tl_error err = { 0 };
		int r = judge(cases[i].without, cases[i].more, &err);

		if (!cases[i].named) {
			assert_int_equal(r, 0);
			continue;
		}
		assert_int_equal(r, -EPERM);
		assert_int_equal(err.code, TL_E_MOUNTS);
		assert_int_equal(err.class, TL_FATAL);
		assert_non_null(strstr(err.msg, cases[i].named));
	}
}

static void a_root_that_is_no_device_of_the_device_mapper_is_refused(void **state)
{
	auto_mount_list struct mount_list mounts = { 0 };
	char got[ROOT_HASH_HEX + 1] = "poison";
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(mountinfo_parse("20 1 0:60 / / ro - overlay overlay ro\n", &mounts, NULL),
			 0);
	assert_true(root_check("roothash=" HASH, &mounts, got, &err) < 0);
	assert_int_equal(err.code, TL_E_ROOT);
	assert_non_null(strstr(err.msg, "0:60"));
	assert_string_equal(got, "poison");
	mount_list_done(&mounts);
	assert_true(root_check("roothash=" HASH, &mounts, got, &err) < 0);
	assert_int_equal(err.code, TL_E_MOUNTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_hash_is_one_exact_word),
		cmocka_unit_test(the_root_is_one_verity_target_that_checks_every_block),
		cmocka_unit_test(a_root_with_a_block_that_did_not_match_is_refused),
		cmocka_unit_test(only_what_the_image_mounts_may_be_mounted),
		cmocka_unit_test(a_root_that_is_no_device_of_the_device_mapper_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
