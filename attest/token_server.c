/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd on the token socket, driven by the thread "tl-socket": connections, sizes and
 * times. A request that needs work is suspended; one of the desk's threads has it resumed.
 */
#include <teelaunch/token_server.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>
#include <teelaunch/thread.h>

#include "token_desk.h"
#include "token_socket.h"

#define BACKLOG 128
/* How long the loop sleeps at most: what a time limit may be late by. */
#define TICK_MS 250
/* Of a body that is too large so much is read, so that an honest mistake gets its answer. */
#define BODY_READ_MAX (4 * TL_TOKEN_SERVER_BODY_MAX)
/* Behind our own limits; libmicrohttpd counts from the last byte, which a slow sender renews. */
#define IDLE_S 30

/* A connection; the loop thread's. */
struct link {
	struct link *next, *prev;
	int fd;
	struct token_peer peer;
	uint64_t since_ms;           /* this stage: receiving or sending */
	struct tl_deadline deadline; /* of it */
	bool is_receiving;
};

/* A request under way. */
struct exchange {
	struct desk_waiter waiter; /* first: the desk knows nothing else */
	struct MHD_Connection *connection;
	int wake_fd; /* the server's */
	struct tl_buf body;
	size_t received_bytes;
	bool is_too_large, is_waiting;
};

struct tl_token_server {
	struct tl_token_server_options options;
	struct token_clients clients;
	struct token_desk *desk;
	struct MHD_Daemon *daemon;
	int wake_fd; /* an eventfd: something was resumed */
	pthread_t loop;
	atomic_bool is_ending;
	struct link links; /* head of a ring; the loop's */
	size_t n_links;
};

/* --- connections ---------------------------------------------------------------------------- */

static void link_stage(struct link *link, bool is_receiving, uint64_t limit_ms)
{
	link->since_ms = tl_clock_mono_ms();
	link->deadline = tl_deadline_in(link->since_ms, limit_ms);
	link->is_receiving = is_receiving;
}

static struct link *link_of(struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static struct link *link_new(struct tl_token_server *s, struct MHD_Connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct link *link = calloc(1, sizeof(*link));

	if (!link || !info) {
		free(link);
		return NULL;
	}
	link->fd = info->connect_fd;
	token_peer_read(link->fd, &link->peer);
	link_stage(link, true, TL_TOKEN_SERVER_TRANSFER_MS);
	link->next = &s->links;
	link->prev = s->links.prev;
	s->links.prev->next = link;
	s->links.prev = link;
	s->n_links++;
	return link;
}

static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct tl_token_server *s = ctx;
	struct link *link = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*socket_context = link_new(s, c);
	} else if (link) {
		link->prev->next = link->next;
		link->next->prev = link->prev;
		s->n_links--;
		free(link);
		*socket_context = NULL;
	}
}

/*
 * Slow senders and slow readers. libmicrohttpd closes a connection whose socket has ended. While
 * all places are taken, nobody may be slow.
 */
static void links_sweep(struct tl_token_server *s)
{
	uint64_t now_ms = tl_clock_mono_ms();
	bool is_pressed = s->n_links >= TL_TOKEN_SERVER_CONNECTIONS_MAX;

	for (struct link *l = s->links.next; l != &s->links; l = l->next)
		if (tl_deadline_is_past(l->deadline, now_ms) ||
		    (is_pressed && l->is_receiving &&
		     now_ms - l->since_ms >= TL_TOKEN_SERVER_PRESSED_MS))
			shutdown(l->fd, SHUT_RDWR);
}

/* --- answers -------------------------------------------------------------------------------- */

static void reply_gone(void *reply)
{
	token_reply_unref(reply);
}

static bool header_add(struct MHD_Response *response, const char *name, const char *value)
{
	return MHD_add_response_header(response, name, value) == MHD_YES;
}

static bool headers_add(struct MHD_Response *response, const struct token_reply *reply,
			bool is_last)
{
	char seconds[24];

	(void)snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)reply->retry_after_s);
	return header_add(response, "Content-Type", reply->content_type) &&
	       header_add(response, "X-Content-Type-Options", "nosniff") &&
	       header_add(response, "Cache-Control", "no-store") &&
	       (!reply->retry_after_s || header_add(response, "Retry-After", seconds)) &&
	       (!reply->location || header_add(response, "Location", reply->location)) &&
	       (!is_last || header_add(response, "Connection", "close"));
}

