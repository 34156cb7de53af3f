/* SPDX-License-Identifier: Apache-2.0 */
/* Hex and base64 (RFC 4648), strict: no white space, no stray bits, exact padding. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>

/** Lower-case hex; @ret holds 2 * @n + 1 bytes. */
void tl_hex_encode(const void *data, size_t n, char *ret);
/** Exactly @n bytes from 2 * @n hex digits of either case. 0 or -EINVAL; @ret unchanged on failure.
 */
int tl_hex_decode(const char *hex, void *ret, size_t n);

enum tl_base64 {
	TL_BASE64_STD, /* RFC 4648 section 4, with padding */
	TL_BASE64_URL, /* RFC 4648 section 5, without padding (RFC 7515) */
};

/** A new heap string, owned by the caller; NULL when out of memory. */
char *tl_base64_encode(enum tl_base64 kind, const void *data, size_t n);
/**
 * @ret        new heap bytes, owned by the caller, followed by a NUL that isn't counted
 * Returns 0, -EINVAL, or -ENOMEM; outputs are set on success only.
 */
int tl_base64_decode(enum tl_base64 kind, const char *text, size_t text_len, uint8_t **ret,
		     size_t *ret_n);

/**
 * Append @s as a value of a query string: application/x-www-form-urlencoded (WHATWG URL, section
 * 5.2) with RFC 3986's unreserved characters kept; a space becomes "+". As tl_buf_append().
 */
int tl_form_encode(const char *s, struct tl_buf *ret);
int tl_form_encode_bytes(const void *data, size_t n, struct tl_buf *ret); /* any bytes */
