/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked into the launcher in place of its monotonic clock and of its wait (-Wl,--wrap): what the
 * thread "tl-token" waits for comes at once, and every thread's clock is then so much ahead. That
 * goes so while the file $TL_VIRTUAL_WHILE is there, before and behind it in real time: a launch
 * that begins or ends must find a clock that goes as clocks do, or what it waits for is late at
 * once. The wall clock stays what it is, so that the dates of tokens and certificates are real
 * ones.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cancel.h>
#include <teelaunch/clock.h>

#define THREAD_NAME_MAX 16 /* pthread_getname_np(3) */
#define SLICE_MS        50 /* how soon it sees that the file is there */

uint64_t __real_tl_clock_mono_ms(void);
uint64_t __wrap_tl_clock_mono_ms(void);
bool __real_tl_cancel_sleep(const struct tl_cancel *c, uint64_t ms);
bool __wrap_tl_cancel_sleep(const struct tl_cancel *c, uint64_t ms);

static _Atomic uint64_t ahead_ms;
static char while_path[4096];

/* The launcher clears its environment. */
__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("TL_VIRTUAL_WHILE");

	snprintf(while_path, sizeof(while_path), "%s", path ? path : "");
}

uint64_t __wrap_tl_clock_mono_ms(void)
{
	return __real_tl_clock_mono_ms() + ahead_ms;
}

static bool is_keeper(void)
{
	char name[THREAD_NAME_MAX] = "";

	return pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 &&
	       strcmp(name, "tl-token") == 0;
}

bool __wrap_tl_cancel_sleep(const struct tl_cancel *c, uint64_t ms)
{
	if (!is_keeper())
		return __real_tl_cancel_sleep(c, ms);
	while (ms > 0 && access(while_path, F_OK) < 0) {
		uint64_t slice_ms = ms < SLICE_MS ? ms : SLICE_MS;

		if (__real_tl_cancel_sleep(c, slice_ms))
			return true;
		ms -= slice_ms;
	}
	ahead_ms += ms;
	return tl_cancel_is_requested(c);
}
