/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "rpc.h"
#include "rpc_status.h"

#define CANCEL_POLL_MS 50
/* A call without an end of its own may last for weeks: it shouldn't wake the machine so often. */
#define CANCEL_POLL_LONG_MS 250

struct tl_ctrd {
	grpc_channel *channel;
	char *namespace;
};

#define METADATA_MAX 2

/* A unary call is a stream of one message each way: one path for both. */
struct rpc_stream {
	char *method;
	struct tl_cancel *cancel;
	int64_t cancel_poll_ms;
	grpc_completion_queue *queue; /* of its own: a queue serves at most 6 waiting threads */
	grpc_call *call;
	grpc_metadata metadata[METADATA_MAX];
	size_t metadata_n;
	grpc_metadata_array headers, trailers;
	grpc_status_code status;
	grpc_slice details;
	grpc_byte_buffer *received;
	atomic_bool is_cancel_requested;
	bool is_started;
	bool is_half_closed;
	bool is_finished;
	/* Their addresses are the tags of the batches. */
	char tag_head, tag_status, tag_send, tag_recv;
};

struct rpc_chunk {
	grpc_slice slice;
};

/* gRPC's own diagnostics would reach the console unescaped; every failure has a status anyway. */
static void grpc_log_drop(gpr_log_func_args *args)
{
	(void)args;
}

static grpc_arg arg_int(const char *key, int value)
{
	return (grpc_arg){ .type = GRPC_ARG_INTEGER,
			   .key = rpc_borrow(key),
			   .value.integer = value };
}

static grpc_channel *channel_create(const char *target)
{
	grpc_arg args[] = {
		arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_BYTES_MAX),
		arg_int(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_BYTES_MAX),
		/* The default grows to two minutes, so a restarted containerd would be missed. */
		arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
		/* Not a pause, but the least time that one attempt has: a busy machine needs it. */
		arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000),
		arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500),
		arg_int(GRPC_ARG_ENABLE_RETRIES, 0), /* keeps copies of what was sent */
		arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
	};
	grpc_channel_args all = { .num_args = TL_ARRAY_SIZE(args), .args = args };
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(target, credentials, &all);

	grpc_channel_credentials_release(credentials);
	return channel;
}

int tl_ctrd_open(const char *socket_path, const char *namespace, struct tl_ctrd **ret,
		 struct tl_error *err)
{
	size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;
	auto_free char *target = NULL;
	auto_ctrd struct tl_ctrd *c = NULL;

	if (socket_path[0] != '/' || strlen(socket_path) > path_max)
		return tl_fail(err, TL_E_CONTAINERD_ADDRESS, EINVAL,
			       "containerd socket '%s': give an absolute path of at most %zu bytes",
			       socket_path, path_max);
	/* gRPC reads the target as a URI. */
	if (strpbrk(socket_path, "%?#"))
		return tl_fail(err, TL_E_CONTAINERD_ADDRESS, EINVAL,
			       "containerd socket '%s': give a path without '%%', '?' and '#'",
			       socket_path);
	c = calloc(1, sizeof(*c));
	if (!c || asprintf(&target, "unix:%s", socket_path) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd client");
	gpr_set_log_function(grpc_log_drop);
	grpc_init();
	c->channel = channel_create(target);
	c->namespace = strdup(namespace);
	if (!c->namespace)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd client");
	*ret = take_ptr(c);
	return 0;
}

struct tl_ctrd *tl_ctrd_close(struct tl_ctrd *c)
{
	if (!c)
		return NULL;
	if (c->channel) {
		grpc_channel_destroy(c->channel);
		grpc_shutdown();
	}
	free(c->namespace);
	free(c);
	return NULL;
}

static gpr_timespec deadline_of(const struct tl_ctrd_call *call, uint64_t default_ms)
{
	struct tl_deadline d = call ? call->deadline : (struct tl_deadline){ 0 };
	uint64_t left_ms = default_ms ? default_ms : UINT64_MAX;

	if (d.at_ms)
		left_ms = tl_deadline_left_ms(d, tl_clock_mono_ms());
	if (left_ms > INT64_MAX / 1000000)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_millis((int64_t)left_ms, GPR_TIMESPAN));
}

