/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token keeper. Its plan in virtual time: a hundred thousand random outages. Its thread in real
 * time, against a verifier that does as it is told, with tokens that live for seconds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/file.h>
#include <teelaunch/token_keeper.h>

#include "attest/token_schedule.h"
#include "attest/verifier_ops.h"

/* --- virtual time ------------------------------------------------------------------------- */

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

struct world {
	struct token_plan plan;
	uint64_t now_ms;
	uint64_t attempts, recent[CALLS_A_MINUTE_MAX];
};

/* The service is down from @from to @to. */
static void attempt(struct world *w, uint64_t from, uint64_t to)
{
	uint64_t took, oldest = w->recent[w->attempts % CALLS_A_MINUTE_MAX];

	w->now_ms = w->plan.next_at_ms;
	if (w->attempts >= CALLS_A_MINUTE_MAX && w->now_ms - oldest <= 60000)
		fail_msg("%d calls within %llu ms", CALLS_A_MINUTE_MAX + 1,
			 (unsigned long long)(w->now_ms - oldest));
	w->recent[w->attempts++ % CALLS_A_MINUTE_MAX] = w->now_ms;
	if (w->now_ms >= from && w->now_ms < to) {
		took = random_ms(1, ATTEMPT_MAX_MS);
		w->now_ms += took;
		token_plan_failure(&w->plan, w->now_ms, 0, random_unit());
		return;
	}
	took = random_ms(20, 2000);
	w->now_ms += took;
	token_plan_success(&w->plan, w->now_ms, LIFE_MS - took, random_unit());
}

/* One outage anywhere, of a second to three hours; how long the token was missing after it. */
static void one_outage(uint64_t *ret_expired, uint64_t *ret_calls)
{
	struct world w = { 0 };
	uint64_t from = random_ms(0, 2 * LIFE_MS), to = from + random_ms(1000, 3 * LIFE_MS);
	uint64_t expiry;

	token_plan_success(&w.plan, 0, LIFE_MS, random_unit());
	do {
		expiry = w.plan.expires_at_ms;
		attempt(&w, from, to);
		/* The service answered for the whole minute before the expiry, and yet: */
		if (w.plan.failures == 0 && w.now_ms > expiry) {
			*ret_expired += 1;
			if (to + PROMISE_MS <= expiry)
				fail_msg("expired though the service was back %llu ms before",
					 (unsigned long long)(expiry - to));
		}
		/* Near or after the expiry a recovery is noticed within a minute. */
		if (w.plan.failures == 0 && to + 2 * PROMISE_MS > expiry && from < w.now_ms &&
		    to > from && w.now_ms > to && expiry > from && w.now_ms - to > PROMISE_MS &&
		    w.now_ms > expiry)
			fail_msg("fresh only %llu ms after the recovery",
				 (unsigned long long)(w.now_ms - to));
	} while (w.now_ms < to + LIFE_MS);
	*ret_calls += w.attempts;
}

static void random_outages_in_virtual_time(void **state)
{
	uint64_t expired = 0, calls = 0;

	(void)state;
	for (int i = 0; i < PATTERNS; i++)
		one_outage(&expired, &calls);
	/* The patterns reach what they are about. */
	assert_in_range(expired, PATTERNS / 10, PATTERNS);
	print_message("%d outages: %llu calls, %llu times the token expired in the outage\n",
		      PATTERNS, (unsigned long long)calls, (unsigned long long)expired);
}

