/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP over TLS: the only user of libmicrohttpd. Some threads, non-blocking sockets; a connection
 * stays with its thread.
 * Limits: body REQUEST_BODY_MAX, SERVER_SMALL_BODY_MAX where no evidence goes, SERVER_BODIES_MAX
 * for all bodies that are under way together (one more ends its connection), header and line 32
 * KiB, SERVER_CONNECTIONS_MAX connections, SERVER_IDLE_S of silence, SERVER_REQUEST_S for one
 * request's body, and links.h for all of a request. TLS 1.2 is the least.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/secret.h>

#include "api.h"

#define SERVER_CONNECTIONS_MAX 256
#define SERVER_HEADER_MAX      (32 * 1024)
#define SERVER_IDLE_S          30
#define SERVER_SMALL_BODY_MAX  (64 * 1024)
#define SERVER_BODIES_MAX      (256 * 1024 * 1024)
#define SERVER_REQUEST_S       60

/**
 * Bind and listen on "HOST:PORT", numeric addresses only.
 * @ret_fd, @ret_port  set on success only. Codes: TL_E_VERIFY_SERVER, TL_E_USAGE.
 */
int server_listen(const char *listen, int *ret_fd, uint16_t *ret_port, struct tl_error *err);

#define SERVER_THREADS_MAX 64

struct server;
/**
 * @consume_fd  listening socket; taken over in any case
 * @cert, @key  PEM; borrowed until server_stop()
 * @threads     1 to SERVER_THREADS_MAX
 * @handle      answers a request, on any of the threads
 */
int server_start(int consume_fd, const struct tl_secret *cert, const struct tl_secret *key,
		 unsigned int threads,
		 void (*handle)(void *ctx, const struct api_request *req, struct api_reply *ret),
		 void *ctx, struct server **ret, struct tl_error *err);
struct server *server_stop(struct server *s);
