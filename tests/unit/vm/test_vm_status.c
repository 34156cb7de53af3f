/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "src/vm/metadata_server.h"
#include "src/vm/run.h"

static void the_status_follows_the_report_and_what_the_vm_did(void **state)
{
	static const struct {
		const char *result, *action; /* NULL: no report */
		enum vm_end end;
		enum vm_status want;
	} rows[] = {
		{ "success", "stop", VM_END_POWEROFF, VM_STATUS_SUCCESS },
		{ "success", "restart", VM_END_RESET, VM_STATUS_SUCCESS },
		{ "success", "hold", VM_END_TIMEOUT, VM_STATUS_SUCCESS },
		{ "success", "hold", VM_END_INTERRUPTED, VM_STATUS_SUCCESS },
		{ "success", "hold", VM_END_QUIT, VM_STATUS_SUCCESS },
		{ "denied", "stop", VM_END_POWEROFF, VM_STATUS_DENIED },
		{ "workload", "stop", VM_END_POWEROFF, VM_STATUS_FAILED },
		{ "retry", "restart", VM_END_RESET, VM_STATUS_FAILED },
		{ "fatal", "stop", VM_END_POWEROFF, VM_STATUS_FAILED },
		{ "success", "stop", VM_END_RESET, VM_STATUS_DISOBEYED },
		{ "success", "stop", VM_END_TIMEOUT, VM_STATUS_DISOBEYED },
		{ "denied", "stop", VM_END_QUIT, VM_STATUS_DISOBEYED },
		{ "success", "hold", VM_END_RESET, VM_STATUS_DISOBEYED },
		{ "success", "stop", VM_END_FAILED, VM_STATUS_DISOBEYED },
		{ NULL, NULL, VM_END_POWEROFF, VM_STATUS_NO_REPORT },
		{ NULL, NULL, VM_END_PANIC, VM_STATUS_NO_REPORT },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct boot_result boots[2] = { { .end = VM_END_RESET }, { .end = rows[i].end } };
		const struct vm_run run = { .boots = boots, .boots_n = 2 };

		if (rows[i].result)
			boots[1].report = json_pack("{s:s, s:s}", "result", rows[i].result,
						    "action", rows[i].action);
		assert_int_equal(vm_run_status(&run), rows[i].want);
		boot_result_done(&boots[1]);
	}
}

static void a_fact_of_the_metadata_is_the_callers_else_the_default(void **state)
{
	struct vm_options o = { 0 };

	(void)state;
	assert_string_equal(metadata_value(&o, "instance/name"), "demo-vm");
	assert_null(metadata_value(&o, "instance/nothing"));
	assert_non_null(metadata_value(&o, "instance/service-accounts/default/email"));
	assert_int_equal(tl_kvs_set(&o.metadata, "instance/name", "web-1"), 0);
	assert_string_equal(metadata_value(&o, "instance/name"), "web-1");
	vm_options_done(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_status_follows_the_report_and_what_the_vm_did),
		cmocka_unit_test(a_fact_of_the_metadata_is_the_callers_else_the_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
