/* SPDX-License-Identifier: Apache-2.0 */
#include "server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <microhttpd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>

#include "links.h"

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.2:+VERS-TLS1.3"
#define BACKLOG        1024

struct server {
	struct MHD_Daemon *daemon;
	struct links *links;
	void (*handle)(void *ctx, const struct api_request *req, struct api_reply *ret);
	void *ctx;
	_Atomic size_t bodies_bytes; /* of all requests under way */
};

/* One request under way. */
struct exchange {
	struct tl_buf body;
	struct tl_deadline deadline;
	size_t counted_bytes; /* in the server's bodies_bytes */
	bool is_too_large;
};

/* "[::1]:0" or "127.0.0.1:0" in two parts. */
static int address_split(const char *text, char *ret_host, size_t host_cap, const char **ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (!n || n >= host_cap)
		return -EINVAL;
	if (text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (memchr(text, ':', n)) {
		return -EINVAL;
	}
	memcpy(ret_host, text, n);
	ret_host[n] = '\0';
	*ret_port = colon + 1;
	return 0;
}

static int port_of(int fd, uint16_t *ret)
{
	struct sockaddr_storage addr = { 0 };
	socklen_t n = sizeof(addr);
	char text[8];
	uint64_t port;

	if (getsockname(fd, (struct sockaddr *)&addr, &n) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&addr, n, NULL, 0, text, sizeof(text), NI_NUMERICSERV) ||
	    tl_str_parse_u64(text, UINT16_MAX, &port) < 0)
		return -EINVAL;
	*ret = (uint16_t)port;
	return 0;
}

int server_listen(const char *listen_at, int *ret_fd, uint16_t *ret_port, struct tl_error *err)
{
	const struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
					.ai_socktype = SOCK_STREAM };
	struct addrinfo *at = NULL;
	char host[64];
	const char *port;
	auto_close int fd = -1;
	const int one = 1;
	int r;

	if (address_split(listen_at, host, sizeof(host), &port) < 0 ||
	    getaddrinfo(host, port, &hints, &at) != 0)
		return tl_fail(err, TL_E_USAGE, EINVAL,
			       "--listen '%s' must be a numeric address and port, like "
			       "127.0.0.1:8443 or [::1]:0",
			       listen_at);
	fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
			    bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0
		    ? -errno
		    : port_of(fd, ret_port);
	freeaddrinfo(at);
	if (r < 0)
		return tl_fail_sys(err, TL_E_VERIFY_SERVER, -r, "can't listen on '%s'", listen_at);
	*ret_fd = take_fd(fd);
	return 0;
}

static enum MHD_Result reply_send(struct MHD_Connection *c, const struct api_reply *reply)
{
	char busy[] = "{}"; /* copied below */
	bool has_body = reply->body != NULL;
	struct MHD_Response *response = MHD_create_response_from_buffer(
		has_body ? reply->body_n : sizeof(busy) - 1, has_body ? reply->body : busy,
		MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r = MHD_NO;

	if (response &&
	    MHD_add_response_header(response, "Content-Type", "application/json") == MHD_YES &&
	    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff") == MHD_YES &&
	    MHD_add_response_header(response, "Cache-Control",
				    reply->cache ? reply->cache : "no-store") == MHD_YES)
		r = MHD_queue_response(c, (unsigned int)reply->status, response);
	if (response)
		MHD_destroy_response(response);
	return r;
}

static enum MHD_Result refuse_send(struct MHD_Connection *c, size_t most)
{
	auto_api_reply struct api_reply reply = { 0 };
	struct tl_error err = { 0 };

	(void)tl_fail(&err, TL_E_VERIFY_TOO_LARGE, EFBIG, "the body is larger than %zu bytes",
		      most);
	api_fail(&err, &reply);
	return reply_send(c, &reply);
}

/* True if the request says itself that it will be too large: then its body isn't waited for. */
static bool is_announced_too_large(struct MHD_Connection *c, size_t most)
{
	const char *text = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
	uint64_t n;

	return text && tl_str_parse_u64(text, most, &n) < 0;
}

static enum MHD_Result on_header(void *ctx, enum MHD_ValueKind kind, const char *key,
				 const char *value)
{
	(void)kind;
	(void)value;
	if (strcasecmp(key, "Content-Length") == 0 || strcasecmp(key, "Transfer-Encoding") == 0)
		++*(unsigned int *)ctx;
	return MHD_YES;
}

/* RFC 9112, 6.3: who reads another length than the balancer in front serves requests of others. */
static bool has_two_lengths(struct MHD_Connection *c)
{
	unsigned int n = 0;

	(void)MHD_get_connection_values(c, MHD_HEADER_KIND, on_header, &n);
	return n > 1;
}

/* Only evidence is long, and it goes to two methods. */
static size_t most_of(const char *url)
{
	return tl_str_ends_with(url, ":verifyAttestation") ||
			       tl_str_ends_with(url, ":verifyConfidentialSpace")
		       ? REQUEST_BODY_MAX
		       : SERVER_SMALL_BODY_MAX;
}

static enum MHD_Result request_begin(struct MHD_Connection *c, const char *url, void **ret)
{
	size_t most = most_of(url);
	struct exchange *x;

