/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <teelaunch/thread.h>

#define NAME_BYTES 16 /* pthread_setname_np(3) */

struct start {
	char name[NAME_BYTES];
	void *(*main)(void *);
	void *arg;
};

/* By the thread itself: another one's name is written to a file in /proc, which a confined launcher
 * may not. */
static void *named_main(void *arg)
{
	struct start s = *(struct start *)arg;

	free(arg);
	pthread_setname_np(pthread_self(), s.name);
	return s.main(s.arg);
}

int tl_thread_start(const char *name, void *(*main)(void *), void *arg, pthread_t *ret,
		    struct tl_error *err)
{
	struct start *s = malloc(sizeof(*s));
	sigset_t all, before;
	int e = ENOMEM;

	if (s) {
		*s = (struct start){ .main = main, .arg = arg };
		snprintf(s->name, sizeof(s->name), "%s", name);
		sigfillset(&all);
		sigdelset(&all, TL_THREAD_SIGNAL);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		e = pthread_create(ret, NULL, named_main, s);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (e == 0)
		return 0;
	free(s);
	return tl_fail_sys(err, TL_E_NO_MEMORY, e, "thread %s", name);
}
