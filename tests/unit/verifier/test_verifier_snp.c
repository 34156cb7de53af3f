/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of reports, tables of certificates and patch levels; tests/integration/verifier_snp.py
 * has the checks that need signatures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>

#include "../../../attest/verifier/snp_tcb.h"

#define ROW         24
#define VERSION_MIN 2
#define VERSION_MAX 5

/* What must be zero: AMD 56860, 7.3, version 5; and before versions 3 and 5. */
static const struct {
	size_t at, n;
	uint32_t until; /* version */
} reserved[] = {
	{ 0x04c, 4, 6 },   { 0x18b, 21, 6 },  { 0x1eb, 1, 6 }, { 0x1ef, 1, 6 },
	{ 0x208, 152, 6 }, { 0x330, 368, 6 }, { 0x188, 3, 3 }, { 0x1f8, 16, 5 },
};

static bool is_reserved(size_t at, uint32_t version)
{
	for (size_t i = 0; i < TL_ARRAY_SIZE(reserved); i++)
		if (at >= reserved[i].at && at < reserved[i].at + reserved[i].n)
			return version < reserved[i].until;
	return false;
}

/* Each byte says where it lies, so that a field read from elsewhere is seen. */
static uint8_t filler(size_t at)
{
	return (uint8_t)(at * 7 + 3);
}

static void report_make(uint32_t version, uint8_t ret[SNP_REPORT_BYTES])
{
	for (size_t i = 0; i < SNP_REPORT_BYTES; i++)
		ret[i] = is_reserved(i, version) ? 0 : filler(i);
	memset(ret, 0, 4);
	ret[0] = (uint8_t)version;
	memset(ret + 0x30, 0, 8);
	ret[0x30] = 3;
	ret[0x34] = 1;
	memset(ret + 0x48, 0, 4);
	ret[0x48] = SNP_KEY_VLEK << 2 | 3;
}

static void assert_bytes(const void *field, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(((const uint8_t *)field)[i], filler(at + i));
}

static void assert_number(uint64_t found, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal((uint8_t)(found >> (8 * i)), filler(at + i));
}

static void each_field_is_read_from_its_place(void **state)
{
	(void)state;
	for (uint32_t version = VERSION_MIN; version <= VERSION_MAX; version++) {
		uint8_t bytes[SNP_REPORT_BYTES];
		struct snp_report r = { 0 };
		struct tl_error err = { 0 };

		report_make(version, bytes);
		assert_int_equal(snp_report_parse(bytes, sizeof(bytes), &r, &err), 0);
		assert_int_equal(r.version, version);
		assert_number(r.policy, 0x08, 8);
		assert_int_equal(r.vmpl, 3);
		assert_int_equal(r.signing_key, SNP_KEY_VLEK);
		assert_bytes(r.report_data, 0x50, SNP_REPORT_DATA);
		assert_bytes(r.measurement, 0x90, SNP_MEASUREMENT);
		assert_bytes(r.reported_tcb, 0x180, SNP_TCB_BYTES);
		assert_bytes(r.chip_id, 0x1a0, SNP_CHIP_ID);
		assert_int_equal(r.abi, filler(0x1ea) << 8 | filler(0x1e9));
		assert_bytes(r.launch_tcb, 0x1f0, SNP_TCB_BYTES);
		assert_ptr_equal(r.signed_part, bytes);
		assert_bytes(r.r, 0x2a0, SNP_SIGNATURE_PART);
		assert_bytes(r.s, 0x2e8, SNP_SIGNATURE_PART);
	}
}

