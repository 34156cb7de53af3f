/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of measuring, over a backend that only counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/clock.h>
#include <teelaunch/record_log.h>
#include <teelaunch/tee.h>

struct counter {
	size_t n_extended;
	size_t fail_at; /* 1: the first one; 0: never */
	bool is_used;
	bool is_closed;
	bool is_register_foreign;
	atomic_uint n_inside, n_inside_most; /* threads in counter_evidence() */
	uint8_t reg[TL_HASH_SIZE_MAX];
	bool is_record_refused;
	size_t n_records;
	uint8_t record_reg[TL_HASH_SIZE_MAX];
};

static const struct tl_banks one_bank = { .hashes = { TL_SHA256 }, .n = 1 };

static int counter_check_unused(void *backend, struct tl_error *err)
{
	const struct counter *c = backend;

	return c->is_used ? tl_fail(err, TL_E_REGISTER_USED, EEXIST, "used") : 0;
}

static int counter_extend(void *backend, const struct tl_event_digests *digests,
			  struct tl_error *err)
{
	struct counter *c = backend;

	if (c->fail_at && c->n_extended + 1 >= c->fail_at)
		return tl_fail(err, TL_E_TPM_GONE, ENODEV, "gone");
	c->n_extended++;
	return tl_register_extend(TL_SHA256, c->reg, digests->items[0].bytes);
}

static int counter_extend_record(void *backend, const struct tl_event_digests *digests,
				 struct tl_error *err)
{
	struct counter *c = backend;

	if (c->is_record_refused)
		return tl_fail(err, TL_E_REGISTER_USED, EEXIST, "PCR 15");
	assert_int_equal(c->n_extended, 0);
	c->n_records++;
	return tl_register_extend(TL_SHA256, c->record_reg, digests->items[0].bytes);
}

static int counter_evidence(void *backend, const void *nonce, size_t nonce_len, bool is_beside,
			    struct tl_evidence *ret, struct tl_error *err)
{
	struct counter *c = backend;
	unsigned int inside = atomic_fetch_add(&c->n_inside, 1) + 1;

	(void)err;
	(void)is_beside;
	if (inside > atomic_load(&c->n_inside_most))
		atomic_store(&c->n_inside_most, inside);
	tl_clock_sleep_ms(1);
	atomic_fetch_sub(&c->n_inside, 1);
	ret->n_quotes = 1;
	ret->quotes[0].hash = TL_SHA256;
	ret->quotes[0].n_pcrs = 2;
	ret->quotes[0].pcrs[1].index = TL_RECORD_PCR;
	memcpy(ret->quotes[0].pcrs[1].bytes, c->record_reg, 32);
	ret->quotes[0].pcrs[0].index = TL_CEL_PCR;
	memcpy(ret->quotes[0].pcrs[0].bytes, c->reg, 32);
	ret->quotes[0].pcrs[0].bytes[0] ^= c->is_register_foreign;
	return tl_blob_set(&ret->quotes[0].attest, nonce, nonce_len);
}

static void counter_close(void *backend)
{
	((struct counter *)backend)->is_closed = true;
}

static const struct tl_tee_ops counter_ops = {
	.form = TL_CEL_TPM,
	.check_unused = counter_check_unused,
	.extend = counter_extend,
	.evidence = counter_evidence,
	.close = counter_close,
	.extend_record = counter_extend_record,
};

static struct tl_tee *tee_over(struct counter *c)
{
	auto_strv struct tl_strv warnings = { 0 };
	struct tl_tee *tee = NULL;

	assert_int_equal(tl_strv_add(&warnings, "a warning"), 0);
	assert_int_equal(tl_tee_new(&counter_ops, c, &one_bank, &warnings, &tee, NULL), 0);
	return tee;
}

static void make_list(struct tl_event_list *ret, bool is_sealed)
{
	assert_int_equal(tl_events_add(ret, TL_EVENT_ARG, "a", 1, NULL), 0);
	assert_int_equal(tl_events_add(ret, TL_EVENT_ENV, "B=b", 3, NULL), 0);
	if (is_sealed)
		assert_int_equal(tl_events_add(ret, TL_EVENT_SEPARATOR, "", 0, NULL), 0);
}

static void a_shutdown_in_mid_sequence_leaves_a_register_that_nothing_vouches_for(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	auto_cancel struct tl_cancel *cancel = tl_cancel_new();
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);
	struct tl_error err = { 0 };

	(void)state;
	make_list(&list, true);
	tl_cancel_request(cancel);
	assert_int_equal(tl_tee_measure_launch(tee, &list, cancel, &err), -ECANCELED);
	assert_int_equal(err.code, TL_E_INTERRUPTED);
	assert_int_equal(c.n_extended, 0);
	assert_true(tl_tee_evidence(tee, "n", 1, &e, &err) < 0);
	assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
	tl_tee_close(tee);
}

