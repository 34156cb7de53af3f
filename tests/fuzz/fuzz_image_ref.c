/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: the parts of what is accepted make up the text again. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/image_ref.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size), *again = NULL;
	auto_image_ref struct tl_image_ref ref = { 0 };

	if (tl_image_ref_parse(text, &ref, NULL) < 0)
		return 0;
	FUZZ_CHECK(ref.tag || ref.digest);
	FUZZ_CHECK(asprintf(&again, "%s/%s%s%s%s%s", ref.host, ref.path, ref.tag ? ":" : "",
			    ref.tag ? ref.tag : "", ref.digest ? "@" : "",
			    ref.digest ? ref.digest : "") > 0);
	FUZZ_CHECK(strcmp(again, text) == 0 && strcmp(ref.text, text) == 0);
	return 0;
}
