/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event log without memory, without libcrypto and without room: each failure is named and
 * leaves no half of a record, and the same call succeeds when the cause is gone. The linker's
 * --wrap puts the functions below in the way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <openssl/evp.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/launch_events.h>
#include <teelaunch/record_log.h>

#define CALLS_MAX 1000

/* The call that fails, counted down; 0: none does. */
static size_t fail_at;
static bool is_hash_at_fault;

static bool fails_now(bool is_hash)
{
	if (!fail_at || --fail_at)
		return false;
	is_hash_at_fault = is_hash;
	return true;
}

void *__real_malloc(size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
int __real_EVP_Digest(const void *data, size_t n, unsigned char *ret, unsigned int *ret_n,
		      const EVP_MD *type, ENGINE *impl);
void *__wrap_malloc(size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
int __wrap_EVP_Digest(const void *data, size_t n, unsigned char *ret, unsigned int *ret_n,
		      const EVP_MD *type, ENGINE *impl);

void *__wrap_malloc(size_t n)
{
	return fails_now(false) ? NULL : __real_malloc(n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails_now(false) ? NULL : __real_reallocarray(p, n, size);
}

int __wrap_EVP_Digest(const void *data, size_t n, unsigned char *ret, unsigned int *ret_n,
		      const EVP_MD *type, ENGINE *impl)
{
	return fails_now(true) ? 0 : __real_EVP_Digest(data, n, ret, ret_n, type, impl);
}

static const struct tl_banks banks = { .hashes = { TL_SHA1, TL_SHA256 }, .n = 2 };

static char *words[] = { (char[]){ "a" }, (char[]){ "b" } };
static struct tl_kv variable = { (char[]){ "NAME" }, (char[]){ "value" } };
static const struct tl_strv texts = { .items = words, .n = 2 };
static const struct tl_kvs variables = { .items = &variable, .n = 1 };
static const struct tl_launch_facts facts = {
	.image_ref = "h/p:t",
	.image_digest = "sha256:0",
	.restart_policy = "Never",
	.image_id = "sha256:1",
	.args = &texts,
	.env = &texts,
	.override_env = &variables,
	.override_cmd = &texts,
};

static struct tl_event_list made;
static struct tl_buf made_log;

static int setup(void **state)
{
	(void)state;
	tl_buf_init(&made_log, 65536);
	if (tl_launch_events_build(&facts, &made, NULL) < 0)
		return -1;
	return tl_cel_encode(&made, TL_CEL_TPM, &banks, &made_log, NULL);
}

static int teardown(void **state)
{
	(void)state;
	tl_events_done(&made);
	tl_buf_done(&made_log);
	return 0;
}

static int call_build(struct tl_error *err)
{
	struct tl_event_list list = { 0 };
	int r = tl_launch_events_build(&facts, &list, err);

	assert_int_equal(list.n, r < 0 ? 0 : made.n);
	tl_events_done(&list);
	return r;
}

static int call_encode(struct tl_error *err)
{
	auto_buf struct tl_buf log = { 0 };
	int r;

	tl_buf_init(&log, 65536);
	r = tl_cel_encode(&made, TL_CEL_TDX, &banks, &log, err);
	assert_int_equal(log.len_bytes, r < 0 ? 0 : made_log.len_bytes);
	return r;
}

static int call_decode(struct tl_error *err)
{
	auto_cel struct tl_cel cel = { 0 };
	int r = tl_cel_decode(made_log.data, made_log.len_bytes, &cel, NULL, err);

	assert_int_equal(cel.n, r < 0 ? 0 : made.n);
	return r;
}

static int call_replay(struct tl_error *err)
{
	auto_cel struct tl_cel cel = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0xee }, same[TL_HASH_SIZE_MAX];
	size_t kept = fail_at;
	int r;

	fail_at = 0;
	assert_int_equal(tl_cel_decode(made_log.data, made_log.len_bytes, &cel, NULL, NULL), 0);
	assert_int_equal(tl_events_replay(&made, TL_SHA256, same), 0);
	fail_at = kept;
	r = tl_cel_replay(&cel, TL_SHA256, reg, err);
	if (r < 0)
		assert_int_equal(reg[0], 0xee);
	else
		assert_memory_equal(reg, same, 32);
	return r;
}

static int call_events_replay(struct tl_error *err)
{
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0xee };
	int r = tl_events_replay(&made, TL_SHA1, reg);

	if (r < 0)
		assert_int_equal(reg[0], 0xee);
	return r < 0 ? tl_fail(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r, "replay")
		     : 0;
}

static int call_record_encode(struct tl_error *err)
{
	auto_buf struct tl_buf log = { 0 };
	int r;

	tl_buf_init(&log, 1024);
	r = tl_record_log_encode("{}", 2, &banks, &log, err);
	if (r < 0)
		assert_int_equal(log.len_bytes, 0);
	return r;
}

static int call_record_replay(struct tl_error *err)
{
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0xee };
	int r = tl_record_replay("{}", 2, TL_SHA384, reg);

	if (r < 0)
		assert_int_equal(reg[0], 0xee);
	return r < 0 ? tl_fail(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r, "replay")
		     : 0;
}

