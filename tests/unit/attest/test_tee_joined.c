/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of measuring into two registers: a TPM's and RTMR 3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/record_log.h>
#include <teelaunch/tee.h>

struct counter {
	size_t n_extended, n_records;
	size_t fail_at; /* 1: the first one; 0: never */
	bool is_used, is_closed, is_register_foreign;
	uint8_t reg[TL_HASH_SIZE_MAX], record_reg[TL_HASH_SIZE_MAX];
};

static void launch_list(struct tl_event_list *ret)
{
	assert_int_equal(tl_events_add(ret, TL_EVENT_ARG, "a", 1, NULL), 0);
	assert_int_equal(tl_events_add(ret, TL_EVENT_ENV, "B=b", 3, NULL), 0);
	assert_int_equal(tl_events_add(ret, TL_EVENT_SEPARATOR, "", 0, NULL), 0);
}

static int counter_check_unused(void *backend, struct tl_error *err)
{
	const struct counter *c = backend;

	return c->is_used ? tl_fail(err, TL_E_REGISTER_USED, EEXIST, "used") : 0;
}

static void counter_close(void *backend)
{
	((struct counter *)backend)->is_closed = true;
}

/* --- a TPM with one bank ------------------------------------------------------------------ */

static int pcr_extend(void *backend, const struct tl_event_digests *digests, struct tl_error *err)
{
	struct counter *c = backend;

	assert_int_equal(digests->items[0].hash, TL_SHA256);
	if (c->fail_at && c->n_extended + 1 >= c->fail_at)
		return tl_fail(err, TL_E_TPM_GONE, ENODEV, "gone");
	c->n_extended++;
	return tl_register_extend(TL_SHA256, c->reg, digests->items[0].bytes);
}

static int pcr_extend_record(void *backend, const struct tl_event_digests *digests,
			     struct tl_error *err)
{
	struct counter *c = backend;

	(void)err;
	c->n_records++;
	return tl_register_extend(TL_SHA256, c->record_reg, digests->items[0].bytes);
}

static int pcr_evidence(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			struct tl_evidence *ret, struct tl_error *err)
{
	const struct counter *c = backend;
	struct tl_quote *q = &ret->quotes[0];

	(void)nonce;
	(void)nonce_len;
	(void)err;
	assert_true(is_beside);
	ret->n_quotes = 1;
	q->hash = TL_SHA256;
	q->n_pcrs = 2;
	q->pcrs[0].index = TL_CEL_PCR;
	memcpy(q->pcrs[0].bytes, c->reg, 32);
	q->pcrs[0].bytes[0] ^= c->is_register_foreign;
	q->pcrs[1].index = TL_RECORD_PCR;
	memcpy(q->pcrs[1].bytes, c->record_reg, 32);
	return 0;
}

static const struct tl_tee_ops pcr_ops = {
	.form = TL_CEL_TPM,
	.check_unused = counter_check_unused,
	.extend = pcr_extend,
	.extend_record = pcr_extend_record,
	.evidence = pcr_evidence,
	.close = counter_close,
};

static struct tl_tee *tee_over(struct counter *c)
{
	static const struct tl_banks sha256 = { .hashes = { TL_SHA256 }, .n = 1 };
	static const struct tl_strv none;
	struct tl_tee *tee = NULL;

	assert_int_equal(tl_tee_new(&pcr_ops, c, &sha256, &none, &tee, NULL), 0);
	return tee;
}

/* --- RTMR 3 ------------------------------------------------------------------------------- */

#define QUOTE_BYTES    (48 + 584 + 4)
#define RTMR3_IN_QUOTE (48 + 472)

/* A register of SHA-384, and a quote that says what is in it. */
static int rtmr_extend(void *backend, const struct tl_event_digests *digests, struct tl_error *err)
{
	struct counter *c = backend;

	assert_int_equal(digests->n, 1);
	assert_int_equal(digests->items[0].hash, TL_SHA384);
	if (c->fail_at && c->n_extended + 1 >= c->fail_at)
		return tl_fail(err, TL_E_RTMR, EIO, "gone");
	c->n_extended++;
	return tl_register_extend(TL_SHA384, c->reg, digests->items[0].bytes);
}

static int rtmr_evidence(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			 struct tl_evidence *ret, struct tl_error *err)
{
	struct counter *c = backend;
	uint8_t quote[QUOTE_BYTES] = { 4, 0, 2, 0, 0x81 };

	(void)nonce;
	(void)nonce_len;
	(void)err;
	assert_false(is_beside);
	memcpy(quote + RTMR3_IN_QUOTE, c->reg, 48);
	quote[RTMR3_IN_QUOTE + 47] ^= c->is_register_foreign;
	return tl_blob_set(&ret->tdx.quote, quote, sizeof(quote));
}

static const struct tl_tee_ops rtmr_ops = {
	.form = TL_CEL_TDX,
	.check_unused = counter_check_unused,
	.extend = rtmr_extend,
	.evidence = rtmr_evidence,
	.close = counter_close,
};

/* --- both --------------------------------------------------------------------------------- */

static struct tl_tee *joined_over(struct counter *first, struct counter *second)
{
	static const struct tl_banks sha384 = { .hashes = { TL_SHA384 }, .n = 1 };
	static const struct tl_strv none;
	struct tl_tee *tee = tee_over(first);
	struct tl_tee *other = NULL;

	assert_int_equal(tl_tee_new(&rtmr_ops, second, &sha384, &none, &other, NULL), 0);
	assert_int_equal(tl_tee_form(tee), TL_CEL_TPM);
	assert_int_equal(tl_tee_join(tee, other, NULL), 0);
	assert_int_equal(tl_tee_form(tee), TL_CEL_TDX);
	return tee;
}

