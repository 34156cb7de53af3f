/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw evidence as a workload gets it from the launcher's socket (POST /v1/evidence: proto3 JSON of
 * VmAttestation). Hostile bytes: bounds and strictness are those of request.h. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#include "request.h"

#define VM_ATTESTATION_BLOB_MAX 65536 /* challenge, extra data */

struct vm_attestation {
	struct verify_request *request; /* quotes, logs, certificates; no challenge, no options */
	struct tl_buf label, challenge, extra;
	bool has_label, has_challenge, has_extra; /* a field mask may leave them out */
};
void vm_attestation_done(struct vm_attestation *a);
#define auto_vm_attestation __attribute__((cleanup(vm_attestation_done)))

/**
 * @ret  owned by the caller in any case
 * Returns 0, -EINVAL with TL_E_VERIFY_REQUEST or _UNSUPPORTED naming the field, -EFBIG with
 * TL_E_VERIFY_TOO_LARGE, or -ENOMEM.
 */
int vm_attestation_parse(const void *text, size_t n, struct vm_attestation *ret,
			 struct tl_error *err);
