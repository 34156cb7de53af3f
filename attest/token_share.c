/* SPDX-License-Identifier: Apache-2.0 */
#include "token_share.h"

void token_shares_init(struct token_shares *s, uint64_t per_minute, uint64_t burst, uint64_t now_ms)
{
	*s = (struct token_shares){ .per_minute = per_minute,
				    .burst = burst,
				    .total = token_bucket_new(per_minute, burst, now_ms) };
}

static bool is_sharing(const struct token_sharer *c, uint64_t now_ms)
{
	return c->has_asked &&
	       (now_ms < c->asked_at_ms || now_ms - c->asked_at_ms < TOKEN_SHARE_MS);
}

static uint64_t rate_part(const struct token_shares *s, size_t n)
{
	return s->per_minute / n ? s->per_minute / n : 1;
}

bool token_shares_take(struct token_shares *s, size_t who, uint64_t now_ms, uint64_t *ret_wait_ms)
{
	struct token_sharer *c = &s->callers[who < TOKEN_CALLERS_MAX ? who : TOKEN_CALLERS_MAX - 1];
	bool is_new = !is_sharing(c, now_ms);
	size_t n = 0;

	/* Who is refused shares too: else the one who is quicker would have it all. */
	c->has_asked = true;
	c->asked_at_ms = now_ms;
	for (size_t i = 0; i < TOKEN_CALLERS_MAX; i++)
		n += is_sharing(&s->callers[i], now_ms);
	if (is_new)
		c->bucket = token_bucket_new(rate_part(s, n), s->burst, now_ms);
	else
		token_bucket_adapt(&c->bucket, rate_part(s, n), s->burst, now_ms);
	if (!token_bucket_has(&c->bucket, now_ms, ret_wait_ms) ||
	    !token_bucket_take(&s->total, now_ms, ret_wait_ms))
		return false;
	return token_bucket_take(&c->bucket, now_ms, ret_wait_ms);
}
