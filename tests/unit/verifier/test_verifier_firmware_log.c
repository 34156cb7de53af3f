/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "../../../attest/verifier/firmware_log.h"

#define LOG_MAX 65536

static const uint16_t both[] = { TL_SHA1, TL_SHA256 };

/* Little-endian writing, so that no line of the parser is needed to make its input. */
static void put_le(struct tl_buf *b, uint32_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tl_buf_append_u8(b, (uint8_t)(v >> (8 * i))), 0);
}

static void put_header(struct tl_buf *b, const uint16_t *hashes, size_t n)
{
	static const uint8_t zeros[20];

	put_le(b, 0, 4);
	put_le(b, FIRMWARE_EV_NO_ACTION, 4);
	assert_int_equal(tl_buf_append(b, zeros, 20), 0);
	put_le(b, (uint32_t)(16 + 4 + 4 + 4 + 4 * n + 1), 4);
	assert_int_equal(tl_buf_append(b, "Spec ID Event03", 16), 0);
	put_le(b, 0, 4);
	put_le(b, 0x02690200, 4);
	put_le(b, (uint32_t)n, 4);
	for (size_t i = 0; i < n; i++) {
		put_le(b, hashes[i], 2);
		put_le(b, (uint32_t)tl_hash_size(hashes[i]), 2);
	}
	put_le(b, 0, 1);
}

/* Digests are all of one byte, so that values can be computed by hand. */
static void put_event(struct tl_buf *b, uint32_t pcr, uint32_t type, const uint16_t *hashes,
		      size_t n, int fill, const void *data, size_t data_n)
{
	uint8_t digest[TL_HASH_SIZE_MAX];

	memset(digest, fill, sizeof(digest));
	put_le(b, pcr, 4);
	put_le(b, type, 4);
	put_le(b, (uint32_t)n, 4);
	for (size_t i = 0; i < n; i++) {
		put_le(b, hashes[i], 2);
		assert_int_equal(tl_buf_append(b, digest, tl_hash_size(hashes[i])), 0);
	}
	put_le(b, (uint32_t)data_n, 4);
	assert_int_equal(tl_buf_append(b, data, data_n), 0);
}

static void put_good(struct tl_buf *b)
{
	put_header(b, both, 2);
	put_event(b, 0, FIRMWARE_EV_NO_ACTION, both, 2, 0, "StartupLocality\0\3", 17);
	put_event(b, 0, 8, both, 2, 0x11, "version", 7);
	put_event(b, 7, FIRMWARE_EV_SEPARATOR, both, 2, 0x22, "\0\0\0\0", 4);
	put_event(b, 0xffffffff, FIRMWARE_EV_NO_ACTION, both, 2, 0x33, "note", 4);
}

static void malformed_for(const struct tl_buf *b, size_t n, const char *why)
{
	struct firmware_log log = { .n = 77 };
	struct tl_error err = { 0 };

	assert_int_equal(firmware_log_parse(b->data, n, &log, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_VERIFY_FIRMWARE_LOG);
	assert_non_null(strstr(err.msg, why));
	assert_int_equal(log.n, 77);
}

static void malformed(const struct tl_buf *b, size_t n)
{
	malformed_for(b, n, "");
}

static void put_locality(struct tl_buf *b, const char *text)
{
	put_event(b, 0, FIRMWARE_EV_NO_ACTION, both, 2, 0, text, 17);
}

static void events_replay_from_the_right_start(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };
	auto_firmware_log struct firmware_log log = { 0 };
	struct pcr_values pcrs = { 0 };
	char hex[65];

	(void)state;
	put_good(&b);
	assert_int_equal(firmware_log_parse(b.data, b.len_bytes, &log, NULL), 0);
	assert_int_equal(log.n, 4);
	assert_int_equal(log.startup_locality, 3);
	assert_int_equal(firmware_log_replay(&log, TL_SHA256, &pcrs), 0);
	assert_int_equal(pcrs.mask, 1 << 0 | 1 << 7);
	/* By Python: sha256(31 * b"\0" + b"\3" + 32 * b"\x11"), sha256(32 * b"\0" + 32 * b"\x22").
	 */
	tl_hex_encode(pcrs.value[0], 32, hex);
	assert_string_equal(hex,
			    "b8e8cc97156c2b3142cb8e876236fd4729748153743b480af0949565f227d2eb");
	tl_hex_encode(pcrs.value[7], 32, hex);
	assert_string_equal(hex,
			    "ee4b0e933b56cdf12a42b1e3f3b9ed1aa70cf9f3cf37325693255c8bfbcb8ba8");
	assert_int_equal(firmware_log_replay(&log, TL_SHA384, &pcrs), -ENOENT);
	assert_non_null(firmware_log_digest(&log, 1, TL_SHA1));
	assert_null(firmware_log_digest(&log, 1, TL_SHA384));
}

