/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "convert.h"
#include "rpc.h"
#include "task.h"

#define METHOD(name) "/containerd.services.tasks.v1.Tasks/" name

int tl_ctrd_task_create(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			const struct tl_ctrd_mounts *rootfs, const char *stdout_path,
			const char *stderr_path, uint32_t *ret_pid, struct tl_error *err)
{
	Cd__CreateTaskRequest request = CD__CREATE_TASK_REQUEST__INIT;
	auto_message Cd__CreateTaskResponse *response = NULL;
	auto_convert_mounts struct convert_mounts packed = { 0 };
	int r;

	r = convert_mounts_borrow(rootfs, &packed, err);
	if (r < 0)
		return r;
	request.container_id = rpc_borrow(id);
	request.rootfs = packed.pointers;
	request.n_rootfs = packed.n;
	request.stdout = rpc_borrow(stdout_path ? stdout_path : "");
	request.stderr = rpc_borrow(stderr_path ? stderr_path : "");
	r = rpc_unary(c, call, METHOD("Create"), &request.base,
		      &cd__create_task_response__descriptor, &response, err);
	if (r == 0 && ret_pid)
		*ret_pid = response->pid;
	return r;
}

int tl_ctrd_task_start(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		       struct tl_error *err)
{
	Cd__TaskRequest request = CD__TASK_REQUEST__INIT;

	request.container_id = rpc_borrow(id);
	return rpc_unary(c, call, METHOD("Start"), &request.base, &cd__start_response__descriptor,
			 NULL, err);
}

int tl_ctrd_task_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		     struct tl_ctrd_task *ret, struct tl_error *err)
{
	Cd__TaskRequest request = CD__TASK_REQUEST__INIT;
	auto_message Cd__GetTaskResponse *response = NULL;
	int r;

	request.container_id = rpc_borrow(id);
	r = rpc_unary(c, call, METHOD("Get"), &request.base, &cd__get_task_response__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	if (!response->process)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Tasks/Get: no process");
	*ret = (struct tl_ctrd_task){
		.state = (enum tl_ctrd_task_state)response->process->status,
		.pid = response->process->pid,
		.exit_status = response->process->exit_status,
	};
	return 0;
}

int tl_ctrd_task_kill(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		      uint32_t signal, bool is_all, struct tl_error *err)
{
	Cd__KillRequest request = CD__KILL_REQUEST__INIT;

	request.container_id = rpc_borrow(id);
	request.signal = signal;
	request.all = is_all;
	return rpc_unary(c, call, METHOD("Kill"), &request.base, &cd__empty__descriptor, NULL, err);
}

int tl_ctrd_task_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			uint32_t *ret_exit_status, struct tl_error *err)
{
	Cd__DeleteTaskRequest request = CD__DELETE_TASK_REQUEST__INIT;
	auto_message Cd__DeleteTaskResponse *response = NULL;
	int r;

	request.container_id = rpc_borrow(id);
	r = rpc_unary(c, call, METHOD("Delete"), &request.base,
		      &cd__delete_task_response__descriptor, &response, err);
	if (r == 0 && ret_exit_status)
		*ret_exit_status = response->exit_status;
	return r;
}

/* A wait is nothing but a stream; the type only keeps the two apart. */
struct tl_ctrd_wait {
	struct rpc_stream *stream;
};

int tl_ctrd_task_wait_begin(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			    struct tl_ctrd_wait **ret, struct tl_error *err)
{
	Cd__TaskRequest request = CD__TASK_REQUEST__INIT;
	auto_stream struct rpc_stream *s = NULL;
	struct tl_ctrd_wait *w = NULL;
	int r;

	request.container_id = rpc_borrow(id);
	r = rpc_stream_open(c, call, METHOD("Wait"), 0, &s, err);
	if (r == 0)
		r = rpc_stream_send_last(s, &request.base, err);
	if (r < 0)
		return r;
	w = calloc(1, sizeof(*w));
	if (!w)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "wait for the task");
	w->stream = take_ptr(s);
	*ret = w;
	return 0;
}

int tl_ctrd_task_wait_end(struct tl_ctrd_wait *w, uint32_t *ret_exit_status, struct tl_error *err)
{
	auto_message Cd__WaitResponse *response = NULL;
	int r;

	r = rpc_stream_recv(w->stream, &cd__wait_response__descriptor, &response, err);
	if (r == 0)
		r = rpc_stream_finish(w->stream, err);
	if (r < 0)
		return r;
	if (!response)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Tasks/Wait: no exit status");
	*ret_exit_status = response->exit_status;
	return 0;
}

void tl_ctrd_task_wait_cancel(struct tl_ctrd_wait *w)
{
	rpc_stream_cancel(w->stream);
}

struct tl_ctrd_wait *tl_ctrd_task_wait_free(struct tl_ctrd_wait *w)
{
	if (w)
		rpc_stream_free(w->stream);
	free(w);
	return NULL;
}
