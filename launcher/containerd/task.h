/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers, their tasks, and events (api/services/{containers,tasks,events}/v1). Conventions:
 * containerd.h.
 */
#pragma once

#include "containerd.h"

struct tl_ctrd_container {
	const char *id;
	const char *image;     /* name of the image record; information only */
	const char *spec_json; /* OCI runtime spec */
	const char *snapshot_key;
};

/** Borrows everything; -EEXIST. Runtime TL_CTRD_RUNTIME, snapshotter TL_CTRD_SNAPSHOTTER. */
int tl_ctrd_container_create(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			     const struct tl_ctrd_container *container, struct tl_error *err);
/** The stored spec, byte for byte, and the key of the snapshot; either may be NULL. -ENOENT. */
int tl_ctrd_container_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			  char **ret_spec_json, char **ret_snapshot_key, struct tl_error *err);
int tl_ctrd_container_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			     struct tl_error *err);

enum tl_ctrd_task_state { /* numbers of api/types/task Status */
			  TL_CTRD_TASK_UNKNOWN = 0,
			  TL_CTRD_TASK_CREATED = 1,
			  TL_CTRD_TASK_RUNNING = 2,
			  TL_CTRD_TASK_STOPPED = 3,
			  TL_CTRD_TASK_PAUSED = 4,
			  TL_CTRD_TASK_PAUSING = 5,
};
struct tl_ctrd_task {
	enum tl_ctrd_task_state state;
	uint32_t pid;
	uint32_t exit_status; /* of a stopped task; 128 + signal after a signal (runc) */
};

/**
 * Create the task of container @id: sets everything up, runs nothing of the image.
 *
 * @stdout_path, @stderr_path  FIFOs whose read ends are open already; NULL = /dev/null
 * @ret_pid                    process id of the container's init
 */
int tl_ctrd_task_create(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			const struct tl_ctrd_mounts *rootfs, const char *stdout_path,
			const char *stderr_path, uint32_t *ret_pid, struct tl_error *err);
int tl_ctrd_task_start(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		       struct tl_error *err);
int tl_ctrd_task_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		     struct tl_ctrd_task *ret, struct tl_error *err);
/** @is_all: every process of the container, not only its init. -ENOENT: it has ended already. */
int tl_ctrd_task_kill(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		      uint32_t signal, bool is_all, struct tl_error *err);
/** Only a stopped task, or one never started, can be deleted. @ret_exit_status may be NULL. */
int tl_ctrd_task_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			uint32_t *ret_exit_status, struct tl_error *err);

/* Waiting for a task's end: the request is on its way when _begin returns. */
struct tl_ctrd_wait;
/** @call: lease is not used; deadline at_ms 0 = never. */
int tl_ctrd_task_wait_begin(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			    struct tl_ctrd_wait **ret, struct tl_error *err);
/** Block until the end. -ECONNRESET: containerd is gone, the task may well still run: begin again.
 */
int tl_ctrd_task_wait_end(struct tl_ctrd_wait *w, uint32_t *ret_exit_status, struct tl_error *err);
/** From any thread: _end returns -ECANCELED. */
void tl_ctrd_task_wait_cancel(struct tl_ctrd_wait *w);
struct tl_ctrd_wait *tl_ctrd_task_wait_free(struct tl_ctrd_wait *w);

/**
 * Run one more process in a running container, to its end; its input and output are /dev/null.
 *
 * @exec_id       one that no other process of the container has had
 * @process_json  "process" of an OCI runtime specification
 * @call          its deadline ends the process with SIGKILL, then -ETIMEDOUT; so does its
 *                cancellation. Until the process runs, a deadline says that containerd is late:
 *                -ECONNRESET
 * Whatever happens, nothing of it is left, if containerd answers within three seconds (a fraction
 * of one after a cancellation, which is for a container that ends).
 */
int tl_ctrd_exec_run(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		     const char *exec_id, const char *process_json, uint32_t *ret_exit_status,
		     struct tl_error *err);

/* Events, from the moment _open returns on. Events in a gap (restart of containerd) are lost. */
struct tl_ctrd_events;
/** @filters  containerd's filter syntax, one alternative each: `topic=="/tasks/oom"`. */
int tl_ctrd_events_open(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			const struct tl_strv *filters, struct tl_ctrd_events **ret,
			struct tl_error *err);
/** Block for the next event of the connection's namespace. @ret_container_id: of a task event, else
 * "".
 */
int tl_ctrd_events_next(struct tl_ctrd_events *e, char **ret_topic, char **ret_container_id,
			struct tl_error *err);
void tl_ctrd_events_cancel(struct tl_ctrd_events *e); /* from any thread */
struct tl_ctrd_events *tl_ctrd_events_close(struct tl_ctrd_events *e);
