/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from the end of a launch: the decision, the report, the exit code. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/exit_decision.h>
#include <teelaunch/file.h>
#include <teelaunch/log.h>
#include <teelaunch/tpm_clock.h>

#include "journal.h"
#include "sequence.h"

/* A sign of life for the service manager that often. */
#define PAUSE_STEP_MS 10000

static struct report_finding *findings_borrow(const struct tl_findings *f)
{
	struct report_finding *list = calloc(f->n + 1, sizeof(*list));

	for (size_t i = 0; list && i < f->n; i++)
		list[i] = (struct report_finding){
			.code = tl_catalogue_find(f->items[i].code)->id,
			.key = f->items[i].key,
			.message = f->items[i].message,
			.fix = f->items[i].fix,
		};
	return list;
}

static int report_level(const struct launch *l)
{
	return strcmp(l->report.result, "success") == 0 ? LOG_INFO : LOG_ERR;
}

/* One write: the line must not be torn by somebody else's on the same console. The journal has the
 * whole document beside it. */
static void report_print(const struct launch *l, const char *text, const char *full)
{
	struct journal *journal = l->options->journal;
	const int fds[] = { journal ? -1 : STDERR_FILENO, l->console_fd };
	auto_free char *line = NULL;

	if (asprintf(&line, "%s%s\n", REPORT_PREFIX, text) < 0)
		return;
	for (size_t i = 0; i < TL_ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			(void)tl_log_raw(fds[i], line, strlen(line));
	line[strlen(line) - 1] = '\0';
	if (journal)
		(void)journal_document(journal, report_level(l), "launch.report", line, "TL_REPORT",
				       full, strlen(full));
}

/* The whole document, for whoever may look into the machine. Best effort: the console has the short
 * one. */
static void report_save(const struct launch *l, const char *text)
{
	auto_close int dir = -1;
	struct tl_error err = { 0 };

	if (mkdir(l->options->state_dir, 0700) < 0 && errno != EEXIST)
		return;
	dir = open(l->options->state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 && tl_file_replace(dir, "report.json", text, strlen(text), 0600, &err) < 0)
		tl_log_event(LOG_WARNING, "report.not_saved", "msg='%s'", TL_Q(err.msg));
}

static void report_log(const struct launch *l, const char *text)
{
	auto_free char *entry = NULL;

	if (!l->cloud_log)
		return;
	if (asprintf(&entry, "{\"MESSAGE\":\"" REPORT_PREFIX "%s\",\"report\":%s}",
		     l->report.result, text) < 0) {
		entry = NULL;
		return;
	}
	cloud_log_object(l->cloud_log, report_level(l), entry, strlen(entry));
}

static void report_emit(struct launch *l)
{
	auto_free struct report_finding *findings = findings_borrow(&l->findings);
	auto_free char *line = NULL;
	auto_free char *full = NULL;

	l->report.findings = findings;
	l->report.findings_n = findings ? l->findings.n : 0;
	l->report.log.dropped_lines = tl_log_dropped();
	if (report_format(&l->report, REPORT_FULL_MAX, &full) == 0) {
		report_save(l, full);
		report_log(l, full);
	}
	if (report_format(&l->report, REPORT_CONSOLE_MAX - sizeof(REPORT_PREFIX), &line) == 0)
		report_print(l, line, full ? full : line);
	else
		tl_log_event(LOG_ERR, "report.failed", "exit_code=%d", l->report.exit_code);
}

/* Without a TPM that answers, the machine may be in any loop. */
static void restart_delay_find(struct launch *l, enum tl_outcome outcome)
{
	uint32_t resets = UINT32_MAX;
	uint64_t delay_ms;
	struct tl_error err = { 0 };

	if (outcome == TL_OUTCOME_SUCCESS || !l->options->restart_delay_max_ms)
		return;
	if (tl_tpm_reset_count(l->options->tcti, &resets, &err) < 0)
		tl_log_event(LOG_WARNING, "restart.uncounted", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	delay_ms = tl_restart_delay_ms(outcome, tl_clock_mono_ms(), resets,
				       l->options->restart_delay_max_ms, tl_clock_random());
	l->report.restart_delay_ms = delay_ms;
	if (delay_ms)
		tl_log_event(
			LOG_WARNING, "restart.delayed",
			"delay_ms=%" PRIu64 " resets=%" PRIu32
			" msg='launches that fail soon after the start restart ever more slowly'",
			delay_ms, resets);
}

int launch_pause(struct launch *l, int code)
{
	uint64_t left_ms = l->report.restart_delay_ms;

	while (left_ms > 0) {
		uint64_t step_ms = left_ms < PAUSE_STEP_MS ? left_ms : PAUSE_STEP_MS;

		manager_note_ending(&l->notes, PAUSE_STEP_MS * 3);
		if (tl_cancel_sleep(l->cancel, step_ms)) {
			tl_log_event(LOG_INFO, "restart.cancelled",
				     "msg='a shutdown was asked for'");
			return tl_exit_decide(TL_OUTCOME_WORKLOAD, TL_RESTART_NEVER,
					      l->has_machine && !l->machine.is_hardened, true)
				.exit_code;
		}
		left_ms -= step_ms;
	}
	return code;
}

int launch_finish(struct launch *l, int r, const struct tl_error *err)
{
	/* The watch over the disk uses the same cancellation, and nobody has asked then. */
	bool is_asked = tl_cancel_is_requested(l->cancel) && !l->disk_alarm.code;
	/* Unknown counts as production: a machine that can't say what it is must not be held open.
	 */
	bool is_debug = l->has_machine && !l->machine.is_hardened;
	enum tl_outcome outcome = r < 0 ? tl_outcome_of_class(err->class) : TL_OUTCOME_SUCCESS;
	enum tl_restart_policy policy = l->has_spec ? l->spec.restart_policy : TL_RESTART_NEVER;
	struct tl_exit_decision d = tl_exit_decide(outcome, policy, is_debug, is_asked);

	l->report.result = tl_outcome_name(outcome);
	l->report.exit_code = d.exit_code;
	l->report.action = tl_vm_action_name(d.action);
	l->report.decided_by = is_asked                     ? "operator"
			       : l->report.workload.has_run ? "workload"
							    : "launcher";
	if (r < 0) {
		l->report.code = tl_catalogue_find(err->code)->id;
		l->report.message = err->msg;
		tl_log_event(LOG_ERR, "launch.hint", "code=%s effect='%s' do='%s'", l->report.code,
			     TL_Q(tl_catalogue_find(err->code)->effect),
			     TL_Q(tl_catalogue_find(err->code)->action));
	}
	if (d.action == TL_VM_RESTART)
		restart_delay_find(l, outcome);
	l->report.version = l->options->version;
	l->report.commit = l->options->commit;
	tl_log_event(r < 0 ? LOG_ERR : LOG_INFO, "launch.end", "result=%s exit_code=%d action=%s",
		     l->report.result, d.exit_code, l->report.action);
	report_emit(l);
	return d.exit_code;
}
