/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>

#include <teelaunch/clock.h>

#include "launcher/containerd/task.h"

#include "leftovers.h"
#include "workload.h"

#define BUDGET_MS    10000
#define KILL_POLL_MS 20
#define ROUNDS_MAX   4

static int none_is_fine(int r)
{
	return r == -ENOENT ? 0 : r;
}

/* A task that was never started must be killed as well before it can be deleted. */
static int task_stop(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err)
{
	struct tl_ctrd_task task = { 0 };
	int r;

	for (;;) {
		r = tl_ctrd_task_get(c, call, TL_WORKLOAD_CONTAINER, &task, err);
		if (r < 0 || task.state == TL_CTRD_TASK_STOPPED)
			return none_is_fine(r);
		r = tl_ctrd_task_kill(c, call, TL_WORKLOAD_CONTAINER, SIGKILL, true, err);
		if (none_is_fine(r) < 0)
			return r;
		tl_clock_sleep_ms(KILL_POLL_MS);
	}
}

/*
 * A containerd that died in Tasks.Create leaves a shim without a task: "not found" says Get,
 * "already exists" says Create. Only Delete ends it, and says "not found" as well.
 */
int leftovers_task_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err)
{
	int r = task_stop(c, call, err);

	return r < 0 ? r
		     : none_is_fine(tl_ctrd_task_delete(c, call, TL_WORKLOAD_CONTAINER, NULL, err));
}

/* In this order: each keeps the next in use. */
static int all_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err)
{
	int r;

	r = leftovers_task_remove(c, call, err);
	if (r == 0)
		r = none_is_fine(tl_ctrd_container_delete(c, call, TL_WORKLOAD_CONTAINER, err));
	if (r == 0)
		r = none_is_fine(tl_ctrd_snapshot_remove(c, call, TL_WORKLOAD_SNAPSHOT, err));
	if (r == 0)
		r = none_is_fine(tl_ctrd_lease_delete(c, call, TL_WORKLOAD_LEASE, false, err));
	return r;
}

int leftovers_remove(struct tl_ctrd *c, struct tl_cancel *cancel, struct tl_error *err)
{
	struct tl_deadline away = tl_deadline_in(tl_clock_mono_ms(), BUDGET_MS);
	struct tl_ctrd_call call = { .deadline = away, .cancel = cancel };
	struct tl_error reason = { 0 };
	int r = all_remove(c, &call, &reason);

	for (int i = 0; r == -ECONNRESET && i < ROUNDS_MAX; i++) {
		call.deadline = away;
		if (tl_ctrd_wait_ready(c, &call, NULL) < 0)
			break;
		call.deadline = tl_deadline_in(tl_clock_mono_ms(), BUDGET_MS);
		r = all_remove(c, &call, &reason);
	}
	if (r == -ECANCELED && err)
		*err = reason;
	if (r == 0 || r == -ECANCELED)
		return r;
	return tl_fail(err, TL_E_CONTAINER_LEFTOVER, -r, "%s", reason.msg);
}

int tl_workload_sweep(struct tl_ctrd *c, struct tl_cancel *cancel, struct tl_error *err)
{
	int r = leftovers_remove(c, cancel, err);

	return r < 0 ? tl_wrap(err, r, "leftovers of an earlier launch") : 0;
}
