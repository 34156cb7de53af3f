/* SPDX-License-Identifier: Apache-2.0 */
/* teelaunchd run: what the launcher's unit runs. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/catalogue.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/log.h>

#include "launcher/confine/confine.h"
#include "launcher/journal.h"
#include "launcher/launch.h"
#include "run_options.h"
#include "teelaunchd_options.h"

static void *signals_main(void *arg)
{
	sigset_t set;
	int sig;

	pthread_setname_np(pthread_self(), "signals");
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	while (sigwait(&set, &sig) == 0) {
		tl_cancel_request(arg);
		tl_log_event(LOG_INFO, "signal", "sig=%d msg='received a signal'", sig);
	}
	return NULL;
}

/*
 * Signals are blocked before any library starts a thread, so that they reach the one thread that
 * waits for them and nobody else. It lives as long as the process.
 */
static int signals_start(struct tl_cancel *cancel)
{
	pthread_t thread;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 ||
	    pthread_create(&thread, NULL, signals_main, cancel) != 0)
		return -1;
	return pthread_detach(thread);
}

/* Confined before there is a second thread. A failure is the launch's to report. */
static int launch(const struct run_arguments *a)
{
	struct tl_cancel *cancel = tl_cancel_new(); /* the signal thread keeps it to the end */
	struct launch_options options = a->launch;
	struct confinement confinement;
	struct tl_error failure = { 0 };

	(void)confine_launch(confine_mode_of(options.confine), &confinement, &failure);
	options.confinement = &confinement;
	options.confinement_failure = &failure;
	if (!cancel || signals_start(cancel) < 0) {
		fprintf(stderr, "teelaunchd: no thread for signals: %s\n", strerrordesc_np(errno));
		return EXIT_USAGE;
	}
	return launch_run(&options, cancel);
}

static int run(const struct verb *verb, int argc, char **argv)
{
	const char *from_environment = getenv("GCE_METADATA_HOST");
	auto_free char *metadata_host =
		strdup(tl_str_is_empty(from_environment) ? "169.254.169.254" : from_environment);
	struct run_arguments a = run_defaults(metadata_host);
	auto_run_record struct run_record record = { 0 };
	struct tl_error err = { 0 };
	int code;

	if (!metadata_host) {
		fprintf(stderr, "teelaunchd: %s: no memory for the options\n",
			tl_catalogue_find(TL_E_NO_MEMORY)->id);
		return EXIT_USAGE;
	}
	if (options_parse(verb, &a, argc, argv) < 0 || run_defaults_finish(&a) < 0)
		return EXIT_USAGE;
	if (run_record_make(&a, &record, &err) < 0) {
		fprintf(stderr, "teelaunchd: %s: %s\n", tl_catalogue_find(err.code)->id, err.msg);
		return EXIT_USAGE;
	}
	a.launch.unit = record.items;
	a.launch.unit_n = record.n;
	a.launch.version = TL_VERSION;
	a.launch.commit = TL_COMMIT;
	a.launch.journal = journal_attach();
	process_harden();
	code = launch(&a);
	journal_detach(a.launch.journal);
	run_arguments_done(&a);
	return code;
}

const struct verb verb_run = {
	.name = "run",
	.summary = "Launch one confidential workload as the VM's metadata and the image's policy "
		   "say.",
	.exit_status =
		"Exit status: 0, 1 stop the VM; 3 restart it; 4 hold it; 2 nothing was begun.",
	.rows = run_rows,
	.rows_n = RUN_OPTIONS,
	.run = run,
};
