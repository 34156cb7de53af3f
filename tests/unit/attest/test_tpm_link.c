/* SPDX-License-Identifier: Apache-2.0 */
/* The link and the commands over a TPM that is a list of answers: what a healthy one never says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <poll.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/encoding.h>
#include <tss2/tss2_tcti.h>

#include "tpm_esys.h"
#include "tpm_link.h"

#define BUDGET_MS 120

/* While it is not 0: the clock, which moves when something waits, and by 1 for each command. */
static uint64_t virtual_ms;
static uint64_t sent_last_ms, next_random;

uint64_t __real_tl_clock_mono_ms(void);
uint64_t __wrap_tl_clock_mono_ms(void);
uint64_t __real_tl_clock_random(void);
uint64_t __wrap_tl_clock_random(void);
void __real_tl_clock_sleep_ms(uint64_t ms);
void __wrap_tl_clock_sleep_ms(uint64_t ms);

uint64_t __wrap_tl_clock_mono_ms(void)
{
	return virtual_ms ? virtual_ms : __real_tl_clock_mono_ms();
}

uint64_t __wrap_tl_clock_random(void)
{
	return virtual_ms ? next_random : __real_tl_clock_random();
}

void __wrap_tl_clock_sleep_ms(uint64_t ms)
{
	if (virtual_ms)
		virtual_ms += ms;
	else
		__real_tl_clock_sleep_ms(ms);
}

/* The answer is the same from the last one on. NULL: reading fails. */
struct fake {
	TSS2_TCTI_CONTEXT_COMMON_V2 common;
	const char *answers[4]; /* hex */
	size_t n_answers;
	size_t n_sent;
	uint8_t last[64];
	size_t last_len;
	int silent_fd; /* -1: always ready */
};

static TSS2_RC fake_transmit(TSS2_TCTI_CONTEXT *tcti, size_t size, const uint8_t *command)
{
	struct fake *f = (struct fake *)tcti;

	assert_true(size <= sizeof(f->last));
	if (f->n_sent)
		assert_memory_equal(f->last, command, size);
	memcpy(f->last, command, size);
	f->n_sent++;
	sent_last_ms = virtual_ms;
	virtual_ms += virtual_ms > 0;
	return TSS2_RC_SUCCESS;
}

static TSS2_RC fake_receive(TSS2_TCTI_CONTEXT *tcti, size_t *size, uint8_t *response, int32_t limit)
{
	struct fake *f = (struct fake *)tcti;
	size_t i = f->n_sent - 1 < f->n_answers ? f->n_sent - 1 : f->n_answers - 1;
	const char *hex = f->answers[i];

	(void)limit;
	if (!hex)
		return TSS2_TCTI_RC_IO_ERROR;
	assert_true(strlen(hex) / 2 <= *size);
	*size = strlen(hex) / 2;
	assert_int_equal(tl_hex_decode(hex, response, *size), 0);
	return TSS2_RC_SUCCESS;
}

static TSS2_RC fake_handles(TSS2_TCTI_CONTEXT *tcti, TSS2_TCTI_POLL_HANDLE *handles, size_t *n)
{
	struct fake *f = (struct fake *)tcti;

	if (f->silent_fd < 0)
		return TSS2_TCTI_RC_NOT_IMPLEMENTED;
	handles[0].fd = f->silent_fd;
	*n = 1;
	return TSS2_RC_SUCCESS;
}

static void fake_init(struct fake *f, const char *a, const char *b)
{
	*f = (struct fake){ .silent_fd = -1, .answers = { a, b }, .n_answers = b ? 2 : 1 };
	f->common.v1.version = 2;
	f->common.v1.transmit = fake_transmit;
	f->common.v1.receive = fake_receive;
	f->common.v1.getPollHandles = fake_handles;
}

static struct tpm_link *link_to(struct fake *f)
{
	struct tpm_link *link = tpm_link_new((TSS2_TCTI_CONTEXT *)f, BUDGET_MS);

	assert_non_null(link);
	return link;
}

