/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls of a launch, as two filters (seccomp(2)); confine.h says what they are for. */
#pragma once

/**
 * The table of all that a launch calls. Before there is a second thread; children inherit it.
 * Returns 0 or a negative errno; sets no_new_privs.
 */
int calls_permit(void);

/** Beside the first one: what is over once the container exists kills. In all threads. */
int calls_narrow(void);
