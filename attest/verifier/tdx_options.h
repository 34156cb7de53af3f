/* SPDX-License-Identifier: Apache-2.0 */
/* The options of TDX that teeverifierd and `teelaunch verify` have, and the files they name. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>
#include <teelaunch/str.h>

struct tdx_rules;

/* Borrowed texts; files are read by tdx_rules_load(). */
struct tdx_options {
	const char *root;           /* PEM; NULL: there are no rules */
	struct tl_strv crls;        /* PEM or DER; none: revocation isn't judged */
	const char *tcb_signing;    /* PEM; this and the two below: all or none */
	struct tl_strv tcb_infos;   /* JSON */
	const char *qe_identity;    /* JSON */
	struct tl_strv tcb_accepts; /* statuses beside "UpToDate" */
	bool is_without_tcb;        /* patch levels aren't judged */
};
void tdx_options_done(struct tdx_options *o);

/**
 * @ret  NULL without a root; else owned by the caller (tdx_rules_free)
 * Codes: TL_E_USAGE (options that need or exclude each other), TL_E_VERIFY_KEYS,
 * TL_E_VERIFY_TDX_COLLATERAL, TL_E_IO. Reads files.
 */
int tdx_rules_load(const struct tdx_options *o, int64_t now_s, struct tdx_rules **ret,
		   struct tl_error *err);
