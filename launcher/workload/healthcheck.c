/* SPDX-License-Identifier: Apache-2.0 */
#include "healthcheck.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "launcher/containerd/task.h"

#include "workload_private.h"

struct healthcheck {
	const struct tl_workload_config *config;
	uint64_t start_ms;
	struct probe_plan plan;
	char *process_json; /* with the workload's environment */
	uint64_t tries;     /* more than probes, if containerd hangs */
	struct tl_cancel *quit;
	pthread_t thread;
};

/* False: it says nothing about the workload, as containerd is away or the check is ended. */
static bool probe_run(struct healthcheck *h, struct tl_workload_health *ret)
{
	const struct tl_ctrd_call call = {
		.deadline = tl_deadline_in(tl_clock_mono_ms(), h->plan.timeout_ms),
		.cancel = h->quit,
	};
	struct tl_error err = { 0 };
	uint32_t status = 0;
	char id[48];
	int r;

	/* Never twice: a containerd that hung may still do what it was asked for before. */
	snprintf(id, sizeof(id), "health-%" PRIu64, ++h->tries);
	r = tl_ctrd_exec_run(h->config->ctrd, &call, TL_WORKLOAD_CONTAINER, id, h->process_json,
			     &status, &err);
	if (r == -ECANCELED || r == -ECONNRESET || r == -ENOENT)
		return false;
	ret->probes++;
	ret->is_timed_out = r == -ETIMEDOUT;
	ret->exit_status = r == 0 ? (int)status : -1;
	ret->failures += r < 0 || status != 0;
	return true;
}

static void *health_main(void *arg)
{
	struct healthcheck *h = arg;
	struct probe_state state = { .status = PROBE_STARTING };
	struct tl_workload_health health = { .status = PROBE_STARTING };

	h->config->health(h->config->health_ctx, &health);
	for (;;) {
		uint64_t since_ms = tl_clock_mono_ms() - h->start_ms;

		if (tl_cancel_sleep(h->quit, probe_wait_ms(&h->plan, &state, since_ms)))
			return NULL;
		since_ms = tl_clock_mono_ms() - h->start_ms;
		if (!probe_run(h, &health))
			continue;
		state = probe_next(&h->plan, state, since_ms,
				   !health.is_timed_out && health.exit_status == 0);
		health.status = state.status;
		h->config->health(h->config->health_ctx, &health);
	}
}

static struct healthcheck *healthcheck_free(struct healthcheck *h)
{
	tl_cancel_free(h->quit);
	if (h->process_json)
		explicit_bzero(h->process_json, strlen(h->process_json));
	free(h->process_json);
	free(h);
	return NULL;
}

static int healthcheck_new(const struct tl_workload *w, const struct probe_plan *plan,
			   const struct tl_strv *args, struct healthcheck **ret,
			   struct tl_error *err)
{
	struct healthcheck *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "health check");
	*h = (struct healthcheck){ .config = &w->config,
				   .start_ms = w->start_ms,
				   .plan = *plan,
				   .quit = tl_cancel_new() };
	r = oci_exec_build(w->spec_json, args, &h->process_json, err);
	if (r == 0 && !h->quit)
		r = tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "health check");
	if (r == 0)
		r = tl_thread_start("tl-health", health_main, h, &h->thread, err);
	if (r < 0)
		return healthcheck_free(h), r;
	*ret = h;
	return 0;
}

int healthcheck_start(const struct tl_workload *w, struct healthcheck **ret, struct tl_error *err)
{
	auto_strv struct tl_strv args = { 0 };
	struct probe_plan plan;
	int kind = w->config.health ? probe_plan_make(&w->config.image->healthcheck, &plan, &args)
				    : PROBE_KIND_NONE;

	*ret = NULL;
	if (kind < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "health check");
	if (kind == PROBE_KIND_UNKNOWN)
		w->config.health(w->config.health_ctx,
				 &(struct tl_workload_health){ .is_unknown = true });
	return kind == PROBE_KIND_COMMAND ? healthcheck_new(w, &plan, &args, ret, err) : 0;
}

struct healthcheck *healthcheck_stop(struct healthcheck *h)
{
	if (!h)
		return NULL;
	tl_cancel_request(h->quit);
	pthread_join(h->thread, NULL);
	return healthcheck_free(h);
}
