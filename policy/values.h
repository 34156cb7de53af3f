/* SPDX-License-Identifier: Apache-2.0 */
/* Values of keys and labels: the small grammars that several rows share. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/str.h>

/* A word and what it means; a table of these ends with a NULL name. */
struct choice {
	const char *name;
	unsigned int value;
};

/* Enums of the launch spec, as keys and labels spell them. */
extern const struct choice restart_policies[];
extern const struct choice log_redirects[];
extern const struct choice monitoring_levels[];

/** Go's strconv.ParseBool: 1 t T TRUE true True, 0 f F FALSE false False. @ret on success only. */
bool bool_parse(const char *text, bool *ret);

/**
 * @is_folded  ASCII case doesn't matter. Only ASCII: U+0130 is no "i" here.
 * @ret        set on success only
 */
bool choice_parse(const struct choice *choices, const char *text, bool is_folded,
		  unsigned int *ret);
/** The first name of a value; "" if there is none. */
const char *choice_name(const struct choice *choices, unsigned int value);

/** Decimal of @n digits, at least one, at most 65535; leading zeros are fine. @ret on success only.
 */
bool u16_parse(const char *s, size_t n, uint16_t *ret);

/** True if @s starts with the lower-case ASCII @prefix, in any case. */
bool has_prefix_folded(const char *s, const char *prefix);

/* Of the key and label tables: raised when a new row, or a new value of one, restricts a launch. */
#define SCHEMA_VERSION       1
#define SCHEMA_VERSION_KNOWN "this release knows version 1; use a newer release"

/** Is @text a decimal number from 1 to SCHEMA_VERSION? */
bool schema_version_is_known(const char *text);

/** Split at @separator; "" gives no element when empty ones are dropped, else one. 0, -ENOMEM, or
 * -E2BIG beyond @max elements; @ret on success only. */
int list_split(const char *text, char separator, bool is_empty_dropped, size_t max,
	       struct tl_strv *ret);

/** True if @s is empty, or begins or ends with white space. */
bool is_element_odd(const char *s);

/** Trim Unicode white space (property White_Space, Unicode 15) from both ends; heap, or NULL. */
char *space_trim(const char *s);

/** Go's path.Clean: lexical, no symlinks; relative stays relative; "" is ".". Heap, or NULL. */
char *path_clean(const char *path);

/** Is @path absolute, and would path_clean() leave it as it is? */
bool path_is_clean(const char *path);

/** @dir and @path absolute and clean: is @path the same or below? */
bool path_is_below(const char *dir, const char *path);

#define NAME_ODDITY_BYTES 64

/**
 * What a reader can't see, or wouldn't think of, in a name that is none of ours: a character that
 * only looks like a letter, a space at an end, upper case. In words that go on a message; else "".
 *
 * @name  valid UTF-8
 * @near  what nearest_name() says
 */
void name_oddity(const char *name, const char *near, char ret[static NAME_ODDITY_BYTES]);

/** What follows the second '-' or '_' of @name; "" if nothing does. */
const char *name_rest(const char *name);

/**
 * The name nearest to @name, or NULL when none is near enough to be meant. A character that isn't
 * ASCII counts as one wrong letter. A known name that ends with '-' is a prefix: of @name only what
 * stands before name_rest() is compared with it.
 * @get  row @i of a table of names; NULL past its end
 */
const char *nearest_name(const char *name, const char *(*get)(size_t i));
