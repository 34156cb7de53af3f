/* SPDX-License-Identifier: Apache-2.0 */
/* Replies without sockets; what evidence leads to is in tests/integration/verifier.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/api_error.h"

static void every_refusal_stands_in_the_message_and_the_first_one_chooses_the_status(void **state)
{
	auto_api_reply struct api_reply reply = { 0 };
	struct refusals r = { 0 };
	json_t *error;

	(void)state;
	refuse(&r, TL_E_VERIFY_NONCE, "one \"quoted\"\n");
	refuse(&r, TL_E_VERIFY_AK_CHAIN, "two");
	api_refuse(&r, NULL, &reply);
	assert_int_equal(reply.status, 403);
	error = json_loadb(reply.body, reply.body_n, 0, NULL);
	assert_non_null(error);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(error, "error"), "message")),
		"TL1014: one \"quoted\"\\x0a; TL1010: two");
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(error, "error"), "details")), 2);
	json_decref(error);
}

static void as_many_refusals_as_there_can_be_still_make_a_reply(void **state)
{
	auto_api_reply struct api_reply reply = { 0 };
	struct refusals r = { 0 };
	char text[600];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (size_t i = 0; i < REFUSALS_MAX + 3; i++)
		refuse(&r, TL_E_VERIFY_FIRMWARE_REPLAY, "%s", text);
	api_refuse(&r, NULL, &reply);
	assert_int_equal(reply.status, 403);
	assert_non_null(strstr(reply.body, "; and 3 more"));
}

static void lack_of_memory_is_worth_a_retry(void **state)
{
	auto_api_reply struct api_reply reply = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	(void)tl_fail(&err, TL_E_NO_MEMORY, 12, "none");
	api_fail(&err, &reply);
	assert_int_equal(reply.status, 503);
	assert_non_null(strstr(reply.body, "\"UNAVAILABLE\""));
}

static void callers_are_read_strictly(void **state)
{
	static const char *const bad[] = { "", "\n\n", "fifteen-letters\n",
					   "sixteen-letters!\nshort\n" };
	struct api_callers got = { .n = 77 };
	struct tl_error err = { 0 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_true(api_callers_read(bad[i], strlen(bad[i]), &got, &err) < 0);
		assert_int_equal(err.code, TL_E_VERIFY_KEYS);
		assert_null(strstr(err.msg, "letters"));
		assert_int_equal(got.n, 77);
	}
	assert_int_equal(api_callers_read("sixteen-letters!\n\nsixteen-letters?", 34, &got, &err),
			 0);
	assert_int_equal(got.n, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			every_refusal_stands_in_the_message_and_the_first_one_chooses_the_status),
		cmocka_unit_test(as_many_refusals_as_there_can_be_still_make_a_reply),
		cmocka_unit_test(lack_of_memory_is_worth_a_retry),
		cmocka_unit_test(callers_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
