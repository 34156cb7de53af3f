/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "pull_own.h"

#define WATCH_PERIOD_MS 100

struct thread {
	struct pull *pull;
	void (*run)(struct pull *p);
	char name[16]; /* pthread_setname_np(3) */
	pthread_t id;
	bool is_started;
};

struct tl_ctrd_call pull_call(const struct pull *p)
{
	return (struct tl_ctrd_call){ .lease = p->lease, .cancel = p->cancel };
}

void pull_fail(struct pull *p, int r, const struct tl_error *err)
{
	pthread_mutex_lock(&p->lock);
	/* What follows the first failure are its consequences. */
	if (!p->failure) {
		p->failure = r;
		p->error = *err;
		tl_cancel_request(p->stop);
	}
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* --- set-up -------------------------------------------------------------------------------- */

/* Nothing writes to what this pull made from here on. */
static void unpackers_end(struct pull *p)
{
	for (size_t i = 0; p->layers && i < p->image->layers_n; i++)
		pull_own_end(&p->layers[i]);
}

static void pull_done(struct pull *p)
{
	unpackers_end(p);
	tl_cancel_free(p->stop);
	free(p->layers);
	free(p->blobs);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}
#define auto_pull __attribute__((cleanup(pull_done)))

static void layer_init(struct pull *p, size_t i)
{
	const struct tl_layer *all = p->image->layers;
	struct pull_layer *l = &p->layers[i];

	*l = (struct pull_layer){
		.of = &all[i],
		.number = i,
		.scratch_fd = -1,
		.facts = { .number = i, .size_bytes = all[i].descriptor.size_bytes },
	};
	while (strcmp(all[l->first].descriptor.digest, all[i].descriptor.digest) != 0)
		l->first++;
}

static int pull_init(struct pull *p, struct tl_error *err)
{
	const uint64_t unique = tl_clock_random();
	pthread_condattr_t monotonic;

	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	snprintf(p->lease, sizeof(p->lease), PULL_LEASE_PREFIX "%016" PRIx64, unique);
	snprintf(p->snapshot_prefix, sizeof(p->snapshot_prefix),
		 PULL_SNAPSHOT_PREFIX "%016" PRIx64 "-", unique);
	p->stop = tl_cancel_new();
	p->layers = calloc(p->image->layers_n, sizeof(*p->layers));
	p->blobs = calloc(p->image->layers_n, sizeof(*p->blobs));
	for (size_t i = 0; p->layers && i < p->image->layers_n; i++)
		layer_init(p, i);
	if (!p->stop || !p->blobs || !p->layers)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the pull");
	return 0;
}

/* --- threads ------------------------------------------------------------------------------- */

uint64_t pull_now_ms(const struct pull *p)
{
	return tl_clock_mono_ms() - p->began_ms;
}

uint64_t pull_note_time(struct pull *p, uint64_t *at)
{
	const uint64_t now_ms = pull_now_ms(p);

	pthread_mutex_lock(&p->lock);
	*at = now_ms;
	pthread_mutex_unlock(&p->lock);
	return now_ms;
}

static void *thread_main(void *ctx)
{
	struct thread *t = ctx;

	t->run(t->pull);
	pthread_mutex_lock(&t->pull->lock);
	t->pull->threads_running--;
	pthread_cond_broadcast(&t->pull->changed);
	pthread_mutex_unlock(&t->pull->lock);
	return NULL;
}

static void thread_start(struct pull *p, struct thread *t)
{
	struct tl_error err = { 0 };
	int r;

	pthread_mutex_lock(&p->lock);
	p->threads_running++;
	pthread_mutex_unlock(&p->lock);
	r = tl_thread_start(t->name, thread_main, t, &t->id, &err);
	t->is_started = r == 0;
	if (t->is_started)
		return;
	pthread_mutex_lock(&p->lock);
	p->threads_running--;
	pthread_mutex_unlock(&p->lock);
	pull_fail(p, r, &err);
}

static void progress_report(struct pull *p, const struct tl_pull_options *o)
{
	struct tl_pull_progress progress = { .bytes_total = p->image->layers_bytes,
					     .layers_n = (unsigned int)p->image->layers_n };

	if (!o->progress)
		return;
	for (size_t i = 0; i < p->image->layers_n; i++)
		if (p->layers[i].first == i)
			progress.bytes_done += atomic_load(&p->layers[i].at_bytes);
	pthread_mutex_lock(&p->lock);
	progress.layers_fetched = p->stats.layers_fetched;
	progress.layers_unpacked = p->stats.layers_unpacked + p->stats.layers_reused;
	pthread_mutex_unlock(&p->lock);
	o->progress(o->ctx, &progress);
}

/* Those that are in place since the last time. */
static void layers_report(struct pull *p, const struct tl_pull_options *o, size_t *reported_n)
{
	size_t done_n;

	pthread_mutex_lock(&p->lock);
	done_n = p->done_n;
	pthread_mutex_unlock(&p->lock);
	/* Nobody touches them any more. */
	for (; o->layer && *reported_n < done_n; (*reported_n)++)
		o->layer(o->ctx, &p->layers[*reported_n].facts);
}

/* Has the pull to be ended from here? */
static void limits_check(struct pull *p, const struct tl_pull_options *o,
			 struct tl_deadline deadline)
{
	struct tl_error err = { 0 };
	int r;

	if (tl_cancel_is_requested(o->cancel))
		pull_fail(p, tl_fail(&err, TL_E_INTERRUPTED, ECANCELED, "pull interrupted"), &err);
	else if (tl_deadline_is_past(deadline, tl_clock_mono_ms()))
		pull_fail(p,
			  tl_fail(&err, TL_E_PULL_DEADLINE, ETIMEDOUT,
				  "the image was not there within the pull's time budget"),
			  &err);
	else if ((r = pull_reserve_check(o->content_dir, &err)) < 0)
		pull_fail(p, r, &err);
}

/* Waits a little; false when all threads have ended. */
static bool threads_wait(struct pull *p)
{
	struct timespec until;
	bool is_running;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WATCH_PERIOD_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&p->lock);
	if (p->threads_running)
		pthread_cond_timedwait(&p->changed, &p->lock, &until);
	is_running = p->threads_running > 0;
	pthread_mutex_unlock(&p->lock);
	return is_running;
}

