/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token keeper. Its plan in virtual time: a hundred thousand random patterns of outages. Its
 * thread in real time, against a verifier that does as it is told, with tokens that live for
 * seconds.
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

/* --- real time ---------------------------------------------------------------------------- */

struct service {
	atomic_int is_down;
	atomic_int is_slow;       /* as if nothing came back: until the end */
	atomic_int clock_ahead_s; /* of this machine's, as the service's Date says it */
	atomic_int calls;
	int life_s;
	int64_t first_exp_s;
	char dir[64], parent[48];
	struct tl_cancel *quit;
	struct tl_verifier *verifier;
	atomic_int refreshed, failed, expired;
	atomic_int prepared, warned;
};

/* This machine's clock stands still at this time; 0: it goes. */
static _Atomic int64_t frozen_ms;

int64_t __real_tl_clock_real_ms(void);
int64_t __wrap_tl_clock_real_ms(void);
int64_t __wrap_tl_clock_real_s(void);

int64_t __wrap_tl_clock_real_ms(void)
{
	int64_t ms = atomic_load(&frozen_ms);

	return ms ? ms : __real_tl_clock_real_ms();
}

int64_t __wrap_tl_clock_real_s(void)
{
	return __wrap_tl_clock_real_ms() / 1000;
}

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
	int64_t now_s = __real_tl_clock_real_ms() / 1000; /* the service's own clock */

	(void)a;
	atomic_fetch_add(&s->calls, 1);
	if (atomic_load(&s->is_slow))
		(void)tl_cancel_sleep(s->quit, 30000);
	if (atomic_load(&s->is_down)) {
		*ret_retry_after_ms = 500;
		return tl_fail(err, TL_E_VERIFIER_BUSY, EAGAIN, "down");
	}
	now_s += ret->date_s = atomic_load(&s->clock_ahead_s);
	ret->date_s = ret->date_s || atomic_load(&frozen_ms) ? now_s : 0;
	jwt_make(now_s, now_s + s->life_s, &ret->token);
	return tl_strv_add(&ret->warnings, "a partial error");
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

/* Before the attempt, with a part of the old token's life. */
static void on_prepare(void *ctx, uint64_t budget_ms)
{
	struct service *s = ctx;

	assert_in_range(budget_ms, 1, (uint64_t)s->life_s * 250);
	assert_int_equal(atomic_fetch_add(&s->prepared, 1), atomic_load(&s->calls));
}

static void on_warning(void *ctx, const char *words)
{
	struct service *s = ctx;

	assert_string_equal(words, "a partial error");
	assert_int_equal(atomic_fetch_add(&s->warned, 1), atomic_load(&s->refreshed));
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
							 .prepare = on_prepare,
							 .prepare_ctx = s,
							 .warning = on_warning,
							 .event = on_event,
							 .event_ctx = s };
	struct tl_token_keeper *k = NULL;
	struct tl_error err = { 0 };
	int64_t now_s = tl_clock_real_s();

	s->first_exp_s = now_s + life_s;
	first.now_ms = tl_clock_real_ms();
	jwt_make(now_s, s->first_exp_s, &first.token);
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

/* After a failure. A machine that stood still in between may have got to the expiry. */
static void assert_stale(const struct service *s, const char *code)
{
	json_auto_t *o = status_file(s);

	if (strcmp(json_string_value(json_object_get(o, "state")), "expired") == 0) {
		assert_true(tl_clock_real_s() + 1 >= s->first_exp_s);
		assert_state(s, "expired", 1, code);
	} else {
		assert_state(s, "stale", 1, code);
	}
}

static void a_token_is_refreshed_before_it_expires(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;
	struct tl_token_status status;

	s->life_s = 5;
	k = keep(s, 5);
	assert_state(s, "valid", 0, NULL);
	wait_for(&s->refreshed, 2);
	tl_token_keeper_status(k, &status);
	assert_int_equal(status.state, TL_TOKEN_VALID);
	assert_true(status.expires_at_s > tl_clock_real_s());
	assert_int_equal(atomic_load(&s->expired), 0);
	tl_token_keeper_stop(k);
	assert_int_equal(atomic_load(&s->prepared), atomic_load(&s->calls));
	assert_int_equal(atomic_load(&s->warned), atomic_load(&s->refreshed));
}

