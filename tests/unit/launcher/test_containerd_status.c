/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "launcher/containerd/containerd.h"
#include "launcher/containerd/rpc_status.h"

#define METHOD "/containerd.services.tasks.v1.Tasks/Get"

static void every_status_has_its_code_and_class(void **state)
{
	static const struct {
		int status, r;
		enum tl_code code;
		enum tl_class class;
	} rows[] = {
		{ 2, -EIO, TL_E_CONTAINERD_FAILED, TL_RETRY },
		{ 3, -EINVAL, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 4, -ETIMEDOUT, TL_E_CONTAINERD_SLOW, TL_RETRY },
		{ 5, -ENOENT, TL_E_CONTAINERD_NOT_FOUND, TL_RETRY },
		{ 6, -EEXIST, TL_E_CONTAINERD_EXISTS, TL_RETRY },
		{ 7, -EPERM, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 8, -EAGAIN, TL_E_CONTAINERD_BUSY, TL_RETRY },
		{ 9, -EPERM, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 10, -EAGAIN, TL_E_CONTAINERD_BUSY, TL_RETRY },
		{ 11, -EINVAL, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 12, -EINVAL, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 13, -EIO, TL_E_CONTAINERD_FAILED, TL_RETRY },
		{ 14, -ECONNRESET, TL_E_CONTAINERD_GONE, TL_RETRY },
		{ 15, -EBADMSG, TL_E_CONTAINERD_CORRUPT, TL_FATAL },
		{ 16, -EPERM, TL_E_CONTAINERD_REFUSED, TL_FATAL },
		{ 17, -EBADMSG, TL_E_CONTAINERD_CORRUPT, TL_FATAL },
		{ -1, -EBADMSG, TL_E_CONTAINERD_CORRUPT, TL_FATAL },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct tl_error err = { 0 };

		assert_int_equal(rpc_status_fail(rows[i].status, false, METHOD, "why", &err),
				 rows[i].r);
		assert_int_equal(err.code, rows[i].code);
		assert_int_equal(err.class, rows[i].class);
	}
}

static void success_leaves_the_error_alone(void **state)
{
	struct tl_error err = { .code = TL_E_IO };

	(void)state;
	assert_int_equal(rpc_status_fail(0, true, METHOD, "", &err), 0);
	assert_int_equal(err.code, TL_E_IO);
}

static void a_cancellation_nobody_asked_for_means_that_containerd_goes_down(void **state)
{
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(rpc_status_fail(1, true, METHOD, "", &err), -ECANCELED);
	assert_int_equal(err.code, TL_E_INTERRUPTED);
	assert_int_equal(rpc_status_fail(1, false, METHOD, "", &err), -ECONNRESET);
	assert_int_equal(err.code, TL_E_CONTAINERD_GONE);
}

static void the_message_names_the_call_and_escapes_the_reason(void **state)
{
	struct tl_error err = { 0 };

	(void)state;
	rpc_status_fail(5, false, METHOD, "no\x1b[31m task", &err);
	assert_string_equal(err.msg, "containerd Tasks/Get: no\\x1b[31m task");
	rpc_status_fail(5, false, METHOD, NULL, &err);
	assert_string_equal(err.msg, "containerd Tasks/Get: no reason given");
}

static void an_address_that_cannot_be_used_is_named(void **state)
{
	char long_path[200] = "/";
	const char *const bad[] = { "", "run/c.sock", long_path };
	struct tl_ctrd *const poison = (struct tl_ctrd *)&long_path;

	(void)state;
	memset(long_path + 1, 'x', sizeof(long_path) - 2);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		struct tl_ctrd *c = poison;
		struct tl_error err = { 0 };

		assert_int_equal(tl_ctrd_open(bad[i], "default", &c, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_CONTAINERD_ADDRESS);
		assert_int_equal(err.class, TL_DENIED);
		assert_ptr_equal(c, poison);
	}
}

/* It is a path, not a URI. */
static void any_absolute_path_is_one(void **state)
{
	(void)state;
	for (const char *const *path = (const char *const[]){ "/a%41", "/a?b", "/a#b", NULL };
	     *path; path++) {
		auto_ctrd struct tl_ctrd *c = NULL;

		assert_int_equal(tl_ctrd_open(*path, "default", &c, NULL), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status_has_its_code_and_class),
		cmocka_unit_test(success_leaves_the_error_alone),
		cmocka_unit_test(a_cancellation_nobody_asked_for_means_that_containerd_goes_down),
		cmocka_unit_test(the_message_names_the_call_and_escapes_the_reason),
		cmocka_unit_test(an_address_that_cannot_be_used_is_named),
		cmocka_unit_test(any_absolute_path_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
