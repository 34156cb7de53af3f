/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of decision lines: many threads write, SIGHUP changes it. A line that could be written
 * in part only (no space left, a limit) must not spoil the next one: that begins on a line of its
 * own, so a reader loses one line, and the log says which.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include <teelaunch/error.h>

struct decisions {
	pthread_mutex_t lock;
	int fd;       /* -1: nowhere */
	bool is_torn; /* it ends in a part of a line */
};
#define DECISIONS_NOWHERE                                                                          \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1                                        \
	}
void decisions_done(struct decisions *d);

/**
 * Open a file for appending, which is made if it isn't there; "-" is standard output.
 * @ret  owned by the caller
 * -errno with TL_E_IO.
 */
int decisions_open(const char *path, int *ret, struct tl_error *err);

/** Write there from now on. @consume_fd: of decisions_open(). */
void decisions_use(struct decisions *d, int consume_fd);

/**
 * @line  with its end; NULL: there was no memory for it
 * Returns 0, also when lines go nowhere; or -errno with TL_E_IO or _NO_MEMORY: the line is lost.
 */
int decisions_write(struct decisions *d, const char *line, struct tl_error *err);
