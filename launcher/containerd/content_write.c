/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "containerd.pb-c.h"
#include "content.h"
#include "rpc.h"

#define METHOD(name) "/containerd.services.content.v1.Content/" name
/* Larger gains nothing, smaller costs a third (measured; docs/PERFORMANCE.md). */
#define CHUNK_BYTES (1024 * 1024)
#define DATA_FIELD  6 /* WriteContentRequest.data */
/* containerd's labels.Validate() */
#define LABEL_BYTES_MAX 4096
/* A writer that has just gone, or died, holds its name until containerd notices. */
#define LOCKED_TRIES   10
#define LOCKED_WAIT_MS 200

struct tl_ctrd_writer {
	struct tl_ctrd *c;
	struct tl_cancel *cancel;
	struct rpc_stream *stream;
	char *ref;
	char *expected;
	uint64_t total_bytes;
	uint64_t offset; /* of the next byte to send */
	struct rpc_chunk *chunk;
	size_t chunk_n;
	bool is_ack_pending;
	bool is_broken;
};

static int answer_recv(struct rpc_stream *s, Cd__WriteContentResponse **ret, struct tl_error *err)
{
	Cd__WriteContentResponse *response = NULL;
	int r;

	r = rpc_stream_recv(s, &cd__write_content_response__descriptor, &response, err);
	if (r < 0)
		return r;
	if (!response) {
		r = rpc_stream_finish(s, err);
		return r < 0 ? r
			     : tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
				       "containerd Content/Write: ended without an answer");
	}
	*ret = response;
	return 0;
}

static int writer_stat(struct tl_ctrd_writer *w, uint64_t *ret_offset, struct tl_error *err)
{
	Cd__WriteContentRequest request = CD__WRITE_CONTENT_REQUEST__INIT;
	auto_message Cd__WriteContentResponse *response = NULL;
	int r;

	request.action = CD__WRITE_ACTION__STAT;
	request.ref = w->ref;
	request.total = (int64_t)w->total_bytes;
	request.expected = w->expected;
	r = rpc_stream_send(w->stream, &request.base, err);
	if (r == 0)
		r = answer_recv(w->stream, &response, err);
	if (r < 0)
		return r;
	if (response->offset < 0 || (w->total_bytes && (uint64_t)response->offset > w->total_bytes))
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "ingest '%s' is at %lld of %llu bytes", w->ref,
			       (long long)response->offset, (unsigned long long)w->total_bytes);
	w->offset = (uint64_t)response->offset;
	*ret_offset = w->offset;
	return 0;
}

static int writer_start(struct tl_ctrd_writer *w, const struct tl_ctrd_call *call,
			uint64_t *ret_offset, struct tl_error *err)
{
	int r;

	w->stream = rpc_stream_free(w->stream);
	r = rpc_stream_open(w->c, call, METHOD("Write"), 0, &w->stream, err);
	return r < 0 ? r : writer_stat(w, ret_offset, err);
}

/* containerd has one status for "going down" and "another writer holds this name". */
static bool is_locked(int r, const struct tl_error *e)
{
	return r == -ECONNRESET && strstr(e->msg, " locked");
}

int tl_ctrd_writer_open(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *ref,
			uint64_t total_bytes, const char *expected, struct tl_ctrd_writer **ret,
			uint64_t *ret_offset, struct tl_error *err)
{
	auto_ctrd_writer struct tl_ctrd_writer *w = calloc(1, sizeof(*w));
	struct tl_error e = { 0 };
	int r;

	if (!w)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "ingest '%s'", ref);
	w->c = c;
	w->cancel = call ? call->cancel : NULL;
	w->total_bytes = total_bytes;
	w->ref = strdup(ref);
	w->expected = strdup(expected);
	if (!w->ref || !w->expected)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "ingest '%s'", ref);
	r = writer_start(w, call, ret_offset, &e);
	for (int i = 1; i < LOCKED_TRIES && is_locked(r, &e); i++) {
		tl_clock_sleep_ms(LOCKED_WAIT_MS);
		r = writer_start(w, call, ret_offset, &e);
	}
	if (is_locked(r, &e))
		return tl_fail(err, TL_E_CONTAINERD_BUSY, EAGAIN,
			       "ingest '%s' is held by another writer", ref);
	if (r < 0) {
		if (err)
			*err = e;
		return r;
	}
	*ret = take_ptr(w);
	return 0;
}

static int ack_await(struct tl_ctrd_writer *w, struct tl_error *err)
{
	auto_message Cd__WriteContentResponse *response = NULL;
	int r;

	if (!w->is_ack_pending)
		return 0;
	w->is_ack_pending = false;
	r = answer_recv(w->stream, &response, err);
	if (r < 0)
		return r;
	if (response->offset < 0 || (uint64_t)response->offset != w->offset)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "ingest '%s': containerd is at byte %lld, the writer at %llu",
			       w->ref, (long long)response->offset, (unsigned long long)w->offset);
	return 0;
}

