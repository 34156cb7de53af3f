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
