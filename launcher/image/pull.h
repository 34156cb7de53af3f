/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolved image into containerd, everything under one lease. A layer goes one of two ways:
 *
 *   own         from the registry through a teelaunch-unpack process of its own (several at once)
 *               into an empty snapshot that containerd prepared, while it is downloaded; when those
 *               below are committed, it is moved into its place. Its blob is never stored.
 *   containerd  downloaded into the content store, then unpacked by containerd, in order.
 *
 * Memory doesn't depend on the image: one chunk a download, and a few MB an unpacker. Sizes are
 * checked while streaming, digests before anything is committed (by this process, or by containerd
 * for its content store), diff ids before a snapshot is.
 *
 * Nothing is synchronised to the disk: snapshots are used by the boot that made them alone.
 *
 * Threads, for the time of the call: "tl-fetch-N" (downloads) and "tl-unpack"; the caller's thread
 * watches deadline and cancellation and calls the functions of the options.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>
#include <teelaunch/error.h>

#include "registry.h"
#include "resolve.h"

struct tl_ctrd; /* launcher/containerd/containerd.h */

#define PULL_DOWNLOADS_MAX 8
/* Where containerd unpacks; own unpackers are processors + 1, so that one may wait. */
#define PULL_DOWNLOADS_DEFAULT 3
#define TL_PULL_REASON_MAX     160
/* A pull that takes longer than this has a registry that drips. */
#define PULL_BUDGET_MS (UINT64_C(3600) * 1000)
/* For what else writes to that disk: containerd's records, logs, the workload. */
#define PULL_RESERVE_BYTES (UINT64_C(64) << 20)

enum tl_pull_unpack {
	TL_PULL_AUTO, /* each layer the own way; containerd's where that isn't sure to be right */
	TL_PULL_OWN,  /* the own way, or the pull fails */
	TL_PULL_CONTAINERD, /* containerd's way */
};

struct tl_pull_progress {
	uint64_t bytes_done; /* of layers, as downloaded; content that was there counts as done */
	uint64_t bytes_total;
	unsigned int layers_fetched; /* distinct ones */
	unsigned int layers_unpacked;
	unsigned int layers_n;
};

/* What a pull came to, for the launch report; also filled when it failed. */
struct tl_pull_stats {
	uint64_t bytes_downloaded; /* body bytes that were stored or unpacked */
	uint64_t bytes_reused;     /* layers that containerd had already */
	uint64_t http_requests;    /* every attempt counted */
	unsigned int retries;      /* attempts after the first, of blobs */
	unsigned int layers_fetched;
	unsigned int layers_unpacked;
	unsigned int layers_reused; /* snapshots that were there */
	unsigned int layers_own;    /* of those unpacked: without containerd */
	uint64_t bytes_unpacked;    /* of these: their archives */
	/* Since the beginning: until the last byte of a layer was here, until the last layer was
	 * unpacked; then it had to be committed yet. 0: there was none. */
	uint64_t downloaded_at_ms, unpacked_at_ms;
	uint64_t took_ms;
};

/* What became of one layer. */
struct tl_pull_layer {
	size_t number;                    /* 0 = lowest */
	const char *way;                  /* "own", "containerd", "reused"; static */
	char reason[TL_PULL_REASON_MAX];  /* why not "own"; "" = it is, or nobody asked for it */
	uint64_t size_bytes;              /* of its blob */
	uint64_t unpacked_bytes, entries; /* of its archive; 0 = not known */
	/* Until its last byte was here; from then until it was unpacked; until it was committed
	 * when its turn had come. */
	uint64_t download_ms, unpack_ms, commit_ms;
};

struct tl_pull_options {
	/* Of this boot (/proc/sys/kernel/random/boot_id): only snapshots that were unpacked under
	 * the same one are used again. Required. */
	const char *boot_id;
	enum tl_pull_unpack unpack;
	const char *unpack_program; /* absolute; not used with TL_PULL_CONTAINERD */
	unsigned int
		downloads_max; /* at once, at most PULL_DOWNLOADS_MAX; 0 = as fits the machine */
	/* A folder on the file system of containerd's content store, for the check that the layers
	 * fit before the first is fetched, and that PULL_RESERVE_BYTES stay free until the last is
	 * unpacked. NULL = no check. */
	const char *content_dir;
	struct tl_deadline deadline; /* at_ms 0 = PULL_BUDGET_MS from now */
	struct tl_cancel *cancel;    /* NULL = none */
	/* Called on the caller's thread, about ten times a second and at the end; NULL = none. */
	void (*progress)(void *ctx, const struct tl_pull_progress *progress);
	/* Called on the caller's thread for each layer that is in place, the lowest first; NULL =
	 * none. */
	void (*layer)(void *ctx, const struct tl_pull_layer *layer);
	void *ctx; /* of both */
};

/**
 * Pull @image and record it in containerd under its reference's text.
 *
 * On success the lease is gone and containerd's garbage collector keeps exactly: index (if any),
 * manifest, configuration, the layers that were stored, and the snapshots of the chain. On failure
 * partial downloads, active snapshots and the lease are removed, synchronously, with a few retries
 * over some seconds in case containerd is just restarting; what can't be removed then expires, or
 * goes at the next pull, which drops the leases of earlier ones first: one pull at a time in a
 * namespace.
 *
 * @registry   the client that resolved it; used by this thread only, copied for the others
 * @ret_stats  always set; NULL is fine
 */
int tl_pull(struct tl_registry *registry, const struct tl_resolved_image *image,
	    struct tl_ctrd *ctrd, const struct tl_pull_options *options,
	    struct tl_pull_stats *ret_stats, struct tl_error *err);