static void a_log_cut_anywhere_but_between_events_is_malformed(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };
	size_t whole = 0;

	(void)state;
	put_good(&b);
	for (size_t n = 0; n < b.len_bytes; n++) {
		/* A copy of exactly that size: a sanitizer sees any byte read behind it. */
		auto_free uint8_t *copy = malloc(n + 1);
		auto_firmware_log struct firmware_log log = { 0 };
		struct tl_buf cut = { .data = copy, .len_bytes = n };

		assert_non_null(copy);
		memcpy(copy, b.data, n);
		copy = realloc(copy, n ? n : 1);
		cut.data = copy;
		if (firmware_log_parse(cut.data, n, &log, NULL) == 0)
			whole++;
		else
			malformed(&cut, n);
	}
	assert_int_equal(whole, 4); /* the header alone, and after each event but the last */
}

static void headers_that_contradict_themselves_are_malformed(void **state)
{
	static const uint16_t doubled[] = { TL_SHA256, TL_SHA256 };
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };

	(void)state;
	put_header(&b, doubled, 2);
	malformed(&b, b.len_bytes);
	tl_buf_reset(&b);
	put_header(&b, both, 0);
	malformed(&b, b.len_bytes);
	tl_buf_reset(&b);
	put_header(&b, both, 2);
	b.data[62] = 19; /* the size of a SHA-1 digest */
	malformed(&b, b.len_bytes);
	b.data[62] = 20;
	b.data[28]++; /* the header's size: swallows a byte of the next event */
	put_event(&b, 0, 8, both, 2, 0, "", 0);
	malformed(&b, b.len_bytes);
	b.data[28]--;
	b.data[4] = 8; /* not EV_NO_ACTION: the log of a TPM 1.2 */
	malformed(&b, b.len_bytes);
	b.data[4] = FIRMWARE_EV_NO_ACTION;
	b.data[46] = '2'; /* Spec ID Event02 */
	malformed(&b, b.len_bytes);
}

static void events_with_missing_doubled_or_foreign_digests_are_malformed(void **state)
{
	static const uint16_t doubled[] = { TL_SHA1, TL_SHA1 };
	static const uint16_t foreign[] = { TL_SHA1, TL_SHA384 };
	static const uint16_t *const lists[] = { both, doubled, foreign };
	static const size_t counts[] = { 1, 2, 2 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(lists); i++) {
		auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };

		put_header(&b, both, 2);
		put_event(&b, 0, 8, lists[i], counts[i], 0, "x", 1);
		malformed(&b, b.len_bytes);
	}
}

static void registers_that_no_tpm_has_are_malformed(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };

	(void)state;
	put_header(&b, both, 2);
	put_event(&b, 24, 8, both, 2, 0, "x", 1);
	malformed(&b, b.len_bytes);
}

static void the_locality_counts_once(void **state)
{
	static const char *const first[] = { "StartupLocality\0\0", "StartupLocality\0\3",
					     "StartupLocality\0\4" };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(first); i++) {
		for (size_t k = 0; k < TL_ARRAY_SIZE(first); k++) {
			auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };

			put_header(&b, both, 2);
			put_locality(&b, first[i]);
			put_locality(&b, first[k]);
			malformed_for(&b, b.len_bytes, "doubled");
		}
	}
}

/* Behind an event that was extended, the start would be another than the one that was extended. */
static void the_locality_counts_only_before_pcr_0_is_extended(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };

	(void)state;
	put_header(&b, both, 2);
	put_event(&b, 0, 8, both, 2, 0x11, "version", 7);
	put_locality(&b, "StartupLocality\0\3");
	malformed_for(&b, b.len_bytes, "after PCR 0 was extended");
}