static void a_launch_is_logged_as_it_is_measured(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);
	auto_buf struct tl_buf want = { 0 };

	(void)state;
	make_list(&list, true);
	tl_buf_init(&want, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_cel_encode(&list, TL_CEL_TPM, &one_bank, &want, NULL), 0);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	assert_int_equal(c.n_extended, 3);
	assert_int_equal(tl_tee_log(tee)->len_bytes, want.len_bytes);
	assert_memory_equal(tl_tee_log(tee)->data, want.data, want.len_bytes);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, NULL), 0);
	assert_int_equal(e.cel.n, want.len_bytes);
	assert_memory_equal(e.cel.bytes, want.data, want.len_bytes);
	assert_string_equal(tl_tee_warnings(tee)->items[0], "a warning");
	assert_null(tl_tee_close(tee));
	assert_true(c.is_closed);
}

static void a_failure_in_mid_sequence_ends_everything(void **state)
{
	const struct tl_event separator = { .type = TL_EVENT_SEPARATOR };
	auto_events struct tl_event_list list = { 0 };
	struct tl_evidence e = { .n_quotes = 4711 };
	struct counter c = { .fail_at = 2 };
	struct tl_error err = { 0 };
	struct tl_tee *tee = tee_over(&c);
	size_t len;

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure(tee, &list.items[0], NULL), 0);
	len = tl_tee_log(tee)->len_bytes;
	assert_int_equal(tl_tee_measure(tee, &list.items[1], &err), -ENODEV);
	assert_int_equal(err.code, TL_E_TPM_GONE);
	assert_int_equal(tl_tee_log(tee)->len_bytes, len);
	/* The hardware is well again, but register and log may differ. */
	c.fail_at = 0;
	assert_int_equal(tl_tee_measure(tee, &separator, &err), -EPERM);
	assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), -EPERM);
	assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, &err), -EPERM);
	assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
	assert_int_equal(e.n_quotes, 4711);
	assert_int_equal(c.n_extended, 1);
	tl_tee_close(tee);
}

static void nothing_is_measured_after_the_separator(void **state)
{
	const struct tl_event arg = { .type = TL_EVENT_ARG };
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	assert_int_equal(tl_tee_measure(tee, &arg, &err), -EPERM);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	assert_int_equal(c.n_extended, 3);
	tl_tee_close(tee);
}

static void a_launch_without_separator_is_refused_before_anything_happens(void **state)
{
	auto_events struct tl_event_list list = { 0 }, empty = { 0 };
	struct tl_evidence e = { .n_quotes = 4711 };
	struct tl_error err = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	make_list(&list, false);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	assert_int_equal(tl_tee_measure_launch(tee, &empty, NULL, &err), -EINVAL);
	assert_int_equal(c.n_extended, 0);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, &err), -EPERM);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	assert_int_equal(e.n_quotes, 4711);
	tl_tee_close(tee);
}

static void a_launch_too_large_for_the_log_is_refused_before_anything_happens(void **state)
{
	static uint8_t big[TL_EVENT_CONTENT_MAX_BYTES];
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	/* Contents alone fit; with the records' own bytes they don't. */
	while (tl_events_add(&list, TL_EVENT_ARG, big, sizeof(big), NULL) == 0)
		;
	assert_int_equal(tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, NULL), 0);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), -E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_int_equal(err.class, TL_DENIED);
	assert_int_equal(c.n_extended, 0);
	tl_tee_close(tee);
}

static void a_used_register_is_refused_before_anything_happens(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	struct counter c = { .is_used = true };
	struct tl_error err = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), -EEXIST);
	assert_int_equal(err.code, TL_E_REGISTER_USED);
	assert_int_equal(c.n_extended, 0);
	tl_tee_close(tee);
}

static void a_foreign_extension_is_noticed_before_evidence_leaves(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	struct counter c = { .is_register_foreign = true };
	struct tl_evidence e = { .n_quotes = 4711 };
	struct tl_error err = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_REGISTER_USED);
	assert_int_equal(err.class, TL_FATAL);
	assert_int_equal(e.n_quotes, 4711);
	tl_tee_close(tee);
}

