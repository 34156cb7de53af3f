/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Monitoring, as the operator asks for it (tee-monitoring-enable) and the image allows it: samples
 * while the workload runs, each a line "health.sample" of the log, which the console doesn't get;
 * and warnings when memory runs short. One thread: the one that waits for the workload.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>
#include <teelaunch/launch_spec.h>

#include "sample.h"

struct health_options {
	enum tl_monitoring level; /* more than none */
	uint64_t period_ms;       /* at least 1 */
	struct sample_options sample;
	/* Gets each sample; must not block. NULL: nobody. */
	void (*sink)(void *ctx, const struct sample *s);
	void *sink_ctx;
};

struct health;

/** @options  its strings are borrowed until health_close(). TL_E_NO_MEMORY. */
int health_open(const struct health_options *options, struct health **ret, struct tl_error *err);
struct health *health_close(struct health *h); /* NULL is fine; always returns NULL */

/**
 * Take a sample if one is due: the first one at once.
 * @now_ms  of tl_clock_mono_ms()
 * Returns in how many milliseconds the next one is.
 */
uint64_t health_step(struct health *h, uint64_t now_ms);

/* --- pure, for the tests --------------------------------------------------------------------- */

/**
 * When the sample after the one that was due at @due_ms is due. Samples that were missed are left
 * out: the machine was busy or asleep.
 */
uint64_t health_due_next(uint64_t due_ms, uint64_t now_ms, uint64_t period_ms);

/** The line of the log: @before is NULL for the first one. 0 or -ENOMEM. */
int health_line(const struct sample *before, const struct sample *now, struct tl_buf *ret);

/* What two samples say of memory. */
struct health_verdict {
	bool is_short;      /* tasks wait for memory a good part of the time */
	uint64_t stall_ms;  /* for so long some of them did */
	uint64_t period_ms; /* out of so many */
	uint64_t oom_kills; /* new ones, of the workload's processes */
};

/** @was_short  the last verdict: between the two limits it stays */
struct health_verdict health_judge(const struct sample *before, const struct sample *now,
				   bool was_short);
