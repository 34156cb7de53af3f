/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All checks of a SEV-SNP report; everything that fails is added to the refusals. Pure but for
 * OpenSSL. The order of trust: root (ARK) -> ASK or ASVK -> VCEK or VLEK -> report.
 *
 * A guest that its host may debug or hand to a migration agent is refused: its memory is somebody
 * else's to read and write. So is a report that isn't over the nonce and zeros, one by a key of
 * another chip or patch level than it says, and one below the least patch level.
 *
 * What a report can't say: that the TPM whose quote came with it is this guest's. Both are over one
 * nonce, but any program in any SEV-SNP guest gets reports over a nonce of its choice. The TPM's
 * own certificate says whose it is; the report adds that somebody there has such a guest.
 */
#pragma once

#include "refusals.h"
#include "request.h"
#include "snp_rules.h"

/* What a good report says. */
struct snp_claims {
	bool is_checked;          /* there was a report */
	struct snp_report report; /* without what it borrows */
	char product[SNP_PRODUCT_MAX];
	struct snp_tcb tcb;
	bool is_tcb_judged;
	bool is_revocation_checked;
	bool is_measurement_known; /* it is in the list of the image that booted */
};

/**
 * @certs  the certificate table that came with it; may be empty
 * @nonce  at most SNP_REPORT_DATA bytes
 * @ret    good only if nothing was added to @refusals
 */
void snp_evidence_check(const struct snp_rules *rules, const struct snp_evidence *evidence,
			const uint8_t *nonce, size_t nonce_n, int64_t now_s, struct snp_claims *ret,
			struct refusals *refusals);
