/* SPDX-License-Identifier: Apache-2.0 */
#include "calls.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <teelaunch/cleanup.h>

/* As on a kernel that doesn't have the call. */
#define REFUSE SCMP_ACT_ERRNO(ENOSYS)

/* A call under one or two conditions: (argument & mask) == value, arguments counted from 1. */
struct call {
	int number;
	struct {
		unsigned int argument; /* 0: no second condition */
		uint64_t mask, value;
	} when[2];
};

#define INT(value) UINT32_MAX, (uint64_t)(value)
#define CALL_IF(name, ...)                                                                         \
	{                                                                                          \
		SCMP_SYS(name),                                                                    \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

/* What comes from clone(2)'s CLONE_NEW*: ours is a mount namespace, and by unshare(2). */
#define NAMESPACES                                                                                 \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |  \
		    CLONE_NEWPID | CLONE_NEWNET))
#define SOCK_TYPE_MASK 0xf /* linux/net.h; above it are flags */
/* ioctl(2): the kind of device is the second byte. */
#define IOCTL_KIND   0xff00
#define IOCTL_INPUT  0x4500
#define IOCTL_SOCKET 0x8900
#define IOCTL_DM     0xfd00
/* Of terminals: what isatty(3) and the exit unit's drain ask, not what puts words into them. */
#define TERMINAL_GET     0x5401 /* TCGETS */
#define TERMINAL_SIZE    0x5413 /* TIOCGWINSZ */
#define TERMINAL_QUEUED  0x5411 /* TIOCOUTQ */
#define TERMINAL_WAITING 0x541b /* FIONREAD */
#define TERMINAL_NOBLOCK 0x5421 /* FIONBIO */

/*
 * Everything that teelaunchd, glibc 2.36, libcurl and OpenSSL, tpm2-tss, libdevmapper, libnftables,
 * libmicrohttpd, libsystemd and jansson do in any path, with the older and newer forms that a C
 * library chooses from; and what a child needs to become teelaunch-unpack, whose own filter comes
 * on top. Harmless without capabilities, or about files, which Landlock is for.
 */
