/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/deadline.h>
#include <teelaunch/digest.h>
#include <teelaunch/encoding.h>
#include <teelaunch/error.h>
#include <teelaunch/secret.h>
#include <teelaunch/str.h>

static void every_catalogue_row_is_complete_and_in_order(void **state)
{
	size_t n;
	const struct tl_catalogue_row *rows = tl_catalogue(&n);

	(void)state;
	assert_int_equal(rows[0].code, TL_E_INTERNAL);
	for (size_t i = 0; i < n; i++) {
		char id[8];

		snprintf(id, sizeof(id), "TL%04d", (int)rows[i].code);
		assert_string_equal(rows[i].id, id);
		assert_true(strlen(tl_catalogue_words(rows[i].code)->cause) > 10);
		assert_true(tl_str_starts_with(tl_catalogue_words(rows[i].code)->name, "TL_E_"));
		assert_true(strlen(rows[i].effect) > 4);
		assert_true(strlen(rows[i].action) > 4);
		assert_true(strlen(rows[i].stage) > 1);
		assert_ptr_equal(tl_catalogue_find(rows[i].code), &rows[i]);
		if (i)
			assert_true(rows[i].code > rows[i - 1].code);
	}
	assert_int_equal(tl_catalogue_find((enum tl_code)9999)->code, TL_E_INTERNAL);
	assert_string_equal(tl_catalogue_words((enum tl_code)9999)->name, "TL_E_INTERNAL");
	assert_string_equal(tl_catalogue_words(TL_E_NET_URL)->name, "TL_E_NET_URL");
}

static void an_error_is_one_escaped_line_that_never_means_success(void **state)
{
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_fail(&err, TL_E_IO, 0, "a\nb\x1b[31m\xff '%s'", "ü"), -EIO);
	assert_string_equal(err.msg, "a\\x0ab\\x1b[31m\\xff 'ü'");
	assert_int_equal(err.class, TL_FATAL);
	assert_int_equal(tl_wrap(&err, -ENOENT, "outer %d", 7), -ENOENT);
	assert_string_equal(err.msg, "outer 7: a\\x0ab\\x1b[31m\\xff 'ü'");
	assert_int_equal(tl_fail_sys(&err, TL_E_IO, ENOENT, "open 'x'"), -ENOENT);
	assert_string_equal(err.msg, "open 'x': No such file or directory");
	assert_int_equal(tl_fail(NULL, TL_E_IO, EPERM, "nobody listens"), -EPERM);
}

static void a_message_that_is_too_long_is_cut_between_characters(void **state)
{
	struct tl_error err = { 0 };
	char longer[2 * TL_ERROR_MSG_MAX];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	tl_fail(&err, TL_E_IO, EIO, "%s", longer);
	assert_int_equal(strlen(err.msg), TL_ERROR_MSG_MAX - 1);
	tl_wrap(&err, -EIO, "%s", longer);
	assert_int_equal(strlen(err.msg), TL_ERROR_MSG_MAX - 1);

	char small[6];

	tl_str_escape("ab\n", small, sizeof(small));
	assert_string_equal(small, "ab");
	tl_str_escape("abcdü", small, sizeof(small));
	assert_string_equal(small, "abcd");
}

static void a_buffer_never_passes_its_maximum_and_a_failed_append_changes_nothing(void **state)
{
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	tl_buf_init(&b, 10);
	assert_string_equal(tl_buf_str(&b), "");
	assert_int_equal(tl_buf_append_be64(&b, 0x0102030405060708), 0);
	assert_int_equal(tl_buf_append_be32(&b, 1), -ENOBUFS);
	assert_int_equal(tl_buf_printf(&b, "%s", "abc"), -ENOBUFS);
	assert_int_equal(b.len_bytes, 8);
	assert_memory_equal(b.data, "\1\2\3\4\5\6\7\10", 8);
	assert_int_equal(tl_buf_append_be16(&b, 0x090a), 0);
	assert_int_equal(tl_buf_append_u8(&b, 1), -ENOBUFS);
	assert_int_equal(tl_buf_append(&b, "x", SIZE_MAX), -ENOBUFS);
	tl_buf_consume(&b, 9);
	assert_int_equal(b.len_bytes, 1);
	assert_int_equal(b.data[0], 10);
	tl_buf_consume(&b, 99);
	assert_int_equal(b.len_bytes, 0);
	assert_int_equal(tl_buf_printf(&b, "n=%d", 7), 0);
	auto_free char *s = tl_buf_take_str(&b);
	assert_string_equal(s, "n=7");
	assert_int_equal(b.len_bytes, 0);
	assert_int_equal(tl_buf_append_str(&b, "0123456789"), 0);
	assert_int_equal(tl_buf_append_str(&b, "0"), -ENOBUFS);
}

