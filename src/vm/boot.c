/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/file.h>

#include "boot_private.h"

/* What the guest gets after the power button, and qemu after it was told to end. */
#define POWERDOWN_GRACE_MS 60000
#define QUIT_GRACE_US      5000000
#define LOG_MAX_BYTES      (256 * 1024)

/* --- ending it ---------------------------------------------------------------------------- */

static int on_kill(sd_event_source *source, uint64_t now_us, void *arg)
{
	struct boot *b = arg;

	(void)source;
	(void)now_us;
	return kill(b->qemu, SIGKILL) < 0 && errno != ESRCH ? -errno : 0;
}

/* The reason is ours, whatever the monitor says about its end. */
static int boot_quit(struct boot *b, enum vm_end end)
{
	if (b->has_shutdown)
		return 0;
	b->has_shutdown = true;
	b->result->end = end;
	boot_qmp_send(b, "quit");
	return sd_event_add_time_relative(b->loop, &b->kill_source, CLOCK_MONOTONIC, QUIT_GRACE_US,
					  0, on_kill, b);
}

static int on_until(sd_event_source *source, uint64_t now_us, void *arg)
{
	struct boot *b = arg;

	(void)source;
	(void)now_us;
	boot_say(b, "== %s", b->signals ? "the power button was of no use" : "the time is up");
	return boot_quit(b, b->signals ? VM_END_INTERRUPTED : VM_END_TIMEOUT);
}

static int until_set(struct boot *b, uint64_t in_ms)
{
	uint64_t us = in_ms * 1000;

	if (b->until_source)
		return sd_event_source_set_time_relative(b->until_source, us);
	return sd_event_add_time_relative(b->loop, &b->until_source, CLOCK_MONOTONIC, us, 0,
					  on_until, b);
}

/* The first is the power button, the second the plug. */
static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *arg)
{
	struct boot *b = arg;
	uint64_t now_ms = tl_clock_mono_ms();

	(void)source;
	(void)info;
	if (b->signals++)
		return boot_quit(b, VM_END_INTERRUPTED);
	boot_qmp_send(b, "system_powerdown");
	if (b->plan->until_ms > now_ms && b->plan->until_ms - now_ms < POWERDOWN_GRACE_MS)
		return 0;
	return until_set(b, POWERDOWN_GRACE_MS);
}

/* --- what comes from qemu and swtpm ------------------------------------------------------- */

