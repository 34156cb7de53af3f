/* SPDX-License-Identifier: Apache-2.0 */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>

#include "tree.h"
#include "view.h"

/* The directories of the tree, those of the lower layers, our own, and some for a moment. */
#define FDS_MAX (TL_TREE_DEPTH_MAX + TL_UNPACK_LOWER_MAX + TL_UNPACK_CONTROL_FD + 16)

/*
 * What files of any owner and kind take. CAP_SYS_ADMIN is the kernel's condition for writing
 * trusted.overlay.opaque, and attributes named security.* but the capability's; what else it allows
 * is not in the table of calls below. No CAP_SYS_CHROOT: it got us here, and could get us out.
 */
static const unsigned int capabilities[] = {
	CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETFCAP, CAP_MKNOD, CAP_SYS_ADMIN,
};

/* One permitted call; where an argument is named, only with (argument & mask) == value. */
struct call {
	int number;
	int argument; /* from 1; 0: any arguments */
	uint64_t mask;
	uint64_t value;
};

#define ANY_ARGUMENTS       0, 0, 0
#define IS(argument, value) argument, UINT64_MAX, (uint64_t)(value)
#define CALL(name, ...)                                                                            \
	{                                                                                          \
		SCMP_SYS(name), __VA_ARGS__                                                        \
	}

static const struct call calls[] = {
	/* The layer, and the control socket. */
	CALL(read, IS(1, STDIN_FILENO)), CALL(recvmsg, IS(1, TL_UNPACK_CONTROL_FD)),
	CALL(sendto, IS(1, TL_UNPACK_CONTROL_FD)),
	/* Files. */
	CALL(openat, ANY_ARGUMENTS), CALL(openat2, ANY_ARGUMENTS), CALL(write, ANY_ARGUMENTS),
	CALL(close, ANY_ARGUMENTS), CALL(fstat, ANY_ARGUMENTS), CALL(newfstatat, ANY_ARGUMENTS),
	CALL(mkdirat, ANY_ARGUMENTS), CALL(mknodat, 3, S_IFMT, S_IFCHR),
	CALL(mknodat, 3, S_IFMT, S_IFBLK), CALL(mknodat, 3, S_IFMT, S_IFIFO),
	CALL(symlinkat, ANY_ARGUMENTS), CALL(readlinkat, ANY_ARGUMENTS), CALL(linkat, IS(5, 0)),
	CALL(unlinkat, IS(3, 0)), CALL(fchown, ANY_ARGUMENTS), CALL(fchownat, ANY_ARGUMENTS),
	CALL(fchmod, ANY_ARGUMENTS), CALL(fchmodat, ANY_ARGUMENTS), CALL(utimensat, ANY_ARGUMENTS),
	CALL(fsetxattr, ANY_ARGUMENTS), CALL(lsetxattr, ANY_ARGUMENTS),
	CALL(fgetxattr, ANY_ARGUMENTS), CALL(flistxattr, ANY_ARGUMENTS),
	CALL(fchdir, ANY_ARGUMENTS), CALL(fcntl, IS(2, F_DUPFD_CLOEXEC)),
	/* Memory, never executable, and the end. */
	CALL(brk, ANY_ARGUMENTS), CALL(mmap, 3, PROT_EXEC, 0), CALL(mremap, ANY_ARGUMENTS),
	CALL(munmap, ANY_ARGUMENTS), CALL(madvise, ANY_ARGUMENTS),
	CALL(restart_syscall, ANY_ARGUMENTS), CALL(exit_group, ANY_ARGUMENTS),
#ifdef __SANITIZE_ADDRESS__
	CALL(sigaltstack, ANY_ARGUMENTS), /* its runtime's, before _exit() */
#endif
};

static int fail(struct tl_unpack_fault *fault, int errnum, const char *what)
{
	return tl_unpack_fail(fault, TL_UNPACK_IO, errnum, "can't confine myself: %s", what);
}

static int enter_root(int target, int *ret_root, struct tl_unpack_fault *fault)
{
	int view = tl_view_open(target, false);
	int root;

	if (view < 0)
		return fail(fault, -view, "a mount of the target");
	if (fchdir(view) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return fail(fault, errno, "chroot");
	if (close_range(TL_UNPACK_CONTROL_FD + 1, ~0U, 0) < 0)
		return fail(fault, errno, "close_range");
	root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail(fault, errno, "open /");
	*ret_root = root;
	return 0;
}

static int set_limits(uint64_t max_file_bytes, struct tl_unpack_fault *fault)
{
	const struct {
		__rlimit_resource_t resource;
		rlim_t value;
	} limits[] = {
		{ RLIMIT_CORE, 0 },
		{ RLIMIT_NPROC, 0 },
		{ RLIMIT_MEMLOCK, 0 },
		{ RLIMIT_NOFILE, FDS_MAX },
		{ RLIMIT_FSIZE, max_file_bytes ? max_file_bytes : RLIM_INFINITY },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(limits); i++) {
		struct rlimit limit;

		if (getrlimit(limits[i].resource, &limit) < 0)
			return fail(fault, errno, "getrlimit");
		/* Lower than was set: never more than that. */
		if (limits[i].value < limit.rlim_max)
			limit.rlim_max = limits[i].value;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(limits[i].resource, &limit) < 0)
			return fail(fault, errno, "setrlimit");
	}
	/* EFBIG instead of the end. */
	if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
		return fail(fault, errno, "signal");
	return 0;
}

/* Without the bounding set, which counts at execve() only: there is none. */
static int drop_capabilities(struct tl_unpack_fault *fault)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	uint32_t keep[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &head, data) < 0)
		return fail(fault, errno, "capget");
	for (size_t i = 0; i < TL_ARRAY_SIZE(capabilities); i++)
		keep[CAP_TO_INDEX(capabilities[i])] |= CAP_TO_MASK(capabilities[i]);
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= keep[i];
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0; /* and with it the ambient ones */
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return fail(fault, errno, "capset");
	return 0;
}

static int allow(scmp_filter_ctx filter, const struct call *call)
{
	struct scmp_arg_cmp condition;

	if (call->argument == 0)
		return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call->number, 0, NULL);
	condition = (struct scmp_arg_cmp){
		.arg = (unsigned int)call->argument - 1,
		.op = SCMP_CMP_MASKED_EQ,
		.datum_a = call->mask,
		.datum_b = call->value,
	};
	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call->number, 1, &condition);
}

/* Of this architecture only: another one's calls have other numbers. */
static int filter_calls(struct tl_unpack_fault *fault)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r;

	if (!filter)
		return fail(fault, ENOMEM, "seccomp");
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; r == 0 && i < TL_ARRAY_SIZE(calls); i++)
		r = allow(filter, &calls[i]);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r < 0 ? fail(fault, -r, "seccomp") : 0;
}

int tl_room_enter(int target, uint64_t max_file_bytes, int *ret_root, struct tl_unpack_fault *fault)
{
	auto_close int root = -1;
	int r = enter_root(target, &root, fault);

	if (r < 0)
		return r;
	umask(0);
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(fault, errno, "prctl");
	r = set_limits(max_file_bytes, fault);
	if (r < 0)
		return r;
	r = drop_capabilities(fault);
	if (r < 0)
		return r;
	r = filter_calls(fault);
	if (r < 0)
		return r;
	*ret_root = take_fd(root);
	return 0;
}
