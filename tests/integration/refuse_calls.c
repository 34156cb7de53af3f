/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse_calls CALL PROGRAM [ARGUMENT...]: run the program where that system call fails with
 * EOPNOTSUPP, as it may on a kernel that was built or started without what it is for.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter && argc > 2 ? 0 : -EINVAL;

	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EOPNOTSUPP),
				     seccomp_syscall_resolve_name(argv[1]), 0);
	if (r == 0)
		r = seccomp_load(filter);
	if (r == 0) {
		execv(argv[2], argv + 2);
		r = -errno;
	}
	fprintf(stderr, "refuse_calls: %s\n", strerror(-r));
	return 99;
}
