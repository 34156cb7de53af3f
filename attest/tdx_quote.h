/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our own nonce and log must agree with in a TDX quote (Intel TDX DCAP Quoting Library API,
 * appendix A.3: versions 4 and 5). Signature and everything else are the verifier's. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

#define TDX_REPORT_DATA_BYTES 64
#define TDX_RTMR_BYTES        48 /* SHA-384 */

/* Borrows from the quote's bytes. */
struct tdx_quote {
	const uint8_t *rtmr3;       /* TDX_RTMR_BYTES */
	const uint8_t *report_data; /* TDX_REPORT_DATA_BYTES */
};

/**
 * @ret  set on success only
 * Returns 0, or -EBADMSG with TL_E_QUOTE_INVALID.
 */
int tdx_quote_parse(const uint8_t *quote, size_t n, struct tdx_quote *ret, struct tl_error *err);
