/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>

#include "launcher/health/health.h"

#define MEMINFO                                                                                    \
	"MemTotal:        8000 kB\nMemFree:         1000 kB\nMemAvailable:    5000 kB\n"           \
	"Buffers:          100 kB\nCached:          2000 kB\nSwapCached:         0 kB\n"           \
	"Active:          1111 kB\nInactive:        2222 kB\nActive(anon):      10 kB\n"           \
	"Inactive(anon):    20 kB\nActive(file):      30 kB\nInactive(file):    40 kB\n"           \
	"Dirty:              5 kB\nWriteback:          6 kB\nSlab:             300 kB\n"
#define PRESSURE(some, full)                                                                       \
	"some avg10=0.26 avg60=5.05 avg300=4.52 total=" some "\n"                                  \
	"full avg10=0.00 avg60=0.00 avg300=0.00 total=" full "\n"

/* --- the kernel's texts ---------------------------------------------------------------------- */

static void memory_is_counted_by_what_it_is_used_for(void **state)
{
	struct kernel_memory m = { 0 };

	(void)state;
	assert_int_equal(kernel_memory_parse(MEMINFO, &m), 0);
	assert_int_equal(m.total, 8000 * 1024);
	assert_int_equal(m.free, 1000 * 1024);
	assert_int_equal(m.used, (8000 - 1000 - 100 - 2000 - 300) * 1024);
	assert_int_equal(m.used + m.free + m.buffers + m.cached + m.slab, m.total);
	assert_int_equal(m.dirty, 5 * 1024);
	assert_int_equal(m.anon_active, 10 * 1024);
	assert_int_equal(m.file_inactive, 40 * 1024);
}

/* Each text is one that is refused, and leaves @ret alone. */
static void texts_of_another_form_are_refused(void **state)
{
	static const char *const memory[] = {
		"",
		"MemTotal: 1 kB\n",
		"MemTotal: 99999999999999999999999999 kB\n",
		"MemTotal: 18446744073709551615 kB\n",
		"MemTotal: -1 kB\n",
		"MemTotal: 1 MB\n",
	};
	static const char *const pressures[] = {
		"",
		"some\n",
		"some avg10=0.00\n",
		"some total=\n",
		"some avg10=0.00 total=1x\n",
		"some avg10=0.00 total=-1\n",
		"some total=99999999999999999999999\n",
		"full avg10=0.00 total=1\n",
		"somewhat total=1\n",
		"some avg10=0.00\nfull avg10=0.00 total=3\n",
		"some avg10=0.00 total=1\nfull avg10=0.00\n",
	};
	static const char *const cpus[] = {
		"",
		"cpu",
		"cpu \n",
		"cpu0 1 2 3 4 5 6 7 8 9 10\n",
		"cpu  1 2 3 4 5 6 7 8 9\n",
		"cpu  1 2 3 4 5 6 7 8 9 -1\n",
	};
	static const char *const hundredths[] = { "",    "1",    "1.2",   "1.234",
						  ".12", "1.x2", "-1.00", "184467440737095516.15" };
	static const char *const numbers[] = {
		"",      "\n",  "1",     "1 \n",   "-1\n",
		"0x1\n", "max", "Max\n", "1\n1\n", "18446744073709551616\n"
	};
	static const char *const disks[] = {
		"x\n",
		"8\n",
		"8 0\n",
		"8 0 sda\n",
		"8 0 sda 1 2 3 4 5 6 7 8 9 10\n",
		"8 0 a-name-that-no-device-could-ever-have 1 2 3 4 5 6 7 8 9 10 11\n",
		"99999999999 0 sda 1 2 3 4 5 6 7 8 9 10 11\n",
	};
	struct kernel_memory m = { .total = 7 };
	struct kernel_pressure p = { .some_us = 7 };
	struct kernel_disk d = { .busy_ms = 7 };
	uint64_t ticks[KERNEL_CPU_STATES] = { 7 }, n = 7;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(memory); i++)
		assert_int_equal(kernel_memory_parse(memory[i], &m), -EINVAL);
	for (size_t i = 0; i < TL_ARRAY_SIZE(pressures); i++)
		assert_int_equal(kernel_pressure_parse(pressures[i], &p), -EINVAL);
	for (size_t i = 0; i < TL_ARRAY_SIZE(cpus); i++)
		assert_int_equal(kernel_cpu_parse(cpus[i], ticks), -EINVAL);
	for (size_t i = 0; i < TL_ARRAY_SIZE(hundredths); i++)
		assert_int_equal(kernel_hundredths_parse(hundredths[i], &n), -EINVAL);
	for (size_t i = 0; i < TL_ARRAY_SIZE(numbers); i++)
		assert_int_equal(kernel_number_parse(numbers[i], &n), -EINVAL);
	for (size_t i = 0; i < TL_ARRAY_SIZE(disks); i++)
		assert_int_equal(kernel_disk_parse(disks[i], 8, 0, &d), -EINVAL);
	assert_int_equal(m.total, 7);
	assert_int_equal(p.some_us, 7);
	assert_int_equal(d.busy_ms, 7);
	assert_int_equal(ticks[0], 7);
	assert_int_equal(n, 7);
}

