/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each step of the confinement fails once, by the linker's --wrap: it says so, and never that the
 * process is confined. What a thread is confined by is the kernel's business (test_confine.c).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <seccomp.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/thread.h>

#include "launcher/confine/confine.h"

#ifdef TL_COUNTERS
void __gcov_dump(void); /* gcc's libgcov: before an end that writes no counters */
#endif

/* --- what fails ------------------------------------------------------------------------------- */

static struct {
	const char *name; /* of the function */
	long call;        /* of syscall(2); 0: any that is looked at */
	int at, error;    /* the at-th one; 0: none */
	int seen;
	bool is_hit, is_each; /* that one and all behind it */
} fault;

static char own[] = "/var/tmp/test-faults-XXXXXX";

static bool fails_now(const char *name)
{
	if (!fault.at || strcmp(name, fault.name) != 0 || ++fault.seen < fault.at)
		return false;
	if (fault.seen > fault.at && !fault.is_each)
		return false;
	fault.is_hit = true;
	errno = fault.error;
	return true;
}

int __real_prctl(int option, ...);
int __wrap_prctl(int option, ...);
int __wrap_prctl(int option, ...)
{
	unsigned long a[4];
	va_list ap;

	va_start(ap, option);
	for (size_t i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	/* Its failure is how the last capability is found. */
	if (option != PR_CAPBSET_READ && fails_now("prctl"))
		return -1;
	return __real_prctl(option, a[0], a[1], a[2], a[3]);
}

static bool is_looked_at(long number)
{
	switch (number) {
	case SYS_capget:
	case SYS_capset:
	case SYS_landlock_create_ruleset:
	case SYS_landlock_add_rule:
	case SYS_landlock_restrict_self:
	case SYS_rt_tgsigqueueinfo:
		return fault.call == 0 || fault.call == number;
	default:
		return false;
	}
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (is_looked_at(number) && fails_now("syscall"))
		return -1;
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
	/* Places that need not be there are none of this. */
	if (strcmp(path, own) == 0 && fails_now("open"))
		return -1;
	return __real_open(path, flags, 0600);
}

int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st)
{
	return fails_now("fstat") ? -1 : __real_fstat(fd, st);
}

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now("calloc") ? NULL : __real_calloc(n, size);
}

DIR *__real_opendir(const char *path);
DIR *__wrap_opendir(const char *path);
DIR *__wrap_opendir(const char *path)
{
	return fails_now("opendir") ? NULL : __real_opendir(path);
}

struct dirent *__real_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir);
struct dirent *__wrap_readdir(DIR *dir)
{
	return fails_now("readdir") ? NULL : __real_readdir(dir);
}

int __real_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before);
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
	/* Putting back what was there before changes nothing of the confinement. */
	if (before && fails_now("sigaction"))
		return -1;
	return __real_sigaction(number, action, before);
}

int __real_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until);
int __wrap_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until);
int __wrap_sem_clockwait(sem_t *sem, clockid_t clock, const struct timespec *until)
{
	return fails_now("sem_clockwait") ? -1 : __real_sem_clockwait(sem, clock, until);
}

int __real_tl_file_read(const char *path, struct tl_buf *ret, struct tl_error *err);
int __wrap_tl_file_read(const char *path, struct tl_buf *ret, struct tl_error *err);
int __wrap_tl_file_read(const char *path, struct tl_buf *ret, struct tl_error *err)
{
	return fails_now("tl_file_read") ? tl_fail_sys(err, TL_E_IO, EIO, "read '%s'", path)
					 : __real_tl_file_read(path, ret, err);
}

scmp_filter_ctx __real_seccomp_init(uint32_t action);
scmp_filter_ctx __wrap_seccomp_init(uint32_t action);
scmp_filter_ctx __wrap_seccomp_init(uint32_t action)
{
	return fails_now("seccomp_init") ? NULL : __real_seccomp_init(action);
}

