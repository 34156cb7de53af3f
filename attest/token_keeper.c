/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/token_keeper.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "token_schedule.h"

#define ATTEMPT_DEFAULT_MS 25000

struct tl_token_keeper {
	struct tl_token_keeper_options options;
	struct token_plan plan; /* the thread's own */
	pthread_t thread;
	pthread_mutex_t lock;
	struct tl_token_status status; /* behind @lock */
};

/* The shorter of what the wall clock and the token's own dates say: a clock that is behind must not
 * make a token look younger than it is. */
static uint64_t life_ms(const struct tl_jwt *claims)
{
	int64_t life = claims->exp_s * 1000 - tl_clock_real_ms();
	int64_t whole = (claims->exp_s - claims->iat_s) * 1000;

	if (claims->has_iat && whole > 0 && whole < life)
		life = whole;
	return life > 0 ? (uint64_t)life : 0;
}

/* The wall clock at a point of monotonic time. */
static int64_t real_at_s(uint64_t at_ms, uint64_t now_ms)
{
	return tl_clock_real_s() + (at_ms > now_ms ? (int64_t)((at_ms - now_ms) / 1000) : 0);
}

static int status_publish(struct tl_token_keeper *k, const struct tl_token_status *status,
			  struct tl_error *err)
{
	pthread_mutex_lock(&k->lock);
	k->status = *status;
	pthread_mutex_unlock(&k->lock);
	return tl_token_status_write(k->options.dir, status, err);
}

static void tell(const struct tl_token_keeper *k, enum tl_token_event event,
		 const struct tl_error *err)
{
	if (k->options.event)
		k->options.event(k->options.event_ctx, event, &k->status, err);
}

/* The token first: a status must not promise what the file doesn't hold. */
static int token_take(struct tl_token_keeper *k, const struct tl_attest_result *result,
		      struct tl_error *err)
{
	uint64_t now_ms = tl_clock_mono_ms();
	struct tl_token_status status = {
		.state = TL_TOKEN_VALID,
		.expires_at_s = result->claims.exp_s,
		.refreshed_at_s = tl_clock_real_s(),
	};
	int r = tl_token_file_write(k->options.dir, &result->token, err);

	if (r < 0)
		return r;
	token_plan_success(&k->plan, now_ms, life_ms(&result->claims),
			   token_unit_random(tl_clock_random()));
	status.next_attempt_at_s = real_at_s(k->plan.next_at_ms, now_ms);
	return status_publish(k, &status, err);
}

static void token_miss(struct tl_token_keeper *k, uint64_t retry_after_ms,
		       const struct tl_error *reason)
{
	uint64_t now_ms = tl_clock_mono_ms();
	struct tl_token_status status = k->status;
	struct tl_error ignored = { 0 };

	token_plan_failure(&k->plan, now_ms, retry_after_ms, token_unit_random(tl_clock_random()));
	if (status.state != TL_TOKEN_EXPIRED)
		status.state = TL_TOKEN_STALE;
	status.attempts = k->plan.failures;
	status.last_error = reason->code;
	status.next_attempt_at_s = real_at_s(k->plan.next_at_ms, now_ms);
	/* A folder that takes no status takes no token: the next attempt says so. */
	(void)status_publish(k, &status, &ignored);
	tell(k, TL_TOKEN_REFRESH_FAILED, reason);
}

static void attempt(struct tl_token_keeper *k)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	struct tl_error err = { 0 };
	uint64_t retry_after_ms = 0;
	int r = tl_verifier_attest_once(k->options.verifier, k->options.sources, NULL,
					k->options.attempt_ms, &result, &retry_after_ms, &err);

	if (tl_cancel_is_requested(k->options.quit))
		return;
	if (r == 0)
		r = token_take(k, &result, &err);
	if (r < 0)
		token_miss(k, retry_after_ms, &err);
	else
		tell(k, TL_TOKEN_REFRESHED, NULL);
}

static void expire(struct tl_token_keeper *k)
{
	struct tl_token_status status = k->status;
	struct tl_error ignored = { 0 };

	status.state = TL_TOKEN_EXPIRED;
	(void)status_publish(k, &status, &ignored);
	tell(k, TL_TOKEN_HAS_EXPIRED, NULL);
}

static void *keeper_main(void *arg)
{
	struct tl_token_keeper *k = arg;

	while (!tl_cancel_is_requested(k->options.quit)) {
		uint64_t now_ms = tl_clock_mono_ms();
		uint64_t wake_ms = token_plan_wake_ms(&k->plan, now_ms);

		if (k->status.state != TL_TOKEN_EXPIRED && now_ms >= k->plan.expires_at_ms)
			expire(k);
		else if (now_ms >= k->plan.next_at_ms)
			attempt(k);
		else
			(void)tl_cancel_sleep(k->options.quit, wake_ms - now_ms);
	}
	return NULL;
}

int tl_token_keeper_start(const struct tl_token_keeper_options *options,
			  const struct tl_attest_result *first, struct tl_token_keeper **ret,
			  struct tl_error *err)
{
	struct tl_token_keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token keeper");
	k->options = *options;
	if (!k->options.attempt_ms)
		k->options.attempt_ms = ATTEMPT_DEFAULT_MS;
	pthread_mutex_init(&k->lock, NULL);
	r = token_take(k, first, err);
	if (r == 0)
		r = tl_thread_start("tl-token", keeper_main, k, &k->thread, err);
	if (r < 0) {
		pthread_mutex_destroy(&k->lock);
		free(k);
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
	pthread_mutex_destroy(&k->lock);
	free(k);
	return NULL;
}
