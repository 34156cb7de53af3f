/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serial console, read: bytes become lines that are safe to show, and lines tell how far the
 * machine has come. Whoever controls the guest controls every byte: nothing here is evidence. Pure.
 */
#pragma once

#include "vm.h"

#include <jansson.h>

#include <teelaunch/buf.h>

/* Longer lines come in pieces. The launcher's report has at most 4096 bytes. */
#define CONSOLE_LINE_MAX  8192
#define CONSOLE_MARKS_MAX 64

/* Something that happened, read from a line. */
enum console_kind {
	CONSOLE_TEXT,   /* nothing of ours */
	CONSOLE_BOOT,   /* firmware, kernel, systemd: @name */
	CONSOLE_STAGE,  /* a stage of the launch ended: @name, @took_ms, @is_failed */
	CONSOLE_EVENT,  /* another line of the launcher's log: @name is the event */
	CONSOLE_REPORT, /* the launch report: @report */
};

struct console_item {
	enum console_kind kind;
	char name[48];
	uint64_t took_ms;
	bool is_failed;
	json_t *report; /* owned by the caller; NULL in all other kinds */
};

struct console {
	struct tl_buf line;
	enum { CONSOLE_PLAIN, CONSOLE_ESCAPE, CONSOLE_SEQUENCE } state;
	bool is_return_pending; /* a carriage return, which a newline may follow */
};

void console_init(struct console *c);
void console_done(struct console *c);

/**
 * Take @n bytes; @line is called for every line that is complete, without its end. Terminal control
 * sequences are dropped, a tab is a space; a carriage return that no newline follows begins a new
 * line.
 */
int console_feed(struct console *c, const void *bytes, size_t n,
		 void (*line)(void *arg, const char *line), void *arg);
/** What is left when the console ends, as a line. */
void console_finish(struct console *c, void (*line)(void *arg, const char *line), void *arg);

/** What a line says. Never fails: what can't be read is CONSOLE_TEXT. */
void console_read(const char *line, struct console_item *ret);