int __real_seccomp_attr_set(scmp_filter_ctx filter, enum scmp_filter_attr which, uint32_t value);
int __wrap_seccomp_attr_set(scmp_filter_ctx filter, enum scmp_filter_attr which, uint32_t value);
int __wrap_seccomp_attr_set(scmp_filter_ctx filter, enum scmp_filter_attr which, uint32_t value)
{
	return fails_now("seccomp_attr_set") ? -fault.error
					     : __real_seccomp_attr_set(filter, which, value);
}

int __real_seccomp_rule_add_array(scmp_filter_ctx filter, uint32_t action, int call, unsigned int n,
				  const struct scmp_arg_cmp *when);
int __wrap_seccomp_rule_add_array(scmp_filter_ctx filter, uint32_t action, int call, unsigned int n,
				  const struct scmp_arg_cmp *when);
int __wrap_seccomp_rule_add_array(scmp_filter_ctx filter, uint32_t action, int call, unsigned int n,
				  const struct scmp_arg_cmp *when)
{
	return fails_now("seccomp_rule_add_array")
		       ? -fault.error
		       : __real_seccomp_rule_add_array(filter, action, call, n, when);
}

int __real_seccomp_load(scmp_filter_ctx filter);
int __wrap_seccomp_load(scmp_filter_ctx filter);
int __wrap_seccomp_load(scmp_filter_ctx filter)
{
	return fails_now("seccomp_load") ? -fault.error : __real_seccomp_load(filter);
}

/* --- a process that confines itself ----------------------------------------------------------- */

enum end {
	END_CONFINED,
	END_NOT_REACHED, /* and confined */
	END_TOLD_AT_LAUNCH,
	END_TOLD_AT_WORKLOAD,
	END_WRONG, /* an error of another code, or one with a phase that it hasn't */
	ENDS,
};

static void *sleeper_main(void *arg)
{
	for (;;)
		usleep(1000);
	return arg;
}

static bool has_landlock(void)
{
	return __real_syscall(SYS_landlock_create_ruleset, 0L, 0L, 1L) > 0;
}

static bool is_told(const struct tl_error *err)
{
	return err->code == (fault.error == ENOMEM ? TL_E_NO_MEMORY : TL_E_CONFINE) ||
	       (fault.error == ENOMEM && err->code == TL_E_CONFINE);
}

static bool is_same(const struct confinement *a, const struct confinement *b)
{
	return a->mode == b->mode && a->phase == b->phase && a->capabilities == b->capabilities &&
	       a->capabilities_before == b->capabilities_before &&
	       a->landlock_abi == b->landlock_abi && a->threads == b->threads;
}

static enum end run(void)
{
	const struct confine_place places[] = {
		{ .path = own, .is_writable = true, .is_required = true }
	};
	struct confinement c = { .phase = CONFINE_WORKLOAD }, before;
	struct tl_error err = { 0 };
	pthread_t thread;

	if (confine_launch(has_landlock() ? CONFINE_STRICT : CONFINE_ON, &c, &err) < 0)
		return is_told(&err) && c.phase == CONFINE_NONE ? END_TOLD_AT_LAUNCH : END_WRONG;
	if (c.phase != CONFINE_LAUNCH ||
	    tl_thread_start("sleeper", sleeper_main, NULL, &thread, &err) < 0)
		return END_WRONG;
	before = c;
	if (confine_workload(places, TL_ARRAY_SIZE(places), &c, &err) < 0)
		return is_told(&err) && is_same(&c, &before) ? END_TOLD_AT_WORKLOAD : END_WRONG;
	if (c.phase != CONFINE_WORKLOAD)
		return END_WRONG;
	return fault.is_hit ? END_CONFINED : END_NOT_REACHED;
}

static enum end end_of(const char *name, long call, int at, int error)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		enum end end;

		fault.name = name;
		fault.call = call;
		fault.at = at;
		fault.error = error;
		end = run();
		fault.at = 0;
#ifdef TL_COUNTERS
		__gcov_dump();
#endif
		_exit((int)end);
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) && WEXITSTATUS(status) < ENDS ? (enum end)WEXITSTATUS(status)
							       : END_WRONG;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void without_a_fault_it_is_confined(void **state)
{
	(void)state;
	assert_int_equal(end_of("none", 0, 1, EPERM), END_NOT_REACHED);
}