static void every_allocation_and_hash_may_fail(void **state)
{
	static int (*const calls[])(struct tl_error *) = { call_build,         call_encode,
							   call_decode,        call_replay,
							   call_events_replay, call_record_encode,
							   call_record_replay };

	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(calls); i++) {
		size_t at = 0;
		int r = -1;

		while (r < 0 && ++at < CALLS_MAX) {
			struct tl_error err = { 0 };

			fail_at = at;
			r = calls[i](&err);
			if (r == 0) {
				assert_int_equal(fail_at > 0, 1);
				break;
			}
			assert_int_equal(fail_at, 0);
			assert_int_equal(err.code,
					 is_hash_at_fault ? TL_E_INTERNAL : TL_E_NO_MEMORY);
		}
		fail_at = 0;
		assert_int_equal(r, 0);
		assert_true(at > 1);
	}
}

/* Of every size: the whole log or nothing, and what was there before stays. */
static void a_log_that_has_no_room_leaves_none_of_it(void **state)
{
	(void)state;
	for (size_t room = 0; room <= made_log.len_bytes; room++) {
		auto_buf struct tl_buf log = { 0 };
		struct tl_error err = { 0 };
		int r;

		tl_buf_init(&log, 1 + room);
		assert_int_equal(tl_buf_append_u8(&log, 0x77), 0);
		r = tl_cel_encode(&made, TL_CEL_TPM, &banks, &log, &err);
		assert_int_equal(r, room < made_log.len_bytes ? -E2BIG : 0);
		assert_int_equal(log.data[0], 0x77);
		if (r == 0) {
			assert_memory_equal(log.data + 1, made_log.data, made_log.len_bytes);
			continue;
		}
		assert_int_equal(log.len_bytes, 1);
		assert_int_equal(log.data[1], 0);
		assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	}
}

static void a_record_that_has_no_room_is_too_large(void **state)
{
	auto_buf struct tl_buf none = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	tl_buf_init(&none, 0);
	assert_int_equal(tl_record_log_encode("{}", 2, &banks, &none, &err), -E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_int_equal(tl_event_encode(&made.items[0], &none), -ENOBUFS);
	assert_null(none.data);
}

static void what_no_caller_may_ask_for_is_refused(void **state)
{
	static uint8_t large[TL_EVENT_CONTENT_MAX_BYTES + 1];
	const struct tl_banks many = { .hashes = { TL_SHA1 }, .n = TL_BANKS_MAX + 1 };
	const struct tl_banks strange = { .hashes = { 0x7777 }, .n = 1 };
	const struct tl_event fits = { .type = TL_EVENT_ARG, .content = large, .content_len = 1 };
	const struct tl_event too_large = { .content = large, .content_len = sizeof(large) };
	struct tl_event_digests digests = { .n = TL_BANKS_MAX + 1 };
	auto_buf struct tl_buf log = { 0 };
	struct tl_cel empty = { 0 };
	struct tl_error err = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0xee };

	(void)state;
	tl_buf_init(&log, 1024);
	assert_int_equal(tl_event_digest(&fits, &many, &digests), -EINVAL);
	assert_int_equal(tl_event_digest(&fits, &strange, &digests), -EINVAL);
	assert_int_equal(digests.n, TL_BANKS_MAX + 1);
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 0, &fits, &digests), -EINVAL);
	digests.n = 0;
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 0, &too_large, &digests), -EINVAL);
	assert_int_equal(tl_cel_encode(&made, TL_CEL_TPM, &strange, &log, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_INTERNAL);
	assert_int_equal(tl_record_log_encode("{}", 2, &strange, &log, &err), -EINVAL);
	assert_int_equal(log.len_bytes, 0);
	assert_int_equal(tl_register_extend(0x7777, reg, large), -EINVAL);
	assert_int_equal(tl_cel_replay(&empty, 0x7777, reg, &err), -EINVAL);
	assert_int_equal(tl_events_replay(&made, 0x7777, reg), -EINVAL);
	assert_int_equal(tl_record_replay("{}", 2, 0x7777, reg), -EINVAL);
	assert_int_equal(reg[0], 0xee);
}

