/* SPDX-License-Identifier: Apache-2.0 */
#include "sample.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/magic.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>

/* A machine with 200 processors has 20 KiB of /proc/stat, one with 100 disks 10 KiB of diskstats.
 */
#define FILE_BYTES_MAX (256 * 1024)

/* The text of @root/@name; the buffer's own. NULL: not to be had. */
static const char *text_read(const char *root, const char *name, struct tl_buf *ret)
{
	auto_free char *path = NULL;

	tl_buf_init(ret, FILE_BYTES_MAX);
	if (asprintf(&path, "%s%s", root, name) < 0) {
		path = NULL;
		return NULL;
	}
	return tl_file_read(path, ret, NULL) < 0 ? NULL : tl_buf_str(ret);
}

/* False: there is no such file, or it says something else. */
static bool number_read(const char *path, uint64_t *ret)
{
	auto_buf struct tl_buf b = { 0 };
	const char *text = *path ? text_read(path, "", &b) : NULL;

	return text && kernel_number_parse(text, ret) == 0;
}

static bool keyed_read(const char *path, const char *key, uint64_t *ret)
{
	auto_buf struct tl_buf b = { 0 };
	const char *text = *path ? text_read(path, "", &b) : NULL;

	return text && kernel_keyed_parse(text, key, ret) == 0;
}

static bool pressure_read(const char *root, const char *name, struct kernel_pressure *ret)
{
	auto_buf struct tl_buf b = { 0 };
	const char *text = *root ? text_read(root, name, &b) : NULL;

	return text && kernel_pressure_parse(text, ret) == 0;
}

/* A path that doesn't fit is none. */
#define path_print(to, ...)                                                                        \
	do {                                                                                       \
		if (snprintf((to), sizeof(to), __VA_ARGS__) >= (int)sizeof(to))                    \
			(to)[0] = '\0';                                                            \
	} while (0)

static void group_v2(const char *root, const char *path, struct sample_group *ret)
{
	ret->is_v2 = true;
	path_print(ret->memory, "%s%s/memory.current", root, path);
	path_print(ret->memory_max, "%s%s/memory.max", root, path);
	path_print(ret->oom, "%s%s/memory.events", root, path);
	path_print(ret->pressure, "%s%s/memory.pressure", root, path);
	path_print(ret->cpu, "%s%s/cpu.stat", root, path);
}

static void group_v1(const char *root, const char *text, struct sample_group *ret)
{
	char path[PATH_MAX];

	if (kernel_cgroup_parse(text, "memory", path, sizeof(path)) == 0) {
		path_print(ret->memory, "%s/memory%s/memory.usage_in_bytes", root, path);
		path_print(ret->memory_max, "%s/memory%s/memory.limit_in_bytes", root, path);
		path_print(ret->oom, "%s/memory%s/memory.oom_control", root, path);
	}
	if (kernel_cgroup_parse(text, "cpuacct", path, sizeof(path)) == 0)
		path_print(ret->cpu, "%s/cpuacct%s/cpuacct.usage", root, path);
}

void sample_group_find(const struct sample_options *options, struct sample_group *ret)
{
	const char *root = options->roots.cgroup;
	auto_buf struct tl_buf b = { 0 };
	char path[PATH_MAX];
	char name[64];
	const char *text;

	*ret = (struct sample_group){ 0 };
	snprintf(name, sizeof(name), "/%u/cgroup", options->workload_pid);
	text = text_read(options->roots.proc, name, &b);
	if (!text)
		return;
	/* A mixture of both has the controllers in v1. */
	path_print(path, "%s/cgroup.controllers", root);
	if (access(path, F_OK) < 0)
		group_v1(root, text, ret);
	else if (kernel_cgroup_parse(text, "", path, sizeof(path)) == 0)
		group_v2(root, path, ret);
}

static void workload_take(const struct sample_group *g, struct sample *s)
{
	uint64_t cpu;

	s->workload.has_memory = number_read(g->memory, &s->workload.memory_bytes) &&
				 number_read(g->memory_max, &s->workload.memory_max_bytes);
	/* v1 says "no limit" as the largest multiple of a page below 2^63. */
	if (!g->is_v2 && s->workload.memory_max_bytes >= INT64_MAX / 4096 * 4096)
		s->workload.memory_max_bytes = UINT64_MAX;
	s->workload.has_oom = keyed_read(g->oom, "oom_kill", &s->workload.oom_kills);
	s->workload.has_pressure = pressure_read(g->pressure, "", &s->workload.memory_pressure);
	if (!s->is_all)
		return;
	if (g->is_v2)
		s->workload.has_cpu = keyed_read(g->cpu, "usage_usec", &s->workload.cpu_us);
	else if (number_read(g->cpu, &cpu)) {
		s->workload.has_cpu = true;
		s->workload.cpu_us = cpu / 1000;
	}
}

