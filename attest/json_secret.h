/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets that pass through a JSON value: moved out of it, and wiped there. */
#pragma once

#include <jansson.h>
#include <stdint.h>
#include <string.h>

#include <teelaunch/secret.h>

/** Overwrite a JSON string's bytes; others are left alone. Only _decref may follow. */
static inline void json_secret_wipe(const json_t *string)
{
	const char *bytes = json_string_value(string);

	if (bytes) /* ours, though the interface says const */
		explicit_bzero((void *)(uintptr_t)bytes, json_string_length(string));
}

/** Copy a JSON string into @ret (0 or -ENOMEM) and wipe it, whatever happened. */
static inline int json_secret_take(const json_t *string, struct tl_secret *ret)
{
	int r = tl_secret_set(ret, json_string_value(string), json_string_length(string));

	json_secret_wipe(string);
	return r;
}
