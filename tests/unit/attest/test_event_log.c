/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <teelaunch/cleanup.h>
#include <teelaunch/encoding.h>
#include <teelaunch/event_log.h>
#include <teelaunch/launch_events.h>

static const struct tl_banks all_banks = { .hashes = { TL_SHA1, TL_SHA256, TL_SHA384 }, .n = 3 };

static json_t *load_cases(void)
{
	json_error_t jerr;
	json_t *root = json_load_file(TL_VECTORS "/cel.json", 0, &jerr);

	assert_non_null(root);
	return root;
}

static const char *text_of(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	if (!s)
		fail_msg("vector without '%s'", key);
	return s;
}

static size_t bytes_of(const char *hex, uint8_t **ret)
{
	size_t n = strlen(hex) / 2;

	*ret = malloc(n + 1);
	assert_non_null(*ret);
	assert_int_equal(tl_hex_decode(hex, *ret, n), 0);
	return n;
}

static void assert_hex_equal(const void *bytes, size_t n, const char *hex)
{
	auto_free char *got = malloc(2 * n + 1);

	tl_hex_encode(bytes, n, got);
	assert_string_equal(got, hex);
}

/* "content_repeat": [hex of one byte, count] spares the file long contents. */
static size_t content_of(const json_t *event, uint8_t **ret)
{
	json_t *repeat = json_object_get(event, "content_repeat");
	auto_free uint8_t *byte = NULL;
	size_t n;

	if (!repeat)
		return bytes_of(text_of(event, "content_hex"), ret);
	assert_int_equal(bytes_of(json_string_value(json_array_get(repeat, 0)), &byte), 1);
	n = (size_t)json_integer_value(json_array_get(repeat, 1));
	*ret = malloc(n);
	assert_non_null(*ret);
	memset(*ret, byte[0], n);
	return n;
}

static void events_of(const json_t *events, struct tl_event_list *ret)
{
	json_t *e;
	size_t i;

	json_array_foreach(events, i, e)
	{
		auto_free uint8_t *content = NULL;
		size_t n = content_of(e, &content);
		uint8_t type = (uint8_t)json_integer_value(json_object_get(e, "type"));

		assert_int_equal(tl_events_add(ret, type, content, n, NULL), 0);
	}
}

/*
 * The case "many-args" contradicts itself: its shorthand says "aa", "aaa", ..., but its hashes are
 * those of "a0" to "a299" (equal lengths; recomputed with Python's hashlib). The hashes are taken
 * as what is meant.
 */
static void events_of_many_args(const json_t *events, struct tl_event_list *ret)
{
	for (size_t i = 0; i < json_array_size(events); i++) {
		auto_buf struct tl_buf b = { 0 };

		tl_buf_init(&b, 16);
		assert_int_equal(tl_buf_printf(&b, "a%zu", i), 0);
		assert_int_equal(tl_events_add(ret, TL_EVENT_ARG, b.data, b.len_bytes, NULL), 0);
	}
}

static struct tl_banks banks_of(const json_t *names)
{
	struct tl_banks ret = { .n = json_array_size(names) };

	for (size_t i = 0; i < ret.n; i++)
		ret.hashes[i] = tl_hash_by_name(json_string_value(json_array_get(names, i)));
	return ret;
}

/* Both ways: from the events, and from the decoded bytes. */
static void check_replay(const struct tl_event_list *list, const struct tl_buf *log,
			 enum tl_cel_form form, uint16_t hash, const char *want)
{
	uint8_t reg[TL_HASH_SIZE_MAX];
	auto_cel struct tl_cel cel = { 0 };

	assert_int_equal(tl_events_replay(list, hash, reg), 0);
	assert_hex_equal(reg, tl_hash_size(hash), want);
	memset(reg, 0xAA, sizeof(reg));
	assert_int_equal(tl_cel_decode(log->data, log->len_bytes, &cel, NULL, NULL), 0);
	assert_int_equal(cel.n, list->n);
	if (cel.n > 0) /* one record says it, too */
		assert_int_equal(cel.form, form);
	assert_int_equal(tl_cel_replay(&cel, hash, reg, NULL), 0);
	assert_hex_equal(reg, tl_hash_size(hash), want);
}

