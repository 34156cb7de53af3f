/* SPDX-License-Identifier: Apache-2.0 */
/* What a press is; that a real one is heard is shown in a VM (tests/vm/test_end.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <fcntl.h>
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

/* Any bytes: no press that isn't a whole record of one, and nothing read behind the end. */
static void any_bytes_are_read_as_whole_records(void **state)
{
	unsigned char bytes[8 * sizeof(struct input_event)];

	(void)state;
	for (int fill = 0; fill < 256; fill++)
		for (size_t n = 0; n <= sizeof(bytes); n++) {
			memset(bytes, fill, sizeof(bytes));
			assert_false(power_button_is_pressed(bytes, n));
		}
}

/* A FIFO that nobody writes would block who opens it; links may lead anywhere. */
static void what_is_no_input_device_is_passed_over(void **state)
{
	auto_cancel struct tl_cancel *cancel = tl_cancel_new();
	struct power_button *button = NULL;
	struct tl_error err = { 0 };
	char dir[] = "/tmp/tl-power-XXXXXX", name[32];
	size_t n = 77;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(mkfifoat(fd, "event0", 0600), 0);
	assert_int_equal(mkdirat(fd, "event1", 0700), 0);
	assert_int_equal(symlinkat("/nonexistent", fd, "event2"), 0);
	assert_int_equal(symlinkat("/dev/zero", fd, "event3"), 0);
	assert_int_equal(symlinkat("event4", fd, "event4"), 0);
	assert_int_equal(symlinkat("/dev/zero", fd, "event"), 0);
	assert_int_equal(power_button_watch(dir, cancel, &button, &n, &err), 0);
	assert_int_equal(n, 0);
	assert_null(power_button_close(button));
	assert_false(tl_cancel_is_requested(cancel));
	for (int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "event%d", i);
		unlinkat(fd, name, i == 1 ? AT_REMOVEDIR : 0);
	}
	unlinkat(fd, "event", 0);
	close(fd);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_press_of_a_power_key_counts),
		cmocka_unit_test(a_machine_without_a_button_can_be_watched),
		cmocka_unit_test(any_bytes_are_read_as_whole_records),
		cmocka_unit_test(what_is_no_input_device_is_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
