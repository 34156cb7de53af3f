/* SPDX-License-Identifier: Apache-2.0 */
#include "token_desk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "token_share.h"

/* A kept token is given away only while it is practically new. */
#define CACHE_LIFE_SHARE 10
/* A verifier that asks for more patience is asked again after this, by somebody else's wish. */
#define CLOSED_MAX_MS (10 * 60 * 1000)

struct job {
	struct job *next;
	struct token_ask ask;
	struct token_peer caller;
	uint64_t start_ms;
	struct desk_waiter *waiters;
	unsigned int n_waiters;
};

/* One thread and what it has to do. */
struct lane {
	struct token_desk *desk;
	pthread_t thread;
	bool is_started;
	pthread_cond_t wake;
	struct job *first; /* being done, if @is_busy */
	bool is_busy;
};

enum { LANE_TOKEN, LANE_EVIDENCE, LANES };

struct token_desk {
	const struct tl_token_server_options *options;
	pthread_mutex_t lock; /* over everything below */
	struct lane lanes[LANES];
	bool is_stopping;
	struct token_shares shares;
	/* Each verifier asks for patience for itself. By enum token_work. */
	uint64_t closed_until_ms[TOKEN_WORK_EVIDENCE];
	struct token_reply *kept; /* the default token; NULL: none */
	uint64_t kept_until_ms;
	struct tl_token_counts counts;
	atomic_uint evidence_out; /* answers under way, not yet taken; no lock */
};

static struct job *job_free(struct job *job)
{
	if (job)
		token_ask_done(&job->ask);
	free(job);
	return NULL;
}

/* --- what a job does, without the lock ------------------------------------------------------ */

static int token_do(struct token_desk *d, const struct job *job, struct token_reply **ret,
		    uint64_t *ret_keep_ms, uint64_t *ret_retry_after_ms, struct tl_error *err)
{
	auto_attest_result struct tl_attest_result result = { 0 };
	struct tl_token_options options = token_request_options(&job->ask.request);
	tl_token_get get =
		job->ask.work == TOKEN_WORK_INTEL ? d->options->intel_token : d->options->token;
	int64_t life_ms;
	int r = get(d->options->ctx, job->ask.is_default ? NULL : &options, &result,
		    ret_retry_after_ms, err);

	if (r < 0)
		return r;
	*ret = token_api_token(&result.token);
	if (!*ret)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token");
	life_ms = (result.claims.exp_s - result.now_ms / 1000) * 1000 / CACHE_LIFE_SHARE;
	if (job->ask.is_default && job->ask.work == TOKEN_WORK_GCA && life_ms > 0)
		*ret_keep_ms = (uint64_t)life_ms < d->options->limits.cache_ms
				       ? (uint64_t)life_ms
				       : d->options->limits.cache_ms;
	return 0;
}

static int evidence_do(struct token_desk *d, const struct job *job, struct token_reply **ret,
		       struct tl_error *err)
{
	auto_evidence struct tl_evidence e = { 0 };
	auto_free char *json = NULL;
	uint16_t hash = d->options->evidence_hash;
	uint8_t nonce[TL_HASH_SIZE_MAX];
	int r = evidence_nonce(hash, &job->ask.challenge, NULL, nonce);

	if (r < 0)
		return tl_fail(err, TL_E_INTERNAL, -r, "nonce of the evidence");
	if (job->ask.mask & EVIDENCE_QUOTE)
		r = d->options->evidence(d->options->ctx, nonce, tl_hash_size(hash), &e, err);
	if (r < 0)
		return r;
	if (evidence_format(job->ask.mask, &job->ask.challenge, &e, &json) == 0)
		*ret = token_api_evidence(json);
	return *ret ? 0 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "evidence");
}

static void tell(struct token_desk *d, const struct job *job, int status,
		 const struct tl_error *err)
{
	const struct tl_token_call call = {
		.path = job->ask.path,
		.status = status,
		.pid = job->caller.pid,
		.uid = job->caller.uid,
		.gid = job->caller.gid,
		.cgroup = job->caller.cgroup,
		.callers = job->n_waiters,
		.took_ms = tl_clock_mono_ms() - job->start_ms,
		.err = err,
	};

	if (d->options->event)
		d->options->event(d->options->event_ctx, &call);
}

static void waiters_answer(struct desk_waiter *w, struct token_reply *reply)
{
	while (w) {
		struct desk_waiter *next = w->next;

		w->reply = reply ? token_reply_ref(reply) : NULL;
		w->done(w); /* it may be gone now */
		w = next;
	}
}

/* --- lanes ---------------------------------------------------------------------------------- */

/* @retry_after_ms: after a failure of the verifier that does @work */
static void outcome_keep(struct token_desk *d, enum token_work work, struct token_reply *reply,
			 uint64_t keep_ms, uint64_t retry_after_ms)
{
	uint64_t now_ms = tl_clock_mono_ms();

	if (retry_after_ms && work < TOKEN_WORK_EVIDENCE) {
		if (retry_after_ms > CLOSED_MAX_MS)
			retry_after_ms = CLOSED_MAX_MS;
		d->closed_until_ms[work] = now_ms + retry_after_ms;
	}
	if (keep_ms) {
		token_reply_unref(d->kept);
		d->kept = token_reply_ref(reply);
		d->kept_until_ms = now_ms + keep_ms;
	}
}

