/* SPDX-License-Identifier: Apache-2.0 */
#include <teelaunch/json_scan.h>

#include <stdbool.h>

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

struct counts {
	size_t depth;
	size_t values;
};

static const char *byte_count(struct counts *c, char byte)
{
	if ((byte == ']' || byte == '}') && c->depth)
		c->depth--;
	if (byte != '[' && byte != '{' && byte != ',')
		return NULL;
	if (++c->values > TL_JSON_VALUES_MAX)
		return "larger than " TEXT(TL_JSON_VALUES_MAX) " JSON values";
	if (byte != ',' && ++c->depth > TL_JSON_NESTING_MAX)
		return "nested deeper than " TEXT(TL_JSON_NESTING_MAX);
	return NULL;
}

const char *tl_json_scan(const void *text, size_t n, size_t *ret_offset)
{
	const char *s = text;
	struct counts counts = { 0 };
	bool is_string = false;

	for (size_t i = 0; i < n; i++) {
		const char *fault;

		if (is_string && s[i] == '\\') {
			i++; /* whatever it is, it doesn't end the string */
			continue;
		}
		if (s[i] == '"')
			is_string = !is_string;
		fault = is_string ? NULL : byte_count(&counts, s[i]);
		if (fault && ret_offset)
			*ret_offset = i;
		if (fault)
			return fault;
	}
	return NULL;
}
