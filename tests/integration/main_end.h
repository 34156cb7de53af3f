/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For a library that is preloaded into a program to disturb it: when to leave it alone. Behind
 * main() and all that the program gave to atexit() come destructors; one of them is gcov's, which
 * writes the counters of builds that have them, and which dies without memory.
 *
 * Define main_end(); include this once.
 */
#pragma once

#include <dlfcn.h>
#include <stdlib.h>

static void main_end(void);

typedef int main_function(int argc, char **argv, char **envp);
static main_function *main_real;

/* Only here: what a constructor gives to atexit() runs after the destructors of the program. */
static int main_with_end(int argc, char **argv, char **envp)
{
	if (atexit(main_end) != 0)
		abort();
	return main_real(argc, argv, envp);
}

/* glibc's, in front of it; it calls main() and never returns. */
int __libc_start_main(main_function *function, int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);
int __libc_start_main(main_function *function, int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	__typeof__(__libc_start_main) *next = NULL;

	*(void **)&next = dlsym(RTLD_NEXT, "__libc_start_main");
	if (!next)
		abort();
	main_real = function;
	return next(main_with_end, argc, argv, init, fini, rtld_fini, stack_end);
}
