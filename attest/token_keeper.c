/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/token_keeper.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "token_schedule.h"

#define ATTEMPT_DEFAULT_MS 25000
/* Later ones are as good as never, and can be counted in milliseconds no more. */
#define EXPIRY_MAX_S (INT64_MAX / 2000)

/* The expiry is looked at so often at least: a machine that slept wakes to an old token. */
#define LOOK_MS 10000
/* What comes before an attempt may take this part of the life left. */
#define PREPARE_OF_LIFE 4

struct tl_token_keeper {
	struct tl_token_keeper_options options;
	struct token_plan plan; /* "tl-token"'s own */
	pthread_t thread, watch;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* a new expiry, or the end */
	/* behind @lock, and so is the writing of both files */
	struct tl_token_status status;
	uint64_t expires_at_ms;
	bool is_ending;
};

/* The shorter of what the believed clock and the token's own dates say: a clock that is behind must
 * not make a token look younger than it is. */
static uint64_t life_ms(const struct tl_attest_result *got)
{
	int64_t left_ms = got->claims.exp_s < EXPIRY_MAX_S ? got->claims.exp_s * 1000 - got->now_ms
							   : TOKEN_LIFE_MAX_S * 1000;
	int64_t whole_s = got->claims.exp_s - got->claims.iat_s;

	if (got->claims.has_iat && whole_s > 0 && whole_s < left_ms / 1000)
		left_ms = whole_s * 1000;
	return left_ms > 0 ? (uint64_t)left_ms : 0;
}

/* The wall clock at a point of monotonic time. */
static int64_t real_at_s(uint64_t at_ms, uint64_t now_ms)
{
	return tl_clock_real_s() + (at_ms > now_ms ? (int64_t)((at_ms - now_ms) / 1000) : 0);
}

static void tell(const struct tl_token_keeper *k, enum tl_token_event event,
		 const struct tl_token_status *status, const struct tl_error *err)
{
	if (k->options.event)
		k->options.event(k->options.event_ctx, event, status, err);
}

/* The token first: a status must not promise what the file doesn't hold. */
static int files_write(struct tl_token_keeper *k, const struct tl_attest_result *got,
		       const struct tl_token_status *status, struct tl_error *err)
{
	int r;

	pthread_mutex_lock(&k->lock);
	r = tl_token_file_write(k->options.dir, &got->token, err);
	if (r == 0) {
		k->status = *status;
		k->expires_at_ms = k->plan.expires_at_ms;
		r = tl_token_status_write(k->options.dir, status, err);
	}
	pthread_cond_signal(&k->changed);
	pthread_mutex_unlock(&k->lock);
	return r;
}

static int token_take(struct tl_token_keeper *k, const struct tl_attest_result *got,
		      struct tl_token_status *ret, struct tl_error *err)
{
	const struct token_plan before = k->plan;
	uint64_t now_ms = tl_clock_mono_ms();
	int r;

	token_plan_success(&k->plan, now_ms, life_ms(got), token_unit_random(tl_clock_random()));
	*ret = (struct tl_token_status){
		.state = TL_TOKEN_VALID,
		.expires_at_s = got->claims.exp_s,
		.refreshed_at_s = tl_clock_real_s(),
		.next_attempt_at_s = real_at_s(k->plan.next_at_ms, now_ms),
		.clock_skew_s = got->skew_s,
	};
	r = files_write(k, got, ret, err);
	if (r < 0)
		k->plan = before;
	return r;
}

static void token_miss(struct tl_token_keeper *k, uint64_t retry_after_ms,
		       const struct tl_error *reason)
{
	uint64_t now_ms = tl_clock_mono_ms();
	struct tl_token_status status;

	token_plan_failure(&k->plan, now_ms, retry_after_ms, token_unit_random(tl_clock_random()));
	pthread_mutex_lock(&k->lock);
	if (k->status.state != TL_TOKEN_EXPIRED)
		k->status.state = TL_TOKEN_STALE;
	k->status.attempts = k->plan.failures;
	k->status.last_error = reason->code;
	k->status.next_attempt_at_s = real_at_s(k->plan.next_at_ms, now_ms);
	status = k->status;
	/* A folder that takes no status takes no token: the next attempt says so. */
	(void)tl_token_status_write(k->options.dir, &status, NULL);
	pthread_mutex_unlock(&k->lock);
	tell(k, TL_TOKEN_REFRESH_FAILED, &status, reason);
}

/* Only while the old token lives, and not when time presses already. */
static void prepare(const struct tl_token_keeper *k)
{
	uint64_t now_ms = tl_clock_mono_ms();

	if (k->options.prepare && !k->plan.failures && now_ms < k->plan.expires_at_ms)
		k->options.prepare(k->options.prepare_ctx,
				   (k->plan.expires_at_ms - now_ms) / PREPARE_OF_LIFE);
}

