/* SPDX-License-Identifier: Apache-2.0 */
/* What a workload sends to the token socket: first byte the kind, then the body or the mask. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "attest/evidence_request.h"
#include "attest/token_request.h"

static void token_is_judged(const uint8_t *data, size_t size)
{
	auto_token_request struct token_request r = { 0 };
	struct tl_error err = { 0 };

	if (token_request_parse(data, size, &r, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_TOKEN_REQUEST);
		FUZZ_CHECK(!r.audience && !r.token_type && !r.nonces.n && !r.key_ids.n);
		return;
	}
	FUZZ_CHECK(*r.audience && strlen(r.audience) <= TOKEN_AUDIENCE_MAX_BYTES);
	FUZZ_CHECK(strcmp(r.audience, TL_TOKEN_AUDIENCE_DEFAULT) != 0);
	FUZZ_CHECK(r.nonces.n <= TOKEN_NONCES_MAX);
	for (size_t i = 0; i < r.nonces.n; i++)
		FUZZ_CHECK(strlen(r.nonces.items[i]) >= TOKEN_NONCE_MIN_BYTES &&
			   strlen(r.nonces.items[i]) <= TOKEN_NONCE_MAX_BYTES);
	FUZZ_CHECK(token_request_equal(&r, &r));
}

static void evidence_is_judged(const uint8_t *data, size_t size)
{
	auto_blob struct tl_blob challenge = { 0 };
	struct tl_error err = { 0 };

	if (evidence_request_parse(data, size, &challenge, &err) < 0)
		FUZZ_CHECK(err.code == TL_E_TOKEN_REQUEST && !challenge.n);
	else
		FUZZ_CHECK(challenge.n && challenge.n < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *mask = NULL;
	unsigned int bits;

	if (!size)
		return 0;
	if (data[0] == 't') {
		token_is_judged(data + 1, size - 1);
	} else if (data[0] == 'e') {
		evidence_is_judged(data + 1, size - 1);
	} else {
		mask = strndup((const char *)data + 1, size - 1);
		FUZZ_CHECK(mask);
		bits = evidence_mask_parse(mask);
		FUZZ_CHECK(bits < 2 * EVIDENCE_RECORD);
		/* What nothing but its name asks for. */
		FUZZ_CHECK(!(bits & EVIDENCE_RECORD) || strstr(mask, "launchRecordLog"));
	}
	return 0;
}
