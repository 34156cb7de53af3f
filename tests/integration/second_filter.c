/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a launcher: of its filters of system calls the second one isn't taken by the
 * kernel. */
#include <dlfcn.h>
#include <errno.h>

int seccomp_load(void *filter)
{
	static int calls;
	int (*next)(void *) = (int (*)(void *))dlsym(RTLD_NEXT, "seccomp_load");

	return ++calls > 1 || !next ? -ECANCELED : next(filter);
}