/* The n-th for each n; where there are hundreds of the same, ever fewer of them. */
static void test_s43_no_step_that_fails_leaves_it_confined_in_name_only(void **state)
{
	static const struct {
		const char *name;
		long call;
		int error;
		bool is_launch, is_workload; /* whether it is a step of each */
		bool is_landlock;
	} rows[] = {
		{ "prctl", 0, EPERM, true, true, false },
		{ "syscall", SYS_capget, EFAULT, true, true, false },
		{ "syscall", SYS_capset, EPERM, true, true, false },
		{ "syscall", SYS_landlock_create_ruleset, ENOSYS, false, true, true },
		{ "syscall", SYS_landlock_add_rule, ENOMEM, false, true, true },
		{ "syscall", SYS_landlock_restrict_self, E2BIG, false, true, true },
		{ "syscall", SYS_rt_tgsigqueueinfo, EAGAIN, false, true, false },
		/* As if the thread had ended: it hasn't, and what is read back shows it. */
		{ "syscall", SYS_rt_tgsigqueueinfo, ESRCH, false, true, false },
		{ "open", 0, EMFILE, false, true, true },
		{ "fstat", 0, EOVERFLOW, false, true, true },
		{ "calloc", 0, ENOMEM, false, true, false },
		{ "opendir", 0, EMFILE, true, true, false },
		{ "readdir", 0, ENOENT, true, true, false },
		{ "sigaction", 0, EINVAL, false, true, false },
		{ "tl_file_read", 0, EIO, true, true, false },
		{ "seccomp_init", 0, ENOMEM, true, true, false },
		{ "seccomp_attr_set", 0, EINVAL, true, true, false },
		{ "seccomp_rule_add_array", 0, EFAULT, true, true, false },
		{ "seccomp_load", 0, ECANCELED, true, true, false },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		int ends[ENDS] = { 0 };
		enum end end;

		if (rows[i].is_landlock && !has_landlock())
			continue;
		for (int at = 1;; at += at < 8 ? 1 : at / 4) {
			end = end_of(rows[i].name, rows[i].call, at, rows[i].error);
			if (end == END_WRONG || end == END_CONFINED)
				fail_msg("%s %ld, the %d. time, %s: %d", rows[i].name, rows[i].call,
					 at, strerror(rows[i].error), (int)end);
			ends[end]++;
			if (end == END_NOT_REACHED)
				break;
		}
		if (!!ends[END_TOLD_AT_LAUNCH] != rows[i].is_launch ||
		    !!ends[END_TOLD_AT_WORKLOAD] != rows[i].is_workload)
			fail_msg("%s %ld: %d times at launch, %d times at the workload",
				 rows[i].name, rows[i].call, ends[END_TOLD_AT_LAUNCH],
				 ends[END_TOLD_AT_WORKLOAD]);
	}
}

static void a_wait_that_is_interrupted_goes_on(void **state)
{
	(void)state;
	assert_int_equal(end_of("sem_clockwait", 0, 1, EINTR), END_CONFINED);
	assert_int_equal(end_of("sem_clockwait", 0, 1, ETIMEDOUT), END_CONFINED);
}

static void a_thread_that_never_answers_is_told(void **state)
{
	uint64_t began_ms = tl_clock_mono_ms();

	(void)state;
	fault.is_each = true;
	assert_int_equal(end_of("sem_clockwait", 0, 1, ETIMEDOUT), END_TOLD_AT_WORKLOAD);
	fault.is_each = false;
	assert_true(tl_clock_mono_ms() - began_ms >= 4000);
}

static int own_make(void **state)
{
	(void)state;
	return mkdtemp(own) ? 0 : -1;
}

static int own_remove(void **state)
{
	(void)state;
	return rmdir(own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_fault_it_is_confined),
		cmocka_unit_test(test_s43_no_step_that_fails_leaves_it_confined_in_name_only),
		cmocka_unit_test(a_wait_that_is_interrupted_goes_on),
		cmocka_unit_test(a_thread_that_never_answers_is_told),
	};

	return cmocka_run_group_tests(tests, own_make, own_remove);
}
