/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <teelaunch/cleanup.h>

#include "launcher/machine.h"

static void a_kernel_command_line_is_production_only_by_one_exact_word(void **state)
{
	static const struct {
		const char *text;
		int r;
		bool is_hardened;
	} cases[] = {
		{ "quiet confidential-space.hardened=true\n", 0, true },
		{ "confidential-space.hardened=true", 0, true },
		{ "a\tconfidential-space.hardened=false b", 0, false },
		{ "quiet", 0, false },
		{ "", 0, false },
		{ "x.confidential-space.hardened=true", 0, false },
		{ "dm=\"a confidential-space.hardened=true b\"", 0, false },
		{ "dm=\"a b\" confidential-space.hardened=true", 0, true },
		{ "confidential-space.hardened=true confidential-space.hardened=false", -EINVAL,
		  true },
		{ "confidential-space.hardened=true confidential-space.hardened=true", -EINVAL,
		  true },
		{ "confidential-space.hardened=TRUE", -EINVAL, true },
		{ "confidential-space.hardened=", -EINVAL, true },
		{ "confidential-space.hardened=truex", -EINVAL, true },
		{ "confidential-space.hardened", -EINVAL, true },
		{ "confidential_space.hardened=true", -EINVAL, true },
		{ "Confidential-Space.hardened=false", -EINVAL, true },
		{ "\"confidential-space.hardened=true\"", -EINVAL, true },
		{ "\"confidential-space.hardened\"=true", -EINVAL, true },
		{ "confidential-space.hardened=\"true\"", -EINVAL, true },
		{ "confidential-space.hardened=true \"confidential-space.hardened=false\"", -EINVAL,
		  true },
		{ "confidential-space.hardened.x=true", 0, false },
		{ "confidential-space.hardenedx", 0, false },
		{ "\"", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct tl_error err = { 0 };
		bool got = true; /* the poison: a failure must leave it */

		assert_int_equal(
			machine_parse_cmdline(cases[i].text, strlen(cases[i].text), &got, &err),
			cases[i].r);
		assert_int_equal(got, cases[i].is_hardened);
		if (cases[i].r) {
			assert_int_equal(err.code, TL_E_CMDLINE_CONTRADICTS);
			assert_int_equal(err.class, TL_FATAL);
		}
	}
}

/* Everything around the length at which the kernel cuts, with the flag at the end. */
static void a_command_line_that_the_kernel_may_have_cut_is_refused(void **state)
{
	static const char flag[] = " confidential-space.hardened=true";
	char text[MACHINE_CMDLINE_FULL + 8];
	bool got = false;

	(void)state;
	for (size_t n = 2000; n < sizeof(text) - 1; n++) {
		struct tl_error err = { 0 };
		int r;

		memset(text, 'x', n);
		memcpy(text + n - strlen(flag), flag, strlen(flag));
		memcpy(text + n, "\n", 2);
		r = machine_parse_cmdline(text, n + 1, &got, &err);
		assert_int_equal(r, n < 2047 ? 0 : -EOVERFLOW);
		assert_int_equal(err.code, n < 2047 ? 0 : TL_E_CMDLINE_LENGTH);
		text[n] = '\0';
		assert_int_equal(machine_parse_cmdline(text, n, &got, NULL), r);
		assert_true(got);
	}
}

static void a_nul_in_the_command_line_hides_nothing(void **state)
{
	static const char text[] =
		"confidential-space.hardened=true\0confidential-space.hardened=false";
	struct tl_error err = { 0 };
	bool got = false;

	(void)state;
	assert_int_equal(machine_parse_cmdline(text, sizeof(text) - 1, &got, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_CMDLINE_CONTRADICTS);
	assert_false(got);
}

static void memory_that_is_available_is_read_strictly(void **state)
{
	static const char *const bad[] = {
		"",
		"MemFree: 12 kB\n",
		"MemAvailable: 12 MB\n",
		"MemAvailable: -1 kB\n",
		"MemAvailable: 12 kB",
		"MemAvailable: 99999999999999999999999 kB\n",
		"XMemAvailable: 1 kB\n",
	};
	struct tl_error err = { 0 };
	uint64_t kb = 7;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_int_equal(machine_parse_meminfo(bad[i], &kb, &err), -EINVAL);
		assert_int_equal(kb, 7);
		assert_int_equal(err.code, TL_E_MACHINE_FACTS);
	}
	assert_int_equal(
		machine_parse_meminfo("MemTotal: 9 kB\nMemAvailable:   123 kB\n", &kb, &err), 0);
	assert_int_equal(kb, 123);
}

static void capabilities_are_named_by_their_bits(void **state)
{
	auto_strv struct tl_strv caps = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(machine_capability_names(UINT64_C(0x8000010000200001), &caps, &err), 0);
	assert_int_equal(caps.n, 3);
	assert_string_equal(caps.items[0], "CAP_CHOWN");
	assert_string_equal(caps.items[1], "CAP_SYS_ADMIN");
	assert_string_equal(caps.items[2], "CAP_CHECKPOINT_RESTORE");
}

static void this_machine_can_be_read(void **state)
{
	struct machine_facts f = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(machine_read("/proc/cmdline", 1, &f, &err), 0);
	assert_true(f.mem_available_kb > 0);
	assert_int_equal(f.capabilities.n, 1);
	machine_facts_done(&f);
	assert_int_equal(machine_read("/nonexistent", 1, &f, &err), -ENOENT);
	assert_int_equal(err.code, TL_E_MACHINE_FACTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_command_line_is_production_only_by_one_exact_word),
		cmocka_unit_test(a_command_line_that_the_kernel_may_have_cut_is_refused),
		cmocka_unit_test(a_nul_in_the_command_line_hides_nothing),
		cmocka_unit_test(memory_that_is_available_is_read_strictly),
		cmocka_unit_test(capabilities_are_named_by_their_bits),
		cmocka_unit_test(this_machine_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
