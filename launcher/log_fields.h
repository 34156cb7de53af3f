/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key=value pairs of a line of the log, as tl_log_event() wrote them: for those who keep each
 * as a field of its own. Pure.
 */
#pragma once

#include <stddef.h>

/* A longer key is none. */
#define LOG_FIELD_KEY_MAX 48

struct log_field {
	char key[LOG_FIELD_KEY_MAX]; /* a-z, 0-9 and _ */
	char *value;                 /* without quotes and their escapes; free() it */
};

/**
 * The next pair of the text at *@text, which moves behind it. What isn't key=value, as the rest of
 * a line that was cut, is passed over. 1, 0 at the end, or -ENOMEM; @ret is set at 1 only.
 */
int log_field_next(const char **text, struct log_field *ret);
