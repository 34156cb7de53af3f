/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "rpc.h"
#include "task.h"

#define METHOD(name) "/containerd.services.containers.v1.Containers/" name
/* The name that containerd's own client gives the type (its package oci, typeurl prefix). */
#define SPEC_TYPE "types.containerd.io/opencontainers/runtime-spec/1/Spec"

int tl_ctrd_container_create(struct tl_ctrd *c, const struct tl_ctrd_call *call,
			     const struct tl_ctrd_container *container, struct tl_error *err)
{
	Cd__ContainerBox request = CD__CONTAINER_BOX__INIT;
	Cd__Container message = CD__CONTAINER__INIT;
	Cd__Container__Runtime runtime = CD__CONTAINER__RUNTIME__INIT;
	Cd__Any spec = CD__ANY__INIT;

	runtime.name = rpc_borrow(TL_CTRD_RUNTIME);
	spec.type_url = rpc_borrow(SPEC_TYPE);
	spec.value.data = (uint8_t *)rpc_borrow(container->spec_json);
	spec.value.len = strlen(container->spec_json);
	message.id = rpc_borrow(container->id);
	message.image = rpc_borrow(container->image);
	message.runtime = &runtime;
	message.spec = &spec;
	message.snapshotter = rpc_borrow(TL_CTRD_SNAPSHOTTER);
	message.snapshot_key = rpc_borrow(container->snapshot_key);
	request.container = &message;
	return rpc_unary(c, call, METHOD("Create"), &request.base, &cd__container_box__descriptor,
			 NULL, err);
}

/* Bytes that hold a NUL can't be JSON text; -EBADMSG. */
static int spec_take(const Cd__Any *spec, char **ret, struct tl_error *err)
{
	char *copy = NULL;

	if (!spec || strcmp(spec->type_url, SPEC_TYPE) != 0 ||
	    memchr(spec->value.data, 0, spec->value.len))
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Containers/Get: the container has no runtime spec");
	copy = strndup((const char *)spec->value.data, spec->value.len);
	if (!copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "a container's spec");
	*ret = copy;
	return 0;
}

int tl_ctrd_container_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			  char **ret_spec_json, char **ret_snapshot_key, struct tl_error *err)
{
	Cd__ContainerIdRequest request = CD__CONTAINER_ID_REQUEST__INIT;
	auto_message Cd__ContainerBox *response = NULL;
	auto_free char *spec = NULL;
	auto_free char *key = NULL;
	int r;

	request.id = rpc_borrow(id);
	r = rpc_unary(c, call, METHOD("Get"), &request.base, &cd__container_box__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	if (!response->container)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Containers/Get: no container");
	if (ret_spec_json)
		r = spec_take(response->container->spec, &spec, err);
	if (r == 0 && ret_snapshot_key)
		r = rpc_take_string(response->container->snapshot_key, &key, err);
	if (r < 0)
		return r;
	if (ret_spec_json)
		*ret_spec_json = take_ptr(spec);
	if (ret_snapshot_key)
		*ret_snapshot_key = take_ptr(key);
	return 0;
}

int tl_ctrd_container_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *id,
			     struct tl_error *err)
{
	Cd__ContainerIdRequest request = CD__CONTAINER_ID_REQUEST__INIT;

	request.id = rpc_borrow(id);
	return rpc_unary(c, call, METHOD("Delete"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}
