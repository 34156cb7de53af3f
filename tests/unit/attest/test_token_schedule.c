/* SPDX-License-Identifier: Apache-2.0 */
/* The token keeper's plan in virtual time: a hundred thousand random patterns of outages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>

#include "attest/token_schedule.h"

#define PATTERNS   100000
#define LIFE_MS    3600000ULL
#define PROMISE_MS 60000ULL
/* An attempt against a dead service lasts at most so long (token_keeper.c). */
#define ATTEMPT_MAX_MS 25000ULL
/* In a minute of failures the attempts are at least 15 s apart. */
#define CALLS_A_MINUTE_MAX 5

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t random_bits(void) /* splitmix64 */
{
	uint64_t z = (seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static double random_unit(void)
{
	return token_unit_random(random_bits());
}

static uint64_t random_ms(uint64_t least, uint64_t most)
{
	return least + random_bits() % (most - least + 1);
}

#define OUTAGES_MAX 6

struct outage {
	uint64_t from_ms, to_ms;
};

struct world {
	struct token_plan plan;
	uint64_t now_ms;
	uint64_t attempts, recent[CALLS_A_MINUTE_MAX];
	struct outage outages[OUTAGES_MAX]; /* in their order, apart from each other */
	size_t n_outages;
};

static void calls_count(struct world *w)
{
	uint64_t oldest = w->recent[w->attempts % CALLS_A_MINUTE_MAX];

	if (w->attempts >= CALLS_A_MINUTE_MAX && w->now_ms - oldest <= 60000)
		fail_msg("%d calls within %llu ms", CALLS_A_MINUTE_MAX + 1,
			 (unsigned long long)(w->now_ms - oldest));
	w->recent[w->attempts++ % CALLS_A_MINUTE_MAX] = w->now_ms;
}

/* The end of the outage that is on from here to @until_ms; 0: the service answers. */
static uint64_t down_until(const struct world *w, uint64_t from_ms, uint64_t until_ms)
{
	for (size_t i = 0; i < w->n_outages; i++)
		if (from_ms < w->outages[i].to_ms && until_ms > w->outages[i].from_ms)
			return w->outages[i].to_ms;
	return 0;
}

/* An outage fails the attempt at once, late, or half-way through it. */
static void attempt(struct world *w)
{
	uint64_t took = random_ms(20, 2000);

	w->now_ms = w->plan.next_at_ms;
	calls_count(w);
	if (down_until(w, w->now_ms, w->now_ms + took)) {
		w->now_ms += random_ms(1, ATTEMPT_MAX_MS);
		token_plan_failure(&w->plan, w->now_ms, 0, random_unit());
		return;
	}
	w->now_ms += took;
	token_plan_success(&w->plan, w->now_ms, LIFE_MS - took, random_unit());
}

/* How long the service answers without a break from the end of outage @i on. */
static uint64_t answers_until(const struct world *w, size_t i)
{
	return i + 1 < w->n_outages ? w->outages[i + 1].from_ms : UINT64_MAX;
}

/*
 * A token expired, or would have: there was no chance to replace it. A chance is a minute, in which
 * the service answers without a break, while an attempt is due: it begins in the last two minutes
 * before the expiry, or after it. Earlier ones are a chance if they are as long as the pauses then
 * are: a quarter of the life left.
 */
static void chances_were_taken(const struct world *w, uint64_t due_ms, uint64_t expires_ms,
			       uint64_t fresh_ms)
{
	for (size_t i = 0; i < w->n_outages; i++) {
		uint64_t begin = w->outages[i].to_ms > due_ms ? w->outages[i].to_ms : due_ms;
		uint64_t left = expires_ms > begin ? expires_ms - begin : 0;
		uint64_t needs = left / 4 + ATTEMPT_MAX_MS + 2000;

		if (needs < PROMISE_MS)
			needs = PROMISE_MS;
		if (begin < answers_until(w, i) && answers_until(w, i) - begin >= needs &&
		    fresh_ms > begin + needs)
			fail_msg("answers from %llu to %llu, expiry %llu, fresh only at %llu",
				 (unsigned long long)begin, (unsigned long long)answers_until(w, i),
				 (unsigned long long)expires_ms, (unsigned long long)fresh_ms);
	}
}

static void outages_make(struct world *w)
{
	static const uint64_t lengths[] = { 90 * 1000ULL, 15 * 60000ULL, LIFE_MS, 3 * LIFE_MS };
	uint64_t at = random_ms(0, LIFE_MS);

	w->n_outages = random_ms(1, OUTAGES_MAX);
	for (size_t i = 0; i < w->n_outages; i++) {
		w->outages[i].from_ms = at;
		at += random_ms(1000, lengths[random_bits() % TL_ARRAY_SIZE(lengths)]);
		w->outages[i].to_ms = at;
		at += random_ms(1000, random_bits() % 2 ? 3 * PROMISE_MS : LIFE_MS);
	}
}

/* One to six outages, of a second to three hours, with pauses of a second to an hour. */
static void one_pattern(uint64_t *ret_expired, uint64_t *ret_calls)
{
	struct world w = { 0 };
	uint64_t due, expiry, end;

	outages_make(&w);
	end = w.outages[w.n_outages - 1].to_ms + LIFE_MS;
	token_plan_success(&w.plan, 0, LIFE_MS, random_unit());
	for (due = w.plan.next_at_ms; w.now_ms < end;) {
		expiry = w.plan.expires_at_ms;
		attempt(&w);
		if (w.plan.failures)
			continue;
		*ret_expired += w.now_ms > expiry;
		chances_were_taken(&w, due, expiry, w.now_ms);
		due = w.plan.next_at_ms;
	}
	*ret_calls += w.attempts;
}

static void random_outages_in_virtual_time(void **state)
{
	uint64_t expired = 0, calls = 0;

	(void)state;
	for (int i = 0; i < PATTERNS; i++)
		one_pattern(&expired, &calls);
	/* The patterns reach what they are about. */
	assert_in_range(expired, PATTERNS / 10, PATTERNS * OUTAGES_MAX);
	print_message("%d patterns of outages: %llu calls, %llu times the token expired in them\n",
		      PATTERNS, (unsigned long long)calls, (unsigned long long)expired);
}

static void a_service_that_asks_for_a_pause_gets_it(void **state)
{
	struct token_plan p;

	(void)state;
	token_plan_success(&p, 0, 1000, 0);
	token_plan_failure(&p, 5000, 120000, 0);
	assert_int_equal(p.next_at_ms, 125000);
	token_plan_failure(&p, 5000, 120000, 0.999);
	assert_in_range(p.next_at_ms, 5000 + 179000, 5000 + 180000);
	token_plan_failure(&p, 200000, UINT64_MAX, 0);
	assert_int_equal(p.next_at_ms, 200000 + TOKEN_RETRY_AFTER_MAX_MS);
}

static void odd_lives_make_no_storm_and_no_overflow(void **state)
{
	struct token_plan p;

	(void)state;
	token_plan_success(&p, 7, 0, 0.999);
	assert_int_equal(p.next_at_ms, 7 + TOKEN_PAUSE_MIN_MS);
	assert_int_equal(p.expires_at_ms, 7);
	token_plan_success(&p, 7, UINT64_MAX, 0.999);
	assert_true(p.next_at_ms > 7 && p.next_at_ms < p.expires_at_ms);
	for (int i = 0; i < 100; i++)
		token_plan_failure(&p, p.expires_at_ms, 0, 0);
	assert_int_equal(p.failures, 100);
	assert_int_equal(p.next_at_ms, p.expires_at_ms + TOKEN_URGENT_WAIT_MS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_outages_in_virtual_time),
		cmocka_unit_test(a_service_that_asks_for_a_pause_gets_it),
		cmocka_unit_test(odd_lives_make_no_storm_and_no_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