/* Long logs are given by their hash only. */
static void check_bytes(const struct tl_buf *log, const json_t *want)
{
	uint8_t hash[TL_HASH_SIZE_MAX];

	if (json_object_get(want, "cel_hex"))
		assert_hex_equal(log->data, log->len_bytes, text_of(want, "cel_hex"));
	if (!json_object_get(want, "cel_sha256"))
		return;
	assert_int_equal(tl_digest(TL_SHA256, log->data, log->len_bytes, hash), 0);
	assert_hex_equal(hash, 32, text_of(want, "cel_sha256"));
}

static void check_tpm(const struct tl_event_list *list, const json_t *tpm)
{
	const struct tl_banks banks = banks_of(json_object_get(tpm, "banks"));
	auto_buf struct tl_buf log = { 0 };

	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_cel_encode(list, TL_CEL_TPM, &banks, &log, NULL), 0);
	check_bytes(&log, tpm);
	for (size_t i = 0; i < banks.n; i++)
		check_replay(list, &log, TL_CEL_TPM, banks.hashes[i],
			     text_of(json_object_get(tpm, "pcr13"), tl_hash_name(banks.hashes[i])));
}

static void check_tdx(const struct tl_event_list *list, const json_t *tdx)
{
	const struct tl_banks banks = { .hashes = { TL_SHA384 }, .n = 1 };
	auto_buf struct tl_buf log = { 0 };

	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_cel_encode(list, TL_CEL_TDX, &banks, &log, NULL), 0);
	check_bytes(&log, tdx);
	check_replay(list, &log, TL_CEL_TDX, TL_SHA384, text_of(tdx, "rtmr3"));
}

static void check_contents(const struct tl_event_list *list, const json_t *tlvs)
{
	for (size_t i = 0; i < list->n; i++) {
		auto_buf struct tl_buf b = { 0 };

		tl_buf_init(&b, TL_CEL_MAX_BYTES);
		assert_int_equal(tl_event_encode(&list->items[i], &b), 0);
		assert_hex_equal(b.data, b.len_bytes, json_string_value(json_array_get(tlvs, i)));
	}
}

static void every_vector_encodes_and_replays(void **state)
{
	json_t *root = load_cases(), *c;
	size_t i, n_seen = 0;

	(void)state;
	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		auto_events struct tl_event_list list = { 0 };

		if (!json_object_get(c, "events"))
			continue;
		if (strcmp(text_of(c, "id"), "many-args") == 0)
			events_of_many_args(json_object_get(c, "events"), &list);
		else
			events_of(json_object_get(c, "events"), &list);
		if (json_object_get(c, "content_tlv_hex"))
			check_contents(&list, json_object_get(c, "content_tlv_hex"));
		check_tpm(&list, json_object_get(c, "tpm"));
		if (json_object_get(c, "tdx"))
			check_tdx(&list, json_object_get(c, "tdx"));
		n_seen++;
	}
	assert_int_equal(n_seen, 25);
	json_decref(root);
}

static void every_vector_decodes_or_names_its_fault(void **state)
{
	json_t *root = load_cases(), *c;
	size_t i, n_seen = 0;

	(void)state;
	json_array_foreach(json_object_get(root, "cases"), i, c)
	{
		enum tl_cel_fault got_fault = TL_CEL_FAULT_NONE;
		struct tl_cel cel = { .n = 4711 };
		struct tl_error err = { 0 };
		auto_free uint8_t *data = NULL;
		json_t *expect = json_object_get(c, "expect");
		size_t n;
		int r;

		if (json_object_get(c, "events"))
			continue;
		n_seen++;
		n = bytes_of(text_of(c, "cel_hex"), &data);
		r = tl_cel_decode(data, n, &cel, &got_fault, &err);
		if (json_is_true(json_object_get(expect, "ok"))) {
			assert_int_equal(r, 0);
			assert_int_equal(cel.n, n ? 2 : 0);
			tl_cel_done(&cel);
			continue;
		}
		assert_int_equal(r, -EBADMSG);
		assert_int_equal(err.code, TL_E_CEL_MALFORMED);
		assert_string_equal(tl_cel_fault_name(got_fault), text_of(expect, "category"));
		assert_int_equal(cel.n, 4711);
	}
	assert_int_equal(n_seen, 7);
	json_decref(root);
}

/* Two records of the SHA-1 and SHA-256 banks; offsets below are counted by hand from section 5.1.
 */
