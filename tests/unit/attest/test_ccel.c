/* SPDX-License-Identifier: Apache-2.0 */
/* Where a CC event log ends, the ACPI table beside it, and what we read of a TDX quote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/buf.h>
#include <teelaunch/cleanup.h>

#include "ccel.h"
#include "tdx_quote.h"

static void put_le(struct tl_buf *b, uint64_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tl_buf_append_u8(b, (uint8_t)(v >> 8 * i)), 0);
}

static void put_fill(struct tl_buf *b, uint8_t byte, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(tl_buf_append_u8(b, byte), 0);
}

/* SHA-384 alone, as TDX has it. */
static void put_header(struct tl_buf *b)
{
	put_le(b, 0, 4);
	put_le(b, 3, 4); /* EV_NO_ACTION */
	put_fill(b, 0, 20);
	put_le(b, 33, 4);
	assert_int_equal(tl_buf_append(b, "Spec ID Event03", 16), 0);
	put_le(b, 0, 4);
	put_le(b, 0x02000200, 4);
	put_le(b, 1, 4);
	put_le(b, 0x000c, 2);
	put_le(b, 48, 2);
	put_le(b, 0, 1);
}

static void put_event(struct tl_buf *b, uint8_t data_byte, size_t n)
{
	put_le(b, 1, 4);
	put_le(b, 0x80000001, 4);
	put_le(b, 1, 4);
	put_le(b, 0x000c, 2);
	put_fill(b, 0xd1, 48);
	put_le(b, n, 4);
	put_fill(b, data_byte, n);
}

static void log_make(struct tl_buf *b)
{
	tl_buf_init(b, 4096);
	put_header(b);
	put_event(b, 'a', 7);
	put_event(b, 0xff, 5); /* what trimming 0xFF would cut off */
}

static void the_log_ends_with_its_last_event(void **state)
{
	static const uint8_t unused[] = { 0xff, 0x00 };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(unused); i++)
		for (size_t padding = 0; padding < 100; padding++) {
			auto_buf struct tl_buf b = { 0 };
			size_t want, end = 4711;

			log_make(&b);
			want = b.len_bytes;
			put_fill(&b, unused[i], padding);
			assert_int_equal(ccel_end(b.data, b.len_bytes, &end, NULL), 0);
			assert_int_equal(end, want);
		}
}

static void a_log_without_events_is_its_header(void **state)
{
	auto_buf struct tl_buf b = { 0 };
	size_t end = 0;

	(void)state;
	tl_buf_init(&b, 4096);
	put_header(&b);
	put_fill(&b, 0xff, 64);
	assert_int_equal(ccel_end(b.data, b.len_bytes, &end, NULL), 0);
	assert_int_equal(end, b.len_bytes - 64);
}

static void refused(const struct tl_buf *b, size_t n, const char *why)
{
	struct tl_error err = { 0 };
	size_t end = 4711;

	assert_int_equal(ccel_end(b->data, n, &end, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_CCEL);
	assert_int_equal(end, 4711);
	if (!strstr(err.msg, why))
		fail_msg("'%s' isn't about '%s'", err.msg, why);
}

static void a_log_that_is_cut_anywhere_is_refused(void **state)
{
	auto_buf struct tl_buf b = { 0 };
	size_t end_1, end_header;

	(void)state;
	tl_buf_init(&b, 4096);
	put_header(&b);
	end_header = b.len_bytes;
	put_event(&b, 'a', 7);
	end_1 = b.len_bytes;
	put_event(&b, 0xff, 5);
	for (size_t n = 0; n < b.len_bytes; n++)
		if (n != end_header && n != end_1)
			refused(&b, n, n < end_header ? "header" : "");
	b.len_bytes = 0;
	put_fill(&b, 0xff, 100);
	refused(&b, b.len_bytes, "header");
}

static void what_no_firmware_writes_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *why;
	} rows[] = {
		{ 4, 4, "no header" },                /* type of the header */
		{ 28, 32, "size doesn't fit" },       /* length of the header's data */
		{ 28, 34, "size doesn't fit" },       /* ... one more than it has */
		{ 31, 0x80, "cut off" },              /* ... 2 GiB of it */
		{ 32, 's', "Spec ID Event03" },       /* signature */
		{ 56, 0, "within 1 to 8" },           /* number of algorithms */
		{ 56, 9, "within 1 to 8" },           /* ... */
		{ 59, 0x80, "within 1 to 8" },        /* ... */
		{ 62, 0, "1 to 64" },                 /* size of a digest */
		{ 62, 65, "1 to 64" },                /* ... */
		{ 63, 0xff, "1 to 64" },              /* ... */
		{ 64, 1, "size doesn't fit" },        /* vendor's information */
		{ 65 + 8, 0, "for each algorithm" },  /* number of digests */
		{ 65 + 8, 2, "for each algorithm" },  /* ... */
		{ 65 + 11, 1, "for each algorithm" }, /* ... */
		{ 65 + 12, 0x0b, "not in the header" },
		{ 65 + 12 + 2 + 48 + 3, 0x7f, "cut off" }, /* length of the data */
		{ 65 + 12 + 2 + 48, 6, "" },               /* the next event begins too early */
		{ 65 + 12 + 2 + 48, 8, "" },               /* ... too late */
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		auto_buf struct tl_buf b = { 0 };

		log_make(&b);
		put_fill(&b, 0xff, 20);
		b.data[rows[i].at] = rows[i].value;
		refused(&b, b.len_bytes, rows[i].why);
	}
}

