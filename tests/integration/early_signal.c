/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into a daemon: SIGHUP comes while its options are read, before anything serves. */
#include <dlfcn.h>
#include <getopt.h>
#include <signal.h>
#include <stddef.h>

typedef int (*getopt_long_fn)(int argc, char *const argv[], const char *shorts,
			      const struct option *longs, int *at);

int getopt_long(int argc, char *const argv[], const char *shorts, const struct option *longs,
		int *at)
{
	static getopt_long_fn next;

	if (!next) {
		next = (getopt_long_fn)dlsym(RTLD_NEXT, "getopt_long");
		(void)raise(SIGHUP);
	}
	return next(argc, argv, shorts, longs, at);
}
