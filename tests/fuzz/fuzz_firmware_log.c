/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: the firmware's event log, its replay, and the claims read from it. */
#include "fuzz.h"

#include <teelaunch/cleanup.h>

#include "../../attest/verifier/boot_claims.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t banks[] = { TL_SHA256 };
	auto_firmware_log struct firmware_log log = { 0 };
	auto_free struct pcr_values *pcrs = calloc(1, sizeof(*pcrs));
	auto_free struct refusals *refusals = calloc(1, sizeof(*refusals));
	struct boot_claims claims = { 0 };

	FUZZ_CHECK(pcrs && refusals);
	if (firmware_log_parse(data, size, &log, NULL) < 0) {
		FUZZ_CHECK(!log.events && !log.n);
		return 0;
	}
	FUZZ_CHECK(log.banks_n > 0 && log.banks_n <= FIRMWARE_BANKS_MAX);
	for (size_t i = 0; i < log.n; i++) {
		FUZZ_CHECK(log.events[i].offset < size);
		FUZZ_CHECK(log.events[i].data >= data &&
			   log.events[i].data + log.events[i].data_n <= data + size);
	}
	for (size_t i = 0; i < log.banks_n; i++)
		(void)firmware_log_replay(&log, log.banks[i].hash, pcrs);
	boot_claims_read(&log, banks, 1, &claims, refusals);
	/* Nothing is claimed of a log that has no digests in the quoted bank. */
	if (log.n && !firmware_log_digest(&log, 0, TL_SHA256))
		FUZZ_CHECK(refusals->n || (!claims.is_secure_boot && !claims.is_debug_disabled));
	return 0;
}
