/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "leftovers.h"
#include "rootfs.h"
#include "workload_private.h"

#define LEASE_S     (24 * 3600)
#define CREATE_MS   60000 /* mounts, cgroups and namespaces, on a loaded machine */
#define START_TRIES 3
#define BACK_MS     30000

static void workload_freep(struct tl_workload **w)
{
	if (*w)
		tl_workload_destroy(*w, NULL);
}
#define auto_workload __attribute__((cleanup(workload_freep)))

static void text_wipe(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
}

static int workload_new(const struct tl_workload_config *config, struct tl_workload **ret,
			struct tl_error *err)
{
	struct tl_workload *w = calloc(1, sizeof(*w));

	if (!w)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the workload");
	w->oom_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	w->config = *config;
	w->pidfd = -1;
	w->wait.done_fd = -1;
	*ret = w;
	return 0;
}

static struct tl_workload *workload_free(struct tl_workload *w)
{
	output_free(w->output);
	tl_ctrd_task_wait_free(w->wait.wait);
	tl_cancel_free(w->quit);
	if (w->pidfd >= 0)
		close(w->pidfd);
	if (w->wait.done_fd >= 0)
		close(w->wait.done_fd);
	for (size_t i = 0; i < w->env.n; i++)
		text_wipe(w->env.items[i]);
	tl_strv_done(&w->args);
	tl_strv_done(&w->env);
	tl_ctrd_mounts_done(&w->mounts);
	text_wipe(w->spec_json);
	free(w->spec_json);
	pthread_mutex_destroy(&w->oom_lock);
	free(w);
	return NULL;
}

/* Everything that a fault of the input can end, before anything is made. */
static int process_plan(struct tl_workload *w, struct tl_error *err)
{
	return oci_process(w->config.image, w->config.spec, w->config.hostname, &w->args, &w->env,
			   err);
}

static int spec_plan(struct tl_workload *w, struct tl_error *err)
{
	auto_free struct oci_user *user = calloc(1, sizeof(*user));
	auto_free char *cgroups_path = NULL;
	struct oci_input in = {
		.image = w->config.image,
		.spec = w->config.spec,
		.user = user,
		.hostname = w->config.hostname,
		.shared_dir = w->config.shared_dir,
		.nofile_limit = w->config.nofile_limit,
	};
	int r;

	if (!user ||
	    asprintf(&cgroups_path, "/%s/%s", w->config.namespace, TL_WORKLOAD_CONTAINER) < 0)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "the workload");
	in.cgroups_path = cgroups_path;
	r = rootfs_user_resolve(&w->mounts, w->config.image->user, user, err);
	return r < 0 ? r : oci_spec_build(&in, &w->spec_json, err);
}

int workload_spec_compare(const char *stored, const char *built, struct tl_error *err)
{
	if (strcmp(stored, built) == 0)
		return 0;
	return tl_fail(err, TL_E_CONTAINER_SPEC, EBADMSG,
		       "the specification read back differs from the one built");
}

static int spec_verify(struct tl_workload *w, const struct tl_ctrd_call *call, struct tl_error *err)
{
	auto_free char *stored = NULL;
	int r;

	r = tl_ctrd_container_get(w->config.ctrd, call, TL_WORKLOAD_CONTAINER, &stored, NULL, err);
	if (r == 0)
		r = workload_spec_compare(stored, w->spec_json, err);
	text_wipe(stored);
	return r;
}

static int container_make(struct tl_workload *w, const struct tl_ctrd_call *call,
			  struct tl_error *err)
{
	struct tl_ctrd *c = w->config.ctrd;
	struct tl_ctrd_container container = {
		.id = TL_WORKLOAD_CONTAINER,
		.image = w->config.image_name,
		.snapshot_key = TL_WORKLOAD_SNAPSHOT,
	};
	int r;