static void open_esys(struct fake *f, struct tpm_esys *ret)
{
	assert_int_equal(tpm_esys_init(ret, link_to(f), NULL), 0);
}

static const char ok_answer[] = "80010000000a00000000";
static const char retry_answer[] = "80010000000a00000922";
static const char yielded_answer[] = "80010000000a00000908";

static TSS2_RC talk(struct tpm_link *link)
{
	static const uint8_t command[] = { 1, 2, 3 };
	TSS2_TCTI_CONTEXT *tcti = tpm_link_tcti(link);
	uint8_t answer[64];
	size_t n = 0;
	TSS2_RC rc;

	rc = Tss2_Tcti_Transmit(tcti, sizeof(command), command);
	if (rc == TSS2_RC_SUCCESS)
		rc = Tss2_Tcti_Receive(tcti, &n, NULL, TSS2_TCTI_TIMEOUT_BLOCK);
	if (rc != TSS2_RC_SUCCESS)
		return rc;
	assert_int_equal(n, 10);
	return Tss2_Tcti_Receive(tcti, &n, answer, TSS2_TCTI_TIMEOUT_BLOCK);
}

static void a_busy_tpm_is_asked_again_with_the_same_bytes(void **state)
{
	struct fake f;
	struct tpm_link *link;

	(void)state;
	fake_init(&f, retry_answer, yielded_answer);
	f.answers[2] = ok_answer;
	f.n_answers = 3;
	link = link_to(&f);
	assert_int_equal(talk(link), TSS2_RC_SUCCESS);
	assert_int_equal(f.n_sent, 3);
	assert_int_equal(tpm_link_state(link), TPM_LINK_UP);
	tpm_link_close(link);
}

static void a_tpm_that_stays_busy_is_given_up_in_time(void **state)
{
	uint64_t start_ms = tl_clock_mono_ms();
	struct tl_error err = { 0 };
	struct tpm_esys t;
	uint32_t value = 4711;
	struct fake f;

	(void)state;
	fake_init(&f, retry_answer, NULL);
	open_esys(&f, &t);
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err), -EBUSY);
	assert_int_equal(err.code, TL_E_TPM_BUSY);
	assert_int_equal(err.class, TL_RETRY);
	assert_int_equal(value, 4711);
	assert_true(f.n_sent > 1);
	assert_true(tl_clock_mono_ms() - start_ms < 100 * BUDGET_MS);
	tpm_esys_done(&t);
}

/* One that is sent at the end of the budget would be late, and a late TPM is gone for good. */
static void the_last_try_has_a_tenth_of_the_budget_for_its_answer(void **state)
{
	uint64_t latest_ms = 0;

	(void)state;
	for (uint64_t i = 0; i < 200; i++) {
		const uint64_t begin_ms = 1000000;
		struct tpm_link *link;
		struct fake f;

		virtual_ms = begin_ms;
		next_random = UINT64_MAX / 200 * i;
		fake_init(&f, retry_answer, NULL);
		link = link_to(&f);
		(void)talk(link);
		assert_int_equal(tpm_link_state(link), TPM_LINK_BUSY);
		assert_true(f.n_sent > 1);
		assert_true(sent_last_ms - begin_ms <= BUDGET_MS - BUDGET_MS / 10);
		if (sent_last_ms - begin_ms > latest_ms)
			latest_ms = sent_last_ms - begin_ms;
		tpm_link_close(link);
	}
	virtual_ms = 0;
	assert_true(latest_ms > BUDGET_MS / 2); /* what is there beside it is used */
}

static void a_silent_tpm_is_given_up_in_time_and_for_good(void **state)
{
	uint64_t start_ms = tl_clock_mono_ms();
	struct tl_error err = { 0 };
	struct tpm_esys t;
	uint32_t value = 4711;
	struct fake f;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fake_init(&f, ok_answer, NULL);
	f.silent_fd = fds[0];
	open_esys(&f, &t);
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err), -ETIMEDOUT);
	assert_int_equal(err.code, TL_E_TPM_GONE);
	assert_int_equal(err.class, TL_RETRY);
	assert_true(tl_clock_mono_ms() - start_ms >= BUDGET_MS);
	/* A late answer would be taken for the next command's. */
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err), -ETIMEDOUT);
	assert_int_equal(f.n_sent, 1);
	assert_int_equal(value, 4711);
	tpm_esys_done(&t);
	close(fds[0]);
	close(fds[1]);
}

