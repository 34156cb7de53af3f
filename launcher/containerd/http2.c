/* SPDX-License-Identifier: Apache-2.0 */
#include "http2.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <teelaunch/str.h>

/* One byte that says whether it is compressed, four of length. */
#define PREFIX_BYTES 5
/* What may be on its way to us before anyone asks for it. */
#define WINDOW_BYTES (256 * 1024)
#define READ_BYTES   (16 * 1024)
#define GATHER_BYTES (64 * 1024)
/* What GATHER_BYTES is exceeded by: RFC 9113 lets a frame have 16 KiB and a head. */
#define FRAME_BYTES_MAX (16 * 1024 + 9)
#define DETAILS_BYTES   512
#define PARTS_MAX       2
/* The clock that deadlines use counts suspended time, poll() does not. */
#define POLL_MAX_MS 1000
/* The server's clock shall not run out first: what it says of that is no one status. */
#define TIMEOUT_SLACK_MS 1000
/* "at most 8 digits" */
#define TIMEOUT_MAX 99999999

struct http2_call {
	nghttp2_session *session;
	int fd;
	int32_t id;
	struct tl_deadline deadline;
	struct tl_cancel *cancel; /* the caller's */
	struct tl_cancel *quit;   /* http2_cancel() */

	struct tl_buf out; /* frames that the kernel hasn't taken yet, */
	size_t out_at;     /* from here on */
	uint8_t prefix[PREFIX_BYTES];
	struct iovec parts[1 + PARTS_MAX]; /* what is left of the message being sent */
	size_t parts_n;
	bool is_last; /* nothing follows these parts */

	struct tl_buf in; /* from the server: the message handed out, and what follows it */
	size_t handed_n;  /* bytes of it that are handed out */
	size_t unacked_n; /* received, and not yet given back to the server's windows */

	bool has_ended;
	bool has_status; /* why it has ended; the first reason */
	bool has_word;   /* the server gave a status, which counts if the call ends as it should */
	int word;
	int http_status;
	int status;
	char details[DETAILS_BYTES];
};

/* --- the end ------------------------------------------------------------------------------ */

/* The first reason counts. */
static void end_with(struct http2_call *c, int status, const char *details)
{
	if (!c->has_status) {
		c->has_status = true;
		c->status = status;
		snprintf(c->details, sizeof(c->details), "%s", details);
	}
	c->has_ended = true;
}

/* RFC 9113, section 7, and "Errors" of PROTOCOL-HTTP2.md. */
static int status_of_reset(uint32_t error_code)
{
	switch (error_code) {
	case NGHTTP2_REFUSED_STREAM:
		return HTTP2_UNAVAILABLE;
	case NGHTTP2_CANCEL:
		return HTTP2_CANCELLED;
	case NGHTTP2_ENHANCE_YOUR_CALM:
		return HTTP2_RESOURCE_EXHAUSTED;
	default:
		return HTTP2_INTERNAL;
	}
}

/* Trailers have come, or the server has nothing more to say. */
static void end_by_server(struct http2_call *c)
{
	char text[64];

	if (c->http_status != 200) {
		snprintf(text, sizeof(text), "HTTP status %d", c->http_status);
		end_with(c, c->http_status == 404 ? HTTP2_UNIMPLEMENTED : HTTP2_UNKNOWN, text);
	} else if (c->has_word) {
		c->has_status = true; /* its details are there */
		c->has_ended = true;
		c->status = c->word;
	} else {
		end_with(c, HTTP2_INTERNAL, "ended without a status");
	}
}

/* --- what nghttp2 calls --------------------------------------------------------------------- */

/* "%41" is "A": the text of grpc-message. */
static void details_decode(struct http2_call *c, const char *text, size_t n)
{
	size_t out = 0;

	for (size_t i = 0; i < n && out + 1 < sizeof(c->details); out++) {
		const char hex[] = { text[i], i + 2 < n ? text[i + 1] : '\0',
				     i + 2 < n ? text[i + 2] : '\0', '\0' };

		if (text[i] == '%' && tl_hex_decode(hex + 1, &c->details[out], 1) == 0) {
			i += 3;
		} else {
			c->details[out] = text[i++];
		}
	}
	c->details[out] = '\0';
}

static bool is_named(const uint8_t *name, size_t n, const char *wanted)
{
	return n == strlen(wanted) && memcmp(name, wanted, n) == 0;
}

