/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/quote.h"

/* TPM 2.0 part 2, 10.12.8, by hand: two-byte name, three-byte nonce, PCRs 0-23 of sha256. */
static const uint8_t quote_good[] = {
	0xff, 'T', 'C', 'G', 0x80, 0x18,                 /* magic, type */
	0,    2,   'q', 'n', 0,    3,    'a', 'b',  'c', /* qualified signer, extra data */
	0,    0,   0,   0,   0,    0,    0,   9,    0,    0,    0, /* clock, */
	7,    0,   0,   0,   5,    1,                           /* reset and restart count, safe */
	0,    0,   0,   0,   0,    0,    0,   3,                /* firmware version */
	0,    0,   0,   1,   0,    0x0b, 3,   0xff, 0xff, 0xff, /* selection */
	0,    4,   'd', 'i', 'g',  's',                         /* digest */
};

static const uint8_t ecdsa_good[] = { 0, 0x18, 0, 0x0b, 0, 2, 'r', 'r', 0, 1, 's' };
static const uint8_t rsassa_good[] = { 0, 0x14, 0, 0x0c, 0, 3, 's', 'i', 'g' };

static void a_quote_is_read_field_by_field(void **state)
{
	struct quote q = { 0 };

	(void)state;
	assert_int_equal(quote_parse(quote_good, sizeof(quote_good), &q, NULL), 0);
	assert_int_equal(q.signer_n, 2);
	assert_int_equal(q.extra_n, 3);
	assert_memory_equal(q.extra, "abc", 3);
	assert_int_equal(q.reset_count, 7);
	assert_int_equal(q.restart_count, 5);
	assert_int_equal(q.firmware_version, 3);
	assert_int_equal(q.bank, TL_SHA256);
	assert_int_equal(q.pcr_mask, 0xffffff);
	assert_int_equal(q.digest_n, 4);
}

