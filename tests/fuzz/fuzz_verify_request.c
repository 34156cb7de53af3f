/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: the body of a verification, and all checks over what it carries. */
#include "fuzz.h"

#include <teelaunch/cleanup.h>

#include "../../attest/verifier/evidence_check.h"

/* Without any root: whatever the bytes are, they must never be accepted. */
static void evidence_is_refused(const struct verify_request *req)
{
	static const uint8_t nonce[32];
	auto_ak_anchors struct ak_anchors *anchors = ak_anchors_new();
	auto_free struct refusals *refusals = calloc(1, sizeof(*refusals));
	auto_checked_evidence struct checked_evidence ev = { 0 };
	const struct evidence_rules rules = { .anchors = anchors };

	FUZZ_CHECK(anchors && refusals);
	evidence_check(&rules, req, nonce, sizeof(nonce), "aud", 1800000000, &ev, refusals);
	FUZZ_CHECK(refusals->n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum request_kind kinds[] = { REQUEST_CONFIDENTIAL_SPACE,
						   REQUEST_ATTESTATION };

	(void)setenv("TSS2_LOG", "all+NONE", 0);
	for (size_t i = 0; i < TL_ARRAY_SIZE(kinds); i++) {
		auto_verify_request struct verify_request *req = NULL;

		if (verify_request_parse(kinds[i], data, size, &req, NULL) < 0) {
			FUZZ_CHECK(!req);
			continue;
		}
		FUZZ_CHECK(req->banks_n > 0 && req->banks_n <= REQUEST_BANKS_MAX);
		FUZZ_CHECK(req->token.audience && req->token.nonces.n <= REQUEST_NONCES_MAX);
		evidence_is_refused(req);
	}
	return 0;
}
