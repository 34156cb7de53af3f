/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Stop what you are doing": set once, from any thread or a signal handler, never taken back.
 * Blocking calls that take a `struct tl_cancel *` (NULL = can't be cancelled) end with -ECANCELED
 * and code TL_E_INTERRUPTED soon after it was requested.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tl_cancel;

struct tl_cancel *tl_cancel_new(void); /* NULL: no descriptor or no memory; errno says which */
struct tl_cancel *tl_cancel_free(struct tl_cancel *c);
static inline void tl_cancel_freep(struct tl_cancel **c)
{
	*c = tl_cancel_free(*c);
}
#define auto_cancel __attribute__((cleanup(tl_cancel_freep)))

void tl_cancel_request(struct tl_cancel *c);            /* async-signal-safe, thread-safe */
bool tl_cancel_is_requested(const struct tl_cancel *c); /* false for NULL */
/** Readable for ever once requested; for poll(). Never read from it. -1 for NULL. */
int tl_cancel_fd(const struct tl_cancel *c);
/** Sleep for @ms, or until cancelled: then true, at once. NULL sleeps it out. Blocks; a signal
 * doesn't end it. */
bool tl_cancel_sleep(const struct tl_cancel *c, uint64_t ms);
