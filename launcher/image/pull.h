/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A resolved image into containerd: layers downloaded (several at once) straight into the content
 * store, unpacked in order as they arrive, everything under one lease.
 *
 * Memory doesn't depend on the image: one chunk a download. Digests are checked by containerd at
 * commit, sizes while streaming, diff ids before a snapshot is committed.
 *
 * Threads, for the time of the call: "tl-fetch-N" (downloads) and "tl-unpack"; the caller's thread
 * watches deadline and cancellation and calls the progress function.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>
#include <teelaunch/error.h>

#include "registry.h"
#include "resolve.h"

struct tl_ctrd; /* launcher/containerd/containerd.h */

#define PULL_DOWNLOADS_MAX     8
#define PULL_DOWNLOADS_DEFAULT 3
/* A pull that takes longer than this has a registry that drips. */
#define PULL_BUDGET_MS (UINT64_C(3600) * 1000)
/* For what else writes to that disk: containerd's records, logs, the workload. */
#define PULL_RESERVE_BYTES (UINT64_C(64) << 20)

struct tl_pull_progress {
	uint64_t bytes_done; /* of layers, as downloaded; content that was there counts as done */
	uint64_t bytes_total;
	unsigned int layers_fetched; /* distinct ones */
	unsigned int layers_unpacked;
	unsigned int layers_n;
};

/* What a pull came to, for the launch report; also filled when it failed. */
struct tl_pull_stats {
	uint64_t bytes_downloaded; /* body bytes that went into the content store */
	uint64_t bytes_reused;     /* layers that containerd had already */
	uint64_t http_requests;    /* every attempt counted */
	unsigned int retries;      /* attempts after the first, of blobs */
	unsigned int layers_fetched;
	unsigned int layers_unpacked;
	unsigned int layers_reused; /* snapshots that were there */
	uint64_t took_ms;
};

struct tl_pull_options {
	/* Of this boot (/proc/sys/kernel/random/boot_id): only snapshots that were unpacked under
	 * the same one are used again. Required. */
	const char *boot_id;
	unsigned int
		downloads_max; /* at once; 0 = PULL_DOWNLOADS_DEFAULT; at most PULL_DOWNLOADS_MAX */
	/* A folder on the file system of containerd's content store, for the check that the layers
	 * fit before the first is fetched, and that PULL_RESERVE_BYTES stay free until the last is
	 * unpacked. NULL = no check. */
	const char *content_dir;
	struct tl_deadline deadline; /* at_ms 0 = PULL_BUDGET_MS from now */
	struct tl_cancel *cancel;    /* NULL = none */
	/* Called on the caller's thread, about ten times a second and at the end; NULL = none. */
	void (*progress)(void *ctx, const struct tl_pull_progress *progress);
	void *progress_ctx;
};

/**
 * Pull @image and record it in containerd under its reference's text.
 *
 * On success the lease is gone and containerd's garbage collector keeps exactly: index (if any),
 * manifest, configuration, layers, and the snapshots of the chain. On failure partial downloads,
 * active snapshots and the lease are removed, synchronously, with a few retries over some seconds
 * in case containerd is just restarting; what can't be removed then expires, or goes at the next
 * pull, which drops the leases of earlier ones first: one pull at a time in a namespace.
 *
 * @registry   the client that resolved it; used by this thread only, copied for the others
 * @ret_stats  always set; NULL is fine
 */
int tl_pull(struct tl_registry *registry, const struct tl_resolved_image *image,
	    struct tl_ctrd *ctrd, const struct tl_pull_options *options,
	    struct tl_pull_stats *ret_stats, struct tl_error *err);