static void make_log(struct tl_buf *ret)
{
	const struct tl_banks banks = { .hashes = { TL_SHA1, TL_SHA256 }, .n = 2 };
	auto_events struct tl_event_list list = { 0 };

	tl_buf_init(ret, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_events_add(&list, TL_EVENT_ARG, "a", 1, NULL), 0);
	assert_int_equal(tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, NULL), 0);
	assert_int_equal(tl_cel_encode(&list, TL_CEL_TPM, &banks, ret, NULL), 0);
}

static void every_changed_byte_of_a_log_is_noticed(void **state)
{
	auto_buf struct tl_buf log = { 0 };
	uint8_t want[TL_HASH_SIZE_MAX], got[TL_HASH_SIZE_MAX];
	auto_cel struct tl_cel cel = { 0 };

	(void)state;
	make_log(&log);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, NULL, NULL), 0);
	assert_int_equal(tl_cel_replay(&cel, TL_SHA256, want, NULL), 0);
	for (size_t i = 0; i < log.len_bytes * 8; i++) {
		auto_cel struct tl_cel changed = { 0 };
		bool is_same;

		log.data[i / 8] ^= (uint8_t)(1 << i % 8);
		is_same = tl_cel_decode(log.data, log.len_bytes, &changed, NULL, NULL) == 0 &&
			  tl_cel_replay(&changed, TL_SHA1, got, NULL) == 0 &&
			  tl_cel_replay(&changed, TL_SHA256, got, NULL) == 0 &&
			  memcmp(got, want, 32) == 0;
		assert_false(is_same);
		log.data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void every_cut_log_is_truncated_except_between_records(void **state)
{
	auto_buf struct tl_buf log = { 0 };
	size_t n_ok = 0;

	(void)state;
	make_log(&log);
	for (size_t n = 0; n < log.len_bytes; n++) {
		enum tl_cel_fault fault = TL_CEL_FAULT_NONE;
		auto_cel struct tl_cel cel = { 0 };
		/* A heap copy of the exact size, so that ASan sees a read behind its end. */
		auto_free uint8_t *cut = malloc(n ? n : 1);

		memcpy(cut, log.data, n);
		if (tl_cel_decode(cut, n, &cel, &fault, NULL) == 0) {
			n_ok++;
			continue;
		}
		assert_int_equal(fault, TL_CEL_TRUNCATED);
	}
	assert_int_equal(n_ok, 2); /* empty, and after the first record */
}

struct patch {
	size_t offset;
	uint8_t byte;
	enum tl_cel_fault fault;
	const char *where;
};

/* Offsets: 0 number TLV, 13 index TLV, 19 digests TLV, 24 SHA-1 TLV, 49 SHA-256 TLV, 86 content
 * TLV, 91 event TLV, 96 content, 97 the next record. */
static const struct patch patches[] = {
	{ 0, 0x01, TL_CEL_TYPE, "record 0, byte 0: record number: type" },
	{ 4, 7, TL_CEL_LENGTH, "record 0, byte 5: record number: length" },
	{ 12, 1, TL_CEL_NUMBER, "record 0, byte 5: record number: number" },
	{ 13, 0x05, TL_CEL_INDEX_TYPE, "record 0, byte 13: register index: index-type" },
	{ 17, 2, TL_CEL_LENGTH, "record 0, byte 18: register index: length" },
	{ 18, 12, TL_CEL_INDEX, "record 0, byte 18: register index: index" },
	{ 19, 0x04, TL_CEL_TYPE, "record 0, byte 19: digests: type" },
	{ 24, 0x0c, TL_CEL_LENGTH, "record 0, byte 29: digest: length" },
	{ 49, 0x04, TL_CEL_DIGEST_ALG, "record 0, byte 49: digest: digest-alg" },
	{ 53, 33, TL_CEL_TRUNCATED, "record 0, byte 49: digest: truncated" },
	{ 86, 0x51, TL_CEL_TYPE, "record 0, byte 86: content: type" },
	{ 95, 0, TL_CEL_LENGTH, "record 0, byte 96: content: length" },
	{ 95, 2, TL_CEL_TRUNCATED, "record 0, byte 91: event: truncated" },
	{ 109, 0, TL_CEL_NUMBER, "record 1, byte 102: record number: number" },
	{ 110, 0x6c, TL_CEL_MIXED_INDEX_TYPES, "record 1, byte 110: register index: mixed" },
	{ 121, 0x0d, TL_CEL_LENGTH, "record 1, byte 126: digest: length" },
};

static void every_fault_is_named_with_its_byte_offset(void **state)
{
	(void)state;
	for (size_t i = 0; i < TL_ARRAY_SIZE(patches); i++) {
		enum tl_cel_fault fault = TL_CEL_FAULT_NONE;
		struct tl_cel cel = { .n = 4711 };
		struct tl_error err = { 0 };
		auto_buf struct tl_buf log = { 0 };

		make_log(&log);
		log.data[patches[i].offset] = patches[i].byte;
		assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, &fault, &err),
				 -EBADMSG);
		assert_string_equal(tl_cel_fault_name(fault), tl_cel_fault_name(patches[i].fault));
		if (!strstr(err.msg, patches[i].where))
			fail_msg("'%s' lacks '%s'", err.msg, patches[i].where);
		assert_int_equal(cel.n, 4711);
	}
}

