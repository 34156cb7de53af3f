/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "launcher/workload/probe.h"

#define S UINT64_C(1000000000)

/* @words ends with NULL. */
static int plan_of(const char *const *words, struct tl_healthcheck h, struct probe_plan *plan,
		   struct tl_strv *args)
{
	int kind;

	for (; *words; words++)
		assert_int_equal(tl_strv_add(&h.test, *words), 0);
	kind = probe_plan_make(&h, plan, args);
	tl_strv_done(&h.test);
	return kind;
}

static void the_form_tells_what_is_run(void **state)
{
	static const struct {
		const char *test[5];
		int kind;
		const char *args; /* joined by '|' */
	} rows[] = {
		{ { NULL }, PROBE_KIND_NONE, "" },
		{ { "NONE" }, PROBE_KIND_NONE, "" },
		{ { "CMD", "/check" }, PROBE_KIND_COMMAND, "/check|" },
		{ { "CMD", "/check", "a b", "" }, PROBE_KIND_COMMAND, "/check|a b||" },
		{ { "CMD-SHELL", "a && b" }, PROBE_KIND_COMMAND, "/bin/sh|-c|a && b|" },
		{ { "NONE", "x" }, PROBE_KIND_UNKNOWN, "" },
		{ { "CMD" }, PROBE_KIND_UNKNOWN, "" },
		{ { "CMD-SHELL" }, PROBE_KIND_UNKNOWN, "" },
		{ { "CMD-SHELL", "a", "b" }, PROBE_KIND_UNKNOWN, "" },
		{ { "cmd", "/check" }, PROBE_KIND_UNKNOWN, "" },
		{ { "/check" }, PROBE_KIND_UNKNOWN, "" },
		{ { "" }, PROBE_KIND_UNKNOWN, "" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_strv struct tl_strv args = { 0 };
		struct probe_plan plan;
		auto_buf struct tl_buf joined = { 0 };

		tl_buf_init(&joined, 64);
		assert_int_equal(plan_of(rows[i].test, (struct tl_healthcheck){ 0 }, &plan, &args),
				 rows[i].kind);
		for (size_t j = 0; j < args.n; j++)
			assert_int_equal(tl_buf_printf(&joined, "%s|", args.items[j]), 0);
		assert_string_equal(tl_buf_str(&joined), rows[i].args);
	}
}

static void numbers_are_dockers_and_bounded(void **state)
{
	static const char *const test[] = { "CMD", "x", NULL };
	static const struct {
		struct tl_healthcheck h;
		struct probe_plan plan;
	} rows[] = {
		{ { .retries = 0 }, { 30000, 30000, 0, 5000, 3 } },
		{ { .interval_ns = 7 * S,
		    .timeout_ns = 2 * S,
		    .start_period_ns = 60 * S,
		    .start_interval_ns = 3 * S,
		    .retries = 5 },
		  { 7000, 2000, 60000, 3000, 5 } },
		{ { .interval_ns = 1,
		    .timeout_ns = 1,
		    .start_period_ns = 1,
		    .start_interval_ns = 1,
		    .retries = 1 },
		  { 1000, 1000, 0, 1000, 1 } },
		{ { .interval_ns = UINT64_MAX,
		    .timeout_ns = UINT64_MAX,
		    .start_period_ns = UINT64_MAX,
		    .start_interval_ns = UINT64_MAX,
		    .retries = UINT64_MAX },
		  { 86400000, 86400000, 86400000, 86400000, 1000 } },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_strv struct tl_strv args = { 0 };
		struct probe_plan plan;

		assert_int_equal(plan_of(test, rows[i].h, &plan, &args), PROBE_KIND_COMMAND);
		assert_memory_equal(&plan, &rows[i].plan, sizeof(plan));
	}
}

/* Every state with every outcome, in the start period and after it. Retries: 2. */
static void what_follows_from_a_probe(void **state)
{
	static const struct {
		struct probe_state before;
		uint64_t since_start_ms;
		bool is_well;
		struct probe_state after;
	} rows[] = {
		{ { PROBE_STARTING, 0 }, 9999, true, { PROBE_HEALTHY, 0 } },
		{ { PROBE_STARTING, 0 }, 9999, false, { PROBE_STARTING, 0 } },
		{ { PROBE_STARTING, 0 }, 10000, false, { PROBE_STARTING, 1 } },
		{ { PROBE_STARTING, 1 }, 10000, false, { PROBE_UNHEALTHY, 2 } },
		{ { PROBE_STARTING, 1 }, 10000, true, { PROBE_HEALTHY, 0 } },
		/* Once well, a failure counts, in the start period too. */
		{ { PROBE_HEALTHY, 0 }, 9999, false, { PROBE_HEALTHY, 1 } },
		{ { PROBE_HEALTHY, 1 }, 9999, false, { PROBE_UNHEALTHY, 2 } },
		{ { PROBE_HEALTHY, 1 }, 10000, true, { PROBE_HEALTHY, 0 } },
		{ { PROBE_UNHEALTHY, 7 }, 10000, false, { PROBE_UNHEALTHY, 8 } },
		{ { PROBE_UNHEALTHY, 7 }, 10000, true, { PROBE_HEALTHY, 0 } },
	};
	const struct probe_plan plan = { .start_period_ms = 10000, .retries = 2 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct probe_state got =
			probe_next(&plan, rows[i].before, rows[i].since_start_ms, rows[i].is_well);

		assert_int_equal(got.status, rows[i].after.status);
		assert_int_equal(got.streak, rows[i].after.streak);
	}
}

static void probes_are_closer_while_it_starts(void **state)
{
	static const struct {
		enum probe_status status;
		uint64_t since_start_ms, wait_ms;
	} rows[] = {
		{ PROBE_STARTING, 0, 2000 },      { PROBE_STARTING, 9999, 2000 },
		{ PROBE_STARTING, 10000, 30000 }, { PROBE_HEALTHY, 0, 30000 },
		{ PROBE_UNHEALTHY, 0, 30000 },
	};
	const struct probe_plan plan = { .interval_ms = 30000,
					 .start_interval_ms = 2000,
					 .start_period_ms = 10000 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		const struct probe_state s = { .status = rows[i].status };

		assert_int_equal(probe_wait_ms(&plan, &s, rows[i].since_start_ms), rows[i].wait_ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_form_tells_what_is_run),
		cmocka_unit_test(numbers_are_dockers_and_bounded),
		cmocka_unit_test(what_follows_from_a_probe),
		cmocka_unit_test(probes_are_closer_while_it_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
