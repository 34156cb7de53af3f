/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says in its files and devices: memory, load, disks, groups, swaps, capabilities,
 * tables of device-mapper, input events; and the list of ports of a unit. The first byte chooses.
 */
#include <errno.h>
#include <linux/input.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "fuzz.h"
#include "launcher/disk/check.h"
#include "launcher/disk/dm_table.h"
#include "launcher/firewall.h"
#include "launcher/health/kernel_text.h"
#include "launcher/machine.h"
#include "launcher/power_button.h"

static void fuzz_meminfo(const char *text)
{
	struct kernel_memory m = { .total = 77 };
	uint64_t kb = 77;

	FUZZ_CHECK(machine_parse_meminfo(text, &kb, NULL) == 0 || kb == 77);
	if (kernel_memory_parse(text, &m) < 0)
		FUZZ_CHECK(m.total == 77 && !m.free);
	else
		FUZZ_CHECK(m.used <= m.total);
}

static void fuzz_load(const char *text)
{
	struct kernel_pressure p = { .some_us = 77 };
	uint64_t ticks[KERNEL_CPU_STATES] = { 77 }, n = 77;

	FUZZ_CHECK(kernel_pressure_parse(text, &p) == 0 || p.some_us == 77);
	FUZZ_CHECK(kernel_cpu_parse(text, ticks) == 0 || ticks[0] == 77);
	FUZZ_CHECK(kernel_hundredths_parse(text, &n) == 0 || n == 77);
	n = 77;
	FUZZ_CHECK(kernel_number_parse(text, &n) == 0 || n == 77);
	n = 77;
	FUZZ_CHECK(kernel_keyed_parse(text, "oom", &n) == 0 || n == 77);
}

static void fuzz_diskstats(const char *text)
{
	struct kernel_disk d = { .busy_ms = 77 };

	if (kernel_disk_parse(text, 8, 0, &d) < 0)
		FUZZ_CHECK(d.busy_ms == 77 && !d.name[0]);
	else
		FUZZ_CHECK(d.name[0] && strnlen(d.name, sizeof(d.name)) < sizeof(d.name));
}

static void fuzz_cgroup(const char *text)
{
	static const char *const controllers[] = { "", "memory" };

	for (size_t i = 0; i < TL_ARRAY_SIZE(controllers); i++) {
		char path[64] = "?";

		if (kernel_cgroup_parse(text, controllers[i], path, sizeof(path)) < 0)
			FUZZ_CHECK(strcmp(path, "?") == 0);
		else
			FUZZ_CHECK(path[0] == '/' && strnlen(path, sizeof(path)) < sizeof(path));
	}
}

static void fuzz_swaps(const char *text)
{
	struct tl_error err = { 0 };

	if (disk_swap_parse(text, &err) < 0)
		FUZZ_CHECK(err.code);
	else /* a header and no more */
		FUZZ_CHECK(!strchr(text, '\n') || !*(strchr(text, '\n') + 1));
}

static void fuzz_table(const char *text)
{
	static const char *const types[] = { "crypt", "integrity", "verity", "linear" };

	for (size_t i = 0; i < TL_ARRAY_SIZE(types); i++) {
		struct dm_target t = { 0 };

		if (dm_target_parse(types[i], 0, 8, text, &t) < 0)
			FUZZ_CHECK(!t.args.n && !t.args.items);
		FUZZ_CHECK(t.args.n <= DM_ARGS_MAX);
		/* cipher, key, ...: no key ever leaves; "-" says that there is none. */
		if (i == 0 && t.args.n > 1 && t.args.items[1][0] != ':' &&
		    strcmp(t.args.items[1], "-") != 0)
			FUZZ_CHECK(strcmp(t.args.items[1], DM_SECRET) == 0);
		tl_strv_done(&t.args);
	}
}

static void fuzz_ports(const char *text)
{
	struct tl_strv ports = { 0 };
	const struct tl_strv *const open[] = { &ports };
	auto_buf struct tl_buf rules = { 0 };

	tl_buf_init(&rules, FIREWALL_RULES_BYTES_MAX);
	if (firewall_list_parse(text, &ports) < 0)
		FUZZ_CHECK(!ports.n);
	FUZZ_CHECK(ports.n <= FIREWALL_LIST_MAX);
	FUZZ_CHECK(firewall_rules(open, 1, &rules, NULL) == 0);
	tl_strv_done(&ports);
}

/* Whole records, looked at one by one. */
static void fuzz_input(const uint8_t *data, size_t size)
{
	bool is_pressed = false;

	for (size_t at = 0; at + sizeof(struct input_event) <= size;
	     at += sizeof(struct input_event)) {
		struct input_event e;

		memcpy(&e, data + at, sizeof(e));
		is_pressed |= e.type == EV_KEY && e.value >= 1 &&
			      (e.code == KEY_POWER || e.code == KEY_POWER2);
	}
	FUZZ_CHECK(power_button_is_pressed(data, size) == is_pressed);
}

static void (*const texts[])(const char *text) = {
	fuzz_meminfo, fuzz_ports, fuzz_load, fuzz_diskstats, fuzz_cgroup, fuzz_swaps, fuzz_table,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = NULL;

	if (size < 1)
		return 0;
	if (data[0] == TL_ARRAY_SIZE(texts)) {
		fuzz_input(data + 1, size - 1);
		return 0;
	}
	text = strndup((const char *)data + 1, size - 1);
	FUZZ_CHECK(text);
	texts[data[0] % TL_ARRAY_SIZE(texts)](text);
	return 0;
}
