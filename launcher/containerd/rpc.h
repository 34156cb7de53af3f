/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC calls over containerd's socket: messages of protobuf-c over http2.h. Errors: containerd.h.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "containerd.h"

/* protobuf-c's structs have no const: a request only borrows its strings. */
static inline char *rpc_borrow(const char *s)
{
	return (char *)(uintptr_t)s;
}

static inline void rpc_messagep(void *p)
{
	protobuf_c_message_free_unpacked(*(ProtobufCMessage **)p, NULL);
}
#define auto_message __attribute__((cleanup(rpc_messagep)))

/**
 * One request, one response.
 *
 * @method    "/package.Service/Method"
 * @response  type of the response
 * @ret       address of a pointer to the response's struct, or NULL; set on success only
 */
int rpc_unary(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
	      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
	      void *ret, struct tl_error *err);

/* A stream; one thread at a time, except for _cancel. */
struct rpc_stream;

/** @default_ms  deadline from now when the call names none; 0 = never */
int rpc_stream_open(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *method,
		    uint64_t default_ms, struct rpc_stream **ret, struct tl_error *err);
/** On failure the stream is finished: @err says why it broke. */
int rpc_stream_send(struct rpc_stream *s, const ProtobufCMessage *message, struct tl_error *err);

/* Memory of a large bytes field, which isn't copied into the packed message. */
struct rpc_chunk;
struct rpc_chunk *rpc_chunk_new(size_t cap_bytes); /* NULL: out of memory */
uint8_t *rpc_chunk_data(struct rpc_chunk *k);
struct rpc_chunk *rpc_chunk_free(struct rpc_chunk *k);
/** Send @head with the first @n bytes of @consume_chunk as its bytes field @field (1 to 15), which
 * is not set in @head. The chunk is gone in any case. */
int rpc_stream_send_chunk(struct rpc_stream *s, const ProtobufCMessage *head, unsigned int field,
			  struct rpc_chunk *consume_chunk, size_t n, struct tl_error *err);
/** The one and only, or the last message. Whether it arrived is learnt by receiving. */
int rpc_stream_send_last(struct rpc_stream *s, const ProtobufCMessage *message,
			 struct tl_error *err);
/**
 * Block for the next message. @ret: as in rpc_unary(); gets NULL at the end of the stream, which
 * says nothing yet about success: rpc_stream_finish() does.
 */
int rpc_stream_recv(struct rpc_stream *s, const ProtobufCMessageDescriptor *type, void *ret,
		    struct tl_error *err);
/** Half-close, read the rest away (the status isn't delivered before), return the status. */
int rpc_stream_finish(struct rpc_stream *s, struct tl_error *err);
/** From any thread: what blocks ends with -ECANCELED. */
void rpc_stream_cancel(struct rpc_stream *s);
/** Cancels what isn't finished. NULL is fine; always returns NULL. */
struct rpc_stream *rpc_stream_free(struct rpc_stream *s);
static inline void rpc_stream_freep(struct rpc_stream **s)
{
	*s = rpc_stream_free(*s);
}
#define auto_stream __attribute__((cleanup(rpc_stream_freep)))

/* An entry of any map<string, string>: protobuf-c gives each its own type, all of this shape. */
struct rpc_label {
	ProtobufCMessage base;
	char *key;
	char *value;
};
struct rpc_labels {
	struct rpc_label *items;
	struct rpc_label **pointers; /* what a message's field wants, cast to its type */
	size_t n;
};
/** Borrows the strings of @from (NULL = none). @entry: the map's entry type. 0 or -ENOMEM. */
int rpc_labels_set(const struct tl_kvs *from, const ProtobufCMessageDescriptor *entry,
		   struct rpc_labels *ret, struct tl_error *err);
void rpc_labels_done(struct rpc_labels *l);
#define auto_labels __attribute__((cleanup(rpc_labels_done)))

/** The namespace the connection was opened with; borrowed. */
const char *rpc_namespace(const struct tl_ctrd *c);
/** Append copies of all of @from to @ret, or nothing. */
int rpc_strv_append(struct tl_strv *ret, const struct tl_strv *from, struct tl_error *err);
/** strdup() of a message's string into @ret; 0 or -ENOMEM with @err filled. */
int rpc_take_string(const char *s, char **ret, struct tl_error *err);
