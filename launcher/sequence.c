/* SPDX-License-Identifier: Apache-2.0 */
#include "sequence.h"
#include "containerd/containerd.h"
#include "metadata.h"
#include "power_button.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>

/*
 * The order of a launch. What a crashed launch left is gone before anything is decided. What the
 * operator sent is judged before a layer is pulled; everything that runs is measured before it
 * runs; nothing of the operator's or the workload's runs before "run".
 */
static const struct stage stages[] = {
	{ "machine", 30, stage_machine, NULL },
	{ "disk", 60, stage_disk, stage_disk_undo },
	{ "metadata", 120, stage_metadata, NULL },
	{ "spec", 30, stage_spec, NULL },
	{ "connect", 120, stage_connect, NULL },
	{ "resolve", 600, stage_resolve, NULL },
	{ "policy", 30, stage_policy, NULL },
	{ "tpm", 600, stage_tpm, stage_tpm_undo },
	{ "pull", PULL_SIGN_S, stage_pull, NULL },
	{ "create", 300, stage_create, stage_create_undo },
	{ "confine", 60, stage_confine, NULL },
	{ "measure", 600, stage_measure, NULL },
	{ "token", 600, stage_token, stage_token_undo },
	{ "serve", 30, stage_serve, stage_serve_undo },
	{ "open", 30, stage_open, stage_open_undo },
	{ "run", 60, stage_run, NULL },
};
_Static_assert(TL_ARRAY_SIZE(stages) <= REPORT_STAGES_MAX, "every stage has a place in the report");

/* Removing task, container, snapshot and lease from a containerd that restarts, and the report. */
#define ENDING_LIMIT_MS 90000
/* Two numbers. */
#define UPTIME_BYTES_MAX 128

static int stage_walk(struct launch *l, const struct stage *stage, struct tl_error *err)
{
	uint64_t start_ms = tl_clock_mono_ms();
	uint64_t took_ms;
	int r;

	manager_note_stage(&l->notes, stage->name,
			   stage->limit_s * UINT64_C(1000) + l->options->first_token_budget_ms);
	/* The watch over the disk asks for an end, too; then launch_run() knows why. */
	if (tl_cancel_is_requested(l->cancel))
		r = tl_fail(err, TL_E_INTERRUPTED, ECANCELED,
			    "shutdown asked for before stage '%s'", stage->name);
	else
		r = stage->run(l, err);
	took_ms = tl_clock_mono_ms() - start_ms;
	l->report.stages[l->report.stages_n++] = (struct report_stage){
		.name = stage->name,
		.start_ms = start_ms - l->started_ms,
		.took_ms = took_ms,
		.outcome = r < 0 ? "failed" : "ok",
	};
	if (r == 0)
		tl_log_event(LOG_INFO, "stage.done", "stage=%s took_ms=%" PRIu64, stage->name,
			     took_ms);
	else
		tl_log_event(LOG_ERR, "stage.failed",
			     "stage=%s took_ms=%" PRIu64 " code=%s msg='%s'", stage->name, took_ms,
			     tl_catalogue_find(err->code)->id, TL_Q(err->msg));
	return r;
}

static int stages_walk(struct launch *l, struct tl_error *err)
{
	size_t done = 0;
	int r = 0;

	while (r == 0 && done < TL_ARRAY_SIZE(stages)) {
		r = stage_walk(l, &stages[done], err);
		if (r == 0)
			done++;
	}
	manager_note_undoing(&l->notes, ENDING_LIMIT_MS);
	while (done--)
		if (stages[done].undo)
			stages[done].undo(l);
	return r;
}

/* A console that can't be opened must not stop a launch: standard error, and so the journal,
 * remains. */
