/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The confined launcher, from the view of somebody who has taken it over. Each try is a process of
 * its own, and made so that it would do no harm if it weren't stopped: by arguments that the kernel
 * itself refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/thread.h>

#include "launcher/confine/confine.h"

#define KILLED     1000 /* by SIGSYS; otherwise an errno, or 0 */
#define NOT_INSIDE 1001 /* the confinement itself failed */

/* Where files may be made; beside it, where they may not. */
static char folder[] = "/var/tmp/test-confine-XXXXXX";
static char inside[64], beside[64];

/* 0 or the errno. */
static int of(long r)
{
	return r < 0 ? errno : 0;
}

/* --- tries ------------------------------------------------------------------------------------ */

static int try_call(long number)
{
	return of(syscall(number, -1L, -1L, -1L, -1L, -1L, -1L));
}

static int try_program(void)
{
	char *const argv[] = { (char[]){ "/bin/true" }, NULL };

	return of(execve(argv[0], argv, NULL));
}

#ifndef __SANITIZE_ADDRESS__ /* whose search for leaks is a process */
static int try_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0)
		_exit(0);
	return of(pid);
}

static int try_namespace_of_a_process(void)
{
	return of(syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0));
}
#endif

static void *thread_main(void *arg)
{
	return arg;
}

static int try_thread(void)
{
	pthread_t thread;
	int e = pthread_create(&thread, NULL, thread_main, NULL);

	return e ? e : pthread_join(thread, NULL);
}

static int try_mapping(int protection)
{
	return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
		       ? errno
		       : 0;
}

