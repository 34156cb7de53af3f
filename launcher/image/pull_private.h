/* SPDX-License-Identifier: Apache-2.0 */
/* What the threads of one pull share: the layers, and the first failure. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../containerd/containerd.h"
#include "../unpack/unpacker.h"
#include "pull.h"
#include "registry.h"
#include "resolve.h"

/* What a pull makes in containerd begins with these, so that the next one can clear it away. */
#define PULL_LEASE_PREFIX    "teelaunch-pull-"
#define PULL_INGEST_PREFIX   "teelaunch-layer-"
#define PULL_SNAPSHOT_PREFIX "teelaunch-extract-"
#define PULL_KEY_MAX         96

/* Which boot unpacked a snapshot. */
#define PULL_LABEL_BOOT "teelaunch.boot-id"

/* Collected by containerd after a day if neither this pull nor a later one removes it. */
#define PULL_LEASE_SECONDS (24 * 60 * 60)

/* How a layer gets to its snapshot; chosen before the threads start, and from OWN to CONTAINERD
 * later, never back. */
enum pull_way {
	PULL_WAY_OWN,        /* registry -> unpacker -> snapshot */
	PULL_WAY_CONTAINERD, /* registry -> content store -> containerd's Apply */
	PULL_WAY_REUSED,     /* its snapshot was there */
};

enum pull_state {
	PULL_QUEUED,    /* for the threads that download */
	PULL_TAKEN,     /* by one of them */
	PULL_EXTRACTED, /* OWN: in its scratch, digest and diff id judged */
	PULL_STORED,    /* CONTAINERD: some thread fetches its blob, or it is here */
	PULL_DONE,      /* committed */
};

struct pull_layer {
	const struct tl_layer *of; /* borrowed from the image */
	size_t number;             /* 0 = lowest */
	size_t first;              /* number of the lowest layer of the same content */
	bool is_fetched;           /* of a first one: its bytes were all here, by either way */
	enum pull_way way;
	enum pull_state state;
	atomic_uint_fast64_t at_bytes; /* downloaded, for the progress report */
	/* Of the way OWN; by the thread that took the layer, once EXTRACTED by the one that
	 * commits. */
	char scratch[PULL_KEY_MAX];   /* its snapshot's key; "" = none */
	char *scratch_dir;            /* where that is */
	int scratch_fd;               /* the same, open; -1 = closed */
	struct tl_unpacker *unpacker; /* NULL: there is nothing to finish */
	struct tl_pull_layer facts;
};

/* A blob of the content store; the number is that of its first layer. */
struct pull_blob {
	bool is_taken; /* by the thread that fetches it */
	bool is_here;  /* complete */
};

struct pull {
	/* Constant while the threads run. */
	const struct tl_resolved_image *image;
	const struct tl_registry *registry; /* a pattern for copies */
	struct tl_ctrd *ctrd;
	const struct tl_pull_options *options;
	char lease[64];
	char snapshot_prefix[64];
	uint64_t began_ms;
	struct tl_cancel *stop;   /* requested at the first failure */
	struct tl_cancel *cancel; /* of calls: stop while the threads run, else the caller's */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct pull_layer *layers; /* as many as the image has */
	struct pull_blob *blobs;
	size_t done_n;                      /* so many are committed, from the lowest */
	char own_fault[TL_PULL_REASON_MAX]; /* why no layer can go the own way now; "": they can */
	unsigned int threads_running;
	int failure; /* of the thread that failed first; 0 = none */
	struct tl_error error;
	struct tl_pull_stats stats;

	atomic_uint_fast64_t downloaded_bytes;
	bool has_begun; /* something of this pull may be in containerd */
	bool is_image_recorded;
	bool has_waste; /* of a layer that changed its way: on the disk until it is collected */
};

/** How calls of this pull are made: under its lease, and what ends them. */
struct tl_ctrd_call pull_call(const struct pull *p);
/** Keep the failure @r if it is the first, and stop the other threads. */
void pull_fail(struct pull *p, int r, const struct tl_error *err);
/** Milliseconds since the pull began; _note also keeps them in @at, of p->stats. */
uint64_t pull_now_ms(const struct pull *p);
uint64_t pull_note_time(struct pull *p, uint64_t *at);

/** Which way each layer goes, and does it all fit? */
int pull_plan(struct pull *p, struct tl_error *err);
/** What layers unpack to is known only once they are unpacked: so the disk is watched. */
int pull_reserve_check(const char *content_dir, struct tl_error *err);

/** Bodies of the threads: download layers until there are none; commit them in order. */
void pull_fetch_run(struct pull *p);
void pull_unpack_run(struct pull *p);

/** The layer's bytes are all here, by either way; once for those of the same content. */
void pull_count_fetched(struct pull *p, struct pull_layer *l);
/** Commit the snapshot @key as @l's, vouched for by this boot. */
int pull_commit(struct pull *p, struct pull_layer *l, const char *key, struct tl_error *err);

/* One attempt to get a layer's bytes. */
struct pull_attempt {
	struct pull *pull;
	struct pull_layer *layer;
	void *ctx;                      /* of who attempts */
	uint64_t offset_bytes;          /* where this attempt began */
	struct registry_attempt result; /* of the registry */
	struct tl_error *err;
};
/** @attempt until it succeeds, or there is no point in another. */
int pull_retry(struct pull *p, struct tl_registry *registry, struct pull_layer *l,
	       int (*attempt)(struct pull_attempt *a, struct tl_registry *registry), void *ctx,
	       struct tl_error *err);

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
