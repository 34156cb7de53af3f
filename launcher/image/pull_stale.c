/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of an earlier boot. Nothing vouches for their files any more: a disk may have been
 * changed while the machine was off, and a hard stop may have cut short what was written last.
 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "pull_private.h"

int pull_snapshot_is_ours(struct pull *p, const char *name, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	enum tl_ctrd_snapshot_kind kind = TL_CTRD_SNAPSHOT_UNKNOWN;
	auto_kvs struct tl_kvs labels = { 0 };
	const char *boot_id;
	int r = tl_ctrd_snapshot_stat(p->ctrd, &call, name, &kind, NULL, &labels, err);

	if (r < 0)
		return r;
	boot_id = tl_kvs_get(&labels, PULL_LABEL_BOOT);
	return kind == TL_CTRD_SNAPSHOT_COMMITTED && boot_id &&
	       strcmp(boot_id, p->options->boot_id) == 0;
}

static int in_use(const char *name, struct tl_error *err)
{
	return tl_fail(err, TL_E_CONTAINER_LEFTOVER, EBUSY,
		       "the image was unpacked before this boot, and '%s' still uses it: remove it",
		       name);
}

static int add(struct tl_strv *names, const char *name, struct tl_error *err)
{
	return tl_strv_add(names, name) < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "snapshots") : 0;
}

/* The image's own: the lowest that isn't of this boot, and all above it; lowest first. */
static int stale_own(struct pull *p, struct tl_strv *stale, struct tl_error *err)
{
	for (size_t i = 0; i < p->image->layers_n; i++) {
		const char *name = p->image->layers[i].chain_id.text;
		int r = pull_snapshot_is_ours(p, name, err);

		if (r == -ENOENT || (r > 0 && stale->n == 0))
			continue;
		if (r >= 0)
			r = add(stale, name, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Every snapshot and its parent. */
static int parents_read(struct pull *p, struct tl_kvs *ret, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	auto_strv struct tl_strv names = { 0 };
	int r = tl_ctrd_snapshot_list(p->ctrd, &call, "", &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		enum tl_ctrd_snapshot_kind kind = TL_CTRD_SNAPSHOT_UNKNOWN;
		auto_free char *parent = NULL;

		r = tl_ctrd_snapshot_stat(p->ctrd, &call, names.items[i], &kind, &parent, NULL,
					  err);
		if (r == 0 && tl_kvs_add(ret, names.items[i], parent) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "snapshots");
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}

/* Other images' snapshots stand on the same layers; appended after what they stand on. */
static int stale_add_children(struct pull *p, struct tl_strv *stale, struct tl_error *err)
{
	auto_kvs struct tl_kvs parents = { 0 };
	int r = parents_read(p, &parents, err);

	for (size_t i = 0; r == 0 && i < stale->n; i++)
		for (size_t k = 0; r == 0 && k < parents.n; k++)
			if (strcmp(parents.items[k].value, stale->items[i]) == 0 &&
			    !tl_strv_contains(stale, parents.items[k].key))
				r = add(stale, parents.items[k].key, err);
	return r;
}

/* An active one is somebody's container: it isn't ours to take away. */
static int uses_check(struct pull *p, const struct tl_strv *stale, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);

	for (size_t i = 0; i < stale->n; i++) {
		enum tl_ctrd_snapshot_kind kind = TL_CTRD_SNAPSHOT_COMMITTED;
		int r = tl_ctrd_snapshot_stat(p->ctrd, &call, stale->items[i], &kind, NULL, NULL,
					      err);

		if (r < 0 && r != -ENOENT)
			return r;
		if (kind != TL_CTRD_SNAPSHOT_COMMITTED)
			return in_use(stale->items[i], err);
	}
	return 0;
}

int pull_drop_earlier_boots(struct pull *p, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	auto_strv struct tl_strv stale = { 0 };
	int r = stale_own(p, &stale, err);

	if (r < 0 || stale.n == 0)
		return r;
	r = stale_add_children(p, &stale, err);
	if (r == 0)
		r = uses_check(p, &stale, err);
	for (size_t i = stale.n; r == 0 && i-- > 0;) {
		r = tl_ctrd_snapshot_remove(p->ctrd, &call, stale.items[i], err);
		if (r == -EPERM) /* FAILED_PRECONDITION: another stands on it by now */
			return in_use(stale.items[i], err);
		r = r == -ENOENT ? 0 : r;
	}
	return r;
}
