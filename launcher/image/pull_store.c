/* SPDX-License-Identifier: Apache-2.0 */
/* What a pull leaves in containerd, and how it is cleared away. */
#include <errno.h>
#include <stdio.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "../containerd/content.h"
#include "pull_private.h"

/* containerd may be just restarting: outlast that, then leave it to the lease's expiry. */
#define UNDO_BUDGET_MS 15000
#define UNDO_PAUSE_MS  200
#define UNDO_CALL_MS   5000

/* containerd's garbage collector follows these (its docs/garbage-collection.md). */
#define LABEL_GC_SNAPSHOT "containerd.io/gc.ref.snapshot." TL_CTRD_SNAPSHOTTER
#define LABEL_GC_CONFIG   "containerd.io/gc.ref.content.config"
#define LABEL_GC_LAYER    "containerd.io/gc.ref.content.l"
#define LABEL_GC_MANIFEST "containerd.io/gc.ref.content.m"

static int no_memory(struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a label");
}

static int label_add(struct tl_kvs *labels, const char *kind, size_t i, const char *value,
		     struct tl_error *err)
{
	char key[64];

	snprintf(key, sizeof(key), "%s.%zu", kind, i);
	return tl_kvs_add(labels, key, value) < 0 ? no_memory(err) : 0;
}

static int document_put(struct pull *p, const struct tl_descriptor *d, const struct tl_buf *bytes,
			const struct tl_kvs *labels, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	char ref[sizeof(PULL_INGEST_PREFIX) + TL_DIGEST_TEXT_MAX];

	snprintf(ref, sizeof(ref), PULL_INGEST_PREFIX "%s", d->digest);
	return tl_ctrd_blob_put(p->ctrd, &call, ref, bytes->data, bytes->len_bytes, d->digest,
				labels, err);
}

static int config_record(struct pull *p, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };

	if (tl_kvs_add(&labels, LABEL_GC_SNAPSHOT, p->image->chain_id.text) < 0)
		return no_memory(err);
	return document_put(p, &p->image->config, &p->image->config_bytes, &labels, err);
}

static int manifest_record(struct pull *p, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	int r = 0;

	if (tl_kvs_add(&labels, LABEL_GC_CONFIG, p->image->config.digest) < 0)
		return no_memory(err);
	for (size_t i = 0; r == 0 && i < p->image->layers_n; i++)
		/* Of the stored ones too that aren't: containerd's collector passes over what it
		 * doesn't have, and whoever fetches it later keeps it. */
		r = label_add(&labels, LABEL_GC_LAYER, i, p->image->layers[i].descriptor.digest,
			      err);
	return r < 0 ? r
		     : document_put(p, &p->image->manifest, &p->image->manifest_bytes, &labels,
				    err);
}

static int index_record(struct pull *p, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };
	int r;

	if (!p->image->has_index)
		return 0;
	r = label_add(&labels, LABEL_GC_MANIFEST, p->image->index_entry, p->image->manifest.digest,
		      err);
	return r < 0 ? r : document_put(p, &p->image->target, &p->image->index_bytes, &labels, err);
}

int pull_record(struct pull *p, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	const struct tl_ctrd_descriptor target = {
		.media_type = p->image->target.media_type,
		.digest = p->image->target.digest,
		.size_bytes = p->image->target.size_bytes,
	};
	int r = config_record(p, err);

	if (r == 0)
		r = manifest_record(p, err);
	if (r == 0)
		r = index_record(p, err);
	if (r < 0)
		return tl_wrap(err, r, "recording the image");
	/* Before the call: even if it fails, it may have taken effect. */
	p->is_image_recorded = true;
	r = tl_ctrd_image_put(p->ctrd, &call, p->image->ref.text, &target, NULL, err);
	if (r == 0)
		r = tl_ctrd_lease_delete(p->ctrd, &call, p->lease, p->has_waste, err);
	return r < 0 ? tl_wrap(err, r, "recording the image") : 0;
}

/* --- clearing away ------------------------------------------------------------------------- */

static int lease_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			struct tl_error *err)
{
	/* With garbage collection: what the lease kept is gone when it returns. */
	return tl_ctrd_lease_delete(c, call, id, true, err);
}

/* In this order: leases last, because they collect what the others let go of. */
static const struct {
	const char *prefix;
	int (*list)(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
		    struct tl_strv *ret, struct tl_error *err);
	int (*remove)(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
		      struct tl_error *err);
} leftovers[] = {
	{ PULL_INGEST_PREFIX, tl_ctrd_ingest_list, tl_ctrd_ingest_abort },
	{ PULL_SNAPSHOT_PREFIX, tl_ctrd_snapshot_list, tl_ctrd_snapshot_remove },
	{ PULL_LEASE_PREFIX, tl_ctrd_lease_list, lease_remove },
};

static int clear(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(leftovers); i++) {
		auto_strv struct tl_strv names = { 0 };
		int r = leftovers[i].list(c, call, leftovers[i].prefix, &names, err);

		for (size_t k = 0; r == 0 && k < names.n; k++) {
			r = leftovers[i].remove(c, call, names.items[k], err);
			r = r == -ENOENT ? 0 : r;
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int pull_clear_stale(struct pull *p, struct tl_error *err)
{
	struct tl_ctrd_call call = pull_call(p);
	int r;

	call.lease = NULL;
	r = clear(p->ctrd, &call, err);
	return r < 0 ? tl_wrap(err, r, "clearing away earlier pulls") : 0;
}

static int undo_once(struct pull *p, const struct tl_ctrd_call *call)
{
	struct tl_error ignored;
	int r = 0;

	if (p->is_image_recorded)
		r = tl_ctrd_image_delete(p->ctrd, call, p->image->ref.text, true, &ignored);
	return r < 0 && r != -ENOENT ? r : clear(p->ctrd, call, &ignored);
}

void pull_undo(struct pull *p)
{
	const struct tl_deadline until = tl_deadline_in(tl_clock_mono_ms(), UNDO_BUDGET_MS);

	for (;;) {
		uint64_t now_ms = tl_clock_mono_ms();
		/* Not cancelled by what ended the pull. */
		const struct tl_ctrd_call call = {
			.deadline = tl_deadline_min(until, tl_deadline_in(now_ms, UNDO_CALL_MS)),
		};

		if (undo_once(p, &call) == 0 || tl_deadline_is_past(until, now_ms))
			return;
		tl_clock_sleep_ms(UNDO_PAUSE_MS);
	}
}
