/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <syslog.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/str.h>

#include "launcher/cloud_entry.h"

static json_t *payload(const char *event, const char *text)
{
	auto_free char *json = cloud_payload_of_line(event, text);
	json_t *object;

	assert_non_null(json);
	object = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	return object;
}

static void assert_text(const json_t *object, const char *key, const char *expected)
{
	assert_string_equal(json_string_value(json_object_get(object, key)), expected);
}

static void pairs_of_a_line_become_members(void **state)
{
	json_auto_t *o = payload("image.resolved",
				 "ref='a b' digest=sha256:00 layers=3 big=1234567890123456 "
				 "zero=0 padded=007 negative=-1 empty='' bare=");

	(void)state;
	assert_text(
		o, "MESSAGE",
		"image.resolved ref='a b' digest=sha256:00 layers=3 big=1234567890123456 zero=0 "
		"padded=007 negative=-1 empty='' bare=");
	assert_text(o, "event", "image.resolved");
	assert_text(o, "ref", "a b");
	assert_text(o, "digest", "sha256:00");
	assert_int_equal(json_integer_value(json_object_get(o, "layers")), 3);
	assert_int_equal(json_integer_value(json_object_get(o, "zero")), 0);
	assert_text(o, "big", "1234567890123456"); /* beyond 2^53 a reader may round it */
	assert_text(o, "padded", "007");
	assert_text(o, "negative", "-1");
	assert_text(o, "empty", "");
	assert_text(o, "bare", "");
}

static void a_quoted_value_cannot_begin_another_member(void **state)
{
	json_auto_t *o = payload("finding", "msg='it\\'s code=TL0000 x=\\\\' code=TL0308");

	(void)state;
	assert_text(o, "msg", "it's code=TL0000 x=\\");
	assert_text(o, "code", "TL0308");
	assert_int_equal(json_object_size(o), 4);
}

static void a_line_that_was_cut_or_is_none_loses_no_message(void **state)
{
	static const char *const lines[] = { "msg='no end", "just words", "  ",
					     "=",           "a b=1 =",    "A=1 \\x00=2" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(lines); i++) {
		json_auto_t *o = payload("e", lines[i]);

		assert_int_equal(strncmp(json_string_value(json_object_get(o, "MESSAGE")), "e ", 2),
				 0);
	}
}

static void a_request_is_one_document_with_escaped_metadata(void **state)
{
	const struct cloud_place place = {
		.project = "p\"},{\"x", .instance_id = "7", .instance_name = "vm", .zone = "z"
	};
	const struct cloud_stamp stamp = {
		.time_ms = 1700000000123, .severity = "INFO", .run = 0xab, .number = 5
	};
	auto_buf struct tl_buf b = { 0 };
	json_auto_t *o = NULL;
	const json_t *entry;

	(void)state;
	tl_buf_init(&b, CLOUD_BATCH_BYTES_MAX);
	assert_int_equal(cloud_request_begin(&place, &b), 0);
	assert_int_equal(cloud_entry_append(&place, &stamp, "{\"a\":1}", 7, true, &b), 0);
	assert_int_equal(cloud_entry_append(&place, &stamp, "{}", 2, false, &b), 0);
	assert_int_equal(cloud_entry_append(&place, &stamp, "[]", 2, false, &b), -EINVAL);
	assert_int_equal(cloud_entry_append(&place, &stamp, "", 0, false, &b), -EINVAL);
	assert_int_equal(cloud_request_end(&b), 0);
	o = json_loads(tl_buf_str(&b), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(o);
	assert_text(o, "logName", "projects/p\"},{\"x/logs/confidential-space-launcher");
	assert_int_equal(json_array_size(json_object_get(o, "entries")), 2);
	entry = json_array_get(json_object_get(o, "entries"), 0);
	assert_text(entry, "timestamp", "2023-11-14T22:13:20.123Z");
	assert_text(entry, "insertId", "00000000000000ab-5");
	assert_text(json_object_get(entry, "jsonPayload"), "_HOSTNAME", "vm");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(entry, "jsonPayload"), "a")), 1);
}

static void an_entry_that_does_not_fit_changes_nothing(void **state)
{
	const struct cloud_place place = { "p", "1", "vm", "z" };
	const struct cloud_stamp stamp = { .severity = "ERROR" };
	auto_buf struct tl_buf b = { 0 };
	size_t before;

	(void)state;
	tl_buf_init(&b, 400);
	assert_int_equal(cloud_request_begin(&place, &b), 0);
	assert_int_equal(cloud_entry_append(&place, &stamp, "{\"a\":1}", 7, true, &b), 0);
	before = b.len_bytes;
	assert_int_equal(cloud_entry_append(&place, &stamp, "{\"a\":1}", 7, false, &b), -ENOBUFS);
	assert_int_equal(b.len_bytes, before);
	assert_int_equal(strlen(tl_buf_str(&b)), before);
}

/* Whatever the entries' lengths, what was appended can be ended: else the same batch would be built
 * for ever. */
static void a_full_request_always_has_room_for_its_end(void **state)
{
	const struct cloud_place place = { "p", "1", "vm", "z" };
	const struct cloud_stamp stamp = { .severity = "ERROR" };

	(void)state;
	for (size_t max = 300; max < 700; max++) {
		auto_buf struct tl_buf b = { 0 };
		bool is_first = true;

		tl_buf_init(&b, max);
		assert_int_equal(cloud_request_begin(&place, &b), 0);
		while (cloud_entry_append(&place, &stamp, "{\"a\":1}", 7, is_first, &b) == 0)
			is_first = false;
		assert_int_equal(cloud_request_end(&b), 0);
	}
}

static void levels_are_severities(void **state)
{
	(void)state;
	assert_string_equal(cloud_severity(LOG_ERR), "ERROR");
	assert_string_equal(cloud_severity(LOG_EMERG), "ERROR");
	assert_string_equal(cloud_severity(LOG_WARNING), "WARNING");
	assert_string_equal(cloud_severity(LOG_NOTICE), "INFO");
	assert_string_equal(cloud_severity(LOG_INFO), "INFO");
	assert_string_equal(cloud_severity(LOG_DEBUG), "DEBUG");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_of_a_line_become_members),
		cmocka_unit_test(a_quoted_value_cannot_begin_another_member),
		cmocka_unit_test(a_line_that_was_cut_or_is_none_loses_no_message),
		cmocka_unit_test(a_request_is_one_document_with_escaped_metadata),
		cmocka_unit_test(an_entry_that_does_not_fit_changes_nothing),
		cmocka_unit_test(a_full_request_always_has_room_for_its_end),
		cmocka_unit_test(levels_are_severities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
