/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>

#include <teelaunch/thread.h>

int tl_thread_start(const char *name, void *(*main)(void *), void *arg, pthread_t *ret,
		    struct tl_error *err)
{
	sigset_t all, before;
	int e;

	sigfillset(&all);
	sigdelset(&all, TL_THREAD_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(ret, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (e != 0)
		return tl_fail_sys(err, TL_E_NO_MEMORY, e, "thread %s", name);
	pthread_setname_np(*ret, name);
	return 0;
}
