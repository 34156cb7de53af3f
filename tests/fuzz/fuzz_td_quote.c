/* SPDX-License-Identifier: Apache-2.0 */
/* Intel TDX quotes, versions 4 and 5: the verifier's reader, and the launcher's own, which reads
 * less and must agree. */
#include "fuzz.h"

#include <string.h>

#include "../../attest/tdx_quote.h"
#include "../../attest/verifier/tdx_quote.h"

static void span_check(const struct tdx_span *span, const uint8_t *data, size_t size)
{
	FUZZ_CHECK(span->n <= size);
	FUZZ_CHECK(span->n == 0 || (span->data >= data && span->data + span->n <= data + size));
}

/* What a verifier takes, the launcher has found its nonce and its register in. */
static void launcher_agrees(const uint8_t *data, size_t size, const struct td_quote *q)
{
	struct tdx_quote own = { 0 };
	struct tl_error err = { 0 };

	if (tdx_quote_parse(data, size, &own, &err) < 0) {
		FUZZ_CHECK(!q && err.code == TL_E_QUOTE_INVALID && !own.rtmr3 && !own.report_data);
		return;
	}
	FUZZ_CHECK(own.rtmr3 + TDX_RTMR_BYTES <= own.report_data);
	FUZZ_CHECK(own.report_data + TDX_REPORT_DATA_BYTES <= data + size);
	if (!q)
		return;
	FUZZ_CHECK(memcmp(own.rtmr3, q->td.rtmr[3], TDX_RTMR_BYTES) == 0);
	FUZZ_CHECK(memcmp(own.report_data, q->td.report_data, TDX_REPORT_DATA_BYTES) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct td_quote q = { 0 };
	struct tl_error err = { 0 };

	if (td_quote_parse(data, size, &q, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_VERIFY_TDX_QUOTE && !q.signature && !q.version);
		launcher_agrees(data, size, NULL);
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
	launcher_agrees(data, size, &q);
	return 0;
}