static void assert_report_refused(const uint8_t *bytes, size_t n)
{
	struct snp_report r, poison;
	struct tl_error err = { 0 };

	memset(&poison, 0x5a, sizeof(poison));
	r = poison;
	assert_int_equal(snp_report_parse(bytes, n, &r, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_VERIFY_SNP_REPORT);
	assert_memory_equal(&r, &poison, sizeof(r));
}

static void another_length_is_refused(void **state)
{
	uint8_t bytes[SNP_REPORT_BYTES + 1] = { 0 };

	(void)state;
	report_make(5, bytes);
	for (size_t n = 0; n <= sizeof(bytes); n++)
		if (n != SNP_REPORT_BYTES)
			assert_report_refused(bytes, n);
}

static void whatever_is_reserved_must_be_zero(void **state)
{
	(void)state;
	for (uint32_t version = VERSION_MIN; version <= VERSION_MAX; version++) {
		uint8_t bytes[SNP_REPORT_BYTES];

		report_make(version, bytes);
		for (size_t at = 0; at < sizeof(bytes); at++) {
			if (!is_reserved(at, version))
				continue;
			bytes[at] = 1;
			assert_report_refused(bytes, sizeof(bytes));
			bytes[at] = 0;
		}
	}
}

static void other_versions_algorithms_and_signers_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} rows[] = {
		{ 0, 0 },         { 0, 1 },         { 0, 6 },    { 3, 1 },
		{ 0x34, 0 },      { 0x34, 2 },      { 0x37, 1 }, { 0x48, 2 << 2 },
		{ 0x48, 7 << 2 }, { 0x48, 1 << 5 }, { 0x49, 1 }, { 0x4b, 0x80 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t bytes[SNP_REPORT_BYTES];

		report_make(5, bytes);
		bytes[rows[i].at] = rows[i].value;
		assert_report_refused(bytes, sizeof(bytes));
	}
}

/* Tables. */

static void row_put(uint8_t *at, const uint8_t *guid, uint32_t offset, uint32_t n)
{
	memcpy(at, guid, 16);
	for (size_t i = 0; i < 4; i++) {
		at[16 + i] = (uint8_t)(offset >> (8 * i));
		at[20 + i] = (uint8_t)(n >> (8 * i));
	}
}

static const uint8_t vcek_guid[16] = { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64,
				       0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd };
static const uint8_t other_guid[16] = { 9 };

