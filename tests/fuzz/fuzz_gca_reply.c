/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of the verifier's REST API: two bytes of status, the rest is body and header value. */
#include "fuzz.h"

#include <stdbool.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "attest/gca_reply.h"

/* Nothing as long as a token comes through. */
static bool holds_a_token(const char *words)
{
	static const char characters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789-_.+=";

	for (; *words; words++)
		if (strspn(words, characters) >= 40)
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = malloc(size + 1);
	char words[GCA_WORDS_MAX_BYTES];
	struct tl_error err = { 0 };
	json_t *reply = NULL;
	int status;

	FUZZ_CHECK(text);
	if (size < 2)
		return 0;
	status = (data[0] << 8 | data[1]) % 600;
	memcpy(text, data + 2, size - 2);
	text[size - 2] = '\0';
	if (gca_reply_parse(status, text, size - 2, &reply, &err) == 0) {
		FUZZ_CHECK(status == 200 && json_is_object(reply));
		json_decref(reply);
	} else {
		FUZZ_CHECK(!reply && err.code && strlen(err.msg) < TL_ERROR_MSG_MAX);
	}
	gca_words_redact(text, words, sizeof(words));
	FUZZ_CHECK(strlen(words) < sizeof(words));
	FUZZ_CHECK(!holds_a_token(words));
	FUZZ_CHECK(gca_retry_after_ms(text, 0) <= GCA_RETRY_AFTER_MAX_MS);
	FUZZ_CHECK(!gca_name_is_valid(text) || !strpbrk(text, "?#% \n"));
	return 0;
}