static void an_outage_shows_as_stale_then_expired_and_ends(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;

	s->life_s = 3600;
	atomic_store(&s->is_down, 1);
	k = keep(s, 3);
	wait_for(&s->failed, 1);
	assert_stale(s, "TL0801");
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
	assert_stale(s, "TL0809");
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
	first.now_ms = tl_clock_real_ms(); /* no Date: this machine's is believed */
	jwt_make(ahead_s, ahead_s + 2, &first.token);
	assert_int_equal(tl_jwt_read(first.token.bytes, first.token.len_bytes, &first.claims, NULL),
			 0);
	assert_int_equal(tl_token_keeper_start(&options, &first, &k, NULL), 0);
	wait_for(&s->refreshed, 1);
	tl_token_keeper_stop(k);
}

/* The expiry comes while an attempt hangs. */
static void a_token_that_expires_in_an_attempt_says_so_at_once(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;
	uint64_t begun_ms = tl_clock_mono_ms();

	s->life_s = 3600;
	atomic_store(&s->is_slow, 1);
	k = keep(s, 3);
	wait_for(&s->calls, 1);
	wait_for(&s->expired, 1);
	assert_in_range(tl_clock_mono_ms() - begun_ms, 1900, 15000);
	assert_state(s, "expired", 0, NULL);
	assert_int_equal(atomic_load(&s->calls), 1); /* still the same one */
	tl_token_keeper_stop(k);
}

/* This machine's clock jumps by an hour, either way, after the first token: the service's own says
 * how long tokens live. */
static void a_clock_that_jumps_delays_no_refresh_and_is_told(void **state)
{
	struct service *s = *state;
	struct tl_token_status status;
	struct tl_token_keeper *k;

	s->life_s = 6;
	k = keep(s, 4);
	for (int n = 0; n < 2; n++) {
		int ahead_s = n ? -3600 : 3600, before = atomic_load(&s->refreshed);

		atomic_store(&s->clock_ahead_s, ahead_s);
		wait_for(&s->refreshed, before + 1);
		tl_token_keeper_status(k, &status);
		assert_int_equal(status.state, TL_TOKEN_VALID);
		assert_in_range(status.clock_skew_s + 10000, 10000 - ahead_s - 2,
				10000 - ahead_s + 2);
	}
	assert_int_equal(atomic_load(&s->failed) + atomic_load(&s->expired), 0);
	tl_token_keeper_stop(k);
}

/* A host that stops the machine's clock: waits are by the one that the kernel counts itself. */
static void a_clock_that_stands_still_delays_no_refresh(void **state)
{
	struct service *s = *state;
	struct tl_token_status status;
	struct tl_token_keeper *k;

	s->life_s = 5;
	atomic_store(&frozen_ms, tl_clock_real_ms());
	k = keep(s, 4);
	wait_for(&s->refreshed, 2);
	tl_token_keeper_status(k, &status);
	assert_int_equal(status.state, TL_TOKEN_VALID);
	assert_true(status.clock_skew_s < -5);
	assert_int_equal(atomic_load(&s->failed) + atomic_load(&s->expired), 0);
	tl_token_keeper_stop(k);
	atomic_store(&frozen_ms, 0);
}

/* Further off than a day is no clock: then a token's dates have to fit this machine's. */
static void a_date_from_another_age_is_not_believed(void **state)
{
	struct service *s = *state;
	struct tl_token_keeper *k;

	s->life_s = 3600;
	atomic_store(&s->clock_ahead_s, -20 * 365 * 86400);
	k = keep(s, 2);
	wait_for(&s->failed, 1);
	assert_stale(s, tl_catalogue_find(TL_E_TOKEN_EXPIRED)->id);
	tl_token_keeper_stop(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_outages_in_virtual_time),
		cmocka_unit_test(a_service_that_asks_for_a_pause_gets_it),
		cmocka_unit_test(odd_lives_make_no_storm_and_no_overflow),
		cmocka_unit_test_setup_teardown(a_token_is_refreshed_before_it_expires,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(an_outage_shows_as_stale_then_expired_and_ends,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_folder_that_takes_no_token_is_a_failure,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_clock_that_is_behind_makes_no_token_younger,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_token_that_expires_in_an_attempt_says_so_at_once,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_clock_that_jumps_delays_no_refresh_and_is_told,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_clock_that_stands_still_delays_no_refresh,
						service_make, service_drop),
		cmocka_unit_test_setup_teardown(a_date_from_another_age_is_not_believed,
						service_make, service_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
