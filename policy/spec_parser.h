/* SPDX-License-Identifier: Apache-2.0 */
/* Between launch_spec.c, which walks a document, and spec_keys.c, which knows the keys. */
#pragma once

#include <jansson.h>

#include <teelaunch/launch_spec.h>

#define SPEC_ENV_PREFIX "tee-env-"

struct key_row;

struct spec_parser {
	struct tl_launch_spec spec;
	const struct tl_launch_spec_options *options;
	struct tl_findings *findings;
	json_t *root;      /* an object */
	const char **keys; /* of root, sorted bytewise */
	size_t n_keys;
	bool is_bad; /* anything; what rows say is in spec.keys_bad, too */
};

/* 0 or -ENOMEM; what is wrong becomes a finding. */
typedef int key_parser(struct spec_parser *p, const struct key_row *row, const char *text);

struct key_row {
	struct tl_key_doc doc;
	key_parser *parse;    /* NULL: another row reads this key too */
	size_t offset;        /* of the field in struct tl_launch_spec */
	enum tl_code code;    /* when the value is bad */
	const char *category; /* when the value is bad */
	bool is_empty_error;  /* "" isn't the default, as contract section 14.1 item 2 keeps it */
	bool is_always; /* called also when the key is absent or bad, with NULL if it has no text */
	const struct choice *choices;
};

#define SPEC_FINDING(code_, category_)                                                             \
	(&(const struct tl_finding_row){ code_, category_, TL_SOURCE_ATTRIBUTES, false })
#define SPEC_WARNING(code_)                                                                        \
	(&(const struct tl_finding_row){ code_, "json-type", TL_SOURCE_ATTRIBUTES, true })

#define spec_forbid(p, code, category, key, ...)                                                   \
	((p)->is_bad = true,                                                                       \
	 tl_findings_add((p)->findings, SPEC_FINDING(code, category), key, NULL, __VA_ARGS__))

#define spec_forbid_row(p, row, code, category, key, ...)                                          \
	((p)->spec.keys_bad |= spec_key_bit(row), spec_forbid(p, code, category, key, __VA_ARGS__))

/* As the table has it. */
#define spec_forbid_value(p, row, ...)                                                             \
	spec_forbid_row(p, row, (row)->code, (row)->category, (row)->doc.name, __VA_ARGS__)

/** Row @i of the attribute table; NULL past its end. */
const struct key_row *spec_key_row(size_t i);
/** The row that reads @key; NULL if none does. */
const struct key_row *spec_key_of(const char *key);
/** Of keys_set and keys_bad. */
uint32_t spec_key_bit(const struct key_row *row);
/** Has the row a forbidding finding? */
bool spec_key_is_bad(const struct spec_parser *p, const struct key_row *row);
/** Borrowed; null counts as ""; NULL if absent or no string. */
const char *spec_attribute(const struct spec_parser *p, const char *key);
