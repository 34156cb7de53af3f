/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of the protected disk. That the kernel agrees is shown in the VM (tests/vm). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <teelaunch/cleanup.h>

#include "launcher/disk/check.h"
#include "launcher/disk/kernel_log.h"
#include "launcher/disk/mounts.h"
#include "launcher/disk/tables.h"

static struct disk_record record(bool has_tags_in_memory)
{
	struct disk_record r = {
		.device = "/dev/disk/by-id/virtio-teelaunch-data",
		.device_number = { 254, 0 },
		.device_sectors = 2097152,
		.has_tags_in_memory = has_tags_in_memory,
		.integrity_number = { 253, 0 },
		.crypt_number = { 253, 1 },
		.size_bytes = 2097152ULL * 512,
		.setup_ms = 1234,
		.kmsg_seq = 362,
		.mount_point = "/var/lib/teelaunch",
		.containerd_dir = "/var/lib/containerd",
		.scratch_dir = "/var/tmp",
	};

	if (has_tags_in_memory)
		r.tags_number = (struct disk_number){ 1, 0 };
	else
		memset(r.superblock, 0xa5, sizeof(r.superblock));
	return r;
}

static void a_record_is_read_as_it_was_written(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		auto_buf struct tl_buf text = { 0 }, again = { 0 };
		struct disk_record from = record(i), to;

		memset(&to, 0x5a, sizeof(to));
		tl_buf_init(&text, DISK_RECORD_MAX);
		assert_int_equal(disk_record_format(&from, &text), 0);
		assert_int_equal(disk_record_parse(tl_buf_str(&text), text.len_bytes, &to, NULL),
				 0);
		/* Written again, not compared as memory: a struct has gaps. */
		tl_buf_init(&again, DISK_RECORD_MAX);
		assert_int_equal(disk_record_format(&to, &again), 0);
		assert_string_equal(tl_buf_str(&again), tl_buf_str(&text));
		assert_memory_equal(from.superblock, to.superblock, sizeof(from.superblock));
		assert_non_null(strstr(tl_buf_str(&text), "\"schema\":\"teelaunch.disk/1\""));
		assert_non_null(
			strstr(tl_buf_str(&text), i ? "\"tags\":\"memory\"" : "\"tags\":\"disk\""));
	}
}

/* Replace @from in a good record by @to. */
static void record_with(const char *from, const char *to, struct tl_buf *ret)
{
	auto_buf struct tl_buf good = { 0 };
	struct disk_record r = record(true);
	const char *at;

	tl_buf_init(&good, DISK_RECORD_MAX);
	tl_buf_init(ret, DISK_RECORD_MAX);
	assert_int_equal(disk_record_format(&r, &good), 0);
	at = strstr(tl_buf_str(&good), from);
	assert_non_null(at);
	assert_int_equal(tl_buf_append(ret, good.data, (size_t)(at - tl_buf_str(&good))), 0);
	assert_int_equal(tl_buf_printf(ret, "%s%s", to, at + strlen(from)), 0);
}