/* The first job of a lane, done, answered and freed. Enters and leaves with the lock held. */
static void job_do(struct lane *lane, bool is_stopping)
{
	struct token_desk *d = lane->desk;
	struct job *job = lane->first;
	struct token_reply *reply = NULL;
	struct tl_error err = { 0 };
	uint64_t keep_ms = 0, retry_after_ms = 0;
	int r;

	lane->is_busy = true;
	pthread_mutex_unlock(&d->lock);
	if (is_stopping)
		r = tl_fail(&err, TL_E_INTERRUPTED, ECANCELED, "the workload is being ended");
	else if (job->ask.work == TOKEN_WORK_EVIDENCE)
		r = evidence_do(d, job, &reply, &err);
	else
		r = token_do(d, job, &reply, &keep_ms, &retry_after_ms, &err);
	if (r < 0)
		reply = token_api_failure(&job->ask, &err, retry_after_ms);
	pthread_mutex_lock(&d->lock);
	lane->is_busy = false;
	lane->first = job->next;
	outcome_keep(d, job->ask.work, reply, keep_ms, r < 0 ? retry_after_ms : 0);
	pthread_mutex_unlock(&d->lock);
	if (reply && job->ask.work == TOKEN_WORK_EVIDENCE)
		reply->gauge = &d->evidence_out;
	else if (job->ask.work == TOKEN_WORK_EVIDENCE)
		atomic_fetch_sub(&d->evidence_out, 1);
	tell(d, job, reply ? reply->status : 500, r < 0 ? &err : NULL);
	waiters_answer(job->waiters, reply);
	token_reply_unref(reply);
	job_free(job);
	pthread_mutex_lock(&d->lock);
}

