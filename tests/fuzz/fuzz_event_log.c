/* SPDX-License-Identifier: Apache-2.0 */
/* The launch log's decoder: what it accepts must encode to the very same bytes and replay safely.
 */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/event_log.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum tl_cel_fault fault = TL_CEL_FAULT_NONE;
	auto_cel struct tl_cel cel = { 0 };
	struct tl_error err = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX];
	auto_buf struct tl_buf again = { 0 };

	if (tl_cel_decode(data, size, &cel, &fault, &err) < 0) {
		FUZZ_CHECK(fault != TL_CEL_FAULT_NONE && err.code == TL_E_CEL_MALFORMED);
		return 0;
	}
	tl_buf_init(&again, TL_CEL_MAX_BYTES);
	for (size_t i = 0; i < cel.n; i++)
		FUZZ_CHECK(tl_cel_append(&again, cel.form, i, &cel.records[i].event,
					 &cel.records[i].digests) == 0);
	FUZZ_CHECK(again.len_bytes == size && (!size || memcmp(again.data, data, size) == 0));
	(void)tl_cel_replay(&cel, TL_SHA256, reg, &err);
	return 0;
}
