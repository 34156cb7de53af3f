/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <errno.h>
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
		.pull = { .has_begun = true,
			  .layers_own = 1,
			  .layers_containerd = 1,
			  .reason = "a\tb" },
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
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(o, "pull"), "layers_own")), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(o, "pull"), "reason")),
		"a\\x09b");
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

/* jansson's allocations; the one that fails, counted down. 0: none does. */
static size_t json_fail_at;

static void *json_malloc_failing(size_t n)
{
	return json_fail_at && --json_fail_at == 0 ? NULL : malloc(n);
}

static const struct report failed = {
	.result = "retry",
	.code = "TL0002",
	.message = "memory could not be allocated",
	.exit_code = 3,
	.action = "restart",
	.decided_by = "launcher",
	.stages = { { "machine", 0, 1, "failed" } },
	.stages_n = 1,
	.version = "0",
	.commit = "c",
};

static void assert_decides(json_t *o, const struct report *r)
{
	assert_non_null(o);
	assert_string_equal(json_string_value(json_object_get(o, "schema")), "teelaunch.report/1");
	assert_string_equal(json_string_value(json_object_get(o, "result")), r->result);
	if (r->code)
		assert_string_equal(json_string_value(json_object_get(o, "code")), r->code);
	else
		assert_null(json_object_get(o, "code"));
	assert_int_equal(json_integer_value(json_object_get(o, "exit_code")), r->exit_code);
	assert_string_equal(json_string_value(json_object_get(o, "action")), r->action);
	assert_string_equal(json_string_value(json_object_get(o, "decided_by")), r->decided_by);
}

/* Either there is none, or it says what decides and why: never one with holes there. */
static void any_allocation_of_a_report_may_fail(void **state)
{
	size_t n_failed = 0;

	(void)state;
	for (size_t i = 1;; i++) {
		auto_free char *text = NULL;
		json_t *o;
		int r;

		json_set_alloc_funcs(json_malloc_failing, free);
		json_fail_at = i;
		r = report_format(&failed, REPORT_FULL_MAX, &text);
		json_set_alloc_funcs(malloc, free);
		if (json_fail_at) {
			assert_int_equal(r, 0);
			break;
		}
		n_failed += r < 0;
		if (r < 0) {
			assert_int_equal(r, -ENOMEM);
			assert_null(text);
			continue;
		}
		o = json_loads(text, 0, NULL);
		assert_decides(o, &failed);
		assert_string_equal(json_string_value(json_object_get(o, "message")),
				    failed.message);
		json_decref(o);
	}
	json_fail_at = 0;
	assert_true(n_failed > 10);
}

static void a_brief_report_says_what_decides(void **state)
{
	const struct report good = {
		.result = "success", .exit_code = 0, .action = "stop", .decided_by = "workload"
	};
	const struct report *const both[] = { &failed, &good };
	char text[REPORT_CONSOLE_MAX];

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(both); i++) {
		json_t *o;

		report_format_brief(both[i], text, sizeof(text));
		o = json_loads(text, 0, NULL);
		assert_decides(o, both[i]);
		assert_true(json_is_true(json_object_get(o, "truncated")));
		json_decref(o);
	}
}

static void line_read(int fd, char *ret, size_t cap)
{
	ssize_t n = read(fd, ret, cap - 1);

	assert_true(n > 0);
	ret[n] = '\0';
}

/* The line on the console, with @fail_at as the allocation of jansson's that fails. */
static void assert_printed(size_t fail_at, bool is_brief)
{
	char line[2 * REPORT_CONSOLE_MAX];
	const size_t prefix = strlen(REPORT_PREFIX);
	int fds[2];
	json_t *o;

	assert_int_equal(pipe(fds), 0);
	json_set_alloc_funcs(json_malloc_failing, free);
	json_fail_at = fail_at;
	report_print(&failed, NULL, fds[1], NULL);
	json_fail_at = 0;
	json_set_alloc_funcs(malloc, free);
	line_read(fds[0], line, sizeof(line));
	assert_memory_equal(line, REPORT_PREFIX, prefix);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
	o = json_loads(line + prefix, 0, NULL);
	assert_decides(o, &failed);
	assert_int_equal(json_is_true(json_object_get(o, "truncated")), is_brief);
	json_decref(o);
	close(fds[0]);
	close(fds[1]);
}

static void without_memory_the_brief_report_is_printed(void **state)
{
	(void)state;
	assert_printed(0, false);
	assert_printed(1, true);
	assert_printed(5, true);
}

/* What wraps a message cuts it where the room ends. */
static void a_message_that_was_cut_inside_a_character_is_told(void **state)
{
	struct report r = failed;
	auto_free char *text = NULL;
	json_t *o;

	(void)state;
	r.message = "cut: \xc3";
	assert_int_equal(report_format(&r, REPORT_FULL_MAX, &text), 0);
	o = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(o, "message")), "cut: \\xc3");
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_one_line_of_json_with_every_field),
		cmocka_unit_test(a_report_fits_the_console_however_long_its_input_is),
		cmocka_unit_test(any_allocation_of_a_report_may_fail),
		cmocka_unit_test(a_brief_report_says_what_decides),
		cmocka_unit_test(without_memory_the_brief_report_is_printed),
		cmocka_unit_test(a_message_that_was_cut_inside_a_character_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
