/* SPDX-License-Identifier: Apache-2.0 */
/* Why a layer was not unpacked: what goes into FAILED (launcher/unpack/protocol.h). */
#pragma once

#include "protocol.h"

struct tl_unpack_fault {
	enum tl_unpack_why why;
	int error; /* errno, or 0 */
	char text[TL_UNPACK_TEXT_MAX];
};

/**
 * Fill @fault and return a negative errno: -@errnum, or -EPROTO for 0.
 *
 * The text becomes one line of printable ASCII, whatever @fmt's arguments bring along: a byte that
 * isn't comes out as '?'. Cut when full.
 */
int tl_unpack_fail(struct tl_unpack_fault *fault, enum tl_unpack_why why, int errnum,
		   const char *fmt, ...) __attribute__((format(printf, 4, 5), cold));

/**
 * The same for a system call that refused: @errnum says why. No space: NO_SPACE; a file larger than
 * the limit: LIMIT; a machine in trouble: IO; anything else may be the layer's own, and is for
 * containerd to judge: UNSUPPORTED.
 */
int tl_unpack_fail_sys(struct tl_unpack_fault *fault, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));
