/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd's API, typed: plain structs with strings, one blocking function a call. This header:
 * connection, version, namespaces, leases, images, snapshots, diff. content.h: blobs. task.h:
 * containers, tasks, events. Behaviour follows containerd 1.6 and later
 * (api/services/.../v1/ *.proto of its sources); field numbers are in containerd.proto.
 *
 * Every function returns 0 or -errno and fills @err: -ENOENT (no such object), -EEXIST, -ETIMEDOUT
 * (deadline), -ECANCELED, -ECONNRESET (containerd is gone or restarting; whether the call took
 * effect is unknown: read the state again), -EAGAIN (busy), -EBADMSG (corrupt data or an answer
 * that can't be understood), -EINVAL/-EPERM (refused), -EIO (anything else). Codes
 * TL_E_CONTAINERD_*. Outputs are set on success only and are owned by the caller.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>
#include <teelaunch/error.h>
#include <teelaunch/str.h>

#include "../launch_names.h"

/* Where containerd is. Thread-safe: several calls may run at once, each on a connection of its own.
 */
struct tl_ctrd;

/**
 * @socket_path  absolute, at most 107 bytes (sockaddr_un.sun_path)
 * @namespace    sent with every call; need not exist yet
 *
 * Does no I/O. TL_E_CONTAINERD_ADDRESS for a path that can't be used.
 */
int tl_ctrd_open(const char *socket_path, const char *namespace, struct tl_ctrd **ret,
		 struct tl_error *err);
struct tl_ctrd *tl_ctrd_close(struct tl_ctrd *c); /* no call may be under way; NULL is fine */
static inline void tl_ctrd_closep(struct tl_ctrd **c)
{
	*c = tl_ctrd_close(*c);
}
#define auto_ctrd __attribute__((cleanup(tl_ctrd_closep)))

/* How a call is made; borrowed. NULL = no lease, the default deadline, no cancellation. */
struct tl_ctrd_call {
	const char *lease;           /* what the call creates is kept by this lease; NULL = none */
	struct tl_deadline deadline; /* at_ms 0 = the default, TL_CTRD_CALL_MS from now */
	struct tl_cancel *cancel;
};
#define TL_CTRD_CALL_MS 30000

/** containerd's version text: "1.6.20". Also the cheapest way to ask whether it answers. */
int tl_ctrd_version(struct tl_ctrd *c, const struct tl_ctrd_call *call, char **ret,
		    struct tl_error *err);
/** Call tl_ctrd_version() until it answers or @call's deadline is past. */
int tl_ctrd_wait_ready(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err);

/** Make the connection's namespace; fine if it exists. */
int tl_ctrd_namespace_ensure(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			     struct tl_error *err);

/* Leases: what is created under one survives garbage collection until the lease is deleted or
 * expires (label containerd.io/gc.expire, RFC 3339). */
int tl_ctrd_lease_create(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			 uint64_t expires_in_s, struct tl_error *err);
/** @is_sync: garbage is collected before it returns. A lease that isn't there is -ENOENT. */
int tl_ctrd_lease_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			 bool is_sync, struct tl_error *err);
/** Ids of all leases whose id starts with @prefix ("" = all), added to @ret. */
int tl_ctrd_lease_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
		       struct tl_strv *ret, struct tl_error *err);

/* An OCI descriptor (image-spec, descriptor.md), borrowed or owned as the user says. */
struct tl_ctrd_descriptor {
	char *media_type;
	char *digest;
	uint64_t size_bytes;
};
void tl_ctrd_descriptor_done(struct tl_ctrd_descriptor *d);
#define auto_ctrd_descriptor __attribute__((cleanup(tl_ctrd_descriptor_done)))

/** The target of image @name; -ENOENT. */
int tl_ctrd_image_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
		      struct tl_ctrd_descriptor *ret, struct tl_error *err);
/** Create image @name, or point an existing one at @target. @labels may be NULL. */
int tl_ctrd_image_put(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
		      const struct tl_ctrd_descriptor *target, const struct tl_kvs *labels,
		      struct tl_error *err);
int tl_ctrd_image_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			 bool is_sync, struct tl_error *err);

/* One mount as containerd describes it: the arguments of mount(8). */
struct tl_ctrd_mount {
	char *type;
	char *source;
	struct tl_strv options;
};
struct tl_ctrd_mounts {
	struct tl_ctrd_mount *items;
	size_t n;
};
void tl_ctrd_mounts_done(struct tl_ctrd_mounts *m);
#define auto_ctrd_mounts __attribute__((cleanup(tl_ctrd_mounts_done)))

/* Snapshots of snapshotter TL_CTRD_SNAPSHOTTER. */
enum tl_ctrd_snapshot_kind { /* numbers of api/services/snapshots/v1 Kind */
			     TL_CTRD_SNAPSHOT_UNKNOWN = 0,
			     TL_CTRD_SNAPSHOT_VIEW = 1,
			     TL_CTRD_SNAPSHOT_ACTIVE = 2,
			     TL_CTRD_SNAPSHOT_COMMITTED = 3,
};
/** -ENOENT if there is none; @ret_kind and @ret_parent ("" at the bottom) may be NULL. */
int tl_ctrd_snapshot_stat(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			  enum tl_ctrd_snapshot_kind *ret_kind, char **ret_parent,
			  struct tl_kvs *ret_labels, struct tl_error *err);
/** A writable snapshot @key on top of @parent ("" = empty). -EEXIST if @key is there. */
int tl_ctrd_snapshot_prepare(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			     const char *parent, struct tl_ctrd_mounts *ret, struct tl_error *err);
/** A read-only snapshot @key that shows @parent. */
int tl_ctrd_snapshot_view(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			  const char *parent, struct tl_ctrd_mounts *ret, struct tl_error *err);
int tl_ctrd_snapshot_mounts(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			    struct tl_ctrd_mounts *ret, struct tl_error *err);
/** Make the writable snapshot @key the committed one @name with @labels (NULL = none); -EEXIST if
 * somebody else did. */
int tl_ctrd_snapshot_commit(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			    const char *key, const struct tl_kvs *labels, struct tl_error *err);
int tl_ctrd_snapshot_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			    struct tl_error *err);
/** Names of all snapshots that start with @prefix, added to @ret. */
int tl_ctrd_snapshot_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
			  struct tl_strv *ret, struct tl_error *err);

/**
 * Unpack the layer @layer, which is in the content store, into @mounts. @ret_diff_id gets the
 * digest of the uncompressed tar: the caller compares it with the image config's diff_ids. Default
 * deadline: never (cancel it instead).
 */
int tl_ctrd_diff_apply(struct tl_ctrd *c, const struct tl_ctrd_call *call,
		       const struct tl_ctrd_descriptor *layer, const struct tl_ctrd_mounts *mounts,
		       char **ret_diff_id, struct tl_error *err);
