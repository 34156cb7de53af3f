/* SPDX-License-Identifier: Apache-2.0 */
/* From a gRPC status to an error of ours. Pure. */
#pragma once

#include <stdbool.h>

#include <teelaunch/error.h>

/**
 * @status               gRPC's number (statuscodes.md of grpc 1.51); 0 fills nothing and returns 0
 * @is_cancel_requested  we asked for the cancellation; else status 1 means that containerd is going
 *                       down
 * @method               "/package.Service/Method"; shown as "Service/Method"
 * @details              containerd's text; foreign
 */
int rpc_status_fail(int status, bool is_cancel_requested, const char *method, const char *details,
		    struct tl_error *err);
