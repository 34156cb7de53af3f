/* SPDX-License-Identifier: Apache-2.0 */
/* The stages around the container itself. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>

#include "health/cloud_monitoring.h"
#include "memory.h"
#include "sequence.h"
#include "workload/workload.h"

/* HOST_NAME_MAX is 64 on Linux. */
#define HOSTNAME_MAX_BYTES 65
/* What a workload can count on; a machine that doesn't let us give it says so. */
#define NOFILE_OF_CONTRACT 131072u

/* The folder whose parent exists already; a link in its place is refused. */
static int folder_make(const char *path, mode_t mode, struct tl_error *err)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return tl_fail_sys(err, TL_E_FOLDER, errno, "make folder '%s'", path);
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return tl_fail(err, TL_E_FOLDER, ENOTDIR, "'%s' is in the way: not a folder", path);
	if (st.st_uid != geteuid())
		return tl_fail(err, TL_E_FOLDER, EPERM, "folder '%s' belongs to somebody else",
			       path);
	if (chmod(path, mode) < 0) /* whatever the umask made of it */
		return tl_fail_sys(err, TL_E_FOLDER, errno, "set the mode of folder '%s'", path);
	return 0;
}

int folders_make(const struct launch *l, struct tl_error *err)
{
	int r = folder_make(l->options->state_dir, 0700, err);

	return r < 0 ? r : folder_make(l->options->shared_dir, 0755, err);
}

/* The workload sees all that is in it: what an earlier launch left must not be there. */
static int folder_empty(const char *path, struct tl_error *err)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	int r = 1;

	if (!dir)
		return tl_fail_sys(err, TL_E_FOLDER, errno, "open folder '%s'", path);
	while (r > 0) {
		r = tl_dir_next(dir, &entry);
		if (r < 0)
			r = tl_fail_sys(err, TL_E_FOLDER, -r, "read folder '%s'", path);
		if (r <= 0 || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			r = tl_fail_sys(err, TL_E_FOLDER, errno, "folder '%s' holds '%s'", path,
					entry->d_name);
	}
	closedir(dir);
	return r;
}

/* Without a console of its own, raw output goes where the log goes, unless JSON lines go there
 * already. */
static int console_of_workload(const struct launch *l)
{
	if (l->console_fd >= 0 || l->spec.log_redirect == TL_LOG_EVERYWHERE)
		return l->console_fd;
	return STDERR_FILENO;
}

/* What the main thread does while it waits for the workload. */
static uint64_t run_step(void *ctx)
{
	struct launch *l = ctx;
	uint64_t next_ms = l->notes.period_ms ? l->notes.period_ms : UINT64_MAX;

	/* A sign of life is wanted from now on; its limit was for the time before. */
	if (l->notes.period_ms)
		manager_note_alive(&l->notes, 0);
	if (l->monitoring) {
		uint64_t sample_ms = health_step(l->monitoring, tl_clock_mono_ms());

		next_ms = sample_ms < next_ms ? sample_ms : next_ms;
	}
	return next_ms;
}

/* By the thread of the probes, which has ended before the report is written. */
static void health_note(void *ctx, const struct tl_workload_health *h)
{
	struct launch *l = ctx;
	const char *status = probe_status_name(h->status);
	bool is_new = !l->report.workload.health || strcmp(l->report.workload.health, status) != 0;

	if (h->is_unknown) {
		tl_log_event(
			LOG_WARNING, "healthcheck.ignored",
			"msg='the image has a HEALTHCHECK of a form that is not known: neither "
			"NONE, CMD nor CMD-SHELL, or without a command'");
		return;
	}
	l->report.workload.health = status;
	atomic_store(&l->health, h->status);
	l->report.workload.probes = h->probes;
	l->report.workload.probes_failed = h->failures;
	if (is_new)
		tl_log_event(h->status == PROBE_UNHEALTHY ? LOG_WARNING : LOG_INFO,
			     "workload.health",
			     "status=%s probes=%" PRIu64 " failures=%" PRIu64
			     " exit_status=%d timed_out=%d",
			     status, h->probes, h->failures, h->exit_status, h->is_timed_out);
}

