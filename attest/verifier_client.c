/* SPDX-License-Identifier: Apache-2.0 */
#include "verifier_ops.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#define BUDGET_DEFAULT_MS 60000

/* The budget ends it, not a number of attempts. */
static const struct tl_backoff backoff = { .base_ms = 500,
					   .cap_ms = 8000,
					   .attempts_max = UINT_MAX };

struct tl_verifier {
	const struct verifier_ops *ops;
	void *impl;
	uint64_t budget_ms;
	struct tl_cancel *cancel;
};

int verifier_new(const struct verifier_ops *ops, void *consume_impl,
		 const struct tl_verifier_options *options, struct tl_verifier **ret,
		 struct tl_error *err)
{
	struct tl_verifier *v = calloc(1, sizeof(*v));

	if (!v)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "verifier client");
	*v = (struct tl_verifier){
		.ops = ops,
		.impl = consume_impl,
		.budget_ms = options->budget_ms ? options->budget_ms : BUDGET_DEFAULT_MS,
		.cancel = options->cancel,
	};
	*ret = v;
	return 0;
}

struct tl_verifier *tl_verifier_close(struct tl_verifier *v)
{
	if (v)
		v->ops->close(v->impl);
	free(v);
	return NULL;
}

int verifier_url_check(const char *url, struct tl_error *err)
{
	static const char scheme[] = "https://";

	if (!tl_str_starts_with(url, scheme) || strpbrk(url + sizeof(scheme) - 1, "/?#@") ||
	    !url[sizeof(scheme) - 1])
		return tl_fail(err, TL_E_NET_URL, EINVAL,
			       "verifier '%.200s': must be https://host[:port], without a path",
			       url);
	return 0;
}

