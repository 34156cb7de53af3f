/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All checks of a TDX quote and of the logs beside it; everything that fails is added to the
 * refusals. Pure but for OpenSSL. The order of trust ("Intel TDX DCAP Quoting Library API", 2.3):
 *
 *   root  ->  PCK certificate  ->  report of the quoting enclave  ->  attestation key (SHA-256 of
 *   it and of the authentication data is the report's data, then zeros)  ->  TD report
 *
 * A TD that may be debugged or migrated is refused: its memory is somebody else's to read and
 * write, so nothing that it says of itself counts. So is a TD whose report isn't over the nonce and
 * zeros, one under a TDX module that isn't Intel's, and one below the TCB statuses that are
 * accepted.
 *
 * The firmware's log (CCEL: UEFI 2.10, 38.4.1) must lead to RTMRs 0 to 2: measurement register 1 is
 * RTMR 0 (what a TPM has in PCRs 1 and 7), 2 is RTMR 1 (PCRs 2 to 6), 3 is RTMR 2 (PCRs 8 to 15).
 * The launch log must lead to RTMR 3.
 */
#pragma once

#include "boot_claims.h"
#include "launch_log.h"
#include "refusals.h"
#include "request.h"
#include "tdx_rules.h"

/*
 * TD attributes (TDX Module ABI Specification, "ATTRIBUTES"): bits 0 to 7 let the host look into
 * the TD (DEBUG is bit 0); bit 29 lets it be moved by a service TD, which nobody judges here.
 */
#define TDX_ATTRIBUTES_REFUSED UINT64_C(0x200000ff)

/* What a good quote says. */
struct tdx_claims {
	bool is_checked; /* there was a quote */
	struct tdx_report td;
	bool is_revocation_checked;
	bool has_tcb; /* the following is known */
	enum tdx_tcb_status platform, module, qe;
	char tcb_date[TDX_TCB_DATE_MAX]; /* of the platform's level */
	/* The AK, whose certificate names the machine, quoted the same launch. Without that the
	 * certificate is what a measured launcher says that its machine's TPM has. */
	bool is_ak_quoted;
};

/**
 * The quote alone.
 * @nonce  at most TDX_REPORT_DATA bytes
 * @ret    good only if nothing was added to @refusals
 */
void tdx_quote_check(const struct tdx_rules *rules, const struct tl_buf *quote,
		     const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct tdx_claims *ret,
		     struct refusals *refusals);

/**
 * Quote and both logs.
 * @ret_boot, @ret_launch  as boot_claims_read_cc() and launch_log_check_cc()
 */
void tdx_evidence_check(const struct tdx_rules *rules, const struct verify_request *req,
			const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct tdx_claims *ret,
			struct boot_claims *ret_boot, struct launch_claims *ret_launch,
			struct refusals *refusals);