static void quote_refused(const uint8_t *data, size_t n)
{
	struct quote q = { .bank = 77 };
	struct tl_error err = { 0 };

	assert_int_equal(quote_parse(data, n, &q, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_VERIFY_QUOTE);
	assert_int_equal(q.bank, 77);
}

static void signature_refused(const uint8_t *data, size_t n)
{
	struct quote_signature s = { .hash = 77 };
	struct tl_error err = { 0 };

	assert_int_equal(quote_signature_parse(data, n, &s, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_VERIFY_QUOTE);
	assert_int_equal(s.hash, 77);
}

/* Each in a heap block of exactly its size: a sanitizer sees any byte read behind it. */
static void every_cut(const uint8_t *good, size_t n, void (*refused)(const uint8_t *data, size_t n))
{
	for (size_t i = 0; i < n; i++) {
		auto_free uint8_t *cut = malloc(i ? i : 1);

		assert_non_null(cut);
		memcpy(cut, good, i);
		refused(cut, i);
	}
}

static void what_is_cut_off_is_refused(void **state)
{
	(void)state;
	every_cut(quote_good, sizeof(quote_good), quote_refused);
	every_cut(ecdsa_good, sizeof(ecdsa_good), signature_refused);
	every_cut(rsassa_good, sizeof(rsassa_good), signature_refused);
}

static void what_follows_is_refused(void **state)
{
	uint8_t longer[sizeof(quote_good) + 1] = { 0 };

	(void)state;
	memcpy(longer, quote_good, sizeof(quote_good));
	quote_refused(longer, sizeof(longer));
	memcpy(longer, ecdsa_good, sizeof(ecdsa_good));
	longer[sizeof(ecdsa_good)] = 0;
	signature_refused(longer, sizeof(ecdsa_good) + 1);
}

static void what_is_no_quote_over_one_bank_is_refused(void **state)
{
	/* index and value of one changed byte */
	static const uint8_t changes[][2] = {
		{ 0, 0xfe }, { 4, 0 }, { 5, 0x17 }, { 43, 0 }, { 43, 2 }, { 40, 1 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(changes); i++) {
		uint8_t bad[sizeof(quote_good)];

		memcpy(bad, quote_good, sizeof(bad));
		bad[changes[i][0]] = changes[i][1];
		quote_refused(bad, sizeof(bad));
	}
}

/* Behind the 40 bytes that all types share: an empty name, an offset, empty contents. */
static void another_attestation_by_the_same_key_is_no_quote(void **state)
{
	uint8_t nv[40 + 6] = { 0 };
	struct quote q = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	memcpy(nv, quote_good, 40);
	nv[5] = 0x14; /* TPM_ST_ATTEST_NV */
	assert_int_equal(quote_parse(nv, sizeof(nv), &q, &err), -EBADMSG);
	if (!strstr(err.msg, "not a quote"))
		fail_msg("%s", err.msg);
}

static void signatures_are_ecdsa_or_rsassa_over_sha256_or_better(void **state)
{
	struct quote_signature s = { 0 };
	uint8_t bad[sizeof(ecdsa_good)];

	(void)state;
	assert_int_equal(quote_signature_parse(ecdsa_good, sizeof(ecdsa_good), &s, NULL), 0);
	assert_true(s.is_ecdsa);
	assert_int_equal(s.hash, TL_SHA256);
	assert_int_equal(s.r_n, 2);
	assert_int_equal(s.s_n, 1);
	assert_int_equal(quote_signature_parse(rsassa_good, sizeof(rsassa_good), &s, NULL), 0);
	assert_false(s.is_ecdsa);
	assert_int_equal(s.hash, TL_SHA384);
	assert_int_equal(s.r_n, 3);
	memcpy(bad, ecdsa_good, sizeof(bad));
	bad[3] = TL_SHA1;
	signature_refused(bad, sizeof(bad));
	bad[3] = TL_SHA256;
	bad[1] = 0x1a; /* ECDAA */
	signature_refused(bad, sizeof(bad));
	bad[1] = 0x16; /* RSAPSS */
	signature_refused(bad, sizeof(bad));
}

static void a_signature_of_zeros_or_nothing_is_no_signature(void **state)
{
	static const uint8_t zero[] = { 0, 0x18, 0, 0x0b, 0, 1, 0, 0, 1, 0 };
	static const uint8_t none[] = { 0, 0x18, 0, 0x0b, 0, 0, 0, 0 };
	struct quote_signature s = { 0 };

	(void)state;
	/* They parse; that they verify under no key is shown with keys in the integration test. */
	assert_int_equal(quote_signature_parse(zero, sizeof(zero), &s, NULL), 0);
	assert_int_equal(quote_signature_parse(none, sizeof(none), &s, NULL), 0);
	assert_int_equal(s.r_n + s.s_n, 0);
}

static void a_request_without_a_strong_bank_is_refused_even_if_all_else_holds(void **state)
{
	struct verify_request req = { 0 };
	struct refusals refusals = { 0 };

	(void)state;
	quotes_check(&req, NULL, 0, NULL, &refusals);
	assert_int_equal(refusals.n, 1);
	assert_int_equal(refusals.items[0].code, TL_E_VERIFY_BANKS);
}

static void refusals_beyond_the_room_are_still_refusals(void **state)
{
	struct refusals r = { 0 };

	(void)state;
	for (size_t i = 0; i < REFUSALS_MAX + 5; i++)
		refuse(&r, TL_E_VERIFY_QUOTE, "number %zu", i);
	assert_int_equal(r.n, REFUSALS_MAX + 5);
	assert_int_equal(refusals_kept(&r), REFUSALS_MAX);
	assert_string_equal(r.items[REFUSALS_MAX - 1].msg, "number 31");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_quote_is_read_field_by_field),
		cmocka_unit_test(what_is_cut_off_is_refused),
		cmocka_unit_test(what_follows_is_refused),
		cmocka_unit_test(what_is_no_quote_over_one_bank_is_refused),
		cmocka_unit_test(another_attestation_by_the_same_key_is_no_quote),
		cmocka_unit_test(signatures_are_ecdsa_or_rsassa_over_sha256_or_better),
		cmocka_unit_test(a_signature_of_zeros_or_nothing_is_no_signature),
		cmocka_unit_test(a_request_without_a_strong_bank_is_refused_even_if_all_else_holds),
		cmocka_unit_test(refusals_beyond_the_room_are_still_refusals),
	};

	(void)setenv("TSS2_LOG", "all+NONE", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
