/* SPDX-License-Identifier: Apache-2.0 */
/* Each fault that memcheck and ThreadSanitizer are asked to find, on purpose: a check that finds
 * none of them here would find none in what is tested either. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int shared;

static void *bump(void *arg)
{
	(void)arg;
	shared++;
	return NULL;
}

static int race(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, bump, NULL) != 0)
		return 2;
	shared++;
	pthread_join(thread, NULL);
	return 0;
}

/* Two locks, taken in either order, by one thread: nothing hangs today. */
static int order(void)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, two = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&one);
	pthread_mutex_lock(&two);
	pthread_mutex_unlock(&two);
	pthread_mutex_unlock(&one);
	pthread_mutex_lock(&two);
	pthread_mutex_lock(&one);
	pthread_mutex_unlock(&one);
	pthread_mutex_unlock(&two);
	return 0;
}

static int leak(void)
{
	char *volatile lost = malloc(16);

	lost = NULL;
	return lost != NULL;
}

static int stray_read(void)
{
	char *volatile block = calloc(1, 16);
	char c = block[16]; /* NOLINT: the fault */

	free(block);
	return c == 'x';
}

static int unset(void)
{
	char *volatile block = malloc(16);

	if (block[3] == 'x') /* NOLINT: the fault */
		puts("x");
	free(block);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} faults[] = {
		{ "race", race },       { "order", order }, { "leak", leak },
		{ "read", stray_read }, { "unset", unset },
	};

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (argc == 2 && strcmp(argv[1], faults[i].name) == 0)
			return faults[i].run();
	return 2;
}
