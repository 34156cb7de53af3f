/* SPDX-License-Identifier: Apache-2.0 */
/* teelaunchd exit: what the exit unit runs. */
#include <stdlib.h>
#include <string.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>

#include "launcher/exit.h"
#include "launcher/journal.h"
#include "launcher/manager.h"
#include "teelaunchd_options.h"

static const struct option_row exit_rows[] = {
	OPTION(struct exit_options, "kernel-cmdline", "FILE", kernel_cmdline, NULL,
	       "the kernel's command line [/proc/cmdline]"),
	OPTION(struct exit_options, "console", "FILE", console, NULL,
	       "where the log goes [none: standard error]"),
	OPTION(struct exit_options, "containerd", "SOCKET", containerd, parse_absolute,
	       "containerd's socket, to kill what a launcher that died left running "
	       "[/run/containerd/containerd.sock]"),
	OPTION(struct exit_options, "containerd-wait-ms", "N", containerd_wait_ms, parse_budget_ms,
	       "time for containerd to answer, if it restarts at that moment [10000]"),
	OPTION(struct exit_options, "manager", "ADDRESS", manager, NULL,
	       "D-Bus address of the service manager [" MANAGER_ADDRESS "]"),
	OPTION(struct exit_options, "manager-wait-ms", "N", manager_wait_ms, parse_budget_ms,
	       "the kernel ends the machine if the service manager hasn't by then [10000]"),
	OPTION(struct exit_options, "drain-ms", "N", drain_ms, parse_ms,
	       "time for the console's last bytes [2000]"),
};

/* systemd.exec(5): set for a unit that another unit's OnSuccess= or OnFailure= starts. */
static char *monitor(const char *name)
{
	const char *value = getenv(name);

	return value ? strdup(value) : NULL;
}

static int run(const struct verb *verb, int argc, char **argv)
{
	auto_free char *result = monitor("MONITOR_SERVICE_RESULT");
	auto_free char *code = monitor("MONITOR_EXIT_CODE");
	auto_free char *status = monitor("MONITOR_EXIT_STATUS");
	struct exit_options o = {
		.kernel_cmdline = "/proc/cmdline",
		.containerd = "/run/containerd/containerd.sock",
		.containerd_wait_ms = 10000,
		.manager = MANAGER_ADDRESS,
		.manager_wait_ms = 10000,
		.drain_ms = 2000,
		.result = result,
		.code = code,
		.status = status,
		.version = TL_VERSION,
		.commit = TL_COMMIT,
	};
	int r;

	if (options_parse(verb, &o, argc, argv) < 0)
		return EXIT_USAGE;
	/* A person at a shell doesn't mean it; and a unit that can't tell fails, so that its
	 * FailureAction= acts. */
	if (!result) {
		fprintf(stderr,
			"teelaunchd: %s: exit is for the unit that OnSuccess= and OnFailure= of "
			"the "
			"launcher's start: no MONITOR_SERVICE_RESULT in the environment\n",
			tl_catalogue_find(TL_E_USAGE)->id);
		return EXIT_USAGE;
	}
	o.journal = journal_attach();
	process_harden();
	r = exit_run(&o);
	journal_detach(o.journal);
	return r;
}

const struct verb verb_exit = {
	.name = "exit",
	.summary = "End the VM, or hold it, as the launcher's end says: for the exit unit.",
	.exit_status = "Exit status: 0 it is held, or ending already; 1 it could not be ended.",
	.rows = exit_rows,
	.rows_n = TL_ARRAY_SIZE(exit_rows),
	.run = run,
};
