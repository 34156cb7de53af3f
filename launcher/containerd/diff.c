/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include <teelaunch/cleanup.h>

#include "containerd.pb-c.h"
#include "convert.h"
#include "rpc.h"

#define APPLY_METHOD "/containerd.services.diff.v1.Diff/Apply"

int tl_ctrd_diff_apply(struct tl_ctrd *c, const struct tl_ctrd_call *call,
		       const struct tl_ctrd_descriptor *layer, const struct tl_ctrd_mounts *mounts,
		       char **ret_diff_id, struct tl_error *err)
{
	Cd__ApplyRequest request = CD__APPLY_REQUEST__INIT;
	Cd__Descriptor descriptor = CD__DESCRIPTOR__INIT;
	auto_message Cd__ApplyResponse *response = NULL;
	auto_convert_mounts struct convert_mounts packed = { 0 };
	struct tl_ctrd_call long_call = call ? *call : (struct tl_ctrd_call){ 0 };
	int r;

	if (!long_call.deadline.at_ms)
		long_call.deadline = tl_deadline_never();
	r = convert_mounts_borrow(mounts, &packed, err);
	if (r < 0)
		return r;
	convert_descriptor_borrow(layer, &descriptor);
	request.diff = &descriptor;
	request.mounts = packed.pointers;
	request.n_mounts = packed.n;
	r = rpc_unary(c, &long_call, APPLY_METHOD, &request.base, &cd__apply_response__descriptor,
		      &response, err);
	if (r < 0)
		return r;
	if (!response->applied)
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG,
			       "containerd Diff/Apply: no digest of the unpacked layer");
	return rpc_take_string(response->applied->digest, ret_diff_id, err);
}