	r = tl_ctrd_snapshot_prepare(c, call, TL_WORKLOAD_SNAPSHOT, w->config.chain_id, &w->mounts,
				     err);
	if (r == 0)
		r = spec_plan(w, err);
	if (r < 0)
		return r;
	container.spec_json = w->spec_json;
	r = tl_ctrd_container_create(c, call, &container, err);
	return r < 0 ? r : spec_verify(w, call, err);
}

/* The lease only bridges the time until the container refers to the snapshot. */
static int container_make_leased(struct tl_workload *w, struct tl_cancel *cancel,
				 struct tl_error *err)
{
	struct tl_ctrd_call call = { .cancel = cancel };
	int r;

	r = tl_ctrd_lease_create(w->config.ctrd, &call, TL_WORKLOAD_LEASE, LEASE_S, err);
	if (r < 0)
		return r;
	call.lease = TL_WORKLOAD_LEASE;
	r = container_make(w, &call, err);
	if (r < 0)
		return r;
	call.lease = NULL;
	return tl_ctrd_lease_delete(w->config.ctrd, &call, TL_WORKLOAD_LEASE, false, err);
}

/* Sinks of the mode (tee-container-log-redirect). */
static int output_make(struct tl_workload *w, struct tl_error *err)
{
	enum tl_log_redirect mode = w->config.spec->log_redirect;
	bool is_console = mode == TL_LOG_SERIAL || mode == TL_LOG_EVERYWHERE;
	bool is_json = mode == TL_LOG_CLOUD_LOGGING || mode == TL_LOG_EVERYWHERE;
	struct output_config config = {
		.dir = w->config.fifo_dir,
		.console_fd = is_console ? w->config.console_fd : -1,
		.is_console_raw = w->config.is_console_raw,
		.stdout_fd = is_json ? w->config.stdout_fd : -1,
		.stderr_fd = is_json ? w->config.stderr_fd : -1,
		.records = is_json ? w->config.records : NULL,
		.records_ctx = w->config.records_ctx,
	};

	return mode == TL_LOG_NOWHERE ? 0 : output_open(&config, &w->output, err);
}

/* runc's words for a program or a working directory that can't be used, whatever the version. */
static const char *const program_faults[] = {
	"unable to start container process: exec",
	"unable to start container process: chdir",
	"container_linux.go: starting container process caused: exec",
	"process_linux.go: starting container process caused: exec",
};

/* Its words for a root file system or a mount of the specification that can't be made... */
static const char *const setup_faults[] = { "error during container init", "error mounting" };
/* ...unless it is the machine that can't, now. */
static const char *const machine_faults[] = {
	"cannot allocate memory", "no space left on device",          "input/output error",
	"too many open files",    "resource temporarily unavailable", "device or resource busy",
};

static bool has_any(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strstr(text, words[i]))
			return true;
	return false;
}

int workload_runtime_error(int r, const struct tl_error *reason, struct tl_error *err)
{
	if (r == -EIO && has_any(reason->msg, program_faults, TL_ARRAY_SIZE(program_faults)))
		return tl_fail(err, TL_E_WORKLOAD_PROGRAM, ENOEXEC,
			       "the workload can't be started: %s", reason->msg);
	if (r == -EIO && has_any(reason->msg, setup_faults, TL_ARRAY_SIZE(setup_faults)) &&
	    !has_any(reason->msg, machine_faults, TL_ARRAY_SIZE(machine_faults)))
		return tl_fail(err, TL_E_CONTAINER_SETUP, EINVAL, "%s", reason->msg);
	if (r == -EIO)
		return tl_fail(err, TL_E_CONTAINER_CREATE, EIO, "%s", reason->msg);
	if (err)
		*err = *reason;
	return r;
}

static int task_create(struct tl_workload *w, const struct tl_ctrd_call *call, struct tl_error *err)
{
	return tl_ctrd_task_create(w->config.ctrd, call, TL_WORKLOAD_CONTAINER, &w->mounts,
				   output_stdout_path(w->output), output_stderr_path(w->output),
				   &w->pid, err);
}

