/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image's HEALTHCHECK, run in the workload's container. One thread, "tl-health", between the
 * workload's start and its end.
 */
#pragma once

#include <teelaunch/error.h>

#include "workload.h"

struct healthcheck;

/**
 * @w    started; borrowed until healthcheck_stop()
 * @ret  NULL if the image has none
 * TL_E_NO_MEMORY.
 */
int healthcheck_start(const struct tl_workload *w, struct healthcheck **ret, struct tl_error *err);

/** Ends a probe that runs. NULL is fine; always returns NULL. */
struct healthcheck *healthcheck_stop(struct healthcheck *h);