static int number_of(const uint8_t *value, size_t n)
{
	char text[12];
	uint64_t number;

	if (n >= sizeof(text))
		return -1;
	memcpy(text, value, n);
	text[n] = '\0';
	return tl_str_parse_u64(text, INT_MAX, &number) == 0 ? (int)number : -1;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_n, const uint8_t *value, size_t n, uint8_t flags, void *ctx)
{
	struct http2_call *c = ctx;

	(void)session;
	(void)flags;
	if (frame->hd.stream_id != c->id || c->has_ended)
		return 0;
	if (is_named(name, name_n, ":status")) {
		c->http_status = number_of(value, n);
	} else if (is_named(name, name_n, "grpc-status")) {
		int status = number_of(value, n);

		c->word = status < 0 ? HTTP2_UNKNOWN : status;
		c->has_word = true;
	} else if (is_named(name, name_n, "grpc-message")) {
		details_decode(c, (const char *)value, n);
	}
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
	struct http2_call *c = ctx;

	(void)session;
	if (frame->hd.stream_id == c->id && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
	    !c->has_ended)
		end_by_server(c);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error_code, void *ctx)
{
	struct http2_call *c = ctx;
	char text[64];

	(void)session;
	if (id != c->id || c->has_ended)
		return 0;
	snprintf(text, sizeof(text), "reset with HTTP/2 error %u", error_code);
	end_with(c, status_of_reset(error_code), text);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data,
		   size_t n, void *ctx)
{
	struct http2_call *c = ctx;
	int r;

	(void)flags;
	if (id != c->id || c->has_ended)
		return nghttp2_session_consume(session, id, n);
	r = tl_buf_append(&c->in, data, n);
	if (r < 0)
		end_with(c, r == -ENOMEM ? HTTP2_NO_MEMORY : HTTP2_RESOURCE_EXHAUSTED,
			 "more than the window allows");
	c->unacked_n += n;
	return 0;
}

static ssize_t on_source(nghttp2_session *session, int32_t id, uint8_t *to, size_t room,
			 uint32_t *flags, nghttp2_data_source *source, void *ctx)
{
	struct http2_call *c = ctx;
	size_t n = 0;

	(void)session;
	(void)id;
	(void)source;
	while (c->parts_n && n < room) {
		struct iovec *part = &c->parts[0];
		size_t step = part->iov_len < room - n ? part->iov_len : room - n;

		if (step)
			memcpy(to + n, part->iov_base, step);
		n += step;
		part->iov_base = (uint8_t *)part->iov_base + step;
		part->iov_len -= step;
		if (!part->iov_len)
			memmove(part, part + 1, --c->parts_n * sizeof(*part));
	}
	if (!c->parts_n && c->is_last)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (!n)
		return NGHTTP2_ERR_DEFERRED;
	return (ssize_t)n;
}

/* --- the connection ------------------------------------------------------------------------ */

static void end_by_error(struct http2_call *c, int error)
{
	end_with(c, error == NGHTTP2_ERR_NOMEM ? HTTP2_NO_MEMORY : HTTP2_UNAVAILABLE,
		 nghttp2_strerror(error));
}

static bool is_wire_empty(const struct http2_call *c)
{
	return c->out_at == c->out.len_bytes;
}

/* Several small frames, or one large: a system call for each would be most of the work. */
static void wire_fill(struct http2_call *c)
{
	tl_buf_reset(&c->out);
	c->out_at = 0;
	while (!c->has_ended && c->out.len_bytes < GATHER_BYTES) {
		const uint8_t *frame;
		ssize_t n = nghttp2_session_mem_send(c->session, &frame);

		if (n < 0)
			end_by_error(c, (int)n);
		else if (n && tl_buf_append(&c->out, frame, (size_t)n) < 0)
			end_by_error(c, NGHTTP2_ERR_NOMEM);
		if (n <= 0)
			return;
	}
}

/* As much as the kernel takes. */
static void call_flush(struct http2_call *c)
{
	while (!c->has_ended) {
		ssize_t n;

		if (is_wire_empty(c))
			wire_fill(c);
		if (c->has_ended || is_wire_empty(c))
			return;
		n = send(c->fd, c->out.data + c->out_at, c->out.len_bytes - c->out_at,
			 MSG_NOSIGNAL);
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			c->out_at =
				c->out.len_bytes; /* what it said before it went is to be read */
		else if (n < 0 && (errno == ENOBUFS || errno == ENOMEM))
			end_with(c, HTTP2_NO_MEMORY, strerrordesc_np(errno));
		else if (n < 0 && errno != EAGAIN && errno != EINTR)
			end_with(c, HTTP2_UNAVAILABLE, strerrordesc_np(errno));
		if (n < 0)
			return;
		c->out_at += (size_t)n;
	}
}

