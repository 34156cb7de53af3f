/* SPDX-License-Identifier: Apache-2.0 */
#include "tdx_quote.h"

#include <errno.h>

#define TEE_TYPE_TDX       0x81
#define HEADER_BYTES       48
#define DESCRIPTOR_BYTES   6 /* of version 5: type and size of the body */
#define BODY_TDX_10        2
#define BODY_TDX_15        3
#define BODY_TDX_10_BYTES  584
#define BODY_TDX_15_BYTES  648 /* the old one, and what is new at its end */
#define SIGNATURE_LEN      4
#define RTMR3_OFFSET       472 /* in the body, as is the next */
#define REPORT_DATA_OFFSET 520

static uint32_t le(const uint8_t *p, size_t n)
{
	uint32_t v = 0;

	for (size_t i = n; i > 0; i--)
		v = v << 8 | p[i - 1];
	return v;
}

static int fail(struct tl_error *err, const char *what)
{
	return tl_fail(err, TL_E_QUOTE_INVALID, EBADMSG, "TDX quote: %s", what);
}

/* 0, or the body's offset; its size in @ret_n. @n: at least HEADER_BYTES + DESCRIPTOR_BYTES. */
static size_t body_find(const uint8_t *quote, size_t *ret_n)
{
	uint32_t type = le(quote + HEADER_BYTES, 2);
	uint32_t size = le(quote + HEADER_BYTES + 2, 4);

	switch (le(quote, 2)) {
	case 4:
		*ret_n = BODY_TDX_10_BYTES;
		return HEADER_BYTES;
	case 5:
		*ret_n = type == BODY_TDX_10 ? BODY_TDX_10_BYTES : BODY_TDX_15_BYTES;
		if ((type == BODY_TDX_10 || type == BODY_TDX_15) && size == *ret_n)
			return HEADER_BYTES + DESCRIPTOR_BYTES;
		return 0;
	default:
		return 0;
	}
}

int tdx_quote_parse(const uint8_t *quote, size_t n, struct tdx_quote *ret, struct tl_error *err)
{
	size_t body, body_n = 0, end;

	if (n < HEADER_BYTES + DESCRIPTOR_BYTES)
		return fail(err, "too short for a header");
	if (le(quote + 4, 4) != TEE_TYPE_TDX)
		return fail(err, "it is of another kind of TEE");
	body = body_find(quote, &body_n);
	if (!body)
		return fail(err, "neither version 4, nor 5 with a body of TDX 1.0 or 1.5");
	end = body + body_n + SIGNATURE_LEN;
	if (n < end || le(quote + end - SIGNATURE_LEN, SIGNATURE_LEN) > n - end)
		return fail(err, "cut off");
	ret->rtmr3 = quote + body + RTMR3_OFFSET;
	ret->report_data = quote + body + REPORT_DATA_OFFSET;
	return 0;
}
