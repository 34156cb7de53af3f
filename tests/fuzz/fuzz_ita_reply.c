/* SPDX-License-Identifier: Apache-2.0 */
/* Replies of Intel Trust Authority: a byte of status, the rest is the body. */
#include "fuzz.h"

#include <string.h>

#include "attest/gca_reply.h"
#include "attest/ita_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int statuses[] = { 200, 400, 401, 429, 500 };
	struct ita_nonce nonce = { 0 };
	struct tl_error err = { 0 };
	struct tl_buf audience;
	json_t *reply = NULL;

	if (!size)
		return 0;
	if (gca_reply_parse(statuses[data[0] % 5], data + 1, size - 1, &reply, &err) < 0) {
		FUZZ_CHECK(!reply && err.code && strlen(err.msg) < TL_ERROR_MSG_MAX);
		return 0;
	}
	if (ita_nonce_read(reply, &nonce, &err) == 0) {
		FUZZ_CHECK(nonce.val.n && nonce.val.n <= ITA_NONCE_PART_MAX_BYTES);
		FUZZ_CHECK(nonce.iat.n && nonce.signature.n);
		FUZZ_CHECK(ita_audience(&nonce, &audience) == 0);
		FUZZ_CHECK(audience.len_bytes == nonce.val.n + strlen("ita://"));
		tl_buf_done(&audience);
	} else {
		FUZZ_CHECK(err.code && !nonce.val.bytes);
	}
	ita_nonce_done(&nonce);
	json_decref(reply);
	return 0;
}