static void attempt(struct tl_token_keeper *k)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	struct tl_token_status status;
	struct tl_error err = { 0 };
	uint64_t retry_after_ms = 0;
	int r;

	prepare(k);
	if (tl_cancel_is_requested(k->options.quit))
		return;
	r = tl_verifier_attest_once(k->options.verifier, k->options.sources, NULL,
				    k->options.attempt_ms, &result, &retry_after_ms, &err);

	if (tl_cancel_is_requested(k->options.quit))
		return;
	if (r == 0)
		r = token_take(k, &result, &status, &err);
	if (r < 0) {
		token_miss(k, retry_after_ms, &err);
		return;
	}
	for (size_t i = 0; k->options.warning && i < result.warnings.n; i++)
		k->options.warning(k->options.event_ctx, result.warnings.items[i]);
	tell(k, TL_TOKEN_REFRESHED, &status, NULL);
}

static void *keeper_main(void *arg)
{
	struct tl_token_keeper *k = arg;

	while (!tl_cancel_is_requested(k->options.quit)) {
		uint64_t now_ms = tl_clock_mono_ms();

		if (now_ms >= k->plan.next_at_ms)
			attempt(k);
		else
			(void)tl_cancel_sleep(k->options.quit, k->plan.next_at_ms - now_ms);
	}
	return NULL;
}

/* With the lock held; without it while the event is told. */
static void expire(struct tl_token_keeper *k)
{
	struct tl_token_status status;

	k->status.state = TL_TOKEN_EXPIRED;
	status = k->status;
	(void)tl_token_status_write(k->options.dir, &status, NULL);
	pthread_mutex_unlock(&k->lock);
	tell(k, TL_TOKEN_HAS_EXPIRED, &status, NULL);
	pthread_mutex_lock(&k->lock);
}

/* With the lock held. */
static void change_wait(struct tl_token_keeper *k, uint64_t ms)
{
	struct timespec at = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	(void)pthread_cond_timedwait(&k->changed, &k->lock, &at);
}

/* The expiry has a thread of its own: an attempt may be under way then, for as long as it takes. */
static void *watch_main(void *arg)
{
	struct tl_token_keeper *k = arg;

	pthread_mutex_lock(&k->lock);
	while (!k->is_ending) {
		uint64_t now_ms = tl_clock_mono_ms();
		uint64_t left_ms = k->expires_at_ms > now_ms ? k->expires_at_ms - now_ms : 0;

		if (k->status.state != TL_TOKEN_EXPIRED && !left_ms)
			expire(k);
		else
			change_wait(k, left_ms && left_ms < LOOK_MS ? left_ms : LOOK_MS);
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

static void watch_end(struct tl_token_keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->is_ending = true;
	pthread_cond_signal(&k->changed);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->watch, NULL);
}

static struct tl_token_keeper *keeper_new(const struct tl_token_keeper_options *options)
{
	struct tl_token_keeper *k = calloc(1, sizeof(*k));
	pthread_condattr_t attr;

	if (!k)
		return NULL;
	k->options = *options;
	if (!k->options.attempt_ms)
		k->options.attempt_ms = ATTEMPT_DEFAULT_MS;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->changed, &attr);
	pthread_condattr_destroy(&attr);
	return k;
}

static void keeper_free(struct tl_token_keeper *k)
{
	pthread_cond_destroy(&k->changed);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

int tl_token_keeper_start(const struct tl_token_keeper_options *options,
			  const struct tl_attest_result *first, struct tl_token_keeper **ret,
			  struct tl_error *err)
{
	struct tl_token_keeper *k = keeper_new(options);
	struct tl_token_status status;
	bool is_watched = false;
	int r;

	if (!k)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token keeper");
	r = token_take(k, first, &status, err);
	if (r == 0) {
		r = tl_thread_start("tl-token-age", watch_main, k, &k->watch, err);
		is_watched = r == 0;
	}
	if (r == 0)
		r = tl_thread_start("tl-token", keeper_main, k, &k->thread, err);
	if (r < 0) {
		if (is_watched)
			watch_end(k);
		keeper_free(k);
		return r;
	}
	*ret = k;
	return 0;
}

void tl_token_keeper_status(struct tl_token_keeper *k, struct tl_token_status *ret)
{
	pthread_mutex_lock(&k->lock);
	*ret = k->status;
	pthread_mutex_unlock(&k->lock);
}

struct tl_token_keeper *tl_token_keeper_stop(struct tl_token_keeper *k)
{
	if (!k)
		return NULL;
	tl_cancel_request(k->options.quit);
	pthread_join(k->thread, NULL);
	watch_end(k);
	keeper_free(k);
	return NULL;
}
