/* SPDX-License-Identifier: Apache-2.0 */
#include "dns.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include <teelaunch/cleanup.h>

#define HEADER_BYTES 12
#define NAME_MAX     255
#define LABEL_MAX    63
#define TYPE_A       1
#define CLASS_IN     1
#define TTL_S        60

/* The second word of the header: RFC 1035, section 4.1.1. */
#define FLAG_RESPONSE      0x8000
#define FLAG_OPCODE        0x7800
#define FLAG_AUTHORITATIVE 0x0400
#define FLAG_RD            0x0100
#define FLAG_RA            0x0080
#define CODE_NO_NAME       3

static const uint8_t address[] = { 169, 254, 169, 254 };

struct question {
	char name[NAME_MAX + 1]; /* with dots */
	uint16_t type, class;
	size_t bytes; /* on the wire */
};

static uint16_t be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* Labels up to the empty one. A query's only name has nothing to point back to (4.1.4). */
static int name_read(const uint8_t *at, size_t n, char *ret, size_t *ret_bytes)
{
	size_t used = 0, length = 0;

	while (used < n && at[used]) {
		size_t label = at[used];

		if (label > LABEL_MAX || used + 1 + label >= n || length + label + 1 > NAME_MAX)
			return -EBADMSG;
		if (memchr(at + used + 1, '\0', label))
			return -EBADMSG;
		if (length)
			ret[length++] = '.';
		memcpy(ret + length, at + used + 1, label);
		length += label;
		used += 1 + label;
	}
	if (used >= n)
		return -EBADMSG;
	ret[length] = '\0';
	*ret_bytes = used + 1;
	return 0;
}

static int question_read(const uint8_t *query, size_t n, struct question *ret)
{
	const uint8_t *at = query + HEADER_BYTES;
	size_t left = n - HEADER_BYTES, name_bytes;

	if (name_read(at, left, ret->name, &name_bytes) < 0 || left - name_bytes < 4)
		return -EBADMSG;
	ret->type = be16(at + name_bytes);
	ret->class = be16(at + name_bytes + 2);
	ret->bytes = name_bytes + 4;
	return 0;
}

static bool is_known(const char *name, const struct tl_strv *names)
{
	static const char *const own[] = { "metadata.google.internal", "metadata" };

	for (size_t i = 0; i < TL_ARRAY_SIZE(own); i++)
		if (strcasecmp(own[i], name) == 0)
			return true;
	for (size_t i = 0; i < names->n; i++)
		if (strcasecmp(names->items[i], name) == 0)
			return true;
	return false;
}

/* The name is a pointer to the question's; type, class, time to live, length, address. */
static int address_append(struct tl_buf *ret)
{
	int r = tl_buf_append_be16(ret, 0xc000 | HEADER_BYTES);

	if (!r)
		r = tl_buf_append_be32(ret, TYPE_A << 16 | CLASS_IN);
	if (!r)
		r = tl_buf_append_be32(ret, TTL_S);
	if (!r)
		r = tl_buf_append_be16(ret, sizeof(address));
	return r ? r : tl_buf_append(ret, address, sizeof(address));
}

int dns_answer(const void *query, size_t n, const struct tl_strv *names, struct tl_buf *ret)
{
	const uint8_t *at = query;
	struct question q = { 0 };
	uint16_t flags;
	bool has_name, has_address;
	int r;

	if (n < HEADER_BYTES || n > DNS_MESSAGE_MAX)
		return -EBADMSG;
	flags = be16(at + 2);
	if (flags & (FLAG_RESPONSE | FLAG_OPCODE) || be16(at + 4) != 1 ||
	    question_read(at, n, &q) < 0)
		return -EBADMSG;
	has_name = q.class == CLASS_IN && is_known(q.name, names);
	has_address = has_name && q.type == TYPE_A;
	r = tl_buf_append(ret, at, 2);
	if (!r)
		r = tl_buf_append_be16(ret, (uint16_t)(FLAG_RESPONSE | FLAG_AUTHORITATIVE |
						       FLAG_RA | (flags & FLAG_RD) |
						       (has_name ? 0 : CODE_NO_NAME)));
	if (!r)
		r = tl_buf_append_be32(ret, 1U << 16 | has_address);
	if (!r)
		r = tl_buf_append_be32(ret, 0);
	if (!r)
		r = tl_buf_append(ret, at + HEADER_BYTES, q.bytes);
	if (!r && has_address)
		r = address_append(ret);
	return r;
}
