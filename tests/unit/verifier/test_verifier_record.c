/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/record_log.h>

#include "record_check.h"

#define DISK(mode, tags)                                                                           \
	"\"disk\":{\"cipher\":null,\"integrity\":null,\"mode\":" mode ",\"tags\":" tags "}"
#define REST                                                                                       \
	"\"container\":{\"network\":\"host\",\"runtime\":\"r\"},\"hardened\":true,"                \
	"\"operator\":{\"added_capabilities\":[],\"cgroup_namespace\":false,"                      \
	"\"dev_shm_size_kb\":65536,\"log_redirect\":\"false\",\"monitoring\":\"none\","            \
	"\"mounts\":[],\"token_refresh\":true},\"root\":\"verity\","                               \
	"\"unit\":{\"disk\":\"protected\",\"root\":\"verity\"},\"verifier_url\":\"https://v\""
#define SCHEMA "\"schema\":\"teelaunch.launch-record/1\""
#define GOOD   "{" DISK("\"protected\"", "\"memory\"") "," REST "," SCHEMA "}"

/* Evidence of two banks with this record, as a machine would make it. */
struct evidence {
	struct bank_evidence banks[2];
	struct verify_request req;
	struct refusals refusals;
	json_t *document;
};

static const struct tl_banks two = { .hashes = { TL_SHA256, TL_SHA384 }, .n = 2 };

static void made(struct evidence *e, const char *text)
{
	*e = (struct evidence){ .banks = { { .hash = TL_SHA256 }, { .hash = TL_SHA384 } } };
	e->req.banks = e->banks;
	e->req.banks_n = 2;
	tl_buf_init(&e->req.record_log, REQUEST_RECORD_LOG_MAX);
	for (size_t i = 0; i < 2; i++)
		e->banks[i].pcrs.mask = 0xffffff;
	if (!text)
		return;
	assert_int_equal(tl_record_log_encode(text, strlen(text), &two, &e->req.record_log, NULL),
			 0);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(tl_record_replay(text, strlen(text), e->banks[i].hash,
						  e->banks[i].pcrs.value[TL_RECORD_PCR]),
				 0);
}

static void judged(struct evidence *e)
{
	record_check(&e->req, &e->document, &e->refusals);
}

static void done(struct evidence *e)
{
	tl_buf_done(&e->req.record_log);
	json_decref(e->document);
}

static void assert_refused(struct evidence *e, enum tl_code code, const char *word)
{
	judged(e);
	assert_true(e->refusals.n > 0);
	assert_int_equal(e->refusals.items[0].code, code);
	if (!strstr(e->refusals.items[0].msg, word))
		fail_msg("'%s' doesn't name '%s'", e->refusals.items[0].msg, word);
	done(e);
}

static void a_record_that_leads_to_the_register_is_read(void **state)
{
	struct evidence e;

	(void)state;
	made(&e, GOOD);
	judged(&e);
	assert_int_equal(e.refusals.n, 0);
	assert_string_equal(json_string_value(json_object_get(e.document, "root")), "verity");
	done(&e);
	made(&e, "{" DISK("\"unprotected\"", "null") "," REST "," SCHEMA ",\"new\":[{}]}");
	judged(&e);
	assert_int_equal(e.refusals.n, 0);
	assert_non_null(json_object_get(e.document, "new"));
	done(&e);
}

static void no_record_is_none_only_if_nothing_was_measured(void **state)
{
	struct evidence e;

	(void)state;
	made(&e, NULL);
	judged(&e);
	assert_int_equal(e.refusals.n, 0);
	assert_null(e.document);
	made(&e, GOOD);
	tl_buf_reset(&e.req.record_log);
	assert_refused(&e, TL_E_VERIFY_RECORD_LOG, "isn't zero");
	/* Not quoted: nobody can tell. */
	made(&e, GOOD);
	tl_buf_reset(&e.req.record_log);
	e.banks[0].pcrs.mask = e.banks[1].pcrs.mask = 0x7fff;
	judged(&e);
	assert_int_equal(e.refusals.n, 0);
	assert_null(e.document);
	done(&e);
}

static void each_bank_must_have_it(void **state)
{
	struct evidence e;

	(void)state;
	made(&e, GOOD);
	e.banks[1].pcrs.value[TL_RECORD_PCR][47] ^= 1;
	assert_refused(&e, TL_E_VERIFY_RECORD_LOG, "PCR 15 of bank sha384");
	made(&e, GOOD);
	e.banks[0].pcrs.mask &= ~(UINT32_C(1) << TL_RECORD_PCR);
	assert_refused(&e, TL_E_VERIFY_RECORD_LOG, "bank sha256 is quoted without PCR 15");
	made(&e, GOOD);
	e.banks[1].hash = TL_SHA512;
	assert_refused(&e, TL_E_VERIFY_RECORD_LOG, "no sha512 digests");
}

static void a_changed_log_is_refused_wherever_it_is_changed(void **state)
{
	struct evidence e;
	size_t n;

	(void)state;
	made(&e, GOOD);
	n = e.req.record_log.len_bytes;
	done(&e);
	for (size_t i = 0; i < n; i++) {
		made(&e, GOOD);
		e.req.record_log.data[i] ^= 1;
		judged(&e);
		assert_true(e.refusals.n > 0);
		assert_int_equal(e.refusals.items[0].code, TL_E_VERIFY_RECORD_LOG);
		done(&e);
	}
	made(&e, GOOD);
	e.req.record_log.len_bytes--;
	assert_refused(&e, TL_E_VERIFY_RECORD_LOG, "truncated");
}

static void a_document_that_says_too_little_is_refused(void **state)
{
	static const struct {
		const char *text, *word;
	} cases[] = {
		{ "", "no JSON object" },
		{ "[]", "no JSON object" },
		{ "{\"a\":1,\"a\":1}", "no JSON object" },
		{ "{}", "schema" },
		{ "{\"schema\":\"teelaunch.launch-record/2\"}", "launch-record/2" },
		{ "{" SCHEMA "}", "'hardened'" },
		{ "{" REST "," SCHEMA "}", "'disk.mode'" },
		{ "{" DISK("\"protected\"", "null") "," REST "," SCHEMA "}", "'disk.tags'" },
		{ "{" DISK("\"unprotected\"", "\"memory\"") "," REST "," SCHEMA "}",
		  "'disk.tags'" },
		{ "{" DISK("\"half\"", "null") "," REST "," SCHEMA "}", "'disk.mode'" },
	};

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(cases); i++) {
		struct evidence e;

		made(&e, cases[i].text);
		assert_refused(&e, TL_E_VERIFY_RECORD, cases[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_that_leads_to_the_register_is_read),
		cmocka_unit_test(no_record_is_none_only_if_nothing_was_measured),
		cmocka_unit_test(each_bank_must_have_it),
		cmocka_unit_test(a_changed_log_is_refused_wherever_it_is_changed),
		cmocka_unit_test(a_document_that_says_too_little_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