/* One chunk may be on its way while the next is filled. */
static int chunk_flush(struct tl_ctrd_writer *w, struct tl_error *err)
{
	Cd__WriteContentRequest request = CD__WRITE_CONTENT_REQUEST__INIT;
	size_t n = w->chunk_n;
	int r;

	if (n == 0)
		return 0;
	r = ack_await(w, err);
	if (r < 0)
		return r;
	request.action = CD__WRITE_ACTION__WRITE;
	request.offset = (int64_t)w->offset;
	w->chunk_n = 0;
	r = rpc_stream_send_chunk(w->stream, &request.base, DATA_FIELD, take_ptr(w->chunk), n, err);
	if (r < 0)
		return r;
	w->offset += n;
	w->is_ack_pending = true;
	return 0;
}

static int append_some(struct tl_ctrd_writer *w, const uint8_t **at, size_t *n,
		       struct tl_error *err)
{
	size_t part = CHUNK_BYTES - w->chunk_n;

	if (!w->chunk) {
		w->chunk = rpc_chunk_new(CHUNK_BYTES);
		if (!w->chunk)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "ingest '%s'", w->ref);
	}
	if (part > *n)
		part = *n;
	memcpy(rpc_chunk_data(w->chunk) + w->chunk_n, *at, part);
	w->chunk_n += part;
	*at += part;
	*n -= part;
	return w->chunk_n == CHUNK_BYTES ? chunk_flush(w, err) : 0;
}

int tl_ctrd_writer_append(struct tl_ctrd_writer *w, const void *data, size_t n,
			  struct tl_error *err)
{
	const uint8_t *at = data;
	int r = 0;

	if (w->is_broken)
		return tl_fail(err, TL_E_INTERNAL, EPROTO, "ingest '%s' failed before", w->ref);
	while (r == 0 && n > 0)
		r = append_some(w, &at, &n, err);
	w->is_broken = r < 0;
	return r;
}

int tl_ctrd_writer_flush(struct tl_ctrd_writer *w, struct tl_error *err)
{
	int r;

	if (w->is_broken)
		return tl_fail(err, TL_E_INTERNAL, EPROTO, "ingest '%s' failed before", w->ref);
	r = chunk_flush(w, err);
	if (r == 0)
		r = ack_await(w, err);
	w->is_broken = r < 0;
	return r;
}

static int labels_check(const struct tl_kvs *labels, struct tl_error *err)
{
	for (size_t i = 0; labels && i < labels->n; i++) {
		const struct tl_kv *l = &labels->items[i];

		if (strlen(l->key) + strlen(l->value) > LABEL_BYTES_MAX)
			return tl_fail(err, TL_E_CONTAINERD_REFUSED, EINVAL,
				       "label '%s' has more than %d bytes", l->key,
				       LABEL_BYTES_MAX);
	}
	return 0;
}

static int commit_send(struct tl_ctrd_writer *w, const struct tl_kvs *labels, struct tl_error *err)
{
	Cd__WriteContentRequest request = CD__WRITE_CONTENT_REQUEST__INIT;
	auto_labels struct rpc_labels packed = { 0 };
	int r;

	r = rpc_labels_set(labels, &cd__write_content_request__labels_entry__descriptor, &packed,
			   err);
	if (r < 0)
		return r;
	request.action = CD__WRITE_ACTION__COMMIT;
	request.total = (int64_t)(w->total_bytes ? w->total_bytes : w->offset);
	request.offset = (int64_t)w->offset;
	request.expected = w->expected;
	request.n_labels = packed.n;
	request.labels = (Cd__WriteContentRequest__LabelsEntry **)packed.pointers;
	return rpc_stream_send(w->stream, &request.base, err);
}

/* Wrong bytes must not be resumed: they would stay wrong for ever. */
static int digest_mismatch(struct tl_ctrd_writer *w, const struct tl_error *reason,
			   struct tl_error *err)
{
	struct tl_ctrd_call call = { .cancel = w->cancel };

	w->stream = rpc_stream_free(w->stream);
	tl_ctrd_ingest_abort(w->c, &call, w->ref, NULL);
	return tl_fail(err, TL_E_CONTENT_DIGEST, EBADMSG, "blob '%s': %s", w->expected,
		       reason->msg);
}

int tl_ctrd_writer_commit(struct tl_ctrd_writer *w, const struct tl_kvs *labels,
			  struct tl_error *err)
{
	auto_message Cd__WriteContentResponse *response = NULL;
	struct tl_error e = { 0 };
	int r;

	if (w->is_broken)
		return tl_fail(err, TL_E_INTERNAL, EPROTO, "ingest '%s' failed before", w->ref);
	w->is_broken = true;
	r = labels_check(labels, err);
	if (r == 0)
		r = chunk_flush(w, err);
	if (r == 0)
		r = ack_await(w, err);
	if (r < 0)
		return r;
	r = commit_send(w, labels, &e);
	if (r == 0)
		r = answer_recv(w->stream, &response, &e);
	if (r == 0)
		r = rpc_stream_finish(w->stream, &e);
	if (r == -EINVAL || r == -EPERM)
		return digest_mismatch(w, &e, err);
	if (r < 0 && err)
		*err = e;
	return r;
}

struct tl_ctrd_writer *tl_ctrd_writer_close(struct tl_ctrd_writer *w)
{
	if (!w)
		return NULL;
	rpc_stream_free(w->stream);
	rpc_chunk_free(w->chunk);
	free(w->ref);
	free(w->expected);
	free(w);
	return NULL;
}
