/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the signatures fresh of a launch whose token isn't kept by the launcher
 * (tee-disable-gca-refresh, ita-region): the workload may ask at the token socket for as long as it
 * runs. Asks an hour after an answer, and soon after a failure that may go away.
 */
#pragma once

#include <stdbool.h>

#include <teelaunch/error.h>

struct signature_keeper;
struct signature_store;

/**
 * Start the thread `tl-signatures`, with a metadata reader of its own.
 *
 * @store          borrowed until signature_keeper_stop()
 * @metadata_host  as metadata_open() has it
 * @is_complete    what the first signature_store_refresh() returned
 * Doesn't block. TL_E_NO_MEMORY, TL_E_METADATA_HOST; or the thread's (thread.h).
 */
int signature_keeper_start(struct signature_store *store, const char *metadata_host,
			   bool is_complete, struct signature_keeper **ret, struct tl_error *err);
/** Ends an attempt under way at once, and waits for it. NULL is fine; always returns NULL. */
struct signature_keeper *signature_keeper_stop(struct signature_keeper *k);
