/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer the own way, until it is EXTRACTED: an empty snapshot of containerd's as its scratch, a
 * process that unpacks into it, and the registry's bytes hashed and fed to that.
 *
 * The process reads hostile bytes, but none that the image's author didn't write: what it made of
 * others is thrown away, because the digest is judged here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>

#include "pull_own.h"

/* --- the scratch --------------------------------------------------------------------------- */

/* What holds for this layer will hold for the others. */
static int own_off(struct pull *p, int r, const struct tl_error *err)
{
	pthread_mutex_lock(&p->lock);
	if (!p->own_fault[0])
		snprintf(p->own_fault, sizeof(p->own_fault), "%.*s", TL_PULL_REASON_MAX - 1,
			 err->msg);
	pthread_mutex_unlock(&p->lock);
	return r;
}

static bool has_option(const struct tl_ctrd_mount *m, const char *option)
{
	for (size_t i = 0; i < m->options.n; i++)
		if (strcmp(m->options.items[i], option) == 0)
			return true;
	return false;
}

static int no_way_in(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_UNPACKER, EOPNOTSUPP, "containerd's snapshots: %s", what);
}

/*
 * The folder of an empty snapshot. It must be the very one that containerd made, and not what has
 * that path by chance where this process looks: that would be older than @asked_at.
 */
