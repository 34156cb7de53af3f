/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the daemons. */
#pragma once

#include <pthread.h>
#include <signal.h>

#include <teelaunch/error.h>

/* For the process itself, to have each of its threads do something: nobody blocks it. */
#define TL_THREAD_SIGNAL SIGRTMIN

/**
 * A named thread that takes no signals but TL_THREAD_SIGNAL: they belong to the main thread, and a
 * write to a closed pipe is an error there, not the end of the process.
 *
 * @name  at most 15 bytes (pthread_setname_np(3))
 * TL_E_NO_MEMORY.
 */
int tl_thread_start(const char *name, void *(*main)(void *), void *arg, pthread_t *ret,
		    struct tl_error *err);
