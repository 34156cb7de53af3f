/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: a SEV-SNP report, a host's certificate table, and a key's certificate. */
#include "fuzz.h"

#include <string.h>

#include "../../attest/verifier/snp_key.h"

static void span_check(const struct snp_span *s, const uint8_t *data, size_t size)
{
	if (s->data)
		FUZZ_CHECK(s->data >= data && s->n <= size && s->data + s->n <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snp_report report;
	struct snp_certs certs;
	X509 *cert = cert_any_read(data, size);

	if (snp_report_parse(data, size, &report, NULL) == 0) {
		FUZZ_CHECK(size == SNP_REPORT_BYTES && report.vmpl <= 3);
		FUZZ_CHECK(memcmp(report.measurement, data + 0x90, SNP_MEASUREMENT) == 0);
		FUZZ_CHECK(report.s + SNP_SIGNATURE_PART <= data + size);
	}
	if (snp_certs_parse(data, size, &certs, NULL) == 0) {
		span_check(&certs.vcek, data, size);
		span_check(&certs.vlek, data, size);
		span_check(&certs.ask, data, size);
	}
	if (cert) {
		struct snp_key key = { 0 };

		if (snp_key_read(cert, &key, NULL) == 0)
			FUZZ_CHECK(key.key && key.product[0] && !key.product[SNP_PRODUCT_MAX - 1]);
		snp_key_done(&key);
	}
	X509_free(cert);
	return 0;
}
