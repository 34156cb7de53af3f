/* SPDX-License-Identifier: Apache-2.0 */
#include "log_fields.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define KEY_CHARS "abcdefghijklmnopqrstuvwxyz0123456789_"

/* The value at @from: up to a space, or in quotes with ' and \ escaped. *@ret_end is behind it. */
static char *value_copy(const char *from, const char **ret_end)
{
	bool is_quoted = *from == '\'';
	char *value = malloc(strlen(from) + 1);
	size_t n = 0;

	if (!value)
		return NULL;
	if (is_quoted)
		from++;
	while (*from && *from != (is_quoted ? '\'' : ' ')) {
		if (is_quoted && *from == '\\' && (from[1] == '\'' || from[1] == '\\'))
			from++;
		value[n++] = *from++;
	}
	value[n] = '\0';
	*ret_end = from + (is_quoted && *from);
	return value;
}

int log_field_next(const char **text, struct log_field *ret)
{
	const char *at = *text;

	while (*at) {
		size_t key_n = strspn(at, KEY_CHARS);

		if (key_n > 0 && key_n < sizeof(ret->key) && at[key_n] == '=') {
			char *value = value_copy(at + key_n + 1, text);

			if (!value)
				return -ENOMEM;
			memcpy(ret->key, at, key_n);
			ret->key[key_n] = '\0';
			ret->value = value;
			return 1;
		}
		at += strcspn(at, " ");
		at += *at == ' ';
	}
	*text = at;
	return 0;
}