static void call_read(struct http2_call *c)
{
	uint8_t bytes[READ_BYTES];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		end_with(c, HTTP2_UNAVAILABLE,
			 n < 0 ? strerrordesc_np(errno) : "connection closed");
		return;
	}
	n = nghttp2_session_mem_recv(c->session, bytes, (size_t)n);
	if (n < 0)
		end_by_error(c, (int)n);
}

/* False: the call has ended by its deadline or a cancellation. */
static bool is_allowed(struct http2_call *c, int *ret_wait_ms)
{
	uint64_t left_ms = tl_deadline_left_ms(c->deadline, tl_clock_mono_ms());

	if (tl_cancel_is_requested(c->quit) || tl_cancel_is_requested(c->cancel))
		end_with(c, HTTP2_CANCELLED, "cancelled");
	else if (!left_ms)
		end_with(c, HTTP2_DEADLINE_EXCEEDED, "no answer in time");
	*ret_wait_ms = left_ms == UINT64_MAX   ? -1
		       : left_ms < POLL_MAX_MS ? (int)left_ms
					       : POLL_MAX_MS;
	return !c->has_ended;
}

static void call_wait(struct http2_call *c)
{
	struct pollfd fds[] = { { .fd = c->fd, .events = POLLIN },
				{ .fd = tl_cancel_fd(c->quit), .events = POLLIN },
				{ .fd = tl_cancel_fd(c->cancel), .events = POLLIN } };
	int wait_ms;

	/* After a breach of the protocol, which nghttp2 tells the server first. */
	if (is_wire_empty(c) && !nghttp2_session_want_read(c->session) &&
	    !nghttp2_session_want_write(c->session))
		end_with(c, HTTP2_UNAVAILABLE, "the connection is over");
	if (!is_allowed(c, &wait_ms))
		return;
	if (!is_wire_empty(c))
		fds[0].events |= POLLOUT;
	if (poll(fds, TL_ARRAY_SIZE(fds), wait_ms) <= 0)
		return;
	if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
		call_read(c);
}

static int socket_connect(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	auto_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path));
	if (connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return -errno;
	return take_fd(fd);
}

/* --- the call ------------------------------------------------------------------------------ */

static int session_new(struct http2_call *c)
{
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	int r = nghttp2_session_callbacks_new(&callbacks);

	if (r == 0)
		r = nghttp2_option_new(&option);
	if (r == 0) {
		/* The window opens when a message is asked for: a server can't fill memory. */
		nghttp2_option_set_no_auto_window_update(option, 1);
		nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
		nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
		nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
		nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
		r = nghttp2_session_client_new2(&c->session, callbacks, c, option);
	}
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return r;
}

#define HEADER(key, text)                                                                          \
	(nghttp2_nv)                                                                               \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(key), (uint8_t *)(uintptr_t)(text), strlen(key),            \
			strlen(text), NGHTTP2_NV_FLAG_NONE                                         \
	}

static void timeout_write(uint64_t left_ms, char *to, size_t n)
{
	if (left_ms <= TIMEOUT_MAX)
		snprintf(to, n, "%um", (unsigned int)left_ms);
	else
		snprintf(to, n, "%uS",
			 left_ms / 1000 < TIMEOUT_MAX ? (unsigned int)(left_ms / 1000)
						      : TIMEOUT_MAX);
}

static int request_submit(struct http2_call *c, const struct http2_request *request)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES },
	};
	const nghttp2_data_provider source = { .read_callback = on_source };
	uint64_t left_ms = tl_deadline_left_ms(request->deadline, tl_clock_mono_ms());
	char timeout[16];
	nghttp2_nv headers[10] = {
		HEADER(":method", "POST"),
		HEADER(":scheme", "http"),
		HEADER(":path", request->method),
		HEADER(":authority", "localhost"),
		HEADER("te", "trailers"),
		HEADER("content-type", "application/grpc"),
		HEADER("user-agent", "teelaunch"),
		HEADER("containerd-namespace", request->namespace),
	};
	size_t n = 8;
	int r = nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
					TL_ARRAY_SIZE(settings));

	if (r == 0)
		r = nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
							  WINDOW_BYTES);
	if (r < 0)
		return r;
	if (request->lease)
		headers[n++] = HEADER("containerd-lease", request->lease);
	if (left_ms != UINT64_MAX) {
		timeout_write(left_ms + TIMEOUT_SLACK_MS, timeout, sizeof(timeout));
		headers[n++] = HEADER("grpc-timeout", timeout);
	}
	c->id = nghttp2_submit_request(c->session, NULL, headers, n, &source, NULL);
	return c->id < 0 ? c->id : 0;
}