static void a_nonce_has_1_to_64_bytes(void **state)
{
	static const uint8_t nonce[TL_NONCE_MAX_BYTES + 1];
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	struct tl_error err = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	assert_int_equal(tl_tee_evidence(tee, nonce, 0, &e, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_NONCE_SIZE);
	assert_int_equal(tl_tee_evidence(tee, nonce, sizeof(nonce), &e, &err), -EINVAL);
	assert_int_equal(e.n_quotes, 0);
	assert_int_equal(tl_tee_evidence(tee, nonce, TL_NONCE_MAX_BYTES, &e, &err), 0);
	tl_tee_close(tee);
}

/* --- several threads ----------------------------------------------------------------------- */

struct asker {
	struct tl_tee *tee;
	atomic_bool *is_over;
	atomic_uint served;
};

static void *ask_again_and_again(void *arg)
{
	struct asker *a = arg;

	while (!atomic_load(a->is_over)) {
		auto_evidence struct tl_evidence e = { 0 };

		if (tl_tee_evidence(a->tee, "nonce", 5, &e, NULL) < 0)
			return arg;
		atomic_fetch_add(&a->served, 1);
	}
	return NULL;
}

static void evidence_is_collected_for_one_thread_at_a_time_each_in_its_turn(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);
	atomic_bool is_over = false;
	struct asker askers[4];
	pthread_t threads[4];
	unsigned int n_fair = 0;
	void *failed;

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, NULL), 0);
	for (size_t i = 0; i < 4; i++) {
		askers[i] = (struct asker){ .tee = tee, .is_over = &is_over };
		assert_int_equal(pthread_create(&threads[i], NULL, ask_again_and_again, &askers[i]),
				 0);
	}
	/* Whoever comes now waits for those who stand there, and no longer; unless the machine took
	 * the processor away between two lines. */
	for (int i = 0; i < 20; i++) {
		auto_evidence struct tl_evidence e = { 0 };
		unsigned int before = 0, after = 0;

		for (size_t k = 0; k < 4; k++)
			before += atomic_load(&askers[k].served);
		assert_int_equal(tl_tee_evidence(tee, "mine", 4, &e, NULL), 0);
		for (size_t k = 0; k < 4; k++)
			after += atomic_load(&askers[k].served);
		n_fair += after - before <= 8; /* each at most once before, once counted late */
	}
	atomic_store(&is_over, true);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
		assert_true(atomic_load(&askers[i].served) > 0);
	}
	assert_true(n_fair >= 5);
	assert_int_equal(c.n_inside_most, 1);
	tl_tee_close(tee);
}

static void a_record_is_measured_once_and_first(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	auto_buf struct tl_buf want = { 0 };
	struct counter c = { 0 };
	struct tl_tee *tee = tee_over(&c);
	struct tl_error err = { 0 };

	(void)state;
	make_list(&list, true);
	tl_buf_init(&want, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_record_log_encode("{}", 2, &one_bank, &want, NULL), 0);
	assert_int_equal(tl_tee_measure_record(tee, "{}", 2, &err), 0);
	assert_int_equal(tl_tee_measure_record(tee, "{}", 2, &err), -EPERM);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	assert_int_equal(tl_tee_measure_launch(tee, &list, NULL, &err), 0);
	assert_int_equal(c.n_records, 1);
	assert_int_equal(tl_tee_evidence(tee, "n", 1, &e, &err), 0);
	assert_int_equal(e.record.n, want.len_bytes);
	assert_memory_equal(e.record.bytes, want.data, want.len_bytes);
	tl_evidence_done(&e);
	c.record_reg[0] ^= 1;
	assert_true(tl_tee_evidence(tee, "n", 1, &e, &err) < 0);
	assert_int_equal(err.code, TL_E_REGISTER_USED);
	assert_non_null(strstr(err.msg, "PCR 15"));
	tl_tee_close(tee);
	c = (struct counter){ 0 };
	tee = tee_over(&c);
	assert_int_equal(tl_tee_measure(tee, &list.items[0], &err), 0);
	assert_int_equal(tl_tee_measure_record(tee, "{}", 2, &err), -EPERM);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	tl_tee_close(tee);
}

static void a_record_that_is_not_extended_ends_everything(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	auto_evidence struct tl_evidence e = { 0 };
	struct counter c = { .is_record_refused = true };
	struct tl_tee *tee = tee_over(&c);
	struct tl_error err = { 0 };

	(void)state;
	make_list(&list, true);
	assert_int_equal(tl_tee_measure_record(tee, "{}", 2, &err), -EEXIST);
	assert_int_equal(err.code, TL_E_REGISTER_USED);
	assert_true(tl_tee_measure_launch(tee, &list, NULL, &err) < 0);
	assert_int_equal(err.code, TL_E_MEASURE_BROKEN);
	assert_int_equal(c.n_extended, 0);
	assert_true(tl_tee_evidence(tee, "n", 1, &e, &err) < 0);
	tl_tee_close(tee);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_launch_is_logged_as_it_is_measured),
		cmocka_unit_test(
			a_shutdown_in_mid_sequence_leaves_a_register_that_nothing_vouches_for),
		cmocka_unit_test(a_failure_in_mid_sequence_ends_everything),
		cmocka_unit_test(nothing_is_measured_after_the_separator),
		cmocka_unit_test(a_launch_without_separator_is_refused_before_anything_happens),
		cmocka_unit_test(a_launch_too_large_for_the_log_is_refused_before_anything_happens),
		cmocka_unit_test(a_used_register_is_refused_before_anything_happens),
		cmocka_unit_test(a_foreign_extension_is_noticed_before_evidence_leaves),
		cmocka_unit_test(a_nonce_has_1_to_64_bytes),
		cmocka_unit_test(a_record_is_measured_once_and_first),
		cmocka_unit_test(a_record_that_is_not_extended_ends_everything),
		cmocka_unit_test(evidence_is_collected_for_one_thread_at_a_time_each_in_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
