/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "convert.h"
#include "rpc.h"

#define METHOD(name) "/containerd.services.images.v1.Images/" name

int tl_ctrd_image_get(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
		      struct tl_ctrd_descriptor *ret, struct tl_error *err)
{
	Cd__GetImageRequest request = CD__GET_IMAGE_REQUEST__INIT;
	auto_message Cd__GetImageResponse *response = NULL;
	int r;

	request.name = rpc_borrow(name);
	r = rpc_unary(c, call, METHOD("Get"), &request.base, &cd__get_image_response__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	if (!response->image || !response->image->target)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Images/Get: an image without a target");
	return convert_descriptor(response->image->target, ret, err);
}

static int image_update(struct tl_ctrd *c, const struct tl_ctrd_call *call, Cd__Image *image,
			struct tl_error *err)
{
	Cd__UpdateImageRequest request = CD__UPDATE_IMAGE_REQUEST__INIT;
	Cd__FieldMask mask = CD__FIELD_MASK__INIT;
	char *paths[] = { rpc_borrow("target"), rpc_borrow("labels") };

	mask.paths = paths;
	mask.n_paths = image->n_labels ? 2 : 1;
	request.image = image;
	request.update_mask = &mask;
	return rpc_unary(c, call, METHOD("Update"), &request.base,
			 &cd__update_image_response__descriptor, NULL, err);
}

int tl_ctrd_image_put(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
		      const struct tl_ctrd_descriptor *target, const struct tl_kvs *labels,
		      struct tl_error *err)
{
	Cd__CreateImageRequest request = CD__CREATE_IMAGE_REQUEST__INIT;
	Cd__Image image = CD__IMAGE__INIT;
	Cd__Descriptor descriptor = CD__DESCRIPTOR__INIT;
	auto_labels struct rpc_labels packed = { 0 };
	int r;

	r = rpc_labels_set(labels, &cd__image__labels_entry__descriptor, &packed, err);
	if (r < 0)
		return r;
	convert_descriptor_borrow(target, &descriptor);
	image.name = rpc_borrow(name);
	image.target = &descriptor;
	image.n_labels = packed.n;
	image.labels = (Cd__Image__LabelsEntry **)packed.pointers;
	request.image = &image;
	r = rpc_unary(c, call, METHOD("Create"), &request.base,
		      &cd__create_image_response__descriptor, NULL, err);
	return r == -EEXIST ? image_update(c, call, &image, err) : r;
}

int tl_ctrd_image_delete(struct tl_ctrd *c, const struct tl_ctrd_call *call, const char *name,
			 bool is_sync, struct tl_error *err)
{
	Cd__DeleteImageRequest request = CD__DELETE_IMAGE_REQUEST__INIT;

	request.name = rpc_borrow(name);
	request.sync = is_sync;
	return rpc_unary(c, call, METHOD("Delete"), &request.base, &cd__empty__descriptor, NULL,
			 err);
}