static void a_record_that_is_not_exactly_one_is_refused(void **state)
{
	static const struct {
		const char *from, *to;
	} bad[] = {
		{ "teelaunch.disk/1", "teelaunch.disk/2" },
		{ "gcm(aes)-random", "null" },
		{ "\"aead\"", "\"none\"" },
		{ "\"tags\":\"memory\"", "\"tags\":\"\"" },
		{ "\"setup_ms\":1234", "\"setup_ms\":-1" },
		{ "\"setup_ms\":1234", "\"setup_ms\":\"1\"" },
		{ "\"254:0\"", "\"254\"" },
		{ "\"254:0\"", "\"254:0x\"" },
		{ "\"254:0\"", "\"111111111111111111:0\"" },
		{ "\"254:0\"", "7" },
		{ "\"/var/tmp\"", "\"\"" },
		{ "\"superblock\":\"\"", "\"superblock\":\"00\"" },
		{ "{", "{\"more\":1," },
		{ "\"kmsg_seq\":362,", "" },
		{ "}", "" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		auto_buf struct tl_buf text = { 0 };
		struct disk_record r = { .setup_ms = 7 };
		struct tl_error err = { 0 };

		record_with(bad[i].from, bad[i].to, &text);
		assert_int_equal(disk_record_parse(tl_buf_str(&text), text.len_bytes, &r, &err),
				 -EINVAL);
		assert_int_equal(err.code, TL_E_DISK_RECORD);
		assert_int_equal(err.class, TL_FATAL);
		assert_int_equal(r.setup_ms, 7);
	}
}

static void a_recorded_failure_comes_back_as_itself(void **state)
{
	auto_buf struct tl_buf text = { 0 };
	struct tl_error was = { 0 }, is = { 0 };
	struct disk_record r;

	(void)state;
	tl_buf_init(&text, DISK_RECORD_MAX);
	(void)tl_fail(&was, TL_E_DISK_MISSING, ENOENT, "no '\"' there");
	assert_int_equal(disk_record_format_error(&was, &text), 0);
	assert_true(disk_record_parse(tl_buf_str(&text), text.len_bytes, &r, &is) < 0);
	assert_int_equal(is.code, TL_E_DISK_MISSING);
	assert_int_equal(is.class, TL_RETRY);
	assert_string_equal(is.msg, was.msg);
	assert_true(disk_record_parse("{\"error\":{\"code\":\"TL9999\"}}", 27, &r, &is) < 0);
	assert_int_equal(is.code, TL_E_DISK_RECORD);
	assert_int_equal(disk_record_read("/nonexistent", &r, &is), -ENOENT);
	assert_int_equal(is.code, TL_E_DISK_UNPROTECTED);
}

/* As Linux 6.1 states them after set-up. */
#define INTEGRITY_MEMORY                                                                           \
	"254:0 0 28 D 5 meta_device:1:0 block_size:4096 journal_sectors:264 "                      \
	"interleave_sectors:1 buffer_sectors:128"
#define INTEGRITY_DISK                                                                             \
	"254:0 0 28 D 5 block_size:4096 journal_sectors:264 interleave_sectors:32768 "             \
	"buffer_sectors:32 fix_padding"
#define META "meta_device:1:0 block_size:4096"
#define GEOMETRY(mode, head, journal, interleave, buffer)                                          \
	"254:0 0 28 " mode " 5 " head " journal_sectors:" journal                                  \
	" interleave_sectors:" interleave " buffer_sectors:" buffer
#define META_REST      " " META " journal_sectors:264 interleave_sectors:1 buffer_sectors:128"
#define GEOMETRY_REST  " 5" META_REST
#define INTEGRITY_REST " 0 28 D" GEOMETRY_REST
#define CRYPT                                                                                      \
	"capi:gcm(aes)-random :32:logon:teelaunch:volume 0 253:0 0 2 integrity:28:aead "           \
	"sector_size:4096"

static struct dm_table table(const char *name, uint32_t minor, const char *type, const char *params)
{
	struct dm_table t = { .major = 253, .minor = minor, .targets_n = 1 };

	memcpy(t.name, name, strlen(name) + 1);
	assert_int_equal(dm_target_parse(type, 0, 2097152, params, &t.targets[0]), 0);
	return t;
}

static int judge(bool has_tags_in_memory, const char *integrity, const char *crypt,
		 struct tl_error *err)
{
	auto_dm_table struct dm_table i = table(DISK_INTEGRITY_NAME, 0, "integrity", integrity);
	auto_dm_table struct dm_table c = table(DISK_CRYPT_NAME, 1, "crypt", crypt);
	struct disk_record r = record(has_tags_in_memory);

	return disk_tables_check(&r, &i, &c, err);
}

/* S25 */
static void tables_are_compared_word_by_word(void **state)
{
	static const struct {
		bool has_tags_in_memory;
		const char *integrity, *crypt;
	} bad[] = {
		/* tags where the record doesn't say */
		{ true, INTEGRITY_DISK, CRYPT },
		{ false, INTEGRITY_MEMORY, CRYPT },
		{ true, GEOMETRY("D", "meta_device:1:1 block_size:4096", "264", "1", "128"),
		  CRYPT },
		/* another device below, another start, tag size, mode, block size */
		{ true, "254:16" INTEGRITY_REST, CRYPT },
		{ true, "254:0 8 28 D" GEOMETRY_REST, CRYPT },
		{ true, "254:0 0 4 D" GEOMETRY_REST, CRYPT },
		{ true, GEOMETRY("R", META, "264", "1", "128"), CRYPT },
		{ true, GEOMETRY("J", META, "264", "1", "128"), CRYPT },
		{ true, GEOMETRY("D", "meta_device:1:0 block_size:512", "264", "1", "128"), CRYPT },
		/* where data and tags lie */
		{ true, GEOMETRY("D", META, "528", "1", "128"), CRYPT },
		{ true, GEOMETRY("D", META, "264", "32768", "128"), CRYPT },
		{ true, GEOMETRY("D", META, "264", "1", "64"), CRYPT },
		{ true, INTEGRITY_MEMORY " recalculate", CRYPT },
		{ true, "254:0 0 28 D 6 recalculate" META_REST, CRYPT },
		{ true, INTEGRITY_MEMORY " fix_padding", CRYPT },
		{ false,
		  "254:0 0 28 D 5 block_size:4096 journal_sectors:264 "
		  "interleave_sectors:32768 buffer_sectors:32",
		  CRYPT },
		{ false, "254:0 0 28 D 0", CRYPT },
		{ false, "254:0 0 28", CRYPT },
		{ false, INTEGRITY_DISK " internal_hash:crc32c", CRYPT },
		{ false, INTEGRITY_DISK " allow_discards", CRYPT },
		{ false, INTEGRITY_DISK " journal_sectors:x", CRYPT },
		/* another cipher, key in the table or another one, nonces, stacking, no integrity
		 */
		{ true, INTEGRITY_MEMORY,
		  "aes-xts-plain64 :32:logon:teelaunch:volume 0 253:0 0 2 integrity:28:aead "
		  "sector_size:4096" },
		{ true, INTEGRITY_MEMORY, "capi:cipher_null-ecb - 0 253:0 0" },
		{ true, INTEGRITY_MEMORY,
		  "capi:gcm(aes)-random 00 0 253:0 0 2 integrity:28:aead sector_size:4096" },
		{ true, INTEGRITY_MEMORY,
		  "capi:gcm(aes)-random :32:user:teelaunch:volume 0 253:0 0 2 integrity:28:aead "
		  "sector_size:4096" },
		{ true, INTEGRITY_MEMORY,
		  "capi:gcm(aes)-random :32:logon:teelaunch:volume 0 254:0 0 2 integrity:28:aead "
		  "sector_size:4096" },
		{ true, INTEGRITY_MEMORY,
		  "capi:gcm(aes)-random :32:logon:teelaunch:volume 0 253:0 0 1 sector_size:4096" },
		{ true, INTEGRITY_MEMORY, CRYPT " allow_discards" },
		{ true, INTEGRITY_MEMORY, "capi:gcm(aes)-random" },
	};
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(judge(true, INTEGRITY_MEMORY, CRYPT, NULL), 0);
	assert_int_equal(judge(false, INTEGRITY_DISK, CRYPT, NULL), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_int_equal(
			judge(bad[i].has_tags_in_memory, bad[i].integrity, bad[i].crypt, &err),
			-ESTALE);
		assert_int_equal(err.code, TL_E_DISK_CHANGED);
		assert_int_equal(err.class, TL_FATAL);
	}
}

static void the_integrity_device_gives_the_room_that_it_gave(void **state)
{
	static const char *const bad[] = { "0 2097152",      "0 2097152 0",
					   "1 2097152 -",    "0 2097144 -",
					   "0 2097160 -",    "0 2097152 - ",
					   "0 2097152 4096", "" };
	struct disk_record r = record(true);
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(disk_integrity_status_check(&r, "0 2097152 -", NULL), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_int_equal(disk_integrity_status_check(&r, bad[i], &err), -ESTALE);
		assert_int_equal(err.code, TL_E_DISK_CHANGED);
	}
}

static void devices_are_what_they_were(void **state)
{
	for (int change = 0; change <= 9; change++) {
		auto_dm_table struct dm_table i =
			table(DISK_INTEGRITY_NAME, 0, "integrity", INTEGRITY_MEMORY);
		auto_dm_table struct dm_table c = table(DISK_CRYPT_NAME, 1, "crypt", CRYPT);
		struct disk_record r = record(true);

		switch (change) {
		case 1:
			c.minor = 2;
			break;
		case 2:
			c.is_read_only = true;
			break;
		case 3:
			i.is_suspended = true;
			break;
		case 4:
			c.has_inactive = true;
			break;
		case 5:
			c.targets[0].length_sectors -= 8;
			break;
		case 6:
			i.targets[0].start_sectors = 8;
			break;
		case 7:
			memcpy(c.targets[0].type, "linear", sizeof("linear"));
			break;
		case 8:
			c.targets_n = 2; /* the second one is empty */
			break;
		case 9:
			r.size_bytes -= 4096;
			break;
		default:
			break;
		}
		assert_int_equal(disk_tables_check(&r, &i, &c, NULL), change ? -ESTALE : 0);
	}
	(void)state;
}

static void tags_take_their_share_of_memory(void **state)
{
	const uint64_t gib = 1ULL << 30;

	(void)state;
	/* 28 bytes for each 4 KiB: 0.7 %. */
	assert_true(disk_tags_bytes(100 * gib / 512) >= 100 * gib / 4096 * 28);
	assert_true(disk_tags_bytes(100 * gib / 512) < 100 * gib / 4096 * 28 + (5ULL << 20));
	assert_true(disk_tags_fit(100 * gib / 512, 4 * gib, 25));
	assert_false(disk_tags_fit(200 * gib / 512, 4 * gib, 25));
	assert_false(disk_tags_fit(gib / 512, 4 * gib, 0));
}

#define MOUNTS_ROOT "22 1 254:16 / / ro - erofs /dev/dm-9 ro\n"
#define MOUNT_BASE  "29 22 253:1 / /var/lib/teelaunch rw,nosuid,nodev,noexec - ext4 /dev/dm-1 rw\n"
#define MOUNT_CONTAINERD                                                                           \
	"30 22 253:1 /containerd /var/lib/containerd rw,nosuid,nodev - ext4 /dev/dm-1 rw\n"
#define MOUNT_SCRATCH "31 22 253:1 /scratch /var/tmp rw,nosuid,nodev,noexec - ext4 /dev/dm-1 rw\n"

static void mounts_are_where_and_as_they_were_made(void **state)
{
	static const char *const bad[] = {
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH,
		MOUNTS_ROOT MOUNT_BASE MOUNT_CONTAINERD,
		MOUNTS_ROOT MOUNT_CONTAINERD MOUNT_SCRATCH,
		/* something over it */
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH MOUNT_CONTAINERD
		"40 30 0:50 / /var/lib/containerd rw,nosuid,nodev - tmpfs t rw\n",
		/* flags */
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /containerd /var/lib/containerd rw,nodev - ext4 /dev/dm-1 rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /containerd /var/lib/containerd rw,nosuid - ext4 /dev/dm-1 rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /containerd /var/lib/containerd ro,nosuid,nodev - ext4 /dev/dm-1 rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_CONTAINERD
		"31 22 253:1 /scratch /var/tmp rw,nosuid,nodev - ext4 /dev/dm-1 rw\n",
		/* another device, folder, file system; the file system turned read-only */
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 254:0 /containerd /var/lib/containerd rw,nosuid,nodev - ext4 /dev/vda rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /scratch /var/lib/containerd rw,nosuid,nodev - ext4 /dev/dm-1 rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /containerd /var/lib/containerd rw,nosuid,nodev - xfs /dev/dm-1 rw\n",
		MOUNTS_ROOT MOUNT_BASE MOUNT_SCRATCH
		"30 22 253:1 /containerd /var/lib/containerd rw,nosuid,nodev - ext4 /dev/dm-1 ro\n",
	};
	struct disk_record r = record(true);
	struct tl_error err = { 0 };
	struct mount_list l = { 0 };

	(void)state;
	assert_int_equal(
		mountinfo_parse(MOUNTS_ROOT MOUNT_BASE MOUNT_CONTAINERD MOUNT_SCRATCH, &l, NULL),
		0);
	assert_int_equal(disk_mounts_check(&r, &l, NULL), 0);
	mount_list_done(&l);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_int_equal(mountinfo_parse(bad[i], &l, NULL), 0);
		assert_true(disk_mounts_check(&r, &l, &err) < 0);
		assert_int_equal(err.code, TL_E_DISK_MOUNT);
		mount_list_done(&l);
	}
}

