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
	cloud_log_object(l->cloud_log, report_level(&l->report), entry, strlen(entry));
}

static void report_emit(struct launch *l)
{
	auto_free struct report_finding *findings = findings_borrow(&l->findings);
	auto_free char *full = NULL;

	l->report.findings = findings;
	l->report.findings_n = findings ? l->findings.n : 0;
	l->report.log.dropped_lines = tl_log_dropped();
	if (report_format(&l->report, REPORT_FULL_MAX, &full) == 0) {
		report_save(l, full);
		report_log(l, full);
	}
	report_print(&l->report, full, l->console_fd, l->options->journal);
}

/* Without a TPM that answers, the machine may be in any loop. */
static void restart_delay_find(struct launch *l)
{
	uint32_t resets = UINT32_MAX;
	uint64_t delay_ms;
	struct tl_error err = { 0 };

	if (l->outcome == TL_OUTCOME_SUCCESS || !l->options->restart_delay_max_ms)
		return;
	if (tl_tpm_reset_count(l->options->tcti, &resets, &err) < 0)
		tl_log_event(LOG_WARNING, "restart.uncounted", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	delay_ms = tl_restart_delay_ms(l->outcome, tl_clock_mono_ms(), resets,
				       l->options->restart_delay_max_ms, tl_clock_random());
	l->report.restart_delay_ms = delay_ms;
	if (delay_ms)
		tl_log_event(
			LOG_WARNING, "restart.delayed",
			"delay_ms=%" PRIu64 " resets=%" PRIu32
			" result=%s code=%s msg='launches that fail soon after the start restart "
			"ever more slowly; the report comes after the wait'",
			delay_ms, resets, l->report.result, l->report.code);
}

/* The watch over the disk uses the same cancellation, and nobody has asked then. */
static bool is_shutdown_asked(const struct launch *l)
{
	return tl_cancel_is_requested(l->cancel) && !l->disk_alarm.code;
}

static struct tl_exit_decision decide(const struct launch *l, bool is_asked)
{
	/* Unknown counts as production: a machine that can't say what it is must not be held open.
	 */
	bool is_debug = l->has_machine && !l->machine.is_hardened;

	return tl_exit_decide(l->outcome, l->has_spec ? l->spec.restart_policy : TL_RESTART_NEVER,
			      is_debug, is_asked);
}

/* True if a shutdown was asked for meanwhile. */
static bool restart_wait(struct launch *l)
{
	uint64_t left_ms = l->report.restart_delay_ms;

	while (left_ms > 0) {
		uint64_t step_ms = left_ms < PAUSE_STEP_MS ? left_ms : PAUSE_STEP_MS;

		manager_note_delayed(&l->notes, PAUSE_STEP_MS * 3);
		if (tl_cancel_sleep(l->cancel, step_ms))
			return true;
		left_ms -= step_ms;
	}
	return false;
}

static void restart_cancelled(void)
{
	tl_log_event(LOG_INFO, "restart.cancelled", "msg='a shutdown was asked for'");
}

/* The decision, and whose; after the wait, if it is a restart that waits. */
static struct tl_exit_decision decide_in_time(struct launch *l)
{
	bool is_asked = is_shutdown_asked(l);
	struct tl_exit_decision d = decide(l, is_asked);

	if (d.action == TL_VM_RESTART)
		restart_delay_find(l);
	if (restart_wait(l)) {
		restart_cancelled();
		is_asked = true;
		l->report.restart_delay_ms = 0;
		d = decide(l, is_asked);
	}
	l->report.decided_by = is_asked                     ? "operator"
			       : l->report.workload.has_run ? "workload"
							    : "launcher";
	return d;
}

int launch_finish(struct launch *l, int r, const struct tl_error *err)
{
	struct tl_exit_decision d;

	l->outcome = r < 0 ? tl_outcome_of_class(err->class) : TL_OUTCOME_SUCCESS;
	l->report.result = tl_outcome_name(l->outcome);
	if (r < 0) {
		l->report.code = tl_catalogue_find(err->code)->id;
		l->report.message = err->msg;
		tl_log_event(LOG_ERR, "launch.hint", "code=%s effect='%s' do='%s'", l->report.code,
			     TL_Q(tl_catalogue_find(err->code)->effect),
			     TL_Q(tl_catalogue_find(err->code)->action));
	}
	d = decide_in_time(l);
	l->report.exit_code = d.exit_code;
	l->report.action = tl_vm_action_name(d.action);
	l->report.version = l->options->version;
	l->report.commit = l->options->commit;
	tl_log_event(r < 0 ? LOG_ERR : LOG_INFO, "launch.end", "result=%s exit_code=%d action=%s",
		     l->report.result, d.exit_code, l->report.action);
	report_emit(l);
	return d.exit_code;
}

int launch_code_final(const struct launch *l, int code)
{
	if (tl_vm_action_of_exit_code(code) != TL_VM_RESTART || !is_shutdown_asked(l))
		return code;
	restart_cancelled();
	return decide(l, true).exit_code;
}

void launch_exiting_log(int code)
{
	tl_log_event(LOG_INFO, EXITING_EVENT, EXITING_FORMAT, code, report_exit_text(code));
}
