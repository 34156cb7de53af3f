/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An extracted layer into its snapshot, and what becomes of one that went wrong.
 *
 * The lowest layer's scratch is its snapshot. For another containerd prepares one above the layers
 * below, empty, and the scratch takes its place: that it is empty is containerd's promise, and
 * rename(2) checks it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#include "../unpack/view.h"
#include "pull_own.h"

#define UPPER "upperdir="
#define LOWER "lowerdir="

/* The folders of an overlay's mount; borrowed. */
struct overlay {
	const char *upper;
	const char *lower; /* "top:...:bottom" */
};

static int unknown(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_UNPACKER, EOPNOTSUPP, "containerd's snapshots: %s", what);
}

static int overlay_read(const struct tl_ctrd_mounts *mounts, struct overlay *ret,
			struct tl_error *err)
{
	const struct tl_ctrd_mount *m = mounts->items;

	if (mounts->n != 1 || strcmp(m->type, "overlay") != 0)
		return unknown(err, "one above another isn't an overlay");
	for (size_t i = 0; i < m->options.n; i++) {
		const char *option = m->options.items[i];

		if (tl_str_starts_with(option, UPPER))
			ret->upper = option + strlen(UPPER);
		else if (tl_str_starts_with(option, LOWER))
			ret->lower = option + strlen(LOWER);
		else if (strcmp(option, "userxattr") == 0)
			return unknown(err, "whiteouts of a user namespace");
	}
	if (!ret->upper || !ret->lower || strchr(ret->lower, '\\'))
		return unknown(err, "an overlay's folders can't be told apart");
	return 0;
}

static int lower_open(const char *lower, int *fds, size_t *n, struct tl_error *err)
{
	while (*lower) {
		const size_t length = strcspn(lower, ":");
		auto_free char *path = strndup(lower, length);
		auto_close int fd = -1;

		if (!path)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a lower layer");
		if (*n == TL_UNPACK_LOWER_MAX)
			return unknown(err, "too many layers");
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return unknown(err, strerrordesc_np(errno));
		fds[*n] = tl_view_open(fd, true);
		if (fds[*n] < 0)
			return unknown(err, strerrordesc_np(-fds[*n]));
		(*n)++;
		lower += length + (lower[length] == ':');
	}
	return 0;
}

/* Directories that the archive didn't name take after the lower layers'. */
static int finish(struct pull *p, struct pull_layer *l, const char *lower, struct tl_error *err)
{
	int fds[TL_UNPACK_LOWER_MAX];
	size_t n = 0;
	int r = lower_open(lower, fds, &n, err);

	if (r == 0)
		r = tl_unpacker_finish(l->unpacker, fds, n, p->stop, err);
	while (n > 0)
		close(fds[--n]);
	if (r == 0)
		l->unpacker = tl_unpacker_free(l->unpacker);
	return r;
}

/* The scratch as the folder @upper, whose owner and mode containerd chose. */
static int scratch_move(const struct pull_layer *l, const char *upper, struct tl_error *err)
{
	struct stat st;

	if (lstat(upper, &st) < 0 || fchown(l->scratch_fd, st.st_uid, st.st_gid) < 0 ||
	    fchmod(l->scratch_fd, st.st_mode & 07777) < 0 || rename(l->scratch_dir, upper) < 0)
		return unknown(err, strerrordesc_np(errno));
	return 0;
}

static int place(struct pull *p, struct pull_layer *l, const char *key, struct tl_error *err)
{
	const char *parent = p->image->layers[l->number - 1].chain_id.text;
	const struct tl_ctrd_call call = pull_call(p);
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	struct overlay overlay = { 0 };
	int r = tl_ctrd_snapshot_prepare(p->ctrd, &call, key, parent, &mounts, err);

	if (r == 0)
		r = overlay_read(&mounts, &overlay, err);
	if (r == 0 && l->unpacker)
		r = finish(p, l, overlay.lower, err);
	return r == 0 ? scratch_move(l, overlay.upper, err) : r;
}

/* Of the snapshot above the layers below. */
static void key_make(const struct pull *p, const struct pull_layer *l, char ret[PULL_KEY_MAX])
{
	snprintf(ret, PULL_KEY_MAX, "%s%zu-own", p->snapshot_prefix, l->number);
}

int pull_own_commit(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	char key[PULL_KEY_MAX];
	int r;

	if (l->number == 0) {
		r = pull_commit(p, l, l->scratch, err);
	} else {
		key_make(p, l, key);
		r = place(p, l, key, err);
		if (r == 0)
			r = pull_commit(p, l, key, err);
		if (r == 0)
			r = tl_ctrd_snapshot_remove(p->ctrd, &call, l->scratch, err);
	}
	if (r == 0)
		pull_own_end(l);
	return r;
}

/* --- failures ------------------------------------------------------------------------------ */

static int remove_if_there(struct pull *p, const char *key, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	int r = *key ? tl_ctrd_snapshot_remove(p->ctrd, &call, key, err) : 0;

	return r == -ENOENT ? 0 : r;
}

/* For containerd to do it from the start. */
static int queue_again(struct pull *p, struct pull_layer *l, const char *reason,
		       struct tl_error *err)
{
	char scratch[PULL_KEY_MAX], key[PULL_KEY_MAX];
	int r;

	memcpy(scratch, l->scratch, sizeof(scratch));
	key_make(p, l, key);
	/* Nothing of it must be in use when containerd removes it. */
	pull_own_end(l);
	r = remove_if_there(p, scratch, err);
	if (r == 0)
		r = remove_if_there(p, key, err);
	if (r < 0)
		return r;
	l->facts = (struct tl_pull_layer){
		.number = l->number,
		.way = "containerd",
		.size_bytes = l->facts.size_bytes,
	};
	snprintf(l->facts.reason, sizeof(l->facts.reason), "%.*s", TL_PULL_REASON_MAX - 1, reason);
	atomic_store(&l->at_bytes, 0);
	pthread_mutex_lock(&p->lock);
	p->has_waste = true;
	l->way = PULL_WAY_CONTAINERD;
	l->state = PULL_QUEUED;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

int pull_own_fails(struct pull *p, struct pull_layer *l, int r, struct tl_error *err)
{
	const struct tl_error why = *err;

	/* containerd may see more in the layer; and does without our process. */
	if (p->options->unpack == TL_PULL_AUTO && (r == -EOPNOTSUPP || why.code == TL_E_UNPACKER))
		return queue_again(p, l, why.msg, err);
	pull_own_end(l);
	return r;
}