static int try_written_and_run(void)
{
	return try_mapping(PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int try_made_to_run(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return of(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int try_library(void)
{
	return try_mapping(PROT_READ | PROT_EXEC);
}

static int try_packets(void)
{
	return of(socket(AF_PACKET, SOCK_RAW, 0));
}

static int try_raw(void)
{
	return of(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, 1));
}

static int try_vsock(void)
{
	return of(socket(AF_VSOCK, SOCK_STREAM, 0));
}

static int try_audit(void)
{
	return of(socket(AF_NETLINK, SOCK_RAW, 9));
}

static int try_tcp(void)
{
	return of(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 6));
}

static int try_words_for_a_terminal(void)
{
	return of(syscall(SYS_ioctl, -1, 0x5412 /* TIOCSTI */, "x"));
}

static int try_device_mapper(void)
{
	return of(syscall(SYS_ioctl, -1, 0xc138fd00, NULL));
}

static int try_device_file(void)
{
	return of(mknod(inside, S_IFCHR | 0600, 0));
}

static int try_users(void)
{
	return of(unshare(CLONE_NEWUSER));
}

static int try_mounts(void)
{
	return of(unshare(CLONE_FS | CLONE_NEWNS));
}

static int open_close(const char *path, int flags)
{
	auto_close int fd = open(path, flags | O_CLOEXEC, 0600);

	return of(fd);
}

static int try_file_inside(void)
{
	return open_close(inside, O_RDWR | O_CREAT);
}

static int try_file_beside(void)
{
	return open_close(beside, O_RDWR | O_CREAT);
}

static int try_reading_beside(void)
{
	return open_close(folder, O_RDONLY | O_DIRECTORY);
}

static int try_reading_etc(void)
{
	return open_close("/etc/passwd", O_RDONLY);
}

static int try_writing_etc(void)
{
	return open_close("/etc/passwd", O_WRONLY);
}

static int try_link(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s.link", inside);
	return of(symlink("/etc/shadow", path));
}

static int try_owner(void)
{
	int r = try_file_inside();

	return r ? r : of(chown(inside, 1, 1));
}

/* --- the machinery ---------------------------------------------------------------------------- */

struct job {
	enum confine_phase phase;
	int (*function)(void);
	long call;
	bool is_elsewhere; /* by a thread that was there before */
	atomic_bool may_go;
};

static int job_try(struct job *j)
{
	return j->function ? j->function() : try_call(j->call);
}

static int code_of(int r)
{
	return r == 0 ? 200
		      : r; /* an exit status has eight bits, and 0 would be a try's own exit */
}

static void *elsewhere_main(void *arg)
{
	struct job *j = arg;

	while (!atomic_load(&j->may_go))
		usleep(1000);
	_exit(code_of(job_try(j)));
}

static bool is_confined(const struct job *j, struct confinement *c)
{
	char own[80];
	const struct confine_place places[] = {
		{ .path = own, .is_writable = true, .is_required = true }
	};
	struct tl_error err = { 0 };
	pthread_t thread;

	snprintf(own, sizeof(own), "%s/own", folder);
	if (confine_launch(CONFINE_ON, c, &err) < 0)
		return false;
	if (j->is_elsewhere &&
	    tl_thread_start("elsewhere", elsewhere_main, (void *)(uintptr_t)j, &thread, &err) < 0)
		return false;
	return j->phase == CONFINE_LAUNCH || confine_workload(places, 1, c, &err) == 0;
}

static int in_child(struct job *j)
{
	struct confinement c = { 0 };

	if (!is_confined(j, &c))
		return 201;
	if (!j->is_elsewhere)
		return code_of(job_try(j));
	atomic_store(&j->may_go, true);
	for (;;)
		pause();
}

static int judge(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : NOT_INSIDE;
	switch (WEXITSTATUS(status)) {
	case 200:
	case 0: /* /bin/true */
		return 0;
	case 201:
		return NOT_INSIDE;
	default:
		return WEXITSTATUS(status);
	}
}

static int tried(struct job *j)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(in_child(j));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return judge(status);
}

/* --- what is stopped -------------------------------------------------------------------------- */

struct attempt {
	const char *what;
	int (*function)(void); /* NULL: the call */
	long call;
	int launch, workload; /* its end: KILLED, an errno, 0; ANY: the kernel's own word */
};
#define ANY (-1)
#define SAME(a, b)                                                                                 \
	{                                                                                          \
#a, NULL, SYS_##a, b, b                                                            \
	}
#define OVER(a)                                                                                    \
	{                                                                                          \
#a, NULL, SYS_##a, ANY, KILLED                                                     \
	}

/* These end it in both phases. (clang-format would give each a line of its own.) */
/* clang-format off */
static const short hostile[] = {
	SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise, SYS_pidfd_getfd,
	SYS_kcmp, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_init_module,
	SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_kexec_file_load, SYS_iopl,
	SYS_ioperm, SYS_modify_ldt, SYS_open_by_handle_at, SYS_setns, SYS_pivot_root,
	SYS_move_mount, SYS_fsopen, SYS_fspick, SYS_fsconfig, SYS_fsmount, SYS_swapon,
	SYS_swapoff, SYS_reboot, SYS_settimeofday, SYS_clock_settime, SYS_sethostname,
	SYS_setdomainname, SYS_acct, SYS_quotactl,
};
/* clang-format on */

static const struct attempt attempts[] = {
#ifndef __SANITIZE_ADDRESS__
	SAME(ptrace, KILLED),
	{ "a process", try_process, 0, 0, KILLED },
	{ "a process's network", try_namespace_of_a_process, 0, ENOSYS, KILLED },
#endif
	{ "packets", try_packets, 0, KILLED, KILLED },
	SAME(keyctl, ENOSYS),
	SAME(add_key, ENOSYS),
	SAME(io_uring_setup, ENOSYS),
	SAME(personality, ENOSYS),
	SAME(setuid, ENOSYS),
	SAME(clone3, ENOSYS),
	SAME(shmget, ENOSYS),
	{ "a raw socket", try_raw, 0, ENOSYS, ENOSYS },
	{ "the hypervisor's sockets", try_vsock, 0, ENOSYS, ENOSYS },
	{ "the audit log", try_audit, 0, ENOSYS, ENOSYS },
	{ "memory written and run", try_written_and_run, 0, ENOSYS, ENOSYS },
	{ "memory made to run", try_made_to_run, 0, ENOSYS, ENOSYS },
	{ "a terminal's input", try_words_for_a_terminal, 0, ENOSYS, ENOSYS },
	{ "a user namespace", try_users, 0, ENOSYS, KILLED },
	OVER(mount),
	OVER(umount2),
	OVER(chroot),
	OVER(open_tree),
	OVER(mount_setattr),
	OVER(fsetxattr),
	OVER(execveat),
	{ "a program", try_program, 0, 0, KILLED },
	{ "a mount namespace", try_mounts, 0, ANY, KILLED },
	{ "device-mapper", try_device_mapper, 0, EBADF, KILLED },
	{ "a device file", try_device_file, 0, ANY, KILLED },
	/* And what is needed to the end. */
	{ "a thread", try_thread, 0, 0, 0 },
	{ "a library", try_library, 0, 0, 0 },
	{ "a connection", try_tcp, 0, 0, 0 },
	{ "a file of ours", try_file_inside, 0, 0, 0 },
	{ "a file of the system", try_reading_etc, 0, 0, 0 },
};

static void is_stopped(enum confine_phase phase, bool is_elsewhere)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(attempts); i++) {
		const struct attempt *a = &attempts[i];
		struct job j = { .phase = phase,
				 .function = a->function,
				 .call = a->call,
				 .is_elsewhere = is_elsewhere };
		int wanted = phase == CONFINE_LAUNCH ? a->launch : a->workload;
		int got = tried(&j);

		unlink(inside);
		if (wanted == ANY ? got == KILLED || got == NOT_INSIDE : got != wanted)
			fail_msg("%s in phase %s: %d, not %d", a->what, confine_phase_name(phase),
				 got, wanted);
	}
	for (size_t i = 0; i < TL_ARRAY_SIZE(hostile); i++) {
		struct job j = { .phase = phase, .call = hostile[i], .is_elsewhere = is_elsewhere };

		if (tried(&j) != KILLED)
			fail_msg("system call %d in phase %s", hostile[i],
				 confine_phase_name(phase));
	}
}

