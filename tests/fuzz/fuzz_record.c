/* SPDX-License-Identifier: Apache-2.0 */
/* attest/verifier: the launch record, as a log and as a document. */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/record_log.h>

#include "../../attest/verifier/record_check.h"

static bool is_accepted(struct verify_request *req, struct refusals *refusals)
{
	json_t *document = NULL;
	bool is_good;

	*refusals = (struct refusals){ 0 };
	record_check(req, &document, refusals);
	is_good = refusals->n == 0;
	FUZZ_CHECK(!is_good || json_is_object(document));
	json_decref(document);
	return is_good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct tl_banks one = { .hashes = { TL_SHA256 }, .n = 1 };
	auto_free struct refusals *refusals = calloc(1, sizeof(*refusals));
	struct bank_evidence bank = { .hash = TL_SHA256, .pcrs = { .mask = 0xffffff } };
	struct verify_request req = { .banks = &bank, .banks_n = 1 };
	auto_buf struct tl_buf log = { 0 };

	FUZZ_CHECK(refusals);
	tl_buf_init(&log, REQUEST_RECORD_LOG_MAX);
	if (!size || tl_buf_append(&log, data, size) < 0)
		return 0;
	/* As the log: a register of zeros has none. */
	req.record_log = log;
	FUZZ_CHECK(!is_accepted(&req, refusals));
	/* As a document that was measured. */
	tl_buf_reset(&log);
	if (tl_record_log_encode(data, size, &one, &log, NULL) < 0)
		return 0;
	FUZZ_CHECK(tl_record_replay(data, size, TL_SHA256, bank.pcrs.value[TL_RECORD_PCR]) == 0);
	req.record_log = log;
	(void)is_accepted(&req, refusals);
	return 0;
}
