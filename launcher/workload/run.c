/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From start to end. tl-wait asks containerd for the exit status, again and again if containerd
 * goes away; tl-oom listens for out-of-memory kills; the main thread relays signals and keeps the
 * time.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/thread.h>

#include "workload_private.h"

#define DRAIN_DEFAULT_MS 10000
#define RETRY_MS         200
/* A dead workload's status is worth waiting for that long; a living one is waited for anyhow. */
#define LOST_MS 60000
/* Nothing survives SIGKILL that long but a process the kernel itself holds. */
#define KILLED_MS     30000
#define FAILURES_MAX  5
#define OOM_LATE_MS   300
#define SIGNAL_STATUS 128 /* runc: 128 + signal */

/* True once the workload's first process has ended; false if that can't be known. */
static bool is_process_dead(const struct tl_workload *w)
{
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };

	return w->pidfd >= 0 && poll(&p, 1, 0) > 0 && p.revents & POLLIN;
}

static struct tl_ctrd_call thread_call(const struct tl_workload *w)
{
	return (struct tl_ctrd_call){ .cancel = w->quit };
}

static int wait_begin(struct tl_workload *w, struct tl_error *err)
{
	struct tl_ctrd_call call = thread_call(w);

	return tl_ctrd_task_wait_begin(w->config.ctrd, &call, TL_WORKLOAD_CONTAINER, &w->wait.wait,
				       err);
}

int run_wait_register(struct tl_workload *w, struct tl_error *err)
{
	w->quit = tl_cancel_new();
	w->wait.done_fd = eventfd(0, EFD_CLOEXEC);
	if (!w->quit || w->wait.done_fd < 0)
		return tl_fail_sys(err, TL_E_CONTAINER_CREATE, errno, "wait for the workload");
	return wait_begin(w, err);
}

static int wait_once(struct tl_workload *w, struct tl_error *err)
{
	struct wait_state *s = &w->wait;
	int r = s->wait ? 0 : wait_begin(w, err);

	if (r == 0)
		r = tl_ctrd_task_wait_end(s->wait, &s->exit_status, err);
	s->wait = tl_ctrd_task_wait_free(s->wait);
	return r;
}

/* Only a status from containerd counts as an end; that containerd is away does not. */
static int wait_persistently(struct tl_workload *w, struct tl_error *err)
{
	struct tl_error reason = { 0 };
	uint64_t dead_since_ms = 0;
	int failures = 0;

	for (;;) {
		int r = wait_once(w, &reason);

		if (r == 0 || r == -ECANCELED)
			return r;
		if (r != -ECONNRESET && ++failures == FAILURES_MAX)
			break;
		if (r == -ENOENT)
			break;
		if (!dead_since_ms && is_process_dead(w))
			dead_since_ms = tl_clock_mono_ms();
		if (dead_since_ms && tl_clock_mono_ms() - dead_since_ms > LOST_MS)
			break;
		tl_cancel_sleep(w->quit, RETRY_MS);
	}
	return tl_fail(err, TL_E_WORKLOAD_LOST, EIO, "how the workload ended: %s", reason.msg);
}