static void console_open(struct launch *l)
{
	if (!l->options->console)
		return;
	l->console_fd =
		open(l->options->console, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (l->console_fd < 0)
		tl_log_event(LOG_WARNING, "console.missing", "path='%s' errno=%d",
			     TL_Q(l->options->console), errno);
	tl_log_set_console(l->console_fd);
	if (l->console_fd >= 0)
		tl_log_event(LOG_INFO, "console.open", "msg='Serial Console logger initialized'");
}

/* uptime(1)'s first number, as text; best effort. */
static void boot_log(void)
{
	auto_buf struct tl_buf text = { 0 };
	struct tl_error err = { 0 };
	size_t n;

	tl_buf_init(&text, UPTIME_BYTES_MAX);
	if (tl_file_read("/proc/uptime", &text, &err) < 0)
		return;
	n = strspn(tl_buf_str(&text), "0123456789.");
	tl_log_event(LOG_INFO, "boot.completed", "msg='Boot completed' duration_sec=%.*s", (int)n,
		     tl_buf_str(&text));
}

/* A log that can't be had must not stop a launch either. */
static void cloud_log_start(struct launch *l)
{
	const struct cloud_writer_options options = { .url = l->options->cloud_logging,
						      .roots = l->options->google_roots,
						      .metadata_host = l->options->metadata_host };
	struct tl_error err = { 0 };

	if (strcmp(options.url, "off") == 0)
		return;
	if (cloud_log_open(&options, &l->cloud_log, &err) == 0)
		tl_log_set_sink(cloud_log_line, l->cloud_log);
	else
		tl_log_event(LOG_WARNING, "cloud_log.off", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
}

/* Its last samples were under way while all was undone. */
static void cloud_monitoring_end(struct launch *l)
{
	struct cloud_writer_counts counts = { 0 };

	if (!l->cloud_monitoring)
		return;
	l->cloud_monitoring = cloud_writer_close(l->cloud_monitoring, &counts);
	tl_log_event(counts.dropped ? LOG_WARNING : LOG_INFO, "cloud_monitoring.end",
		     "written=%" PRIu64 " dropped=%" PRIu64 " failures=%" PRIu64, counts.written,
		     counts.dropped, counts.failures);
}

/* The last line of all comes when nothing can be written there any more. */
static void cloud_log_exiting(struct cloud_writer *c, int code)
{
	auto_free char *text = NULL;

	if (asprintf(&text, EXITING_FORMAT, code, report_exit_text(code)) < 0) {
		text = NULL;
		return;
	}
	cloud_log_line(c, LOG_INFO, EXITING_EVENT, text);
}

/* The report is in it; what becomes of the queue is said where there is still somebody to hear it.
 */
static void cloud_log_end(struct launch *l, int code)
{
	struct cloud_writer_counts counts = { 0 };

	if (!l->cloud_log)
		return;
	cloud_log_exiting(l->cloud_log, code);
	tl_log_set_sink(NULL, NULL);
	l->cloud_log = cloud_writer_close(l->cloud_log, &counts);
	tl_log_event(counts.dropped ? LOG_WARNING : LOG_INFO, "cloud_log.end",
		     "written=%" PRIu64 " dropped=%" PRIu64 " failures=%" PRIu64, counts.written,
		     counts.dropped, counts.failures);
}

/* A launch that can't be asked to stop by the button can still be by SIGTERM. */
static void power_button_open(struct launch *l)
{
	struct tl_error err = { 0 };
	size_t n = 0;

	if (power_button_watch("/dev/input", l->cancel, &l->power_button, &n, &err) < 0)
		tl_log_event(LOG_WARNING, "power.unwatched", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	else
		tl_log_event(LOG_DEBUG, "power.watched", "devices=%zu", n);
}

static void launch_done(struct launch *l)
{
	l->power_button = power_button_close(l->power_button);
	tl_log_set_console(-1);
	tl_launch_spec_done(&l->spec);
	tl_launch_policy_done(&l->policy);
	tl_findings_done(&l->findings);
	tl_image_ref_done(&l->ref);
	free(l->reference_shown);
	l->registry = tl_registry_close(l->registry);
	l->metadata = metadata_close(l->metadata);
	if (l->kill)
		l->kill = tl_cancel_free(l->kill);
	if (l->has_image)
		tl_resolved_image_done(&l->image);
	tl_events_done(&l->events);
	machine_facts_done(&l->machine);
	if (l->console_fd >= 0)
		close(l->console_fd);
}

int launch_run(const struct launch_options *options, struct tl_cancel *cancel)
{
	struct launch l = {
		.options = options,
		.cancel = cancel,
		.confinement = *options->confinement,
		.started_ms = tl_clock_mono_ms(),
		.console_fd = -1,
	};
	struct tl_error err = { 0 };
	int r, code;

	console_open(&l);
	cloud_log_start(&l);
	manager_notes_open(&l.notes);
	power_button_open(&l);
	tl_log_event(LOG_INFO, "launch.start",
		     "version=%s build_commit=%s msg='TEE container launcher initiating'",
		     options->version, options->commit);
	boot_log();
	r = stages_walk(&l, &err);
	if (!l.is_swept)
		launch_sweep_late(&l);
	if (l.disk_alarm.code) { /* whatever else went wrong, or seemed to go well */
		err = l.disk_alarm;
		r = -EIO;
	}
	l.containerd = tl_ctrd_close(l.containerd);
	code = launch_finish(&l, r, &err);
	cloud_monitoring_end(&l);
	cloud_log_end(&l, code);
	code = launch_code_final(&l, code);
	launch_exiting_log(code);
	manager_note_ending();
	launch_done(&l);
	return code;
}
