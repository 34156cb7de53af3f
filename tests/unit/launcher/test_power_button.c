/* SPDX-License-Identifier: Apache-2.0 */
/* What a press is; that a real one is heard is shown in a VM (tests/vm/test_end.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <linux/input.h>
#include <teelaunch/cleanup.h>

#include "launcher/power_button.h"

static void only_a_press_of_a_power_key_counts(void **state)
{
	static const struct {
		struct input_event e;
		bool is_pressed;
	} cases[] = {
		{ { .type = EV_KEY, .code = KEY_POWER, .value = 1 }, true },
		{ { .type = EV_KEY, .code = KEY_POWER2, .value = 1 }, true },
		{ { .type = EV_KEY, .code = KEY_POWER, .value = 2 }, true }, /* held down */
		{ { .type = EV_KEY, .code = KEY_POWER, .value = 0 }, false },
		{ { .type = EV_KEY, .code = KEY_POWER, .value = -1 }, false },
		{ { .type = EV_KEY, .code = KEY_SLEEP, .value = 1 }, false },
		{ { .type = EV_SYN, .code = KEY_POWER, .value = 1 }, false },
		{ { .type = EV_SW, .code = KEY_POWER, .value = 1 }, false },
	};
	struct input_event all[TL_ARRAY_SIZE(cases)];

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		all[TL_ARRAY_SIZE(cases) - 1 - i] = cases[i].e;
		assert_int_equal(power_button_is_pressed(&cases[i].e, sizeof(cases[i].e)),
				 cases[i].is_pressed);
	}
	assert_true(power_button_is_pressed(all, sizeof(all)));
	/* The presses stand at the end: without them, and with half of the first, there is none. */
	assert_false(power_button_is_pressed(all, sizeof(all) - 3 * sizeof(*all)));
	assert_false(power_button_is_pressed(all, sizeof(all) - 3 * sizeof(*all) + 12));
	assert_false(power_button_is_pressed(all, 0));
}

static void a_machine_without_a_button_can_be_watched(void **state)
{
	auto_cancel struct tl_cancel *cancel = tl_cancel_new();
	struct power_button *button = NULL;
	struct tl_error err = { 0 };
	size_t n = 77;

	(void)state;
	assert_int_equal(power_button_watch("/nonexistent", cancel, &button, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_null(power_button_close(button));
	/* Files that are no input devices. */
	assert_int_equal(power_button_watch("/proc/self", cancel, &button, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_null(power_button_close(button));
	assert_false(tl_cancel_is_requested(cancel));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_press_of_a_power_key_counts),
		cmocka_unit_test(a_machine_without_a_button_can_be_watched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
