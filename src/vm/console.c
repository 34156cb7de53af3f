/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include <stdio.h>
#include <string.h>

#include <teelaunch/cleanup.h>
#include <teelaunch/json_scan.h>

#define REPORT_PREFIX "TEELAUNCH-REPORT "

/* What these programs print on every boot, and how far the machine is then. */
static const struct boot_mark {
	const char *text;
	bool is_prefix;
	const char *name;
} boot_marks[] = {
	{ "BdsDxe: starting Boot", true, "firmware" },
	{ "EFI stub: ", true, "boot loader" },
	{ "Linux version ", false, "kernel" },
	{ "Run /init as init process", false, "initrd" },
	{ "Welcome to ", true, "systemd" },
};

void console_init(struct console *c)
{
	*c = (struct console){ 0 };
	tl_buf_init(&c->line, CONSOLE_LINE_MAX);
}

void console_done(struct console *c)
{
	tl_buf_done(&c->line);
}

static void line_end(struct console *c, void (*line)(void *arg, const char *line), void *arg)
{
	line(arg, tl_buf_str(&c->line));
	tl_buf_reset(&c->line);
}

/*
 * ECMA-48: ESC [ parameters final, or ESC and one more. The firmware's menu and systemd's colours
 * are made of these. True if @byte belongs to one.
 */
static bool is_in_sequence(struct console *c, unsigned char byte)
{
	switch (c->state) {
	case CONSOLE_PLAIN:
		if (byte == 0x1b)
			c->state = CONSOLE_ESCAPE;
		return byte == 0x1b;
	case CONSOLE_ESCAPE:
		c->state = byte == '[' ? CONSOLE_SEQUENCE : CONSOLE_PLAIN;
		return byte >= ' ';
	case CONSOLE_SEQUENCE:
		if (byte < ' ' || byte >= 0x40)
			c->state = CONSOLE_PLAIN;
		return byte >= ' ';
	}
	return false;
}

static int byte_feed(struct console *c, unsigned char byte,
		     void (*line)(void *arg, const char *line), void *arg)
{
	bool was_return = c->is_return_pending;

	if (is_in_sequence(c, byte))
		return 0;
	c->is_return_pending = byte == '\r';
	if (byte == '\n' || (was_return && byte != '\r' && c->line.len_bytes))
		line_end(c, line, arg);
	if (byte == '\n' || byte == '\r' || byte == '\0')
		return 0;
	if (c->line.len_bytes + 1 >= CONSOLE_LINE_MAX)
		line_end(c, line, arg);
	return tl_buf_append_u8(&c->line, byte == '\t' ? ' ' : byte);
}

int console_feed(struct console *c, const void *bytes, size_t n,
		 void (*line)(void *arg, const char *line), void *arg)
{
	const unsigned char *at = bytes;
	int r = 0;

	for (; !r && n; n--)
		r = byte_feed(c, *at++, line, arg);
	return r;
}

void console_finish(struct console *c, void (*line)(void *arg, const char *line), void *arg)
{
	if (c->line.len_bytes)
		line_end(c, line, arg);
}

/* --- what a line says --------------------------------------------------------------------- */

/* The value of "key=" in a logfmt line, up to the next space; @ret is "" when there is none. */
static bool value_of(const char *line, const char *key, char *ret, size_t cap_bytes)
{
	size_t n = strlen(key);
	char word[64];

	*ret = '\0';
	for (const char *at = strstr(line, key); at; at = strstr(at + 1, key)) {
		size_t length = strcspn(at + n, " ");

		if (at != line && at[-1] != ' ')
			continue;
		if (length >= sizeof(word))
			return false;
		memcpy(word, at + n, length);
		word[length] = '\0';
		tl_str_escape(word, ret, cap_bytes);
		return true;
	}
	return false;
}

static void log_line_read(const char *line, struct console_item *ret)
{
	char event[48], took[24];

	if (!strstr(line, "level=") || !value_of(line, "event=", event, sizeof(event)))
		return;
	ret->kind = CONSOLE_EVENT;
	memcpy(ret->name, event, sizeof(ret->name));
	if (strcmp(event, "launch.start") == 0) {
		ret->kind = CONSOLE_BOOT;
		snprintf(ret->name, sizeof(ret->name), "launcher");
	}
	ret->is_failed = strcmp(event, "stage.failed") == 0;
	if (!ret->is_failed && strcmp(event, "stage.done") != 0)
		return;
	ret->kind = CONSOLE_STAGE;
	value_of(line, "stage=", ret->name, sizeof(ret->name));
	if (value_of(line, "took_ms=", took, sizeof(took)) &&
	    tl_str_parse_u64(took, UINT64_MAX, &ret->took_ms) < 0)
		ret->took_ms = 0;
}

static void report_read(const char *text, struct console_item *ret)
{
	size_t n = strlen(text);
	json_auto_t *doc = NULL;
	const char *schema;

	if (tl_json_scan(text, n, NULL))
		return;
	doc = json_loadb(text, n, 0, NULL);
	schema = json_string_value(json_object_get(doc, "schema"));
	if (!schema || strcmp(schema, "teelaunch.report/1") != 0)
		return;
	ret->kind = CONSOLE_REPORT;
	ret->report = json_incref(doc);
}

void console_read(const char *line, struct console_item *ret)
{
	*ret = (struct console_item){ .kind = CONSOLE_TEXT };
	if (tl_str_starts_with(line, REPORT_PREFIX)) {
		report_read(line + strlen(REPORT_PREFIX), ret);
		return;
	}
	for (size_t i = 0; i < TL_ARRAY_SIZE(boot_marks); i++) {
		const struct boot_mark *m = &boot_marks[i];

		if (!(m->is_prefix ? tl_str_starts_with(line, m->text) : !!strstr(line, m->text)))
			continue;
		ret->kind = CONSOLE_BOOT;
		snprintf(ret->name, sizeof(ret->name), "%s", m->name);
		return;
	}
	log_line_read(line, ret);
}
