/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking: each layer as soon as it and those below it are there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "../containerd/content.h"
#include "pull_own.h"
#include "pull_private.h"

#define LABEL_UNCOMPRESSED "containerd.io/uncompressed"

/*
 * containerd gives no status of its own to these, only words. The layer's digest is right at this
 * point, so what a decoder says, whatever it is, is about the image; what the kernel says is about
 * the machine (the texts of Linux' errors, as Go writes them).
 */
static const char *const machine_faults[] = {
	"input/output error", "read-only file system",    "too many open files",
	"cannot allocate",    "permission denied",        "operation not permitted",
	"failed to mount",    "failed to create temp",    "context canceled",
	"no such device",     "structure needs cleaning",
};

static int apply_fail(int r, struct tl_error *err)
{
	char text[TL_ERROR_MSG_MAX];

	if (r != -EIO)
		return r;
	snprintf(text, sizeof(text), "%s", err->msg);
	if (strstr(text, "no space left on device") || strstr(text, "disk quota exceeded"))
		return tl_fail(err, TL_E_DISK_SPACE, ENOSPC, "%s", text);
	for (size_t i = 0; i < TL_ARRAY_SIZE(machine_faults); i++)
		if (strstr(text, machine_faults[i]))
			return r;
	return tl_fail(err, TL_E_UNPACK, EIO, "%s", text);
}

static int layer_apply(struct pull *p, const struct tl_layer *layer,
		       const struct tl_ctrd_mounts *mounts, struct tl_error *err)
{
	const struct tl_ctrd_descriptor descriptor = {
		.media_type = layer->descriptor.media_type,
		.digest = layer->descriptor.digest,
		.size_bytes = layer->descriptor.size_bytes,
	};
	struct tl_ctrd_call call = pull_call(p);
	auto_free char *diff_id = NULL;
	int r;

	/* As long as it takes: the watching thread holds the deadline. */
	call.deadline = tl_deadline_never();
	r = tl_ctrd_diff_apply(p->ctrd, &call, &descriptor, mounts, &diff_id, err);
	if (r < 0)
		return apply_fail(r, err);
	if (strcmp(diff_id, layer->diff_id) != 0)
		return tl_fail(err, TL_E_DIFF_ID, EBADMSG,
			       "it unpacks to %s, but the configuration says %s", diff_id,
			       layer->diff_id);
	return 0;
}

int pull_commit(struct pull *p, struct pull_layer *l, const char *key, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	auto_kvs struct tl_kvs labels = { 0 };
	int r;

	if (tl_kvs_add(&labels, PULL_LABEL_BOOT, p->options->boot_id) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a label");
	/*
	 * Not synchronised to the disk before: no other boot uses the snapshot (pull_stale.c), and
	 * the protected disk doesn't live longer anyway.
	 */
	r = tl_ctrd_snapshot_commit(p->ctrd, &call, l->of->chain_id.text, key, &labels, err);
	if (r == -EEXIST)
		return tl_fail(err, TL_E_CONTAINER_LEFTOVER, EEXIST,
			       "another client of containerd unpacked the same layer meanwhile");
	return r;
}

static int layer_unpack(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	const char *parent = l->number ? p->image->layers[l->number - 1].chain_id.text : "";
	const struct tl_ctrd_call call = pull_call(p);
	const uint64_t began_ms = pull_now_ms(p);
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	char key[PULL_KEY_MAX];
	int r;

	snprintf(key, sizeof(key), "%s%zu", p->snapshot_prefix, l->number);
	r = tl_ctrd_snapshot_prepare(p->ctrd, &call, key, parent, &mounts, err);
	if (r == 0)
		r = layer_apply(p, l->of, &mounts, err);
	l->facts.unpack_ms = pull_note_time(p, &p->stats.unpacked_at_ms) - began_ms;
	return r < 0 ? r : pull_commit(p, l, key, err);
}

/* Only what the digest of the unpacked layer vouches for is called unpacked. */
static int stored_unpack(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	int r = pull_snapshot_is_ours(p, l->of->chain_id.text, err);

	if (r > 0) {
		pthread_mutex_lock(&p->lock);
		l->way = PULL_WAY_REUSED;
		pthread_mutex_unlock(&p->lock);
		l->facts.way = "reused";
		return 0;
	}
	if (r < 0 && r != -ENOENT)
		return r;
	r = layer_unpack(p, l, err);
	return r < 0 ? r
		     : tl_ctrd_blob_label(p->ctrd, &call, l->of->descriptor.digest,
					  LABEL_UNCOMPRESSED, l->of->diff_id, err);
}

static bool is_ready(const struct pull *p, const struct pull_layer *l)
{
	return l->state == PULL_DONE || l->state == PULL_EXTRACTED ||
	       (l->state == PULL_STORED && p->blobs[l->first].is_here);
}

/* False: the pull has failed, there is no point in going on. */
static bool layer_wait(struct pull *p, const struct pull_layer *l)
{
	bool is_failed;

	pthread_mutex_lock(&p->lock);
	while (!is_ready(p, l) && !p->failure)
		pthread_cond_wait(&p->changed, &p->lock);
	is_failed = p->failure != 0;
	pthread_mutex_unlock(&p->lock);
	return !is_failed;
}

static void layer_is_done(struct pull *p, struct pull_layer *l)
{
	pthread_mutex_lock(&p->lock);
	if (l->state != PULL_DONE) {
		*(l->way == PULL_WAY_REUSED ? &p->stats.layers_reused
					    : &p->stats.layers_unpacked) += 1;
		p->stats.layers_own += l->way == PULL_WAY_OWN;
		p->stats.bytes_unpacked += l->facts.unpacked_bytes;
	}
	l->state = PULL_DONE;
	p->done_n = l->number + 1;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* When the layer's turn has come and its bytes are here: 1, or 0 if it was queued again. */
static int layer_do(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	const uint64_t began_ms = pull_now_ms(p);
	int r;

	if (l->state == PULL_DONE)
		return 1;
	if (l->way == PULL_WAY_OWN) {
		r = pull_own_commit(p, l, err);
		if (r < 0)
			return pull_own_fails(p, l, r, err);
	} else {
		r = stored_unpack(p, l, err);
		if (r < 0)
			return r;
	}
	l->facts.commit_ms = pull_now_ms(p) - began_ms;
	if (l->way != PULL_WAY_OWN)
		l->facts.commit_ms -= l->facts.unpack_ms;
	layer_is_done(p, l);
	return 1;
}

void pull_unpack_run(struct pull *p)
{
	for (size_t i = 0; i < p->image->layers_n;) {
		struct pull_layer *l = &p->layers[i];
		struct tl_error err = { 0 };
		int r;

		if (!layer_wait(p, l))
			return;
		r = layer_do(p, l, &err);
		if (r < 0) {
			r = tl_wrap(&err, r, "unpacking layer %s", l->of->descriptor.digest);
			pull_fail(p, r, &err);
			return;
		}
		i += (size_t)r;
	}
}
