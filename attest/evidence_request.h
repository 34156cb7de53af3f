/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Raw evidence for a workload's own challenge (POST /v1/evidence): the request, the nonce that
 * binds the evidence to it, and the answer as proto3 JSON of VmAttestation. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>

/* Go's launcher binds with it, whatever is asked for; verifiers expect it. */
#define EVIDENCE_LABEL "WORKLOAD_ATTESTATION"

/* Parts of the answer that a field mask names. */
enum evidence_field {
	EVIDENCE_LABEL_FIELD = 1,
	EVIDENCE_CHALLENGE = 2,
	EVIDENCE_EXTRA_DATA = 4,
	EVIDENCE_QUOTE = 8,
	EVIDENCE_DEVICES = 16,
	EVIDENCE_RECORD = 32, /* ours: in no other answer, so only for who names it */
};

/**
 * Which parts a comma list of names asks for; unknown names are ignored, spaces around names too,
 * but "*" must stand alone between its commas. NULL or "": everything but the devices and the
 * launch record, which "*" doesn't have either.
 */
unsigned int evidence_mask_parse(const char *mask);

/**
 * The challenge in {"challenge":"<base64>"}: standard or URL-safe, padded or not. Unknown fields
 * and fields given twice are refused.
 *
 * @ret  replaced on success only
 * Returns 0, -EINVAL (TL_E_TOKEN_REQUEST), or -ENOMEM (TL_E_NO_MEMORY).
 */
int evidence_request_parse(const void *body, size_t n, struct tl_blob *ret, struct tl_error *err);

/**
 * H(label || H(challenge || [H(extra)])); @hash is TL_SHA256 for a TPM, TL_SHA512 for TDX.
 *
 * @extra  NULL: none was given, which is not the same as an empty one
 * @ret    tl_hash_size(hash) bytes. 0 or -EIO.
 */
int evidence_nonce(uint16_t hash, const struct tl_blob *challenge, const struct tl_blob *extra,
		   uint8_t *ret);

/**
 * The answer.
 * @e    may be NULL if @mask has no EVIDENCE_QUOTE; then there is no record either
 * @ret  new string, owned by the caller. 0 or -ENOMEM.
 */
int evidence_format(unsigned int mask, const struct tl_blob *challenge, const struct tl_evidence *e,
		    char **ret);
