/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include <signal.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/exit_decision.h>

/* The table of design.md section 5, written once more by hand: Never, OnFailure, Always, debug. */
static const char *const table[TL_OUTCOMES][4] = {
	{ "0 stop", "0 stop", "3 restart", "4 hold" },
	{ "1 stop", "3 restart", "3 restart", "4 hold" },
	{ "1 stop", "3 restart", "3 restart", "4 hold" },
	{ "1 stop", "1 stop", "1 stop", "4 hold" },
	{ "1 stop", "1 stop", "1 stop", "4 hold" },
};

static void cell_assert(struct tl_exit_decision got, const char *want)
{
	char text[32];

	snprintf(text, sizeof(text), "%d %s", got.exit_code, tl_vm_action_name(got.action));
	assert_string_equal(text, want);
}

static void every_cell_of_the_table_holds(void **state)
{
	(void)state;
	for (int outcome = 0; outcome < TL_OUTCOMES; outcome++)
		for (int policy = 0; policy < TL_RESTART_POLICIES; policy++) {
			cell_assert(tl_exit_decide(outcome, policy, false, false),
				    table[outcome][policy]);
			cell_assert(tl_exit_decide(outcome, policy, true, false),
				    table[outcome][3]);
		}
}

static void a_requested_shutdown_never_restarts(void **state)
{
	(void)state;
	for (int outcome = 0; outcome < TL_OUTCOMES; outcome++)
		for (int policy = 0; policy < TL_RESTART_POLICIES; policy++) {
			cell_assert(tl_exit_decide(outcome, policy, false, true),
				    outcome == TL_OUTCOME_SUCCESS ? "0 stop" : "1 stop");
			cell_assert(tl_exit_decide(outcome, policy, true, true), "4 hold");
		}
}

static void an_unknown_policy_counts_as_never(void **state)
{
	(void)state;
	cell_assert(tl_exit_decide(TL_OUTCOME_RETRY, TL_RESTART_POLICIES, false, false), "1 stop");
}

static void every_exit_code_has_one_action_and_a_crash_stops(void **state)
{
	(void)state;
	for (int code = 0; code < 256; code++)
		assert_int_equal(tl_vm_action_of_exit_code(code), code == 3   ? TL_VM_RESTART
								  : code == 4 ? TL_VM_HOLD
									      : TL_VM_STOP);
	assert_int_equal(tl_vm_action_of_exit_code(-1), TL_VM_STOP);
}

/* Every status and every signal, in production and debug; the expectation is written by hand. */
static void every_end_of_the_launcher_has_one_action(void **state)
{
	static const char *const deaths[] = { "signal",    "core-dump",      "watchdog",
					      "timeout",   "oom-kill",       "protocol",
					      "resources", "start-limit-hit" };

	(void)state;
	for (int status = 0; status < 256; status++) {
		struct tl_unit_end end;
		char text[8];

		snprintf(text, sizeof(text), "%d", status);
		end = tl_unit_end_parse(status ? "exit-code" : "success", "exited", text);
		assert_int_equal(end.end, TL_END_EXITED);
		assert_int_equal(end.status, status);
		assert_int_equal(tl_vm_action_of_end(&end, false),
				 status == 3 ? TL_VM_RESTART : TL_VM_STOP);
		assert_int_equal(tl_vm_action_of_end(&end, true), TL_VM_HOLD);
		assert_int_equal(tl_unit_end_is_decision(&end),
				 status == 0 || status == 1 || status == 3 || status == 4);
	}
	for (size_t i = 0; i < TL_ARRAY_SIZE(deaths); i++)
		for (int signal = 0; signal < NSIG; signal++) {
			const char *name = sigabbrev_np(signal);
			struct tl_unit_end end =
				tl_unit_end_parse(deaths[i], i % 2 ? "dumped" : "killed", name);

			assert_int_not_equal(end.end, TL_END_EXITED);
			assert_int_not_equal(end.end, TL_END_UNKNOWN);
			assert_int_equal(end.status, -1);
			assert_int_equal(tl_vm_action_of_end(&end, false), TL_VM_STOP);
			assert_int_equal(tl_vm_action_of_end(&end, true), TL_VM_HOLD);
			assert_false(tl_unit_end_is_decision(&end));
		}
}

