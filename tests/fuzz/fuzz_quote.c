/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: TPMS_ATTEST and TPMT_SIGNATURE. */
#include "fuzz.h"

#include <string.h>

#include "../../attest/verifier/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct quote q = { 0 };
	struct quote_signature s = { 0 };

	/* tss2-mu would print each malformed input. */
	(void)setenv("TSS2_LOG", "all+NONE", 0);
	if (quote_parse(data, size, &q, NULL) == 0) {
		FUZZ_CHECK(size > 8 && memcmp(data, "\xffTCG\x80\x18", 6) == 0);
		FUZZ_CHECK(q.extra_n <= QUOTE_EXTRA_MAX && q.signer_n <= QUOTE_NAME_MAX);
		FUZZ_CHECK(q.pcr_mask >> 24 == 0 && q.digest_n <= TL_HASH_SIZE_MAX);
	}
	if (quote_signature_parse(data, size, &s, NULL) == 0)
		FUZZ_CHECK(s.r_n <= sizeof(s.r) && s.s_n <= sizeof(s.s) && s.r_n + s.s_n < size);
	return 0;
}
