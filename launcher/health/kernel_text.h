/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of memory, processors and disks, out of the texts of its files. Formats:
 * proc(5), Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/,
 * Documentation/accounting/psi.rst, Documentation/admin-guide/iostats.rst of Linux 6.1. Pure.
 *
 * Each function returns 0, or -EINVAL for a text that isn't of its format; @ret is set on success
 * only. What newer kernels add to a text is skipped.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* In bytes; the rest of the names are those of /proc/meminfo. */
struct kernel_memory {
	uint64_t total, free, buffers, cached, slab;
	uint64_t used; /* what of the total is none of the four before */
	uint64_t dirty, writeback;
	uint64_t anon_active, anon_inactive, file_active, file_inactive;
};

/** /proc/meminfo */
int kernel_memory_parse(const char *text, struct kernel_memory *ret);

/* For how long tasks have waited for want of something, since boot: some of them, or all at once.
 */
struct kernel_pressure {
	uint64_t some_us, full_us;
};

/** /proc/pressure/..., or a group's memory.pressure and the like. Without a line "full": 0. */
int kernel_pressure_parse(const char *text, struct kernel_pressure *ret);

/* Of all processors together, since boot, in ticks of sysconf(_SC_CLK_TCK). In /proc/stat's order.
 */
enum {
	KERNEL_CPU_USER,
	KERNEL_CPU_NICE,
	KERNEL_CPU_SYSTEM,
	KERNEL_CPU_IDLE,
	KERNEL_CPU_IOWAIT,
	KERNEL_CPU_IRQ,
	KERNEL_CPU_SOFTIRQ,
	KERNEL_CPU_STEAL,
	KERNEL_CPU_GUEST,
	KERNEL_CPU_GUEST_NICE,
	KERNEL_CPU_STATES,
};

/** The first line of /proc/stat. */
int kernel_cpu_parse(const char *text, uint64_t ret_ticks[KERNEL_CPU_STATES]);

/** The first number of /proc/loadavg or /proc/uptime, in hundredths: "0.26 ..." is 26. */
int kernel_hundredths_parse(const char *text, uint64_t *ret);

#define KERNEL_DISK_NAME_MAX 32  /* DISK_NAME_LEN of include/linux/blkdev.h */
#define KERNEL_SECTOR_BYTES  512 /* of these files, whatever the device's are */

/* Since boot. [0] read, [1] write. */
struct kernel_disk {
	char name[KERNEL_DISK_NAME_MAX];
	uint64_t operations[2], merged[2], sectors[2], time_ms[2];
	uint64_t busy_ms;     /* with at least one operation under way */
	uint64_t weighted_ms; /* the same, times how many */
};

/** The device's line of /proc/diskstats. -ENOENT: there is none. */
int kernel_disk_parse(const char *text, uint32_t major, uint32_t minor, struct kernel_disk *ret);

/** A file of one number, as memory.current; "max" is UINT64_MAX. */
int kernel_number_parse(const char *text, uint64_t *ret);

/** The number behind @key in a file of lines "KEY NUMBER", as memory.events. -ENOENT: no such key.
 */
int kernel_keyed_parse(const char *text, const char *key, uint64_t *ret);

/**
 * Where a process is, out of /proc/PID/cgroup: the path of the hierarchy that has @controller (v1),
 * or of the unified one for "" (v2). -ENOENT: there is none, or it isn't visible from here.
 * @ret  @cap_bytes, terminated
 */
int kernel_cgroup_parse(const char *text, const char *controller, char *ret, size_t cap_bytes);
