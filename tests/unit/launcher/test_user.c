/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "launcher/workload/user.h"

static const char passwd[] = "# a comment\n"
			     "root:x:0:0:root:/root:/bin/sh\n"
			     "\n"
			     "  app:x:1000:1001:App:/:\n"
			     "second:x:1000:7:::\n"
			     "minus:x:-1:0:::\n"
			     "word:x:zero:0:::\n"
			     "huge:x:2147483648:0:::\n"
			     "short:x:5\n"
			     "77:x:4000:4001:::\n"
			     "max:x:2147483647:2147483647:::";
static const char group[] = "root:x:0:\n"
			    "app:x:1001:app\n"
			    "wheel:x:10:root,app\n"
			    "video:x:44:other,app\n"
			    "twice:x:44:app\n"
			    "broken:x:ten:app\n"
			    "nolist:x:9\n"
			    "apple:x:55:apple,appl\n"
			    "staff:x:50:root";

struct row {
	const char *user;
	uint32_t uid, gid;
	uint32_t groups[4];
	size_t n;
};

static void each_form_of_user_is_resolved(void **state)
{
	static const struct row rows[] = {
		{ "", 0, 0, { 0, 10, 50 }, 3 },
		{ "root", 0, 0, { 0, 10, 50 }, 3 },
		{ "app", 1000, 1001, { 1001, 10, 44 }, 3 },
		{ "1000", 1000, 1001, { 1001, 10, 44 }, 3 }, /* the first line of the uid */
		{ "1000:50", 1000, 50, { 50, 10, 44 }, 3 },
		{ "second", 1000, 7, { 7, 10, 44 }, 3 },
		{ "app:staff", 1000, 50, { 50, 10, 44 }, 3 },
		{ "app:0", 1000, 0, { 0, 10, 44 }, 3 },
		{ "5555", 5555, 0, { 0 }, 1 },
		{ "5555:6666", 5555, 6666, { 6666 }, 1 },
		{ "5555:video", 5555, 44, { 44 }, 1 },
		{ "77", 77, 0, { 0 }, 1 }, /* a number is a number, even if a name looks like it */
		{ "max", INT32_MAX, INT32_MAX, { INT32_MAX }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct oci_user u = { 0 };
		struct tl_error err = { 0 };

		if (user_resolve(rows[i].user, passwd, group, &u, &err) < 0)
			fail_msg("%s: %s", rows[i].user, err.msg);
		assert_int_equal(u.uid, rows[i].uid);
		assert_int_equal(u.gid, rows[i].gid);
		assert_int_equal(u.groups_n, rows[i].n);
		assert_memory_equal(u.groups, rows[i].groups, rows[i].n * sizeof(uint32_t));
	}
}

static void an_image_without_the_files_knows_numbers_only(void **state)
{
	struct oci_user u = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(user_resolve(NULL, NULL, NULL, &u, &err), 0);
	assert_int_equal(u.uid + u.gid, 0);
	assert_int_equal(u.groups_n, 1);
	assert_int_equal(user_resolve("12:34", NULL, NULL, &u, &err), 0);
	assert_int_equal(u.uid, 12);
	assert_int_equal(u.gid, 34);
	assert_int_equal(user_resolve("app", NULL, NULL, &u, &err), -ENOENT);
}

static void what_cannot_be_resolved_is_named_and_ret_stays(void **state)
{
	static const char *const bad[] = {
		"nobody",     "minus", "word",       "huge", "short", "a:b:c", ":0",  "app:none",
		"app:broken", "-1",    "2147483648", " app", "app:",  "app ",  "0x10"
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		struct oci_user u = { .uid = 99 };
		struct tl_error err = { 0 };

		if (user_resolve(bad[i], passwd, group, &u, &err) == 0)
			fail_msg("'%s' is uid %u", bad[i], u.uid);
		assert_int_equal(err.code, TL_E_CONTAINER_USER);
		assert_int_equal(err.class, TL_DENIED);
		assert_int_equal(u.uid, 99);
		assert_int_equal(u.groups_n, 0);
	}
}

static void more_groups_than_the_limit_are_refused(void **state)
{
	auto_buf struct tl_buf many = { 0 };
	auto_free struct oci_user *u = calloc(1, sizeof(*u));
	struct tl_error err = { 0 };

	(void)state;
	tl_buf_init(&many, 1024 * 1024);
	for (int i = 0; i < OCI_GROUPS_MAX - 1; i++)
		assert_int_equal(tl_buf_printf(&many, "g%d:x:%d:root\n", i, 100 + i), 0);
	assert_int_equal(user_resolve("", passwd, tl_buf_str(&many), u, &err), 0);
	assert_int_equal(u->groups_n, OCI_GROUPS_MAX);
	assert_int_equal(tl_buf_printf(&many, "last:x:99:root\n"), 0);
	assert_int_equal(user_resolve("", passwd, tl_buf_str(&many), u, &err), -E2BIG);
	assert_int_equal(err.code, TL_E_CONTAINER_USER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_form_of_user_is_resolved),
		cmocka_unit_test(an_image_without_the_files_knows_numbers_only),
		cmocka_unit_test(what_cannot_be_resolved_is_named_and_ret_stays),
		cmocka_unit_test(more_groups_than_the_limit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
