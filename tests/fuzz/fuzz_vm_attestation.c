/* SPDX-License-Identifier: Apache-2.0 */
/* Raw evidence in the JSON of the launcher's socket. */
#include "fuzz.h"

#include "../../attest/verifier/vm_attestation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_vm_attestation struct vm_attestation a = { 0 };
	struct tl_error err = { 0 };

	if (vm_attestation_parse(data, size, &a, &err) < 0) {
		FUZZ_CHECK(err.code == TL_E_VERIFY_REQUEST || err.code == TL_E_VERIFY_UNSUPPORTED ||
			   err.code == TL_E_VERIFY_TOO_LARGE);
		return 0;
	}
	FUZZ_CHECK(a.request && a.request->banks_n >= 1 && a.request->banks_n <= REQUEST_BANKS_MAX);
	/* A certificate of no bytes is one that the chain's check refuses (test_verifier_ak_chain).
	 */
	FUZZ_CHECK(a.request->chain_n <= REQUEST_CHAIN_MAX);
	return 0;
}
