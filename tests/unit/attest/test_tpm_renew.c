/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a command that ESAPI gave up: its answer, what it made in the TPM, and a context
 * that takes no other. The TPM is a list of turns; like a device it takes no command while an
 * answer waits. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <tss2/tss2_mu.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>

#include "tpm_esys.h"
#include "tpm_link.h"

#define BUDGET_MS  120
#define HEX_MAX    1024
#define OBJECT     0x80000000
#define SESSION    0x03000000
#define NV_INDEX   0x01c10002
#define CODE_AT    6
#define HANDLE_AT  10
#define BUFFER_MAX 1024

struct turn {
	uint32_t code;
	const char *answer; /* hex; NULL: reading fails */
};

struct fake {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	const struct turn *turns; /* the last one is repeated */
	size_t n_turns;
	size_t n_sent;
	size_t n_received;
	uint32_t last_handle; /* of the last command */
};

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static const struct turn *turn_at(const struct fake *f, size_t i)
{
	return &f->turns[i < f->n_turns ? i : f->n_turns - 1];
}

static TSS2_RC fake_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
	struct fake *f = (struct fake *)tcti;

	if (f->n_sent != f->n_received)
		return TSS2_TCTI_RC_BAD_SEQUENCE;
	assert_int_equal(be32(command + CODE_AT), turn_at(f, f->n_sent)->code);
	f->last_handle = size >= HANDLE_AT + 4 ? be32(command + HANDLE_AT) : 0;
	f->n_sent++;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC fake_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response, int32_t limit)
{
	struct fake *f = (struct fake *)tcti;
	const char *hex = turn_at(f, f->n_received)->answer;

	(void)limit;
	assert_int_equal(f->n_received + 1, f->n_sent);
	if (!hex)
		return TSS2_TCTI_RC_IO_ERROR;
	f->n_received++;
	assert_true(strlen(hex) / 2 <= *size);
	*size = strlen(hex) / 2;
	assert_int_equal(tl_hex_decode(hex, response, *size), 0);
	return TSS2_RC_SUCCESS;
}

static struct tpm_link *link_to(struct fake *f, const struct turn *turns, size_t n)
{
	struct tpm_link *link;

	*f = (struct fake){ .turns = turns, .n_turns = n };
	f->common.v1.version = 1;
	f->common.v1.transmit = fake_transmit;
	f->common.v1.receive = fake_receive;
	link = tpm_link_new((TSS2_TCTI_CONTEXT *)f, BUDGET_MS);
	assert_non_null(link);
	return link;
}

static void open_esys(struct fake *f, const struct turn *turns, size_t n, struct tpm_esys *ret)
{
	assert_int_equal(tpm_esys_init(ret, link_to(f, turns, n), NULL), 0);
}

static const char done[] = "80010000000a00000000";
static const char busy[] = "80010000000a00000922";
static const char garbage[] = "80010000000a00000000ff";
static const char extended[] = "80020000001300000000000000000000010000";
static const char made_object[] = "80010000000e0000000080000000";
static const char made_session[] = "80010000000e0000000003000000";
static const char no_such_object[] = "80010000000a0000018b";
/* TPM2_PT_NV_BUFFER_MAX is 0x800 */
static const char property[] = "80010000001b00000000000000000600000001"
			       "0000012c00000800";

static void send_raw(struct tpm_link *link, uint32_t code, uint32_t handle)
{
	const uint8_t command[] = {
		0x80,
		1,
		0,
		0,
		0,
		14,
		(uint8_t)(code >> 24),
		(uint8_t)(code >> 16),
		(uint8_t)(code >> 8),
		(uint8_t)code,
		(uint8_t)(handle >> 24),
		(uint8_t)(handle >> 16),
		(uint8_t)(handle >> 8),
		(uint8_t)handle,
	};

	assert_int_equal(Tss2_Tcti_Transmit(tpm_link_tcti(link), sizeof(command), command),
			 TSS2_RC_SUCCESS);
}

static void receive_raw(struct tpm_link *link)
{
	uint8_t answer[64];
	size_t n = sizeof(answer);

	assert_int_equal(Tss2_Tcti_Receive(tpm_link_tcti(link), &n, answer, 0), TSS2_RC_SUCCESS);
}

