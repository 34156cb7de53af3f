/* SPDX-License-Identifier: Apache-2.0 */
/*
 * List, encoding and replay of the launch log. TCG Canonical Event Log Format 1.0 rev. 0.41,
 * section 5.1: type (1 byte), length (4 bytes, big-endian), value.
 */
#include <teelaunch/event_log.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>

#include "cel_tlv.h"

static const char *const fault_names[] = {
	[TL_CEL_FAULT_NONE] = "none",
	[TL_CEL_TRUNCATED] = "truncated",
	[TL_CEL_TYPE] = "type",
	[TL_CEL_LENGTH] = "length",
	[TL_CEL_NUMBER] = "number",
	[TL_CEL_INDEX_TYPE] = "index-type",
	[TL_CEL_MIXED_INDEX_TYPES] = "mixed-index-types",
	[TL_CEL_INDEX] = "index",
	[TL_CEL_DIGEST_ALG] = "digest-alg",
	[TL_CEL_TOO_MUCH] = "too-much",
};

const char *tl_cel_fault_name(enum tl_cel_fault fault)
{
	return (size_t)fault < TL_ARRAY_SIZE(fault_names) ? fault_names[fault] : "unknown";
}

static bool list_is_sealed(const struct tl_event_list *list)
{
	return list->n && list->items[list->n - 1].type == TL_EVENT_SEPARATOR;
}

static int check_limits(const struct tl_event_list *list, uint8_t type, size_t n,
			struct tl_error *err)
{
	if (list_is_sealed(list))
		return tl_fail(err, TL_E_EVENT_ORDER, EPERM,
			       "event of type %u would follow the launch separator", type);
	if (n > TL_EVENT_CONTENT_MAX_BYTES)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "event of type %u has %zu bytes; at most %d can be measured", type,
			       n, TL_EVENT_CONTENT_MAX_BYTES);
	if (list->n >= TL_EVENTS_MAX)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "more than %d events; use fewer arguments and variables",
			       TL_EVENTS_MAX);
	if (list->content_bytes + n > TL_CEL_MAX_BYTES)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "the events have more than %d bytes together; use fewer or shorter "
			       "arguments and variables",
			       TL_CEL_MAX_BYTES);
	return 0;
}

const char *tl_event_type_name(uint8_t type)
{
	static const char *const names[] = {
		[TL_EVENT_IMAGE_REF] = "image_ref",
		[TL_EVENT_IMAGE_DIGEST] = "image_digest",
		[TL_EVENT_RESTART_POLICY] = "restart_policy",
		[TL_EVENT_IMAGE_ID] = "image_id",
		[TL_EVENT_ARG] = "arg",
		[TL_EVENT_ENV] = "env",
		[TL_EVENT_OVERRIDE_ARG] = "override_arg",
		[TL_EVENT_OVERRIDE_ENV] = "override_env",
		[TL_EVENT_SEPARATOR] = "separator",
		[TL_EVENT_MEMORY_MONITOR] = "memory_monitor",
		[TL_EVENT_GPU_CC_MODE] = "gpu_cc_mode",
		[TL_EVENT_GPU_BINDING] = "gpu_binding",
	};

	return type < TL_ARRAY_SIZE(names) ? names[type] : NULL;
}

int tl_events_add(struct tl_event_list *list, uint8_t type, const void *content, size_t n,
		  struct tl_error *err)
{
	auto_free uint8_t *copy = NULL;
	struct tl_event *items;
	int r;

	r = check_limits(list, type, n, err);
	if (r < 0)
		return r;
	copy = malloc(n ? n : 1);
	if (!copy)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for an event");
	if (n)
		memcpy(copy, content, n);
	items = reallocarray(list->items, list->n + 1, sizeof(*items));
	if (!items)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for an event");
	list->items = items;
	items[list->n++] =
		(struct tl_event){ .type = type, .content = take_ptr(copy), .content_len = n };
	list->content_bytes += n;
	return 0;
}

void tl_events_done(struct tl_event_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		/* The list owns what its items show as read-only. */
		void *content = (void *)(uintptr_t)list->items[i].content;

		/* Environment values may be secrets of the operator. */
		explicit_bzero(content, list->items[i].content_len);
		free(content);
	}
	free(list->items);
	*list = (struct tl_event_list){ 0 };
}