static int task_make(struct tl_workload *w, struct tl_cancel *cancel, struct tl_error *err)
{
	struct tl_ctrd_call call = { .cancel = cancel,
				     .deadline = tl_deadline_in(tl_clock_mono_ms(), CREATE_MS) };
	struct tl_error reason = { 0 };
	int r;

	r = task_create(w, &call, &reason);
	/* A leftover that is invisible without a container of its name (leftovers.c). */
	if (r == -EEXIST && leftovers_task_remove(w->config.ctrd, &call, &reason) == 0)
		r = task_create(w, &call, &reason);
	if (r < 0)
		return workload_runtime_error(r, &reason, err);
	/* A handle that can't mean another process later; only a help when containerd is away. */
	w->pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	return 0;
}

int tl_workload_create(const struct tl_workload_config *config, struct tl_cancel *cancel,
		       struct tl_workload **ret, struct tl_error *err)
{
	auto_workload struct tl_workload *w = NULL;
	int r;

	r = workload_new(config, &w, err);
	if (r < 0)
		return r;
	r = process_plan(w, err);
	if (r == 0)
		r = tl_workload_sweep(config->ctrd, cancel, err);
	if (r < 0) {
		w = workload_free(w); /* nothing was made */
		return r;
	}
	r = container_make_leased(w, cancel, err);
	if (r == 0)
		r = output_make(w, err);
	if (r == 0)
		r = task_make(w, cancel, err);
	if (r < 0)
		return r;
	*ret = take_ptr(w);
	return 0;
}

uint32_t tl_workload_pid(const struct tl_workload *w)
{
	return w->pid;
}

const struct tl_strv *tl_workload_args(const struct tl_workload *w)
{
	return &w->args;
}

const struct tl_strv *tl_workload_env(const struct tl_workload *w)
{
	return &w->env;
}

const char *tl_workload_spec_json(const struct tl_workload *w)
{
	return w->spec_json;
}

/* containerd went away during Start: did it happen? 1 yes, 0 no, or an error. */
static int is_task_started(struct tl_workload *w, struct tl_error *err)
{
	struct tl_ctrd_call call = { .deadline = tl_deadline_in(tl_clock_mono_ms(), BACK_MS) };
	struct tl_ctrd_task task = { 0 };
	int r;

	r = tl_ctrd_wait_ready(w->config.ctrd, &call, err);
	if (r == 0)
		r = tl_ctrd_task_get(w->config.ctrd, NULL, TL_WORKLOAD_CONTAINER, &task, err);
	return r < 0 ? r : task.state != TL_CTRD_TASK_CREATED;
}

static int task_start(struct tl_workload *w, struct tl_error *err)
{
	struct tl_error reason = { 0 };
	int r = tl_ctrd_task_start(w->config.ctrd, NULL, TL_WORKLOAD_CONTAINER, &reason);

	for (int i = 1; r == -ECONNRESET && i < START_TRIES; i++) {
		int started = is_task_started(w, &reason);

		if (started != 0)
			return started < 0 ? workload_runtime_error(started, &reason, err) : 0;
		r = tl_ctrd_task_start(w->config.ctrd, NULL, TL_WORKLOAD_CONTAINER, &reason);
	}
	return r < 0 ? workload_runtime_error(r, &reason, err) : 0;
}

int tl_workload_start(struct tl_workload *w, struct tl_error *err)
{
	int r;

	r = run_wait_register(w, err);
	if (r == 0)
		r = run_threads_start(w, err);
	if (r == 0)
		r = w->output ? output_start(w->output, err) : 0;
	if (r == 0) {
		w->start_ms = tl_clock_mono_ms();
		r = task_start(w, err);
	}
	if (r == 0)
		r = healthcheck_start(w, &w->healthcheck, err);
	if (r < 0)
		run_threads_end(w);
	return r;
}

int tl_workload_destroy(struct tl_workload *w, struct tl_error *err)
{
	int r;

	if (!w)
		return 0;
	run_threads_end(w);
	r = leftovers_remove(w->config.ctrd, NULL, err);
	workload_free(w);
	return r;
}
