/* SPDX-License-Identifier: Apache-2.0 */
/* Workload output: whatever it is, each record is one line of valid JSON of a bounded size; and on
 * the console each line begins with the prefix and has no control character but the tabulator. */
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include <teelaunch/buf.h>
#include <teelaunch/str.h>

#include "fuzz.h"
#include "launcher/workload/console_lines.h"
#include "launcher/workload/json_lines.h"

static void lines_check(const char *text, size_t n)
{
	while (n > 0) {
		const char *end = memchr(text, '\n', n);
		size_t line_n = end ? (size_t)(end - text) : 0;
		json_t *line = end ? json_loadb(text, line_n, JSON_ALLOW_NUL, NULL) : NULL;

		if (!json_is_string(json_object_get(line, "message")))
			abort();
		json_decref(line);
		text += line_n + 1;
		n -= line_n + 1;
	}
}

#define PREFIX "workload: "

static void console_check(const char *text, size_t n)
{
	while (n > 0) {
		const char *end = memchr(text, '\n', n);

		if (!end || (size_t)(end - text) < strlen(PREFIX) ||
		    memcmp(text, PREFIX, strlen(PREFIX)) != 0 ||
		    !tl_utf8_is_valid(text, (size_t)(end - text)))
			abort();
		n -= (size_t)(end - text) + 1;
		for (; text < end; text++)
			if (((unsigned char)*text < 0x20 && *text != '\t') || *text == 0x7f)
				abort();
		text++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_buf struct tl_buf out = { 0 };

	if (json_lines_complete(data, size, true) > size ||
	    (size && json_lines_complete(data, size, true) == 0))
		abort();
	tl_buf_init(&out, size * (JSON_LINES_GROWTH + JSON_LINES_OVERHEAD) + 1);
	if (json_lines_encode("INFO", data, size, &out) < 0)
		abort();
	lines_check((const char *)out.data, out.len_bytes);
	tl_buf_done(&out);
	tl_buf_init(&out, size * (CONSOLE_LINES_GROWTH + CONSOLE_LINES_PREFIX_MAX) + 1);
	if (console_lines_encode(PREFIX, data, size, &out) < 0)
		abort();
	console_check((const char *)out.data, out.len_bytes);
	return 0;
}