void rpc_stream_cancel(struct rpc_stream *s)
{
	atomic_store(&s->is_cancel_requested, true);
	grpc_call_cancel(s->call, NULL);
}

/* Block until the batch @tag has ended; it always does, by the call's deadline or a cancellation.
 */
static bool await(struct rpc_stream *s, char *tag)
{
	for (;;) {
		bool is_polling = s->cancel && !atomic_load(&s->is_cancel_requested);
		gpr_timespec until = gpr_inf_future(GPR_CLOCK_MONOTONIC);
		grpc_event event;

		if (is_polling)
			until = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
					     gpr_time_from_millis(s->cancel_poll_ms, GPR_TIMESPAN));
		event = grpc_completion_queue_pluck(s->queue, tag, until, NULL);
		if (event.type != GRPC_QUEUE_TIMEOUT)
			return event.type == GRPC_OP_COMPLETE && event.success;
		if (is_polling && tl_cancel_is_requested(s->cancel))
			rpc_stream_cancel(s);
	}
}

static int batch_start(struct rpc_stream *s, const grpc_op *ops, size_t n, char *tag,
		       struct tl_error *err)
{
	grpc_call_error e = grpc_call_start_batch(s->call, ops, n, tag, NULL);

	if (e == GRPC_CALL_OK)
		return 0;
	return tl_fail(err, TL_E_INTERNAL, EPROTO, "containerd %s: gRPC refuses the batch: %d",
		       s->method, (int)e);
}

static void metadata_add(struct rpc_stream *s, const char *key, const char *value)
{
	s->metadata[s->metadata_n++] = (grpc_metadata){
		.key = grpc_slice_from_static_string(key),
		.value = grpc_slice_from_copied_string(value),
	};
}

/* Starts what ends with the call itself: the status, and the metadata of both directions. */
static int stream_start(struct rpc_stream *s, struct tl_error *err)
{
	grpc_op status = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT };
	grpc_op head[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA },
			    { .op = GRPC_OP_RECV_INITIAL_METADATA } };
	int r;

	status.data.recv_status_on_client.trailing_metadata = &s->trailers;
	status.data.recv_status_on_client.status = &s->status;
	status.data.recv_status_on_client.status_details = &s->details;
	head[0].data.send_initial_metadata.metadata = s->metadata;
	head[0].data.send_initial_metadata.count = s->metadata_n;
	head[1].data.recv_initial_metadata.recv_initial_metadata = &s->headers;
	r = batch_start(s, &status, 1, &s->tag_status, err);
	if (r < 0)
		return r;
	r = batch_start(s, head, 2, &s->tag_head, err);
	if (r < 0) {
		rpc_stream_cancel(s);
		await(s, &s->tag_status);
		return r;
	}
	s->is_started = true;
	return 0;
}

