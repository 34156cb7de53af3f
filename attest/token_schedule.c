/* SPDX-License-Identifier: Apache-2.0 */
#include "token_schedule.h"

#define SECOND_NS        1000000000LL
#define BACKOFF_BASE_NS  (60 * SECOND_NS)
#define BACKOFF_LIMIT_NS (3600 * SECOND_NS)

double token_unit_random(uint64_t bits)
{
	return (double)(bits >> 11) * 0x1.0p-53;
}

/* One operation a line: the build forbids contraction, and this shows the order. */
int64_t token_next_wait_ns(int64_t remaining_ns, double random)
{
	const double life = remaining_ns > 0 ? (double)remaining_ns : 0;
	const double spread = 0.1 * life;
	const double center = 0.8 * life;
	const double earliest = center - spread;
	const double jitter = (random * 2) * spread;

	return (int64_t)(earliest + jitter);
}

int64_t token_backoff_ns(unsigned int attempt, double random)
{
	int64_t base = BACKOFF_BASE_NS;
	double earliest, latest;

	for (unsigned int i = 1; i < attempt && base < BACKOFF_LIMIT_NS; i++)
		base *= 2;
	if (base > BACKOFF_LIMIT_NS)
		base = BACKOFF_LIMIT_NS;
	earliest = (double)base * 0.5;
	latest = (double)base * 1.5;
	return (int64_t)(earliest + random * (latest - earliest + 1));
}

#define MS_NS       1000000LL
#define LIFE_MAX_MS (TOKEN_LIFE_MAX_S * UINT64_C(1000))

static uint64_t at_least(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void token_plan_success(struct token_plan *p, uint64_t now_ms, uint64_t life_ms, double random)
{
	uint64_t life = at_most(life_ms, LIFE_MAX_MS);
	uint64_t wait = (uint64_t)(token_next_wait_ns((int64_t)life * MS_NS, random) / MS_NS);

	*p = (struct token_plan){
		.expires_at_ms = now_ms + life,
		.next_at_ms = now_ms + at_least(wait, TOKEN_PAUSE_MIN_MS),
	};
}

void token_plan_failure(struct token_plan *p, uint64_t now_ms, uint64_t retry_after_ms,
			double random)
{
	uint64_t left = p->expires_at_ms > now_ms ? p->expires_at_ms - now_ms : 0;
	uint64_t limit = at_least(left / 4, TOKEN_URGENT_WAIT_MS);
	uint64_t wait;
	double pause;

	p->failures++;
	wait = (uint64_t)(token_backoff_ns(p->failures, random) / MS_NS);
	if (wait > limit)
		wait = (uint64_t)((double)limit * (0.5 + random / 2));
	/* All who were refused together would come back together. */
	pause = (double)at_most(retry_after_ms, TOKEN_RETRY_AFTER_MAX_MS) * (1 + random / 2);
	p->next_at_ms = now_ms + at_least(wait, (uint64_t)pause);
}
