/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/record_log.h>

static const struct tl_banks one = { .hashes = { TL_SHA256 }, .n = 1 };

/*
 * By openssl: { printf '\120\0\0\0\007\200\0\0\0\002{}'; } | openssl dgst -sha256, and PCR 15 of
 * it: { head -c 32 /dev/zero; printf ... | openssl dgst -sha256 -binary; } | openssl dgst -sha256
 */
#define DIGEST "eef53fbb554ffdd3509e4f5369dc2989e40dc6d9e4fe3d89b1718c8e9ca6ac19"
#define PCR    "cba9178fe288bf9ee39c3073b8df705f98ab55668162c1008e283c5c19baadef"

static void a_log_has_these_bytes(void **state)
{
	auto_buf struct tl_buf log = { 0 };
	char hex[512];
	uint8_t pcr[32];

	(void)state;
	tl_buf_init(&log, 1024);
	assert_int_equal(tl_record_log_encode("{}", 2, &one, &log, NULL), 0);
	assert_true(2 * log.len_bytes < sizeof(hex));
	tl_hex_encode(log.data, log.len_bytes, hex);
	assert_string_equal(hex, "0000000008"
				 "0000000000000000"
				 "01000000010f"
				 "0300000025"
				 "0b00000020" DIGEST "5000000007"
				 "8000000002"
				 "7b7d");
	assert_int_equal(tl_record_replay("{}", 2, TL_SHA256, pcr), 0);
	tl_hex_encode(pcr, sizeof(pcr), hex);
	assert_string_equal(hex, PCR);
}

static void what_is_encoded_is_decoded_and_replays(void **state)
{
	const struct tl_banks banks = { .hashes = { TL_SHA1, TL_SHA256, TL_SHA384 }, .n = 3 };
	auto_buf struct tl_buf log = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	uint8_t replayed[TL_HASH_SIZE_MAX], want[TL_HASH_SIZE_MAX];

	(void)state;
	tl_buf_init(&log, 1024);
	assert_int_equal(tl_record_log_encode("{\"a\":1}", 7, &banks, &log, NULL), 0);
	assert_int_equal(tl_record_log_decode(log.data, log.len_bytes, &cel, NULL), 0);
	assert_int_equal(cel.records[0].event.content_len, 7);
	assert_memory_equal(cel.records[0].event.content, "{\"a\":1}", 7);
	for (size_t i = 0; i < banks.n; i++) {
		assert_int_equal(tl_cel_replay(&cel, banks.hashes[i], replayed, NULL), 0);
		assert_int_equal(tl_record_replay("{\"a\":1}", 7, banks.hashes[i], want), 0);
		assert_memory_equal(replayed, want, tl_hash_size(banks.hashes[i]));
	}
}

static void assert_not_a_record(const struct tl_buf *log)
{
	struct tl_cel cel = { .n = 77 };
	struct tl_error err = { 0 };

	assert_int_equal(tl_record_log_decode(log->data, log->len_bytes, &cel, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_CEL_MALFORMED);
	assert_int_equal(cel.n, 77);
}

static void other_logs_are_refused(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	auto_buf struct tl_buf log = { 0 }, twice = { 0 };
	struct tl_cel cel = { 0 };
	size_t n;

	(void)state;
	tl_buf_init(&log, 4096);
	assert_not_a_record(&log);
	/* The launch log is for another register, and the record's log is no launch log. */
	assert_int_equal(tl_events_add(&list, TL_EVENT_LAUNCH_RECORD, "{}", 2, NULL), 0);
	assert_int_equal(tl_cel_encode(&list, TL_CEL_TPM, &one, &log, NULL), 0);
	assert_not_a_record(&log);
	tl_buf_reset(&log);
	assert_int_equal(tl_record_log_encode("{}", 2, &one, &log, NULL), 0);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, NULL, NULL), -EBADMSG);
	/* Another type of event; a second record. */
	n = log.len_bytes;
	log.data[n - 7] = TL_EVENT_ARG;
	assert_not_a_record(&log);
	log.data[n - 7] = TL_EVENT_LAUNCH_RECORD;
	tl_buf_init(&twice, 4096);
	assert_int_equal(tl_buf_append(&twice, log.data, n), 0);
	assert_int_equal(tl_buf_append(&twice, log.data, n), 0);
	twice.data[n + 12] = 1;
	assert_not_a_record(&twice);
}

static void a_record_that_is_too_long_is_refused(void **state)
{
	auto_free char *text = calloc(1, TL_EVENT_CONTENT_MAX_BYTES + 1);
	auto_buf struct tl_buf log = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_non_null(text);
	tl_buf_init(&log, 4 * TL_EVENT_CONTENT_MAX_BYTES);
	assert_int_equal(
		tl_record_log_encode(text, TL_EVENT_CONTENT_MAX_BYTES + 1, &one, &log, &err),
		-E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_int_equal(log.len_bytes, 0);
	assert_int_equal(tl_record_log_encode(text, TL_EVENT_CONTENT_MAX_BYTES, &one, &log, &err),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_log_has_these_bytes),
		cmocka_unit_test(what_is_encoded_is_decoded_and_replays),
		cmocka_unit_test(other_logs_are_refused),
		cmocka_unit_test(a_record_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
