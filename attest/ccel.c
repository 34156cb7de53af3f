/* SPDX-License-Identifier: Apache-2.0 */
#include "ccel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define SPEC_ID_SIGNATURE "Spec ID Event03" /* 16 bytes with the NUL */
#define EV_NO_ACTION      3
#define LEGACY_DIGEST     20
#define DIGEST_MAX_BYTES  64
#define CC_TYPE_TDX       2 /* ACPI 6.5, table 5.155 */

/* Little-endian reading that can't leave the bytes: after a short read everything reads as 0. */
struct cursor {
	const uint8_t *data;
	size_t n, at;
	bool is_short;
};

struct algorithms {
	struct {
		uint16_t id, size_bytes;
	} items[CCEL_ALGORITHMS_MAX];
	uint32_t n;
};

static const uint8_t *take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->data + c->at;

	if (c->is_short || n > c->n - c->at) {
		c->is_short = true;
		return NULL;
	}
	c->at += n;
	return p;
}

static uint32_t take_le(struct cursor *c, size_t n)
{
	const uint8_t *p = take(c, n);
	uint32_t v = 0;

	for (size_t i = n; p && i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static int fail_at(size_t offset, const char *what, struct tl_error *err)
{
	return tl_fail(err, TL_E_CCEL, EBADMSG, "CC event log, byte %zu: %s", offset, what);
}

/* TCG_EfiSpecIdEvent: which digests each event has. */
static const char *spec_id_read(struct cursor *c, struct algorithms *ret)
{
	const uint8_t *signature = take(c, sizeof(SPEC_ID_SIGNATURE));

	if (!signature || memcmp(signature, SPEC_ID_SIGNATURE, sizeof(SPEC_ID_SIGNATURE)) != 0)
		return "no 'Spec ID Event03' header";
	(void)take(c, 4 + 4); /* platform class; versions and size of UINTN */
	ret->n = take_le(c, 4);
	if (!ret->n || ret->n > CCEL_ALGORITHMS_MAX)
		return "number of algorithms is not within 1 to 8";
	for (uint32_t i = 0; i < ret->n; i++) {
		ret->items[i].id = (uint16_t)take_le(c, 2);
		ret->items[i].size_bytes = (uint16_t)take_le(c, 2);
		if (!c->is_short &&
		    (!ret->items[i].size_bytes || ret->items[i].size_bytes > DIGEST_MAX_BYTES))
			return "a digest's size is not within 1 to 64";
	}
	(void)take(c, take_le(c, 1)); /* vendor's information */
	return c->is_short || c->at != c->n ? "the header's size doesn't fit its content" : NULL;
}

/* TCG_PCR_EVENT, the old form: only the header has it. */
static int header_read(struct cursor *c, struct algorithms *ret, struct tl_error *err)
{
	struct cursor inner = { 0 };
	const char *fault;
	uint32_t type;

	(void)take(c, 4); /* register */
	type = take_le(c, 4);
	(void)take(c, LEGACY_DIGEST);
	inner.n = take_le(c, 4);
	inner.data = take(c, inner.n);
	if (c->is_short)
		return fail_at(0, "the header is cut off", err);
	if (type != EV_NO_ACTION)
		return fail_at(0, "the first event is no header", err);
	fault = spec_id_read(&inner, ret);
	return fault ? fail_at(0, fault, err) : 0;
}

static const char *digest_skip(struct cursor *c, const struct algorithms *known, uint32_t *seen)
{
	uint16_t id = (uint16_t)take_le(c, 2);
	uint32_t k = 0;

	while (k < known->n && (known->items[k].id != id || *seen & UINT32_C(1) << k))
		k++;
	if (c->is_short)
		return NULL;
	if (k == known->n)
		return "a digest's algorithm is not in the header, or there twice";
	*seen |= UINT32_C(1) << k;
	(void)take(c, known->items[k].size_bytes);
	return NULL;
}

/* TCG_PCR_EVENT2 */
static int event_skip(struct cursor *c, const struct algorithms *known, struct tl_error *err)
{
	size_t offset = c->at;
	const char *fault = NULL;
	uint32_t seen = 0;

	(void)take(c, 4 + 4); /* register, type */
	if (take_le(c, 4) != known->n && !c->is_short)
		return fail_at(offset, "an event doesn't have a digest for each algorithm", err);
	for (uint32_t i = 0; !fault && i < known->n; i++)
		fault = digest_skip(c, known, &seen);
	if (fault)
		return fail_at(offset, fault, err);
	(void)take(c, take_le(c, 4));
	return c->is_short ? fail_at(offset, "an event is cut off", err) : 0;
}

/* No event begins so: neither 0 nor 0xFFFFFFFF is a number of digests. */
static bool is_unused(const uint8_t *p, size_t n)
{
	if (n && *p != 0x00 && *p != 0xff)
		return false;
	for (size_t i = 1; i < n; i++)
		if (p[i] != *p)
			return false;
	return true;
}

int ccel_end(const uint8_t *data, size_t n, size_t *ret, struct tl_error *err)
{
	struct cursor c = { .data = data, .n = n };
	struct algorithms known = { 0 };
	int r = header_read(&c, &known, err);

	while (r == 0 && !is_unused(c.data + c.at, c.n - c.at))
		r = event_skip(&c, &known, err);
	if (r == 0)
		*ret = c.at;
	return r;
}

int ccel_table_check(const uint8_t *table, size_t n, struct tl_error *err)
{
	struct cursor length = { .data = table, .n = n, .at = 4 };

	if (n < CCEL_TABLE_BYTES || memcmp(table, "CCEL", 4) != 0 || take_le(&length, 4) != n)
		return tl_fail(err, TL_E_CCEL, EBADMSG,
			       "the ACPI table of %zu bytes isn't a 'CCEL' that says so", n);
	if (table[36] != CC_TYPE_TDX)
		return tl_fail(
			err, TL_E_CCEL, EBADMSG,
			"the ACPI table CCEL is for a guest of type %u, not of Intel TDX (%d)",
			table[36], CC_TYPE_TDX);
	return 0;
}
