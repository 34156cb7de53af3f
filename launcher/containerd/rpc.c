/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/un.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "http2.h"
#include "rpc.h"
#include "rpc_status.h"

struct tl_ctrd {
	char *socket_path;
	char *namespace;
};

/* A unary call is a stream of one message each way: one path for both. */
struct rpc_stream {
	char *method;
	struct http2_call *call;
	struct tl_cancel *cancel;
	atomic_bool is_cancel_requested;
	bool is_half_closed;
	bool is_finished;
};

struct rpc_chunk {
	uint8_t *data;
};

int tl_ctrd_open(const char *socket_path, const char *namespace, struct tl_ctrd **ret,
		 struct tl_error *err)
{
	size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	auto_ctrd struct tl_ctrd *c = NULL;

	if (socket_path[0] != '/' || strlen(socket_path) > path_max)
		return tl_fail(err, TL_E_CONTAINERD_ADDRESS, EINVAL,
			       "containerd socket '%s': give an absolute path of at most %zu bytes",
			       socket_path, path_max);
	c = calloc(1, sizeof(*c));
	if (!c || !(c->socket_path = strdup(socket_path)) || !(c->namespace = strdup(namespace)))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd client");
	*ret = take_ptr(c);
	return 0;
}

struct tl_ctrd *tl_ctrd_close(struct tl_ctrd *c)
{
	if (!c)
		return NULL;
	free(c->socket_path);
	free(c->namespace);
	free(c);
	return NULL;
}

static struct tl_deadline deadline_of(const struct tl_ctrd_call *call, uint64_t default_ms)
{
	if (call && call->deadline.at_ms)
		return call->deadline;
	return default_ms ? tl_deadline_in(tl_clock_mono_ms(), default_ms) : tl_deadline_never();
}

void rpc_stream_cancel(struct rpc_stream *s)
{
	atomic_store(&s->is_cancel_requested, true);
	http2_cancel(s->call);
}

static int fail_memory(const struct rpc_stream *s, struct tl_error *err)
{
	return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd %s", s->method);
}

int rpc_stream_open(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
		    uint64_t default_ms, struct rpc_stream **ret, struct tl_error *err)
{
	const struct http2_request request = {
		.socket_path = c->socket_path,
		.method = method,
		.namespace = c->namespace,
		.lease = call ? call->lease : NULL,
		.deadline = deadline_of(call, default_ms),
		.cancel = call ? call->cancel : NULL,
	};
	auto_stream struct rpc_stream *s = calloc(1, sizeof(*s));

	if (!s || !(s->method = strdup(method)))
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd call");
	s->cancel = request.cancel;
	/* A quick call would still get through. */
	if (tl_cancel_is_requested(s->cancel))
		return rpc_status_fail(HTTP2_CANCELLED, true, method, "not started", err);
	if (tl_deadline_is_past(request.deadline, tl_clock_mono_ms()))
		return rpc_status_fail(HTTP2_DEADLINE_EXCEEDED, false, method, "not started", err);
	s->call = http2_open(&request);
	if (!s->call)
		return fail_memory(s, err);
	*ret = take_ptr(s);
	return 0;
}

/* One message in @n parts. A broken stream explains itself by its status. */
static int stream_send(struct rpc_stream *s, const struct iovec *parts, size_t n,
		       struct tl_error *err)
{
	int r;

	if (s->is_finished)
		return tl_fail(err, TL_E_INTERNAL, EPROTO, "containerd %s: stream is finished",
			       s->method);
	if (http2_send(s->call, parts, n, false))
		return 0;
	r = rpc_stream_finish(s, err);
	/* A server may end a stream early and well; for a sender that is still a failure. */
	return r ? r
		 : tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG, "containerd %s: ended early",
			   s->method);
}

/* Room of @extra bytes is left behind the packed message. */
static int message_pack(const struct rpc_stream *s, const ProtobufCMessage *message, size_t extra,
			uint8_t **ret, size_t *ret_n, struct tl_error *err)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	uint8_t *bytes = malloc(n + extra + 1);

	if (!bytes)
		return fail_memory(s, err);
	*ret_n = protobuf_c_message_pack(message, bytes);
	*ret = bytes;
	return 0;
}

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *message, struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	struct iovec part = { 0 };
	int r = message_pack(s, message, 0, &bytes, &part.iov_len, err);

	part.iov_base = bytes;
	return r < 0 ? r : stream_send(s, &part, 1, err);
}

struct rpc_chunk *rpc_chunk_new(size_t cap_bytes)
{
	struct rpc_chunk *k = calloc(1, sizeof(*k));

	if (k && !(k->data = malloc(cap_bytes)))
		return rpc_chunk_free(k);
	return k;
}

uint8_t *rpc_chunk_data(struct rpc_chunk *k)
{
	return k->data;
}

struct rpc_chunk *rpc_chunk_free(struct rpc_chunk *k)
{
	if (k)
		free(k->data);
	free(k);
	return NULL;
}

/* Protocol Buffers, "Encoding": tag = field << 3 | wire type 2 (length-delimited), then a varint.
 */
#define WIRE_LENGTH_DELIMITED 2
#define LENGTH_HEAD_BYTES_MAX 6

static size_t length_head_write(uint8_t *at, unsigned int field, size_t n)
{
	size_t i = 0;

	at[i++] = (uint8_t)(field << 3 | WIRE_LENGTH_DELIMITED);
	for (; n > 0x7f; n >>= 7)
		at[i++] = (uint8_t)((n & 0x7f) | 0x80);
	at[i++] = (uint8_t)n;
	return i;
}

