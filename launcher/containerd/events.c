/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "rpc.h"
#include "task.h"

#define SUBSCRIBE_METHOD "/containerd.services.events.v1.Events/Subscribe"

/* Events whose message has container_id as field 1 (api/events/task.proto). 2.x may put a prefix
 * ending in "/" before the name. */
static const char *const task_events[] = { "containerd.events.TaskOOM",
					   "containerd.events.TaskExit" };

struct tl_ctrd_events {
	struct rpc_stream *stream;
	char *namespace;
};

int tl_ctrd_events_open(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			const struct tl_strv *filters, struct tl_ctrd_events **ret,
			struct tl_error *err)
{
	Cd__SubscribeRequest request = CD__SUBSCRIBE_REQUEST__INIT;
	struct tl_ctrd_events *e = calloc(1, sizeof(*e));
	int r;

	if (!e)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "subscription");
	request.filters = filters->items;
	request.n_filters = filters->n;
	r = rpc_take_string(rpc_namespace(c), &e->namespace, err);
	if (r == 0)
		r = rpc_stream_open(c, call, SUBSCRIBE_METHOD, 0, &e->stream, err);
	if (r == 0)
		r = rpc_stream_send_last(e->stream, &request.base, err);
	if (r < 0) {
		tl_ctrd_events_close(e);
		return r;
	}
	*ret = e;
	return 0;
}

static bool is_task_event(const char *type_url)
{
	const char *slash = strrchr(type_url, '/');
	const char *name = slash ? slash + 1 : type_url;

	for (size_t i = 0; i < TL_ARRAY_SIZE(task_events); i++)
		if (strcmp(name, task_events[i]) == 0)
			return true;
	return false;
}

static int container_id_of(const Cd__Any *event, char **ret, struct tl_error *err)
{
	auto_message Cd__TaskEvent *task = NULL;

	if (event && is_task_event(event->type_url))
		task = cd__task_event__unpack(NULL, event->value.len, event->value.data);
	return rpc_take_string(task ? task->container_id : "", ret, err);
}

/* The namespace header does not limit a subscription. */
static int event_next(struct tl_ctrd_events *e, Cd__Envelope **ret, struct tl_error *err)
{
	for (;;) {
		auto_message Cd__Envelope *envelope = NULL;
		int r;

		r = rpc_stream_recv(e->stream, &cd__envelope__descriptor, &envelope, err);
		if (r < 0)
			return r;
		if (!envelope) {
			r = rpc_stream_finish(e->stream, err);
			return r < 0 ? r
				     : tl_fail(err, TL_E_CONTAINERD_GONE, ECONNRESET,
					       "containerd ended the subscription");
		}
		if (strcmp(envelope->namespace_, e->namespace) == 0) {
			*ret = take_ptr(envelope);
			return 0;
		}
	}
}

int tl_ctrd_events_next(struct tl_ctrd_events *e, char **ret_topic, char **ret_container_id,
			struct tl_error *err)
{
	auto_message Cd__Envelope *envelope = NULL;
	auto_free char *topic = NULL;
	auto_free char *id = NULL;
	int r;

	r = event_next(e, &envelope, err);
	if (r == 0)
		r = rpc_take_string(envelope->topic, &topic, err);
	if (r == 0)
		r = container_id_of(envelope->event, &id, err);
	if (r < 0)
		return r;
	*ret_topic = take_ptr(topic);
	*ret_container_id = take_ptr(id);
	return 0;
}

void tl_ctrd_events_cancel(struct tl_ctrd_events *e)
{
	rpc_stream_cancel(e->stream);
}

struct tl_ctrd_events *tl_ctrd_events_close(struct tl_ctrd_events *e)
{
	if (!e)
		return NULL;
	rpc_stream_free(e->stream);
	free(e->namespace);
	free(e);
	return NULL;
}
