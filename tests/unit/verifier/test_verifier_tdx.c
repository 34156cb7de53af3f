/* SPDX-License-Identifier: Apache-2.0 */
/* Reading of quotes and statements; tests/integration/verifier_tdx.py has the checks that need
 * signatures. */
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

#include "../../../attest/verifier/tdx_tcb.h"

#define HEADER    48
#define BODY      584
#define AUTH      32
#define CHAIN     "-----BEGIN"
#define CHAIN_N   (sizeof(CHAIN) - 1)
#define SIGNATURE (HEADER + BODY + 4)
#define QE        (SIGNATURE + 128 + 6)
#define WHOLE     (QE + 384 + 64 + 2 + AUTH + 6 + CHAIN_N)

/* Each byte says where it lies, so that a field read from elsewhere is seen. */
static uint8_t filler(size_t at)
{
	return (uint8_t)(at * 7 + 3);
}

static void put_le(uint8_t *at, uint32_t v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(v >> (8 * i));
}

static void quote_make(uint8_t ret[WHOLE])
{
	static const uint8_t vendor[16] = { 0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9,
					    0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07 };
	size_t below = QE + 384 + 64;

	for (size_t i = 0; i < WHOLE; i++)
		ret[i] = filler(i);
	put_le(ret, 4, 2);
	put_le(ret + 2, 2, 2);
	put_le(ret + 4, 0x81, 4);
	memcpy(ret + 12, vendor, sizeof(vendor));
	put_le(ret + HEADER + BODY, WHOLE - SIGNATURE, 4);
	put_le(ret + SIGNATURE + 128, 6, 2);
	put_le(ret + SIGNATURE + 130, WHOLE - QE, 4);
	put_le(ret + below, AUTH, 2);
	put_le(ret + below + 2 + AUTH, 5, 2);
	put_le(ret + below + 4 + AUTH, CHAIN_N, 4);
	memcpy(ret + WHOLE - CHAIN_N, CHAIN, CHAIN_N);
}

static void assert_field(const void *field, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(((const uint8_t *)field)[i], filler(at + i));
}

static void each_field_is_read_from_its_place(void **state)
{
	uint8_t bytes[WHOLE];
	struct td_quote q = { 0 };

	(void)state;
	quote_make(bytes);
	assert_int_equal(td_quote_parse(bytes, sizeof(bytes), &q, NULL), 0);
	assert_int_equal(q.version, 4);
	assert_ptr_equal(q.signed_part.data, bytes);
	assert_int_equal(q.signed_part.n, HEADER + BODY);
	assert_field(q.td.tee_tcb_svn, 48, 16);
	assert_field(q.td.mr_seam, 64, 48);
	assert_field(q.td.mr_signer_seam, 112, 48);
	assert_field(q.td.seam_attributes, 160, 8);
	assert_field(&q.td.td_attributes, 168, 8);
	assert_field(q.td.mrtd, 184, 48);
	assert_field(q.td.rtmr, 376, 4 * 48);
	assert_field(q.td.report_data, 568, 64);
	assert_ptr_equal(q.signature, bytes + SIGNATURE);
	assert_ptr_equal(q.attestation_key, bytes + SIGNATURE + 64);
	assert_ptr_equal(q.qe_signed_part.data, bytes + QE);
	assert_field(&q.qe.miscselect, QE + 16, 4);
	assert_field(q.qe.attributes, QE + 48, 16);
	assert_field(q.qe.mr_signer, QE + 128, 32);
	assert_field(&q.qe.isv_prod_id, QE + 256, 2);
	assert_field(&q.qe.isv_svn, QE + 258, 2);
	assert_field(q.qe.report_data, QE + 320, 64);
	assert_ptr_equal(q.qe_signature, bytes + QE + 384);
	assert_ptr_equal(q.qe_auth.data, bytes + QE + 450);
	assert_int_equal(q.qe_auth.n, AUTH);
	assert_ptr_equal(q.pck_chain.data, bytes + WHOLE - CHAIN_N);
	assert_int_equal(q.pck_chain.n, CHAIN_N);
}