int rpc_stream_open(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
		    uint64_t default_ms, struct rpc_stream **ret, struct tl_error *err)
{
	auto_stream struct rpc_stream *s = calloc(1, sizeof(*s));
	grpc_slice path;
	int r;

	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd call");
	grpc_metadata_array_init(&s->headers);
	grpc_metadata_array_init(&s->trailers);
	s->details = grpc_empty_slice();
	s->cancel = call ? call->cancel : NULL;
	s->cancel_poll_ms = default_ms ? CANCEL_POLL_MS : CANCEL_POLL_LONG_MS;
	s->method = strdup(method);
	if (!s->method)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "containerd call");
	if (tl_cancel_is_requested(s->cancel))
		return rpc_status_fail(GRPC_STATUS_CANCELLED, true, method, "not started", err);
	/* gRPC would still let a quick call through. */
	if (call && call->deadline.at_ms && tl_deadline_is_past(call->deadline, tl_clock_mono_ms()))
		return rpc_status_fail(GRPC_STATUS_DEADLINE_EXCEEDED, false, method, "not started",
				       err);
	s->queue = grpc_completion_queue_create_for_pluck(NULL);
	path = grpc_slice_from_copied_string(method);
	s->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, s->queue,
					   path, NULL, deadline_of(call, default_ms), NULL);
	grpc_slice_unref(path);
	metadata_add(s, "containerd-namespace", c->namespace);
	if (call && call->lease)
		metadata_add(s, "containerd-lease", call->lease);
	r = stream_start(s, err);
	if (r < 0)
		return r;
	*ret = take_ptr(s);
	return 0;
}

/* One outgoing batch. A broken stream explains itself by its status. */
static int stream_send_op(struct rpc_stream *s, const grpc_op *op, struct tl_error *err)
{
	int r;

	if (s->is_finished)
		return tl_fail(err, TL_E_INTERNAL, EPROTO, "containerd %s: stream is finished",
			       s->method);
	r = batch_start(s, op, 1, &s->tag_send, err);
	if (r < 0)
		return r;
	if (await(s, &s->tag_send))
		return 0;
	r = rpc_stream_finish(s, err);
	/* A server may end a stream early and well; for a sender that is still a failure. */
	return r ? r
		 : tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG, "containerd %s: ended early",
			   s->method);
}

static int stream_send_buffer(struct rpc_stream *s, grpc_byte_buffer *buffer, struct tl_error *err)
{
	grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
	int r;

	op.data.send_message.send_message = buffer;
	r = stream_send_op(s, &op, err);
	grpc_byte_buffer_destroy(buffer);
	return r;
}

/* Room of @extra bytes is left behind the packed message. */
static grpc_slice message_pack(const ProtobufCMessage *message, size_t extra)
{
	size_t n = protobuf_c_message_get_packed_size(message);
	grpc_slice slice = grpc_slice_malloc(n + extra);

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(slice));
	return slice;
}

int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *message, struct tl_error *err)
{
	grpc_slice slice = message_pack(message, 0);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return stream_send_buffer(s, buffer, err);
}

struct rpc_chunk *rpc_chunk_new(size_t cap_bytes)
{
	struct rpc_chunk *k = calloc(1, sizeof(*k));

	if (k)
		k->slice = grpc_slice_malloc_large(cap_bytes);
	return k;
}

uint8_t *rpc_chunk_data(struct rpc_chunk *k)
{
	return GRPC_SLICE_START_PTR(k->slice);
}

struct rpc_chunk *rpc_chunk_free(struct rpc_chunk *k)
{
	if (k)
		grpc_slice_unref(k->slice);
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
	grpc_slice slices[2] = { message_pack(head, LENGTH_HEAD_BYTES_MAX), consume_chunk->slice };
	size_t head_n = GRPC_SLICE_LENGTH(slices[0]) - LENGTH_HEAD_BYTES_MAX;
	grpc_byte_buffer *buffer = NULL;

	head_n += length_head_write(GRPC_SLICE_START_PTR(slices[0]) + head_n, field, n);
	GRPC_SLICE_SET_LENGTH(slices[0], head_n);
	GRPC_SLICE_SET_LENGTH(slices[1], n);
	buffer = grpc_raw_byte_buffer_create(slices, 2);
	grpc_slice_unref(slices[0]);
	rpc_chunk_free(consume_chunk);
	return stream_send_buffer(s, buffer, err);
}

int rpc_stream_send_last(struct rpc_stream *s, const ProtobufCMessage *message,
			 struct tl_error *err)
{
	grpc_op ops[2] = { { .op = GRPC_OP_SEND_MESSAGE },
			   { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT } };
	grpc_slice slice = message_pack(message, 0);
	grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
	int r;

