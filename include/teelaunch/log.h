/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launcher's own log: one line an event, logfmt, to standard error (with a <N> priority for
 * journald when it is not a terminal) and to the console.
 *
 * Only launcher/'s stage driver and the programs' mains log above debug; everyone else returns
 * errors. Thread-safe: one write(2) a line and sink.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <syslog.h>

/* A line is cut at this many bytes. */
#define TL_LOG_LINE_MAX 4096

/** "ERROR", "WARN", "INFO" or "DEBUG". */
const char *tl_log_level_name(int level);
/** Lines above this syslog level are dropped; default LOG_INFO. */
void tl_log_set_level(int level);
/** Also write every line to @fd (borrowed; -1 = none). A console that blocks for a second, or
 * fails, loses lines, counted, and isn't waited for again until it takes one. When this returns, no
 * thread writes to the one before, or will: it may be closed. Blocks while one writes a line. */
void tl_log_set_console(int fd);
/**
 * Whoever else writes to the console writes whole lines between these two, so that no line stands
 * in another one. _begin: true if a writer before could not finish its line; it wants a line feed
 * first. _end: whether this one could not. Hold it for one line, and no longer than a sink's
 * patience.
 */
bool tl_log_console_begin(void);
void tl_log_console_end(bool is_torn);
/**
 * Also give every line to @line: without time and level, escaped, and cut. It must not block, and
 * may be called from any thread; not any more once this was called with NULL.
 */
void tl_log_set_sink(void (*line)(void *ctx, int level, const char *event, const char *text),
		     void *ctx);
/**
 * Give every line to @line in place of standard error: without time, escaped, and cut. It says
 * whether it took it; one that it didn't is counted. The rest as tl_log_set_sink(): NULL ends it.
 */
void tl_log_set_journal(bool (*line)(void *ctx, int level, const char *event, const char *text),
			void *ctx);
/** Lines that one of the ways did not take. */
unsigned long tl_log_dropped(void);

/**
 * @event  stable name to search for: "image.pulled"
 * @fmt    key=value pairs, units in the key, foreign text as key='%s' by TL_Q(); the result is
 * escaped and cut. Never a secret.
 */
void tl_log_event(int level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** The same, but not to the console: for what comes again and again, as a console is slow. */
void tl_log_event_quiet(int level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * A foreign text as the value of key='...': with ' and \ escaped, so that it can't end the value
 * and begin another key. Cut at TL_LOG_VALUE_MAX bytes. Lives as long as the block it stands in.
 */
#define TL_LOG_VALUE_MAX 1536
#define TL_Q(s)          tl_log_quote((s), (char[TL_LOG_VALUE_MAX]){ 0 }, TL_LOG_VALUE_MAX)
const char *tl_log_quote(const char *s, char *buf, size_t cap_bytes);

/**
 * Write a finished line of ours (newline included) to @fd in one call; it is not escaped. A sink
 * that takes nothing for a second loses it, counted. 0 or -EIO.
 */
int tl_log_raw(int fd, const char *line, size_t n);
