/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

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

static void classes_and_names_match(void **state)
{
	(void)state;
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_FATAL)), "fatal");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_DENIED)), "denied");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_RETRY)), "retry");
	assert_string_equal(tl_outcome_name(tl_outcome_of_class(TL_WORKLOAD)), "workload");
	assert_string_equal(tl_outcome_name(TL_OUTCOME_SUCCESS), "success");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cell_of_the_table_holds),
		cmocka_unit_test(a_requested_shutdown_never_restarts),
		cmocka_unit_test(an_unknown_policy_counts_as_never),
		cmocka_unit_test(every_exit_code_has_one_action_and_a_crash_stops),
		cmocka_unit_test(classes_and_names_match),
	};

	return cmocka_run_group_tests_name("exit_decision", tests, NULL, NULL);
}