static void test_s43_what_only_an_attacker_asks_for_kills(void **state)
{
	(void)state;
	is_stopped(CONFINE_LAUNCH, false);
}

static void test_s43_beside_a_workload_there_is_no_program_process_or_mount(void **state)
{
	(void)state;
	is_stopped(CONFINE_WORKLOAD, false);
}

static void test_s43_a_thread_that_was_there_before_is_confined_as_well(void **state)
{
	(void)state;
	is_stopped(CONFINE_WORKLOAD, true);
}

/* --- files ------------------------------------------------------------------------------------ */

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
}

static const struct {
	const char *what;
	int (*function)(void);
	int with_landlock; /* -1: the same without */
} files[] = {
	{ "a file elsewhere", try_file_beside, EACCES },
	{ "a folder elsewhere", try_reading_beside, EACCES },
	{ "the system's own file", try_writing_etc, EACCES },
	{ "a link", try_link, EACCES },
	{ "another owner", try_owner, EPERM }, /* by its capability */
};

static void test_s43_files_elsewhere_are_out_of_reach_of_every_thread(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * TL_ARRAY_SIZE(files); i++) {
		struct job j = { .phase = CONFINE_WORKLOAD,
				 .function = files[i / 2].function,
				 .is_elsewhere = i % 2 };
		int got = tried(&j);

		unlink(inside);
		unlink(beside);
		if (got != files[i / 2].with_landlock &&
		    (files[i / 2].with_landlock != EACCES || has_landlock()))
			fail_msg("%s: %d", files[i / 2].what, got);
	}
}

/* --- what it says of itself ------------------------------------------------------------------- */

static int exit_if(bool is_wrong, int code)
{
	return is_wrong ? code : 0;
}

static bool is_same(const struct confinement *a, const struct confinement *b)
{
	return a->mode == b->mode && a->phase == b->phase &&
	       a->capabilities_before == b->capabilities_before &&
	       a->capabilities == b->capabilities && a->landlock_abi == b->landlock_abi &&
	       a->threads == b->threads;
}