static void a_record_without_one_of_the_banks_is_refused(void **state)
{
	const struct tl_banks two = { .hashes = { TL_SHA1, TL_SHA256 }, .n = 2 };
	const struct tl_event e = { .type = TL_EVENT_ARG };
	enum tl_cel_fault fault = TL_CEL_FAULT_NONE;
	struct tl_event_digests digests;
	struct tl_cel cel = { 0 };
	auto_buf struct tl_buf log = { 0 };

	(void)state;
	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_event_digest(&e, &two, &digests), 0);
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 0, &e, &digests), 0);
	digests.n = 1;
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 1, &e, &digests), 0);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, &fault, NULL), -EBADMSG);
	assert_int_equal(fault, TL_CEL_DIGEST_ALG);
}

static void digests_may_come_in_any_order(void **state)
{
	const struct tl_banks there = { .hashes = { TL_SHA1, TL_SHA256 }, .n = 2 };
	const struct tl_banks back = { .hashes = { TL_SHA256, TL_SHA1 }, .n = 2 };
	const struct tl_event e = { .type = TL_EVENT_ARG };
	struct tl_event_digests digests;
	auto_cel struct tl_cel cel = { 0 };
	auto_buf struct tl_buf log = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX];

	(void)state;
	tl_buf_init(&log, TL_CEL_MAX_BYTES);
	assert_int_equal(tl_event_digest(&e, &there, &digests), 0);
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 0, &e, &digests), 0);
	assert_int_equal(tl_event_digest(&e, &back, &digests), 0);
	assert_int_equal(tl_cel_append(&log, TL_CEL_TPM, 1, &e, &digests), 0);
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, NULL, NULL), 0);
	assert_int_equal(tl_cel_replay(&cel, TL_SHA256, reg, NULL), 0);
}

static void a_wrong_digest_stops_the_replay_and_names_the_record(void **state)
{
	struct tl_error err = { 0 };
	auto_cel struct tl_cel cel = { 0 };
	auto_buf struct tl_buf log = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX];

	(void)state;
	make_log(&log);
	log.data[97 + 60] ^= 1; /* in the SHA-256 digest of record 1 */
	memset(reg, 0xAA, sizeof(reg));
	assert_int_equal(tl_cel_decode(log.data, log.len_bytes, &cel, NULL, NULL), 0);
	assert_int_equal(tl_cel_replay(&cel, TL_SHA256, reg, &err), -EBADMSG);
	assert_int_equal(err.code, TL_E_CEL_DIGEST);
	assert_string_equal(err.msg, "launch log, record 1: the sha256 digest isn't that of the "
				     "content");
	assert_int_equal(reg[0], 0xAA);
	assert_int_equal(tl_cel_replay(&cel, TL_SHA384, reg, &err), -EBADMSG);
	assert_string_equal(err.msg, "launch log has no sha384 digests");
	assert_int_equal(reg[0], 0xAA);
}

static void nothing_follows_a_separator(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, NULL), 0);
	assert_int_equal(tl_events_add(&list, TL_EVENT_ARG, "x", 1, &err), -EPERM);
	assert_int_equal(err.code, TL_E_EVENT_ORDER);
	assert_int_equal(list.n, 1);
	assert_int_equal(tl_events_add(&list, TL_EVENT_SEPARATOR, "", 0, NULL), -EPERM);
	assert_int_equal(list.n, 1);
}