static void cpu_take(const char *proc, struct sample *s)
{
	auto_buf struct tl_buf stat = { 0 }, load = { 0 };
	const char *text = text_read(proc, "/stat", &stat);
	long hertz = sysconf(_SC_CLK_TCK);

	if (!text || hertz <= 0 || kernel_cpu_parse(text, s->cpu_ms) < 0)
		return;
	for (size_t i = 0; i < KERNEL_CPU_STATES; i++)
		s->cpu_ms[i] = s->cpu_ms[i] > UINT64_MAX / 1000
				       ? UINT64_MAX
				       : s->cpu_ms[i] * 1000 / (uint64_t)hertz;
	text = text_read(proc, "/loadavg", &load);
	s->has_cpu = text && kernel_hundredths_parse(text, &s->load_1m_hundredths) == 0;
}

/* What is below the workload, as the metrics name it. */
static const char *fs_name(const char *dir)
{
	struct statfs fs;

	if (statfs(dir, &fs) < 0)
		return "";
	switch ((unsigned long)fs.f_type) {
	case EXT4_SUPER_MAGIC:
		return "ext4";
	case TMPFS_MAGIC:
		return "tmpfs";
	case XFS_SUPER_MAGIC:
		return "xfs";
	case BTRFS_SUPER_MAGIC:
		return "btrfs";
	case OVERLAYFS_SUPER_MAGIC:
		return "overlay";
	default:
		return "";
	}
}

static uint64_t times(uint64_t a, uint64_t b)
{
	return b && a > UINT64_MAX / b ? UINT64_MAX : a * b;
}

static void disk_take(const char *proc, const char *dir, struct sample *s)
{
	auto_buf struct tl_buf b = { 0 };
	const char *text = text_read(proc, "/diskstats", &b);
	struct statvfs fs;
	struct stat st;

	s->has_space = statvfs(dir, &fs) == 0 && fs.f_blocks >= fs.f_bfree;
	if (s->has_space) {
		s->space.used_bytes = times(fs.f_blocks - fs.f_bfree, fs.f_frsize);
		s->space.free_bytes = times(fs.f_bavail, fs.f_frsize);
		snprintf(s->space.fs_type, sizeof(s->space.fs_type), "%s", fs_name(dir));
	}
	/* A folder in memory has no device. */
	s->has_disk = text && stat(dir, &st) == 0 &&
		      kernel_disk_parse(text, major(st.st_dev), minor(st.st_dev), &s->disk) == 0;
	s->disk_read_bytes = times(s->disk.sectors[0], KERNEL_SECTOR_BYTES);
	s->disk_written_bytes = times(s->disk.sectors[1], KERNEL_SECTOR_BYTES);
}

int sample_take(const struct sample_options *options, const struct sample_group *group,
		struct sample *ret, struct tl_error *err)
{
	const char *proc = options->roots.proc;
	auto_buf struct tl_buf meminfo = { 0 }, uptime = { 0 };
	struct sample s = { .time_ms = tl_clock_real_ms(), .is_all = options->is_all };
	const char *text = text_read(proc, "/meminfo", &meminfo);
	uint64_t up;

	if (!text || kernel_memory_parse(text, &s.memory) < 0)
		return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL,
			       "%s/meminfo doesn't say how much memory is used", proc);
	text = text_read(proc, "/uptime", &uptime);
	if (!text || kernel_hundredths_parse(text, &up) < 0 || up > INT64_MAX / 10)
		return tl_fail(err, TL_E_MACHINE_FACTS, EINVAL, "%s/uptime is no number", proc);
	s.up_ms = up * 10;
	s.boot_ms = s.time_ms - (int64_t)s.up_ms;
	s.has_memory_pressure = pressure_read(proc, "/pressure/memory", &s.memory_pressure);
	workload_take(group, &s);
	if (options->is_all) {
		s.has_cpu_pressure = pressure_read(proc, "/pressure/cpu", &s.cpu_pressure);
		s.has_io_pressure = pressure_read(proc, "/pressure/io", &s.io_pressure);
		cpu_take(proc, &s);
		disk_take(proc, options->content_dir, &s);
	}
	*ret = s;
	return 0;
}

void sample_compare(const struct sample *before, struct sample *now)
{
	uint64_t took_ms = now->up_ms > before->up_ms ? now->up_ms - before->up_ms : 0;

	now->boot_ms = before->boot_ms; /* one beginning for one series, whatever the clock does */
	now->has_queue = took_ms && before->has_disk && now->has_disk &&
			 strcmp(before->disk.name, now->disk.name) == 0 &&
			 now->disk.weighted_ms >= before->disk.weighted_ms;
	if (now->has_queue)
		now->queue_hundredths =
			times(now->disk.weighted_ms - before->disk.weighted_ms, 100) / took_ms;
}