static void something_behind_the_end_is_refused(void **state)
{
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	log_make(&b);
	put_fill(&b, 0xff, 100);
	put_fill(&b, 'x', 1);
	refused(&b, b.len_bytes, "byte 209");
}

static void one_digest_twice_is_refused(void **state)
{
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	tl_buf_init(&b, 4096);
	put_le(&b, 0, 4);
	put_le(&b, 3, 4);
	put_fill(&b, 0, 20);
	put_le(&b, 37, 4);
	assert_int_equal(tl_buf_append(&b, "Spec ID Event03", 16), 0);
	put_fill(&b, 0, 8);
	put_le(&b, 2, 4);
	put_le(&b, 0x0014000b, 4); /* whatever size the header says */
	put_le(&b, 0x0014000c, 4);
	put_le(&b, 0, 1);
	put_le(&b, 1, 4);
	put_le(&b, 1, 4);
	put_le(&b, 2, 4);
	for (int i = 0; i < 2; i++) {
		put_le(&b, 0x000c, 2);
		put_fill(&b, 1, 20);
	}
	put_le(&b, 0, 4);
	refused(&b, b.len_bytes, "twice");
	b.data[69 + 12] = 0x0b;
	assert_int_equal(ccel_end(b.data, b.len_bytes, &(size_t){ 0 }, NULL), 0);
}

static void only_the_table_of_tdx_is_taken(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = { { 0, 'X' }, { 4, 55 }, { 7, 1 }, { 36, 1 }, { 36, 0 } };
	uint8_t good[60] = "CCEL\x38";
	struct tl_error err = { 0 };

	(void)state;
	good[36] = 2;
	assert_int_equal(ccel_table_check(good, 56, NULL), 0);
	for (size_t n = 0; n < sizeof(good); n++)
		if (n != 56)
			assert_int_equal(ccel_table_check(good, n, NULL), -EBADMSG);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t bad[56];

		memcpy(bad, good, sizeof(bad));
		bad[rows[i].at] = rows[i].value;
		assert_int_equal(ccel_table_check(bad, sizeof(bad), &err), -EBADMSG);
		assert_int_equal(err.code, TL_E_CCEL);
	}
}

/* --- quotes ------------------------------------------------------------------------------- */

static const struct quote_form {
	uint16_t version, type;
	size_t body, body_n; /* offset and size */
} forms[] = { { 4, 0, 48, 584 }, { 5, 2, 54, 584 }, { 5, 3, 54, 648 } };

static void quote_make(const struct quote_form *f, struct tl_buf *b)
{
	tl_buf_init(b, 4096);
	put_le(b, f->version, 2);
	put_le(b, 2, 2);
	put_le(b, 0x81, 4);
	put_fill(b, 0, 40);
	if (f->version == 5) {
		put_le(b, f->type, 2);
		put_le(b, f->body_n, 4);
	}
	put_fill(b, 'b', f->body_n);
	memset(b->data + f->body + 472, '3', 48);
	memset(b->data + f->body + 520, 'n', 64);
	put_le(b, 10, 4);
	put_fill(b, 's', 10);
}

static void each_form_of_a_quote_is_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(forms); i++) {
		auto_buf struct tl_buf b = { 0 };
		struct tdx_quote q = { 0 };

		quote_make(&forms[i], &b);
		assert_int_equal(tdx_quote_parse(b.data, b.len_bytes, &q, NULL), 0);
		assert_ptr_equal(q.rtmr3, b.data + forms[i].body + 472);
		assert_ptr_equal(q.report_data, b.data + forms[i].body + 520);
		assert_int_equal(q.rtmr3[0] + q.rtmr3[47], '3' + '3');
		assert_int_equal(q.report_data[0] + q.report_data[63], 'n' + 'n');
	}
}

static void quote_refused(const struct tl_buf *b, size_t n)
{
	struct tl_error err = { 0 };
	struct tdx_quote q = { 0 };

	assert_int_equal(tdx_quote_parse(b->data, n, &q, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_QUOTE_INVALID);
	assert_null(q.rtmr3);
}

static void a_quote_that_is_cut_anywhere_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(forms); i++) {
		auto_buf struct tl_buf b = { 0 };

		quote_make(&forms[i], &b);
		for (size_t n = 0; n < b.len_bytes; n++)
			quote_refused(&b, n);
	}
}

static void other_quotes_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {
		{ 0, 3 },      /* version of SGX */
		{ 0, 6 },      /* one that isn't known */
		{ 1, 1 },      /* ... */
		{ 4, 0 },      /* SGX */
		{ 7, 1 },      /* TEE type, high byte */
		{ 48, 1 },     /* body of SGX */
		{ 48, 4 },     /* unknown */
		{ 50, 0 },     /* its size */
		{ 53, 1 },     /* ... */
		{ 705, 0xff }, /* length of the signature */
	};
	auto_buf struct tl_buf b = { 0 };

	(void)state;
	quote_make(&forms[2], &b);
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t good = b.data[rows[i].at];

		b.data[rows[i].at] = rows[i].value;
		quote_refused(&b, b.len_bytes);
		b.data[rows[i].at] = good;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_log_ends_with_its_last_event),
		cmocka_unit_test(a_log_without_events_is_its_header),
		cmocka_unit_test(a_log_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(what_no_firmware_writes_is_refused),
		cmocka_unit_test(something_behind_the_end_is_refused),
		cmocka_unit_test(one_digest_twice_is_refused),
		cmocka_unit_test(only_the_table_of_tdx_is_taken),
		cmocka_unit_test(each_form_of_a_quote_is_read),
		cmocka_unit_test(a_quote_that_is_cut_anywhere_is_refused),
		cmocka_unit_test(other_quotes_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
