/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/snp.h>

#include <errno.h>
#include <string.h>

/* ATTESTATION_REPORT (AMD SEV Secure Nested Paging Firmware ABI, 56860, table 23). */
#define REPORT_BYTES       1184
#define REPORT_DATA_OFFSET 0x50

int tl_snp_add(const struct tl_tsm_paths *paths, const void *nonce, size_t n, struct tl_evidence *e,
	       struct tl_error *err)
{
	auto_blob struct tl_blob report = { 0 }, certificates = { 0 };
	uint8_t want[TL_TSM_INBLOB_BYTES];
	int r = tl_tsm_report(paths, TL_TSM_SNP, nonce, n, &report, &certificates, err);

	if (r < 0)
		return r;
	tl_tsm_inblob(nonce, n, want);
	if (report.n != REPORT_BYTES)
		return tl_fail(err, TL_E_QUOTE_INVALID, EBADMSG,
			       "SEV-SNP report: %zu bytes instead of %d", report.n, REPORT_BYTES);
	if (memcmp(report.bytes + REPORT_DATA_OFFSET, want, sizeof(want)) != 0)
		return tl_fail(err, TL_E_QUOTE_INVALID, EBADMSG,
			       "SEV-SNP report: it is over another nonce");
	tl_blob_done(&e->snp.report);
	tl_blob_done(&e->snp.certificates);
	e->snp.report = report;
	e->snp.certificates = certificates;
	report = certificates = (struct tl_blob){ 0 };
	return 0;
}
