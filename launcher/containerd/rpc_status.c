/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "rpc_status.h"

#define STATUS_CANCELLED   1
#define STATUS_UNAVAILABLE 14

/* Indexed by gRPC's status number. */
static const struct status_row {
	enum tl_code code;
	int errnum;
} statuses[] = {
	{ TL_OK, 0 },
	{ TL_E_INTERRUPTED, ECANCELED },       /* CANCELLED */
	{ TL_E_CONTAINERD_FAILED, EIO },       /* UNKNOWN: any error containerd has no name for */
	{ TL_E_CONTAINERD_REFUSED, EINVAL },   /* INVALID_ARGUMENT */
	{ TL_E_CONTAINERD_SLOW, ETIMEDOUT },   /* DEADLINE_EXCEEDED */
	{ TL_E_CONTAINERD_NOT_FOUND, ENOENT }, /* NOT_FOUND */
	{ TL_E_CONTAINERD_EXISTS, EEXIST },    /* ALREADY_EXISTS */
	{ TL_E_CONTAINERD_REFUSED, EPERM },    /* PERMISSION_DENIED */
	{ TL_E_CONTAINERD_BUSY, EAGAIN },      /* RESOURCE_EXHAUSTED */
	{ TL_E_CONTAINERD_REFUSED, EPERM },    /* FAILED_PRECONDITION */
	{ TL_E_CONTAINERD_BUSY, EAGAIN },      /* ABORTED */
	{ TL_E_CONTAINERD_REFUSED, EINVAL },   /* OUT_OF_RANGE */
	{ TL_E_CONTAINERD_REFUSED, EINVAL },   /* UNIMPLEMENTED */
	{ TL_E_CONTAINERD_FAILED, EIO },       /* INTERNAL */
	{ TL_E_CONTAINERD_GONE, ECONNRESET },  /* UNAVAILABLE */
	{ TL_E_CONTAINERD_CORRUPT, EBADMSG },  /* DATA_LOSS */
	{ TL_E_CONTAINERD_REFUSED, EPERM },    /* UNAUTHENTICATED */
};

static const char *method_name(const char *method)
{
	const char *dot = strrchr(method, '.');

	return dot ? dot + 1 : method;
}

int rpc_status_fail(int status, bool is_cancel_requested, const char *method, const char *details,
		    struct tl_error *err)
{
	if (status == 0)
		return 0;
	if (status == STATUS_CANCELLED && !is_cancel_requested)
		status = STATUS_UNAVAILABLE;
	if (status < 0 || (size_t)status >= TL_ARRAY_SIZE(statuses))
		return tl_fail(err, TL_E_CONTAINERD_CORRUPT, EBADMSG, "containerd %s: status %d",
			       method_name(method), status);
	return tl_fail(err, statuses[status].code, statuses[status].errnum, "containerd %s: %s",
		       method_name(method), details && *details ? details : "no reason given");
}