int stage_create(struct launch *l, struct tl_error *err)
{
	char hostname[HOSTNAME_MAX_BYTES] = "";
	const struct tl_workload_config config = {
		.ctrd = l->containerd,
		.namespace = TL_WORKLOAD_NAMESPACE,
		.image_name = l->ref.text,
		.chain_id = l->image.chain_id.text,
		.image = &l->image.parsed,
		.spec = &l->spec,
		.hostname = hostname,
		.shared_dir = l->options->shared_dir,
		.fifo_dir = l->options->state_dir,
		.console_fd = console_of_workload(l),
		.is_console_raw = strcmp(l->options->console_output, "raw") == 0,
		.stdout_fd = STDOUT_FILENO,
		.stderr_fd = STDERR_FILENO,
		.records = l->cloud_log ? cloud_log_records : NULL,
		.records_ctx = l->cloud_log,
		.nofile_limit = l->machine.nofile_limit,
		.kill = l->kill,
		.drain_ms = l->options->drain_ms,
		.kill_grace_ms = l->options->stop_grace_ms,
		.step = run_step,
		.step_ctx = l,
		.health = health_note,
		.health_ctx = l,
	};
	int r;

	tl_log_event(LOG_INFO, "container.preparing", "ref='%s' digest=%s msg='%s'",
		     TL_Q(l->reference_shown), l->image.target.digest,
		     "Preparing Container Runner");
	if (l->machine.nofile_limit < NOFILE_OF_CONTRACT)
		tl_log_event(LOG_WARNING, "container.nofile",
			     "limit=%" PRIu64 " wanted=%u msg='the launcher may not raise it'",
			     l->machine.nofile_limit, NOFILE_OF_CONTRACT);
	if (gethostname(hostname, sizeof(hostname) - 1) < 0)
		return tl_fail_sys(err, TL_E_IO, errno, "host name");
	r = folder_empty(l->options->shared_dir, err);
	if (r == 0)
		r = tl_workload_create(&config, l->cancel, &l->workload, err);
	if (r == 0)
		tl_log_event(LOG_INFO, "container.created", "args=%zu env=%zu",
			     tl_workload_args(l->workload)->n, tl_workload_env(l->workload)->n);
	return r;
}