	if (has_two_lengths(c))
		return MHD_NO; /* ends the connection: where the next request begins is unknown */
	if (is_announced_too_large(c, most))
		return refuse_send(c, most);
	x = calloc(1, sizeof(*x));
	if (!x)
		return MHD_NO;
	tl_buf_init(&x->body, most);
	x->deadline = tl_deadline_in(tl_clock_mono_ms(), SERVER_REQUEST_S * UINT64_C(1000));
	*ret = x;
	return MHD_YES;
}

/* What is held for all requests, in round numbers: the buffer grows by doubling. */
static void bodies_count(struct server *s, struct exchange *x)
{
	s->bodies_bytes += x->body.cap_bytes;
	s->bodies_bytes -= x->counted_bytes;
	x->counted_bytes = x->body.cap_bytes;
}

static enum MHD_Result request_take(struct server *s, struct exchange *x, const char *data,
				    size_t *n)
{
	if (tl_deadline_is_past(x->deadline, tl_clock_mono_ms()) ||
	    s->bodies_bytes > SERVER_BODIES_MAX)
		return MHD_NO;
	if (!x->is_too_large && tl_buf_append(&x->body, data, *n) < 0) {
		x->is_too_large = true;
		tl_buf_done(&x->body);
	}
	bodies_count(s, x);
	*n = 0;
	return MHD_YES;
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_n, void **state)
{
	struct server *s = ctx;
	struct exchange *x = *state;
	auto_api_reply struct api_reply reply = { 0 };
	struct api_request req = { .method = method, .path = url };

	(void)version;
	if (!x)
		return request_begin(c, url, state);
	if (*data_n)
		return request_take(s, x, data, data_n);
	if (x->is_too_large)
		return refuse_send(c, most_of(url));
	req.authorization = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
	req.body = x->body.data ? (const void *)x->body.data : "";
	req.body_n = x->body.len_bytes;
	req.now_s = tl_clock_real_s();
	s->handle(s->ctx, &req, &reply);
	return reply_send(c, &reply);
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **state,
			 enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *state;

	(void)why;
	links_renew(((struct server *)ctx)->links, c);
	if (x) {
		tl_buf_done(&x->body);
		bodies_count(ctx, x);
	}
	free(x);
	*state = NULL;
}

int server_start(int consume_fd, const struct tl_secret *cert, const struct tl_secret *key,
		 unsigned int threads,
		 void (*handle)(void *ctx, const struct api_request *req, struct api_reply *ret),
		 void *ctx, struct server **ret, struct tl_error *err)
{
	struct server *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(consume_fd);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "memory for the server");
	}
	r = links_new(SERVER_CONNECTIONS_MAX, &s->links, err);
	if (r < 0) {
		free(s);
		close(consume_fd);
		return r;
	}
	s->handle = handle;
	s->ctx = ctx;
	s->daemon = MHD_start_daemon(
		MHD_USE_TLS | MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
		on_request, s, MHD_OPTION_LISTEN_SOCKET, consume_fd, MHD_OPTION_HTTPS_MEM_CERT,
		cert->bytes, MHD_OPTION_HTTPS_MEM_KEY, key->bytes, MHD_OPTION_HTTPS_PRIORITIES,
		TLS_PRIORITIES, MHD_OPTION_CONNECTION_LIMIT, (unsigned int)SERVER_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)SERVER_IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)SERVER_HEADER_MAX,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_NOTIFY_CONNECTION,
		links_on_connection, s->links, MHD_OPTION_THREAD_POOL_SIZE,
		threads > 1 ? threads : 0U, MHD_OPTION_END);
	if (!s->daemon) {
		(void)links_free(s->links);
		free(s);
		close(consume_fd);
		return tl_fail(err, TL_E_VERIFY_KEYS, EINVAL,
			       "the TLS server can't start; its certificate and key must be PEM "
			       "and belong together");
	}
	*ret = s;
	return 0;
}

struct server *server_stop(struct server *s)
{
	if (s) {
		MHD_stop_daemon(s->daemon);
		(void)links_free(s->links);
	}
	free(s);
	return NULL;
}
