/* SPDX-License-Identifier: Apache-2.0 */
/* Before the first layer is fetched: which way each goes, and whether they fit. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include <teelaunch/cleanup.h>

#include "../containerd/content.h"
#include "pull_private.h"

#define SHA256_PREFIX "sha256:"

static int available_bytes(const char *dir, uint64_t *ret, struct tl_error *err)
{
	struct statvfs fs;

	if (statvfs(dir, &fs) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "free space of '%s'", dir);
	if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, ret))
		*ret = UINT64_MAX;
	return 0;
}

int pull_reserve_check(const char *content_dir, struct tl_error *err)
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

/* Hardly any archive is smaller than what it was compressed to: both ways need as much. */
static int space_check(const char *content_dir, uint64_t needed, struct tl_error *err)
{
	uint64_t available = 0;
	int r;

	if (!content_dir)
		return 0;
	r = available_bytes(content_dir, &available, err);
	if (r < 0)
		return r;
	if (needed > available)
		return tl_fail(err, TL_E_DISK_SPACE, ENOSPC,
			       "the image's layers need %" PRIu64 " bytes, and '%s' has %" PRIu64
			       " free",
			       needed, content_dir, available);
	return 0;
}

/* 1, 0, or an error. */
static int is_stored(struct pull *p, const struct pull_layer *l, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	auto_ctrd_blob struct tl_ctrd_blob info = { 0 };
	int r = tl_ctrd_blob_info(p->ctrd, &call, l->of->descriptor.digest, &info, err);

	return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static void reuse(struct pull *p, struct pull_layer *l)
{
	l->way = PULL_WAY_REUSED;
	l->state = PULL_DONE;
	l->facts.way = "reused";
	atomic_store(&l->at_bytes, l->of->descriptor.size_bytes);
	p->stats.layers_reused++;
	if (l->first == l->number)
		p->stats.bytes_reused += l->of->descriptor.size_bytes;
	pull_count_fetched(p, l);
}

/* Why the layer goes containerd's way; "": that was asked for; NULL: it doesn't. */
static const char *other_way(const struct pull *p, const struct pull_layer *l, bool is_in_store)
{
	if (p->options->unpack == TL_PULL_CONTAINERD)
		return "";
	/* Takes no download. */
	if (is_in_store)
		return "it was in the content store";
	if (!tl_str_starts_with(l->of->diff_id, SHA256_PREFIX))
		return "its diff id isn't a sha256";
	return NULL;
}

static int layer_plan(struct pull *p, struct pull_layer *l, uint64_t *needed_bytes,
		      struct tl_error *err)
{
	const char *reason;
	int r = 0;

	if (p->options->unpack != TL_PULL_CONTAINERD) {
		r = pull_snapshot_is_ours(p, l->of->chain_id.text, err);
		if (r > 0) {
			reuse(p, l);
			return 0;
		}
	}
	if (r == 0 || r == -ENOENT)
		r = is_stored(p, l, err);
	if (r < 0)
		return r;
	reason = other_way(p, l, r > 0);
	/* "own" is a demand for what has to be unpacked; a stored blob costs containerd alone. */
	l->way = reason ? PULL_WAY_CONTAINERD : PULL_WAY_OWN;
	l->facts.way = reason ? "containerd" : "own";
	snprintf(l->facts.reason, sizeof(l->facts.reason), "%s", reason ? reason : "");
	if (r == 0 && (!reason || l->first == l->number))
		*needed_bytes += l->of->descriptor.size_bytes;
	return 0;
}

int pull_plan(struct pull *p, struct tl_error *err)
{
	uint64_t needed_bytes = 0;

	for (size_t i = 0; i < p->image->layers_n; i++) {
		int r = layer_plan(p, &p->layers[i], &needed_bytes, err);

		if (r < 0)
			return r;
	}
	while (p->done_n < p->image->layers_n && p->layers[p->done_n].state == PULL_DONE)
		p->done_n++;
	return space_check(p->options->content_dir, needed_bytes, err);
}