static const short permitted[] = {
	/* Files. */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
	SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev), SCMP_SYS(preadv2),
	SCMP_SYS(pwritev2), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(creat),
	SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(lseek), SCMP_SYS(stat), SCMP_SYS(lstat),
	SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs), SCMP_SYS(fstatfs),
	SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
	SCMP_SYS(readlinkat), SCMP_SYS(getdents), SCMP_SYS(getdents64), SCMP_SYS(getcwd),
	SCMP_SYS(chdir), SCMP_SYS(fchdir), SCMP_SYS(mkdir), SCMP_SYS(mkdirat), SCMP_SYS(rmdir),
	SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rename), SCMP_SYS(renameat),
	SCMP_SYS(renameat2), SCMP_SYS(link), SCMP_SYS(linkat), SCMP_SYS(symlink),
	SCMP_SYS(symlinkat), SCMP_SYS(mknod), SCMP_SYS(mknodat), SCMP_SYS(chmod), SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat), SCMP_SYS(chown), SCMP_SYS(fchown), SCMP_SYS(lchown), SCMP_SYS(fchownat),
	SCMP_SYS(utime), SCMP_SYS(utimes), SCMP_SYS(futimesat), SCMP_SYS(utimensat),
	SCMP_SYS(truncate), SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(fsync),
	SCMP_SYS(fdatasync), SCMP_SYS(sync_file_range), SCMP_SYS(syncfs), SCMP_SYS(fadvise64),
	SCMP_SYS(readahead), SCMP_SYS(flock), SCMP_SYS(umask), SCMP_SYS(copy_file_range),
	SCMP_SYS(sendfile), SCMP_SYS(splice), SCMP_SYS(tee), SCMP_SYS(dup), SCMP_SYS(dup2),
	SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(memfd_create),
	SCMP_SYS(getxattr), SCMP_SYS(lgetxattr), SCMP_SYS(fgetxattr), SCMP_SYS(listxattr),
	SCMP_SYS(llistxattr), SCMP_SYS(flistxattr), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr),
	SCMP_SYS(fsetxattr), SCMP_SYS(inotify_init1), SCMP_SYS(inotify_add_watch),
	SCMP_SYS(inotify_rm_watch),
	/* Sockets that are there. */
	SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt),
	SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg),
	SCMP_SYS(sendmmsg), SCMP_SYS(recvmmsg), SCMP_SYS(shutdown),
	/* Waits and clocks. */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6),
	SCMP_SYS(epoll_create), SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2), SCMP_SYS(eventfd), SCMP_SYS(eventfd2),
	SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
	SCMP_SYS(signalfd), SCMP_SYS(signalfd4), SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(pause), SCMP_SYS(alarm), SCMP_SYS(getitimer), SCMP_SYS(setitimer), SCMP_SYS(time),
	SCMP_SYS(gettimeofday), SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(times),
	SCMP_SYS(timer_create), SCMP_SYS(timer_settime), SCMP_SYS(timer_gettime),
	SCMP_SYS(timer_getoverrun), SCMP_SYS(timer_delete),
	/* Memory. */
	SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mincore),
	SCMP_SYS(msync), SCMP_SYS(mlock), SCMP_SYS(mlock2), SCMP_SYS(munlock), SCMP_SYS(membarrier),
	SCMP_SYS(getrandom),
	/* Threads, signals, the process itself. */
	SCMP_SYS(futex), SCMP_SYS(futex_waitv), SCMP_SYS(set_robust_list),
	SCMP_SYS(get_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address), SCMP_SYS(arch_prctl),
	SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getpgrp), SCMP_SYS(getpgid),
	SCMP_SYS(getsid), SCMP_SYS(setpgid), SCMP_SYS(setsid), SCMP_SYS(getuid), SCMP_SYS(geteuid),
	SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid), SCMP_SYS(getresgid),
	SCMP_SYS(getgroups), SCMP_SYS(capget), SCMP_SYS(capset), SCMP_SYS(prctl),
	SCMP_SYS(getrlimit), SCMP_SYS(setrlimit), SCMP_SYS(prlimit64), SCMP_SYS(getrusage),
	SCMP_SYS(sysinfo), SCMP_SYS(uname), SCMP_SYS(getcpu), SCMP_SYS(getpriority),
	SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_getparam),
	SCMP_SYS(sched_getscheduler), SCMP_SYS(sched_getattr), SCMP_SYS(sched_get_priority_max),
	SCMP_SYS(sched_get_priority_min), SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(wait4),
	SCMP_SYS(waitid), SCMP_SYS(kill), SCMP_SYS(tkill), SCMP_SYS(tgkill), SCMP_SYS(pidfd_open),
	SCMP_SYS(pidfd_send_signal), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigpending), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigsuspend), SCMP_SYS(rt_sigtimedwait),
	SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall), SCMP_SYS(seccomp),
	SCMP_SYS(landlock_create_ruleset), SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
	/* Until CONFINE_WORKLOAD: teelaunch-unpack, its views, an image's file system. */
	SCMP_SYS(execve), SCMP_SYS(chroot), SCMP_SYS(open_tree), SCMP_SYS(mount_setattr),
	SCMP_SYS(mount), SCMP_SYS(umount2),
#ifdef __SANITIZE_ADDRESS__
	SCMP_SYS(ptrace), /* its search for leaks, in a process that isn't a thread */
#endif
};

/*
 * clone3(2) is in neither table: its flags are in memory, where no filter sees them, and glibc
 * takes clone(2) where it has none.
 */
static const struct call permitted_if[] = {
	CALL_IF(clone, { 1, NAMESPACES, 0 }),
	CALL_IF(unshare, { 1, INT(CLONE_FS | CLONE_NEWNS) }),
	/* Memory is written or run: a library is mapped readable and executable at once. */
	CALL_IF(mmap, { 3, PROT_EXEC, 0 }),
	CALL_IF(mmap, { 3, PROT_EXEC | PROT_WRITE, PROT_EXEC }),
	CALL_IF(mprotect, { 3, PROT_EXEC, 0 }),
	CALL_IF(socket, { 1, INT(AF_UNIX) }),
	CALL_IF(socket, { 1, INT(AF_INET) }, { 2, SOCK_TYPE_MASK, SOCK_STREAM }),
	CALL_IF(socket, { 1, INT(AF_INET) }, { 2, SOCK_TYPE_MASK, SOCK_DGRAM }),
	CALL_IF(socket, { 1, INT(AF_INET6) }, { 2, SOCK_TYPE_MASK, SOCK_STREAM }),
	CALL_IF(socket, { 1, INT(AF_INET6) }, { 2, SOCK_TYPE_MASK, SOCK_DGRAM }),
	/* The resolver asks for the machine's addresses; the firewall's rules. */
	CALL_IF(socket, { 1, INT(AF_NETLINK) }, { 3, INT(NETLINK_ROUTE) }),
	CALL_IF(socket, { 1, INT(AF_NETLINK) }, { 3, INT(NETLINK_NETFILTER) }),
	CALL_IF(socketpair, { 1, INT(AF_UNIX) }),
	CALL_IF(ioctl, { 2, IOCTL_KIND, IOCTL_INPUT }),
	CALL_IF(ioctl, { 2, IOCTL_KIND, IOCTL_SOCKET }),
	CALL_IF(ioctl, { 2, IOCTL_KIND, IOCTL_DM }),
	CALL_IF(ioctl, { 2, INT(TERMINAL_GET) }),
	CALL_IF(ioctl, { 2, INT(TERMINAL_SIZE) }),
	CALL_IF(ioctl, { 2, INT(TERMINAL_QUEUED) }),
	CALL_IF(ioctl, { 2, INT(TERMINAL_WAITING) }),
	CALL_IF(ioctl, { 2, INT(TERMINAL_NOBLOCK) }),
};

