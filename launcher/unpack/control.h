/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket, from the unpacker's side (launcher/unpack/protocol.h). */
#pragma once

#include <stddef.h>

#include "fault.h"

/**
 * Wait for one message and its descriptors.
 *
 * @ret      @n bytes, which begin with a struct tl_unpack_head: the message is of @kind and of
 *           exactly this size, or the answer is PROTOCOL
 * @ret_fds  room for @fds_max descriptors (at most TL_UNPACK_LOWER_MAX), owned by the caller
 * Returns how many came, -ECONNRESET when teelaunchd is gone, or another negative errno.
 */
int tl_control_receive(int fd, enum tl_unpack_kind kind, void *ret, size_t n, int *ret_fds,
		       size_t fds_max, struct tl_unpack_fault *fault);

/** Send @n bytes, which begin with a struct tl_unpack_head: it is filled in. 0 or -errno. */
int tl_control_send(int fd, enum tl_unpack_kind kind, void *message, size_t n);

/** Send what @fault says. */
int tl_control_send_fault(int fd, const struct tl_unpack_fault *fault);
