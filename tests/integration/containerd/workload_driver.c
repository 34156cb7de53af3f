/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs one workload as the launcher does, and writes what became of it to a file, one "key=value" a
 * line. Arguments: KEY=VALUE. SIGTERM is passed on to the workload; SIGUSR1 kills it at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>

#include "launcher/workload/workload.h"

static struct tl_cancel *terminate, *kill_now;

static void on_term(int signal)
{
	(void)signal;
	tl_cancel_request(terminate);
}

static void on_alarm(int signal)
{
	(void)signal;
	tl_cancel_request(kill_now);
}

static const char *option(char **argv, const char *name)
{
	size_t n = strlen(name);

	for (; *argv; argv++)
		if (strncmp(*argv, name, n) == 0 && (*argv)[n] == '=')
			return *argv + n + 1;
	return NULL;
}

static int text_of(const char *path, struct tl_buf *ret)
{
	struct tl_error err = { 0 };

	tl_buf_init(ret, 1024 * 1024);
	if (tl_file_read(path, ret, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.msg);
	return -1;
}

/* Say where we are, and wait until the test lets us go on. */
static void pause_at(char **argv, const char *where)
{
	const char *dir = option(argv, "pause_dir");
	auto_free char *here = NULL;
	auto_free char *go = NULL;
	auto_close int fd = -1;

	if (!dir || !option(argv, "pause_at") || strcmp(option(argv, "pause_at"), where) != 0)
		return;
	if (asprintf(&here, "%s/at-%s", dir, where) < 0 || asprintf(&go, "%s/go", dir) < 0)
		return;
	fd = open(here, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	while (access(go, F_OK) < 0)
		tl_clock_sleep_ms(10);
}

static int report_error(FILE *report, const char *stage, const struct tl_error *err)
{
	fprintf(report, "failed=%s\ncode=%s\nclass=%s\nmessage=%s\n", stage,
		tl_catalogue_words(err->code)->name, tl_class_name(err->class), err->msg);
	return 1;
}

static void report_plan(FILE *report, const struct tl_workload *w)
{
	for (size_t i = 0; i < tl_workload_args(w)->n; i++)
		fprintf(report, "arg=%s\n", tl_workload_args(w)->items[i]);
	for (size_t i = 0; i < tl_workload_env(w)->n; i++)
		fprintf(report, "env=%s\n", tl_workload_env(w)->items[i]);
	fprintf(report, "spec=%s\n", tl_workload_spec_json(w));
	fflush(report);
}

static void report_end(FILE *report, const struct tl_workload_end *end)
{
	struct tl_error err = { 0 };

	fprintf(report,
		"exit_status=%" PRIu32 "\nsignal=%d\noom=%d\nrun_ms=%" PRIu64 "\nbytes=%" PRIu64
		"\ndropped=%" PRIu64 "\ncut=%d\n",
		end->exit_status, end->signal, end->is_oom_killed, end->run_ms, end->output_bytes,
		end->output_dropped_bytes, end->is_output_cut);
	if (tl_workload_judge(end, &err) < 0)
		fprintf(report, "code=%s\nclass=%s\nmessage=%s\n",
			tl_catalogue_words(err.code)->name, tl_class_name(err.class), err.msg);
}

static int run(char **argv, const struct tl_workload_config *config, FILE *report)
{
	struct tl_workload *w = NULL;
	struct tl_workload_end end = { 0 };
	struct tl_error err = { 0 };
	const char *stage = "create";
	int r;

	pause_at(argv, "begin");
	r = tl_workload_create(config, NULL, &w, &err);
	if (r == 0) {
		report_plan(report, w);
		pause_at(argv, "created");
		stage = "start";
		r = tl_workload_start(w, &err);
	}
	if (r == 0) {
		stage = "wait";
		fprintf(report, "started=1\n");
		fflush(report);
		r = tl_workload_wait(w, terminate, &end, &err);
	}
	if (r == 0)
		report_end(report, &end);
	else
		report_error(report, stage, &err);
	r = tl_workload_destroy(w, &err);
	return r == 0 ? 0 : report_error(report, "destroy", &err);
}

static int fd_of(char **argv, const char *name)
{
	const char *path = option(argv, name);

	return path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600) : -1;
}

static uint64_t ms_of(char **argv, const char *name)
{
	uint64_t ms = 0;

	if (option(argv, name))
		tl_str_parse_u64(option(argv, name), 3600000, &ms);
	return ms;
}

static int run_parsed(char **argv, const struct tl_workload_config *base, FILE *report)
{
	auto_image_config struct tl_image_config image = { 0 };
	auto_launch_spec struct tl_launch_spec spec = { 0 };
	auto_buf struct tl_buf image_text = { 0 };
	auto_buf struct tl_buf spec_text = { 0 };
	struct tl_findings findings = { 0 };
	struct tl_workload_config config = *base;
	struct tl_error err = { 0 };
	int r;

	if (text_of(option(argv, "image_config"), &image_text) < 0 ||
	    text_of(option(argv, "attributes"), &spec_text) < 0)
		return 2;
	if (tl_image_config_parse(tl_buf_str(&image_text), image_text.len_bytes, &image, &err) < 0)
		return report_error(report, "image", &err);
	r = tl_launch_spec_parse(tl_buf_str(&spec_text), spec_text.len_bytes, NULL, &spec,
				 &findings);
	for (size_t i = 0; r < 0 && i < findings.n; i++)
		fprintf(stderr, "%s\n", findings.items[i].message);
	tl_findings_done(&findings);
	if (r < 0)
		return 2;
	config.image = &image;
	config.spec = &spec;
	return run(argv, &config, report);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_term };
	struct sigaction alarm = { .sa_handler = on_alarm };
	FILE *report = argc > 1 ? fopen(option(argv, "report"), "w") : NULL;
	auto_ctrd struct tl_ctrd *c = NULL;
	struct tl_error err = { 0 };
	struct tl_workload_config config;
	struct rlimit files = { 0 };
	int status;

	terminate = tl_cancel_new();
	kill_now = tl_cancel_new();
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &alarm, NULL);
	if (!report || !terminate || !kill_now ||
	    tl_ctrd_open(option(argv, "socket"), option(argv, "namespace"), &c, &err) < 0)
		return fprintf(stderr, "%s\n", err.msg), 2;
	getrlimit(RLIMIT_NOFILE, &files);
	config = (struct tl_workload_config){
		.ctrd = c,
		.nofile_limit = files.rlim_max,
		.namespace = option(argv, "namespace"),
		.image_name = "test",
		.chain_id = option(argv, "chain_id"),
		.hostname = "test-host",
		.shared_dir = option(argv, "shared_dir"),
		.fifo_dir = option(argv, "fifo_dir"),
		.console_fd = fd_of(argv, "console"),
		.is_console_raw = true,
		.stdout_fd = option(argv, "stdout") ? fd_of(argv, "stdout") : STDOUT_FILENO,
		.stderr_fd = STDERR_FILENO,
		.drain_ms = ms_of(argv, "drain_ms"),
		.kill_grace_ms = ms_of(argv, "kill_grace_ms"),
		.kill = kill_now,
	};
	status = run_parsed(argv, &config, report);
	if (config.console_fd >= 0)
		close(config.console_fd);
	c = tl_ctrd_close(c);
	tl_cancel_free(terminate);
	tl_cancel_free(kill_now);
	fclose(report);
	return status;
}
