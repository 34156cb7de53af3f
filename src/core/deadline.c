/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/deadline.h>

struct tl_deadline tl_deadline_in(uint64_t now_ms, uint64_t budget_ms)
{
	bool wraps = budget_ms > UINT64_MAX - now_ms;

	return (struct tl_deadline){ .at_ms = wraps ? UINT64_MAX : now_ms + budget_ms };
}

struct tl_deadline tl_deadline_never(void)
{
	return (struct tl_deadline){ .at_ms = UINT64_MAX };
}

struct tl_deadline tl_deadline_min(struct tl_deadline a, struct tl_deadline b)
{
	return a.at_ms < b.at_ms ? a : b;
}

bool tl_deadline_is_past(struct tl_deadline d, uint64_t now_ms)
{
	return d.at_ms != UINT64_MAX && now_ms >= d.at_ms;
}

uint64_t tl_deadline_left_ms(struct tl_deadline d, uint64_t now_ms)
{
	if (d.at_ms == UINT64_MAX)
		return UINT64_MAX;
	return now_ms >= d.at_ms ? 0 : d.at_ms - now_ms;
}

bool tl_backoff_next(const struct tl_backoff *b, unsigned int attempt, uint64_t random,
		     uint64_t *ret_ms)
{
	uint64_t limit = b->base_ms;

	if (attempt < 2 || attempt > b->attempts_max)
		return false;
	for (unsigned int i = 2; i < attempt && limit < b->cap_ms; i++)
		limit = limit > UINT64_MAX / 2 ? UINT64_MAX : limit * 2;
	if (limit > b->cap_ms)
		limit = b->cap_ms;
	*ret_ms = limit == UINT64_MAX ? random : random % (limit + 1);
	return true;
}
