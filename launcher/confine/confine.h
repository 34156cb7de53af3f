/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `teelaunchd run` takes from itself, so that whoever takes it over by a hole in what reads
 * foreign bytes gets little with it. Twice, as two times need different things:
 *
 * CONFINE_LAUNCH    from the start, before there is a thread: no new privileges, no executable
 *                   memory that was written, the system calls of one table (calls.c), the
 *                   capabilities of a launch. Layers are still unpacked by a program, and an
 *                   image's file system is looked into by mounting it.
 * CONFINE_WORKLOAD  from the stage "confine" on, once the container exists and before anything is
 *                   asked of the verifier or answered to the workload: no program, no process but
 *                   threads, no mount, no device-mapper; capabilities for the firewall, a low
 *                   port, locked memory, and foreign processes and files; and files only
 *                   beneath the places that are given, by Landlock.
 *
 * Why Landlock comes only then: under it nobody mounts anything, nor moves a file between folders
 * with other rights, and both is how layers get to their place. Where the kernel has none, the rest
 * holds and report and log say so; CONFINE_STRICT ends the launch there.
 *
 * What isn't in the tables of calls fails with ENOSYS, as on a kernel without it: the C library and
 * others then take an older call, where EPERM would be the end of it; and a rare path that nobody
 * thought of ends with an error that is told, not with a launcher that died. What no library that
 * we link would ever ask for (debugging, kernel modules, BPF, another kernel; mounts and programs,
 * once narrowed) kills the process, and the exit unit ends the machine.
 *
 * seccomp filters reach all threads by the kernel's own means (SECCOMP_FILTER_FLAG_TSYNC).
 * Capabilities and Landlock are each thread's own: at CONFINE_LAUNCH there is one thread, and at
 * CONFINE_WORKLOAD every_thread.h has each take them. Both ends are read back from /proc for every
 * thread; what isn't in force there is an error.
 *
 * One way: nothing here is ever undone. A build with AddressSanitizer may trace itself, and it and
 * one with counters may write where their reports go.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

enum confine_mode {
	CONFINE_OFF,    /* nothing */
	CONFINE_ON,     /* Landlock where the kernel has it */
	CONFINE_STRICT, /* Landlock or no launch */
};

enum confine_phase { CONFINE_NONE, CONFINE_LAUNCH, CONFINE_WORKLOAD };

struct confinement {
	enum confine_mode mode;
	enum confine_phase phase;
	uint64_t capabilities_before; /* effective, a bit for each number, before any was dropped */
	uint64_t capabilities;        /* effective now, of every thread */
	int landlock_abi;             /* of the kernel whose rules are in force; 0: none are */
	size_t threads;               /* that CONFINE_WORKLOAD was read back from */
};

/* What may be opened at and below a path. */
struct confine_place {
	const char *path;
	bool is_writable; /* and made, and removed */
	bool is_required; /* otherwise none need be there */
};

/** "off", "on" or "strict". */
const char *confine_mode_name(enum confine_mode mode);
/** "none", "launch" or "workload". */
const char *confine_phase_name(enum confine_phase phase);
/** The mode of that name; "on" for every other. */
enum confine_mode confine_mode_of(const char *name);

/**
 * To CONFINE_LAUNCH. The process has one thread.
 *
 * @ret  filled in every case: on failure with the phase CONFINE_NONE, and part of it may be in
 * force Returns 0 or TL_E_CONFINE, TL_E_NO_MEMORY.
 */
int confine_launch(enum confine_mode mode, struct confinement *ret, struct tl_error *err);

/**
 * From there to CONFINE_WORKLOAD, in all threads; these notice at most an interrupted system call.
 * With CONFINE_OFF nothing happens. The system's own places (libraries, /etc, /proc, /sys) are
 * known here.
 *
 * @places  @n of them; borrowed
 * @c       of confine_launch(); untouched on failure, and part of it may be in force
 * Blocks for milliseconds, at most 10 s. TL_E_CONFINE, TL_E_NO_MEMORY.
 */
int confine_workload(const struct confine_place *places, size_t n, struct confinement *c,
		     struct tl_error *err);
