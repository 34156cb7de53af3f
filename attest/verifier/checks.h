/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks by name, for operators: which passed, which failed, which could not be made. Pure.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "refusals.h"

/* What this verifier and this request make a check of. */
struct checks_made {
	bool has_images;       /* reference values are given */
	bool has_tpm;          /* a TPM's quotes were sent */
	bool has_tdx;          /* a TD's quote was sent */
	bool has_tdx_tcb;      /* Intel's statements on TCBs are given */
	bool has_snp;          /* a SEV-SNP report was sent */
	bool has_snp_tcb;      /* the least patch levels are given */
	bool has_required_tee; /* a processor's report is demanded */
	bool has_identity;     /* keys for identity tokens are given, and such tokens were sent */
};

/** "nonce", "ak_chain"; "other" for what no check is about, as lack of memory. Static. */
const char *check_name(enum tl_code code);

/**
 * [{"check", "outcome": "passed" | "failed" | "skipped", "codes"}]: every check in order. Skipped:
 * the verifier wasn't told to, or an earlier one that it rests on failed. "passed" is said only of
 * what was really checked. A new reference, or NULL.
 */
json_t *checks_json(const struct refusals *r, const struct checks_made *made);
