/* SPDX-License-Identifier: Apache-2.0 */
/* Downloads: the queue of layers, the attempts for each, and those into the content store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "../containerd/content.h"
#include "pull_own.h"
#include "pull_private.h"

/*
 * Own layers beyond the lowest that isn't committed: one with directories that its archive doesn't
 * name keeps its process until its turn.
 */
#define AHEAD_MAX 16

/* --- any way ------------------------------------------------------------------------------- */

int pull_retry(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
	       int (*attempt)(struct pull_attempt *a, struct tl_registry *registry), void *ctx,
	       struct tl_error *err)
{
	const unsigned int attempts_max = tl_registry_limits(registry)->blob_attempts_max;
	uint64_t reached_bytes = 0;
	unsigned int barren = 0; /* attempts in a row that brought nothing */

	for (unsigned int n = 1;; n++) {
		struct pull_attempt a = { .pull = p, .layer = l, .ctx = ctx, .err = err };
		int waited, r = attempt(&a, registry);

		if (r == 0 || !a.result.is_retryable)
			return r;
		barren = a.offset_bytes > reached_bytes ? 1 : barren + 1;
		if (a.offset_bytes > reached_bytes)
			reached_bytes = a.offset_bytes;
		waited = n < attempts_max ? registry_backoff(registry, barren + 1, &a.result,
							     tl_deadline_never(), err)
					  : -ETIME;
		if (waited == -ECANCELED)
			return waited;
		if (waited < 0)
			return tl_wrap(err, r, "given up after %u attempts", n);
		pthread_mutex_lock(&p->lock);
		p->stats.retries++;
		pthread_mutex_unlock(&p->lock);
	}
}

void pull_count_fetched(struct pull *p, struct pull_layer *l)
{
	struct pull_layer *first = &p->layers[l->first];

	pthread_mutex_lock(&p->lock);
	if (!first->is_fetched)
		p->stats.layers_fetched++;
	first->is_fetched = true;
	pthread_mutex_unlock(&p->lock);
}

/* --- into the content store ---------------------------------------------------------------- */

struct storing {
	struct tl_ctrd_writer *writer;
	struct pull_attempt *attempt;
};

static int store(void *ctx, const void *data, size_t n)
{
	struct storing *s = ctx;
	struct pull_attempt *a = s->attempt;
	int r = tl_ctrd_writer_append(s->writer, data, n, a->err);

	if (r < 0)
		return r;
	atomic_fetch_add(&a->layer->at_bytes, n);
	atomic_fetch_add(&a->pull->downloaded_bytes, n);
	return 0;
}

