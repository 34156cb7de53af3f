/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workload: one container of containerd, from creation to its end. Order of calls:
 * create (sets everything up, runs nothing of the image) - start - wait - destroy. One thread;
 * threads of its own between start and wait only (names: tl-wait, tl-oom, tl-health, tl-output).
 *
 * Everything it makes in containerd has a fixed name, so that the next launch finds what a crash
 * left.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>
#include <teelaunch/image_config.h>
#include <teelaunch/launch_spec.h>
#include <teelaunch/str.h>

#include "launcher/containerd/containerd.h"

#include "probe.h"

#define TL_WORKLOAD_CONTAINER "tee-container"
#define TL_WORKLOAD_SNAPSHOT  "tee-snapshot"
#define TL_WORKLOAD_LEASE     "tee-workload"
/* containerd's namespace; part of the container's cgroup path. */
#define TL_WORKLOAD_NAMESPACE "default"

/* What the image's HEALTHCHECK has said so far. */
struct tl_workload_health {
	enum probe_status status;  /* PROBE_NONE: there is none */
	uint64_t probes, failures; /* that ended, or took too long; not well */
	int exit_status;           /* of the last one; -1: it couldn't be run, or took too long */
	bool is_timed_out;
	bool is_unknown; /* it is of a form that isn't known, and isn't run */
};

/* All borrowed until tl_workload_destroy(). */
struct tl_workload_config {
	struct tl_ctrd *ctrd;
	const char *namespace;  /* the one @ctrd was opened with */
	const char *image_name; /* name of the image record; information only */
	const char *chain_id;   /* snapshot of the last layer */
	const struct tl_image_config *image;
	const struct tl_launch_spec *spec; /* log_redirect chooses the sinks */
	const char *hostname;
	const char *shared_dir; /* must exist */
	const char *fifo_dir;   /* private folder; a fresh 0700 folder is made in it */
	int console_fd;         /* output for people; -1 = none */
	bool is_console_raw;    /* as it comes, not as lines behind a prefix */
	int stdout_fd;          /* JSON lines of severity INFO; -1 = none */
	int stderr_fd;          /* JSON lines of severity ERROR; -1 = none */
	void (*records)(void *ctx, int level, const char *lines, size_t n); /* as output.h says */
	void *records_ctx;
	uint64_t nofile_limit;  /* most open files that can be given; 0 = 131072 */
	uint64_t drain_ms;      /* for the last output after the end; 0 = 10000 */
	uint64_t kill_grace_ms; /* SIGKILL so long after SIGTERM; 0 = never */
	struct tl_cancel *kill; /* once requested: SIGKILL to all of it, at once; NULL = never */
	/*
	 * Called by tl_workload_wait() itself while it waits, and must not block for long. Returns
	 * in how many milliseconds it wants to be called again, at the latest; UINT64_MAX = it
	 * needn't be. NULL = never.
	 */
	uint64_t (*step)(void *ctx);
	void *step_ctx;
	/*
	 * Called after the start and after each probe, by the thread that runs them, which has
	 * ended before tl_workload_wait() reads the last output. NULL = the image's HEALTHCHECK
	 * isn't run.
	 */
	void (*health)(void *ctx, const struct tl_workload_health *h);
	void *health_ctx;
};

struct tl_workload_end {
	uint32_t exit_status; /* as containerd says */
	/* exit_status - 128 if that is a signal's number, else 0. runc reports "killed by signal n"
	 * and "chose status 128 + n" alike; nobody can tell them apart afterwards. */
	int signal;
	bool is_oom_killed; /* the kernel killed some process of the container for lack of memory */
	uint64_t run_ms;    /* from start to end */
	uint64_t output_bytes;
	uint64_t output_lines;         /* ends of lines in them */
	uint64_t output_dropped_bytes; /* a sink didn't take them in time */
	bool is_output_cut;            /* the drain's deadline passed before the output ended */
};

struct tl_workload;

/**
 * Remove what an earlier launch left: a task (killed if it runs), container, snapshot and lease of
 * our names. Fine if there is nothing. TL_E_CONTAINER_LEFTOVER, class retry.
 */
int tl_workload_sweep(struct tl_ctrd *c, struct tl_cancel *cancel, struct tl_error *err);

/**
 * Sweep, then snapshot, user, specification, container, output pipes, task. On failure nothing is
 * left (or, if containerd is away for longer than 10 s, the next sweep finds it).
 *
 * Denied: TL_E_CONTAINER_ARGS, _INPUT, _USER. Workload: TL_E_WORKLOAD_PROGRAM (no such program).
 * Fatal: TL_E_CONTAINER_SPEC (the stored specification isn't ours). Retry: the rest.
 */
int tl_workload_create(const struct tl_workload_config *config, struct tl_cancel *cancel,
		       struct tl_workload **ret, struct tl_error *err);

/** Process id of the container's first process. */
uint32_t tl_workload_pid(const struct tl_workload *w);
/** What the process of the container gets; borrowed until destroy. To be measured before start. */
const struct tl_strv *tl_workload_args(const struct tl_workload *w);
const struct tl_strv *tl_workload_env(const struct tl_workload *w); /* may hold secrets */
/** The specification as stored; may hold secrets. */
const char *tl_workload_spec_json(const struct tl_workload *w);

/** Run it. After a failure only destroy may follow. */
int tl_workload_start(struct tl_workload *w, struct tl_error *err);

/**
 * Relay output until the workload has ended and its output is drained.
 *
 * @terminate  once requested: SIGTERM to the workload (also if it was requested before start), then
 *             SIGKILL after kill_grace_ms; NULL = never
 *
 * A containerd that restarts in between is waited for as long as the workload lives, and for 60 s
 * after: then TL_E_WORKLOAD_LOST. @ret is set on success only. How it ended is no error here: see
 * tl_workload_judge().
 */
int tl_workload_wait(struct tl_workload *w, struct tl_cancel *terminate,
		     struct tl_workload_end *ret, struct tl_error *err);

/** 0 for a workload that ended well, else TL_E_WORKLOAD_STATUS, _SIGNAL or _OOM. Pure. */
int tl_workload_judge(const struct tl_workload_end *end, struct tl_error *err);

/**
 * Kill it if it runs, and remove all of it from containerd and the disk. Retries for 10 s when
 * containerd is away, and 10 s more once it is back. @err: why something may be left (the next
 * sweep finds it); @w is gone in any case. NULL is fine.
 */
int tl_workload_destroy(struct tl_workload *w, struct tl_error *err);