static void an_extend_that_was_given_up_is_not_sent_again(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_PCR_Extend, extended },
		{ TPM2_CC_GetCapability, property },
	};
	const TPML_DIGEST_VALUES digests = { .count = 1, .digests[0].hashAlg = TPM2_ALG_SHA256 };
	struct tpm_esys t;
	uint32_t value = 0;
	struct fake f;

	(void)state;
	open_esys(&f, turns, 2, &t);
	assert_int_equal(Esys_PCR_Extend_Async(t.ctx, ESYS_TR_PCR13, ESYS_TR_PASSWORD, ESYS_TR_NONE,
					       ESYS_TR_NONE, &digests),
			 TSS2_RC_SUCCESS);
	assert_int_equal(tpm_esys_renew(&t, 0, NULL, NULL), 0);
	/* Its answer isn't taken for this one's. */
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, NULL), 0);
	assert_int_equal(value, 0x800);
	assert_int_equal(f.n_sent, 2);
	assert_int_equal(f.n_received, 2);
	tpm_esys_done(&t);
	assert_int_equal(f.n_sent, 2);
}

/* Without that anybody asks for the answer, and without a context that is made anew. */
static void the_link_fetches_an_answer_before_it_sends(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_PCR_Read, done },
		{ TPM2_CC_FlushContext, no_such_object },
	};
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, 2);
	send_raw(link, TPM2_CC_PCR_Read, 0);
	send_raw(link, TPM2_CC_FlushContext, OBJECT);
	receive_raw(link);
	assert_int_equal(tpm_link_state(link), TPM_LINK_UP);
	assert_int_equal(f.n_received, 2);
	tpm_link_close(link);
	assert_int_equal(f.n_sent, 2);
}

static void what_was_given_up_with_a_busy_answer_is_not_run(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_PCR_Extend, busy },
		{ TPM2_CC_PCR_Read, done },
	};
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, 2);
	send_raw(link, TPM2_CC_PCR_Extend, 13);
	send_raw(link, TPM2_CC_PCR_Read, 0);
	receive_raw(link);
	assert_int_equal(f.n_sent, 2);
	tpm_link_close(link);
}

static const struct {
	uint32_t code;
	const char *answer;
	uint32_t handle;
} making[] = {
	{ TPM2_CC_CreatePrimary, made_object, OBJECT },
	{ TPM2_CC_Load, made_object, OBJECT },
	{ TPM2_CC_StartAuthSession, made_session, SESSION },
};

static void what_was_made_and_not_told_of_is_flushed_at_the_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(making); i++) {
		const struct turn turns[] = {
			{ making[i].code, making[i].answer },
			{ TPM2_CC_FlushContext, done },
		};
		struct tpm_link *link;
		struct fake f;

		link = link_to(&f, turns, 2);
		send_raw(link, making[i].code, 0);
		tpm_link_close(link);
		assert_int_equal(f.n_sent, 2);
		assert_int_equal(f.n_received, 2);
		assert_int_equal(f.last_handle, making[i].handle);
	}
}

static void what_was_flushed_is_not_flushed_again(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_FlushContext, done },
	};
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, 2);
	send_raw(link, TPM2_CC_StartAuthSession, 0);
	receive_raw(link);
	send_raw(link, TPM2_CC_FlushContext, SESSION);
	receive_raw(link);
	tpm_link_close(link);
	assert_int_equal(f.n_sent, 2);
}

/* As a session that the TPM ends by itself: its handle comes again. */
static void a_handle_that_comes_again_is_one(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_CreatePrimary, made_object },
		{ TPM2_CC_FlushContext, done },
	};
	const size_t made = TL_ARRAY_SIZE(turns) - 1;
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, TL_ARRAY_SIZE(turns));
	for (size_t i = 0; i < made; i++) {
		send_raw(link, turns[i].code, 0);
		receive_raw(link);
	}
	tpm_link_close(link);
	assert_int_equal(f.n_sent, made + 2); /* the object, and the one session */
	assert_int_equal(f.last_handle, SESSION);
}