static void limits_hold_and_leave_the_list_alone(void **state)
{
	auto_free uint8_t *big = calloc(1, TL_EVENT_CONTENT_MAX_BYTES + 1);
	auto_events struct tl_event_list list = { 0 }, many = { 0 };
	struct tl_error err = { 0 };
	size_t n = 0;

	(void)state;
	assert_int_equal(tl_events_add(&list, 4, big, TL_EVENT_CONTENT_MAX_BYTES + 1, &err),
			 -E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_int_equal(err.class, TL_DENIED);
	assert_int_equal(list.n, 0);
	while (tl_events_add(&list, 4, big, TL_EVENT_CONTENT_MAX_BYTES, &err) == 0)
		n++;
	assert_int_equal(n, TL_CEL_MAX_BYTES / TL_EVENT_CONTENT_MAX_BYTES);
	assert_int_equal(list.n, n);
	for (n = 0; n < TL_EVENTS_MAX; n++)
		assert_int_equal(tl_events_add(&many, 4, "", 0, NULL), 0);
	assert_int_equal(tl_events_add(&many, 4, "", 0, &err), -E2BIG);
	assert_int_equal(many.n, TL_EVENTS_MAX);
}

static void a_log_that_does_not_fit_leaves_the_buffer_alone(void **state)
{
	auto_events struct tl_event_list list = { 0 };
	struct tl_error err = { 0 };
	auto_buf struct tl_buf log = { 0 };

	(void)state;
	tl_buf_init(&log, 300);
	assert_int_equal(tl_buf_append_str(&log, "before"), 0);
	assert_int_equal(tl_events_add(&list, 4, "a", 1, NULL), 0);
	assert_int_equal(tl_events_add(&list, 4, "b", 1, NULL), 0);
	assert_int_equal(tl_cel_encode(&list, TL_CEL_TPM, &all_banks, &log, &err), -E2BIG);
	assert_int_equal(err.code, TL_E_EVENT_LIMIT);
	assert_string_equal(tl_buf_str(&log), "before");
}

static void an_unknown_bank_is_an_error(void **state)
{
	const struct tl_banks sm3 = { .hashes = { 0x0012 }, .n = 1 };
	const struct tl_event e = { .type = TL_EVENT_ARG };
	struct tl_event_digests digests = { .n = 4711 };

	(void)state;
	assert_int_equal(tl_event_digest(&e, &sm3, &digests), -EINVAL);
	assert_int_equal(digests.n, 4711);
}

struct want {
	uint8_t type;
	const char *content;
};

static void a_launch_is_measured_in_the_fixed_order(void **state)
{
	static const struct want wants[] = {
		{ 0, "h/i:t" }, { 1, "sha256:d" }, { 2, "Never" }, { 3, "sha256:i" },
		{ 4, "/run" },  { 4, "-v" },       { 5, "P=/" },   { 5, "HOSTNAME=h" },
		{ 7, "A=1" },   { 7, "B=" },       { 6, "x" },     { 6, "y" },
		{ 9, "\x01" },  { 8, "" },
	};
	auto_strv struct tl_strv args = { 0 }, env = { 0 }, cmd = { 0 };
	auto_events struct tl_event_list list = { 0 };
	auto_kvs struct tl_kvs override_env = { 0 };
	const struct tl_launch_facts facts = {
		.image_ref = "h/i:t",
		.image_digest = "sha256:d",
		.restart_policy = "Never",
		.image_id = "sha256:i",
		.args = &args,
		.env = &env,
		.override_env = &override_env,
		.override_cmd = &cmd,
		.is_memory_monitored = true,
	};

	(void)state;
	assert_int_equal(tl_strv_add(&args, "/run") | tl_strv_add(&args, "-v"), 0);
	assert_int_equal(tl_strv_add(&env, "P=/") | tl_strv_add(&env, "HOSTNAME=h"), 0);
	assert_int_equal(tl_strv_add(&cmd, "x") | tl_strv_add(&cmd, "y"), 0);
	assert_int_equal(tl_kvs_add(&override_env, "A", "1"), 0);
	assert_int_equal(tl_kvs_add(&override_env, "B", ""), 0);
	assert_int_equal(tl_launch_events_build(&facts, &list, NULL), 0);
	assert_int_equal(list.n, TL_ARRAY_SIZE(wants));
	for (size_t i = 0; i < list.n; i++) {
		assert_int_equal(list.items[i].type, wants[i].type);
		assert_int_equal(list.items[i].content_len, strlen(wants[i].content));
		assert_memory_equal(list.items[i].content, wants[i].content,
				    list.items[i].content_len);
	}
}

/* The worked example 4 of the contract: registers known from elsewhere. */
static void the_worked_example_gives_the_known_register(void **state)
{
	auto_strv struct tl_strv args = { 0 }, env = { 0 };
	auto_events struct tl_event_list list = { 0 };
	uint8_t reg[TL_HASH_SIZE_MAX];
	const struct tl_launch_facts facts = {
		.image_ref = "gcr.io/fakeRepo/fakeTestImage:latest",
		.image_digest = "sha256:"
				"adb591795f9e9047f9117163b83c2ebcd5edc4503644d59a98cf911aef0367f8",
		.restart_policy = "Always",
		.image_id = "sha256:"
			    "d5496fd75dd8262f0495ab5706fc464659eb7f481e384700e6174b6c44144cae",
		.args = &args,
		.env = &env,
	};

	(void)state;
	assert_int_equal(tl_strv_add(&args, "-h"), 0);
	assert_int_equal(tl_strv_add(&env, "foo=foo"), 0);
	assert_int_equal(tl_launch_events_build(&facts, &list, NULL), 0);
	assert_int_equal(tl_events_replay(&list, TL_SHA1, reg), 0);
	assert_hex_equal(reg, 20, "8baecd1dc019a853f14e55051133f56813e93a13");
	assert_int_equal(tl_events_replay(&list, TL_SHA256, reg), 0);
	assert_hex_equal(reg, 32,
			 "0510ba4c08d7819a269a79202eccd78584243211abfa6c9b4500f9d9163c241c");
}

static void facts_that_do_not_hold_are_refused(void **state)
{
	auto_kvs struct tl_kvs unsorted = { 0 }, twice = { 0 };
	struct tl_launch_facts facts = { .image_ref = "r",
					 .image_digest = "d",
					 .restart_policy = "always" };
	struct tl_event_list list = { .n = 4711 };
	struct tl_error err = { 0 };

	(void)state;
	assert_int_equal(tl_launch_events_build(&facts, &list, &err), -EINVAL);
	assert_int_equal(err.code, TL_E_INTERNAL);
	facts.restart_policy = "Always";
	assert_int_equal(tl_kvs_add(&unsorted, "B", "1") | tl_kvs_add(&unsorted, "A", "1"), 0);
	facts.override_env = &unsorted;
	assert_int_equal(tl_launch_events_build(&facts, &list, &err), -EINVAL);
	assert_string_equal(err.msg, "operator's variable 'A' is out of order or given twice");
	assert_int_equal(tl_kvs_add(&twice, "A", "1") | tl_kvs_add(&twice, "A", "2"), 0);
	facts.override_env = &twice;
	assert_int_equal(tl_launch_events_build(&facts, &list, &err), -EINVAL);
	facts.override_env = NULL;
	facts.image_digest = NULL;
	assert_int_equal(tl_launch_events_build(&facts, &list, &err), -EINVAL);
	assert_int_equal(list.n, 4711);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_encodes_and_replays),
		cmocka_unit_test(every_vector_decodes_or_names_its_fault),
		cmocka_unit_test(every_changed_byte_of_a_log_is_noticed),
		cmocka_unit_test(every_cut_log_is_truncated_except_between_records),
		cmocka_unit_test(every_fault_is_named_with_its_byte_offset),
		cmocka_unit_test(a_record_without_one_of_the_banks_is_refused),
		cmocka_unit_test(digests_may_come_in_any_order),
		cmocka_unit_test(a_wrong_digest_stops_the_replay_and_names_the_record),
		cmocka_unit_test(nothing_follows_a_separator),
		cmocka_unit_test(limits_hold_and_leave_the_list_alone),
		cmocka_unit_test(a_log_that_does_not_fit_leaves_the_buffer_alone),
		cmocka_unit_test(an_unknown_bank_is_an_error),
		cmocka_unit_test(a_launch_is_measured_in_the_fixed_order),
		cmocka_unit_test(the_worked_example_gives_the_known_register),
		cmocka_unit_test(facts_that_do_not_hold_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
