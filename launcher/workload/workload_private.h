/* SPDX-License-Identifier: Apache-2.0 */
/* What workload.c (creation, end) and run.c (the time between) share. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "launcher/containerd/task.h"

#include "healthcheck.h"
#include "oci_spec.h"
#include "output.h"
#include "workload.h"

/* Owned by thread tl-wait until it is joined. */
struct wait_state {
	pthread_t thread;
	bool is_started;
	struct tl_ctrd_wait *wait;
	int done_fd; /* eventfd: readable when the thread has ended */
	int r;
	struct tl_error err;
	uint32_t exit_status;
	uint64_t end_ms;
};

struct tl_workload {
	struct tl_workload_config config;
	struct tl_strv args;
	struct tl_strv env;
	char *spec_json;
	struct tl_ctrd_mounts mounts;
	struct output *output; /* NULL: output goes nowhere */
	uint32_t pid;
	int pidfd;              /* -1: not to be had */
	struct tl_cancel *quit; /* ends the threads */
	uint64_t start_ms;
	struct wait_state wait;
	pthread_t oom_thread;
	pthread_mutex_t oom_lock;          /* of the next */
	struct tl_ctrd_events *oom_events; /* what tl-oom reads; NULL: nothing */
	bool is_oom_thread_started;
	struct healthcheck *healthcheck; /* NULL: none */
	atomic_bool is_oom_killed;
};

/** Registered before the task starts. */
int run_wait_register(struct tl_workload *w, struct tl_error *err);
/** The threads; the task may start as soon as this has returned. */
int run_threads_start(struct tl_workload *w, struct tl_error *err);
/** Ends and joins what runs. */
void run_threads_end(struct tl_workload *w);
/** From runtime errors of containerd to ours: a program that can't be started is the workload's
 * fault. */
int workload_runtime_error(int r, const struct tl_error *reason, struct tl_error *err);
/** Whatever stands between us and the store, what runs must be what was built. TL_E_CONTAINER_SPEC.
 */
int workload_spec_compare(const char *stored, const char *built, struct tl_error *err);