static void what_failed_made_nothing(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_CreatePrimary, "80010000000e0000018b80000000" },
		{ TPM2_CC_Load, done }, /* too short for a handle */
	};
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, 2);
	send_raw(link, TPM2_CC_CreatePrimary, 0);
	receive_raw(link);
	send_raw(link, TPM2_CC_Load, 0);
	receive_raw(link);
	tpm_link_close(link);
	assert_int_equal(f.n_sent, 2);
}

static void a_tpm_that_is_gone_is_asked_nothing_at_the_end(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_CreatePrimary, made_object },
		{ TPM2_CC_PCR_Read, NULL },
	};
	uint8_t answer[64];
	size_t n = sizeof(answer);
	struct tpm_link *link;
	struct fake f;

	(void)state;
	link = link_to(&f, turns, 2);
	send_raw(link, TPM2_CC_CreatePrimary, 0);
	receive_raw(link);
	send_raw(link, TPM2_CC_PCR_Read, 0);
	assert_int_equal(Tss2_Tcti_Receive(tpm_link_tcti(link), &n, answer, 0),
			 TSS2_TCTI_RC_IO_ERROR);
	tpm_link_flush(link, 0);
	tpm_link_close(link);
	assert_int_equal(f.n_sent, 2);
}

/* Of a key on P-256, with its names: TPM 2.0 part 3, 12.4, and part 1, 16. */
static void make_read_public_answer(char hex[HEX_MAX])
{
	const TPM2B_PUBLIC public = {
		.publicArea = {
			.type = TPM2_ALG_ECC,
			.nameAlg = TPM2_ALG_SHA256,
			.objectAttributes = TPMA_OBJECT_SIGN_ENCRYPT,
			.parameters.eccDetail = {
				.symmetric.algorithm = TPM2_ALG_NULL,
				.scheme.scheme = TPM2_ALG_NULL,
				.curveID = TPM2_ECC_NIST_P256,
				.kdf.scheme = TPM2_ALG_NULL,
			},
		},
	};
	TPM2B_NAME name = { .size = 34, .name = { TPM2_ALG_SHA256 >> 8, TPM2_ALG_SHA256 } };
	uint8_t area[BUFFER_MAX], answer[BUFFER_MAX] = { 0x80, 1 };
	size_t n = 0, at = 10;

	assert_int_equal(Tss2_MU_TPMT_PUBLIC_Marshal(&public.publicArea, area, sizeof(area), &n),
			 0);
	assert_int_equal(EVP_Digest(area, n, name.name + 2, NULL, EVP_sha256(), NULL), 1);
	assert_int_equal(Tss2_MU_TPM2B_PUBLIC_Marshal(&public, answer, sizeof(answer), &at), 0);
	assert_int_equal(Tss2_MU_TPM2B_NAME_Marshal(&name, answer, sizeof(answer), &at), 0);
	assert_int_equal(Tss2_MU_TPM2B_NAME_Marshal(&name, answer, sizeof(answer), &at), 0);
	answer[5] = (uint8_t)at;
	assert_true(at < 256 && 2 * at < HEX_MAX);
	for (size_t i = 0; i < at; i++)
		snprintf(hex + 2 * i, 3, "%02x", answer[i]);
}

static void a_new_context_knows_the_object_that_was_kept(void **state)
{
	char public[HEX_MAX];
	const struct turn turns[] = {
		{ TPM2_CC_CreatePrimary, made_object }, { TPM2_CC_StartAuthSession, made_session },
		{ TPM2_CC_ReadPublic, public },         { TPM2_CC_FlushContext, done },
		{ TPM2_CC_FlushContext, done },
	};
	ESYS_TR kept = ESYS_TR_NONE;
	TPM2_HANDLE handle = 0;
	struct tpm_esys t;
	struct fake f;

	(void)state;
	make_read_public_answer(public);
	open_esys(&f, turns, TL_ARRAY_SIZE(turns), &t);
	send_raw(t.link, TPM2_CC_CreatePrimary, 0);
	receive_raw(t.link);
	send_raw(t.link, TPM2_CC_StartAuthSession, 0);
	assert_int_equal(tpm_esys_renew(&t, OBJECT, &kept, NULL), 0);
	assert_int_equal(f.n_sent, 4);
	assert_int_equal(f.last_handle, SESSION);
	assert_int_equal(Esys_TR_GetTpmHandle(t.ctx, kept, &handle), TSS2_RC_SUCCESS);
	assert_int_equal(handle, OBJECT);
	tpm_esys_done(&t);
	assert_int_equal(f.n_sent, 5);
	assert_int_equal(f.last_handle, OBJECT);
}