void stage_create_undo(struct launch *l)
{
	struct tl_error err = { 0 };

	if (tl_workload_destroy(l->workload, &err) < 0) {
		tl_log_event(LOG_WARNING, "container.left", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
		l->is_swept = false; /* once more, when all else is gone */
	}
	l->workload = NULL;
}

static double seconds(uint64_t ms)
{
	return (double)ms / 1000;
}

/* The words that tools of the reference's users look for. */
static void redirect_log(enum tl_log_redirect redirect)
{
	static const char *const texts[] = {
		[TL_LOG_NOWHERE] = "Container stdout/stderr will not be redirected.",
		[TL_LOG_SERIAL] = "Container stdout/stderr will be redirected to serial logging. "
				  "Sensitive data may be in it.",
		[TL_LOG_CLOUD_LOGGING] =
			"Container stdout/stderr will be redirected to journald "
			"(JSON) for FluentBit scraping. Sensitive data may be in it.",
		[TL_LOG_EVERYWHERE] = "Container stdout/stderr will be redirected to serial and "
				      "Cloud Logging. Sensitive data may be in it.",
	};

	tl_log_event(LOG_INFO, "workload.output", "redirect=%s msg='%s'",
		     tl_log_redirect_name(redirect), texts[redirect]);
}

static void end_report(struct launch *l, const struct tl_workload_end *end)
{
	l->report.workload.exit_status = (int)end->exit_status;
	l->report.workload.signal = end->signal;
	l->report.workload.is_oom_killed = end->is_oom_killed;
	l->report.workload.run_ms = end->run_ms;
	l->report.log.lines = end->output_lines;
	l->report.log.bytes = end->output_bytes;
	l->report.log.dropped_bytes = end->output_dropped_bytes;
	l->report.log.is_cut = end->is_output_cut;
	tl_log_event(LOG_INFO, "workload.ended",
		     "msg='workload task ended and returned %s' workload_execution_sec=%.3f "
		     "exit_status=%" PRIu32 " signal=%d oom_killed=%d run_ms=%" PRIu64
		     " output_bytes=%" PRIu64 " dropped_bytes=%" PRIu64 " output_cut=%d",
		     end->exit_status || end->signal ? "non-zero" : "0", seconds(end->run_ms),
		     end->exit_status, end->signal, end->is_oom_killed, end->run_ms,
		     end->output_bytes, end->output_dropped_bytes, end->is_output_cut);
}

/*
 * The words in quotes are those of the Confidential Space launcher, whose log is searched for them;
 * it starts a service where this one samples by itself.
 */
static void monitoring_say(const struct launch *l)
{
	if (l->spec.monitoring == TL_MONITORING_NONE) {
		tl_log_event(LOG_INFO, "monitoring.off", "msg='Health Monitoring is disabled'");
		return;
	}
	tl_log_event(LOG_INFO, "monitoring.started",
		     "metrics=%s period_ms=%" PRIu64
		     " msg='Health Monitoring is enabled by the VM operator: %s (as by "
		     "\"node-problem-detector.service successfully started\")'",
		     tl_monitoring_name(l->spec.monitoring), l->options->monitoring_period_ms,
		     l->spec.monitoring == TL_MONITORING_ALL
			     ? "All health monitoring metrics enabled"
			     : "memory/bytes_used enabled");
}

/* To where the reference's metrics are. The launch doesn't depend on it either. */
static void cloud_monitoring_start(struct launch *l)
{
	const struct cloud_writer_options options = { .url = l->options->cloud_monitoring,
						      .roots = l->options->google_roots,
						      .metadata_host = l->options->metadata_host };
	struct tl_error err = { 0 };

	if (strcmp(options.url, "off") == 0)
		return;
	if (cloud_monitoring_open(&options, &l->cloud_monitoring, &err) < 0)
		tl_log_event(LOG_WARNING, "cloud_monitoring.off", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}

static void sample_put(void *ctx, const struct sample *s)
{
	cloud_monitoring_put(ctx, s);
}

/*
 * A level that the image doesn't allow has ended the launch before. The workload doesn't depend on
 * being watched.
 */
static void monitoring_open(struct launch *l)
{
	struct health_options options = {
		.level = l->spec.monitoring,
		.sink = sample_put,
		.period_ms = l->options->monitoring_period_ms,
		.sample = { .roots = { .proc = "/proc", .cgroup = "/sys/fs/cgroup" },
			    .workload_pid = tl_workload_pid(l->workload),
			    .content_dir = l->options->content_dir },
	};
	struct tl_error err = { 0 };

	monitoring_say(l);
	if (options.level == TL_MONITORING_NONE)
		return;
	cloud_monitoring_start(l);
	options.sink_ctx = l->cloud_monitoring;
	if (!l->cloud_monitoring)
		options.sink = NULL;
	if (health_open(&options, &l->monitoring, &err) < 0)
		tl_log_event(LOG_WARNING, "monitoring.failed", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}

int stage_run(struct launch *l, struct tl_error *err)
{
	struct tl_workload_end end = { 0 };
	int r;

	tl_log_event(LOG_INFO, "workload.setup", "setup_sec=%.3f msg='Workload setup completed'",
		     seconds(tl_clock_mono_ms() - l->started_ms));
	redirect_log(l->spec.log_redirect);
	monitoring_open(l); /* while the workload's first process is sure to be there */
	r = tl_workload_start(l->workload, err);
	if (r < 0) {
		l->monitoring = health_close(l->monitoring);
		return r;
	}
	l->report.workload.has_run = true;
	atomic_store(&l->is_running, true);
	manager_note_running(&l->notes);
	tl_log_event(LOG_INFO, "workload.started", "container=%s msg='workload task started'",
		     TL_WORKLOAD_CONTAINER);
	memory_give_back();
	r = tl_workload_wait(l->workload, l->cancel, &end, err);
	atomic_store(&l->is_running, false);
	l->monitoring = health_close(l->monitoring);
	cloud_writer_finish(l->cloud_monitoring);
	if (r < 0)
		return r;
	end_report(l, &end);
	r = tl_workload_judge(&end, err);
	if (r == 0)
		tl_log_event(LOG_INFO, "workload.completed",
			     "workload='%s' workload_execution_sec=%.3f msg='Workload completed'",
			     TL_Q(l->reference_shown), seconds(end.run_ms));
	return r;
}
