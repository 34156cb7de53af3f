/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>
#include <teelaunch/cleanup.h>

#include "launcher/report.h"

static const struct report_finding one = { "TL0401", "tee-cmd", "the image allows no other command",
					   "remove tee-cmd" };

static void a_report_is_one_line_of_json_with_every_field(void **state)
{
	const struct report r = {
		.result = "denied",
		.code = "TL0401",
		.message = "2 findings",
		.exit_code = 1,
		.action = "stop",
		.decided_by = "launcher",
		.stages = { { "machine", 0, 1, "ok" }, { "policy", 1, 2, "failed" } },
		.stages_n = 2,
		.findings = &one,
		.findings_n = 1,
		.image = { .reference = "r/x:1",
			   .digest = "sha256:1",
			   .size_bytes = 5,
			   .layers = 2 },
		.disk = { .mode = "protected",
			  .cipher = "capi:gcm(aes)-random",
			  .integrity = "aead",
			  .tags = "memory",
			  .setup_ms = 5,
			  .size_bytes = 7 },
		.token = { .state = "valid", .requests = 9, .refused = 4, .upstream = 2 },
		.version = "0",
		.commit = "c",
	};
	auto_free char *text = NULL;
	const json_t *token;
	json_t *o;

	(void)state;
	assert_int_equal(report_format(&r, REPORT_FULL_MAX, &text), 0);
	assert_null(strchr(text, '\n'));
	o = json_loads(text, 0, NULL);
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "schema")), "teelaunch.report/1");
	assert_int_equal(json_array_size(json_object_get(o, "stages")), 2);
	assert_int_equal(json_array_size(json_object_get(o, "findings")), 1);
	assert_int_equal(json_integer_value(json_object_get(o, "exit_code")), 1);
	assert_string_equal(json_string_value(json_object_get(json_object_get(o, "disk"), "tags")),
			    "memory");
	token = json_object_get(o, "token");
	assert_int_equal(json_integer_value(json_object_get(token, "requests")), 9);
	assert_int_equal(json_integer_value(json_object_get(token, "refused")), 4);
	assert_int_equal(json_integer_value(json_object_get(token, "upstream")), 2);
	assert_null(json_object_get(o, "workload")); /* it never ran */
	assert_null(json_object_get(o, "measured"));
	assert_null(json_object_get(o, "truncated"));
	json_decref(o);
}

static void a_report_fits_the_console_however_long_its_input_is(void **state)
{
	static struct report_finding many[500];
	static char reference[100000];
	struct report r = {
		.result = "denied",
		.code = "TL0401",
		.message = "m",
		.action = "stop",
		.decided_by = "launcher",
		.findings = many,
		.findings_n = TL_ARRAY_SIZE(many),
		.stages_n = REPORT_STAGES_MAX,
		.image = { .reference = reference, .digest = "sha256:1" },
	};
	auto_free char *text = NULL;
	char message[TL_ERROR_MSG_MAX];
	json_t *o;

	(void)state;
	memset(reference, '\n', sizeof(reference) - 1);
	memset(message, 'x', sizeof(message) - 1);
	message[sizeof(message) - 1] = '\0';
	r.message = message;
	for (size_t i = 0; i < TL_ARRAY_SIZE(many); i++)
		many[i] = (struct report_finding){ "TL0401", message, message, message };
	for (size_t i = 0; i < REPORT_STAGES_MAX; i++)
		r.stages[i] = (struct report_stage){ "a-name-that-is-rather-long", UINT32_MAX,
						     UINT32_MAX, "skipped" };
	assert_int_equal(report_format(&r, REPORT_CONSOLE_MAX - 32, &text), 0);
	assert_true(strlen(text) <= REPORT_CONSOLE_MAX - 32);
	o = json_loads(text, 0, NULL);
	assert_true(json_is_true(json_object_get(o, "truncated")));
	assert_string_equal(json_string_value(json_object_get(o, "code")), "TL0401");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_one_line_of_json_with_every_field),
		cmocka_unit_test(a_report_fits_the_console_however_long_its_input_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
