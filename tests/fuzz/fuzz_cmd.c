/* SPDX-License-Identifier: Apache-2.0 */
/* tee-cmd: a JSON array of strings, of any bytes. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "../../policy/go_json.h"

#define ELEMENTS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data, size);
	auto_strv struct tl_strv list = { 0 };
	const char *what = NULL;

	if (go_json_strings(text, ELEMENTS_MAX, &list, &what) < 0) {
		FUZZ_CHECK(what && !list.n);
		return 0;
	}
	FUZZ_CHECK(!what && list.n <= ELEMENTS_MAX);
	for (size_t i = 0; i < list.n; i++)
		FUZZ_CHECK(tl_utf8_is_valid(list.items[i], strlen(list.items[i])));
	return 0;
}