static int on_console(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	struct boot *b = arg;
	int r = boot_console_read(b);

	(void)fd;
	(void)events;
	if (r < 0 && r != -EAGAIN && r != -EINTR)
		return tl_fail_sys(b->err, TL_E_IO, -r, "the VM's console");
	return r ? 0 : sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

static int on_qmp(sd_event_source *source, int fd, uint32_t events, void *arg)
{
	int r = boot_qmp_read(arg);

	(void)fd;
	(void)events;
	if (r < 0 && r != -EAGAIN)
		return r;
	return r ? 0 : sd_event_source_set_enabled(source, SD_EVENT_OFF);
}

/* The last words of the monitor and the console may still be on their way. */
static int on_qemu_end(sd_event_source *source, const siginfo_t *info, void *arg)
{
	struct boot *b = arg;

	(void)source;
	(void)info;
	b->qemu = 0;
	while (boot_qmp_read(b) > 0)
		;
	while (boot_console_read(b) > 0)
		;
	boot_console_finish(b);
	return sd_event_exit(b->loop, 0);
}

static int on_swtpm_end(sd_event_source *source, const siginfo_t *info, void *arg)
{
	struct boot *b = arg;

	(void)source;
	(void)info;
	b->swtpm = 0;
	if (!b->has_shutdown)
		boot_say(b, "== the software TPM ended");
	return 0;
}

/* --- the boot ----------------------------------------------------------------------------- */

/* Sources that are added first see what happened first: all of them before the first start. */
static int loop_new(struct boot *b)
{
	static const int signals[] = { SIGINT, SIGTERM };
	uint64_t now_ms = tl_clock_mono_ms();
	int r = sd_event_new(&b->loop);

	for (size_t i = 0; r >= 0 && i < TL_ARRAY_SIZE(signals); i++)
		r = sd_event_add_signal(b->loop, &b->signal_sources[i], signals[i], on_signal, b);
	if (r >= 0)
		r = until_set(b, b->plan->until_ms > now_ms ? b->plan->until_ms - now_ms : 0);
	return r < 0 ? tl_fail_sys(b->err, TL_E_VM_SERVE, -r, "event loop") : 0;
}

static int loop_watch(struct boot *b)
{
	int r = sd_event_add_child(b->loop, &b->swtpm_source, b->swtpm, WEXITED, on_swtpm_end, b);

	if (r >= 0)
		r = sd_event_add_child(b->loop, &b->qemu_source, b->qemu, WEXITED, on_qemu_end, b);
	if (r >= 0)
		r = sd_event_add_io(b->loop, &b->qmp_source, b->qmp_fd, EPOLLIN, on_qmp, b);
	if (r >= 0)
		r = sd_event_add_io(b->loop, &b->console_source, b->console_fd, EPOLLIN, on_console,
				    b);
	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(b->qmp_source, true);
	if (r >= 0)
		r = sd_event_source_set_exit_on_failure(b->console_source, true);
	return r < 0 ? tl_fail_sys(b->err, TL_E_VM_SERVE, -r, "event loop") : 0;
}

static int boot_loop(struct boot *b)
{
	int r = loop_watch(b);

	if (r < 0)
		return r;
	r = sd_event_loop(b->loop);
	if (r < 0 && !b->err->code)
		tl_fail_sys(b->err, TL_E_VM_SERVE, -r, "event loop");
	return r;
}

static void boot_done(struct boot *b)
{
	sd_event_source **sources[] = { &b->console_source,    &b->qmp_source,
					&b->qemu_source,       &b->swtpm_source,
					&b->signal_sources[0], &b->signal_sources[1],
					&b->until_source,      &b->kill_source,
					&b->poll_source };

	for (size_t i = 0; i < TL_ARRAY_SIZE(sources); i++)
		sd_event_source_disable_unref(*sources[i]);
	boot_stop(b);
	sd_event_unref(b->loop);
	console_done(&b->console);
	tl_buf_done(&b->qmp_line);
}

int boot_run(const struct boot_plan *plan, struct boot_result *ret, struct tl_error *err)
{
	struct tl_error own = { 0 };
	struct boot b = { .plan = plan,
			  .result = ret,
			  .err = &own,
			  .start_ms = tl_clock_mono_ms(),
			  .console_fd = -1,
			  .qmp_fd = -1 };
	int r;

	*ret = (struct boot_result){ .end = VM_END_FAILED };
	console_init(&b.console);
	tl_buf_init(&b.qmp_line, QMP_LINE_MAX);
	r = loop_new(&b);
	if (!r)
		r = boot_start(&b);
	if (!r)
		r = boot_loop(&b);
	ret->ran_ms = tl_clock_mono_ms() - b.start_ms;
	boot_done(&b);
	if (r < 0)
		*err = own;
	return r;
}

void boot_result_done(struct boot_result *r)
{
	json_decref(r->report);
	r->report = NULL;
}

void boot_last_words(const char *dir, char *ret, size_t cap_bytes)
{
	auto_buf struct tl_buf text = { 0 };
	auto_free char *path = NULL;
	char *line;

	*ret = '\0';
	tl_buf_init(&text, LOG_MAX_BYTES);
	if (asprintf(&path, "%s/qemu.log", dir) < 0) {
		path = NULL;
		return;
	}
	if (tl_file_read(path, &text, NULL) < 0 || !text.len_bytes)
		return;
	if (text.data[text.len_bytes - 1] == '\n')
		text.data[text.len_bytes - 1] = '\0';
	line = strrchr((char *)text.data, '\n');
	tl_str_escape(line ? line + 1 : (char *)text.data, ret, cap_bytes);
}