static void *wait_main(void *arg)
{
	struct tl_workload *w = arg;
	uint64_t one = 1;

	w->wait.r = wait_persistently(w, &w->wait.err);
	w->wait.end_ms = tl_clock_mono_ms();
	while (write(w->wait.done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
	return NULL;
}

/* Shown to the main thread, so that it can end the call; false if it wants the end already. */
static bool oom_events_show(struct tl_workload *w, struct tl_ctrd_events *events)
{
	bool is_wanted;

	pthread_mutex_lock(&w->oom_lock);
	w->oom_events = events;
	is_wanted = !tl_cancel_is_requested(w->quit);
	pthread_mutex_unlock(&w->oom_lock);
	return is_wanted;
}

static int oom_events_read(struct tl_workload *w, const struct tl_strv *filters)
{
	/* No cancellation here: the call would have to look for it several times a second. */
	struct tl_ctrd_call call = { 0 };
	struct tl_ctrd_events *events = NULL;
	int r = tl_ctrd_events_open(w->config.ctrd, &call, filters, &events, NULL);

	if (r == 0 && !oom_events_show(w, events))
		r = -ECANCELED;

	while (r == 0) {
		auto_free char *topic = NULL;
		auto_free char *id = NULL;

		r = tl_ctrd_events_next(events, &topic, &id, NULL);
		if (r == 0 && strcmp(id, TL_WORKLOAD_CONTAINER) == 0)
			atomic_store(&w->is_oom_killed, true);
	}
	(void)oom_events_show(w, NULL);
	tl_ctrd_events_close(events);
	return r;
}

/* Best effort: what happens while containerd is away isn't heard. */
static void *oom_main(void *arg)
{
	struct tl_workload *w = arg;
	auto_strv struct tl_strv filters = { 0 };

	if (tl_strv_add(&filters, "topic==\"/tasks/oom\"") < 0)
		return NULL;
	while (!tl_cancel_is_requested(w->quit))
		if (oom_events_read(w, &filters) < 0)
			tl_cancel_sleep(w->quit, RETRY_MS);
	return NULL;
}

int run_threads_start(struct tl_workload *w, struct tl_error *err)
{
	int r = tl_thread_start("tl-oom", oom_main, w, &w->oom_thread, err);

	w->is_oom_thread_started = r == 0;
	if (r == 0)
		r = tl_thread_start("tl-wait", wait_main, w, &w->wait.thread, err);
	w->wait.is_started = r == 0;
	return r;
}

/* What it found is this thread's to read from here on. */
static void wait_join(struct tl_workload *w)
{
	if (w->wait.is_started)
		pthread_join(w->wait.thread, NULL);
	w->wait.is_started = false;
}

void run_threads_end(struct tl_workload *w)
{
	w->healthcheck = healthcheck_stop(w->healthcheck);
	pthread_mutex_lock(&w->oom_lock);
	if (w->quit)
		tl_cancel_request(w->quit);
	if (w->oom_events)
		tl_ctrd_events_cancel(w->oom_events);
	pthread_mutex_unlock(&w->oom_lock);
	wait_join(w);
	if (w->is_oom_thread_started)
		pthread_join(w->oom_thread, NULL);
	w->is_oom_thread_started = false;
}

/* What was asked for and what was delivered. */
struct relay {
	bool is_term_wanted, is_term_sent;
	bool is_kill_wanted, is_kill_sent;
	uint64_t kill_at_ms; /* UINT64_MAX: never */
};

/* Past containerd when it is away: a shutdown doesn't wait for it. */
static bool signal_send(struct tl_workload *w, int signal, bool is_all)
{
	struct tl_ctrd_call call = { .deadline = tl_deadline_in(tl_clock_mono_ms(), 5000) };
	int r = tl_ctrd_task_kill(w->config.ctrd, &call, TL_WORKLOAD_CONTAINER, (uint32_t)signal,
				  is_all, NULL);

	if (r == 0 || r == -ENOENT)
		return true;
	return w->pidfd >= 0 && syscall(SYS_pidfd_send_signal, w->pidfd, signal, NULL, 0) == 0;
}

static void relay_step(struct tl_workload *w, struct tl_cancel *terminate, struct relay *s)
{
	uint64_t now_ms = tl_clock_mono_ms();

	if (!s->is_term_wanted && tl_cancel_is_requested(terminate)) {
		s->is_term_wanted = true;
		if (w->config.kill_grace_ms)
			s->kill_at_ms = tl_deadline_in(now_ms, w->config.kill_grace_ms).at_ms;
	}
	if (!s->is_kill_wanted && tl_cancel_is_requested(w->config.kill)) {
		s->is_term_wanted = s->is_term_sent = true; /* too late for that */
		s->kill_at_ms = now_ms;
	}
	s->is_kill_wanted = s->is_kill_wanted || now_ms >= s->kill_at_ms;
	if (s->is_term_wanted && !s->is_term_sent)
		s->is_term_sent = signal_send(w, SIGTERM, false);
	if (s->is_kill_wanted && !s->is_kill_sent)
		s->is_kill_sent = signal_send(w, SIGKILL, true);
}

static int relay_wait_ms(const struct relay *s)
{
	uint64_t now_ms = tl_clock_mono_ms();
	uint64_t until_ms;

	if ((s->is_term_wanted && !s->is_term_sent) || (s->is_kill_wanted && !s->is_kill_sent))
		return RETRY_MS;
	if (s->kill_at_ms == UINT64_MAX)
		return -1;
	until_ms = s->is_kill_wanted ? s->kill_at_ms + KILLED_MS : s->kill_at_ms;
	return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

/* poll()'s timeout: the relay's, or until the next step if that comes earlier. */
static int wait_ms(const struct relay *s, uint64_t step_ms)
{
	int relay_ms = relay_wait_ms(s);

	if (step_ms == UINT64_MAX || (relay_ms >= 0 && (uint64_t)relay_ms <= step_ms))
		return relay_ms;
	return step_ms < INT_MAX ? (int)step_ms : INT_MAX;
}

/* False: it should have ended, and hasn't. */
static bool relay_until_end(struct tl_workload *w, struct tl_cancel *terminate)
{
	struct relay s = { .kill_at_ms = UINT64_MAX };
	struct pollfd fds[3] = { { .fd = w->wait.done_fd, .events = POLLIN } };

	for (;;) {
		uint64_t step_ms = UINT64_MAX;

		relay_step(w, terminate, &s);
		if (w->config.step)
			step_ms = w->config.step(w->config.step_ctx);
		fds[1] = (struct pollfd){
			.fd = s.is_term_wanted ? -1 : tl_cancel_fd(terminate),
			.events = POLLIN,
		};
		fds[2] = (struct pollfd){
			.fd = s.is_kill_wanted ? -1 : tl_cancel_fd(w->config.kill),
			.events = POLLIN,
		};
		if (poll(fds, TL_ARRAY_SIZE(fds), wait_ms(&s, step_ms)) > 0 && fds[0].revents)
			return true;
		if (s.is_kill_wanted && tl_clock_mono_ms() >= s.kill_at_ms + KILLED_MS)
			return false;
	}
}

/* The kernel's kill and containerd's event about it come by different ways. */
static void oom_event_await(const struct tl_workload *w)
{
	if (w->wait.exit_status != SIGNAL_STATUS + SIGKILL)
		return;
	for (int i = 0; i < OOM_LATE_MS / 20 && !atomic_load(&w->is_oom_killed); i++)
		tl_clock_sleep_ms(20);
}

int tl_workload_wait(struct tl_workload *w, struct tl_cancel *terminate,
		     struct tl_workload_end *ret, struct tl_error *err)
{
	struct output_stats output = { 0 };
	uint64_t drain_ms = w->config.drain_ms ? w->config.drain_ms : DRAIN_DEFAULT_MS;
	bool is_ended = relay_until_end(w, terminate);
	uint32_t status;

	w->healthcheck = healthcheck_stop(w->healthcheck);
	if (is_ended)
		wait_join(w);
	if (is_ended && w->wait.r == 0)
		oom_event_await(w);
	if (w->output)
		output_finish(w->output, drain_ms, &output);
	run_threads_end(w);
	if (!is_ended && w->wait.r < 0)
		return tl_fail(err, TL_E_WORKLOAD_LOST, ETIMEDOUT,
			       "the workload hasn't ended %d seconds after SIGKILL",
			       KILLED_MS / 1000);
	if (w->wait.r < 0) {
		if (err)
			*err = w->wait.err;
		return w->wait.r;
	}
	status = w->wait.exit_status;
	*ret = (struct tl_workload_end){
		.exit_status = status,
		.signal = status > SIGNAL_STATUS && status <= SIGNAL_STATUS + (uint32_t)SIGRTMAX
				  ? (int)status - SIGNAL_STATUS
				  : 0,
		.is_oom_killed = atomic_load(&w->is_oom_killed),
		.run_ms = w->wait.end_ms - w->start_ms,
		.output_bytes = output.bytes,
		.output_lines = output.lines,
		.output_dropped_bytes = output.dropped_bytes,
		.is_output_cut = output.is_cut,
	};
	return 0;
}

int tl_workload_judge(const struct tl_workload_end *end, struct tl_error *err)
{
	if (end->exit_status == 0)
		return 0;
	if (end->is_oom_killed && end->signal == SIGKILL)
		return tl_fail(err, TL_E_WORKLOAD_OOM, ENOMEM,
			       "the workload was killed because memory ran out (status %u)",
			       end->exit_status);
	if (end->signal)
		return tl_fail(err, TL_E_WORKLOAD_SIGNAL, EINTR,
			       "the workload was ended by signal %d (%s), or chose status %u",
			       end->signal,
			       sigabbrev_np(end->signal) ? sigabbrev_np(end->signal) : "?",
			       end->exit_status);
	return tl_fail(err, TL_E_WORKLOAD_STATUS, ECHILD, "the workload ended with status %u",
		       end->exit_status);
}
