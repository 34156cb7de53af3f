/* SPDX-License-Identifier: Apache-2.0 */
#include "every_thread.h"

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/str.h>
#include <teelaunch/thread.h>

#define ANSWER_MS 5000
#define LOOK_MS   20 /* whether a thread that doesn't answer is still there */

struct turn {
	int (*work)(void *ctx);
	void *ctx;
	atomic_int r;
	sem_t done;
};

/* The sender is this process, or it is somebody else's signal. */
static void on_signal(int number, siginfo_t *info, void *context)
{
	int errno_before = errno;

	(void)number;
	(void)context;
	if (info->si_code == SI_QUEUE && info->si_pid == getpid() && info->si_value.sival_ptr) {
		struct turn *t = info->si_value.sival_ptr;

		atomic_store(&t->r, t->work(t->ctx));
		sem_post(&t->done);
	}
	errno = errno_before;
}

int every_thread_list(int ret[EVERY_THREAD_MAX], size_t *ret_n)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *entry;
	size_t n = 0;
	int r = 1;

	if (!dir)
		return -errno;
	while (r > 0 && (r = tl_dir_next(dir, &entry)) > 0) {
		uint64_t tid;

		if (tl_str_parse_u64(entry->d_name, INT32_MAX, &tid) < 0)
			continue;
		if (n == EVERY_THREAD_MAX)
			r = -EOVERFLOW;
		else
			ret[n++] = (int)tid;
	}
	closedir(dir);
	*ret_n = n;
	return r;
}

static int signal_send(int tid, struct turn *t)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = TL_THREAD_SIGNAL;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = t;
	return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, TL_THREAD_SIGNAL, &info) < 0 ? -errno
											  : 0;
}

static bool is_gone(int tid)
{
	return syscall(SYS_tgkill, getpid(), tid, 0) < 0 && errno == ESRCH;
}

static bool is_answered(struct turn *t, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ms * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (sem_clockwait(&t->done, CLOCK_MONOTONIC, &until) < 0)
		if (errno != EINTR)
			return false;
	return true;
}

/* A thread that ends instead needs nothing any more. */
static int turn_of(int tid, struct turn *t)
{
	uint64_t end_ms = tl_clock_mono_ms() + ANSWER_MS;
	int r = signal_send(tid, t);

	if (r < 0)
		return r == -ESRCH ? 0 : r;
	while (!is_answered(t, LOOK_MS)) {
		if (is_gone(tid))
			return 0;
		if (tl_clock_mono_ms() >= end_ms)
			return -ETIMEDOUT;
	}
	return atomic_load(&t->r);
}

struct done {
	int tids[EVERY_THREAD_MAX];
	size_t n;
};

static bool is_done(const struct done *d, int tid)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->tids[i] == tid)
			return true;
	return false;
}

/* A thread that one not yet reached begins is in the next round. */
static int round_make(struct done *d, struct turn *t, bool *ret_is_last)
{
	int tids[EVERY_THREAD_MAX];
	size_t n = 0, before = d->n;
	int r = every_thread_list(tids, &n);

	for (size_t i = 0; r == 0 && i < n; i++) {
		if (is_done(d, tids[i]))
			continue;
		if (d->n == EVERY_THREAD_MAX)
			return -EOVERFLOW;
		d->tids[d->n++] = tids[i];
		r = turn_of(tids[i], t);
	}
	*ret_is_last = d->n == before;
	return r;
}

static int rounds_make(struct turn *t)
{
	struct done done = { .tids = { gettid() }, .n = 1 };
	bool is_last = false;
	int r = t->work(t->ctx);

	while (r == 0 && !is_last)
		r = round_make(&done, t, &is_last);
	return r;
}

int every_thread(int (*work)(void *ctx), void *ctx)
{
	struct sigaction before,
		action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct turn *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->work = work;
	t->ctx = ctx;
	sem_init(&t->done, 0, 0);
	sigfillset(&action.sa_mask);
	if (sigaction(TL_THREAD_SIGNAL, &action, &before) < 0) {
		free(t);
		return -errno;
	}
	r = rounds_make(t);
	sigaction(TL_THREAD_SIGNAL, &before, NULL);
	/* A thread that answers too late still finds it. */
	if (r != -ETIMEDOUT)
		free(t);
	return r;
}
