/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into teelaunchd by tests/world: a system call that launcher/confine/calls.c forgot,
 * which otherwise fails with ENOSYS and may not be noticed, ends the launcher, and its name is
 * told. So each launch of each test is a test of that table. clone3(2) alone is left out on purpose
 * there.
 */
#include <dlfcn.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void on_forgotten(int number, siginfo_t *info, void *context)
{
	char text[128];
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, info->si_syscall);
	int n = snprintf(text, sizeof(text), "strict_calls: %s (%d) isn't permitted, or not so\n",
			 name ? name : "?", info->si_syscall);

	(void)context;
	if (n > 0)
		(void)!write(STDERR_FILENO, text, (size_t)n);
	free(name);
	signal(number, SIG_DFL);
	raise(number);
}

scmp_filter_ctx seccomp_init(uint32_t def_action)
{
	scmp_filter_ctx (*next)(uint32_t) =
		(scmp_filter_ctx(*)(uint32_t))dlsym(RTLD_NEXT, "seccomp_init");
	struct sigaction action = { .sa_sigaction = on_forgotten, .sa_flags = SA_SIGINFO };
	scmp_filter_ctx filter;

	if (!next)
		abort();
	if (def_action != SCMP_ACT_ERRNO(ENOSYS))
		return next(def_action);
	filter = next(SCMP_ACT_TRAP);
	if (!filter || sigaction(SIGSYS, &action, NULL) < 0 ||
	    seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) < 0)
		abort();
	return filter;
}
