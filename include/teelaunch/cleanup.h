/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scope-bound cleanup: a local declared with one of the auto_ attributes is released on every path
 * out of its scope. take_ptr() and take_fd() hand ownership over and disarm the attribute.
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define take_ptr(p)                                                                                \
	({                                                                                         \
		__typeof__(p) *_pp = &(p);                                                         \
		__typeof__(p) _p = *_pp;                                                           \
		*_pp = NULL;                                                                       \
		_p;                                                                                \
	})

#define take_fd(fd)                                                                                \
	({                                                                                         \
		int *_pfd = &(fd);                                                                 \
		int _fd = *_pfd;                                                                   \
		*_pfd = -1;                                                                        \
		_fd;                                                                               \
	})

#define TL_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline void tl_freep(void *p)
{
	free(*(void **)p);
}

/* Keeps errno, so that a failing function can still report it after its locals are gone. */
static inline void tl_closep(const int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
}

#define auto_free  __attribute__((cleanup(tl_freep)))
#define auto_close __attribute__((cleanup(tl_closep)))
