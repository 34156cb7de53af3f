/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <pthread.h>

#include <teelaunch/error.h>

/**
 * A named thread that takes no signals: they belong to the main thread, and a write to a closed
 * pipe is an error there, not the end of the process.
 */
int thread_start(const char *name, void *(*main)(void *), void *arg, pthread_t *ret,
		 struct tl_error *err);
