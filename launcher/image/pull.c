/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "../containerd/content.h"
#include "pull_private.h"

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

static void pull_done(struct pull *p)
{
	tl_cancel_free(p->stop);
	free(p->blob_of_layer);
	free(p->blobs);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
}
#define auto_pull __attribute__((cleanup(pull_done)))

/* Layers with the same content share a blob. */
static void blobs_add(struct pull *p, size_t layer)
{
	const struct tl_layer *layers = p->image->layers;

	for (size_t i = 0; i < layer; i++)
		if (strcmp(layers[i].descriptor.digest, layers[layer].descriptor.digest) == 0) {
			p->blob_of_layer[layer] = p->blob_of_layer[i];
			return;
		}
	p->blob_of_layer[layer] = p->blobs_n;
	p->blobs[p->blobs_n++].descriptor = &layers[layer].descriptor;
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
	p->blobs = calloc(p->image->layers_n, sizeof(*p->blobs));
	p->blob_of_layer = calloc(p->image->layers_n, sizeof(*p->blob_of_layer));
	if (!p->stop || !p->blobs || !p->blob_of_layer)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for the pull");
	for (size_t i = 0; i < p->image->layers_n; i++)
		blobs_add(p, i);
	return 0;
}

/* Bytes of the layers that containerd doesn't have yet. */
static int missing_bytes(struct pull *p, uint64_t *ret, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);

	*ret = 0;
	for (size_t i = 0; i < p->blobs_n; i++) {
		auto_ctrd_blob struct tl_ctrd_blob info = { 0 };
		const struct tl_descriptor *d = p->blobs[i].descriptor;
		int r = tl_ctrd_blob_info(p->ctrd, &call, d->digest, &info, err);

		if (r == -ENOENT)
			*ret += d->size_bytes;
		else if (r < 0)
			return r;
	}
	return 0;
}

static int available_bytes(const char *dir, uint64_t *ret, struct tl_error *err)
{
	struct statvfs fs;

	if (statvfs(dir, &fs) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "free space of '%s'", dir);
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, ret))
		*ret = UINT64_MAX;
	return 0;
}

static int space_check(struct pull *p, const char *content_dir, struct tl_error *err)
{
	uint64_t needed = 0, available = 0;
	int r;

	if (!content_dir)
		return 0;
	r = available_bytes(content_dir, &available, err);
	if (r == 0)
		r = missing_bytes(p, &needed, err);
	if (r < 0)
		return r;
	if (needed > available)
		return tl_fail(err, TL_E_DISK_SPACE, ENOSPC,
			       "the image's layers need %" PRIu64 " bytes, and '%s' has %" PRIu64
			       " free",
			       needed, content_dir, available);
	return 0;
}

/* --- threads ------------------------------------------------------------------------------- */

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
	int r;

	pthread_mutex_lock(&p->lock);
	p->threads_running++;
	pthread_mutex_unlock(&p->lock);
	r = pthread_create(&t->id, NULL, thread_main, t);
	t->is_started = r == 0;
	if (t->is_started) {
		pthread_setname_np(t->id, t->name);
		return;
	}
	struct tl_error err = { 0 };

	pthread_mutex_lock(&p->lock);
	p->threads_running--;
	pthread_mutex_unlock(&p->lock);
	r = tl_fail_sys(&err, TL_E_NO_MEMORY, r, "thread '%s'", t->name);
	pull_fail(p, r, &err);
}

static void progress_report(struct pull *p, const struct tl_pull_options *o)
{
	struct tl_pull_progress progress = { .bytes_total = p->image->layers_bytes,
					     .layers_n = (unsigned int)p->image->layers_n };

	if (!o->progress)
		return;
	for (size_t i = 0; i < p->blobs_n; i++)
		progress.bytes_done += atomic_load(&p->blobs[i].at_bytes);
	pthread_mutex_lock(&p->lock);
	progress.layers_fetched = p->stats.layers_fetched;
	progress.layers_unpacked = p->stats.layers_unpacked + p->stats.layers_reused;
	pthread_mutex_unlock(&p->lock);
	o->progress(o->progress_ctx, &progress);
}

/* What a layer unpacks to is known only once it is unpacked: so the disk is watched. */
static int reserve_check(const char *content_dir, struct tl_error *err)
{
	uint64_t available = 0;
	int r;

	if (!content_dir)
		return 0;
	r = available_bytes(content_dir, &available, err);
	if (r < 0 || available >= PULL_RESERVE_BYTES)
		return r;
	return tl_fail(err, TL_E_DISK_SPACE, ENOSPC,
		       "the image leaves %" PRIu64 " bytes free in '%s', and %" PRIu64
		       " have to stay",
		       available, content_dir, PULL_RESERVE_BYTES);
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
	else if ((r = reserve_check(o->content_dir, &err)) < 0)
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

static int threads_run(struct pull *p, const struct tl_pull_options *o, struct tl_deadline deadline,
		       struct tl_error *err)
{
	struct thread threads[PULL_DOWNLOADS_MAX + 1] = { 0 };
	size_t n = o->downloads_max ? o->downloads_max : PULL_DOWNLOADS_DEFAULT;
	int r;

	p->cancel = p->stop;
	n = n < PULL_DOWNLOADS_MAX ? n : PULL_DOWNLOADS_MAX;
	n = n < p->blobs_n ? n : p->blobs_n;
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
	} while (threads_wait(p));
	for (size_t i = 0; i <= n; i++)
		if (threads[i].is_started)
			pthread_join(threads[i].id, NULL);
	p->cancel = o->cancel;
	progress_report(p, o);
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
		r = space_check(p, o->content_dir, err);
	if (r == 0)
		r = threads_run(p, o, deadline, err);
	return r < 0 ? r : pull_record(p, err);
}

int tl_pull(struct tl_registry *registry, const struct tl_resolved_image *image,
	    struct tl_ctrd *ctrd, const struct tl_pull_options *options,
	    struct tl_pull_stats *ret_stats, struct tl_error *err)
{
	auto_pull struct pull p = {
		.image = image, .registry = registry, .ctrd = ctrd, .boot_id = options->boot_id
	};
	const uint64_t began_ms = tl_clock_mono_ms();
	int r = pull_init(&p, err);

	if (r == 0) {
		r = pull_run(&p, options, err);
		if (r < 0 && p.has_begun)
			pull_undo(&p);
	}
	p.stats.bytes_downloaded = atomic_load(&p.downloaded_bytes);
	p.stats.took_ms = tl_clock_mono_ms() - began_ms;
	if (ret_stats)
		*ret_stats = p.stats;
	return r < 0 ? tl_wrap(err, r, "pull of '%s'", image->ref.text) : 0;
}