static void a_quote_cut_anywhere_is_refused_and_nothing_is_set(void **state)
{
	uint8_t bytes[WHOLE];

	(void)state;
	quote_make(bytes);
	for (size_t n = 0; n < sizeof(bytes); n++) {
		/* Exactly as many bytes, so that a sanitizer sees one read more. */
		auto_free uint8_t *cut = malloc(n ? n : 1);
		struct td_quote q = { .version = 77 };
		struct tl_error err = { 0 };

		assert_non_null(cut);
		memcpy(cut, bytes, n);
		assert_int_equal(td_quote_parse(cut, n, &q, &err), -EBADMSG);
		assert_int_equal(err.code, TL_E_VERIFY_TDX_QUOTE);
		assert_int_equal(q.version, 77);
	}
}

static void sizes_are_exactly_what_they_enclose(void **state)
{
	static const size_t sizes[] = { HEADER + BODY, SIGNATURE + 130, QE + 448,
					QE + 448 + 4 + AUTH };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(sizes); i++) {
		for (int step = -1; step <= 1; step += 2) {
			uint8_t bytes[WHOLE];
			struct td_quote q = { 0 };

			quote_make(bytes);
			bytes[sizes[i]] = (uint8_t)(bytes[sizes[i]] + step);
			assert_int_equal(td_quote_parse(bytes, sizeof(bytes), &q, NULL), -EBADMSG);
		}
	}
}

#define COMPONENTS                                                                                 \
	"[{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},"    \
	"{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},{\"svn\":1},"     \
	"{\"svn\":1},{\"svn\":1}]"
#define ZEROS_48                                                                                   \
	"00000000000000000000000000000000000000000000000000000000000000000000000000000000"         \
	"0000000000000000"
#define MODULE                                                                                     \
	"\"mrsigner\":\"" ZEROS_48 "\",\"attributes\":\"0000000000000000\",\"attributesMask\":"    \
	"\"FFFFFFFFFFFFFFFF\""
#define DATES "\"issueDate\":\"2026-01-01T00:00:00Z\",\"nextUpdate\":\"2026-02-01T00:00:00Z\""
#define TAIL  ",\"tcbDate\":\"2026-01-01T00:00:00Z\",\"tcbStatus\":\"UpToDate\"}]"
#define INFO(dates, fmspc, components)                                                             \
	"{\"id\":\"TDX\",\"version\":3," dates ",\"fmspc\":\"" fmspc                               \
	"\",\"pceId\":\"0000\",\"tdxModule\":{" MODULE                                             \
	"},\"tcbLevels\":[{\"tcb\":{\"sgxtcbcomponents\":" components                              \
	",\"pcesvn\":3,\"tdxtcbcomponents\":" COMPONENTS "}" TAIL "}"

static void statements_are_read_strictly(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{}",
		INFO(DATES, "00906ED5000", COMPONENTS),
		INFO(DATES, "00906ED5000g", COMPONENTS),
		INFO(DATES, "00906ED50000", "[]"),
		INFO("\"issueDate\":\"2026-01-01\",\"nextUpdate\":\"2026-02-01T00:00:00Z\"",
		     "00906ED50000", COMPONENTS),
		INFO("\"issueDate\":\"2026-01-01T00:00:00Z\"", "00906ED50000", COMPONENTS)
	};
	const char *good = INFO(DATES, "00906ED50000", COMPONENTS);
	auto_tdx_tcb_info struct tdx_tcb_info info = { 0 };

	(void)state;
	assert_int_equal(tdx_tcb_info_parse(good, strlen(good), &info, NULL), 0);
	assert_int_equal(info.next_s - info.issued_s, 31 * 86400);
	assert_int_equal(info.levels.n, 1);
	assert_int_equal(info.levels.items[0].pce_svn, 3);
	assert_memory_equal(info.fmspc, "\x00\x90\x6e\xd5\x00\x00", 6);
	for (size_t i = 0; i < TL_ARRAY_SIZE(bad); i++) {
		struct tdx_tcb_info other = { .modules_n = 77 };
		struct tl_error err = { 0 };

		assert_true(tdx_tcb_info_parse(bad[i], strlen(bad[i]), &other, &err) < 0);
		assert_int_equal(err.code, TL_E_VERIFY_TDX_COLLATERAL);
		assert_int_equal(other.modules_n, 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_field_is_read_from_its_place),
		cmocka_unit_test(a_quote_cut_anywhere_is_refused_and_nothing_is_set),
		cmocka_unit_test(sizes_are_exactly_what_they_enclose),
		cmocka_unit_test(statements_are_read_strictly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
