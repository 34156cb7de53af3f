/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include <teelaunch/cleanup.h>

#include "launcher/unpack/gzip_header.h"

struct header {
	uint8_t data[TL_GZIP_HEADER_MAX + 8];
	size_t n;
};

static void add(struct header *h, const void *data, size_t n)
{
	assert_true(h->n + n <= sizeof(h->data));
	memcpy(h->data + h->n, data, n);
	h->n += n;
}

static void begin(struct header *h, uint8_t flags)
{
	const uint8_t fixed[] = { 0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 2, 3 };

	h->n = 0;
	add(h, fixed, sizeof(fixed));
}

static void add_text(struct header *h, size_t n)
{
	assert_true(h->n + n + 1 <= sizeof(h->data));
	memset(h->data + h->n, 'n', n);
	h->data[h->n + n] = '\0';
	h->n += n + 1;
}

static void add_extra(struct header *h, size_t n)
{
	const uint8_t size[] = { (uint8_t)n, (uint8_t)(n >> 8) };

	add(h, size, sizeof(size));
	memset(h->data + h->n, 0, n);
	h->n += n;
}

static void add_crc(struct header *h, unsigned int change)
{
	const uLong crc = crc32(0, h->data, (uInt)h->n) ^ change;
	const uint8_t lower[] = { (uint8_t)crc, (uint8_t)(crc >> 8) };

	add(h, lower, sizeof(lower));
}

/* Every shorter piece asks for more, what follows is not looked at; no byte past the end is read.
 */
static void assert_size(const struct header *h)
{
	auto_free uint8_t *copy = malloc(h->n);

	assert_int_equal(tl_gzip_header_read(h->data, h->n), h->n);
	assert_int_equal(tl_gzip_header_read(h->data, h->n + 8), h->n);
	assert_non_null(copy);
	memcpy(copy, h->data, h->n);
	assert_int_equal(tl_gzip_header_read(copy, h->n), h->n);
	for (size_t n = 0; n < h->n; n += n < 600 ? 1 : 997)
		assert_int_equal(tl_gzip_header_read(h->data, n), 0);
	assert_int_equal(tl_gzip_header_read(h->data, h->n - 1), 0);
}

static void a_header_ends_where_its_fields_do(void **state)
{
	static struct header h;

	(void)state;
	begin(&h, 0);
	assert_size(&h);
	begin(&h, 0x08);
	add_text(&h, 0);
	assert_size(&h);
	begin(&h, 0x04);
	add_extra(&h, 0);
	assert_size(&h);
	begin(&h, 0x1f);
	add_extra(&h, 0x102);
	add_text(&h, 5);
	add_text(&h, 7);
	add_crc(&h, 0);
	assert_size(&h);
}

static void the_largest_header_is_read(void **state)
{
	static struct header h;

	(void)state;
	begin(&h, 0x1e);
	add_extra(&h, 0xffff);
	add_text(&h, TL_GZIP_TEXT_MAX - 1);
	add_text(&h, TL_GZIP_TEXT_MAX - 1);
	add_crc(&h, 0);
	assert_int_equal(h.n, TL_GZIP_HEADER_MAX);
	assert_size(&h);
}

static void a_text_too_long_is_refused_as_soon_as_it_is(void **state)
{
	static const uint8_t flags[] = { 0x08, 0x10 };
	static struct header h;

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(flags); i++) {
		begin(&h, flags[i]);
		add_text(&h, TL_GZIP_TEXT_MAX);
		assert_int_equal(tl_gzip_header_read(h.data, 10 + TL_GZIP_TEXT_MAX - 1), 0);
		assert_int_equal(tl_gzip_header_read(h.data, 10 + TL_GZIP_TEXT_MAX), -EBADMSG);
		assert_int_equal(tl_gzip_header_read(h.data, h.n), -EBADMSG);
	}
}

static void a_false_crc_is_refused(void **state)
{
	static struct header h;

	(void)state;
	for (unsigned int bit = 0; bit < 16; bit++) {
		begin(&h, 0x0a);
		add_text(&h, 3);
		add_crc(&h, 1u << bit);
		assert_int_equal(tl_gzip_header_read(h.data, h.n), -EBADMSG);
	}
}

static void what_is_no_header_is_refused_by_its_first_wrong_byte(void **state)
{
	static struct header h;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		begin(&h, 0);
		h.data[i] ^= 1;
		assert_int_equal(tl_gzip_header_read(h.data, i), 0);
		assert_int_equal(tl_gzip_header_read(h.data, i + 1), -EBADMSG);
		assert_int_equal(tl_gzip_header_read(h.data, h.n), -EBADMSG);
	}
}

static void reserved_bits_do_not_count(void **state)
{
	static struct header h;

	(void)state;
	begin(&h, 0xe1);
	assert_size(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_header_ends_where_its_fields_do),
		cmocka_unit_test(the_largest_header_is_read),
		cmocka_unit_test(a_text_too_long_is_refused_as_soon_as_it_is),
		cmocka_unit_test(a_false_crc_is_refused),
		cmocka_unit_test(what_is_no_header_is_refused_by_its_first_wrong_byte),
		cmocka_unit_test(reserved_bits_do_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