static int scratch_open(struct pull_layer *l, const struct tl_ctrd_mounts *mounts,
			const struct timespec *asked_at, struct tl_error *err)
{
	const struct tl_ctrd_mount *m = mounts->items;
	struct stat st;

	if (mounts->n != 1 || strcmp(m->type, "bind") != 0 || !has_option(m, "rw") ||
	    m->source[0] != '/')
		return no_way_in(err, "an empty one isn't a folder");
	l->scratch_dir = strdup(m->source);
	if (!l->scratch_dir)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a snapshot's folder");
	l->scratch_fd = open(m->source, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (l->scratch_fd < 0 || fstat(l->scratch_fd, &st) < 0 || access(m->source, W_OK) < 0)
		return no_way_in(err, strerrordesc_np(errno));
	if (st.st_ctim.tv_sec < asked_at->tv_sec ||
	    (st.st_ctim.tv_sec == asked_at->tv_sec && st.st_ctim.tv_nsec < asked_at->tv_nsec))
		return no_way_in(err, "containerd sees another file system");
	return 0;
}

static int scratch_make(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	const struct tl_ctrd_call call = pull_call(p);
	auto_ctrd_mounts struct tl_ctrd_mounts mounts = { 0 };
	struct timespec asked_at;
	int r;

	/* The clock of a file's times, which is a little behind the exact one. */
	clock_gettime(CLOCK_REALTIME_COARSE, &asked_at);
	snprintf(l->scratch, sizeof(l->scratch), "%s%zu-new", p->snapshot_prefix, l->number);
	r = tl_ctrd_snapshot_prepare(p->ctrd, &call, l->scratch, "", &mounts, err);
	if (r < 0) {
		l->scratch[0] = '\0';
		return r;
	}
	r = scratch_open(l, &mounts, &asked_at, err);
	return r < 0 ? own_off(p, r, err) : 0;
}

static int unpacker_start(struct pull *p, struct pull_layer *l, struct tl_error *err)
{
	int r = tl_unpacker_start(p->options->unpack_program, l->scratch_fd, &l->unpacker, err);

	return r < 0 ? own_off(p, r, err) : 0;
}

/* --- the stream ---------------------------------------------------------------------------- */

struct stream {
	struct pull *pull;
	struct pull_layer *layer;
	struct tl_hasher *hasher;
	uint64_t bytes;
	/* The unpacker calls it broken; whether the image or the registry is to blame, its digest
	 * says at the end. */
	int broken;
	struct tl_error broken_err;
};

static int feed(void *ctx, const void *data, size_t n)
{
	struct pull_attempt *a = ctx;
	struct stream *s = a->ctx;
	int r = tl_hasher_update(s->hasher, data, n);

	if (r < 0)
		return tl_fail(a->err, TL_E_INTERNAL, EIO, "sha256");
	if (!s->broken) {
		r = tl_unpacker_write(s->layer->unpacker, data, n, s->pull->stop, a->err);
		if (r < 0 && r != -EBADMSG)
			return r;
		if (r < 0) {
			s->broken = r;
			s->broken_err = *a->err;
		}
	}
	s->bytes += n;
	atomic_fetch_add(&a->layer->at_bytes, n);
	atomic_fetch_add(&a->pull->downloaded_bytes, n);
	return 0;
}

static int stream_try(struct pull_attempt *a, struct tl_registry *registry)
{
	struct stream *s = a->ctx;

	a->offset_bytes = s->bytes;
	return registry_read_blob(registry, &a->layer->of->descriptor, s->bytes, feed, a,
				  &a->result, a->err);
}

static int digest_check(struct stream *s, struct tl_error *err)
{
	const char *wanted = s->layer->of->descriptor.digest;
	const char *wanted_hex = strchr(wanted, ':') + 1;
	uint8_t raw[TL_HASH_SIZE_MAX];
	char hex[2 * TL_HASH_SIZE_MAX + 1];

	if (tl_hasher_final(s->hasher, raw) < 0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "sha256");
	tl_hex_encode(raw, strlen(wanted_hex) / 2, hex);
	if (strcmp(hex, wanted_hex) != 0)
		return tl_fail(err, TL_E_LAYER_DIGEST, EBADMSG,
			       "what the registry sent doesn't have the layer's digest");
	return 0;
}

/* The bytes of the layer, judged, into its unpacker. */
static int stream_run(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		      struct tl_error *err)
{
	const char *digest = l->of->descriptor.digest;
	auto_free char *name = strndup(digest, strcspn(digest, ":"));
	auto_hasher struct tl_hasher *hasher = name ? tl_hasher_new(tl_hash_by_name(name)) : NULL;
	struct stream s = { .pull = p, .layer = l, .hasher = hasher };
	int r;

	if (!hasher)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a digest");
	r = pull_retry(p, registry, l, stream_try, &s, err);
	if (r == 0)
		r = digest_check(&s, err);
	if (r == 0 && s.broken) {
		*err = s.broken_err;
		r = s.broken;
	}
	return r;
}

/* --- the layer ----------------------------------------------------------------------------- */

static int diff_id_check(const struct pull_layer *l, const struct tl_unpack_extracted *x,
			 struct tl_error *err)
{
	char hex[2 * sizeof(x->diff_id) + 1];

	tl_hex_encode(x->diff_id, sizeof(x->diff_id), hex);
	if (strcmp(hex, strchr(l->of->diff_id, ':') + 1) != 0)
		return tl_fail(err, TL_E_DIFF_ID, EBADMSG,
			       "it unpacks to sha256:%s, but the configuration says %s", hex,
			       l->of->diff_id);
	return 0;
}

/* Only a layer with a parent, and with directories that take after the parent's, has to wait. */
static int finish_early(struct pull *p, struct pull_layer *l, const struct tl_unpack_extracted *x,
			struct tl_error *err)
{
	int r = 0;

	if (l->number > 0 && x->implicit_dirs > 0)
		return 0;
	if (l->number == 0)
		r = tl_unpacker_finish(l->unpacker, NULL, 0, p->stop, err);
	if (r == 0)
		l->unpacker = tl_unpacker_free(l->unpacker);
	return r;
}

static int extract(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		   struct tl_unpack_extracted *ret, struct tl_error *err)
{
	const uint64_t began_ms = pull_now_ms(p);
	uint64_t downloaded_ms;
	int r = scratch_make(p, l, err);

	if (r == 0)
		r = unpacker_start(p, l, err);
	if (r == 0)
		r = stream_run(p, registry, l, err);
	if (r < 0)
		return r;
	downloaded_ms = pull_note_time(p, &p->stats.downloaded_at_ms);
	l->facts.download_ms = downloaded_ms - began_ms;
	r = tl_unpacker_extracted(l->unpacker, p->stop, ret, err);
	if (r == 0)
		r = diff_id_check(l, ret, err);
	if (r == 0)
		r = finish_early(p, l, ret, err);
	l->facts.unpack_ms = pull_note_time(p, &p->stats.unpacked_at_ms) - downloaded_ms;
	return r;
}

int pull_own_fetch(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
		   struct tl_error *err)
{
	struct tl_unpack_extracted x = { 0 };
	int r = 0;

	pthread_mutex_lock(&p->lock);
	if (p->own_fault[0])
		r = tl_fail(err, TL_E_UNPACKER, EOPNOTSUPP, "%s", p->own_fault);
	pthread_mutex_unlock(&p->lock);
	if (r == 0)
		r = extract(p, registry, l, &x, err);
	if (r < 0)
		return r;
	l->facts.unpacked_bytes = x.bytes_inflated;
	l->facts.entries = x.entries;
	pull_count_fetched(p, l);
	pthread_mutex_lock(&p->lock);
	l->state = PULL_EXTRACTED;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void pull_own_end(struct pull_layer *l)
{
	l->unpacker = tl_unpacker_free(l->unpacker);
	if (l->scratch_fd >= 0)
		close(take_fd(l->scratch_fd));
	free(take_ptr(l->scratch_dir));
	l->scratch[0] = '\0';
}
