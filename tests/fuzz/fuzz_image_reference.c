/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: a file of reference values; what is accepted must agree with itself. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cmdline.h>

#include "../../attest/verifier/image_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_image_reference struct image_reference ref = { 0 };
	bool is_hardened = false;

	if (image_reference_parse(data, size, &ref, NULL) < 0) {
		FUZZ_CHECK(!ref.events && !ref.n && !ref.name);
		return 0;
	}
	FUZZ_CHECK(size <= IMAGE_REFERENCE_FILE_MAX);
	FUZZ_CHECK(ref.n > 0 && ref.n <= IMAGE_EVENTS_MAX);
	FUZZ_CHECK(strlen(ref.name) > 0 && strlen(ref.name) <= IMAGE_REFERENCE_TEXT_MAX);
	FUZZ_CHECK(strlen(ref.roothash) == 64 && strstr(ref.cmdline, ref.roothash));
	FUZZ_CHECK(tl_cmdline_is_hardened(ref.cmdline, &is_hardened, NULL) == 0);
	FUZZ_CHECK(is_hardened == ref.is_hardened);
	for (size_t i = 0; i < ref.n; i++)
		FUZZ_CHECK(ref.events[i].pcr < PCRS_MAX && ref.events[i].name);
	return 0;
}