static void *lane_main(void *arg)
{
	struct lane *lane = arg;
	struct token_desk *d = lane->desk;

	pthread_mutex_lock(&d->lock);
	while (lane->first || !d->is_stopping) {
		if (lane->first)
			job_do(lane, d->is_stopping);
		else
			pthread_cond_wait(&lane->wake, &d->lock);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}

/* --- the desk ------------------------------------------------------------------------------- */

int desk_open(const struct tl_token_server_options *options, struct token_desk **ret,
	      struct tl_error *err)
{
	static const char *const names[LANES] = { "tl-serve", "tl-evidence" };
	struct token_desk *d = calloc(1, sizeof(*d));
	int r = 0;

	if (!d)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token server");
	d->options = options;
	token_shares_init(&d->shares, options->limits.per_minute, options->limits.burst,
			  tl_clock_mono_ms());
	pthread_mutex_init(&d->lock, NULL);
	for (int i = 0; i < LANES; i++) {
		d->lanes[i].desk = d;
		pthread_cond_init(&d->lanes[i].wake, NULL);
	}
	for (int i = 0; i < LANES && r == 0; i++) {
		r = tl_thread_start(names[i], lane_main, &d->lanes[i], &d->lanes[i].thread, err);
		d->lanes[i].is_started = r == 0;
	}
	if (r < 0) {
		desk_stop(d);
		desk_close(d);
		return r;
	}
	*ret = d;
	return 0;
}

void desk_stop(struct token_desk *d)
{
	pthread_mutex_lock(&d->lock);
	d->is_stopping = true;
	for (int i = 0; i < LANES; i++)
		pthread_cond_signal(&d->lanes[i].wake);
	pthread_mutex_unlock(&d->lock);
	tl_cancel_request(d->options->quit);
	for (int i = 0; i < LANES; i++)
		if (d->lanes[i].is_started)
			pthread_join(d->lanes[i].thread, NULL);
}

struct token_desk *desk_close(struct token_desk *d)
{
	if (!d)
		return NULL;
	token_reply_unref(d->kept);
	for (int i = 0; i < LANES; i++)
		pthread_cond_destroy(&d->lanes[i].wake);
	pthread_mutex_destroy(&d->lock);
	free(d);
	return NULL;
}

static struct token_reply *kept_take(struct token_desk *d, const struct token_ask *ask)
{
	if (!ask->is_default || ask->is_uncached || ask->work != TOKEN_WORK_GCA || !d->kept ||
	    tl_clock_mono_ms() >= d->kept_until_ms)
		return NULL;
	return token_reply_ref(d->kept);
}

static size_t lane_length(const struct lane *lane)
{
	size_t n = 0;

	for (const struct job *j = lane->first; j; j = j->next)
		n++;
	return n;
}

/* Its number among the sharers: that of its container, or the one after them. */
static size_t caller_find(const struct token_desk *d, const struct token_peer *caller)
{
	const char *const *containers = d->options->containers;
	size_t i = 0;

	for (; containers && containers[i] && i < TL_TOKEN_CONTAINERS_MAX; i++)
		if (token_peer_is_in(caller, containers[i]))
			return i;
	return i;
}

/* 0, or -EAGAIN and when to come back. What is spent is spent here. */
static int afford(struct token_desk *d, const struct token_ask *ask,
		  const struct token_peer *caller, uint64_t *ret_wait_ms, struct tl_error *err)
{
	uint64_t now_ms = tl_clock_mono_ms();
	uint64_t wait_ms = 1000;

	if (ask->work == TOKEN_WORK_EVIDENCE) {
		if (atomic_load(&d->evidence_out) < DESK_EVIDENCE_MAX)
			return 0;
		*ret_wait_ms = wait_ms;
		return tl_fail(err, TL_E_TOKEN_RATE, EAGAIN,
			       "%d requests for evidence are under way, or not taken yet; that is "
			       "the limit",
			       DESK_EVIDENCE_MAX);
	}
	*ret_wait_ms = wait_ms;
	if (lane_length(&d->lanes[LANE_TOKEN]) >= DESK_TOKENS_MAX)
		return tl_fail(err, TL_E_TOKEN_RATE, EAGAIN,
			       "%d different tokens are asked for at the same time; that is the "
			       "limit",
			       DESK_TOKENS_MAX);
	if (now_ms < d->closed_until_ms[ask->work]) {
		*ret_wait_ms = d->closed_until_ms[ask->work] - now_ms;
		return tl_fail(err, TL_E_TOKEN_RATE, EAGAIN,
			       "the verifier asks to come back later");
	}
	if (token_shares_take(&d->shares, caller_find(d, caller), now_ms, &wait_ms))
		return 0;
	*ret_wait_ms = wait_ms;
	return tl_fail(
		err, TL_E_TOKEN_RATE, EAGAIN,
		"too many tokens asked for; the limit is %llu a minute, %llu at once, shared "
		"by all who ask",
		(unsigned long long)d->options->limits.per_minute,
		(unsigned long long)d->options->limits.burst);
}

static struct job *job_find(const struct lane *lane, const struct token_ask *ask)
{
	for (struct job *j = lane->first; j; j = j->next)
		if (token_ask_equal(&j->ask, ask))
			return j;
	return NULL;
}

static struct job *job_add(struct lane *lane, struct token_ask *take_ask,
			   const struct token_peer *caller)
{
	struct job *job = calloc(1, sizeof(*job));
	struct job **at = &lane->first;

	if (!job)
		return NULL;
	job->ask = *take_ask;
	*take_ask = (struct token_ask){ .path = job->ask.path };
	job->caller = *caller;
	job->start_ms = tl_clock_mono_ms();
	while (*at)
		at = &(*at)->next;
	*at = job;
	pthread_cond_signal(&lane->wake);
	return job;
}

/* With the lock held. A refusal fills @err; NULL without one means that @w waits. */
static struct token_reply *admit(struct token_desk *d, struct token_ask *ask,
				 const struct token_peer *caller, struct desk_waiter *w,
				 struct tl_error *err)
{
	struct lane *lane =
		&d->lanes[ask->work == TOKEN_WORK_EVIDENCE ? LANE_EVIDENCE : LANE_TOKEN];
	struct token_reply *kept = kept_take(d, ask);
	struct job *job = kept ? NULL : job_find(lane, ask);
	uint64_t wait_ms = 0;

	d->counts.requests++;
	if (kept)
		return kept;
	if (d->is_stopping) {
		(void)tl_fail(err, TL_E_INTERRUPTED, ECANCELED, "the workload is being ended");
		return token_api_failure(ask, err, 0);
	}
	if (!job) {
		bool is_evidence = ask->work == TOKEN_WORK_EVIDENCE;

		if (afford(d, ask, caller, &wait_ms, err) < 0) {
			d->counts.refused++;
			return token_api_failure(ask, err, wait_ms);
		}
		job = job_add(lane, ask, caller);
		if (!job) {
			(void)tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "request");
			return token_api_failure(ask, err, 0);
		}
		if (is_evidence)
			atomic_fetch_add(&d->evidence_out, 1);
		else
			d->counts.upstream++;
	}
	w->next = job->waiters;
	job->waiters = w;
	job->n_waiters++;
	return NULL;
}

bool desk_submit(struct token_desk *d, struct token_ask *consume_ask,
		 const struct token_peer *caller, struct desk_waiter *w,
		 struct token_reply **ret_reply)
{
	struct tl_error err = { 0 };
	struct job refused = { .ask = *consume_ask,
			       .caller = *caller,
			       .start_ms = tl_clock_mono_ms() };
	struct token_reply *reply;

	pthread_mutex_lock(&d->lock);
	reply = admit(d, &refused.ask, caller, w, &err);
	pthread_mutex_unlock(&d->lock);
	if (err.code)
		tell(d, &refused, reply ? reply->status : 500, &err);
	token_ask_done(&refused.ask);
	*consume_ask = (struct token_ask){ 0 };
	if (!reply && !err.code)
		return false;
	*ret_reply = reply;
	return true;
}

void desk_counts(struct token_desk *d, struct tl_token_counts *ret)
{
	pthread_mutex_lock(&d->lock);
	*ret = d->counts;
	pthread_mutex_unlock(&d->lock);
}
