/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AMD SEV-SNP: the processor's own report beside the TPM's quotes. It has no register that a guest
 * can extend, so it attests the machine and never what is launched.
 */
#pragma once

#include <stddef.h>

#include <teelaunch/error.h>
#include <teelaunch/evidence.h>
#include <teelaunch/tsm.h>

/**
 * Add the report over the nonce, and the host's table of certificates if it gave one, to @e. That
 * the report is over our nonce is checked; everything else is the verifier's.
 *
 * @e  unchanged on failure: TL_E_TSM, TL_E_TSM_BUSY, TL_E_QUOTE_INVALID, TL_E_NONCE_SIZE,
 *     TL_E_NO_MEMORY
 * Any thread. Blocks as tl_tsm_report().
 */
int tl_snp_add(const struct tl_tsm_paths *paths, const void *nonce, size_t n, struct tl_evidence *e,
	       struct tl_error *err);