/* @is_last: the connection ends with it. NULL for want of memory closes it. */
static enum MHD_Result reply_send(struct MHD_Connection *c, struct token_reply *consume_reply,
				  bool is_last)
{
	struct link *link = link_of(c);
	struct MHD_Response *response;
	enum MHD_Result r = MHD_NO;

	if (!consume_reply)
		return MHD_NO;
	if (link)
		link_stage(link, false, TL_TOKEN_SERVER_TRANSFER_MS);
	/* The bytes stay where they are: a token's are wiped when the last one has it. */
	response = MHD_create_response_from_buffer_with_free_callback_cls(
		consume_reply->body.len_bytes, consume_reply->body.bytes, reply_gone,
		consume_reply);
	if (!response) {
		token_reply_unref(consume_reply);
		return MHD_NO;
	}
	if (headers_add(response, consume_reply, is_last))
		r = MHD_queue_response(c, (unsigned int)consume_reply->status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result refuse(struct MHD_Connection *c, int status, const char *text)
{
	return reply_send(c, token_api_refusal(status, text), true);
}

/* --- requests ------------------------------------------------------------------------------- */

struct framing {
	unsigned int n_lengths, n_encodings;
	bool is_odd;
};

static enum MHD_Result framing_note(void *ctx, enum MHD_ValueKind kind, const char *name,
				    const char *value)
{
	struct framing *f = ctx;

	(void)kind;
	if (strcasecmp(name, "Content-Length") == 0) {
		f->n_lengths++;
	} else if (strcasecmp(name, "Transfer-Encoding") == 0) {
		f->n_encodings++;
		f->is_odd = f->is_odd || !value || strcasecmp(value, "chunked") != 0;
	}
	return MHD_YES;
}

/* Two readers of such a request could see two different ones. */
static bool is_ambiguous(struct MHD_Connection *c)
{
	struct framing f = { 0 };

	MHD_get_connection_values(c, MHD_HEADER_KIND, framing_note, &f);
	return f.is_odd || f.n_lengths + f.n_encodings > 1;
}

static const char *header_of(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name);
}

static enum MHD_Result refuse_large(struct MHD_Connection *c)
{
	char text[64];

	(void)snprintf(text, sizeof(text), "the body is larger than the limit of %d bytes",
		       TL_TOKEN_SERVER_BODY_MAX);
	return refuse(c, 413, text);
}

static enum MHD_Result request_begin(struct MHD_Connection *c, void **ret)
{
	const char *length = header_of(c, "Content-Length");
	uint64_t n;
	struct exchange *x;

	if (is_ambiguous(c))
		return refuse(c, 400, "Content-Length and Transfer-Encoding contradict each other");
	if (length && tl_str_parse_u64(length, TL_TOKEN_SERVER_BODY_MAX, &n) < 0)
		return refuse_large(c);
	x = calloc(1, sizeof(*x));
	if (!x)
		return MHD_NO;
	x->connection = c;
	tl_buf_init(&x->body, TL_TOKEN_SERVER_BODY_MAX);
	*ret = x;
	return MHD_YES;
}

static enum MHD_Result request_take(struct exchange *x, const char *data, size_t *n)
{
	x->received_bytes += *n;
	if (x->received_bytes > BODY_READ_MAX)
		return MHD_NO;
	if (!x->is_too_large && tl_buf_append(&x->body, data, *n) < 0) {
		x->is_too_large = true;
		tl_buf_done(&x->body);
	}
	*n = 0;
	return MHD_YES;
}

/* In one of the desk's threads, or the loop's. */
static void exchange_resume(struct desk_waiter *w)
{
	struct exchange *x = (struct exchange *)w;
	int wake_fd = x->wake_fd;

	MHD_resume_connection(x->connection); /* it may be gone now */
	(void)eventfd_write(wake_fd, 1);
}

static enum MHD_Result work_begin(struct tl_token_server *s, struct exchange *x,
				  struct token_ask *ask)
{
	struct link *link = link_of(x->connection);
	const struct token_peer nobody = { .pid = -1, .uid = (uid_t)-1, .gid = (gid_t)-1 };
	struct token_reply *reply = NULL;

	x->waiter.done = exchange_resume;
	x->wake_fd = s->wake_fd;
	x->is_waiting = true;
	if (link) { /* what is done for it has limits of its own */
		link->deadline = tl_deadline_never();
		link->is_receiving = false;
	}
	/* First: the desk may be done before it returns. */
	MHD_suspend_connection(x->connection);
	if (desk_submit(s->desk, ask, link ? &link->peer : &nobody, &x->waiter, &reply)) {
		x->waiter.reply = reply;
		exchange_resume(&x->waiter);
	}
	return MHD_YES;
}

static enum MHD_Result request_do(struct tl_token_server *s, struct exchange *x, const char *method,
				  const char *path)
{
	struct MHD_Connection *c = x->connection;
	const struct token_http req = {
		.method = method,
		.path = path,
		.fields = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "fields"),
		.dollar_fields = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "$fields"),
		.field_mask = header_of(c, "X-Goog-FieldMask"),
		.cache_control = header_of(c, "Cache-Control"),
		.body = x->body.data ? (const void *)x->body.data : "",
		.body_n = x->body.len_bytes,
	};
	struct token_reply *reply = NULL;
	struct token_ask ask;

	token_api_route(&req, &s->clients, &ask, &reply);
	tl_buf_done(&x->body);
	return ask.work == TOKEN_WORK_NONE ? reply_send(c, reply, false) : work_begin(s, x, &ask);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_n, void **state)
{
	struct exchange *x = *state;

	(void)version;
	if (!x)
		return request_begin(c, state);
	if (*data_n)
		return request_take(x, data, data_n);
	if (x->is_too_large)
		return refuse_large(c);
	if (x->is_waiting)
		return reply_send(c, take_ptr(x->waiter.reply), false);
	return request_do(ctx, x, method, url);
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *state;
	struct link *link = link_of(c);

	(void)ctx;
	(void)why;
	if (link)
		link_stage(link, true, TL_TOKEN_SERVER_TRANSFER_MS);
	if (x) {
		tl_buf_done(&x->body);
		token_reply_unref(x->waiter.reply);
	}
	free(x);
	*state = NULL;
}

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* %XX, but a NUL stays as it is written: it must not end a path early. */
static size_t on_unescape(void *ctx, struct MHD_Connection *c, char *text)
{
	char *to = text;

	(void)ctx;
	(void)c;
	for (const char *from = text; *from;) {
		int high = *from == '%' ? hex_digit(from[1]) : -1;
		int low = high < 0 ? -1 : hex_digit(from[2]);

		if (low < 0 || (!high && !low)) {
			*to++ = *from++;
			continue;
		}
		*to++ = (char)(high << 4 | low);
		from += 3;
	}
	*to = '\0';
	return (size_t)(to - text);
}

