/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "convert.h"
#include "rpc.h"

#define METHOD(name) "/containerd.services.snapshots.v1.Snapshots/" name

/* Stat, Mounts and Remove ask alike. */
static int snapshot_ask(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
			const char *key, const ProtobufCMessageDescriptor *response, void *ret,
			struct tl_error *err)
{
	Cd__SnapshotKeyRequest request = CD__SNAPSHOT_KEY_REQUEST__INIT;

	request.snapshotter = rpc_borrow(TL_CTRD_SNAPSHOTTER);
	request.key = rpc_borrow(key);
	return rpc_unary(c, call, method, &request.base, response, ret, err);
}

/* @ret stays as it was on failure. */
static int labels_take(const Cd__SnapshotInfo *info, struct tl_kvs *ret, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };

	for (size_t i = 0; i < info->n_labels; i++)
		if (tl_kvs_add(&labels, info->labels[i]->key, info->labels[i]->value) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a snapshot's labels");
	tl_kvs_done(ret);
	*ret = labels;
	labels = (struct tl_kvs){ 0 };
	return 0;
}

int tl_ctrd_snapshot_stat(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			  enum tl_ctrd_snapshot_kind *ret_kind, char **ret_parent,
			  struct tl_kvs *ret_labels, struct tl_error *err)
{
	auto_message Cd__StatSnapshotResponse *response = NULL;
	auto_free char *parent = NULL;
	int r;

	r = snapshot_ask(c, call, METHOD("Stat"), name, &cd__stat_snapshot_response__descriptor,
			 &response, err);
	if (r < 0)
		return r;
	if (!response->info)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Snapshots/Stat: no answer for '%s'", name);
	if (ret_parent)
		r = rpc_take_string(response->info->parent, &parent, err);
	if (r == 0 && ret_labels)
		r = labels_take(response->info, ret_labels, err);
	if (r < 0)
		return r;
	if (ret_parent)
		*ret_parent = take_ptr(parent);
	if (ret_kind)
		*ret_kind = (enum tl_ctrd_snapshot_kind)response->info->kind;
	return 0;
}

static int snapshot_make(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
			 const char *key, const char *parent, struct tl_ctrd_mounts *ret,
			 struct tl_error *err)
{
	Cd__PrepareSnapshotRequest request = CD__PREPARE_SNAPSHOT_REQUEST__INIT;
	auto_message Cd__SnapshotMountsResponse *response = NULL;
	int r;

	request.snapshotter = rpc_borrow(TL_CTRD_SNAPSHOTTER);
	request.key = rpc_borrow(key);
	request.parent = rpc_borrow(parent);
	r = rpc_unary(c, call, method, &request.base, &cd__snapshot_mounts_response__descriptor,
		      &response, err);
	return r < 0 ? r : convert_mounts(response->mounts, response->n_mounts, ret, err);
}

int tl_ctrd_snapshot_prepare(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			     const char *parent, struct tl_ctrd_mounts *ret, struct tl_error *err)
{
	return snapshot_make(c, call, METHOD("Prepare"), key, parent, ret, err);
}

int tl_ctrd_snapshot_view(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			  const char *parent, struct tl_ctrd_mounts *ret, struct tl_error *err)
{
	return snapshot_make(c, call, METHOD("View"), key, parent, ret, err);
}

int tl_ctrd_snapshot_mounts(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			    struct tl_ctrd_mounts *ret, struct tl_error *err)
{
	auto_message Cd__SnapshotMountsResponse *response = NULL;
	int r;

	r = snapshot_ask(c, call, METHOD("Mounts"), key, &cd__snapshot_mounts_response__descriptor,
			 &response, err);
	return r < 0 ? r : convert_mounts(response->mounts, response->n_mounts, ret, err);
}

int tl_ctrd_snapshot_commit(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			    const char *key, const struct tl_kvs *labels, struct tl_error *err)
{
	Cd__CommitSnapshotRequest request = CD__COMMIT_SNAPSHOT_REQUEST__INIT;
	auto_labels struct rpc_labels packed = { 0 };
	int r = rpc_labels_set(labels, &cd__commit_snapshot_request__labels_entry__descriptor,
			       &packed, err);

	if (r < 0)
		return r;
	request.n_labels = packed.n;
	request.labels = (Cd__CommitSnapshotRequest__LabelsEntry **)packed.pointers;
	request.snapshotter = rpc_borrow(TL_CTRD_SNAPSHOTTER);
	request.name = rpc_borrow(name);
	request.key = rpc_borrow(key);
	return rpc_unary(c, call, METHOD("Commit"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}

int tl_ctrd_snapshot_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *key,
			    struct tl_error *err)
{
	return snapshot_ask(c, call, METHOD("Remove"), key, &cd__empty__descriptor, NULL, err);
}

static int names_collect(const Cd__ListSnapshotsResponse *response, const char *prefix,
			 struct tl_strv *found, struct tl_error *err)
{
	for (size_t i = 0; i < response->n_info; i++) {
		if (tl_str_starts_with(response->info[i]->name, prefix) &&
		    tl_strv_add(found, response->info[i]->name) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "list of snapshots");
	}
	return 0;
}

int tl_ctrd_snapshot_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
			  struct tl_strv *ret, struct tl_error *err)
{
	Cd__ListSnapshotsRequest request = CD__LIST_SNAPSHOTS_REQUEST__INIT;
	auto_stream struct rpc_stream *s = NULL;
	auto_strv struct tl_strv found = { 0 };
	int r;

	request.snapshotter = rpc_borrow(TL_CTRD_SNAPSHOTTER);
	r = rpc_stream_open(c, call, METHOD("List"), TL_CTRD_CALL_MS, &s, err);
	if (r == 0)
		r = rpc_stream_send_last(s, &request.base, err);
	while (r == 0) {
		auto_message Cd__ListSnapshotsResponse *response = NULL;

		r = rpc_stream_recv(s, &cd__list_snapshots_response__descriptor, &response, err);
		if (r < 0 || !response)
			break;
		r = names_collect(response, prefix, &found, err);
	}
	if (r == 0)
		r = rpc_stream_finish(s, err);
	return r < 0 ? r : rpc_strv_append(ret, &found, err);
}