static void a_link_that_was_late_sends_nothing_any_more(void **state)
{
	struct tpm_link *link;
	struct fake f;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	fake_init(&f, ok_answer, NULL);
	f.silent_fd = fds[0];
	link = link_to(&f);
	assert_int_equal(talk(link), TSS2_TCTI_RC_IO_ERROR);
	assert_int_equal(tpm_link_state(link), TPM_LINK_LATE);
	/* Now the answer comes: to the wrong question. */
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(talk(link), TSS2_TCTI_RC_IO_ERROR);
	assert_int_equal(f.n_sent, 1);
	tpm_link_close(link);
	close(fds[0]);
	close(fds[1]);
}

static void a_lost_connection_is_said_and_stays_lost(void **state)
{
	struct tl_error err = { 0 };
	struct tpm_esys t;
	struct fake f;
	uint32_t value;

	(void)state;
	fake_init(&f, ok_answer, NULL);
	f.answers[0] = NULL;
	open_esys(&f, &t);
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err), -ENODEV);
	assert_int_equal(err.code, TL_E_TPM_GONE);
	assert_string_equal(err.msg,
			    "read a property of the TPM: the connection to the TPM is lost");
	assert_int_equal(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err), -ENODEV);
	assert_int_equal(f.n_sent, 1);
	tpm_esys_done(&t);
}

static const struct {
	const char *answer;
	enum tl_code code;
	enum tl_class class;
} answers[] = {
	{ "80010000000a00000921", TL_E_TPM_LOCKOUT, TL_RETRY }, /* TPM_RC_LOCKOUT */
	{ "80010000000a00000902", TL_E_TPM_BUSY, TL_RETRY },    /* TPM_RC_OBJECT_MEMORY */
	{ "80010000000a00000101", TL_E_TPM_COMMAND, TL_FATAL }, /* TPM_RC_FAILURE */
	{ "80010000000a0000018b", TL_E_TPM_COMMAND, TL_FATAL }, /* TPM_RC_HANDLE, handle 1 */
	{ "80010000000a000009a2", TL_E_TPM_COMMAND, TL_FATAL }, /* TPM_RC_BAD_AUTH, session 1 */
	{ "8001000000", TL_E_TPM_COMMAND, TL_FATAL },           /* cut */
	{ "80010000ffff00000000", TL_E_TPM_COMMAND, TL_FATAL }, /* lies about its size */
	{ "80010000000a00000000", TL_E_TPM_COMMAND, TL_FATAL }, /* nothing in it */
	{ "80010000001b00000000000000000600000001"
	  "0000010100000003",
	  TL_E_TPM_COMMAND, TL_FATAL }, /* another property than asked for */
	{ "80010000001300000000000000000600000000", TL_E_TPM_COMMAND, TL_FATAL }, /* none */
};

static void every_answer_that_is_not_one_gets_a_code_and_keeps_ret(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(answers); i++) {
		struct tl_error err = { 0 };
		uint32_t value = 4711;
		struct tpm_esys t;
		struct fake f;

		fake_init(&f, answers[i].answer, NULL);
		open_esys(&f, &t);
		assert_true(tpm_read_property(&t, TPM2_PT_NV_BUFFER_MAX, &value, &err) < 0);
		if (err.code != answers[i].code)
			fail_msg("answer %zu: code %d: %s", i, (int)err.code, err.msg);
		assert_int_equal(err.class, answers[i].class);
		assert_int_equal(value, 4711);
		tpm_esys_done(&t);
	}
}