static void assert_table_refused(const uint8_t *bytes, size_t n)
{
	struct snp_certs t, poison;
	struct tl_error err = { 0 };

	memset(&poison, 0x5a, sizeof(poison));
	t = poison;
	assert_int_equal(snp_certs_parse(bytes, n, &t, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_VERIFY_SNP_REPORT);
	assert_memory_equal(&t, &poison, sizeof(t));
}

static void a_table_gives_its_certificates(void **state)
{
	uint8_t bytes[3 * ROW + 10] = { 0 };
	struct snp_certs t = { 0 };

	(void)state;
	row_put(bytes, other_guid, 3 * ROW + 7, 3);
	row_put(bytes + ROW, vcek_guid, 3 * ROW, 7);
	assert_int_equal(snp_certs_parse(bytes, sizeof(bytes), &t, NULL), 0);
	assert_ptr_equal(t.vcek.data, bytes + 3 * ROW);
	assert_int_equal(t.vcek.n, 7);
	assert_null(t.ask.data);
	for (size_t n = 1; n < sizeof(bytes); n++)
		assert_table_refused(bytes, n);
}

static void no_bytes_and_zeros_are_tables_without_rows(void **state)
{
	static const uint8_t zeros[4096];
	struct snp_certs t = { 0 };

	(void)state;
	assert_int_equal(snp_certs_parse(NULL, 0, &t, NULL), 0);
	assert_int_equal(snp_certs_parse(zeros, ROW, &t, NULL), 0);
	assert_int_equal(snp_certs_parse(zeros, sizeof(zeros), &t, NULL), 0);
	assert_null(t.vcek.data);
	assert_table_refused(zeros, ROW - 1);
}

static void rows_that_point_elsewhere_are_refused(void **state)
{
	static const struct {
		uint32_t offset, n, other_offset, other_n;
	} rows[] = {
		{ 0, 8, 80, 2 },           { 3 * ROW - 1, 4, 80, 2 },
		{ 82, 1, 80, 2 },          { 83, 0, 80, 2 },
		{ 72, 11, 72, 0 },         { UINT32_MAX, 1, 80, 2 },
		{ 72, UINT32_MAX, 80, 2 }, { UINT32_MAX - 7, 16, 80, 2 },
		{ 72, 9, 80, 2 },          { 72, 10, 73, 1 },
		{ 81, 1, 72, 10 },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(rows); i++) {
		uint8_t bytes[3 * ROW + 10] = { 0 };

		row_put(bytes, other_guid, rows[i].other_offset, rows[i].other_n);
		row_put(bytes + ROW, vcek_guid, rows[i].offset, rows[i].n);
		assert_table_refused(bytes, sizeof(bytes));
		row_put(bytes, vcek_guid, rows[i].offset, rows[i].n);
		row_put(bytes + ROW, other_guid, rows[i].other_offset, rows[i].other_n);
		assert_table_refused(bytes, sizeof(bytes));
	}
}

static void a_guid_twice_and_too_many_rows_are_refused(void **state)
{
	uint8_t bytes[(SNP_CERT_ENTRIES_MAX + 2) * ROW + 64] = { 0 };
	uint8_t guid[16] = { 0 };
	const uint32_t end = (SNP_CERT_ENTRIES_MAX + 2) * ROW;
	struct snp_certs t;

	(void)state;
	for (size_t i = 0; i < SNP_CERT_ENTRIES_MAX; i++) {
		guid[3] = (uint8_t)(i + 1);
		row_put(bytes + i * ROW, guid, end + (uint32_t)i, 1);
	}
	assert_int_equal(snp_certs_parse(bytes, sizeof(bytes), &t, NULL), 0);
	row_put(bytes, vcek_guid, end, 1);
	row_put(bytes + ROW, vcek_guid, end + 1, 1);
	assert_table_refused(bytes, sizeof(bytes));
	guid[3] = 2;
	row_put(bytes + ROW, guid, end + 1, 1);
	guid[3] = 99;
	row_put(bytes + (size_t)SNP_CERT_ENTRIES_MAX * ROW, guid, end + 63, 1);
	assert_table_refused(bytes, sizeof(bytes));
}

/* Patch levels. */

static void levels_lie_where_the_product_has_them(void **state)
{
	static const uint8_t bytes[SNP_TCB_BYTES] = {
		0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88
	};
	const struct snp_tcb milan = { 0x11, 0x22, 0x77, 0x88, 0 };
	const struct snp_tcb turin = { 0x22, 0x33, 0x44, 0x88, 0x11 };
	struct snp_tcb got = snp_tcb_of(bytes, false);

	(void)state;
	assert_true(snp_tcb_is_equal(&got, &milan));
	got = snp_tcb_of(bytes, true);
	assert_true(snp_tcb_is_equal(&got, &turin));
}

static void at_least_is_said_of_each_level(void **state)
{
	const struct snp_tcb least = { 4, 4, 4, 4, 4 };

	(void)state;
	for (size_t i = 0; i < sizeof(least); i++) {
		struct snp_tcb found = least;

		assert_true(snp_tcb_is_at_least(&found, &least));
		((uint8_t *)&found)[i] = 3;
		assert_false(snp_tcb_is_at_least(&found, &least));
		assert_false(snp_tcb_is_equal(&found, &least));
		((uint8_t *)&found)[i] = 5;
		assert_true(snp_tcb_is_at_least(&found, &least));
	}
}

static void least_levels_are_each_named_once(void **state)
{
	static const char *const bad[] = {
		"",
		"Milan",
		":",
		":bootloader=1,tee=0,snp=8,microcode=115",
		"Milan:",
		"Milan:bootloader=1",
		"Milan:bootloader=1,tee=0,snp=8,microcode=256",
		"Milan:bootloader=1,tee=0,snp=8,microcode=",
		"Milan:bootloader=1,bootloader=1,tee=0,snp=8,microcode=115",
		"Milan:bootloader=1,tee=0,snp=8,microcode=115,x",
		"Milan:bootloader=-1,tee=0,snp=8,microcode=115",
		"A-product-of-a-long-name:bootloader=1,tee=0,snp=8,microcode=115",
	};
	struct snp_least l = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(
		snp_least_parse("Turin:microcode=255,tee=0,snp=8,bootloader=3,fmc=2", &l, &err), 0);
	assert_string_equal(l.product, "Turin");
	assert_int_equal(l.tcb.microcode, 255);
	assert_int_equal(l.tcb.fmc, 2);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		assert_true(snp_least_parse(bad[i], &l, &err) < 0);
		assert_int_equal(err.code, TL_E_USAGE);
	}
	assert_string_equal(l.product, "Turin");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_read_from_its_place),
		cmocka_unit_test(another_length_is_refused),
		cmocka_unit_test(whatever_is_reserved_must_be_zero),
		cmocka_unit_test(other_versions_algorithms_and_signers_are_refused),
		cmocka_unit_test(a_table_gives_its_certificates),
		cmocka_unit_test(no_bytes_and_zeros_are_tables_without_rows),
		cmocka_unit_test(rows_that_point_elsewhere_are_refused),
		cmocka_unit_test(a_guid_twice_and_too_many_rows_are_refused),
		cmocka_unit_test(levels_lie_where_the_product_has_them),
		cmocka_unit_test(at_least_is_said_of_each_level),
		cmocka_unit_test(least_levels_are_each_named_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
