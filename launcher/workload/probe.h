/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When an image's HEALTHCHECK is run, and what follows from how it ends: as Docker does it
 * (Dockerfile reference, HEALTHCHECK). Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/image_config.h>

enum probe_status { PROBE_NONE, PROBE_STARTING, PROBE_HEALTHY, PROBE_UNHEALTHY };

/** "none", "starting", "healthy", "unhealthy" */
const char *probe_status_name(enum probe_status status);

/* Within PROBE_..._MS and PROBE_RETRIES_MAX, whatever the image says. */
struct probe_plan {
	uint64_t interval_ms, timeout_ms, start_period_ms, start_interval_ms;
	uint64_t retries;
};

/* A process in a container takes a good part of a second; one a day is none. */
#define PROBE_LEAST_MS    1000
#define PROBE_MOST_MS     (24 * 3600 * 1000)
#define PROBE_RETRIES_MAX 1000

enum probe_kind {
	PROBE_KIND_NONE,    /* no HEALTHCHECK, or NONE */
	PROBE_KIND_COMMAND, /* one to run */
	PROBE_KIND_UNKNOWN, /* a form that isn't known, or without a command */
};

/**
 * @ret_plan  set for PROBE_KIND_COMMAND
 * @ret_args  empty before; what to run. CMD-SHELL by /bin/sh -c.
 * Returns an enum probe_kind, or -ENOMEM.
 */
int probe_plan_make(const struct tl_healthcheck *h, struct probe_plan *ret_plan,
		    struct tl_strv *ret_args);

struct probe_state {
	enum probe_status status; /* PROBE_STARTING at first */
	uint64_t streak;          /* failures in a row that count */
};

/** So long after the end of the last probe, or the workload's start, comes the next one. */
uint64_t probe_wait_ms(const struct probe_plan *plan, const struct probe_state *state,
		       uint64_t since_start_ms);

/** @since_start_ms  at the beginning of the probe */
struct probe_state probe_next(const struct probe_plan *plan, struct probe_state state,
			      uint64_t since_start_ms, bool is_well);
