/* SPDX-License-Identifier: Apache-2.0 */
/* tee-mount: destinations are absolute, clean, and stay so when cleaned again. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "../../policy/mounts.h"
#include "../../policy/values.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	auto_findings struct tl_findings findings = { 0 };
	struct tl_mounts mounts = { 0 };

	int r = mounts_parse("tee-mount", text, &mounts, &findings);

	FUZZ_CHECK(r == 0 || r == 1);
	FUZZ_CHECK((r == 1) == tl_findings_forbid(&findings));
	for (size_t i = 0; i < mounts.n; i++) {
		const char *destination = mounts.items[i].destination;
		auto_free char *again = path_clean(destination);

		FUZZ_CHECK(*destination == '/' && strcmp(destination, again) == 0);
		FUZZ_CHECK(!strstr(destination, "/../") && !strstr(destination, "//"));
	}
	mounts_done(&mounts);
	return 0;
}
