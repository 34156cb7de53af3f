/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One gRPC call as HTTP/2 carries it (gRPC's PROTOCOL-HTTP2.md; RFC 9113), on a connection of its
 * own over a Unix socket: messages as bytes, and the status at the end. http2.c is the only user of
 * nghttp2. A connection a call costs a fraction of a millisecond, and saves sharing: no thread, no
 * lock, and what is restarted in between is found by the next call.
 *
 * One thread at a time, except for _cancel. Functions block until the call's deadline, a
 * cancellation or the end of the connection; then the call has ended, and its status says why.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <teelaunch/cancel.h>
#include <teelaunch/deadline.h>

/* gRPC's numbers that are made here (statuscodes.md). */
enum http2_status {
	HTTP2_OK = 0,
	HTTP2_CANCELLED = 1,
	HTTP2_UNKNOWN = 2,
	HTTP2_DEADLINE_EXCEEDED = 4,
	HTTP2_RESOURCE_EXHAUSTED = 8,
	HTTP2_UNIMPLEMENTED = 12,
	HTTP2_INTERNAL = 13,
	HTTP2_UNAVAILABLE = 14,
	HTTP2_DATA_LOSS = 15,
	HTTP2_NO_MEMORY = -1, /* none of gRPC's */
};

/* The most that either side sends in one message; containerd's own limit
 * (defaults.DefaultMaxRecvMsgSize). */
#define HTTP2_MESSAGE_BYTES_MAX (16 * 1024 * 1024)

struct http2_request {
	const char *socket_path;     /* borrowed until _open() returns, as the next three */
	const char *method;          /* "/package.Service/Method" */
	const char *namespace;       /* containerd-namespace */
	const char *lease;           /* containerd-lease; NULL: none */
	struct tl_deadline deadline; /* told to the server with a second more */
	struct tl_cancel *cancel;    /* borrowed as long as the call; NULL: none */
};

struct http2_call;

/** NULL: out of memory or descriptors. A server that isn't there is a call that has ended. */
struct http2_call *http2_open(const struct http2_request *request);
struct http2_call *http2_free(struct http2_call *c); /* NULL is fine; always returns NULL */

/**
 * Send one message in @n parts, which are borrowed until it returns; returns when the kernel has
 * all of it. @n 0 with @is_last: no message, only the end. False: the call has ended.
 */
bool http2_send(struct http2_call *c, const struct iovec *parts, size_t n, bool is_last);

/** The next message, borrowed until the next call with @c. False: there are no more. */
bool http2_recv(struct http2_call *c, const uint8_t **ret, size_t *ret_n);

/** Of a call whose http2_recv() said false; enum http2_status or another number of the server's. */
int http2_status(const struct http2_call *c);
/** Text beside the status, foreign; "" if there is none. Borrowed as long as the call. */
const char *http2_details(const struct http2_call *c);

/** From any thread: what blocks ends, with HTTP2_CANCELLED unless it was over. */
void http2_cancel(struct http2_call *c);