/* The first command asks how much of an index can be read at once. */
static void why_nothing_can_be_read_at_all_is_not_taken_for_what_nv_lacks(void **state)
{
	struct tl_error err = { 0 };
	struct tl_blob blob = { 0 };
	struct tpm_esys t;
	struct fake f;

	(void)state;
	fake_init(&f, answers[2].answer, NULL);
	open_esys(&f, &t);
	assert_true(tpm_read_nv(&t, 0x01c10003, "template", 64, TL_E_AK_CERT, &blob, &err) < 0);
	assert_int_equal(err.code, TL_E_TPM_COMMAND);
	assert_int_equal(f.n_sent, 1);
	assert_null(blob.bytes);
	tpm_esys_done(&t);
}

static const struct {
	const char *answer; /* TPM2_GetCapability(PCRS) */
	const char *message;
} bank_faults[] = {
	{ "80010000001300000000000000000500000000", "no PCR bank is allocated" },
	{ "80010000001900000000000000000500000001"
	  "000b03000000",
	  "no PCR bank is allocated" },
	{ "80010000001900000000000000000500000001"
	  "001203ffffff",
	  "PCR bank 0x0012 is allocated, but its hash is unknown here" },
	{ "80010000001900000000000000000500000001"
	  "000b03ffdfff",
	  "PCR bank sha256 lacks PCR 13 or 15" },
	{ "80010000001f00000000000000000500000002"
	  "000b03ffffff"
	  "000b03ffffff",
	  "PCR bank sha256 is there twice" },
};

static void banks_that_cannot_be_used_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(bank_faults); i++) {
		TPML_PCR_SELECTION selections = { .count = 4711 };
		struct tl_banks banks = { .n = 4711 };
		struct tl_error err = { 0 };
		struct tpm_esys t;
		struct fake f;

		fake_init(&f, bank_faults[i].answer, NULL);
		open_esys(&f, &t);
		assert_true(tpm_read_banks(&t, &banks, &selections, &err) < 0);
		assert_string_equal(err.msg, bank_faults[i].message);
		assert_int_equal(err.code, TL_E_TPM_BANKS);
		assert_int_equal(err.class, TL_FATAL);
		assert_int_equal(banks.n, 4711);
		assert_int_equal(selections.count, 4711);
		tpm_esys_done(&t);
	}
}

static void empty_banks_are_skipped_and_the_order_is_kept(void **state)
{
	TPML_PCR_SELECTION selections = { 0 };
	struct tl_banks banks = { 0 };
	struct tpm_esys t;
	struct fake f;

	(void)state;
	fake_init(&f,
		  "80010000002b00000000000000000500000004"
		  "000c03ffffff"
		  "001203000000"
		  "000403000000"
		  "000b03ffffff",
		  NULL);
	open_esys(&f, &t);
	assert_int_equal(tpm_read_banks(&t, &banks, &selections, NULL), 0);
	assert_int_equal(banks.n, 2);
	assert_int_equal(banks.hashes[0], TL_SHA384);
	assert_int_equal(banks.hashes[1], TL_SHA256);
	assert_int_equal(selections.count, 2);
	assert_int_equal(selections.pcrSelections[1].hash, TL_SHA256);
	tpm_esys_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_busy_tpm_is_asked_again_with_the_same_bytes),
		cmocka_unit_test(a_tpm_that_stays_busy_is_given_up_in_time),
		cmocka_unit_test(the_last_try_has_a_tenth_of_the_budget_for_its_answer),
		cmocka_unit_test(a_silent_tpm_is_given_up_in_time_and_for_good),
		cmocka_unit_test(a_link_that_was_late_sends_nothing_any_more),
		cmocka_unit_test(a_lost_connection_is_said_and_stays_lost),
		cmocka_unit_test(every_answer_that_is_not_one_gets_a_code_and_keeps_ret),
		cmocka_unit_test(why_nothing_can_be_read_at_all_is_not_taken_for_what_nv_lacks),
		cmocka_unit_test(banks_that_cannot_be_used_are_named),
		cmocka_unit_test(empty_banks_are_skipped_and_the_order_is_kept),
	};

	setenv("TSS2_LOG", "all+none", 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