static void decimal_numbers_are_strict(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int r;
		uint64_t value;
	} cases[] = {
		{ "0", UINT64_MAX, 0, 0 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 77 },
		{ "99999999999999999999999", UINT64_MAX, -ERANGE, 77 },
		{ "65536", 65535, -ERANGE, 77 },
		{ "007", 7, 0, 7 },
		{ "", 9, -EINVAL, 77 },
		{ "+1", 9, -EINVAL, 77 },
		{ "-1", 9, -EINVAL, 77 },
		{ " 1", 9, -EINVAL, 77 },
		{ "1 ", 9, -EINVAL, 77 },
		{ "1e9", 9, -EINVAL, 77 },
		{ "0x1", 9, -EINVAL, 77 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		uint64_t v = 77;

		assert_int_equal(tl_str_parse_u64(cases[i].text, cases[i].max, &v), cases[i].r);
		assert_true(v == cases[i].value);
	}
}

static void utf8_is_checked_as_rfc_3629_says(void **state)
{
	(void)state;
	assert_true(tl_utf8_is_valid("aü€😀", strlen("aü€😀")));
	assert_true(tl_utf8_is_valid("", 0));
	assert_false(tl_utf8_is_valid("\xc0\x80", 2));         /* overlong NUL */
	assert_false(tl_utf8_is_valid("\xed\xa0\x80", 3));     /* surrogate */
	assert_false(tl_utf8_is_valid("\xf4\x90\x80\x80", 4)); /* above U+10FFFF */
	assert_false(tl_utf8_is_valid("\xe2\x82", 2));         /* cut */
	assert_false(tl_utf8_is_valid("\x80", 1));
}

static void base64_is_strict_both_ways(void **state)
{
	static const char *const bad_std[] = { "Zg",   "Zg=",    "Zh==", "Zm9=",
					       "Z===", "Zm9v\n", "Zm-v", "====" };
	uint8_t *bytes = (uint8_t *)1;
	size_t n = 77;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad_std); i++) {
		assert_int_equal(
			tl_base64_decode(TL_BASE64_STD, bad_std[i], strlen(bad_std[i]), &bytes, &n),
			-EINVAL);
		assert_ptr_equal(bytes, (uint8_t *)1);
		assert_int_equal(n, 77);
	}
	for (size_t len = 0; len < 40; len++) {
		uint8_t data[40];

		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)(251 * i + 0xf8);
		for (int kind = TL_BASE64_STD; kind <= TL_BASE64_URL; kind++) {
			auto_free char *text = tl_base64_encode((enum tl_base64)kind, data, len);
			uint8_t *back = NULL;

			assert_int_equal(tl_base64_decode((enum tl_base64)kind, text, strlen(text),
							  &back, &n),
					 0);
			assert_int_equal(n, len);
			assert_memory_equal(back, data, len);
			free(back);
		}
	}
	auto_free char *known = tl_base64_encode(TL_BASE64_STD, "foob", 4);
	assert_string_equal(known, "Zm9vYg==");
}

static void digests_equal_the_published_ones(void **state)
{
	struct tl_digest_text d;
	uint8_t raw[20];
	char hex[41];

	(void)state;
	/* FIPS 180-4 examples, "abc". */
	assert_int_equal(tl_digest_text_of("abc", 3, &d), 0);
	assert_string_equal(d.text,
			    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61"
			    "f20015ad");
	assert_int_equal(tl_digest(TL_SHA1, "abc", 3, raw), 0);
	tl_hex_encode(raw, sizeof(raw), hex);
	assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
	assert_true(tl_digest_text_is_valid(d.text));
	d.text[7] = 'B';
	assert_false(tl_digest_text_is_valid(d.text));
	assert_false(tl_digest_text_is_valid("sha256:ba"));
	assert_false(tl_digest_text_is_valid("md5:ba"));
	assert_int_equal(tl_digest(0x12, "abc", 3, raw), -EINVAL);
}