/* Nothing that we link asks for these, whatever goes wrong. */
static const short hostile[] = {
#ifndef __SANITIZE_ADDRESS__
	SCMP_SYS(ptrace),
#endif
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(process_madvise),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(pivot_root),
	SCMP_SYS(setns),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(reboot),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(acct),
	SCMP_SYS(quotactl),
	SCMP_SYS(fsopen),
	SCMP_SYS(fspick),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(move_mount),
};

static const struct call hostile_if[] = {
	CALL_IF(socket, { 1, INT(AF_PACKET) }),
};

/* And from CONFINE_WORKLOAD on. */
static const short over[] = {
	SCMP_SYS(execve),    SCMP_SYS(execveat),      SCMP_SYS(fork),     SCMP_SYS(vfork),
	SCMP_SYS(unshare),   SCMP_SYS(chroot),        SCMP_SYS(mount),    SCMP_SYS(umount2),
	SCMP_SYS(open_tree), SCMP_SYS(mount_setattr), SCMP_SYS(setxattr), SCMP_SYS(lsetxattr),
	SCMP_SYS(fsetxattr),
};

static const struct call over_if[] = {
#ifndef __SANITIZE_ADDRESS__
	CALL_IF(clone, { 1, CLONE_THREAD, 0 }),
#endif
	CALL_IF(mknod, { 2, S_IFMT, S_IFCHR }),      CALL_IF(mknod, { 2, S_IFMT, S_IFBLK }),
	CALL_IF(mknodat, { 3, S_IFMT, S_IFCHR }),    CALL_IF(mknodat, { 3, S_IFMT, S_IFBLK }),
	CALL_IF(ioctl, { 2, IOCTL_KIND, IOCTL_DM }),
};

static int rule_add(scmp_filter_ctx filter, uint32_t action, const struct call *call)
{
	struct scmp_arg_cmp conditions[TL_ARRAY_SIZE(call->when)];
	unsigned int n = 0;

	for (size_t i = 0; i < TL_ARRAY_SIZE(call->when) && call->when[i].argument; i++)
		conditions[n++] = (struct scmp_arg_cmp){
			.arg = call->when[i].argument - 1,
			.op = SCMP_CMP_MASKED_EQ,
			.datum_a = call->when[i].mask,
			.datum_b = call->when[i].value,
		};
	return seccomp_rule_add_array(filter, action, call->number, n, conditions);
}

/* Calls without and with conditions. */
static int rules_add(scmp_filter_ctx filter, uint32_t action, const short *numbers, size_t n,
		     const struct call *calls, size_t calls_n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = seccomp_rule_add_array(filter, action, numbers[i], 0, NULL);
	for (size_t i = 0; r == 0 && i < calls_n; i++)
		r = rule_add(filter, action, &calls[i]);
	return r;
}

#define RULES_ADD(filter, action, table)                                                           \
	rules_add(filter, action, table, TL_ARRAY_SIZE(table), table##_if,                         \
		  TL_ARRAY_SIZE(table##_if))

/* Another architecture's calls, which have other numbers, end the process. TSYNC: all threads, or
 * -ECANCELED. As a tree: the filter runs at every call. */
static int attributes_set(scmp_filter_ctx filter)
{
	int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	return r == 0 ? seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2) : r;
}

int calls_permit(void)
{
	scmp_filter_ctx filter = seccomp_init(REFUSE);
	int r = filter ? attributes_set(filter) : -ENOMEM;

	if (r == 0)
		r = RULES_ADD(filter, SCMP_ACT_ALLOW, permitted);
	if (r == 0)
		r = RULES_ADD(filter, SCMP_ACT_KILL_PROCESS, hostile);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}

int calls_narrow(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int r = filter ? attributes_set(filter) : -ENOMEM;

	if (r == 0)
		r = RULES_ADD(filter, SCMP_ACT_KILL_PROCESS, over);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r;
}