static void a_launch_that_lacks_a_fact_has_no_events(void **state)
{
	struct tl_launch_facts lacking[] = { facts, facts, facts };

	(void)state;
	lacking[0].image_ref = NULL;
	lacking[1].image_digest = NULL;
	lacking[2].restart_policy = NULL;
	for (size_t i = 0; i < TL_ARRAY_SIZE(lacking); i++) {
		struct tl_event_list list = { .n = 4711 };
		struct tl_error err = { 0 };

		assert_int_equal(tl_launch_events_build(&lacking[i], &list, &err), -EINVAL);
		assert_int_equal(err.code, TL_E_INTERNAL);
		assert_int_equal(list.n, 4711);
	}
}

static void a_variable_beyond_all_limits_is_named_and_its_value_is_not(void **state)
{
	auto_free char *value = calloc(1, 2 * TL_EVENT_CONTENT_MAX_BYTES + 1);
	struct tl_kv one = { (char[]){ "LONG" }, value };
	const struct tl_kvs env = { .items = &one, .n = 1 };
	struct tl_launch_facts with = facts;
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_non_null(value);
	memset(value, 'x', 2 * TL_EVENT_CONTENT_MAX_BYTES);
	with.override_env = &env;
	assert_int_equal(tl_launch_events_build(&with, &list, &err), -E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_non_null(strstr(err.msg, "'LONG'"));
	assert_null(strstr(err.msg, "xx"));
	assert_int_equal(list.n, 0);
}

/* The image's reference, digest, restart policy, monitoring and the separator are always there. */
static void what_a_launch_has_none_of_is_no_event(void **state)
{
	static const uint8_t wanted[] = { TL_EVENT_IMAGE_REF, TL_EVENT_IMAGE_DIGEST,
					  TL_EVENT_RESTART_POLICY, TL_EVENT_MEMORY_MONITOR,
					  TL_EVENT_SEPARATOR };
	const struct tl_launch_facts bare = { .image_ref = "r",
					      .image_digest = "d",
					      .restart_policy = "Always" };
	auto_events struct tl_event_list list = { 0 };

	(void)state;
	assert_int_equal(tl_launch_events_build(&bare, &list, NULL), 0);
	assert_int_equal(list.n, TL_ARRAY_SIZE(wanted));
	for (size_t i = 0; i < list.n; i++)
		assert_int_equal(list.items[i].type, wanted[i]);
}

static void names_of_types_and_faults_end_where_they_end(void **state)
{
	(void)state;
	assert_string_equal(tl_event_type_name(TL_EVENT_IMAGE_REF), "image_ref");
	assert_string_equal(tl_event_type_name(TL_EVENT_GPU_BINDING), "gpu_binding");
	assert_null(tl_event_type_name(TL_EVENT_GPU_BINDING + 1));
	assert_null(tl_event_type_name(UINT8_MAX));
	assert_string_equal(tl_cel_fault_name(TL_CEL_TRUNCATED), "truncated");
	assert_string_equal(tl_cel_fault_name((enum tl_cel_fault)1000), "unknown");
}

/* One record with one digest for each of @hashes and content of @n zeros. */
static void record_append(struct tl_buf *log, uint64_t number, uint16_t hash, size_t n)
{
	static const uint8_t zeros[TL_EVENT_CONTENT_MAX_BYTES];
	const struct tl_event event = { .type = TL_EVENT_ARG, .content = zeros, .content_len = n };
	const struct tl_event_digests digests = { .items = { { .hash = hash } }, .n = 1 };

	assert_int_equal(tl_cel_append(log, TL_CEL_TPM, number, &event, &digests), 0);
}

static void a_log_over_a_limit_is_too_much(void **state)
{
	auto_buf struct tl_buf many = { 0 }, long_log = { 0 }, one = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	enum tl_cel_fault fault = TL_CEL_FAULT_NONE;
	size_t value;

	(void)state;
	tl_buf_init(&many, TL_CEL_MAX_BYTES);
	for (size_t i = 0; i < TL_EVENTS_MAX; i++)
		record_append(&many, i, TL_SHA1, 0);
	assert_int_equal(tl_cel_decode(many.data, many.len_bytes, &cel, &fault, NULL), 0);
	record_append(&many, TL_EVENTS_MAX, TL_SHA1, 0);
	assert_int_equal(tl_cel_decode(many.data, many.len_bytes, &cel, &fault, NULL), -EBADMSG);
	assert_int_equal(fault, TL_CEL_TOO_MUCH);

	tl_buf_init(&long_log, TL_CEL_MAX_BYTES + 1);
	while (long_log.len_bytes <= TL_CEL_MAX_BYTES)
		assert_int_equal(tl_buf_append_u8(&long_log, 0), 0);
	fault = TL_CEL_FAULT_NONE;
	assert_int_equal(tl_cel_decode(long_log.data, long_log.len_bytes, &cel, &fault, NULL),
			 -EBADMSG);
	assert_int_equal(fault, TL_CEL_TOO_MUCH);

	/* One byte more of content than an event may have: both lengths say so. */
	tl_buf_init(&one, TL_CEL_MAX_BYTES);
	record_append(&one, 0, TL_SHA1, TL_EVENT_CONTENT_MAX_BYTES);
	value = one.len_bytes - TL_EVENT_CONTENT_MAX_BYTES;
	one.data[value - 1]++;
	one.data[value - 6]++;
	assert_int_equal(tl_buf_append_u8(&one, 0), 0);
	assert_int_equal(tl_cel_decode(one.data, one.len_bytes, &cel, &fault, NULL), -EBADMSG);
	assert_int_equal(fault, TL_CEL_TOO_MUCH);
}

static void a_record_of_another_bank_is_refused(void **state)
{
	auto_buf struct tl_buf log = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	enum tl_cel_fault fault = TL_CEL_FAULT_NONE;

	(void)state;
	tl_buf_init(&log, 1024);
	record_append(&log, 0, TL_SHA256, 1);
	record_append(&log, 1, TL_SHA1, 1);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, &fault, NULL), -EBADMSG);
	assert_int_equal(fault, TL_CEL_DIGEST_ALG);
}

