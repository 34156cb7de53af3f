/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Have every thread of the process do something that the kernel keeps for each thread alone
 * (capabilities, Landlock). Others are reached by a signal, TL_THREAD_SIGNAL, which no thread of
 * ours blocks and whose disposition is as before afterwards.
 */
#pragma once

#include <stddef.h>

/* More than the table of docs/ARCHITECTURE.md, and those of resolvers, come to. */
#define EVERY_THREAD_MAX 256

/**
 * Call @work(@ctx) once in each thread: in this one first, then in the others one after the other,
 * and in those that were begun meanwhile, until there is none left.
 *
 * @work  async-signal-safe; 0 or a negative errno, which ends the round
 * Blocks 5 s at most for each thread that doesn't answer. Not for two at a time.
 * Returns what @work() did, or -ENOMEM, -ETIMEDOUT, -EOVERFLOW (more than EVERY_THREAD_MAX), or
 * what reading /proc/self/task fails with.
 */
int every_thread(int (*work)(void *ctx), void *ctx);

/** The numbers of the threads there are; @ret has room for EVERY_THREAD_MAX. */
int every_thread_list(int ret[EVERY_THREAD_MAX], size_t *ret_n);
