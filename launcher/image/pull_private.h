/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads of one pull share: a queue of blobs, and the first failure. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../containerd/containerd.h"
#include "pull.h"
#include "registry.h"
#include "resolve.h"

/* What a pull makes in containerd begins with these, so that the next one can clear it away. */
#define PULL_LEASE_PREFIX    "teelaunch-pull-"
#define PULL_INGEST_PREFIX   "teelaunch-layer-"
#define PULL_SNAPSHOT_PREFIX "teelaunch-extract-"

/* Which boot unpacked a snapshot. */
#define PULL_LABEL_BOOT "teelaunch.boot-id"

/* Collected by containerd after a day if neither this pull nor a later one removes it. */
#define PULL_LEASE_SECONDS (24 * 60 * 60)

struct pull_blob {
	const struct tl_descriptor *descriptor; /* borrowed from the image */
	bool is_here;                           /* complete in the content store */
	atomic_uint_fast64_t at_bytes;          /* for the progress report */
};

struct pull {
	/* Constant while the threads run. */
	const struct tl_resolved_image *image;
	const struct tl_registry *registry; /* a pattern for copies */
	struct tl_ctrd *ctrd;
	const char *boot_id;
	char lease[64];
	char snapshot_prefix[64];
	struct tl_cancel *stop;   /* requested at the first failure */
	struct tl_cancel *cancel; /* of calls: stop while the threads run, else the caller's */
	size_t *blob_of_layer;    /* layer -> blobs; layers may share one */
	size_t blobs_n;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct pull_blob *blobs;
	size_t blob_next; /* the first that no thread has taken */
	unsigned int threads_running;
	int failure; /* of the thread that failed first; 0 = none */
	struct tl_error error;
	struct tl_pull_stats stats;

	atomic_uint_fast64_t downloaded_bytes;
	bool has_begun; /* something of this pull may be in containerd */
	bool is_image_recorded;
};

/** How calls of this pull are made: under its lease, and what ends them. */
struct tl_ctrd_call pull_call(const struct pull *p);

/** Keep the failure @r if it is the first, and stop the other threads. */
void pull_fail(struct pull *p, int r, const struct tl_error *err);

/** Bodies of the threads: download blobs until there are none; unpack layers in order. */
void pull_fetch_run(struct pull *p);
void pull_unpack_run(struct pull *p);

/** Config, manifest, index and image, each labelled with what it keeps alive. Last of all. */
int pull_record(struct pull *p, struct tl_error *err);

/** Remove what earlier pulls left behind. */
int pull_clear_stale(struct pull *p, struct tl_error *err);
/** Is it committed, and by this boot? 1, 0, or an error (-ENOENT: there is none). */
int pull_snapshot_is_ours(struct pull *p, const char *name, struct tl_error *err);
/** Remove the image's snapshots that earlier boots unpacked, and those that stand on them.
 * TL_E_CONTAINER_LEFTOVER if something uses them. */
int pull_drop_earlier_boots(struct pull *p, struct tl_error *err);
/** Undo this pull, with retries for some seconds; what stays then, expires. */
void pull_undo(struct pull *p);
