/* SPDX-License-Identifier: Apache-2.0 */
/* Downloads: from the registry straight into the content store. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "../containerd/content.h"
#include "pull_private.h"

/* One attempt to get a blob. */
struct attempt {
	struct pull *pull;
	struct pull_blob *blob;
	struct tl_ctrd_writer *writer;
	uint64_t offset_bytes;          /* where this attempt began */
	struct registry_attempt result; /* of the registry */
	struct tl_error *err;
};

static int store(void *ctx, const void *data, size_t n)
{
	struct attempt *a = ctx;
	int r = tl_ctrd_writer_append(a->writer, data, n, a->err);

	if (r < 0)
		return r;
	atomic_fetch_add(&a->blob->at_bytes, n);
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

static int blob_commit(struct attempt *a, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	int r = labels_make(a->pull, &labels, err);

	if (r < 0)
		return r;
	r = tl_ctrd_writer_commit(a->writer, &labels, err);
	if (r == -EBADMSG)
		return tl_fail(err, TL_E_LAYER_DIGEST, EBADMSG,
			       "what the registry sent doesn't have the layer's digest");
	return r == -EEXIST ? 0 : r;
}

static void reuse(struct attempt *a)
{
	const uint64_t size_bytes = a->blob->descriptor->size_bytes;

	atomic_store(&a->blob->at_bytes, size_bytes);
	pthread_mutex_lock(&a->pull->lock);
	a->pull->stats.bytes_reused += size_bytes;
	pthread_mutex_unlock(&a->pull->lock);
}

static int blob_try(struct attempt *a, struct tl_registry *registry, struct tl_error *err)
{
	const struct tl_descriptor *d = a->blob->descriptor;
	const struct tl_ctrd_call call = pull_call(a->pull);
	auto_ctrd_writer struct tl_ctrd_writer *writer = NULL;
	char ref[sizeof(PULL_INGEST_PREFIX) + TL_DIGEST_TEXT_MAX];
	int r;

	snprintf(ref, sizeof(ref), PULL_INGEST_PREFIX "%s", d->digest);
	r = tl_ctrd_writer_open(a->pull->ctrd, &call, ref, d->size_bytes, d->digest, &writer,
				&a->offset_bytes, err);
	if (r == -EEXIST) {
		reuse(a);
		return 0;
	}
	/* The stream of the attempt before may not have let go yet. */
	a->result = (struct registry_attempt){ .is_retryable = r == -EAGAIN };
	if (r < 0)
		return r;
	a->writer = writer;
	atomic_store(&a->blob->at_bytes, a->offset_bytes);
	r = registry_read_blob(registry, d, a->offset_bytes, store, a, &a->result, err);
	if (r < 0 && a->result.is_retryable)
		/* Best effort: what doesn't arrive is fetched again. */
		(void)tl_ctrd_writer_flush(writer, NULL);
	return r < 0 ? r : blob_commit(a, err);
}

static int blob_fetch(struct pull *p, struct tl_registry *registry, struct pull_blob *blob,
		      struct tl_error *err)
{
	const unsigned int attempts_max = tl_registry_limits(registry)->blob_attempts_max;
	uint64_t reached_bytes = 0;
	unsigned int barren = 0; /* attempts in a row that brought nothing */

	for (unsigned int attempt = 1;; attempt++) {
		struct attempt a = { .pull = p, .blob = blob, .err = err };
		int waited, r = blob_try(&a, registry, err);

		if (r == 0)
			return 0;
		if (!a.result.is_retryable)
			return tl_wrap(err, r, "layer %s", blob->descriptor->digest);
		barren = a.offset_bytes > reached_bytes ? 1 : barren + 1;
		if (a.offset_bytes > reached_bytes)
			reached_bytes = a.offset_bytes;
		waited = attempt < attempts_max ? registry_backoff(registry, barren + 1, &a.result,
								   tl_deadline_never(), err)
						: -ETIME;
		if (waited == -ECANCELED)
			return waited;
		if (waited < 0)
			return tl_wrap(err, r, "layer %s, given up after %u attempts",
				       blob->descriptor->digest, attempt);
		pthread_mutex_lock(&p->lock);
		p->stats.retries++;
		pthread_mutex_unlock(&p->lock);
	}
}

/* The next blob of the queue, in the order in which they will be unpacked; NULL = no more. */
static struct pull_blob *blob_take(struct pull *p)
{
	struct pull_blob *blob = NULL;

	pthread_mutex_lock(&p->lock);
	if (!p->failure && p->blob_next < p->blobs_n)
		blob = &p->blobs[p->blob_next++];
	pthread_mutex_unlock(&p->lock);
	return blob;
}

static void blob_is_here(struct pull *p, struct pull_blob *blob)
{
	pthread_mutex_lock(&p->lock);
	blob->is_here = true;
	p->stats.layers_fetched++;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

void pull_fetch_run(struct pull *p)
{
	auto_registry struct tl_registry *registry = NULL;
	struct tl_error err = { 0 };
	struct pull_blob *blob;
	int r = tl_registry_dup(p->registry, p->stop, &registry, &err);

	while (r == 0 && (blob = blob_take(p))) {
		r = blob_fetch(p, registry, blob, &err);
		if (r == 0)
			blob_is_here(p, blob);
	}
	if (r < 0)
		pull_fail(p, r, &err);
	pthread_mutex_lock(&p->lock);
	p->stats.http_requests += registry ? tl_registry_requests(registry) : 0;
	pthread_mutex_unlock(&p->lock);
}
