/* SPDX-License-Identifier: Apache-2.0 */
/* One more process in a container: api/services/tasks/v1, with an exec_id. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>

#include "containerd.pb-c.h"
#include "rpc.h"
#include "task.h"

#define METHOD(name) "/containerd.services.tasks.v1.Tasks/" name
/* typeurl.MarshalAny() of containerd 1.6 */
#define PROCESS_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Process"
/* For the end of a process that was killed, and for forgetting it. */
#define END_MS 3000
/* The same when the caller wants to be gone: then the container is about to end as well. */
#define END_CANCELLED_MS 300

struct exec {
	struct tl_ctrd *c;
	const char *id, *exec_id;
};

static int exec_create(const struct exec *e, const struct tl_ctrd_call *call, const char *json,
		       struct tl_error *err)
{
	Cd__ExecProcessRequest request = CD__EXEC_PROCESS_REQUEST__INIT;
	Cd__Any spec = CD__ANY__INIT;

	spec.type_url = rpc_borrow(PROCESS_TYPE);
	spec.value =
		(ProtobufCBinaryData){ .len = strlen(json), .data = (uint8_t *)(uintptr_t)json };
	request.container_id = rpc_borrow(e->id);
	request.exec_id = rpc_borrow(e->exec_id);
	request.spec = &spec;
	return rpc_unary(e->c, call, METHOD("Exec"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}

static Cd__TaskRequest task_request(const struct exec *e)
{
	Cd__TaskRequest request = CD__TASK_REQUEST__INIT;

	request.container_id = rpc_borrow(e->id);
	request.exec_id = rpc_borrow(e->exec_id);
	return request;
}

static int wait_open(const struct exec *e, const struct tl_ctrd_call *call, struct rpc_stream **ret,
		     struct tl_error *err)
{
	Cd__TaskRequest request = task_request(e);
	int r = rpc_stream_open(e->c, call, METHOD("Wait"), 0, ret, err);

	return r < 0 ? r : rpc_stream_send_last(*ret, &request.base, err);
}

static int wait_end(struct rpc_stream *s, uint32_t *ret_exit_status, struct tl_error *err)
{
	auto_message Cd__WaitResponse *response = NULL;
	int r = rpc_stream_recv(s, &cd__wait_response__descriptor, &response, err);

	if (r == 0)
		r = rpc_stream_finish(s, err);
	if (r < 0)
		return r;
	if (!response)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Tasks/Wait: no exit status");
	*ret_exit_status = response->exit_status;
	return 0;
}

static int exec_start(const struct exec *e, const struct tl_ctrd_call *call, struct tl_error *err)
{
	Cd__TaskRequest request = task_request(e);

	return rpc_unary(e->c, call, METHOD("Start"), &request.base,
			 &cd__start_response__descriptor, NULL, err);
}

static int exec_delete(const struct exec *e, const struct tl_ctrd_call *call)
{
	Cd__DeleteProcessRequest request = CD__DELETE_PROCESS_REQUEST__INIT;

	request.container_id = rpc_borrow(e->id);
	request.exec_id = rpc_borrow(e->exec_id);
	return rpc_unary(e->c, call, METHOD("DeleteProcess"), &request.base,
			 &cd__delete_task_response__descriptor, NULL, NULL);
}

/* A process that runs can't be deleted. */
static void exec_kill(const struct exec *e, const struct tl_ctrd_call *call)
{
	Cd__KillRequest request = CD__KILL_REQUEST__INIT;
	auto_stream struct rpc_stream *s = NULL;
	uint32_t status;

	request.container_id = rpc_borrow(e->id);
	request.exec_id = rpc_borrow(e->exec_id);
	request.signal = SIGKILL;
	if (wait_open(e, call, &s, NULL) == 0 &&
	    rpc_unary(e->c, call, METHOD("Kill"), &request.base, &cd__empty__descriptor, NULL,
		      NULL) == 0)
		(void)wait_end(s, &status, NULL);
}

int tl_ctrd_exec_run(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
		     const char *exec_id, const char *process_json, uint32_t *ret_exit_status,
		     struct tl_error *err)
{
	const struct exec e = { c, id, exec_id };
	auto_stream struct rpc_stream *s = NULL;
	struct tl_ctrd_call end = { 0 };
	int r = exec_create(&e, call, process_json, err);

	if (r == 0)
		r = wait_open(&e, call, &s, err);
	if (r == 0)
		r = exec_start(&e, call, err);
	/* The deadline is the process' own: until it runs, it is containerd that is late. */
	if (r == -ETIMEDOUT)
		r = -ECONNRESET;
	if (r == 0)
		r = wait_end(s, ret_exit_status, err);
	end.deadline =
		tl_deadline_in(tl_clock_mono_ms(), r == -ECANCELED ? END_CANCELLED_MS : END_MS);
	if (r < 0)
		exec_kill(&e, &end);
	(void)exec_delete(&e, &end);
	return r;
}
