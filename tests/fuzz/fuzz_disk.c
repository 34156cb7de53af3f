/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the protected disk reads as text: its record, which must survive being written again, and
 * lines of the kernel's log. The first byte chooses.
 */
#include "fuzz.h"

#include <string.h>

#include <teelaunch/cleanup.h>

#include "../../launcher/disk/kernel_log.h"
#include "../../launcher/disk/record.h"

static void fuzz_record(const char *text, size_t n)
{
	auto_buf struct tl_buf again = { 0 };
	struct disk_record r, s;
	struct tl_error err = { 0 };

	if (disk_record_parse(text, n, &r, &err) < 0) {
		FUZZ_CHECK(err.code);
		return;
	}
	tl_buf_init(&again, DISK_RECORD_MAX);
	FUZZ_CHECK(disk_record_format(&r, &again) == 0);
	FUZZ_CHECK(disk_record_parse(tl_buf_str(&again), again.len_bytes, &s, &err) == 0);
	FUZZ_CHECK(r.size_bytes == s.size_bytes && strcmp(r.device, s.device) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = strndup((const char *)data + (size ? 1 : 0), size ? size - 1 : 0);
	uint64_t seq = 7, us = 7;
	int verdict;

	if (size && *data & 1) {
		fuzz_record(text, strlen(text));
		return 0;
	}
	verdict = kernel_log_judge(text, "vda", "dm-0", "dm-1", &seq, &us);
	FUZZ_CHECK(verdict < 0 ? seq == 7 && us == 7 : verdict <= KERNEL_LOG_FOREIGN);
	return 0;
}