int verifier_principals_get(const struct tl_attest_sources *sources, const char *audience, size_t n,
			    struct tl_secret *ret, struct tl_error *err)
{
	if (sources->n_principals > VERIFIER_PRINCIPALS_MAX)
		return tl_fail(err, TL_E_VERIFIER_REFUSED, E2BIG,
			       "%zu service accounts; the verifier takes %d", sources->n_principals,
			       VERIFIER_PRINCIPALS_MAX);
	for (size_t i = 0; i < sources->n_principals; i++) {
		int r = sources->principal(sources->principal_ctx, i, audience, n, &ret[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}

struct tl_token_options tl_token_options_default(void)
{
	return (struct tl_token_options){ .audience = TL_TOKEN_AUDIENCE_DEFAULT,
					  .token_type = "OIDC" };
}

void tl_attest_result_done(struct tl_attest_result *r)
{
	if (!r)
		return;
	tl_secret_done(&r->token);
	tl_jwt_done(&r->claims);
	tl_strv_done(&r->warnings);
	*r = (struct tl_attest_result){ 0 };
}

static bool is_worth_a_retry(const struct tl_error *err)
{
	return err->class == TL_RETRY && err->code != TL_E_INTERRUPTED;
}

/* Two clocks read in whole seconds, some time apart, differ by this without being wrong. */
#define SKEW_NONE_S 2

/* Whose clock says now, and how far this machine's is off. */
static void clocks_compare(struct tl_attest_result *r)
{
	int64_t here_s = tl_clock_real_s();
	int64_t there_s = r->date_s ? r->date_s : r->claims.has_iat ? r->claims.iat_s : here_s;
	uint64_t apart_s;

	/* Dates of year 292 billion can't be subtracted, and say nothing. */
	if (there_s < 0 || there_s > INT32_MAX * INT64_C(1000))
		there_s = here_s;
	r->skew_s = here_s - there_s;
	apart_s = (uint64_t)(r->skew_s < 0 ? -r->skew_s : r->skew_s);
	if (r->date_s && apart_s > SKEW_NONE_S && apart_s <= TL_CLOCK_SKEW_MAX_S)
		r->now_ms = r->date_s * 1000 + 999; /* at the latest */
	else
		r->now_ms = tl_clock_real_ms();
}

static int attempt_once(struct tl_verifier *v, const struct verifier_attempt *a,
			struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
			struct tl_error *err)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	int r = v->ops->attempt(v->impl, a, &result, ret_retry_after_ms, err);

	if (r == 0)
		r = tl_jwt_read(result.token.bytes, result.token.len_bytes, &result.claims, err);
	if (r < 0)
		return r;
	clocks_compare(&result);
	r = tl_jwt_check_fresh(&result.claims, result.now_ms / 1000, err);
	if (r < 0)
		return r;
	*ret = result;
	result = (struct tl_attest_result){ 0 };
	return 0;
}

/* How long before attempt number @next; false if it would begin too late. */
static bool plan_retry(struct tl_deadline deadline, unsigned int next, uint64_t retry_after_ms,
		       uint64_t *ret_wait_ms)
{
	uint64_t left_ms = tl_deadline_left_ms(deadline, tl_clock_mono_ms());
	uint64_t jitter_ms;

	if (!tl_backoff_next(&backoff, next, tl_clock_random(), &jitter_ms) ||
	    retry_after_ms >= left_ms || jitter_ms >= left_ms - retry_after_ms)
		return false;
	*ret_wait_ms = retry_after_ms + jitter_ms;
	return true;
}

/* An attempt that the budget cut short says nothing of the service; the one before does. */
static bool is_cut_by(struct tl_deadline deadline, const struct tl_error *err)
{
	return err->code == TL_E_NET_TIMEOUT && !tl_deadline_left_ms(deadline, tl_clock_mono_ms());
}

static int attest_until(struct tl_verifier *v, const struct verifier_attempt *a,
			struct tl_attest_result *ret, struct tl_error *err)
{
	struct tl_error cause = { 0 };
	int cause_r = 0;

	for (unsigned int attempt = 1;; attempt++) {
		uint64_t retry_after_ms = 0, wait_ms;
		int r = attempt_once(v, a, ret, &retry_after_ms, err);

		if (r == 0) {
			ret->attempts = attempt;
			return 0;
		}
		if (!is_worth_a_retry(err))
			return r;
		if (attempt == 1 || !is_cut_by(a->deadline, err)) {
			cause = *err;
			cause_r = r;
		}
		if (!plan_retry(a->deadline, attempt + 1, retry_after_ms, &wait_ms)) {
			*err = cause;
			return tl_wrap(err, cause_r, "no token in %u attempts within %llu ms",
				       attempt, (unsigned long long)v->budget_ms);
		}
		if (tl_cancel_sleep(v->cancel, wait_ms))
			return tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "attestation cancelled");
	}
}

static struct tl_token_options options_complete(const struct tl_token_options *options)
{
	struct tl_token_options effective = options ? *options : tl_token_options_default();

	if (tl_str_is_empty(effective.audience) && !effective.nonces.n)
		effective.audience = TL_TOKEN_AUDIENCE_DEFAULT;
	return effective;
}

int tl_verifier_attest_once(struct tl_verifier *v, const struct tl_attest_sources *sources,
			    const struct tl_token_options *options, uint64_t budget_ms,
			    struct tl_attest_result *ret, uint64_t *ret_retry_after_ms,
			    struct tl_error *err)
{
	struct tl_token_options effective = options_complete(options);
	struct verifier_attempt a = {
		.sources = sources,
		.options = &effective,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), budget_ms),
	};
	int r;

	*ret_retry_after_ms = 0;
	r = attempt_once(v, &a, ret, ret_retry_after_ms, err);
	if (r == 0)
		ret->attempts = 1;
	return r;
}

int tl_verifier_attest(struct tl_verifier *v, const struct tl_attest_sources *sources,
		       const struct tl_token_options *options, struct tl_attest_result *ret,
		       struct tl_error *err)
{
	struct tl_token_options effective = options_complete(options);
	struct tl_error e = { 0 };
	struct verifier_attempt a = {
		.sources = sources,
		.options = &effective,
		.deadline = tl_deadline_in(tl_clock_mono_ms(), v->budget_ms),
	};
	int r;

	r = attest_until(v, &a, ret, &e);
	if (r < 0 && err)
		*err = e;
	return r;
}
