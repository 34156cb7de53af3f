/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder of events for every type and every small or remarkable size, against bytes that are
 * put together here (TCG Canonical Event Log Format 1.0 rev. 0.41, section 5.1), and back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/event_log.h>

#define HEAD 5 /* type and length of a TLV */

static void tlv(uint8_t *at, uint8_t type, size_t n)
{
	at[0] = type;
	for (int i = 0; i < 4; i++)
		at[1 + i] = (uint8_t)(n >> (24 - 8 * i));
}

static void encoded_assert(uint8_t type, const uint8_t *content, size_t n)
{
	const struct tl_banks sha1 = { .hashes = { TL_SHA1 }, .n = 1 };
	const struct tl_event event = { type, content, n };
	auto_free uint8_t *want = malloc(n + 2 * HEAD);
	struct tl_event_digests digests = { 0 };
	auto_buf struct tl_buf got = { 0 }, log = { 0 };
	auto_cel struct tl_cel back = { 0 };

	assert_non_null(want);
	tlv(want, 0x50, n + HEAD);
	tlv(want + HEAD, type, n);
	if (n)
		memcpy(want + 2 * HEAD, content, n);
	tl_buf_init(&got, TL_CEL_MAX_BYTES);
	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_event_encode(&event, &got), 0);
	assert_int_equal(got.len_bytes, n + 2 * HEAD);
	assert_memory_equal(got.data, want, got.len_bytes);

	assert_int_equal(tl_event_digest(&event, &sha1, &digests), 0);
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 0, &event, &digests), 0);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &back, NULL, NULL), 0);
	assert_int_equal(back.n, 1);
	assert_int_equal(back.records[0].event.type, type);
	assert_int_equal(back.records[0].event.content_len, n);
	if (n)
		assert_memory_equal(back.records[0].event.content, content, n);
}

static void every_type_and_size_has_the_bytes_of_its_parts(void **state)
{
	static const size_t sizes[] = { 255,
					256,
					257,
					4095,
					65535,
					65536,
					65541,
					TL_EVENT_CONTENT_MAX_BYTES - 1,
					TL_EVENT_CONTENT_MAX_BYTES };
	auto_free uint8_t *content = malloc(TL_EVENT_CONTENT_MAX_BYTES + 1);
	const struct tl_event large = { TL_EVENT_ARG, content, TL_EVENT_CONTENT_MAX_BYTES + 1 };
	auto_buf struct tl_buf got = { 0 };

	(void)state;
	assert_non_null(content);
	for (size_t i = 0; i <= TL_EVENT_CONTENT_MAX_BYTES; i++)
		content[i] = (uint8_t)(i * 7 + (i >> 8)); /* 0x50 and NUL among them */
	for (unsigned int type = 0; type < 256; type++)
		for (size_t n = 0; n < 64; n++)
			encoded_assert((uint8_t)type, content, n);
	for (size_t i = 0; i < TL_ARRAY_SIZE(sizes); i++)
		encoded_assert(TL_EVENT_ARG, content, sizes[i]);
	tl_buf_init(&got, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_event_encode(&large, &got), -E2BIG);
	assert_int_equal(got.len_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_and_size_has_the_bytes_of_its_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
