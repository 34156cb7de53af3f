/* SPDX-License-Identifier: Apache-2.0 */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "kvm.h"
#include "run.h"

/* Of Debian's ovmf package. The 2 MB build is measured in half the time of the 4 MB one, but only
 * the latter enforces Secure Boot with keys of its own. */
#define FIRMWARE        "/usr/share/OVMF/OVMF_CODE.fd"
#define VARS            "/usr/share/OVMF/OVMF_VARS.fd"
#define SECURE_FIRMWARE "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
#define SECURE_VARS     "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"

const char *vm_end_name(enum vm_end end)
{
	static const char *const names[] = {
		[VM_END_POWEROFF] = "poweroff", [VM_END_RESET] = "reset",
		[VM_END_PANIC] = "panic",       [VM_END_QUIT] = "quit",
		[VM_END_TIMEOUT] = "timeout",   [VM_END_INTERRUPTED] = "interrupted",
		[VM_END_FAILED] = "failed",
	};

	return names[end];
}

/* --- what it comes to --------------------------------------------------------------------- */

/* A VM that is to hold is one that somebody else ends. */
static bool is_as_reported(enum vm_end end, const char *action)
{
	static const struct {
		const char *action;
		enum vm_end end;
	} pairs[] = {
		{ "stop", VM_END_POWEROFF },    { "restart", VM_END_RESET },
		{ "hold", VM_END_QUIT },        { "hold", VM_END_TIMEOUT },
		{ "hold", VM_END_INTERRUPTED }, { "hold", VM_END_POWEROFF },
	};

	for (size_t i = 0; i < TL_ARRAY_SIZE(pairs); i++)
		if (pairs[i].end == end && action && strcmp(pairs[i].action, action) == 0)
			return true;
	return false;
}

enum vm_status vm_run_status(const struct vm_run *run)
{
	const struct boot_result *last = &run->boots[run->boots_n - 1];
	const char *result = json_string_value(json_object_get(last->report, "result"));
	const char *action = json_string_value(json_object_get(last->report, "action"));

	if (!last->report)
		return VM_STATUS_NO_REPORT;
	if (!is_as_reported(last->end, action))
		return VM_STATUS_DISOBEYED;
	if (result && strcmp(result, "success") == 0)
		return VM_STATUS_SUCCESS;
	return result && strcmp(result, "denied") == 0 ? VM_STATUS_DENIED : VM_STATUS_FAILED;
}

/* --- the boots ---------------------------------------------------------------------------- */

static int boots_run(struct vm_run *run, struct tl_error *err)
{
	const struct vm_options *o = run->options;
	struct boot_plan plan = {
		.options = o,
		.firmware = run->firmware,
		.dir = run->dir,
		.tpm_state = run->tpm_state,
		.is_kvm = run->is_kvm,
		.until_ms = tl_clock_mono_ms() + o->timeout_s * 1000,
		.show = run->show,
		.console_fd = run->console_fd,
	};

	run->boots = calloc(o->restarts_max + 1, sizeof(*run->boots));
	if (!run->boots)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "boots");
	while (run->boots_n <= o->restarts_max) {
		struct boot_result *boot = &run->boots[run->boots_n];
		int r;

		/* A restart of a VM that was loaded is an ordinary boot. */
		plan.incoming = run->boots_n ? NULL : o->incoming;
		r = boot_run(&plan, boot, err);

		if (r < 0)
			return r;
		run->boots_n++;
		if (boot->end == VM_END_FAILED)
			boot_last_words(run->dir, run->last_words, sizeof(run->last_words));
		fprintf(run->show, "[%5" PRIu64 ".%" PRIu64 " s] == the VM ended: %s\n",
			boot->ran_ms / 1000, boot->ran_ms % 1000 / 100, vm_end_name(boot->end));
		if (boot->end != VM_END_RESET)
			break;
	}
	return 0;
}

static int console_open(struct vm_run *run, struct tl_error *err)
{
	const char *path = run->options->console;

	if (!path)
		return 0;
	run->console_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	return run->console_fd < 0 ? tl_fail_sys(err, TL_E_IO, errno, "create '%s'", path) : 0;
}

static void accelerator_choose(struct vm_run *run)
{
	if (run->options->is_kvm_refused)
		snprintf(run->why_no_kvm, sizeof(run->why_no_kvm), "--no-kvm");
	else
		run->is_kvm = kvm_works(run->dir, run->why_no_kvm, sizeof(run->why_no_kvm));
	fprintf(run->show, "[    0.0 s] == %s%s%s%s, 1 CPU, %" PRIu64 " MB, %s\n",
		run->is_kvm ? "KVM" : "TCG", run->is_kvm ? "" : " (", run->why_no_kvm,
		run->is_kvm ? "" : ")", run->options->memory_mb, run->firmware);
}

static int vm_run(struct vm_run *run, struct tl_error *err)
{
	int r = console_open(run, err);

	if (!r)
		r = vm_dir_prepare(run, err);
	if (r)
		return r;
	accelerator_choose(run);
	r = boots_run(run, err);
	if (r)
		return r;
	if (!run->options->is_json)
		return vm_print_text(run), 0;
	r = vm_print_json(run);
	return r < 0 ? tl_fail_sys(err, TL_E_IO, -r, "standard output") : 0;
}

static void run_done(struct vm_run *run)
{
	for (size_t i = 0; i < run->boots_n; i++)
		boot_result_done(&run->boots[i]);
	free(run->boots);
	if (run->console_fd >= 0)
		close(run->console_fd);
	vm_dir_done(run);
}

/* The event loop takes these; the children get them back. */
static void signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int vm_main(int argc, char **argv)
{
	struct vm_options o = { 0 };
	struct vm_run run = { .options = &o, .console_fd = -1 };
	struct tl_error err = { 0 };
	int r = vm_options_parse(&o, argc, argv), status;

	if (r == 0) {
		run.firmware = o.firmware         ? o.firmware
			       : o.is_secure_boot ? SECURE_FIRMWARE
						  : FIRMWARE;
		run.vars = o.vars ? o.vars : o.is_secure_boot ? SECURE_VARS : VARS;
		run.show = o.is_json ? stderr : stdout;
		signals_block();
		r = vm_run(&run, &err);
		if (r < 0)
			fprintf(stderr, "teelaunch vm: %s: %s\n", tl_catalogue_find(err.code)->id,
				err.msg);
		status = r < 0 ? VM_STATUS_COMMAND_FAILED : (int)vm_run_status(&run);
	} else {
		status = r < 0 ? VM_STATUS_COMMAND_FAILED : VM_STATUS_SUCCESS;
	}
	run_done(&run);
	vm_options_done(&o);
	return status;
}
