/* SPDX-License-Identifier: Apache-2.0 */
#include "readiness.h"

#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <teelaunch/cancel.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#define TICK_MS 1000

struct readiness {
	const char *(*reason)(void *ctx);
	void *ctx;
	struct MHD_Daemon *daemon;
	struct tl_cancel *quit;
	pthread_t thread;
	/* Open connections, all of the thread's. */
	struct link {
		int fd; /* -1: none */
		uint64_t since_ms;
	} links[READINESS_CONNECTIONS_MAX];
};

/* libmicrohttpd's own timeout starts again with each byte. */
static void on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD);
	int from = code == MHD_CONNECTION_NOTIFY_STARTED ? -1 : info->connect_fd;
	int to = code == MHD_CONNECTION_NOTIFY_STARTED ? info->connect_fd : -1;
	struct readiness *r = ctx;

	(void)socket_context;
	for (size_t i = 0; i < TL_ARRAY_SIZE(r->links); i++) {
		if (r->links[i].fd == from) {
			r->links[i] = (struct link){ to, tl_clock_mono_ms() };
			return;
		}
	}
}

static void links_expire(struct readiness *r)
{
	uint64_t now_ms = tl_clock_mono_ms();

	for (size_t i = 0; i < TL_ARRAY_SIZE(r->links); i++)
		if (r->links[i].fd >= 0 && now_ms - r->links[i].since_ms >= READINESS_CONNECTION_MS)
			shutdown(r->links[i].fd, SHUT_RDWR);
}

static enum MHD_Result answer(struct MHD_Connection *c, unsigned int status, const char *text)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result r = MHD_NO;

	if (!response)
		return MHD_NO;
	if (MHD_add_response_header(response, "Content-Type", "application/json") == MHD_YES &&
	    MHD_add_response_header(response, "Cache-Control", "no-store") == MHD_YES &&
	    MHD_add_response_header(response, "Connection", "close") == MHD_YES)
		r = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return r;
}

/* Answered before a body is read, which closes the connection. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *data_n, void **state)
{
	const struct readiness *r = ctx;
	const char *reason;
	char text[256];

	(void)version, (void)data, (void)data_n, (void)state;
	if (strcmp(url, "/ready") != 0)
		return answer(c, MHD_HTTP_NOT_FOUND, "{\"error\":\"GET /ready\"}\n");
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, "{\"error\":\"GET /ready\"}\n");
	reason = r->reason(r->ctx);
	if (!reason)
		return answer(c, MHD_HTTP_OK, "{\"ready\":true}\n");
	snprintf(text, sizeof(text), "{\"ready\":false,\"reason\":\"%s\"}\n", reason);
	return answer(c, MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static void *ready_main(void *arg)
{
	struct readiness *r = arg;
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(r->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd fds[] = { { .fd = tl_cancel_fd(r->quit), .events = POLLIN },
				{ .fd = info ? info->epoll_fd : -1, .events = POLLIN } };

	while (!tl_cancel_is_requested(r->quit)) {
		MHD_UNSIGNED_LONG_LONG due_ms;
		int wait_ms = TICK_MS;

		if (MHD_get_timeout(r->daemon, &due_ms) == MHD_YES && due_ms < TICK_MS)
			wait_ms = (int)due_ms;
		(void)poll(fds, TL_ARRAY_SIZE(fds), wait_ms);
		(void)MHD_run(r->daemon);
		links_expire(r);
	}
	return NULL;
}

/* One socket for both, or for IPv4 where the kernel has no IPv6. */
static int listen_at(uint16_t port, int *ret, struct tl_error *err)
{
	const struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	const struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, yes = 1, no = 0;
	auto_close int fd = socket(AF_INET6, type, 0);
	bool is_six = fd >= 0;
	int r;

	if (!is_six)
		fd = socket(AF_INET, type, 0);
	if (fd < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "socket for readiness");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (is_six)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	r = is_six ? bind(fd, (const struct sockaddr *)&six, sizeof(six))
		   : bind(fd, (const struct sockaddr *)&four, sizeof(four));
	if (r < 0 || listen(fd, READINESS_CONNECTIONS_MAX) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "listen on port %u for readiness", port);
	*ret = take_fd(fd);
	return 0;
}

static int daemon_start(struct readiness *r, uint16_t port, struct tl_error *err)
{
	auto_close int fd = -1;
	int failed = listen_at(port, &fd, err);

	if (failed < 0)
		return failed;
	r->daemon = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, r, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)READINESS_CONNECTIONS_MAX,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)(READINESS_CONNECTION_MS / 1000),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)READINESS_REQUEST_MAX,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION, on_connection, r,
		MHD_OPTION_END);
	if (!r->daemon)
		return tl_fail(err, TL_E_IO, EIO, "the HTTP server for readiness doesn't start");
	(void)take_fd(fd); /* the daemon's */
	return 0;
}

static struct readiness *readiness_free(struct readiness *r)
{
	if (r->daemon)
		MHD_stop_daemon(r->daemon);
	tl_cancel_free(r->quit);
	free(r);
	return NULL;
}

int readiness_open(uint16_t port, const char *(*reason)(void *ctx), void *ctx,
		   struct readiness **ret, struct tl_error *err)
{
	struct readiness *r = calloc(1, sizeof(*r));
	int failed;

	if (!r)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "readiness");
	*r = (struct readiness){ .reason = reason, .ctx = ctx, .quit = tl_cancel_new() };
	for (size_t i = 0; i < TL_ARRAY_SIZE(r->links); i++)
		r->links[i].fd = -1;
	failed = r->quit ? daemon_start(r, port, err)
			 : tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "readiness");
	if (failed == 0)
		failed = tl_thread_start("tl-ready", ready_main, r, &r->thread, err);
	if (failed < 0)
		return readiness_free(r), failed;
	*ret = r;
	return 0;
}

struct readiness *readiness_close(struct readiness *r)
{
	if (!r)
		return NULL;
	tl_cancel_request(r->quit);
	pthread_join(r->thread, NULL);
	return readiness_free(r);
}
