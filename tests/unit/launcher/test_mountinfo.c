/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>

#include "launcher/mountinfo.h"

static void a_line_is_read_whole(void **state)
{
	auto_mount_list struct mount_list l = { 0 };

	(void)state;
	assert_int_equal(mountinfo_parse("36 35 98:7 /mnt1\\040a /m\\134nt2 rw,nosuid master:1 "
					 "shared:2 - ext4 /dev/root rw,errors=continue\n",
					 &l, NULL),
			 0);
	assert_int_equal(l.n, 1);
	assert_int_equal(l.items[0].id, 36);
	assert_int_equal(l.items[0].parent_id, 35);
	assert_int_equal(l.items[0].major, 98);
	assert_int_equal(l.items[0].minor, 7);
	assert_string_equal(l.items[0].root, "/mnt1 a");
	assert_string_equal(l.items[0].mount_point, "/m\\nt2");
	assert_string_equal(l.items[0].options, "rw,nosuid");
	assert_string_equal(l.items[0].fs_type, "ext4");
	assert_string_equal(l.items[0].source, "/dev/root");
	assert_string_equal(l.items[0].super_options, "rw,errors=continue");
}

static void an_empty_source_is_a_field_too(void **state)
{
	auto_mount_list struct mount_list l = { 0 };

	(void)state;
	assert_int_equal(mountinfo_parse("1 1 0:1 / / rw - tmpfs  rw\n", &l, NULL), 0);
	assert_string_equal(l.items[0].source, "");
}

static void a_line_that_is_not_understood_refuses_all(void **state)
{
	static const char *const bad[] = {
		"\n",
		"36 35 98:0 / / rw - ext4 /dev/root rw",          /* cut */
		"36 35 98:0 / / rw ext4 /dev/root rw\n",          /* no separator */
		"36 35 98:0 / / rw - ext4 /dev/root\n",           /* a field is missing */
		"36 35 98:0 / / rw - ext4 /dev/root rw x\n",      /* one too many */
		"36 35 980 / / rw - ext4 /dev/root rw\n",         /* no device */
		"36 35 98:x / / rw - ext4 /dev/root rw\n",        /* no minor */
		"36 -1 98:0 / / rw - ext4 /dev/root rw\n",        /* no number */
		"36 35 98:0 / mnt rw - ext4 /dev/root rw\n",      /* relative */
		"36 35 98:0 / /a\\04 rw - ext4 /dev/root rw\n",   /* half an escape */
		"36 35 98:0 / /a\\999 rw - ext4 /dev/root rw\n",  /* no octal */
		"36 35 98:0 / /a\\000b rw - ext4 /dev/root rw\n", /* would end the string */
		"36 35 98:0 / /a\\777b rw - ext4 /dev/root rw\n", /* no byte */
		"1 1 0:1 / / rw - t s rw\n36 35 98:0 /\n",
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		struct mount_list l = { .n = 7 };
		struct tl_error err = { 0 };

		assert_int_equal(mountinfo_parse(bad[i], &l, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_MACHINE_FACTS);
		assert_int_equal(l.n, 7);
	}
}

static void too_many_mounts_are_refused(void **state)
{
	auto_buf struct tl_buf text = { 0 };
	struct mount_list l = { 0 };

	(void)state;
	tl_buf_init(&text, MOUNTINFO_MAX * 2);
	for (int i = 0; i <= MOUNTINFO_MOUNTS_MAX; i++)
		assert_int_equal(tl_buf_append_str(&text, "1 1 0:1 / / rw - t s rw\n"), 0);
	assert_int_equal(mountinfo_parse(tl_buf_str(&text), &l, NULL), -EINVAL);
	while (text.len_bytes <= MOUNTINFO_MAX)
		assert_int_equal(tl_buf_append_str(&text, "1 1 0:1 / / rw - t s rw\n"), 0);
	assert_int_equal(mountinfo_parse(tl_buf_str(&text), &l, NULL), -EINVAL);
	assert_int_equal(l.n, 0);
}

/* The line order is not the order of mounting: only the parents tell what hides what. */
static const char tree[] = "40 22 0:40 / /var rw - tmpfs hidden rw\n"
			   "22 1 254:0 / / ro - erofs /dev/dm-0 ro\n"
			   "41 40 0:41 / /var rw - tmpfs shown rw\n"
			   "50 40 254:9 / /var/lib/data rw - ext4 under-hidden rw\n"
			   "51 41 254:2 / /var/lib/data rw,nosuid - ext4 /dev/dm-2 rw\n"
			   "52 51 254:3 / /var/lib/data rw - ext4 over rw\n"
			   "60 22 0:60 / /variable rw - tmpfs other rw\n";

static void a_path_lies_on_what_opening_it_reaches(void **state)
{
	static const struct {
		const char *path;
		uint64_t id;
	} cases[] = {
		{ "/", 22 },
		{ "/usr", 22 },
		{ "/var", 41 },
		{ "/var/x", 41 },
		{ "/var/lib/data", 52 },
		{ "/var/lib/data/x/y", 52 },
		{ "/var/lib/database", 41 },
		{ "/variable", 60 },
		{ "/variables", 22 },
	};
	auto_mount_list struct mount_list l = { 0 };

	(void)state;
	assert_int_equal(mountinfo_parse(tree, &l, NULL), 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++)
		assert_int_equal(mount_of_path(&l, cases[i].path)->id, cases[i].id);
}

static void mounts_that_form_no_tree_hold_nothing(void **state)
{
	static const char *const texts[] = {
		"",
		"2 1 0:1 / /var rw - t s rw\n",
		("1 9 0:1 / / rw - t s rw\n2 1 0:1 / / rw - t s rw\n3 2 0:1 / / rw - t s rw\n"
		 "2 3 0:1 / / rw - t s rw\n"),
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(texts); i++) {
		auto_mount_list struct mount_list l = { 0 };

		assert_int_equal(mountinfo_parse(texts[i], &l, NULL), 0);
		assert_null(mount_of_path(&l, "/var"));
	}
}

static void options_are_whole_words(void **state)
{
	(void)state;
	assert_true(mount_has_option("rw,nosuid,nodev", "rw"));
	assert_true(mount_has_option("rw,nosuid,nodev", "nosuid"));
	assert_true(mount_has_option("rw,nosuid,nodev", "nodev"));
	assert_false(mount_has_option("rw,nosuid,nodev", "dev"));
	assert_false(mount_has_option("rw,nosuid,nodev", "nod"));
	assert_false(mount_has_option("", "rw"));
}

static void this_machine_can_be_read(void **state)
{
	auto_mount_list struct mount_list l = { 0 };
	auto_buf struct tl_buf text = { 0 };

	(void)state;
	tl_buf_init(&text, MOUNTINFO_MAX);
	assert_int_equal(tl_file_read("/proc/self/mountinfo", &text, NULL), 0);
	assert_int_equal(mountinfo_parse(tl_buf_str(&text), &l, NULL), 0);
	assert_string_equal(mount_of_path(&l, "/proc/self")->fs_type, "proc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_is_read_whole),
		cmocka_unit_test(an_empty_source_is_a_field_too),
		cmocka_unit_test(a_line_that_is_not_understood_refuses_all),
		cmocka_unit_test(too_many_mounts_are_refused),
		cmocka_unit_test(a_path_lies_on_what_opening_it_reaches),
		cmocka_unit_test(mounts_that_form_no_tree_hold_nothing),
		cmocka_unit_test(options_are_whole_words),
		cmocka_unit_test(this_machine_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