static int labels_make(const struct pull *p, struct tl_kvs *ret, struct tl_error *err)
{
	auto_free char *key = NULL;

	if (asprintf(&key, "containerd.io/distribution.source.%s",
		     tl_registry_host_name(p->registry)) < 0 ||
	    tl_kvs_add(ret, key, tl_registry_path(p->registry)) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a label");
	return 0;
}

static int blob_commit(struct storing *s, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	int r = labels_make(s->attempt->pull, &labels, err);

	if (r < 0)
		return r;
	r = tl_ctrd_writer_commit(s->writer, &labels, err);
	if (r == -EBADMSG)
		return tl_fail(err, TL_E_LAYER_DIGEST, EBADMSG,
			       "what the registry sent doesn't have the layer's digest");
	return r == -EEXIST ? 0 : r;
}

static void reuse(struct pull *p, struct pull_layer *l)
{
	const uint64_t size_bytes = l->of->descriptor.size_bytes;

	atomic_store(&l->at_bytes, size_bytes);
	pthread_mutex_lock(&p->lock);
	p->stats.bytes_reused += size_bytes;
	pthread_mutex_unlock(&p->lock);
}

static int blob_try(struct pull_attempt *a, struct tl_registry *registry)
{
	const struct tl_descriptor *d = &a->layer->of->descriptor;
	const struct tl_ctrd_call call = pull_call(a->pull);
	auto_ctrd_writer struct tl_ctrd_writer *writer = NULL;
	char ref[sizeof(PULL_INGEST_PREFIX) + TL_DIGEST_TEXT_MAX];
	int r;

	snprintf(ref, sizeof(ref), PULL_INGEST_PREFIX "%s", d->digest);
	r = tl_ctrd_writer_open(a->pull->ctrd, &call, ref, d->size_bytes, d->digest, &writer,
				&a->offset_bytes, a->err);
	if (r == -EEXIST) {
		reuse(a->pull, a->layer);
		return 0;
	}
	/* The stream of the attempt before may not have let go yet. */
	a->result = (struct registry_attempt){ .is_retryable = r == -EAGAIN };
	if (r < 0)
		return r;
	struct storing s = { .writer = writer, .attempt = a };

	atomic_store(&a->layer->at_bytes, a->offset_bytes);
	r = registry_read_blob(registry, d, a->offset_bytes, store, &s, &a->result, a->err);
	if (r < 0 && a->result.is_retryable)
		/* Best effort: what doesn't arrive is fetched again. */
		(void)tl_ctrd_writer_flush(writer, NULL);
	return r < 0 ? r : blob_commit(&s, a->err);
}

static void blob_is_here(struct pull *p, struct pull_layer *l)
{
	pthread_mutex_lock(&p->lock);
	p->blobs[l->first].is_here = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	pull_count_fetched(p, l);
}

/* One fetches it for all layers of the same content. */
static int blob_fetch(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		      struct tl_error *err)
{
	const uint64_t began_ms = pull_now_ms(p);
	struct pull_blob *blob = &p->blobs[l->first];
	bool is_ours;
	int r;

	pthread_mutex_lock(&p->lock);
	is_ours = !blob->is_taken;
	blob->is_taken = true;
	l->state = PULL_STORED;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	if (!is_ours) {
		atomic_store(&l->at_bytes, l->of->descriptor.size_bytes);
		return 0;
	}
	r = pull_retry(p, registry, l, blob_try, NULL, err);
	if (r < 0)
		return r;
	l->facts.download_ms = pull_note_time(p, &p->stats.downloaded_at_ms) - began_ms;
	blob_is_here(p, l);
	return 0;
}

/* --- the queue ----------------------------------------------------------------------------- */

/* The lowest that is queued. @ret_may_come: one that is not may be queued again. */
static struct pull_layer *queue_look(struct pull *p, bool *ret_may_come)
{
	*ret_may_come = false;
	for (size_t i = 0; i < p->image->layers_n; i++) {
		struct pull_layer *l = &p->layers[i];

		if (l->state == PULL_QUEUED &&
		    (l->way != PULL_WAY_OWN || i - p->done_n < AHEAD_MAX))
			return l;
		if (l->way == PULL_WAY_OWN && l->state != PULL_DONE)
			*ret_may_come = true;
	}
	return NULL;
}

/* Blocks while there may be more to do later; NULL: there won't. */
static struct pull_layer *layer_take(struct pull *p)
{
	struct pull_layer *l = NULL;
	bool may_come = true;

	pthread_mutex_lock(&p->lock);
	while (!p->failure && !(l = queue_look(p, &may_come)) && may_come)
		pthread_cond_wait(&p->changed, &p->lock);
	if (l)
		l->state = PULL_TAKEN;
	pthread_mutex_unlock(&p->lock);
	return l;
}

static int layer_fetch(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		       struct tl_error *err)
{
	int r;

	if (l->way == PULL_WAY_OWN) {
		r = pull_own_fetch(p, registry, l, err);
		if (r < 0)
			r = pull_own_fails(p, l, r, err);
	} else {
		r = blob_fetch(p, registry, l, err);
	}
	return r < 0 ? tl_wrap(err, r, "layer %s", l->of->descriptor.digest) : 0;
}

void pull_fetch_run(struct pull *p)
{
	auto_registry struct tl_registry *registry = NULL;
	struct tl_error err = { 0 };
	struct pull_layer *l;
	int r = tl_registry_dup(p->registry, p->stop, &registry, &err);

	while (r == 0 && (l = layer_take(p)))
		r = layer_fetch(p, registry, l, &err);
	if (r < 0)
		pull_fail(p, r, &err);
	pthread_mutex_lock(&p->lock);
	p->stats.http_requests += registry ? tl_registry_requests(registry) : 0;
	pthread_mutex_unlock(&p->lock);
}
