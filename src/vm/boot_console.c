/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include <teelaunch/clock.h>
#include <teelaunch/file.h>

#include "boot_private.h"

/* What is read at once: more would keep the other sources waiting. */
#define READ_BYTES 4096

void boot_say(struct boot *b, const char *fmt, ...)
{
	uint64_t at_ms = tl_clock_mono_ms() - b->start_ms;
	va_list ap;

	fprintf(b->plan->show, "[%5" PRIu64 ".%" PRIu64 " s] ", at_ms / 1000, at_ms % 1000 / 100);
	va_start(ap, fmt);
	vfprintf(b->plan->show, fmt, ap);
	va_end(ap);
	fputc('\n', b->plan->show);
	fflush(b->plan->show);
}

static void mark_add(struct boot *b, const struct console_item *item)
{
	struct boot_result *r = b->result;
	struct boot_mark *m = &r->marks[r->marks_n];

	if (r->marks_n == CONSOLE_MARKS_MAX)
		return;
	*m = (struct boot_mark){ .kind = item->kind,
				 .at_ms = tl_clock_mono_ms() - b->start_ms,
				 .took_ms = item->took_ms,
				 .is_failed = item->is_failed };
	memcpy(m->name, item->name, sizeof(m->name));
	r->marks_n++;
}

/* A kernel that prints its version twice is still at the same place. */
static bool is_marked(const struct boot *b, const char *name)
{
	for (size_t i = 0; i < b->result->marks_n; i++)
		if (b->result->marks[i].kind == CONSOLE_BOOT &&
		    strcmp(b->result->marks[i].name, name) == 0)
			return true;
	return false;
}

static void report_take(struct boot *b, json_t *consume_report)
{
	const char *result = json_string_value(json_object_get(consume_report, "result"));
	const char *action = json_string_value(json_object_get(consume_report, "action"));
	char result_text[32], action_text[32];

	tl_str_escape(result ? result : "?", result_text, sizeof(result_text));
	tl_str_escape(action ? action : "?", action_text, sizeof(action_text));
	boot_say(b, "== report: %s; the VM shall %s", result_text, action_text);
	json_decref(b->result->report);
	b->result->report = consume_report;
}

static void on_line(void *arg, const char *line)
{
	char safe[CONSOLE_LINE_MAX * 2];
	struct console_item item;
	struct boot *b = arg;

	console_read(line, &item);
	tl_str_escape(line, safe, sizeof(safe));
	if (item.kind != CONSOLE_REPORT && b->plan->console_fd < 0 && *line)
		boot_say(b, " | %s", safe);
	switch (item.kind) {
	case CONSOLE_BOOT:
		if (is_marked(b, item.name))
			break;
		boot_say(b, "== %s", item.name);
		mark_add(b, &item);
		break;
	case CONSOLE_STAGE:
		boot_say(b, "== stage %s: %s, %" PRIu64 " ms", item.name,
			 item.is_failed ? "FAILED" : "ok", item.took_ms);
		mark_add(b, &item);
		break;
	case CONSOLE_REPORT:
		report_take(b, item.report);
		break;
	case CONSOLE_EVENT:
	case CONSOLE_TEXT:
		break;
	}
}

int boot_console_read(struct boot *b)
{
	char bytes[READ_BYTES];
	ssize_t n = read(b->console_fd, bytes, sizeof(bytes));

	if (n < 0)
		return -errno;
	if (n == 0)
		return 0;
	b->result->console_bytes += (uint64_t)n;
	if (b->plan->console_fd >= 0 && tl_write_all(b->plan->console_fd, bytes, (size_t)n) < 0)
		return -EIO;
	return console_feed(&b->console, bytes, (size_t)n, on_line, b) < 0 ? -ENOMEM : 1;
}

void boot_console_finish(struct boot *b)
{
	console_finish(&b->console, on_line, b);
}