static void an_end_in_other_words_stops_production(void **state)
{
	static const struct {
		const char *result, *code, *status;
		enum tl_end end;
	} cases[] = {
		{ "success", "killed", "TERM", TL_END_SIGNAL },
		{ NULL, NULL, NULL, TL_END_UNKNOWN },
		{ "", "", "", TL_END_UNKNOWN },
		{ "exit-code", "exited", NULL, TL_END_UNKNOWN },
		{ "exit-code", NULL, "3", TL_END_UNKNOWN },
		{ "exit-code", "exited", "", TL_END_UNKNOWN },
		{ "exit-code", "exited", "3x", TL_END_UNKNOWN },
		{ "exit-code", "exited", "+3", TL_END_UNKNOWN },
		{ "exit-code", "exited", "256", TL_END_UNKNOWN },
		{ "exit-code", "exited", "-1", TL_END_UNKNOWN },
		{ "exit-code", "dumped", "3", TL_END_UNKNOWN },
		{ "exec-condition", "exited", "3", TL_END_UNKNOWN },
		{ "signal", "exited", "3", TL_END_SIGNAL },
		{ "watchdog", "exited", "3", TL_END_WATCHDOG },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct tl_unit_end end =
			tl_unit_end_parse(cases[i].result, cases[i].code, cases[i].status);

		assert_int_equal(end.end, cases[i].end);
		assert_int_equal(tl_vm_action_of_end(&end, false), TL_VM_STOP);
		assert_int_equal(tl_vm_action_of_end(&end, true), TL_VM_HOLD);
	}
	for (int end = 0; end < TL_ENDS; end++)
		assert_non_null(tl_end_name(end));
	assert_string_equal(tl_end_name(TL_END_OOM), "oom-kill");
}

static void classes_and_names_match(void **state)
{
	(void)state;
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_FATAL)), "fatal");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_DENIED)), "denied");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_RETRY)), "retry");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_WORKLOAD)), "workload");
	assert_string_equal(tl_outcome_name(TL_OUTCOME_SUCCESS), "success");
}

static void quick_failures_restart_ever_more_slowly(void **state)
{
	static const uint64_t most_ms[] = { 0,     0,     0,      2000,   4000,   8000,  16000,
					    32000, 64000, 128000, 256000, 300000, 300000 };

	(void)state;
	for (uint32_t resets = 0; resets < TL_ARRAY_SIZE(most_ms); resets++) {
		assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, resets, UINT64_MAX, 0),
				 most_ms[resets] / 2);
		for (uint64_t random = 0; random < 1000; random++) {
			uint64_t ms = tl_restart_delay_ms(TL_OUTCOME_WORKLOAD, 1000, resets,
							  UINT64_MAX, random * 0x9e3779b97f4a7c15);

			assert_in_range(ms, most_ms[resets] / 2, most_ms[resets]);
		}
	}
	assert_int_equal(
		tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, UINT32_MAX - 1, UINT64_MAX, 150000),
		300000);
	/* Unknown: as many as make half a minute. */
	assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, UINT32_MAX, UINT64_MAX, 0),
			 16000);
	assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_SUCCESS, 0, 100, UINT64_MAX, 7), 0);
	assert_int_equal(
		tl_restart_delay_ms(TL_OUTCOME_WORKLOAD, TL_RESTART_QUICK_MS, 100, UINT64_MAX, 7),
		0);
	assert_true(tl_restart_delay_ms(TL_OUTCOME_WORKLOAD, TL_RESTART_QUICK_MS - 1, 100,
					UINT64_MAX, 7) > 0);
	/* A shorter limit is spread, too: a fleet doesn't come back in step. */
	assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, 100, 60000, 0), 30000);
	assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, 100, 60000, 30000), 60000);
	assert_int_equal(tl_restart_delay_ms(TL_OUTCOME_RETRY, 0, 100, 0, 7), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_of_the_table_holds),
		cmocka_unit_test(a_requested_shutdown_never_restarts),
		cmocka_unit_test(an_unknown_policy_counts_as_never),
		cmocka_unit_test(every_exit_code_has_one_action_and_a_crash_stops),
		cmocka_unit_test(every_end_of_the_launcher_has_one_action),
		cmocka_unit_test(an_end_in_other_words_stops_production),
		cmocka_unit_test(classes_and_names_match),
		cmocka_unit_test(quick_failures_restart_ever_more_slowly),
	};

	return cmocka_run_group_tests_name("exit_decision", tests, NULL, NULL);
}
