/* SPDX-License-Identifier: Apache-2.0 */
/* Strings and lists of strings. No locale, no global state. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tl_kv {
	char *key;
	char *value;
};

/* A list of owned strings. */
struct tl_strv {
	char **items; /* NULL-terminated once anything was added */
	size_t n;
};

/* A list of owned pairs. */
struct tl_kvs {
	struct tl_kv *items;
	size_t n;
};

int tl_strv_add(struct tl_strv *v, const char *s);               /* copies; 0 or -ENOMEM */
int tl_strv_add_len(struct tl_strv *v, const char *s, size_t n); /* copies n bytes */
int tl_strv_printf(struct tl_strv *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int tl_strv_copy(const struct tl_strv *from, struct tl_strv *ret);
bool tl_strv_contains(const struct tl_strv *v, const char *s);
void tl_strv_done(struct tl_strv *v);
#define auto_strv __attribute__((cleanup(tl_strv_done)))

int tl_kvs_add(struct tl_kvs *v, const char *key, const char *value); /* copies; 0 or -ENOMEM */
/** Set or replace in place. */
int tl_kvs_set(struct tl_kvs *v, const char *key, const char *value);
const char *tl_kvs_get(const struct tl_kvs *v, const char *key); /* borrowed; NULL if absent */
/** Sort by key, bytewise. */
void tl_kvs_sort(struct tl_kvs *v);
void tl_kvs_done(struct tl_kvs *v); /* wipes the values: they may be secrets */
#define auto_kvs __attribute__((cleanup(tl_kvs_done)))

bool tl_str_starts_with(const char *s, const char *prefix);
bool tl_str_ends_with(const char *s, const char *suffix);
static inline bool tl_str_is_empty(const char *s)
{
	return !s || !*s;
}

/**
 * Strict decimal: digits only, no sign, no space, at least one digit, at most @max.
 * Returns 0, -EINVAL or -ERANGE; @ret is set on success only.
 */
int tl_str_parse_u64(const char *s, uint64_t max, uint64_t *ret);

/** True if the @n bytes at @s are valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool tl_utf8_is_valid(const char *s, size_t n);

/**
 * Bytes of the character that the @n > 0 bytes at @s begin with, if it can be shown as it is: valid
 * UTF-8, no control character (C0, DEL, C1), and none that rearranges a line (U+2028, U+2029,
 * bidirectional overrides and isolates). Else 0.
 */
size_t tl_utf8_printable_bytes(const char *s, size_t n);

/**
 * Write @s so that it is safe on a console: control characters, DEL, C1 and invalid UTF-8 become
 * \xNN. Always terminates; cuts at @cap_bytes and never inside an escape or a character.
 */
void tl_str_escape(const char *s, char *ret, size_t cap_bytes);

/** Edit distance (Levenshtein) of two strings of at most 63 bytes; longer ones count as far apart.
 */
unsigned int tl_str_distance(const char *a, const char *b);