struct http2_call *http2_open(const struct http2_request *request)
{
	struct http2_call *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return NULL;
	tl_buf_init(&c->in, PREFIX_BYTES + HTTP2_MESSAGE_BYTES_MAX + 2 * WINDOW_BYTES);
	tl_buf_init(&c->out, GATHER_BYTES + FRAME_BYTES_MAX);
	c->deadline = request->deadline;
	c->cancel = request->cancel;
	c->quit = tl_cancel_new();
	c->fd = socket_connect(request->socket_path);
	if (!c->quit || session_new(c) != 0)
		return http2_free(c);
	if (c->fd == -EMFILE || c->fd == -ENFILE || c->fd == -ENOMEM || c->fd == -ENOBUFS)
		return http2_free(c);
	if (c->fd < 0) {
		end_with(c, HTTP2_UNAVAILABLE, strerrordesc_np(-c->fd));
		return c;
	}
	r = request_submit(c, request);
	if (r < 0)
		end_by_error(c, r);
	return c;
}

struct http2_call *http2_free(struct http2_call *c)
{
	if (!c)
		return NULL;
	nghttp2_session_del(c->session);
	if (c->fd >= 0)
		close(c->fd); /* what isn't over is cancelled by that */
	tl_cancel_free(c->quit);
	tl_buf_done(&c->in);
	tl_buf_done(&c->out);
	free(c);
	return NULL;
}

static bool is_sending(const struct http2_call *c)
{
	return c->parts_n || !is_wire_empty(c) || nghttp2_session_want_write(c->session);
}

bool http2_send(struct http2_call *c, const struct iovec *parts, size_t n, bool is_last)
{
	uint32_t length = 0;

	c->parts_n = 0;
	for (size_t i = 0; i < n && i < PARTS_MAX; i++) {
		c->parts[1 + c->parts_n++] = parts[i];
		length += (uint32_t)parts[i].iov_len;
	}
	if (n) {
		c->prefix[0] = 0;
		for (size_t i = 0; i < 4; i++)
			c->prefix[1 + i] = (uint8_t)(length >> (24 - 8 * i));
		c->parts[0] = (struct iovec){ c->prefix, PREFIX_BYTES };
		c->parts_n++;
	}
	c->is_last = is_last;
	if (!c->has_ended) /* fails where nothing was put off, which is as good */
		(void)nghttp2_session_resume_data(c->session, c->id);
	call_flush(c);
	while (!c->has_ended && is_sending(c)) {
		call_wait(c);
		call_flush(c);
	}
	c->parts_n = 0; /* borrowed */
	return !c->has_ended;
}

/* 1: a whole message is there; 0: not yet; or the call has ended, because none can come. */
static int message_find(struct http2_call *c, size_t *ret_n)
{
	const uint8_t *p = c->in.data;
	size_t n;

	if (c->in.len_bytes < PREFIX_BYTES)
		return 0;
	n = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
	if (p[0] || n > HTTP2_MESSAGE_BYTES_MAX) {
		c->has_status = false;
		end_with(c, p[0] ? HTTP2_DATA_LOSS : HTTP2_RESOURCE_EXHAUSTED,
			 p[0] ? "a compressed message" : "a message above 16 MiB");
		tl_buf_reset(&c->in);
		return 0;
	}
	*ret_n = n;
	return c->in.len_bytes - PREFIX_BYTES >= n;
}

static void window_open(struct http2_call *c)
{
	int r = nghttp2_session_consume(c->session, c->id, c->unacked_n);

	if (r < 0)
		end_by_error(c, r);
	c->unacked_n = 0;
}

bool http2_recv(struct http2_call *c, const uint8_t **ret, size_t *ret_n)
{
	size_t n = 0;

	tl_buf_consume(&c->in, c->handed_n);
	c->handed_n = 0;
	while (!message_find(c, &n)) {
		if (c->has_ended) {
			if (c->status == HTTP2_OK && c->in.len_bytes) {
				c->has_status = false;
				end_with(c, HTTP2_DATA_LOSS, "ended within a message");
			}
			return false;
		}
		window_open(c);
		call_flush(c);
		call_wait(c);
	}
	*ret = c->in.data + PREFIX_BYTES;
	*ret_n = n;
	c->handed_n = PREFIX_BYTES + n;
	return true;
}

int http2_status(const struct http2_call *c)
{
	return c->status;
}

const char *http2_details(const struct http2_call *c)
{
	return c->details;
}

void http2_cancel(struct http2_call *c)
{
	tl_cancel_request(c->quit);
}
