/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as Go's encoding/json reads it, because the metadata contract was written by that decoder:
 * invalid UTF-8 bytes and lone surrogates become U+FFFD, numbers have no range, the last of two
 * equal keys wins. jansson refuses these; so the text is rewritten first, then jansson decodes it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/str.h>

/* Never quotes the text: it may hold secrets. */
struct go_json_fault {
	const char *what; /* static storage */
	size_t offset;    /* of the byte, about; exact unless U+FFFD was put in before it */
};

/**
 * Decode @n bytes. Values keep NUL (\u0000); keys get U+FFFD in its place. Every number becomes 0:
 * no caller wants one. A limit of json_scan.h passed is a fault.
 *
 * @ret, @fault  set on success, or on -EINVAL, only
 * Returns 0, -EINVAL or -ENOMEM.
 */
int go_json_load(const char *text, size_t n, json_t **ret, struct go_json_fault *fault);

/**
 * Decode a JSON array of strings; null is the empty list, a null element the empty string.
 *
 * @ret, @ret_what  set on success, or on -EINVAL, only; @ret_what is static storage
 * Returns 0, -EINVAL or -ENOMEM.
 */
int go_json_strings(const char *text, size_t max, struct tl_strv *ret, const char **ret_what);

/** Did jansson fail for want of memory? Some of its allocations leave the error unset. */
bool json_is_no_memory(const json_error_t *error);
