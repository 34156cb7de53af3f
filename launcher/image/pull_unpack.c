/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking: each layer as soon as it and those below it are there. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "../containerd/content.h"
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

static int layer_unpack(struct pull *p, size_t i, struct tl_error *err)
{
	const struct tl_layer *layer = &p->image->layers[i];
	const char *parent = i ? p->image->layers[i - 1].chain_id.text : "";
	const struct tl_ctrd_call call = pull_call(p);
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	auto_kvs struct tl_kvs labels = { 0 };
	char key[sizeof(p->snapshot_prefix) + 32];
	int r;

	if (tl_kvs_add(&labels, PULL_LABEL_BOOT, p->boot_id) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a label");
	snprintf(key, sizeof(key), "%s%zu", p->snapshot_prefix, i);
	r = tl_ctrd_snapshot_prepare(p->ctrd, &call, key, parent, &mounts, err);
	if (r == 0)
		r = layer_apply(p, layer, &mounts, err);
	if (r < 0)
		return r;
	r = tl_ctrd_snapshot_commit(p->ctrd, &call, layer->chain_id.text, key, &labels, err);
	if (r == -EEXIST)
		return tl_fail(err, TL_E_CONTAINER_LEFTOVER, EEXIST,
			       "another client of containerd unpacked the same layer meanwhile");
	return r;
}

/* Only what the digest of the unpacked layer vouches for is called unpacked. */
static int layer_do(struct pull *p, size_t i, struct tl_error *err)
{
	const struct tl_layer *layer = &p->image->layers[i];
	const struct tl_ctrd_call call = pull_call(p);
	int r = pull_snapshot_is_ours(p, layer->chain_id.text, err);
	const bool is_reused = r > 0;

	if (r < 0 && r != -ENOENT)
		return r;
	if (!is_reused) {
		r = layer_unpack(p, i, err);
		if (r == 0)
			r = tl_ctrd_blob_label(p->ctrd, &call, layer->descriptor.digest,
					       LABEL_UNCOMPRESSED, layer->diff_id, err);
		if (r < 0)
			return r;
	}
	pthread_mutex_lock(&p->lock);
	*(is_reused ? &p->stats.layers_reused : &p->stats.layers_unpacked) += 1;
	pthread_mutex_unlock(&p->lock);
	return 0;
}

/* False: the pull has failed, there is no point in going on. */
static bool layer_wait(struct pull *p, size_t i)
{
	bool is_here;

	pthread_mutex_lock(&p->lock);
	while (!p->blobs[p->blob_of_layer[i]].is_here && !p->failure)
		pthread_cond_wait(&p->changed, &p->lock);
	is_here = !p->failure;
	pthread_mutex_unlock(&p->lock);
	return is_here;
}

void pull_unpack_run(struct pull *p)
{
	for (size_t i = 0; i < p->image->layers_n && layer_wait(p, i); i++) {
		struct tl_error err = { 0 };
		int r = layer_do(p, i, &err);

		if (r < 0) {
			r = tl_wrap(&err, r, "unpacking layer %s",
				    p->image->layers[i].descriptor.digest);
			pull_fail(p, r, &err);
		}
	}
}
