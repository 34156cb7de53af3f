/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <teelaunch/clock.h>

#include "containerd.pb-c.h"
#include "rpc.h"

#define VERSION_METHOD   "/containerd.services.version.v1.Version/Version"
#define NAMESPACE_METHOD "/containerd.services.namespaces.v1.Namespaces/Create"
#define READY_POLL_MS    100

int tl_ctrd_version(struct tl_ctrd *c, const struct tl_ctrd_call *call, char **ret,
		    struct tl_error *err)
{
	Cd__Empty request = CD__EMPTY__INIT;
	auto_message Cd__VersionResponse *response = NULL;
	int r;

	r = rpc_unary(c, call, VERSION_METHOD, &request.base, &cd__version_response__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	return ret ? rpc_take_string(response->version, ret, err) : 0;
}

int tl_ctrd_wait_ready(struct tl_ctrd *c, const struct tl_ctrd_call *call, struct tl_error *err)
{
	struct tl_deadline until = call ? call->deadline : (struct tl_deadline){ 0 };
	struct tl_ctrd_call one = { .cancel = call ? call->cancel : NULL };
	int r;

	if (!until.at_ms)
		until = tl_deadline_in(tl_clock_mono_ms(), TL_CTRD_CALL_MS);
	one.deadline = until;
	r = tl_ctrd_version(c, &one, NULL, err);
	while (r == -ECONNRESET) {
		tl_clock_sleep_ms(READY_POLL_MS);
		/* The reason found before says more than "deadline". */
		if (tl_deadline_is_past(until, tl_clock_mono_ms()))
			return r;
		r = tl_ctrd_version(c, &one, NULL, err);
	}
	return r;
}

int tl_ctrd_namespace_ensure(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			     struct tl_error *err)
{
	Cd__CreateNamespaceRequest request = CD__CREATE_NAMESPACE_REQUEST__INIT;
	Cd__Namespace namespace = CD__NAMESPACE__INIT;
	int r;

	namespace.name = rpc_borrow(rpc_namespace(c));
	request.namespace_ = &namespace;
	r = rpc_unary(c, call, NAMESPACE_METHOD, &request.base,
		      &cd__create_namespace_response__descriptor, NULL, err);
	return r == -EEXIST ? 0 : r;
}
