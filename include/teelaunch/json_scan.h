/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at a JSON document before a real parser allocates for it: a small document can otherwise
 * cost hundreds of times its size ("[{},{},..."). Pure, no memory. Not a validator: it says nothing
 * about syntax, but no parser makes more values of a text than are counted here (RFC 8259).
 */
#pragma once

#include <stddef.h>

#define TL_JSON_NESTING_MAX 32
/* Bounds what parsing takes to some 25 MB, and is far above what any document here needs. */
#define TL_JSON_VALUES_MAX 100000

/**
 * Brackets, braces and commas outside of strings: all but the first value come after one of them.
 *
 * @text        @n bytes, any
 * @ret_offset  where the limit is passed; set if one is, may be NULL
 * Returns NULL, or which limit is passed, in words that fit after "the document is ".
 */
const char *tl_json_scan(const void *text, size_t n, size_t *ret_offset);
