/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that a socket of the guest's network accepts are carried on to a server of this
 * machine's network. Served by the caller's event loop.
 */
#pragma once

#include <systemd/sd-event.h>

#include "vm.h"

/* At once; one more is closed as it comes. */
#define FORWARD_LINKS_MAX 64

struct forward;

/**
 * @consume_fd  a listening, non-blocking socket; closed by this, also when it fails
 * @to          its host is resolved now, once
 * Codes: TL_E_NET_RESOLVE, TL_E_VM_SERVE.
 */
int forward_new(int consume_fd, const struct vm_forward *to, sd_event *loop, struct forward **ret,
		struct tl_error *err);
/** Also ends the connections. NULL is fine. */
struct forward *forward_free(struct forward *f);