	grpc_slice_unref(slice);
	ops[0].data.send_message.send_message = buffer;
	r = batch_start(s, ops, 2, &s->tag_send, err);
	s->is_half_closed = true;
	/* A quick server may have answered and gone by now: what we receive says how it went. */
	if (r == 0)
		await(s, &s->tag_send);
	grpc_byte_buffer_destroy(buffer);
	return r;
}

/* NULL at the end of the stream, broken or not. */
static grpc_byte_buffer *stream_recv_buffer(struct rpc_stream *s)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
	grpc_byte_buffer *buffer = NULL;

	s->received = NULL;
	op.data.recv_message.recv_message = &s->received;
	if (s->is_finished || batch_start(s, &op, 1, &s->tag_recv, NULL) < 0)
		return NULL;
	if (await(s, &s->tag_recv))
		buffer = s->received;
	else if (s->received)
		grpc_byte_buffer_destroy(s->received);
	s->received = NULL;
	return buffer;
}

static ProtobufCMessage *message_unpack(grpc_byte_buffer *buffer,
					const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message = NULL;
	grpc_byte_buffer_reader reader;
	grpc_slice all;

	if (!grpc_byte_buffer_reader_init(&reader, buffer))
		return NULL;
	all = grpc_byte_buffer_reader_readall(&reader);
	message = protobuf_c_message_unpack(type, NULL, GRPC_SLICE_LENGTH(all),
					    GRPC_SLICE_START_PTR(all));
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
	return message;
}

int rpc_stream_recv(struct rpc_stream *s, const ProtobufCMessageDescriptor *type, void *ret,
		    struct tl_error *err)
{
	grpc_byte_buffer *buffer = stream_recv_buffer(s);
	ProtobufCMessage *message = NULL;

	if (buffer) {
		message = message_unpack(buffer, type);
		grpc_byte_buffer_destroy(buffer);
		if (!message)
			return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
				       "containerd %s: the answer isn't a valid message",
				       s->method);
	}
	*(ProtobufCMessage **)ret = message;
	return 0;
}

/* After this no batch is outstanding. */
static void stream_settle(struct rpc_stream *s)
{
	await(s, &s->tag_head);
	await(s, &s->tag_status);
	s->is_finished = true;
}

static int stream_status(struct rpc_stream *s, struct tl_error *err)
{
	char *details = grpc_slice_to_c_string(s->details);
	int r = rpc_status_fail((int)s->status, atomic_load(&s->is_cancel_requested), s->method,
				details, err);

	gpr_free(details);
	return r;
}

int rpc_stream_finish(struct rpc_stream *s, struct tl_error *err)
{
	grpc_op close_op = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
	grpc_byte_buffer *buffer = NULL;

	if (!s->is_finished) {
		if (!s->is_half_closed && batch_start(s, &close_op, 1, &s->tag_send, NULL) == 0)
			await(s, &s->tag_send);
		s->is_half_closed = true;
		while ((buffer = stream_recv_buffer(s)))
			grpc_byte_buffer_destroy(buffer);
		stream_settle(s);
	}
	return stream_status(s, err);
}

struct rpc_stream *rpc_stream_free(struct rpc_stream *s)
{
	if (!s)
		return NULL;
	if (s->is_started && !s->is_finished) {
		rpc_stream_cancel(s);
		stream_settle(s);
	}
	for (size_t i = 0; i < s->metadata_n; i++)
		grpc_slice_unref(s->metadata[i].value);
	grpc_slice_unref(s->details);
	grpc_metadata_array_destroy(&s->headers);
	grpc_metadata_array_destroy(&s->trailers);
	if (s->call)
		grpc_call_unref(s->call);
	if (s->queue) {
		grpc_completion_queue_shutdown(s->queue);
		grpc_completion_queue_destroy(s->queue);
	}
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
