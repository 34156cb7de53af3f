/* SPDX-License-Identifier: Apache-2.0 */
#include "probe.h"

#include <errno.h>
#include <string.h>

#define NS_PER_MS 1000000

/* What Docker does where nothing is said. */
#define INTERVAL_MS       30000
#define TIMEOUT_MS        30000
#define START_INTERVAL_MS 5000
#define RETRIES           3

const char *probe_status_name(enum probe_status status)
{
	static const char *const names[] = {
		[PROBE_NONE] = "none",
		[PROBE_STARTING] = "starting",
		[PROBE_HEALTHY] = "healthy",
		[PROBE_UNHEALTHY] = "unhealthy",
	};

	return names[status];
}

static uint64_t within(uint64_t ns, uint64_t least_ms, uint64_t if_zero_ms)
{
	uint64_t ms = ns / NS_PER_MS;

	if (ns == 0)
		return if_zero_ms;
	if (ms > PROBE_MOST_MS)
		return PROBE_MOST_MS;
	return ms < least_ms ? least_ms : ms;
}

/* The words before the image's own. */
static int words_before(const struct tl_strv *test, struct tl_strv *ret)
{
	if (strcmp(test->items[0], "CMD-SHELL") != 0)
		return 0;
	return tl_strv_add(ret, "/bin/sh") < 0 || tl_strv_add(ret, "-c") < 0 ? -ENOMEM : 0;
}

int probe_plan_make(const struct tl_healthcheck *h, struct probe_plan *ret_plan,
		    struct tl_strv *ret_args)
{
	const struct tl_strv *test = &h->test;
	bool is_shell;

	if (test->n == 0 || (test->n == 1 && strcmp(test->items[0], "NONE") == 0))
		return PROBE_KIND_NONE;
	is_shell = strcmp(test->items[0], "CMD-SHELL") == 0;
	if ((!is_shell && strcmp(test->items[0], "CMD") != 0) || test->n < 2 ||
	    (is_shell && test->n != 2))
		return PROBE_KIND_UNKNOWN;
	if (words_before(test, ret_args) < 0)
		return -ENOMEM;
	for (size_t i = 1; i < test->n; i++)
		if (tl_strv_add(ret_args, test->items[i]) < 0)
			return -ENOMEM;
	*ret_plan = (struct probe_plan){
		.interval_ms = within(h->interval_ns, PROBE_LEAST_MS, INTERVAL_MS),
		.timeout_ms = within(h->timeout_ns, PROBE_LEAST_MS, TIMEOUT_MS),
		.start_period_ms = within(h->start_period_ns, 0, 0),
		.start_interval_ms =
			within(h->start_interval_ns, PROBE_LEAST_MS, START_INTERVAL_MS),
		.retries = h->retries == 0                  ? RETRIES
			   : h->retries > PROBE_RETRIES_MAX ? PROBE_RETRIES_MAX
							    : h->retries,
	};
	return PROBE_KIND_COMMAND;
}

uint64_t probe_wait_ms(const struct probe_plan *plan, const struct probe_state *state,
		       uint64_t since_start_ms)
{
	bool is_starting =
		state->status == PROBE_STARTING && since_start_ms < plan->start_period_ms;

	return is_starting ? plan->start_interval_ms : plan->interval_ms;
}

struct probe_state probe_next(const struct probe_plan *plan, struct probe_state state,
			      uint64_t since_start_ms, bool is_well)
{
	if (is_well)
		return (struct probe_state){ .status = PROBE_HEALTHY };
	/* Nobody expects it to be well before it is up. */
	if (state.status == PROBE_STARTING && since_start_ms < plan->start_period_ms)
		return state;
	state.streak++;
	if (state.streak >= plan->retries)
		state.status = PROBE_UNHEALTHY;
	return state;
}