/* In a child: where the line of the source is that found something wrong; 0: none did. */
static int says_what_is_in_force(void)
{
	const struct confine_place none[] = { { .path = "/nonexistent", .is_required = true } };
	struct confinement c, before;
	struct tl_error err = { 0 };
	int r = confine_launch(CONFINE_ON, &c, &err);

	if (r < 0 || c.phase != CONFINE_LAUNCH || c.threads != 1 || c.landlock_abi != 0)
		return 1;
	if (c.capabilities & ~c.capabilities_before || c.capabilities >> CAP_SYS_MODULE & 1)
		return 2;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 2)
		return 3;
	before = c;
	r = has_landlock() ? confine_workload(none, 1, &c, &err) : -ENOENT;
	if (r != -ENOENT || !is_same(&before, &c))
		return 4;
	if (has_landlock() && (err.code != TL_E_CONFINE || !strstr(err.msg, "/nonexistent")))
		return 5;
	r = confine_workload(NULL, 0, &c, &err);
	if (r < 0 || c.phase != CONFINE_WORKLOAD || c.threads != 1)
		return 6;
	if (c.capabilities & ~before.capabilities || c.capabilities >> CAP_SYS_ADMIN & 1 ||
	    c.capabilities >> CAP_SETPCAP & 1)
		return 7;
	return exit_if(has_landlock() ? c.landlock_abi < 1 : c.landlock_abi != 0, 8);
}

static int strict_needs_landlock(void)
{
	struct confinement c;
	struct tl_error err = { 0 };
	int r = confine_launch(CONFINE_STRICT, &c, &err);

	if (r == 0)
		r = confine_workload(NULL, 0, &c, &err);
	if (has_landlock())
		return exit_if(r < 0 || c.phase != CONFINE_WORKLOAD, 1);
	return exit_if(r == 0 || err.code != TL_E_CONFINE || c.phase != CONFINE_LAUNCH, 2);
}

static int off_is_off(void)
{
	struct confinement c;
	struct tl_error err = { 0 };

	if (confine_launch(CONFINE_OFF, &c, &err) < 0 || c.phase != CONFINE_NONE)
		return 1;
	if (confine_workload(NULL, 0, &c, &err) < 0 || c.phase != CONFINE_NONE)
		return 2;
	return exit_if(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0 ||
			       c.capabilities != c.capabilities_before,
		       3);
}

static void in_child_all_is_well(int (*function)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(function());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_is_in_force_is_read_back(void **state)
{
	(void)state;
	in_child_all_is_well(says_what_is_in_force);
}

static void strict_is_not_without_landlock(void **state)
{
	(void)state;
	in_child_all_is_well(strict_needs_landlock);
}

static void off_changes_nothing(void **state)
{
	(void)state;
	in_child_all_is_well(off_is_off);
}

static void modes_have_names(void **state)
{
	(void)state;
	for (int i = CONFINE_OFF; i <= CONFINE_STRICT; i++)
		assert_int_equal(confine_mode_of(confine_mode_name((enum confine_mode)i)), i);
	assert_int_equal(confine_mode_of("anything"), CONFINE_ON);
}

static int folders_make(void **state)
{
	char own[80];

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(own, sizeof(own), "%s/own", folder);
	snprintf(inside, sizeof(inside), "%s/own/file", folder);
	snprintf(beside, sizeof(beside), "%s/file", folder);
	return mkdir(own, 0700);
}

static int folders_remove(void **state)
{
	char own[80], link[80];

	(void)state;
	snprintf(own, sizeof(own), "%s/own", folder);
	snprintf(link, sizeof(link), "%s.link", inside);
	unlink(link);
	rmdir(own);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_s43_what_only_an_attacker_asks_for_kills),
		cmocka_unit_test(test_s43_beside_a_workload_there_is_no_program_process_or_mount),
		cmocka_unit_test(test_s43_a_thread_that_was_there_before_is_confined_as_well),
		cmocka_unit_test(test_s43_files_elsewhere_are_out_of_reach_of_every_thread),
		cmocka_unit_test(what_is_in_force_is_read_back),
		cmocka_unit_test(strict_is_not_without_landlock),
		cmocka_unit_test(off_changes_nothing),
		cmocka_unit_test(modes_have_names),
	};

	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 }); /* SIGSYS would leave one */
	return cmocka_run_group_tests(tests, folders_make, folders_remove);
}
