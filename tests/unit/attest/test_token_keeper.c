/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The token keeper's thread in real time, against a verifier that does as it is told, with tokens
 * that live for seconds. Its plan: test_token_schedule.c.
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

#include "attest/verifier_ops.h"

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
	assert_true(status.clock_skew_s < -3);
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