static void an_object_that_is_not_there_leaves_the_context_as_it_was(void **state)
{
	static const struct turn turns[] = { { TPM2_CC_ReadPublic, no_such_object } };
	struct tl_error err = { 0 };
	ESYS_TR kept = 4711;
	ESYS_CONTEXT *before;
	struct tpm_esys t;
	struct fake f;

	(void)state;
	open_esys(&f, turns, 1, &t);
	before = t.ctx;
	assert_int_equal(tpm_esys_renew(&t, OBJECT, &kept, &err), -EIO);
	assert_int_equal(err.code, TL_E_TPM_COMMAND);
	assert_ptr_equal(t.ctx, before);
	assert_int_equal(kept, 4711);
	tpm_esys_done(&t);
}

/* Garbage has the same effect on a context of ESAPI as no memory for the answer. */
static void a_context_that_takes_no_command_is_made_anew(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_GetCapability, garbage },
		{ TPM2_CC_GetCapability, property },
	};
	struct tpm_esys t;
	uint32_t value = 4711;
	struct fake f;

	(void)state;
	open_esys(&f, turns, 2, &t);
	for (int i = 0; i < 2; i++)
		assert_true(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, NULL) < 0);
	assert_int_equal(f.n_sent, 1); /* else this test shows nothing */
	assert_int_equal(tpm_esys_renew(&t, 0, NULL, NULL), 0);
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, NULL), 0);
	assert_int_equal(value, 0x800);
	tpm_esys_done(&t);
}

static void lockout_limits_that_failed_fail_nothing_else(void **state)
{
	static const struct turn turns[] = {
		{ TPM2_CC_GetCapability, garbage },
		{ TPM2_CC_GetCapability, property },
	};
	auto_strv struct tl_strv warnings = { 0 };
	struct tpm_esys t;
	uint32_t value = 0;
	struct fake f;

	(void)state;
	open_esys(&f, turns, 2, &t);
	tpm_set_lockout_limits(&t, &warnings);
	assert_int_equal(warnings.n, 1);
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, NULL), 0);
	assert_int_equal(value, 0x800);
	tpm_esys_done(&t);
}

static void a_reading_ends_where_the_tpm_did_not_answer(void **state)
{
	static const struct turn turns[] = { { TPM2_CC_GetCapability, busy } };
	struct tl_blob blob = { 0 };
	struct tl_error err = { 0 };
	struct tpm_esys t;
	struct fake f;

	(void)state;
	open_esys(&f, turns, 1, &t);
	assert_int_equal(tpm_read_nv(&t, NV_INDEX, "certificate", 100, TL_E_AK_CERT, &blob, &err),
			 -EBUSY);
	assert_int_equal(err.code, TL_E_TPM_BUSY);
	assert_string_equal(err.msg, "certificate, NV 0x01c10002: read a property of the TPM: "
				     "the TPM is busy");
	assert_null(blob.bytes);
	tpm_esys_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_extend_that_was_given_up_is_not_sent_again),
		cmocka_unit_test(the_link_fetches_an_answer_before_it_sends),
		cmocka_unit_test(what_was_given_up_with_a_busy_answer_is_not_run),
		cmocka_unit_test(what_was_made_and_not_told_of_is_flushed_at_the_end),
		cmocka_unit_test(what_was_flushed_is_not_flushed_again),
		cmocka_unit_test(a_handle_that_comes_again_is_one),
		cmocka_unit_test(what_failed_made_nothing),
		cmocka_unit_test(a_tpm_that_is_gone_is_asked_nothing_at_the_end),
		cmocka_unit_test(a_new_context_knows_the_object_that_was_kept),
		cmocka_unit_test(an_object_that_is_not_there_leaves_the_context_as_it_was),
		cmocka_unit_test(a_context_that_takes_no_command_is_made_anew),
		cmocka_unit_test(lockout_limits_that_failed_fail_nothing_else),
		cmocka_unit_test(a_reading_ends_where_the_tpm_did_not_answer),
	};

	setenv("TSS2_LOG", "all+none", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