static void swap_must_be_off(void **state)
{
	static const char head[] = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
	auto_buf struct tl_buf text = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(disk_swap_parse(head, NULL), 0);
	tl_buf_init(&text, 4096);
	assert_int_equal(tl_buf_printf(&text, "%s/dev/zram0   partition\t1048572\t0\t-2\n", head),
			 0);
	assert_int_equal(disk_swap_parse(tl_buf_str(&text), &err), -EBUSY);
	assert_int_equal(err.code, TL_E_SWAP_ON);
	assert_string_equal(err.msg, "memory is swapped out to '/dev/zram0'");
	assert_int_equal(disk_swap_parse("", &err), -EINVAL);
	assert_int_equal(err.code, TL_E_MACHINE_FACTS);
}

static void lines_of_the_kernel_are_judged(void **state)
{
	static const struct {
		const char *record;
		int verdict;
	} cases[] = {
		{ "3,12,99,-;trusted_key: device-mapper: crypt: dm-0: INTEGRITY AEAD ERROR, "
		  "sector 8\n",
		  KERNEL_LOG_TAMPERED },
		{ "3,12,99,-;device-mapper: integrity: Error on writing tags: -5\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;I/O error, dev vda, sector 2048 op 0x1:(WRITE) flags 0x800\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;operation not supported error, dev vda, sector 8 op 0x1:(WRITE)\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;critical medium error, dev vda, sector 8 op 0x0:(READ)\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;critical medium error, dev vdb, sector 8 op 0x0:(READ)\n",
		  KERNEL_LOG_FOREIGN },
		{ "4,12,99,-;blk_print_req_error: 12 callbacks suppressed\n", KERNEL_LOG_ERROR },
		{ "4,12,99,-;buffer_io_error: 1 callbacks suppressed\n", KERNEL_LOG_ERROR },
		{ "4,12,99,-;EXT4-fs warning: 3 callbacks suppressed\n", KERNEL_LOG_ERROR },
		{ "4,12,99,-;show_signal_msg: 12 callbacks suppressed\n", KERNEL_LOG_FINE },
		{ "4,12,99,-;net_ratelimit: 12 callbacks suppressed\n", KERNEL_LOG_FINE },
		/* dm-crypt's words without dm-crypt */
		{ "4,12,99,-;INTEGRITY AEAD ERROR, sector 8\n", KERNEL_LOG_FINE },
		{ "6,12,99,-;cat: attempt to access beyond end of device\\x0avda: rw=0, sector=8\n",
		  KERNEL_LOG_ERROR },
		{ "6,12,99,-;cat: attempt to access beyond end of device\\x0avdb: rw=0, sector=8\n",
		  KERNEL_LOG_FOREIGN },
		/* A directory that a workload has filled. */
		{ "4,12,99,-;EXT4-fs warning (device dm-1): ext4_dx_add_entry:2492: Directory "
		  "(ino: 2) "
		  "index full, reach max htree level :2\n",
		  KERNEL_LOG_FINE },
		{ "3,12,99,-;EXT4-fs (dm-1): Delayed block allocation failed for inode 7\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;device-mapper: crypt: dm-0: INTEGRITY AEAD ERROR, sector 8\n",
		  KERNEL_LOG_TAMPERED },
		{ "3,12,99,-;device-mapper: crypt: unknown target parameter\n", KERNEL_LOG_ERROR },
		{ "3,12,99,-;I/O error, dev vdab, sector 2048\n", KERNEL_LOG_FOREIGN },
		{ "3,12,99,-;I/O error, dev vdb, sector 2048\n", KERNEL_LOG_FOREIGN },
		{ "3,12,99,-;Buffer I/O error on dev dm-1, logical block 7, lost async page "
		  "write\n",
		  KERNEL_LOG_ERROR },
		{ "3,12,99,-;Buffer I/O error on dev dm-11, logical block 7\n",
		  KERNEL_LOG_FOREIGN },
		{ "2,12,99,-;EXT4-fs error (device dm-1): ext4_find_entry:1455: inode #2\n",
		  KERNEL_LOG_ERROR },
		{ "4,12,99,-;EXT4-fs warning (device dm-1): ext4_end_bio:343: I/O error 10\n",
		  KERNEL_LOG_ERROR },
		{ "6,12,99,-;EXT4-fs (dm-1): mounted filesystem without journal.\n",
		  KERNEL_LOG_FINE },
		/* user space says it: facility 1 */
		{ "11,12,99,-;device-mapper: crypt: dm-0: INTEGRITY AEAD ERROR, sector 8\n",
		  KERNEL_LOG_FINE },
		{ "11,12,99,-;I/O error, dev vda, sector 2048\n", KERNEL_LOG_FINE },
		{ "6,12,99,c;\n", KERNEL_LOG_FINE },
		{ "", -EINVAL },
		{ "3,12\n", -EINVAL },
		{ "x,12,99,-;a\n", -EINVAL },
		{ "3,,99,-;a\n", -EINVAL },
		{ "3,12,x,-;a\n", -EINVAL },
		{ "3,12,99\n", -EINVAL },
		{ "3,99999999999999999999999999,99,-;a\n", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		uint64_t seq = 7, us = 7;

		assert_int_equal(
			kernel_log_judge(cases[i].record, "vda", "dm-0", "dm-1", &seq, &us),
			cases[i].verdict);
		assert_int_equal(seq, cases[i].verdict < 0 ? 7 : 12);
		assert_int_equal(us, cases[i].verdict < 0 ? 7 : 99);
	}
}

/* What the kernel quotes of names that a workload chose. */
static void names_of_a_workloads_choice_raise_no_alarm(void **state)
{
	static const char *const records[] = {
		"4,1,9,-;process '/device-mapper: crypt: dm-0: INTEGRITY AEAD ERROR, '\n",
		"4,1,9,-;process '/: attempt to access beyond end of device\\x0avda: rw='\n",
		"4,12,99,-;process '/I/O error, dev vda, sector 8' launched 'x'\n",
		"6,12,99,-; error, dev vda[77]: segfault at 0 ip 0\n",
		"6,12,99,-;device-mapper: [77]: segfault at 0 ip 0\n",
		"6,12,99,-;EXT4-fs: 1 cal[7]: segfault at 0\n",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(records); i++) {
		uint64_t seq, us;

		assert_int_equal(kernel_log_judge(records[i], "vda", "dm-0", "dm-1", &seq, &us),
				 KERNEL_LOG_FINE);
	}
}

/* Ten lines within five seconds, of whatever disk, and the eleventh isn't printed. */
static void a_burst_of_foreign_lines_may_hide_ours(void **state)
{
	struct kernel_log_burst slow = { 0 }, quick = { 0 }, late = { 0 };

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		assert_false(kernel_log_may_hide(&slow, 1000000 + i * 600000));
	for (uint64_t i = 0; i < 9; i++)
		assert_false(kernel_log_may_hide(&quick, 1000000 + i * 1000));
	assert_true(kernel_log_may_hide(&quick, 6000000));
	for (uint64_t i = 0; i < 9; i++)
		assert_false(kernel_log_may_hide(&late, 1000000 + i * 1000));
	assert_false(kernel_log_may_hide(&late, 6000001));
	assert_false(kernel_log_may_hide(&late, 9000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_read_as_it_was_written),
		cmocka_unit_test(a_record_that_is_not_exactly_one_is_refused),
		cmocka_unit_test(a_recorded_failure_comes_back_as_itself),
		cmocka_unit_test(tables_are_compared_word_by_word),
		cmocka_unit_test(the_integrity_device_gives_the_room_that_it_gave),
		cmocka_unit_test(devices_are_what_they_were),
		cmocka_unit_test(tags_take_their_share_of_memory),
		cmocka_unit_test(mounts_are_where_and_as_they_were_made),
		cmocka_unit_test(swap_must_be_off),
		cmocka_unit_test(lines_of_the_kernel_are_judged),
		cmocka_unit_test(names_of_a_workloads_choice_raise_no_alarm),
		cmocka_unit_test(a_burst_of_foreign_lines_may_hide_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