static int append_tlv_header(struct tl_buf *b, uint8_t type, size_t len)
{
	int r = tl_buf_append_u8(b, type);

	return r < 0 ? r : tl_buf_append_be32(b, (uint32_t)len);
}

static int append_tlv(struct tl_buf *b, uint8_t type, const void *value, size_t n)
{
	int r = append_tlv_header(b, type, n);

	return r < 0 ? r : tl_buf_append(b, value, n);
}

/* An append that fails half-way must not leave half a record behind. */
static int undo(struct tl_buf *b, size_t len_bytes, int r)
{
	if (r < 0) {
		b->len_bytes = len_bytes;
		if (b->data)
			b->data[len_bytes] = 0;
	}
	return r;
}

static int append_content(struct tl_buf *b, const struct tl_event *event)
{
	int r = append_tlv_header(b, CEL_TLV_CONTENT, CEL_TLV_HEADER_BYTES + event->content_len);

	return r < 0 ? r : append_tlv(b, event->type, event->content, event->content_len);
}

int tl_event_encode(const struct tl_event *event, struct tl_buf *ret)
{
	size_t before = ret->len_bytes;

	if (event->content_len > TL_EVENT_CONTENT_MAX_BYTES)
		return -E2BIG;
	return undo(ret, before, append_content(ret, event));
}

int tl_event_digest(const struct tl_event *event, const struct tl_banks *banks,
		    struct tl_event_digests *ret)
{
	struct tl_event_digests got = { 0 };
	auto_buf struct tl_buf b = { 0 };
	int r;

	tl_buf_init(&b, TL_EVENT_CONTENT_MAX_BYTES + 2 * CEL_TLV_HEADER_BYTES);
	if (banks->n > TL_BANKS_MAX)
		return -EINVAL;
	r = tl_event_encode(event, &b);
	for (size_t i = 0; r >= 0 && i < banks->n; i++) {
		got.items[i].hash = banks->hashes[i];
		r = tl_digest(banks->hashes[i], b.data, b.len_bytes, got.items[i].bytes);
	}
	if (r < 0)
		return r;
	got.n = banks->n;
	*ret = got;
	return 0;
}

static int append_digests(struct tl_buf *b, const struct tl_event_digests *digests)
{
	size_t len = 0;
	int r;

	for (size_t i = 0; i < digests->n; i++)
		len += CEL_TLV_HEADER_BYTES + tl_hash_size(digests->items[i].hash);
	r = append_tlv_header(b, CEL_TLV_DIGESTS, len);
	for (size_t i = 0; r >= 0 && i < digests->n; i++)
		r = append_tlv(b, (uint8_t)digests->items[i].hash, digests->items[i].bytes,
			       tl_hash_size(digests->items[i].hash));
	return r;
}

static int append_record(struct tl_buf *b, enum tl_cel_form form, uint8_t pcr, uint64_t number,
			 const struct tl_event *event, const struct tl_event_digests *digests)
{
	uint8_t index = form == TL_CEL_TPM ? pcr : TL_CEL_CCMR;
	int r;

	r = append_tlv_header(b, CEL_TLV_NUMBER, sizeof(number));
	if (r >= 0)
		r = tl_buf_append_be64(b, number);
	if (r >= 0)
		r = append_tlv(b, (uint8_t)form, &index, sizeof(index));
	if (r >= 0)
		r = append_digests(b, digests);
	if (r >= 0)
		r = append_content(b, event);
	return r;
}

int cel_append_to(struct tl_buf *ret, enum tl_cel_form form, uint8_t pcr, uint64_t number,
		  const struct tl_event *event, const struct tl_event_digests *digests)
{
	size_t before = ret->len_bytes;

	if (digests->n > TL_BANKS_MAX || event->content_len > TL_EVENT_CONTENT_MAX_BYTES)
		return -EINVAL;
	return undo(ret, before, append_record(ret, form, pcr, number, event, digests));
}

