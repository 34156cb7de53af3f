/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of the machine once the launcher's service has ended: the exit unit. It decides by
 * the launcher's exit status, or, where there is none, by production or debug alone; then it asks
 * the service manager, and the kernel if the manager doesn't act. A workload that the launcher left
 * behind is killed first: nothing that holds secrets goes on without an owner.
 */
#pragma once

#include <stdint.h>

struct exit_options {
	const char *kernel_cmdline;  /* file with the kernel's command line */
	const char *console;         /* where the log goes besides standard error; NULL: nowhere */
	const char *containerd;      /* absolute path of the socket */
	uint64_t containerd_wait_ms; /* so long for it to answer */
	const char *manager;         /* D-Bus address of the service manager */
	uint64_t manager_wait_ms;    /* so long until the kernel is asked */
	uint64_t drain_ms;           /* so long for the console's last bytes */
	/* How the launcher ended, in the manager's words ($MONITOR_SERVICE_RESULT and so on). */
	const char *result, *code, *status;
	const char *version, *commit;
	struct journal *journal; /* borrowed; NULL: standard error leads somewhere else */
};

/**
 * Do it. Returns only if the machine is held (0), if it is ending already (0), or if neither the
 * manager nor the kernel ends it (1). Blocks for drain_ms and manager_wait_ms at most; after a
 * launcher that died, for containerd_wait_ms and 10 s for the killing, too. SIGTERM, by which the
 * manager ends everything, ends it.
 */
int exit_run(const struct exit_options *options);
