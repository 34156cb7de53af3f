/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at the machine: memory, and if wanted processors, disk and how long it is up; and the
 * share of the workload's control group in them. Reads files of the kernel, and blocks on nothing
 * else.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

#include "kernel_text.h"

/* Where the kernel's files are. */
struct sample_roots {
	const char *proc;   /* "/proc" */
	const char *cgroup; /* "/sys/fs/cgroup"; v2, or a folder for each v1 hierarchy */
};

struct sample_options {
	struct sample_roots roots;
	bool is_all;             /* else memory alone */
	uint32_t workload_pid;   /* whose control group is the workload's */
	const char *content_dir; /* on the disk of the workload */
};

/* The files of a workload, which don't move while it runs. "": there are none. */
struct sample_group {
	char memory[PATH_MAX], memory_max[PATH_MAX], oom[PATH_MAX], pressure[PATH_MAX];
	char cpu[PATH_MAX];
	bool is_v2;
};

/* What isn't known is marked so: a kernel may do without. Counters are since boot. */
struct sample {
	int64_t time_ms; /* since the epoch */
	int64_t boot_ms; /* when the counters were zero */
	uint64_t up_ms;  /* since then; no clock that is set changes it */
	bool is_all;
	struct kernel_memory memory;
	bool has_memory_pressure, has_cpu_pressure, has_io_pressure;
	struct kernel_pressure memory_pressure, cpu_pressure, io_pressure;
	struct {
		bool has_memory, has_oom, has_cpu, has_pressure;
		uint64_t memory_bytes, memory_max_bytes; /* UINT64_MAX: no limit */
		uint64_t oom_kills;                      /* processes killed for want of memory */
		uint64_t cpu_us;
		struct kernel_pressure memory_pressure;
	} workload;
	/* With is_all only. */
	bool has_cpu, has_disk, has_space;
	uint64_t cpu_ms[KERNEL_CPU_STATES];
	uint64_t load_1m_hundredths;
	struct kernel_disk disk;
	uint64_t disk_read_bytes, disk_written_bytes;
	struct {
		uint64_t used_bytes, free_bytes;
		char fs_type[16];
	} space;
	/* How many operations were under way on average, in hundredths: of two samples. */
	bool has_queue;
	uint64_t queue_hundredths;
};

/** The workload's group. Where it isn't found, @ret has no files. */
void sample_group_find(const struct sample_options *options, struct sample_group *ret);

/**
 * @group  of sample_group_find()
 * @ret    set on success only, but for the queue's length, which sample_compare() computes
 * TL_E_MACHINE_FACTS: /proc/meminfo or /proc/uptime can't be read. All else may be missing.
 */
int sample_take(const struct sample_options *options, const struct sample_group *group,
		struct sample *ret, struct tl_error *err);

/** Fill in of @now what takes two samples. Pure. */
void sample_compare(const struct sample *before, struct sample *now);