static void what_is_there_is_read(void **state)
{
	static const char events[] = "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\noom_group_kill 5\n";
	static const char disks[] = "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"
				    " 254       1 dm-1 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n";
	struct kernel_pressure p = { 0 };
	struct kernel_disk d = { 0 };
	uint64_t ticks[KERNEL_CPU_STATES], n = 0;

	(void)state;
	assert_int_equal(kernel_pressure_parse(PRESSURE("14701810760", "12"), &p), 0);
	assert_int_equal(p.some_us, 14701810760);
	assert_int_equal(p.full_us, 12);
	/* cpu of Linux before 5.13 has one line */
	assert_int_equal(kernel_pressure_parse("some avg10=0.00 total=9\n", &p), 0);
	assert_int_equal(p.some_us, 9);
	assert_int_equal(p.full_us, 0);
	assert_int_equal(kernel_cpu_parse("cpu  1 2 3 4 5 6 7 8 9 10 11\ncpu0 ", ticks), 0);
	assert_int_equal(ticks[KERNEL_CPU_IDLE], 4);
	assert_int_equal(ticks[KERNEL_CPU_GUEST_NICE], 10);
	assert_int_equal(kernel_hundredths_parse("0.26 0.10 1/100 7\n", &n), 0);
	assert_int_equal(n, 26);
	assert_int_equal(kernel_hundredths_parse("12345.07 1.00\n", &n), 0);
	assert_int_equal(n, 1234507);
	assert_int_equal(kernel_number_parse("4096\n", &n), 0);
	assert_int_equal(n, 4096);
	assert_int_equal(kernel_number_parse("max\n", &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(kernel_keyed_parse(events, "oom_kill", &n), 0);
	assert_int_equal(n, 4);
	assert_int_equal(kernel_keyed_parse(events, "oom_k", &n), -ENOENT);
	assert_int_equal(kernel_keyed_parse("oom_kill x\n", "oom_kill", &n), -EINVAL);
	assert_int_equal(kernel_disk_parse(disks, 254, 1, &d), 0);
	assert_string_equal(d.name, "dm-1");
	assert_int_equal(d.operations[0], 1);
	assert_int_equal(d.sectors[1], 7);
	assert_int_equal(d.busy_ms, 10);
	assert_int_equal(d.weighted_ms, 11);
	assert_int_equal(kernel_disk_parse(disks, 254, 2, &d), -ENOENT);
}

static void a_group_is_found_in_either_hierarchy(void **state)
{
	static const char v1[] = "5:cpu,cpuacct:/b\n4:memory:/a/default/tee-container\n"
				 "1:name=systemd:/c\n0::/d\n";
	static const struct {
		const char *text, *controller;
		int r;
		const char *path;
	} rows[] = {
		{ v1, "memory", 0, "/a/default/tee-container" },
		{ v1, "cpuacct", 0, "/b" },
		{ v1, "", 0, "/d" },
		{ v1, "mem", -ENOENT, "?" },
		{ v1, "pids", -ENOENT, "?" },
		{ "0::/../other\n", "", -ENOENT, "?" },
		{ "0::relative\n", "", -EINVAL, "?" },
		{ "0:x\n", "", -EINVAL, "?" },
		{ "no number\n", "", -EINVAL, "?" },
		{ "0::/0123456789012345678901234567890123456789\n", "", -EINVAL, "?" },
		{ "", "", -ENOENT, "?" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		char path[32] = "?";

		assert_int_equal(
			kernel_cgroup_parse(rows[i].text, rows[i].controller, path, sizeof(path)),
			rows[i].r);
		assert_string_equal(path, rows[i].path);
	}
}

/* --- a sample -------------------------------------------------------------------------------- */

static char top[] = "/tmp/teelaunch-health-XXXXXX";

/* The file @name below the folder, and the folders that lead to it. */
static void file_put(const char *name, const char *text)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	for (char *at = path + strlen(top) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
		*at = '/';
	}
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int tree_make(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(top));
	file_put("proc/meminfo", MEMINFO);
	file_put("proc/uptime", "100.50 1.00\n");
	file_put("proc/loadavg", "1.25 0.10 0.00 1/100 7\n");
	file_put("proc/stat", "cpu  100 0 50 1000 0 0 0 0 0 0\n");
	file_put("proc/pressure/memory", PRESSURE("1000000", "500000"));
	file_put("proc/pressure/cpu", PRESSURE("2000000", "0"));
	file_put("proc/7/cgroup", "4:memory:/m/tee-container\n5:cpuacct:/c\n0::/default/t\n");
	file_put("v1/memory/m/tee-container/memory.usage_in_bytes", "4096\n");
	file_put("v1/memory/m/tee-container/memory.limit_in_bytes", "9223372036854771712\n");
	file_put("v1/memory/m/tee-container/memory.oom_control",
		 "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n");
	file_put("v1/cpuacct/c/cpuacct.usage", "5000000\n");
	file_put("v2/cgroup.controllers", "cpu memory\n");
	file_put("v2/default/t/memory.current", "8192\n");
	file_put("v2/default/t/memory.max", "16384\n");
	file_put("v2/default/t/memory.events", "low 0\noom 1\noom_kill 2\n");
	file_put("v2/default/t/memory.pressure", PRESSURE("3000000", "0"));
	file_put("v2/default/t/cpu.stat", "usage_usec 77000\nuser_usec 1\n");
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st, (void)kind, (void)at;
	return remove(path);
}

static int tree_remove(void **state)
{
	(void)state;
	return nftw(top, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static struct sample sample_of(const char *cgroup, bool is_all)
{
	auto_free char *proc = NULL, *groups = NULL;
	struct sample_options options = { .is_all = is_all, .workload_pid = 7, .content_dir = "/" };
	struct sample_group group;
	struct sample s = { 0 };

	assert_true(asprintf(&proc, "%s/proc", top) > 0);
	assert_true(asprintf(&groups, "%s/%s", top, cgroup) > 0);
	options.roots.proc = proc;
	options.roots.cgroup = groups;
	sample_group_find(&options, &group);
	assert_int_equal(sample_take(&options, &group, &s, NULL), 0);
	return s;
}

static void a_sample_of_the_unified_hierarchy_has_its_values(void **state)
{
	struct sample s = sample_of("v2", true);

	(void)state;
	assert_true(s.workload.has_memory && s.workload.has_oom && s.workload.has_cpu);
	assert_int_equal(s.workload.memory_bytes, 8192);
	assert_int_equal(s.workload.memory_max_bytes, 16384);
	assert_int_equal(s.workload.oom_kills, 2);
	assert_int_equal(s.workload.cpu_us, 77000);
	assert_int_equal(s.workload.memory_pressure.some_us, 3000000);
	assert_int_equal(s.up_ms, 100500);
	assert_true(s.time_ms - s.boot_ms == 100500);
	assert_int_equal(s.load_1m_hundredths, 125);
	assert_int_equal(s.cpu_ms[KERNEL_CPU_IDLE], 10000); /* 100 ticks a second */
	assert_true(s.has_memory_pressure && s.has_cpu_pressure && !s.has_io_pressure);
	assert_true(s.has_space && s.space.free_bytes > 0);
}

static void a_sample_of_the_old_hierarchies_has_its_values(void **state)
{
	struct sample s = sample_of("v1", true);

	(void)state;
	assert_true(s.workload.has_memory && s.workload.has_oom && s.workload.has_cpu);
	assert_int_equal(s.workload.memory_bytes, 4096);
	assert_true(s.workload.memory_max_bytes == UINT64_MAX); /* v1's way to say "no limit" */
	assert_int_equal(s.workload.oom_kills, 3);
	assert_int_equal(s.workload.cpu_us, 5000);
	assert_false(s.workload.has_pressure);
}

static void a_sample_without_a_group_is_one_of_the_machine(void **state)
{
	struct sample s = sample_of("nothing", true);

	(void)state;
	assert_false(s.workload.has_memory || s.workload.has_oom || s.workload.has_cpu);
	assert_int_equal(s.memory.total, 8000 * 1024);
}

static void memory_only_is_nothing_but_memory(void **state)
{
	auto_buf struct tl_buf line = { 0 };
	struct sample s = sample_of("v2", false);

	(void)state;
	assert_false(s.has_cpu || s.has_disk || s.has_space || s.workload.has_cpu);
	assert_false(s.has_cpu_pressure || s.has_io_pressure);
	tl_buf_init(&line, 4096);
	assert_int_equal(health_line(&s, &s, &line), 0);
	assert_null(strstr(tl_buf_str(&line), "cpu"));
	assert_null(strstr(tl_buf_str(&line), "disk"));
	assert_null(strstr(tl_buf_str(&line), " load"));
	assert_null(strstr(tl_buf_str(&line), "uptime"));
	assert_non_null(strstr(tl_buf_str(&line), "metrics=memoryOnly memory_total_bytes=8192000 "
						  "memory_used_bytes=4710400 "));
}

/* --- what follows ---------------------------------------------------------------------------- */

static void a_line_has_what_is_now_and_what_was_done_in_between(void **state)
{
	struct sample before = sample_of("v2", true), now = before;
	auto_buf struct tl_buf first = { 0 }, second = { 0 };

	(void)state;
	now.up_ms += 60000;
	now.memory_pressure.some_us += 1500000;
	now.cpu_ms[KERNEL_CPU_USER] += 700;
	now.cpu_ms[KERNEL_CPU_SYSTEM] += 70;
	now.cpu_ms[KERNEL_CPU_IDLE] += 59000;
	now.workload.cpu_us += 5000;
	now.workload.oom_kills++;
	tl_buf_init(&first, 4096);
	tl_buf_init(&second, 4096);
	assert_int_equal(health_line(NULL, &before, &first), 0);
	assert_null(strstr(tl_buf_str(&first), "stall"));
	assert_null(strstr(tl_buf_str(&first), "cpu_busy"));
	assert_int_equal(health_line(&before, &now, &second), 0);
	assert_non_null(strstr(tl_buf_str(&second), " period_ms=60000 memory_stall_ms=1500 "));
	assert_non_null(strstr(tl_buf_str(&second), " cpu_busy_ms=770 workload_cpu_ms=5"));
	assert_non_null(strstr(tl_buf_str(&second), " workload_memory_bytes=8192 "
						    "workload_memory_max_bytes=16384 "
						    "workload_oom_kills=3 "));
	assert_non_null(strstr(tl_buf_str(&second), " uptime_s=160 load_1m_hundredths=125 "));
}

/* All that a sample can have. */
static struct sample whole_sample(void)
{
	struct sample s = sample_of("v2", true);

	s.has_memory_pressure = s.has_cpu_pressure = s.has_io_pressure = true;
	s.has_cpu = s.has_disk = s.has_space = true;
	s.workload.has_memory = s.workload.has_oom = true;
	s.workload.has_cpu = s.workload.has_pressure = true;
	s.workload.memory_max_bytes = 16384;
	return s;
}

static void what_is_not_known_is_left_out(void **state)
{
	static const struct {
		size_t flag;
		const char *key;
		bool is_difference; /* of two samples */
	} rows[] = {
		{ offsetof(struct sample, has_memory_pressure), " memory_stall_ms=", true },
		{ offsetof(struct sample, has_cpu_pressure), " cpu_stall_ms=", true },
		{ offsetof(struct sample, has_io_pressure), " io_stall_ms=", true },
		{ offsetof(struct sample, has_cpu), " cpu_busy_ms=", true },
		{ offsetof(struct sample, has_cpu), " load_1m_hundredths=", false },
		{ offsetof(struct sample, has_disk), " disk_read_bytes=", true },
		{ offsetof(struct sample, has_disk), " disk_written_bytes=", true },
		{ offsetof(struct sample, has_space), " disk_used_bytes=", false },
		{ offsetof(struct sample, has_space), " disk_free_bytes=", false },
		{ offsetof(struct sample, workload.has_memory), " workload_memory_bytes=", false },
		{ offsetof(struct sample, workload.has_memory),
		  " workload_memory_max_bytes=", false },
		{ offsetof(struct sample, workload.has_oom), " workload_oom_kills=", false },
		{ offsetof(struct sample, workload.has_cpu), " workload_cpu_ms=", true },
		{ offsetof(struct sample, workload.has_pressure),
		  " workload_memory_stall_ms=", true },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		for (unsigned int known = 0; known < 4; known++) { /* before, now */
			struct sample before = whole_sample(), now = before;
			auto_buf struct tl_buf line = { 0 };
			bool is_there = rows[i].is_difference ? known == 3 : known & 2;

			*(bool *)((char *)&before + rows[i].flag) = known & 1;
			*(bool *)((char *)&now + rows[i].flag) = known & 2;
			tl_buf_init(&line, 4096);
			assert_int_equal(health_line(&before, &now, &line), 0);
			if (!!strstr(tl_buf_str(&line), rows[i].key) != is_there)
				fail_msg("%s, known %u: %s", rows[i].key, known, tl_buf_str(&line));
		}
	}
}

static void a_line_that_does_not_fit_is_none(void **state)
{
	struct sample before = whole_sample(), now = before;
	auto_buf struct tl_buf whole = { 0 };

	(void)state;
	tl_buf_init(&whole, 4096);
	assert_int_equal(health_line(&before, &now, &whole), 0);
	for (size_t max = 1; max < whole.len_bytes; max++) {
		auto_buf struct tl_buf line = { 0 };

		tl_buf_init(&line, max);
		assert_true(health_line(&before, &now, &line) < 0);
	}
}

static void samples_are_due_in_their_period_and_missed_ones_are_left_out(void **state)
{
	static const struct {
		uint64_t due, now, next;
	} rows[] = {
		{ 1000, 999, 1000 },  { 1000, 1000, 1100 }, { 1000, 1001, 1100 },
		{ 1000, 1099, 1100 }, { 1000, 1100, 1200 }, { 1000, 5050, 5100 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		assert_int_equal(health_due_next(rows[i].due, rows[i].now, 100), rows[i].next);
}

static void memory_is_short_above_one_limit_until_below_another(void **state)
{
	static const struct {
		uint64_t stall_ms;
		bool was_short, is_short;
	} rows[] = {
		{ 0, false, false },   { 6000, false, false }, { 6001, false, true },
		{ 6001, true, true },  { 3001, true, true },   { 3001, false, false },
		{ 3000, true, false }, { 60000, false, true },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		struct sample before = { .has_memory_pressure = true, .up_ms = 5 }, now = before;

		now.up_ms += 60000;
		now.memory_pressure.some_us = rows[i].stall_ms * 1000;
		assert_int_equal(health_judge(&before, &now, rows[i].was_short).is_short,
				 rows[i].is_short);
	}
}

static void kills_are_those_since_the_last_sample(void **state)
{
	struct sample before = { .workload = { .has_oom = true, .oom_kills = 3 } }, now = before;

	(void)state;
	now.workload.oom_kills = 5;
	assert_int_equal(health_judge(&before, &now, false).oom_kills, 2);
	assert_int_equal(health_judge(&now, &before, false).oom_kills, 0);
	before.workload.has_oom = false; /* else all there ever were would be new */
	assert_int_equal(health_judge(&before, &now, false).oom_kills, 0);
}

static void a_queue_is_compared_with_the_same_disk_alone(void **state)
{
	struct sample before = { .up_ms = 1000,
				 .boot_ms = 17,
				 .has_disk = true,
				 .disk = { .name = "dm-1", .weighted_ms = 10 } };
	struct sample now = before, other = before;

	(void)state;
	now.up_ms = 2000;
	now.boot_ms = 99; /* somebody has set the clock */
	now.disk.weighted_ms = 1510;
	sample_compare(&before, &now);
	assert_true(now.has_queue);
	assert_int_equal(now.queue_hundredths, 150);
	assert_int_equal(now.boot_ms, 17);
	other.up_ms = 2000;
	other.disk.name[3] = '2';
	sample_compare(&before, &other);
	assert_false(other.has_queue);
	other = before;
	sample_compare(&before, &other); /* no time has passed */
	assert_false(other.has_queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_counted_by_what_it_is_used_for),
		cmocka_unit_test(texts_of_another_form_are_refused),
		cmocka_unit_test(what_is_there_is_read),
		cmocka_unit_test(a_group_is_found_in_either_hierarchy),
		cmocka_unit_test(a_sample_of_the_unified_hierarchy_has_its_values),
		cmocka_unit_test(a_sample_of_the_old_hierarchies_has_its_values),
		cmocka_unit_test(a_sample_without_a_group_is_one_of_the_machine),
		cmocka_unit_test(memory_only_is_nothing_but_memory),
		cmocka_unit_test(a_line_has_what_is_now_and_what_was_done_in_between),
		cmocka_unit_test(what_is_not_known_is_left_out),
		cmocka_unit_test(a_line_that_does_not_fit_is_none),
		cmocka_unit_test(samples_are_due_in_their_period_and_missed_ones_are_left_out),
		cmocka_unit_test(memory_is_short_above_one_limit_until_below_another),
		cmocka_unit_test(kills_are_those_since_the_last_sample),
		cmocka_unit_test(a_queue_is_compared_with_the_same_disk_alone),
	};

	return cmocka_run_group_tests(tests, tree_make, tree_remove);
}