/* --- the server ----------------------------------------------------------------------------- */

/* libmicrohttpd's own wait isn't ended by MHD_resume_connection(), if it runs in our thread. */
static void loop_wait(struct tl_token_server *s)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd fds[] = { { .fd = s->wake_fd, .events = POLLIN },
				{ .fd = info ? info->epoll_fd : -1, .events = POLLIN } };
	MHD_UNSIGNED_LONG_LONG due_ms;
	eventfd_t ignored;
	int wait_ms = TICK_MS;

	if (MHD_get_timeout(s->daemon, &due_ms) == MHD_YES && due_ms < TICK_MS)
		wait_ms = (int)due_ms;
	(void)poll(fds, TL_ARRAY_SIZE(fds), wait_ms);
	if (fds[0].revents)
		(void)eventfd_read(s->wake_fd, &ignored);
}

static void *loop_main(void *arg)
{
	struct tl_token_server *s = arg;

	while (!atomic_load(&s->is_ending)) {
		loop_wait(s);
		(void)MHD_run(s->daemon);
		links_sweep(s);
	}
	return NULL;
}

static int daemon_start(struct tl_token_server *s, struct tl_error *err)
{
	int fd;
	int r = token_socket_listen(s->options.dir, BACKLOG, &fd, err);

	if (r < 0)
		return r;
	s->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, s,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)TL_TOKEN_SERVER_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)TL_TOKEN_SERVER_HEADERS_MAX, MHD_OPTION_STRICT_FOR_CLIENT, 1,
		MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_NOTIFY_CONNECTION,
		on_connection, s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (s->daemon)
		return 0;
	close(fd);
	return tl_fail(err, TL_E_TOKEN_SOCKET, EIO, "the HTTP server on the socket doesn't start");
}

int tl_token_server_start(const struct tl_token_server_options *options,
			  struct tl_token_server **ret, struct tl_error *err)
{
	struct tl_token_server *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "token server");
	s->options = *options;
	s->clients = (struct token_clients){ .has_gca = options->token,
					     .has_intel = options->intel_token };
	s->links.next = s->links.prev = &s->links;
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->wake_fd < 0) {
		r = tl_fail_sys(err, TL_E_TOKEN_SOCKET, errno, "wake-up of the token socket");
		free(s);
		return r;
	}
	r = desk_open(&s->options, &s->desk, err);
	if (r == 0)
		r = daemon_start(s, err);
	if (r == 0)
		r = tl_thread_start("tl-socket", loop_main, s, &s->loop, err);
	if (r < 0) {
		atomic_store(&s->is_ending, true); /* and there is no loop to wait for */
		if (s->desk)
			desk_stop(s->desk);
		if (s->daemon)
			MHD_stop_daemon(s->daemon);
		desk_close(s->desk);
		(void)tl_token_socket_remove(options->dir, NULL);
		close(s->wake_fd);
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void tl_token_server_counts(struct tl_token_server *s, struct tl_token_counts *ret)
{
	desk_counts(s->desk, ret);
}

struct tl_token_server *tl_token_server_stop(struct tl_token_server *s)
{
	if (!s)
		return NULL;
	(void)tl_token_socket_remove(s->options.dir, NULL);
	/* The desk first: it resumes what waits, and libmicrohttpd can't end what is suspended. */
	desk_stop(s->desk);
	atomic_store(&s->is_ending, true);
	pthread_join(s->loop, NULL);
	MHD_stop_daemon(s->daemon);
	desk_close(s->desk);
	close(s->wake_fd);
	free(s);
	return NULL;
}
