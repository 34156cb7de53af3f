/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the workload is ready, for whoever asks from outside (load balancers, autohealing): GET
 * /ready over plain HTTP on a TCP port of the machine. 200 and {"ready":true}, or 503 and
 * {"ready":false,"reason":"..."}: nothing else is told, and nothing is read but the request's line
 * and headers. One thread, "tl-ready"; the only user of libmicrohttpd in launcher/.
 */
#pragma once

#include <stdint.h>

#include <teelaunch/error.h>

/* As many connections, each for so long, whatever it sends; a request of so many bytes. */
#define READINESS_CONNECTIONS_MAX 16
#define READINESS_CONNECTION_MS   5000
#define READINESS_REQUEST_MAX     4096

struct readiness;

/**
 * Listen, on all addresses of IPv4 and IPv6, and answer.
 *
 * @reason  why it isn't ready: a static text, fit for JSON; NULL: it is. Called by the thread; must
 *          not block
 * TL_E_IO if the port can't be had, TL_E_NO_MEMORY.
 */
int readiness_open(uint16_t port, const char *(*reason)(void *ctx), void *ctx,
		   struct readiness **ret, struct tl_error *err);
struct readiness *readiness_close(struct readiness *r); /* NULL is fine; always returns NULL */
