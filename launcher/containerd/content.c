/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/digest.h>

#include "containerd.pb-c.h"
#include "content.h"
#include "rpc.h"

#define METHOD(name) "/containerd.services.content.v1.Content/" name

void tl_ctrd_blob_done(struct tl_ctrd_blob *b)
{
	free(b->digest);
	tl_kvs_done(&b->labels);
	*b = (struct tl_ctrd_blob){ 0 };
}

int tl_ctrd_ingest_abort(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
			 struct tl_error *err)
{
	Cd__AbortIngestRequest request = CD__ABORT_INGEST_REQUEST__INIT;

	request.ref = rpc_borrow(ref);
	return rpc_unary(c, call, METHOD("Abort"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}

int tl_ctrd_ingest_list(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *prefix,
			struct tl_strv *ret, struct tl_error *err)
{
	Cd__ListIngestsRequest request = CD__LIST_INGESTS_REQUEST__INIT;
	auto_message Cd__ListIngestsResponse *response = NULL;
	auto_strv struct tl_strv found = { 0 };
	int r;

	r = rpc_unary(c, call, METHOD("ListStatuses"), &request.base,
		      &cd__list_ingests_response__descriptor, &response, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < response->n_statuses; i++) {
		if (tl_str_starts_with(response->statuses[i]->ref, prefix) &&
		    tl_strv_add(&found, response->statuses[i]->ref) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "list of ingests");
	}
	return rpc_strv_append(ret, &found, err);
}

static int blob_convert(const Cd__ContentInfo *info, struct tl_ctrd_blob *ret, struct tl_error *err)
{
	auto_ctrd_blob struct tl_ctrd_blob b = { 0 };

	if (!info || info->size < 0)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Content/Info: not a blob");
	b.size_bytes = (uint64_t)info->size;
	b.digest = strdup(info->digest);
	if (!b.digest)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a blob's labels");
	for (size_t i = 0; i < info->n_labels; i++)
		if (tl_kvs_add(&b.labels, info->labels[i]->key, info->labels[i]->value) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a blob's labels");
	*ret = b;
	b = (struct tl_ctrd_blob){ 0 };
	return 0;
}

int tl_ctrd_blob_info(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		      struct tl_ctrd_blob *ret, struct tl_error *err)
{
	Cd__ContentInfoRequest request = CD__CONTENT_INFO_REQUEST__INIT;
	auto_message Cd__ContentInfoResponse *response = NULL;
	int r;

	request.digest = rpc_borrow(digest);
	r = rpc_unary(c, call, METHOD("Info"), &request.base,
		      &cd__content_info_response__descriptor, &response, err);
	return r < 0 ? r : blob_convert(response->info, ret, err);
}

/* Sets exactly these labels: each is named in the mask. */
static int labels_update(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
			 const struct tl_kvs *labels, struct tl_error *err)
{
	Cd__UpdateContentRequest request = CD__UPDATE_CONTENT_REQUEST__INIT;
	Cd__ContentInfo info = CD__CONTENT_INFO__INIT;
	Cd__FieldMask mask = CD__FIELD_MASK__INIT;
	auto_labels struct rpc_labels packed = { 0 };
	auto_strv struct tl_strv paths = { 0 };
	int r;

	for (size_t i = 0; i < labels->n; i++)
		if (tl_strv_printf(&paths, "labels.%s", labels->items[i].key) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "labels");
	r = rpc_labels_set(labels, &cd__content_info__labels_entry__descriptor, &packed, err);
	if (r < 0)
		return r;
	info.digest = rpc_borrow(digest);
	info.n_labels = packed.n;
	info.labels = (Cd__ContentInfo__LabelsEntry **)packed.pointers;
	mask.paths = paths.items;
	mask.n_paths = paths.n;
	request.info = &info;
	request.update_mask = &mask;
	return rpc_unary(c, call, METHOD("Update"), &request.base,
			 &cd__update_content_response__descriptor, NULL, err);
}

int tl_ctrd_blob_label(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		       const char *key, const char *value, struct tl_error *err)
{
	auto_kvs struct tl_kvs labels = { 0 };

	if (tl_kvs_add(&labels, key, value) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "labels");
	return labels_update(c, call, digest, &labels, err);
}

int tl_ctrd_blob_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
			struct tl_error *err)
{
	Cd__DeleteContentRequest request = CD__DELETE_CONTENT_REQUEST__INIT;

	request.digest = rpc_borrow(digest);
	return rpc_unary(c, call, METHOD("Delete"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}

static int blob_write(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
		      const void *data, size_t n, const char *digest, const struct tl_kvs *labels,
		      struct tl_error *err)
{
	auto_ctrd_writer struct tl_ctrd_writer *w = NULL;
	uint64_t offset = 0;
	int r;

	r = tl_ctrd_writer_open(c, call, ref, n, digest, &w, &offset, err);
	if (r == 0)
		r = tl_ctrd_writer_append(w, (const uint8_t *)data + offset, n - offset, err);
	return r < 0 ? r : tl_ctrd_writer_commit(w, labels, err);
}

int tl_ctrd_blob_put(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
		     const void *data, size_t n, const char *digest, const struct tl_kvs *labels,
		     struct tl_error *err)
{
	int r = blob_write(c, call, ref, data, n, digest, labels, err);

	if (r == -EEXIST)
		r = labels && labels->n ? labels_update(c, call, digest, labels, err) : 0;
	return r;
}

static int part_append(const Cd__ReadContentResponse *part, struct tl_buf *all, const char *digest,
		       struct tl_error *err)
{
	int r;

	if (part->offset < 0 || (uint64_t)part->offset != all->len_bytes)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "blob '%s' arrives out of order", digest);
	r = tl_buf_append(all, part->data.data, part->data.len);
	if (r == -ENOBUFS)
		return tl_fail(err, TL_E_CONTENT_LARGE, EFBIG, "blob '%s' has more than %zu bytes",
			       digest, all->max_bytes);
	return r < 0 ? tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "blob '%s'", digest) : 0;
}

static int blob_stream_read(struct rpc_stream *s, struct tl_buf *all, const char *digest,
			    struct tl_error *err)
{
	for (;;) {
		auto_message Cd__ReadContentResponse *part = NULL;
		int r = rpc_stream_recv(s, &cd__read_content_response__descriptor, &part, err);

		if (r == 0 && !part)
			return rpc_stream_finish(s, err);
		if (r == 0)
			r = part_append(part, all, digest, err);
		if (r < 0)
			return r;
	}
}

static int digest_check(const char *digest, const struct tl_buf *all, struct tl_error *err)
{
	struct tl_digest_text got;

	/* The store names blobs by sha256 unless told otherwise, and nothing of ours tells it so.
	 */
	if (!tl_str_starts_with(digest, "sha256:"))
		return tl_fail(err, TL_E_CONTAINERD_REFUSED, EINVAL, "digest '%s' isn't sha256",
			       digest);
	if (tl_digest_text_of(all->data ? all->data : (const uint8_t *)"", all->len_bytes, &got) <
	    0)
		return tl_fail(err, TL_E_INTERNAL, EIO, "sha256 of blob '%s'", digest);
	if (strcmp(got.text, digest) != 0)
		return tl_fail(err, TL_E_CONTENT_DIGEST, EBADMSG,
			       "blob '%s' reads back with digest '%s'", digest, got.text);
	return 0;
}

int tl_ctrd_blob_read(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *digest,
		      struct tl_buf *ret, struct tl_error *err)
{
	Cd__ReadContentRequest request = CD__READ_CONTENT_REQUEST__INIT;
	auto_stream struct rpc_stream *s = NULL;
	auto_buf struct tl_buf all = { 0 };
	int r;

	tl_buf_init(&all, ret->max_bytes - ret->len_bytes);
	request.digest = rpc_borrow(digest);
	r = rpc_stream_open(c, call, METHOD("Read"), TL_CTRD_CALL_MS, &s, err);
	if (r == 0)
		r = rpc_stream_send_last(s, &request.base, err);
	if (r == 0)
		r = blob_stream_read(s, &all, digest, err);
	if (r == 0)
		r = digest_check(digest, &all, err);
	if (r < 0)
		return r;
	if (tl_buf_append(ret, all.data, all.len_bytes) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "blob '%s'", digest);
	return 0;
}
