/* SPDX-License-Identifier: Apache-2.0 */
/* The strict decoder of the launch log. Its input comes from whoever asks for a token. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/event_log.h>

#include "cel_tlv.h"

struct cursor {
	const uint8_t *data;
	size_t pos; /* offsets count from the start of the log, in nested cursors too */
	size_t end;
};

struct decoder {
	struct cursor at;
	uint8_t pcr; /* that a record of the TPM form is for */
	enum tl_cel_fault fault;
	size_t fault_offset;
	const char *what; /* what was being read */
};

static int fault(struct decoder *d, enum tl_cel_fault fault, size_t offset, const char *what)
{
	d->fault = fault;
	d->fault_offset = offset;
	d->what = what;
	return -EBADMSG;
}

static uint64_t get_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static int read_tlv(struct decoder *d, struct cursor *from, const char *what, uint8_t *ret_type,
		    struct cursor *ret)
{
	size_t left = from->end - from->pos;
	uint32_t len;

	if (left < CEL_TLV_HEADER_BYTES)
		return fault(d, TL_CEL_TRUNCATED, from->pos, what);
	len = (uint32_t)get_be(from->data + from->pos + 1, 4);
	if (len > left - CEL_TLV_HEADER_BYTES)
		return fault(d, TL_CEL_TRUNCATED, from->pos, what);
	*ret_type = from->data[from->pos];
	*ret = (struct cursor){ .data = from->data,
				.pos = from->pos + CEL_TLV_HEADER_BYTES,
				.end = from->pos + CEL_TLV_HEADER_BYTES + len };
	from->pos = ret->end;
	return 0;
}

static int read_typed(struct decoder *d, struct cursor *from, uint8_t type, const char *what,
		      struct cursor *ret)
{
	size_t start = from->pos;
	uint8_t got;
	int r = read_tlv(d, from, what, &got, ret);

	if (r >= 0 && got != type)
		return fault(d, TL_CEL_TYPE, start, what);
	return r;
}

static int read_number(struct decoder *d, uint64_t *ret, size_t *ret_offset)
{
	struct cursor c;
	int r = read_typed(d, &d->at, CEL_TLV_NUMBER, "record number", &c);

	if (r < 0)
		return r;
	if (c.end - c.pos != sizeof(*ret))
		return fault(d, TL_CEL_LENGTH, c.pos, "record number");
	*ret = get_be(c.data + c.pos, sizeof(*ret));
	*ret_offset = c.pos;
	return 0;
}

static int read_index(struct decoder *d, bool is_first, enum tl_cel_form *form)
{
	size_t start = d->at.pos;
	struct cursor c;
	uint8_t type;
	int r = read_tlv(d, &d->at, "register index", &type, &c);

	if (r < 0)
		return r;
	if (type != TL_CEL_TPM && type != TL_CEL_TDX)
		return fault(d, TL_CEL_INDEX_TYPE, start, "register index");
	if (!is_first && type != *form)
		return fault(d, TL_CEL_MIXED_INDEX_TYPES, start, "register index");
	if (c.end - c.pos != 1)
		return fault(d, TL_CEL_LENGTH, c.pos, "register index");
	if (c.data[c.pos] != (type == TL_CEL_TPM ? d->pcr : TL_CEL_CCMR))
		return fault(d, TL_CEL_INDEX, c.pos, "register index");
	*form = type == TL_CEL_TPM ? TL_CEL_TPM : TL_CEL_TDX;
	return 0;
}

static bool digests_contain(const struct tl_event_digests *digests, uint16_t hash)
{
	for (size_t i = 0; i < digests->n; i++)
		if (digests->items[i].hash == hash)
			return true;
	return false;
}

static int read_digest(struct decoder *d, struct cursor *from, struct tl_event_digests *ret)
{
	size_t start = from->pos;
	struct cursor c;
	uint8_t type;
	int r = read_tlv(d, from, "digest", &type, &c);

	if (r < 0)
		return r;
	/* Four algorithms and none twice: that bounds the array too. */
	if (!tl_hash_size(type) || digests_contain(ret, type))
		return fault(d, TL_CEL_DIGEST_ALG, start, "digest");
	if (c.end - c.pos != tl_hash_size(type))
		return fault(d, TL_CEL_LENGTH, c.pos, "digest");
	ret->items[ret->n].hash = type;
	memcpy(ret->items[ret->n].bytes, c.data + c.pos, tl_hash_size(type));
	ret->n++;
	return 0;
}

