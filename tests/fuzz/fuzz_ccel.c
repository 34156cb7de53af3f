/* SPDX-License-Identifier: Apache-2.0 */
/* attest: where a CC event log ends, its ACPI table, and a TDX quote. */
#include "fuzz.h"

#include <string.h>

#include "../../attest/ccel.h"
#include "../../attest/tdx_quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tdx_quote q = { 0 };
	size_t end = SIZE_MAX, again = 0;

	if (ccel_end(data, size, &end, NULL) == 0) {
		FUZZ_CHECK(end <= size);
		for (size_t i = end; i < size; i++)
			FUZZ_CHECK(data[i] == data[end]);
		/* What was found is a log by itself, and all of it. */
		FUZZ_CHECK(ccel_end(data, end, &again, NULL) == 0 && again == end);
	} else {
		FUZZ_CHECK(end == SIZE_MAX);
	}
	if (tdx_quote_parse(data, size, &q, NULL) == 0)
		FUZZ_CHECK(q.rtmr3 > data && q.report_data > data &&
			   q.rtmr3 + TDX_RTMR_BYTES < data + size &&
			   q.report_data + TDX_REPORT_DATA_BYTES < data + size);
	if (ccel_table_check(data, size, NULL) == 0)
		FUZZ_CHECK(memcmp(data, "CCEL", 4) == 0);
	return 0;
}
