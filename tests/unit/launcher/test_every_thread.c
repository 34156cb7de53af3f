/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching each thread of a process, while threads come and go. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/thread.h>

#include "launcher/confine/every_thread.h"

#define THREADS 20

struct crowd {
	atomic_int visited, breeding;
	atomic_bool may_end;
	int fail_after; /* 0: never */
};

static _Thread_local int visits;

static int visit(void *arg)
{
	struct crowd *c = arg;

	visits++;
	return atomic_fetch_add(&c->visited, 1) + 1 == c->fail_after ? -EBADE : 0;
}

static void *crowd_main(void *arg)
{
	struct crowd *c = arg;

	while (!atomic_load(&c->may_end))
		usleep(500);
	return (void *)(uintptr_t)visits;
}

static void *brood_main(void *arg)
{
	return arg;
}

/* Ends and begins threads all the time. */
static void *breeder_main(void *arg)
{
	struct crowd *c = arg;
	struct tl_error err = { 0 };

	while (atomic_load(&c->breeding)) {
		pthread_t thread;

		if (tl_thread_start("brood", brood_main, NULL, &thread, &err) == 0)
			pthread_join(thread, NULL);
	}
	return NULL;
}

static void each_thread_is_visited_once(void **state)
{
	struct crowd c = { 0 };
	pthread_t threads[THREADS], breeder;
	struct tl_error err = { 0 };
	struct sigaction now;

	(void)state;
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(tl_thread_start("crowd", crowd_main, &c, &threads[i], &err), 0);
	atomic_store(&c.breeding, 1);
	assert_int_equal(tl_thread_start("breeder", breeder_main, &c, &breeder, &err), 0);
	visits = 0;
	assert_int_equal(every_thread(visit, &c), 0);
	assert_true(atomic_load(&c.visited) >= THREADS + 2);
	assert_int_equal(visits, 1);
	atomic_store(&c.breeding, 0);
	atomic_store(&c.may_end, true);
	pthread_join(breeder, NULL);
	for (size_t i = 0; i < THREADS; i++) {
		void *times;

		pthread_join(threads[i], &times);
		assert_int_equal((uintptr_t)times, 1);
	}
	assert_int_equal(sigaction(TL_THREAD_SIGNAL, NULL, &now), 0);
	assert_ptr_equal(now.sa_handler, SIG_DFL);
}

static void the_first_failure_ends_the_round(void **state)
{
	struct crowd c = { .fail_after = 2 };
	pthread_t threads[3];
	struct tl_error err = { 0 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(threads); i++)
		assert_int_equal(tl_thread_start("crowd", crowd_main, &c, &threads[i], &err), 0);
	assert_int_equal(every_thread(visit, &c), -EBADE);
	assert_int_equal(atomic_load(&c.visited), 2);
	atomic_store(&c.may_end, true);
	for (size_t i = 0; i < TL_ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
}

static void *deaf_main(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	atomic_store(&((struct crowd *)arg)->breeding, 1);
	return crowd_main(arg);
}

/* In a child: what is left behind for it to find stays to its end. */
static int deaf_thread_is_found_out(void)
{
	struct crowd c = { 0 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, deaf_main, &c) != 0)
		return 1;
	while (!atomic_load(&c.breeding))
		usleep(1000);
	return every_thread(visit, &c) == -ETIMEDOUT ? 0 : 2;
}

static void a_thread_that_takes_no_signal_is_a_failure(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0)
		_exit(deaf_thread_is_found_out());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_thread_is_visited_once),
		cmocka_unit_test(the_first_failure_ends_the_round),
		cmocka_unit_test(a_thread_that_takes_no_signal_is_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
