/* SPDX-License-Identifier: Apache-2.0 */
/* Serves dns.h on a UDP socket, by the caller's event loop. */
#pragma once

#include <systemd/sd-event.h>

#include "vm.h"

struct name_server;

/**
 * @consume_fd  a bound, non-blocking UDP socket; closed by the server, also when this fails
 * @names       borrowed until name_server_free()
 * Codes: TL_E_VM_SERVE.
 */
int name_server_new(int consume_fd, const struct tl_strv *names, sd_event *loop,
		    struct name_server **ret, struct tl_error *err);
struct name_server *name_server_free(struct name_server *s);