static void a_backoff_stays_below_its_cap_and_ends(void **state)
{
	static const struct tl_backoff b = { .base_ms = 100, .cap_ms = 1000, .attempts_max = 6 };
	uint64_t wait = 7;

	(void)state;
	assert_true(tl_backoff_next(&b, 2, 100, &wait));
	assert_int_equal(wait, 100);
	assert_true(tl_backoff_next(&b, 2, 101, &wait));
	assert_int_equal(wait, 0);
	for (unsigned int attempt = 2; attempt <= 6; attempt++) {
		assert_true(tl_backoff_next(&b, attempt, UINT64_MAX, &wait));
		assert_true(wait <= 1000);
	}
	wait = 7;
	assert_false(tl_backoff_next(&b, 7, 0, &wait));
	assert_int_equal(wait, 7);
	assert_int_equal(tl_deadline_left_ms(tl_deadline_in(10, 5), 12), 3);
	assert_int_equal(tl_deadline_left_ms(tl_deadline_in(10, 5), 16), 0);
	assert_true(tl_deadline_is_past(tl_deadline_in(10, 5), 15));
	assert_false(tl_deadline_is_past(tl_deadline_in(10, UINT64_MAX), UINT64_MAX - 1));
}

static void pairs_keep_their_order_until_sorted_and_replace_in_place(void **state)
{
	auto_kvs struct tl_kvs v = { 0 };

	(void)state;
	assert_int_equal(tl_kvs_add(&v, "b", "1"), 0);
	assert_int_equal(tl_kvs_add(&v, "a", "2"), 0);
	assert_int_equal(tl_kvs_set(&v, "b", "3"), 0);
	assert_string_equal(v.items[0].value, "3");
	tl_kvs_sort(&v);
	assert_string_equal(v.items[0].key, "a");
	assert_null(tl_kvs_get(&v, "c"));
	assert_int_equal(tl_str_distance("tee-restart-polcy", "tee-restart-policy"), 1);
	assert_int_equal(tl_str_distance("", "abc"), 3);
}

/* RFC 5869, A.3: no salt, no info. */
static void hkdf_gives_what_the_rfc_says(void **state)
{
	static const uint8_t wanted[] = {
		0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c,
		0x5a, 0x31, 0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f,
		0x3c, 0x73, 0x8d, 0x2d, 0x9d, 0x20, 0x13, 0x95, 0xfa, 0xa4, 0xb6, 0x1a, 0x96, 0xc8,
	};
	uint8_t material[22], got[sizeof(wanted)], other[sizeof(wanted)];

	(void)state;
	memset(material, 0x0b, sizeof(material));
	assert_int_equal(tl_hkdf_sha256(material, sizeof(material), "", got, sizeof(got)), 0);
	assert_memory_equal(got, wanted, sizeof(wanted));
	assert_int_equal(tl_hkdf_sha256(material, sizeof(material), "a", other, sizeof(other)), 0);
	assert_memory_not_equal(got, other, sizeof(got));
}

static void a_locked_secret_starts_empty_and_has_its_own_pages(void **state)
{
	static const char zeros[32];
	struct tl_secret s = { 0 };

	(void)state;
	assert_int_equal(tl_secret_alloc_locked(&s, sizeof(zeros)), 0);
	assert_int_equal(s.len_bytes, sizeof(zeros));
	assert_memory_equal(s.bytes, zeros, sizeof(zeros));
	assert_int_equal((uintptr_t)s.bytes % 4096, 0);
	tl_secret_done(&s);
	assert_true(tl_secret_is_empty(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_catalogue_row_is_complete_and_in_order),
		cmocka_unit_test(an_error_is_one_escaped_line_that_never_means_success),
		cmocka_unit_test(a_message_that_is_too_long_is_cut_between_characters),
		cmocka_unit_test(
			a_buffer_never_passes_its_maximum_and_a_failed_append_changes_nothing),
		cmocka_unit_test(decimal_numbers_are_strict),
		cmocka_unit_test(utf8_is_checked_as_rfc_3629_says),
		cmocka_unit_test(base64_is_strict_both_ways),
		cmocka_unit_test(digests_equal_the_published_ones),
		cmocka_unit_test(a_backoff_stays_below_its_cap_and_ends),
		cmocka_unit_test(pairs_keep_their_order_until_sorted_and_replace_in_place),
		cmocka_unit_test(hkdf_gives_what_the_rfc_says),
		cmocka_unit_test(a_locked_secret_starts_empty_and_has_its_own_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
