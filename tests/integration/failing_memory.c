/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a launcher, whose memory then runs out: of all allocations of the process, whoever
 * makes them, the one of number $FAIL_AT fails, and with $FAIL_ON=1 all after it. How many there
 * were is left in the file $FAIL_COUNT. At the program's end there is memory again
 * (main_end.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "main_end.h"

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static atomic_ulong count;
static unsigned long fail_at;
static bool fails_on;
static int
	count_fd; /* from the beginning: the launcher clears its environment, and confines itself */

__attribute__((constructor)) static void begin(void)
{
	const char *at = getenv("FAIL_AT"), *on = getenv("FAIL_ON");
	const char *path = getenv("FAIL_COUNT");

	count_fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	fails_on = on && *on == '1';
	count = 0;
	fail_at = 0;
	for (; at && *at >= '0' && *at <= '9'; at++)
		fail_at = fail_at * 10 + (unsigned long)(*at - '0');
}

/* _exit() goes past it, and so does a signal: then the file is empty. */
__attribute__((destructor)) static void end(void)
{
	fail_at = 0;
	if (count_fd >= 0)
		dprintf(count_fd, "%lu\n", count);
}

static void main_end(void)
{
	fail_at = 0;
}

static bool fails_now(void)
{
	unsigned long n = atomic_fetch_add(&count, 1) + 1;

	if (!fail_at || n < fail_at || (n > fail_at && !fails_on))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return fails_now() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails_now() ? NULL : __libc_realloc(p, n);
}