static void localities_that_no_tpm_starts_from_are_malformed(void **state)
{
	(void)state;
	for (int locality = 0; locality < 256; locality++) {
		auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };
		auto_firmware_log struct firmware_log log = { 0 };
		char text[17] = "StartupLocality";

		text[16] = (char)locality;
		put_header(&b, both, 2);
		put_locality(&b, text);
		if (locality != 0 && locality != 3 && locality != 4) {
			malformed_for(&b, b.len_bytes, "none of 0, 3 and 4");
			continue;
		}
		assert_int_equal(firmware_log_parse(b.data, b.len_bytes, &log, NULL), 0);
		assert_int_equal(log.startup_locality, locality);
	}
}

/* What was extended into another register, or into none, leaves PCR 0 at its start. */
static void the_locality_may_follow_what_pcr_0_does_not_have(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };
	auto_firmware_log struct firmware_log log = { 0 };
	struct pcr_values pcrs = { 0 };
	char hex[65];

	(void)state;
	put_header(&b, both, 2);
	put_event(&b, 7, 8, both, 2, 0x22, "x", 1);
	put_event(&b, 0, FIRMWARE_EV_NO_ACTION, both, 2, 0, "note", 4);
	put_locality(&b, "StartupLocality\0\4");
	put_event(&b, 0, 8, both, 2, 0x11, "version", 7);
	assert_int_equal(firmware_log_parse(b.data, b.len_bytes, &log, NULL), 0);
	assert_int_equal(firmware_log_replay(&log, TL_SHA256, &pcrs), 0);
	/* By Python: sha256(31 * b"\0" + b"\4" + 32 * b"\x11") */
	tl_hex_encode(pcrs.value[0], 32, hex);
	assert_string_equal(hex,
			    "7ff4e207f5619b362c2baa1709160a7bf1b5e52e1e2665cac4ef6edfac3deef8");
}

static void what_only_resembles_the_locality_is_none(void **state)
{
	static const struct {
		const char *text;
		size_t n;
	} rows[] = {
		{ "StartupLocality\0\3\0", 18 },
		{ "StartupLocality\0", 16 },
		{ "StartupLocalitY\0\3", 17 },
		{ "StartupLocality \3", 17 },
	};
	auto_buf struct tl_buf b = { .max_bytes = LOG_MAX };
	auto_firmware_log struct firmware_log log = { 0 };

	(void)state;
	put_header(&b, both, 2);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++)
		put_event(&b, 0, FIRMWARE_EV_NO_ACTION, both, 2, 0, rows[i].text, rows[i].n);
	/* Of a type that is extended it is an event as any other. */
	put_event(&b, 0, 8, both, 2, 0, "StartupLocality\0\3", 17);
	assert_int_equal(firmware_log_parse(b.data, b.len_bytes, &log, NULL), 0);
	assert_int_equal(log.n, TL_ARRAY_SIZE(rows) + 1);
	assert_int_equal(log.startup_locality, 0);
}

static void more_events_than_any_boot_has_are_refused(void **state)
{
	auto_buf struct tl_buf b = { .max_bytes = 4 * 1024 * 1024 };

	(void)state;
	put_header(&b, both, 1);
	for (size_t i = 0; i < FIRMWARE_EVENTS_MAX + 1; i++)
		put_event(&b, 0, FIRMWARE_EV_NO_ACTION, both, 1, 0, "", 0);
	malformed(&b, b.len_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_replay_from_the_right_start),
		cmocka_unit_test(a_log_cut_anywhere_but_between_events_is_malformed),
		cmocka_unit_test(headers_that_contradict_themselves_are_malformed),
		cmocka_unit_test(events_with_missing_doubled_or_foreign_digests_are_malformed),
		cmocka_unit_test(registers_that_no_tpm_has_are_malformed),
		cmocka_unit_test(the_locality_counts_once),
		cmocka_unit_test(the_locality_counts_only_before_pcr_0_is_extended),
		cmocka_unit_test(localities_that_no_tpm_starts_from_are_malformed),
		cmocka_unit_test(the_locality_may_follow_what_pcr_0_does_not_have),
		cmocka_unit_test(what_only_resembles_the_locality_is_none),
		cmocka_unit_test(more_events_than_any_boot_has_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
