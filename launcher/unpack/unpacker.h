/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's end of one teelaunch-unpack process, which unpacks one layer: started with nothing
 * but its descriptors (protocol.h), fed, asked, and always killed and reaped. What it says is taken
 * for hostile.
 *
 * A process that went wrong, whether it says so or not, gives
 *   -EOPNOTSUPP (TL_E_UNPACK)    it can't be sure to do as containerd does: let containerd
 *   -EBADMSG (TL_E_UNPACK)       what it was given is no layer, or one over the limits
 *   -ENOSPC (TL_E_DISK_SPACE)
 *   -ECONNABORTED (TL_E_UNPACKER)  it ended without a word; the message says how
 *   -EPROTO (TL_E_UNPACKER)      it said what makes no sense
 *   -EIO (TL_E_UNPACKER)         it couldn't read or write, or had no memory
 * and -ECANCELED (TL_E_INTERRUPTED) comes from @cancel. Only _free may follow.
 *
 * One thread at a time; it must not take SIGPIPE (teelaunch/thread.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/cancel.h>
#include <teelaunch/error.h>

#include "protocol.h"

struct tl_unpacker;

/**
 * Start @program (an absolute path) on the empty directory @target (O_DIRECTORY; borrowed until
 * return). It gets no argument, no environment, no signal's mask or action, and no descriptor of
 * this process but what protocol.h says.
 *
 * Doesn't wait for it: what is wrong with it, the next call says. TL_E_UNPACKER with posix_spawn's
 * or the kernel's errno (-ENOENT: no such program), -ENOMEM (TL_E_NO_MEMORY).
 */
int tl_unpacker_start(const char *program, int target, struct tl_unpacker **ret,
		      struct tl_error *err);

/** The next @n bytes of the layer, as the registry sent them. Blocks until it took them all. */
int tl_unpacker_write(struct tl_unpacker *u, const void *data, size_t n, struct tl_cancel *cancel,
		      struct tl_error *err);

/** That was the layer. Blocks until all of it is unpacked. */
int tl_unpacker_extracted(struct tl_unpacker *u, struct tl_cancel *cancel,
			  struct tl_unpack_extracted *ret, struct tl_error *err);

/**
 * Put right what takes the lower layers' roots to know (protocol.h, FINISH), @n of @lower, the
 * topmost first, each from tl_view_open(); borrowed until return. Blocks until it is done, and the
 * process with it.
 */
int tl_unpacker_finish(struct tl_unpacker *u, const int *lower, size_t n, struct tl_cancel *cancel,
		       struct tl_error *err);

/** Kill it if it lives, and reap it: nothing writes to its target afterwards. NULL is fine; always
 * returns NULL. */
struct tl_unpacker *tl_unpacker_free(struct tl_unpacker *u);
static inline void tl_unpacker_freep(struct tl_unpacker **u)
{
	*u = tl_unpacker_free(*u);
}
#define auto_unpacker __attribute__((cleanup(tl_unpacker_freep)))
