/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log as entries of the journal, with a field for each key: nobody has to read them out of
 * text, and no output of a workload can have them, since it comes by another way.
 *
 * journald's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram an entry.
 * sd_journal_sendv() of libsystemd waits without limit for a journald that doesn't read; this waits
 * for a busy one for half a second, and for two in all until it keeps up again, and counts what is
 * lost.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <teelaunch/error.h>

#define JOURNAL_SOCKET     "/run/systemd/journal/socket"
#define JOURNAL_IDENTIFIER "teelaunchd"

struct journal;

/**
 * Does @fd lead to the journal? @stream is what systemd.exec(5) says of $JOURNAL_STREAM,
 * "device:inode", or NULL.
 */
bool journal_is_stream(const char *stream, int fd);

/**
 * Make the socket; nothing is sent. @path: journald's; borrowed. TL_E_IO where sockets of this kind
 * are forbidden or none is there: then standard error remains.
 */
int journal_open(const char *path, struct journal **ret, struct tl_error *err);

/**
 * One line of the log: MESSAGE as on the console without the time, PRIORITY, SYSLOG_IDENTIFIER,
 * TL_EVENT, and TL_<KEY> for each key of @text, which is as tl_log_event() writes it. False if it
 * is lost. Blocks for a journald that is busy, as said above; any thread.
 */
bool journal_line(void *j, int level, const char *event, const char *text);

/**
 * An entry of any size: @message as it is, TL_EVENT, and one field @name with @n bytes of @value.
 * False if it is lost. Blocks as journal_line() does.
 */
bool journal_document(struct journal *j, int level, const char *event, const char *message,
		      const char *name, const char *value, size_t n);

/** NULL is fine; always returns NULL. */
struct journal *journal_close(struct journal *j);

/**
 * The journal in place of standard error for the log, where the service manager says that standard
 * error leads there. Reads the environment: before it is cleared. NULL where it doesn't, or (which
 * is logged) where the socket can't be had.
 */
struct journal *journal_attach(void);
/** The log goes to standard error again. NULL is fine. */
void journal_detach(struct journal *j);