static int read_digests(struct decoder *d, const struct tl_event_digests *first,
			struct tl_event_digests *ret)
{
	struct cursor c;
	size_t start;
	int r = read_typed(d, &d->at, CEL_TLV_DIGESTS, "digests", &c);

	if (r < 0)
		return r;
	start = c.pos;
	while (c.pos < c.end) {
		r = read_digest(d, &c, ret);
		if (r < 0)
			return r;
	}
	/* A record that misses a bank would let that bank's register say something else. */
	if (ret->n != first->n)
		return fault(d, TL_CEL_DIGEST_ALG, start, "digests");
	for (size_t i = 0; i < ret->n; i++)
		if (!digests_contain(first, ret->items[i].hash))
			return fault(d, TL_CEL_DIGEST_ALG, start, "digests");
	return 0;
}

static int read_event(struct decoder *d, struct tl_event *ret)
{
	struct cursor outer, inner;
	int r = read_typed(d, &d->at, CEL_TLV_CONTENT, "content", &outer);

	if (r >= 0)
		r = read_tlv(d, &outer, "event", &ret->type, &inner);
	if (r < 0)
		return r;
	if (outer.pos != outer.end)
		return fault(d, TL_CEL_LENGTH, outer.pos, "content");
	if (inner.end - inner.pos > TL_EVENT_CONTENT_MAX_BYTES)
		return fault(d, TL_CEL_TOO_MUCH, inner.pos, "event");
	ret->content = inner.data + inner.pos;
	ret->content_len = inner.end - inner.pos;
	return 0;
}

static int read_record(struct decoder *d, struct tl_cel *cel, struct tl_cel_record *ret)
{
	const struct tl_event_digests *first = cel->n ? &cel->records[0].digests : &ret->digests;
	size_t number_offset = 0;
	int r;

	r = read_number(d, &ret->number, &number_offset);
	if (r >= 0)
		r = read_index(d, cel->n == 0, &cel->form);
	/* Two logs glued together are better named by what differs than by their numbers. */
	if (r >= 0 && ret->number != cel->n)
		r = fault(d, TL_CEL_NUMBER, number_offset, "record number");
	if (r >= 0)
		r = read_digests(d, first, &ret->digests);
	if (r >= 0)
		r = read_event(d, &ret->event);
	return r;
}

static int decode_all(struct decoder *d, struct tl_cel *cel)
{
	int r;

	if (d->at.end > TL_CEL_MAX_BYTES)
		return fault(d, TL_CEL_TOO_MUCH, TL_CEL_MAX_BYTES, "log");
	while (d->at.pos < d->at.end) {
		struct tl_cel_record record = { 0 };
		struct tl_cel_record *records;

		if (cel->n >= TL_EVENTS_MAX)
			return fault(d, TL_CEL_TOO_MUCH, d->at.pos, "log");
		r = read_record(d, cel, &record);
		if (r < 0)
			return r;
		records = reallocarray(cel->records, cel->n + 1, sizeof(*records));
		if (!records)
			return -ENOMEM;
		cel->records = records;
		records[cel->n++] = record;
	}
	return 0;
}

int tl_cel_decode(const void *data, size_t n, struct tl_cel *ret, enum tl_cel_fault *ret_fault,
		  struct tl_error *err)
{
	return cel_decode_of(data, n, TL_CEL_PCR, ret, ret_fault, err);
}

int cel_decode_of(const void *data, size_t n, uint8_t pcr, struct tl_cel *ret,
		  enum tl_cel_fault *ret_fault, struct tl_error *err)
{
	struct decoder d = { .at = { .data = data, .end = n }, .pcr = pcr };
	auto_cel struct tl_cel cel = { .form = TL_CEL_TPM };
	int r = decode_all(&d, &cel);

	if (r == -ENOMEM)
		return tl_fail(err, TL_E_NO_MEMORY, ENOMEM, "no memory for a launch log");
	if (r < 0) {
		if (ret_fault)
			*ret_fault = d.fault;
		return tl_fail(err, TL_E_CEL_MALFORMED, EBADMSG, "%s, record %zu, byte %zu: %s: %s",
			       pcr == TL_CEL_PCR ? "launch log" : "record log", cel.n,
			       d.fault_offset, d.what, tl_cel_fault_name(d.fault));
	}
	*ret = cel;
	cel = (struct tl_cel){ 0 };
	return 0;
}

void tl_cel_done(struct tl_cel *cel)
{
	free(cel->records);
	*cel = (struct tl_cel){ 0 };
}