static void a_service_that_asks_for_a_pause_gets_it(void **state)
{
	struct token_plan p;

	(void)state;
	token_plan_success(&p, 0, 1000, 0);
	token_plan_failure(&p, 5000, 120000, 0.5);
	assert_int_equal(p.next_at_ms, 125000);
	token_plan_failure(&p, 200000, UINT64_MAX, 0.5);
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

static void the_expiry_wakes_once(void **state)
{
	struct token_plan p = { .expires_at_ms = 100, .next_at_ms = 200 };

	(void)state;
	assert_int_equal(token_plan_wake_ms(&p, 0), 100);
	assert_int_equal(token_plan_wake_ms(&p, 100), 200);
	p.next_at_ms = 50;
	assert_int_equal(token_plan_wake_ms(&p, 0), 50);
}

/* --- real time ---------------------------------------------------------------------------- */

struct service {
	atomic_int is_down;
	atomic_int calls;
	int life_s;
	char dir[64], parent[48];
	struct tl_cancel *quit;
	struct tl_verifier *verifier;
	atomic_int refreshed, failed, expired;
};

static void part_add(struct tl_buf *b, const char *text)
{
	auto_free char *part = tl_base64_encode(TL_BASE64_URL, text, strlen(text));

	assert_non_null(part);
	assert_int_equal(tl_buf_printf(b, "%s", part), 0);
}

static void jwt_make(int64_t iat_s, int64_t exp_s, struct tl_secret *ret)
{
	auto_buf struct tl_buf b = { 0 };
	char claims[128];

	tl_buf_init(&b, 1024);
	snprintf(claims, sizeof(claims), "{\"iat\":%lld,\"exp\":%lld}", (long long)iat_s,
		 (long long)exp_s);
	part_add(&b, "{\"alg\":\"RS256\"}");
	assert_int_equal(tl_buf_printf(&b, "."), 0);
	part_add(&b, claims);
	assert_int_equal(tl_buf_printf(&b, ".c2ln"), 0);
	assert_int_equal(tl_secret_set(ret, (const char *)b.data, b.len_bytes), 0);
}

static int service_attempt(void *impl, const struct verifier_attempt *a,
			   struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
			   struct tl_error *err)
{
	struct service *s = impl;
	int64_t now_s = tl_clock_real_s();

	(void)a;
	atomic_fetch_add(&s->calls, 1);
	if (atomic_load(&s->is_down)) {
		*ret_retry_after_ms = 500;
		return tl_fail(err, TL_E_VERIFIER_BUSY, EAGAIN, "down");
	}
	jwt_make(now_s, now_s + s->life_s, &ret->token);
	return 0;
}

static void service_close(void *impl)
{
	(void)impl;
}

static const struct verifier_ops service_ops = { service_attempt, service_close };

static void on_event(void *ctx, enum tl_token_event event, const struct tl_token_status *status,
		     const struct tl_error *err)
{
	struct service *s = ctx;

	assert_non_null(status);
	assert_true((event == TL_TOKEN_REFRESH_FAILED) == (err != NULL));
	atomic_fetch_add(event == TL_TOKEN_REFRESHED        ? &s->refreshed
			 : event == TL_TOKEN_REFRESH_FAILED ? &s->failed
							    : &s->expired,
			 1);
}

static int service_make(void **state)
{
	struct service *s = calloc(1, sizeof(*s));
	const struct tl_verifier_options options = { 0 };

	snprintf(s->parent, sizeof(s->parent), "/tmp/tl-keeper-XXXXXX");
	assert_non_null(mkdtemp(s->parent));
	snprintf(s->dir, sizeof(s->dir), "%s/shared", s->parent);
	s->quit = tl_cancel_new();
	assert_int_equal(verifier_new(&service_ops, s, &options, &s->verifier, NULL), 0);
	*state = s;
	return 0;
}

static int service_drop(void **state)
{
	struct service *s = *state;

	tl_verifier_close(s->verifier);
	tl_cancel_free(s->quit);
	tl_token_files_remove(s->dir, NULL);
	rmdir(s->dir);
	rmdir(s->parent);
	free(s);
	return 0;
}

static struct tl_token_keeper *keep(struct service *s, int64_t life_s)
{
	auto_attest_result struct tl_attest_result first = { 0 };
	const struct tl_token_keeper_options options = { .verifier = s->verifier,
							 .dir = s->dir,
							 .quit = s->quit,
							 .event = on_event,
							 .event_ctx = s };
	struct tl_token_keeper *k = NULL;
	struct tl_error err = { 0 };
	int64_t now_s = tl_clock_real_s();

	jwt_make(now_s, now_s + life_s, &first.token);
	assert_int_equal(tl_jwt_read(first.token.bytes, first.token.len_bytes, &first.claims, NULL),
			 0);
	assert_int_equal(tl_token_keeper_start(&options, &first, &k, &err), 0);
	return k;
}

static void wait_for(atomic_int *counter, int n)
{
	for (int i = 0; i < 1000 && atomic_load(counter) < n; i++)
		tl_clock_sleep_ms(20);
	assert_true(atomic_load(counter) >= n);
}

static json_t *status_file(const struct service *s)
{
	char path[128];
	json_t *o;

	snprintf(path, sizeof(path), "%s/" TL_TOKEN_STATUS_NAME, s->dir);
	o = json_load_file(path, 0, NULL);
	assert_non_null(o);
	return o;
}

static void assert_state(const struct service *s, const char *state, int attempts, const char *code)
{
	json_auto_t *o = status_file(s);
	const json_t *e = json_object_get(o, "last_error");

	assert_string_equal(json_string_value(json_object_get(o, "state")), state);
	assert_true(json_integer_value(json_object_get(o, "attempts")) >= attempts);
	assert_true(json_integer_value(json_object_get(o, "next_attempt_at")) > 0);
	if (code)
		assert_string_equal(json_string_value(json_object_get(e, "code")), code);
	else
		assert_true(json_is_null(e));
}

static void a_token_is_refreshed_before_it_expires(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;
	struct tl_token_status status;

	s->life_s = 3;
	k = keep(s, 3);
	assert_state(s, "valid", 0, NULL);
	wait_for(&s->refreshed, 2);
	tl_token_keeper_status(k, &status);
	assert_int_equal(status.state, TL_TOKEN_VALID);
	assert_true(status.expires_at_s > tl_clock_real_s());
	assert_int_equal(atomic_load(&s->expired), 0);
	tl_token_keeper_stop(k);
}

static void an_outage_shows_as_stale_then_expired_and_ends(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;

	s->life_s = 3600;
	atomic_store(&s->is_down, 1);
	k = keep(s, 3);
	wait_for(&s->failed, 1);
	assert_state(s, "stale", 1, "TL0801");
	wait_for(&s->expired, 1);
	assert_state(s, "expired", 1, "TL0801");
	assert_int_equal(atomic_load(&s->expired), 1);
	tl_token_keeper_stop(k); /* at once, though the next attempt is 15 s away */
	assert_int_equal(atomic_load(&s->refreshed), 0);
}

static void a_folder_that_takes_no_token_is_a_failure(void **state)
{
	struct service *s = *state;
	char path[128];
	struct tl_token_keeper *k;

	s->life_s = 3600;
	k = keep(s, 2);
	snprintf(path, sizeof(path), "%s/" TL_TOKEN_FILE_NAME, s->dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0); /* a folder in the file's place */
	wait_for(&s->failed, 1);
	assert_state(s, "stale", 1, "TL0809");
	tl_token_keeper_stop(k);
	assert_int_equal(rmdir(path), 0);
}

static void a_clock_that_is_behind_makes_no_token_younger(void **state)
{
	auto_attest_result struct tl_attest_result first = { 0 };
	struct service *s = *state;
	const struct tl_token_keeper_options options = { .verifier = s->verifier,
							 .dir = s->dir,
							 .quit = s->quit,
							 .event = on_event,
							 .event_ctx = s };
	struct tl_token_keeper *k = NULL;
	int64_t ahead_s = tl_clock_real_s() + 3600; /* the verifier's clock */

	s->life_s = 3600;
	jwt_make(ahead_s, ahead_s + 2, &first.token);
	assert_int_equal(tl_jwt_read(first.token.bytes, first.token.len_bytes, &first.claims, NULL),
			 0);
	assert_int_equal(tl_token_keeper_start(&options, &first, &k, NULL), 0);
	wait_for(&s->refreshed, 1);
	tl_token_keeper_stop(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_outages_in_virtual_time),
		cmocka_unit_test(a_service_that_asks_for_a_pause_gets_it),
		cmocka_unit_test(odd_lives_make_no_storm_and_no_overflow),
		cmocka_unit_test(the_expiry_wakes_once),
		cmocka_unit_test_setup_teardown(a_token_is_refreshed_before_it_expires,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(an_outage_shows_as_stale_then_expired_and_ends,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_folder_that_takes_no_token_is_a_failure,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_clock_that_is_behind_makes_no_token_younger,
						service_make, service_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
