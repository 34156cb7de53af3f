/* SPDX-License-Identifier: Apache-2.0 */
#include "exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/exit_decision.h>
#include <teelaunch/log.h>

#include "containerd/containerd.h"
#include "journal.h"
#include "machine.h"
#include "manager.h"
#include "report.h"
#include "workload/workload.h"

#define DRAIN_POLL_MS 10
/* What a UART still holds when the driver's own buffer is empty: 64 bytes at 9600 baud. */
#define UART_FIFO_MS 70

/*
 * The last lines must be out before the machine is off: a serial console takes about 90 us a byte,
 * and what the kernel holds for it is lost at power-off.
 */
static void console_drain(int fd, uint64_t drain_ms)
{
	struct tl_deadline end = tl_deadline_in(tl_clock_mono_ms(), drain_ms);
	int held;

	if (fd < 0 || !isatty(fd))
		return;
	while (ioctl(fd, TIOCOUTQ, &held) == 0 && held > 0 &&
	       !tl_deadline_is_past(end, tl_clock_mono_ms()))
		tl_clock_sleep_ms(DRAIN_POLL_MS);
	tl_clock_sleep_ms(UART_FIFO_MS);
}

/* Contradictions and what can't be read count as production: such a machine must not be held. */
static bool is_debug(const char *cmdline_path)
{
	struct tl_error err = { 0 };
	bool is_hardened = false;

	if (machine_read_mode(cmdline_path, &is_hardened, NULL, &err) < 0) {
		tl_log_event(LOG_WARNING, "exit.mode", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
		return false;
	}
	return !is_hardened;
}

/* The report that the launcher couldn't make: there is one on every path. */
static void report_for_launcher(const struct exit_options *o, const struct tl_unit_end *end,
				enum tl_vm_action action, int console_fd)
{
	struct tl_error err = { 0 };
	struct report report = {
		.result = tl_outcome_name(TL_OUTCOME_FATAL),
		.exit_code = tl_exit_decide(TL_OUTCOME_FATAL, TL_RESTART_NEVER,
					    action == TL_VM_HOLD, false)
				     .exit_code,
		.action = tl_vm_action_name(action),
		.decided_by = "launcher",
		.version = o->version,
		.commit = o->commit,
	};

	(void)tl_fail(&err, TL_E_LAUNCHER_DIED, EIO, "the launcher ended by itself: %s, %s %s",
		      tl_end_name(end->end), o->code ? o->code : "", o->status ? o->status : "");
	report.code = tl_catalogue_find(err.code)->id;
	report.message = err.msg;
	report_print(&report, NULL, console_fd, o->journal);
	tl_log_event(LOG_ERR, EXITING_EVENT, EXITING_FORMAT, report.exit_code,
		     report_exit_text(report.exit_code));
}

/* What a launcher that died has left running: without token refresh, without the watch over its
 * disk, and without anybody who would end it. */
static void orphan_kill(const struct exit_options *o)
{
	const struct tl_ctrd_call call = {
		.deadline = tl_deadline_in(tl_clock_mono_ms(), o->containerd_wait_ms),
	};
	auto_ctrd struct tl_ctrd *c = NULL;
	struct tl_error err = { 0 };
	int r = tl_ctrd_open(o->containerd, TL_WORKLOAD_NAMESPACE, &c, &err);

	if (r == 0)
		r = tl_ctrd_wait_ready(c, &call, &err);
	if (r == 0)
		r = tl_workload_sweep(c, NULL, &err);
	if (r < 0)
		tl_log_event(LOG_WARNING, "exit.workload_left", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
	else
		tl_log_event(LOG_INFO, "exit.workload_gone", "msg='no workload is left'");
}

/* Nothing is synced: the root is read-only, and the disk's key ends with the machine. */
static int kernel_end_machine(enum tl_vm_action action, int console_fd, uint64_t drain_ms)
{
	console_drain(console_fd, drain_ms);
	(void)reboot(action == TL_VM_RESTART ? RB_AUTOBOOT : RB_POWER_OFF);
	tl_log_event(LOG_ERR, "exit.failed", "code=%s action=%s errno=%d",
		     tl_catalogue_find(TL_E_REBOOT)->id, tl_vm_action_name(action), errno);
	return 1;
}

static int machine_end(const struct exit_options *o, enum tl_vm_action action, int console_fd)
{
	struct tl_deadline deadline = tl_deadline_in(tl_clock_mono_ms(), o->manager_wait_ms);
	struct tl_error err = { 0 };
	bool is_ending = false;

	console_drain(console_fd, o->drain_ms);
	if (manager_end_machine(o->manager, action, deadline, &is_ending, &err) < 0) {
		tl_log_event(LOG_WARNING, "exit.kernel", "code=%s msg='%s'",
			     tl_catalogue_find(err.code)->id, TL_Q(err.msg));
		return kernel_end_machine(action, console_fd, o->drain_ms);
	}
	if (is_ending) {
		tl_log_event(LOG_INFO, "exit.asked", "msg='the machine is ending already'");
		return 0;
	}
	/* It has accepted; its SIGTERM ends this process. */
	tl_clock_sleep_ms(tl_deadline_left_ms(deadline, tl_clock_mono_ms()));
	tl_log_event(LOG_WARNING, "exit.kernel", "code=%s msg='accepted, but nothing happens'",
		     tl_catalogue_find(TL_E_MANAGER)->id);
	return kernel_end_machine(action, console_fd, o->drain_ms);
}

int exit_run(const struct exit_options *o)
{
	const struct tl_unit_end end = tl_unit_end_parse(o->result, o->code, o->status);
	bool debug;
	enum tl_vm_action action;
	auto_close int console_fd = -1;
	int r;

	if (o->console)
		console_fd =
			open(o->console, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	tl_log_set_console(console_fd);
	debug = is_debug(o->kernel_cmdline);
	action = tl_vm_action_of_end(&end, debug);
	tl_log_event(LOG_INFO, "exit", "end=%s status=%d mode=%s action=%s", tl_end_name(end.end),
		     end.status, debug ? "debug" : "production", tl_vm_action_name(action));
	if (!tl_unit_end_is_decision(&end)) {
		report_for_launcher(o, &end, action, console_fd);
		orphan_kill(o);
	}
	r = action == TL_VM_HOLD ? 0 : machine_end(o, action, console_fd);
	tl_log_set_console(-1);
	return r;
}
