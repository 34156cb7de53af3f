/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: Intel TDX quotes, versions 4 and 5. */
#include "fuzz.h"

#include "../../attest/verifier/tdx_quote.h"

static void span_check(const struct tdx_span *span, const uint8_t *data, size_t size)
{
	FUZZ_CHECK(span->n <= size);
	FUZZ_CHECK(span->n == 0 || (span->data >= data && span->data + span->n <= data + size));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_quote q = { 0 };
	struct tl_error err = { 0 };

	if (td_quote_parse(data, size, &q, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_VERIFY_TDX_QUOTE && !q.signature && !q.version);
		return 0;
	}
	FUZZ_CHECK(size <= TDX_QUOTE_MAX && (q.version == 4 || q.version == 5));
	FUZZ_CHECK(q.signed_part.data == data && q.qe_signed_part.n == TDX_QE_REPORT);
	span_check(&q.signed_part, data, size);
	span_check(&q.qe_signed_part, data, size);
	span_check(&q.qe_auth, data, size);
	span_check(&q.pck_chain, data, size);
	FUZZ_CHECK(q.signature >= data && q.signature + TDX_SIGNATURE <= data + size);
	FUZZ_CHECK(q.qe_signature >= data && q.qe_signature + TDX_SIGNATURE <= data + size);
	FUZZ_CHECK(q.pck_chain.n > 0);
	return 0;
}
