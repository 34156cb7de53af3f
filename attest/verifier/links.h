/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of the server and how long each may take: libmicrohttpd counts from the last
 * byte, which a slow sender renews for ever. A thread of its own, "verifier-links", ends what is
 * late by shutting its socket down; libmicrohttpd then closes it.
 */
#pragma once

#include <microhttpd.h>

#include <teelaunch/error.h>

/* Handshake, waiting, one request and its reply together; each request begins anew. */
#define LINKS_REQUEST_MS 60000
/* While all places are taken, nobody may take longer than that. */
#define LINKS_PRESSED_MS 5000

struct links;
/** @max  connections there can be. TL_E_NO_MEMORY. */
int links_new(size_t max, struct links **ret, struct tl_error *err);
/** Ends the thread. After the daemon has stopped; NULL is fine. */
struct links *links_free(struct links *l);
/** MHD_OPTION_NOTIFY_CONNECTION; the context is a struct links. */
void links_on_connection(void *ctx, struct MHD_Connection *c, void **socket_context,
			 enum MHD_ConnectionNotificationCode code);
/** A request of the connection is answered: its time begins anew. */
void links_renew(struct links *l, struct MHD_Connection *c);