static void log_replays(const struct tl_blob *log, enum tl_cel_form form, uint16_t hash, size_t n,
			const uint8_t *reg)
{
	auto_cel struct tl_cel cel = { 0 };
	uint8_t value[TL_HASH_SIZE_MAX];

	assert_int_equal(tl_cel_decode(log->bytes, log->n, &cel, NULL, NULL), 0);
	assert_int_equal(cel.form, form);
	assert_int_equal(cel.n, n);
	assert_int_equal(tl_cel_replay(&cel, hash, value, NULL), 0);
	assert_memory_equal(value, reg, tl_hash_size(hash));
}

static void both_registers_get_every_event_and_a_log_each(void **state)
{
	struct counter first = { 0 }, second = { 0 };
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	struct tl_tee *tee = joined_over(&first, &second);

	(void)state;
	launch_list(&list);
	assert_int_equal(tl_tee_measure_record(tee, "{}", 2, NULL), 0);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	assert_int_equal(first.n_records + second.n_records, 1);
	assert_int_equal(first.n_extended, list.n);
	assert_int_equal(second.n_extended, list.n);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, NULL), 0);
	log_replays(&e.cel, TL_CEL_TPM, TL_SHA256, list.n, first.reg);
	log_replays(&e.tdx.cel, TL_CEL_TDX, TL_SHA384, list.n, second.reg);
	assert_true(e.record.n > 0);
	assert_int_equal(e.n_quotes, 1);
	tl_tee_close(tee);
	assert_true(first.is_closed && second.is_closed);
}

/* S17: neither of two registers is good for anything once one of them failed, at any event. */
static void a_failure_of_either_poisons_both(void **state)
{
	auto_events struct tl_event_list list = { 0 };

	(void)state;
	launch_list(&list);
	for (size_t at = 1; at <= list.n; at++)
		for (int which = 0; which < 2; which++) {
			struct counter pair[2] = { 0 };
			struct tl_error err = { 0 };
			struct tl_evidence e = { .n_quotes = 4711 };
			struct tl_tee *tee = joined_over(&pair[0], &pair[1]);

			pair[which].fail_at = at;
			assert_true(tl_tee_measure_launch(tee, &list, NULL, &err) < 0);
			assert_int_equal(err.code, which ? TL_E_RTMR : TL_E_TPM_GONE);
			assert_int_equal(pair[0].n_extended, which ? at : at - 1);
			assert_int_equal(pair[1].n_extended, at - 1);
			pair[which].fail_at = 0;
			assert_true(tl_tee_measure(tee, &list.items[0], &err) < 0);
			assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
			assert_true(tl_tee_evidence(tee, "n", 1, &e, &err) < 0);
			assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
			assert_int_equal(e.n_quotes, 4711);
			tl_tee_close(tee);
		}
}

static void both_registers_must_be_unused_before_anything_is_extended(void **state)
{
	auto_events struct tl_event_list list = { 0 };

	(void)state;
	launch_list(&list);
	for (int which = 0; which < 2; which++) {
		struct counter pair[2] = { 0 };
		struct tl_error err = { 0 };
		struct tl_tee *tee = joined_over(&pair[0], &pair[1]);

		pair[which].is_used = true;
		if (which) {
			assert_int_equal(tl_tee_measure_record(tee, "{}", 2, &err), -EEXIST);
			assert_int_equal(pair[0].n_records, 0);
		} else {
			assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), -EEXIST);
		}
		assert_int_equal(err.code, TL_E_REGISTER_USED);
		assert_int_equal(pair[0].n_extended + pair[1].n_extended, 0);
		tl_tee_close(tee);
	}
}

static void evidence_of_registers_that_left_their_logs_is_refused(void **state)
{
	auto_events struct tl_event_list list = { 0 };

	(void)state;
	launch_list(&list);
	for (int which = 0; which < 2; which++) {
		struct counter pair[2] = { 0 };
		struct tl_error err = { 0 };
		struct tl_evidence e = { .n_quotes = 4711 };
		struct tl_tee *tee = joined_over(&pair[0], &pair[1]);

		assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), 0);
		pair[which].is_register_foreign = true;
		assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, &err), -EBADMSG);
		assert_int_equal(err.code, TL_E_REGISTER_USED);
		assert_non_null(strstr(err.msg, which ? "RTMR 3" : "PCR 13"));
		assert_int_equal(e.n_quotes, 4711);
		tl_tee_close(tee);
	}
}

static void what_was_measured_with_is_not_joined(void **state)
{
	struct counter first = { 0 }, second = { 0 }, third = { 0 };
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };
	struct tl_tee *tee = tee_over(&first), *used = tee_over(&second);
	struct tl_tee *pair = joined_over(&third, &(struct counter){ 0 });

	(void)state;
	launch_list(&list);
	assert_int_equal(tl_tee_measure(used, &list.items[0], &err), 0);
	assert_int_equal(tl_tee_join(tee, used, &err), -EINVAL);
	assert_int_equal(tl_tee_join(used, tee, &err), -EINVAL);
	assert_int_equal(tl_tee_join(pair, tee, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_INTERNAL);
	tl_tee_close(tee);
	tl_tee_close(used);
	tl_tee_close(pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_registers_get_every_event_and_a_log_each),
		cmocka_unit_test(a_failure_of_either_poisons_both),
		cmocka_unit_test(both_registers_must_be_unused_before_anything_is_extended),
		cmocka_unit_test(evidence_of_registers_that_left_their_logs_is_refused),
		cmocka_unit_test(what_was_measured_with_is_not_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
