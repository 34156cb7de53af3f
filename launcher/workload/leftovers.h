/* SPDX-License-Identifier: Apache-2.0 */
/* Removing the workload's objects from containerd. */
#pragma once

#include "launcher/containerd/containerd.h"

/**
 * Kill and delete the task, delete the container, the snapshot and the lease of the workload's
 * names. What isn't there is fine. A containerd that is away is waited for: 10 s, and 10 s more for
 * the work once it is back. TL_E_CONTAINER_LEFTOVER, class retry.
 */
int leftovers_remove(struct tl_ctrd *c, struct tl_cancel *cancel, struct tl_error *err);

/** One try at the task alone; its container must exist. Errors: containerd.h. */
int leftovers_task_remove(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err);
