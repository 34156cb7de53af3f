/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of the Confidential Computing REST API, v1, in proto3 JSON: bytes are standard base64 with
 * padding, enums are numbers, default values are left out. Pure.
 *
 * One field is ours, not the service's: tpmAttestation.launchRecordLog (bytes), the log of PCR 15.
 * The service refuses fields it doesn't know, so it is sent only to a verifier whose challenge
 * asks for it ("launchRecord": true; docs/verifier.md).
 */
#pragma once

#include <jansson.h>
#include <stddef.h>

#include <teelaunch/buf.h>
#include <teelaunch/verifier_client.h>

/* Logs of some 100 KiB are usual; this leaves room for the largest ones in base64. */
#define GCA_REQUEST_MAX_BYTES (8 * 1024 * 1024)

/** "options" of :verifyConfidentialSpace. A new reference; NULL when out of memory. */
json_t *gca_space_options(const struct tl_token_options *o);
/** "tokenOptions" of :verifyAttestation. A new reference; NULL when out of memory. */
json_t *gca_token_options(const struct tl_token_options *o);

/**
 * @challenge   its resource name
 * @principals  identity tokens, @n_principals of them
 * @signatures  of the image; NULL = none
 * @ret         an empty buffer; wipe it (tl_buf_done), it holds the tokens
 * TL_E_NO_MEMORY, or TL_E_VERIFIER_REFUSED when the evidence is larger than GCA_REQUEST_MAX_BYTES.
 */
int gca_verify_body(enum tl_verifier_api api, const char *challenge,
		    const struct tl_secret *principals, size_t n_principals,
		    const struct tl_evidence *evidence,
		    const struct tl_image_signatures *signatures,
		    const struct tl_token_options *options, struct tl_buf *ret,
		    struct tl_error *err);