/* What is in the log of the record must be for its register, of its type, and alone. */
static void a_record_log_is_one_record_for_the_tpm(void **state)
{
	auto_buf struct tl_buf log = { 0 };
	struct tl_cel cel = { .n = 4711 };
	struct tl_error err = { 0 };

	(void)state;
	tl_buf_init(&log, 1024);
	assert_int_equal(tl_record_log_decode("", 0, &cel, &err), -EBADMSG);
	assert_int_equal(tl_record_log_encode("{}", 2, &banks, &log, NULL), 0);
	log.data[13] = TL_CEL_TDX;
	log.data[18] = TL_CEL_CCMR;
	assert_int_equal(tl_record_log_decode(log.data, log.len_bytes, &cel, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_CEL_MALFORMED);
	assert_int_equal(cel.n, 4711);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_allocation_and_hash_may_fail),
		cmocka_unit_test(a_log_that_has_no_room_leaves_none_of_it),
		cmocka_unit_test(a_record_that_has_no_room_is_too_large),
		cmocka_unit_test(what_no_caller_may_ask_for_is_refused),
		cmocka_unit_test(a_launch_that_lacks_a_fact_has_no_events),
		cmocka_unit_test(a_variable_beyond_all_limits_is_named_and_its_value_is_not),
		cmocka_unit_test(what_a_launch_has_none_of_is_no_event),
		cmocka_unit_test(names_of_types_and_faults_end_where_they_end),
		cmocka_unit_test(a_log_over_a_limit_is_too_much),
		cmocka_unit_test(a_record_of_another_bank_is_refused),
		cmocka_unit_test(a_record_log_is_one_record_for_the_tpm),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