int tl_cel_append(struct tl_buf *ret, enum tl_cel_form form, uint64_t number,
		  const struct tl_event *event, const struct tl_event_digests *digests)
{
	return cel_append_to(ret, form, TL_CEL_PCR, number, event, digests);
}

int tl_cel_encode(const struct tl_event_list *list, enum tl_cel_form form,
		  const struct tl_banks *banks, struct tl_buf *ret, struct tl_error *err)
{
	size_t before = ret->len_bytes;
	struct tl_event_digests digests;
	int r = 0;

	for (size_t i = 0; r >= 0 && i < list->n; i++) {
		r = tl_event_digest(&list->items[i], banks, &digests);
		if (r >= 0)
			r = tl_cel_append(ret, form, i, &list->items[i], &digests);
	}
	undo(ret, before, r);
	if (r == -ENOBUFS)
		return tl_fail(err, TL_E_EVENT_LIMIT, E2BIG,
			       "the launch log would have more than %zu bytes", ret->max_bytes);
	if (r < 0)
		return tl_fail_sys(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r,
				   "encode the launch log");
	return 0;
}

int tl_register_extend(uint16_t hash, uint8_t *reg, const uint8_t *digest)
{
	uint8_t both[2 * TL_HASH_SIZE_MAX];
	size_t size = tl_hash_size(hash);

	if (!size)
		return -EINVAL;
	memcpy(both, reg, size);
	memcpy(both + size, digest, size);
	return tl_digest(hash, both, 2 * size, reg);
}

static const uint8_t *find_digest(const struct tl_event_digests *digests, uint16_t hash)
{
	for (size_t i = 0; i < digests->n; i++)
		if (digests->items[i].hash == hash)
			return digests->items[i].bytes;
	return NULL;
}

static int replay_record(const struct tl_cel_record *record, uint16_t hash, uint8_t *reg,
			 struct tl_error *err)
{
	const struct tl_banks one = { .hashes = { hash }, .n = 1 };
	const uint8_t *claimed = find_digest(&record->digests, hash);
	struct tl_event_digests real;
	int r;

	r = tl_event_digest(&record->event, &one, &real);
	if (r >= 0)
		r = tl_register_extend(hash, reg, real.items[0].bytes);
	if (r < 0)
		return tl_fail_sys(err, r == -ENOMEM ? TL_E_NO_MEMORY : TL_E_INTERNAL, -r,
				   "replay the launch log");
	if (!claimed)
		return tl_fail(err, TL_E_CEL_DIGEST, EBADMSG, "launch log has no %s digests",
			       tl_hash_name(hash));
	if (memcmp(claimed, real.items[0].bytes, tl_hash_size(hash)) != 0)
		return tl_fail(err, TL_E_CEL_DIGEST, EBADMSG,
			       "launch log, record %llu: the %s digest isn't that of the content",
			       (unsigned long long)record->number, tl_hash_name(hash));
	return 0;
}

int tl_cel_replay(const struct tl_cel *cel, uint16_t hash, uint8_t *ret, struct tl_error *err)
{
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0 };
	int r;

	if (!tl_hash_size(hash))
		return tl_fail(err, TL_E_INTERNAL, EINVAL, "no hash has the number 0x%04x", hash);
	for (size_t i = 0; i < cel->n; i++) {
		r = replay_record(&cel->records[i], hash, reg, err);
		if (r < 0)
			return r;
	}
	memcpy(ret, reg, tl_hash_size(hash));
	return 0;
}

int tl_events_replay(const struct tl_event_list *list, uint16_t hash, uint8_t *ret)
{
	const struct tl_banks one = { .hashes = { hash }, .n = 1 };
	uint8_t reg[TL_HASH_SIZE_MAX] = { 0 };
	struct tl_event_digests digests;
	int r;

	if (!tl_hash_size(hash))
		return -EINVAL;
	for (size_t i = 0; i < list->n; i++) {
		r = tl_event_digest(&list->items[i], &one, &digests);
		if (r >= 0)
			r = tl_register_extend(hash, reg, digests.items[0].bytes);
		if (r < 0)
			return r;
	}
	memcpy(ret, reg, tl_hash_size(hash));
	return 0;
}
