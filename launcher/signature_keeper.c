/* SPDX-License-Identifier: Apache-2.0 */
#include "signature_keeper.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include <teelaunch/cancel.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/deadline.h>
#include <teelaunch/thread.h>

#include "metadata.h"
#include "signature_store.h"

/* As often as a token that lives an hour would be refreshed; up to a quarter later, so that
 * machines started together don't stay together. */
#define PAUSE_MS       (48 * 60000ULL)
#define PAUSE_MORE_MS  (12 * 60000ULL)
#define FAILED_WAIT_MS 5000 /* at least, beside the jitter */

static const struct tl_backoff backoff = { .base_ms = 5000,
					   .cap_ms = 10 * 60000,
					   .attempts_max = UINT_MAX };

struct signature_keeper {
	struct signature_store *store;
	struct metadata *metadata;
	struct tl_cancel *quit;
	pthread_t thread;
	bool is_started;
	unsigned int failures; /* in a row */
};

static uint64_t wait_of(const struct signature_keeper *k)
{
	uint64_t more_ms = 0;

	if (!k->failures)
		return PAUSE_MS + tl_clock_random() % PAUSE_MORE_MS;
	(void)tl_backoff_next(&backoff, k->failures + 1, tl_clock_random(), &more_ms);
	return FAILED_WAIT_MS + more_ms;
}

static void *keeper_main(void *arg)
{
	struct signature_keeper *k = arg;

	while (!tl_cancel_sleep(k->quit, wait_of(k))) {
		if (signature_store_refresh(k->store, k->metadata, k->quit, SIGNATURES_MS))
			k->failures = 0;
		else if (k->failures < UINT_MAX - 1)
			k->failures++;
	}
	return NULL;
}

struct signature_keeper *signature_keeper_stop(struct signature_keeper *k)
{
	if (!k)
		return NULL;
	if (k->is_started) {
		tl_cancel_request(k->quit);
		pthread_join(k->thread, NULL);
	}
	metadata_close(k->metadata);
	tl_cancel_free(k->quit);
	free(k);
	return NULL;
}

int signature_keeper_start(struct signature_store *store, const char *metadata_host,
			   bool is_complete, struct signature_keeper **ret, struct tl_error *err)
{
	struct signature_keeper *k = calloc(1, sizeof(*k));
	int r;

	if (!k || !(k->quit = tl_cancel_new())) {
		free(k);
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "signature keeper");
	}
	k->store = store;
	k->failures = !is_complete;
	r = metadata_open(metadata_host, k->quit, &k->metadata, err);
	if (r == 0)
		r = tl_thread_start("tl-signatures", keeper_main, k, &k->thread, err);
	k->is_started = r == 0;
	if (r < 0)
		signature_keeper_stop(k);
	else
		*ret = k;
	return r;
}