/* So many downloads at once as there is work, and as fits. */
static size_t downloads_n(const struct pull *p, const struct tl_pull_options *o)
{
	const long processors = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = o->downloads_max, queued = 0;

	if (!n)
		n = o->unpack == TL_PULL_CONTAINERD || processors < 1 ? PULL_DOWNLOADS_DEFAULT
								      : (size_t)processors + 1;
	n = n < PULL_DOWNLOADS_MAX ? n : PULL_DOWNLOADS_MAX;
	for (size_t i = 0; i < p->image->layers_n; i++)
		queued += p->layers[i].state == PULL_QUEUED;
	return n < queued ? n : queued;
}

static int threads_run(struct pull *p, const struct tl_pull_options *o, struct tl_deadline deadline,
		       struct tl_error *err)
{
	struct thread threads[PULL_DOWNLOADS_MAX + 1] = { 0 };
	const size_t n = downloads_n(p, o);
	size_t reported_n = 0;
	int r;

	p->cancel = p->stop;
	for (size_t i = 0; i <= n; i++) {
		threads[i] =
			(struct thread){ .pull = p, .run = i ? pull_fetch_run : pull_unpack_run };
		snprintf(threads[i].name, sizeof(threads[i].name), i ? "tl-fetch-%u" : "tl-unpack",
			 (unsigned int)i % 100);
		thread_start(p, &threads[i]);
	}
	do {
		limits_check(p, o, deadline);
		progress_report(p, o);
		layers_report(p, o, &reported_n);
	} while (threads_wait(p));
	for (size_t i = 0; i <= n; i++)
		if (threads[i].is_started)
			pthread_join(threads[i].id, NULL);
	p->cancel = o->cancel;
	progress_report(p, o);
	layers_report(p, o, &reported_n);
	r = p->failure;
	if (r < 0 && err)
		*err = p->error;
	return r;
}

/* --- the whole ------------------------------------------------------------------------------ */

static int pull_run(struct pull *p, const struct tl_pull_options *o, struct tl_error *err)
{
	struct tl_deadline deadline = o->deadline;
	struct tl_ctrd_call call = { .cancel = o->cancel };
	int r;

	p->cancel = o->cancel;
	r = pull_clear_stale(p, err);
	if (!deadline.at_ms)
		deadline = tl_deadline_in(tl_clock_mono_ms(), PULL_BUDGET_MS);
	p->has_begun = r == 0;
	if (r == 0)
		r = pull_drop_earlier_boots(p, err);
	if (r == 0)
		r = tl_ctrd_lease_create(p->ctrd, &call, p->lease, PULL_LEASE_SECONDS, err);
	if (r == 0)
		r = pull_plan(p, err);
	if (r == 0)
		r = threads_run(p, o, deadline, err);
	return r < 0 ? r : pull_record(p, err);
}

int tl_pull(struct tl_registry *registry, const struct tl_resolved_image *image,
	    struct tl_ctrd *ctrd, const struct tl_pull_options *options,
	    struct tl_pull_stats *ret_stats, struct tl_error *err)
{
	auto_pull struct pull p = {
		.image = image,
		.registry = registry,
		.ctrd = ctrd,
		.options = options,
		.began_ms = tl_clock_mono_ms(),
	};
	int r = pull_init(&p, err);

	if (r == 0) {
		r = pull_run(&p, options, err);
		unpackers_end(&p);
		if (r < 0 && p.has_begun)
			pull_undo(&p);
	}
	p.stats.bytes_downloaded = atomic_load(&p.downloaded_bytes);
	p.stats.took_ms = pull_now_ms(&p);
	if (ret_stats)
		*ret_stats = p.stats;
	return r < 0 ? tl_wrap(err, r, "pull of '%s'", image->ref.text) : 0;
}