int rpc_stream_send_chunk(struct rpc_stream *s, const ProtobufCMessage *head, unsigned int field,
			  struct rpc_chunk *consume_chunk, size_t n, struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	struct iovec parts[2] = { { 0 }, { .iov_base = consume_chunk->data, .iov_len = n } };
	int r = message_pack(s, head, LENGTH_HEAD_BYTES_MAX, &bytes, &parts[0].iov_len, err);

	if (r == 0) {
		parts[0].iov_base = bytes;
		parts[0].iov_len += length_head_write(bytes + parts[0].iov_len, field, n);
		r = stream_send(s, parts, 2, err);
	}
	rpc_chunk_free(consume_chunk);
	return r;
}

int rpc_stream_send_last(struct rpc_stream *s, const ProtobufCMessage *message,
			 struct tl_error *err)
{
	auto_free uint8_t *bytes = NULL;
	struct iovec part = { 0 };
	int r = message_pack(s, message, 0, &bytes, &part.iov_len, err);

	if (r < 0)
		return r;
	part.iov_base = bytes;
	s->is_half_closed = true;
	/* A quick server may have answered and gone by now: what we receive says how it went. */
	(void)http2_send(s->call, &part, 1, true);
	return 0;
}

int rpc_stream_recv(struct rpc_stream *s, const ProtobufCMessageDescriptor *type, void *ret,
		    struct tl_error *err)
{
	ProtobufCMessage *message = NULL;
	const uint8_t *bytes;
	size_t n;

	/* The end of the stream, broken or not, is no message. */
	if (!s->is_finished && http2_recv(s->call, &bytes, &n)) {
		message = protobuf_c_message_unpack(type, NULL, n, bytes);
		if (!message)
			return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
				       "containerd %s: the answer isn't a valid message",
				       s->method);
	}
	*(ProtobufCMessage **)ret = message;
	return 0;
}

static int stream_status(const struct rpc_stream *s, struct tl_error *err)
{
	int status = http2_status(s->call);

	if (status == HTTP2_NO_MEMORY)
		return fail_memory(s, err);
	return rpc_status_fail(
		status, atomic_load(&s->is_cancel_requested) || tl_cancel_is_requested(s->cancel),
		s->method, http2_details(s->call), err);
}

int rpc_stream_finish(struct rpc_stream *s, struct tl_error *err)
{
	const uint8_t *bytes;
	size_t n;

	if (!s->is_finished) {
		if (!s->is_half_closed)
			(void)http2_send(s->call, NULL, 0, true);
		s->is_half_closed = true;
		while (http2_recv(s->call, &bytes, &n))
			;
		s->is_finished = true;
	}
	return stream_status(s, err);
}

struct rpc_stream *rpc_stream_free(struct rpc_stream *s)
{
	if (!s)
		return NULL;
	http2_free(s->call);
	free(s->method);
	free(s);
	return NULL;
}

int rpc_unary(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
	      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
	      void *ret, struct tl_error *err)
{
	auto_stream struct rpc_stream *s = NULL;
	auto_message ProtobufCMessage *message = NULL;
	int r;

	r = rpc_stream_open(c, call, method, TL_CTRD_CALL_MS, &s, err);
	if (r == 0)
		r = rpc_stream_send_last(s, request, err);
	if (r == 0)
		r = rpc_stream_recv(s, response, &message, err);
	if (r == 0)
		r = rpc_stream_finish(s, err);
	if (r < 0)
		return r;
	if (!message)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG, "containerd %s: no answer",
			       method);
	if (ret)
		*(ProtobufCMessage **)ret = take_ptr(message);
	return 0;
}

int rpc_labels_set(const struct tl_kvs *from, const ProtobufCMessageDescriptor *entry,
		   struct rpc_labels *ret, struct tl_error *err)
{
	size_t n = from ? from->n : 0;

	*ret = (struct rpc_labels){ 0 };
	if (n == 0)
		return 0;
	ret->items = calloc(n, sizeof(*ret->items));
	ret->pointers = calloc(n, sizeof(*ret->pointers));
	if (!ret->items || !ret->pointers)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "labels");
	for (; ret->n < n; ret->n++) {
		struct rpc_label *l = &ret->items[ret->n];

		protobuf_c_message_init(entry, l);
		l->key = rpc_borrow(from->items[ret->n].key);
		l->value = rpc_borrow(from->items[ret->n].value);
		ret->pointers[ret->n] = l;
	}
	return 0;
}

void rpc_labels_done(struct rpc_labels *l)
{
	free(l->items);
	free(l->pointers);
	*l = (struct rpc_labels){ 0 };
}

int rpc_take_string(const char *s, char **ret, struct tl_error *err)
{
	char *copy = strdup(s ? s : "");

	if (!copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "an answer of containerd");
	*ret = copy;
	return 0;
}

const char *rpc_namespace(const struct tl_ctrd *c)
{
	return c->namespace;
}

int rpc_strv_append(struct tl_strv *ret, const struct tl_strv *from, struct tl_error *err)
{
	auto_strv struct tl_strv all = { 0 };
	struct tl_strv old = *ret;

	if (tl_strv_copy(ret, &all) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a list");
	for (size_t i = 0; i < from->n; i++)
		if (tl_strv_add(&all, from->items[i]) < 0)
			return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a list");
	*ret = all;
	all = old;
	return 0;
}
