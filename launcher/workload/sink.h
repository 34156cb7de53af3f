/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where workload output goes. A sink that doesn't take bytes is waited for once and a bounded time;
 * from then on what it doesn't take at once is dropped and counted, until it takes something again:
 * a stuck serial console never stops the workload.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SINK_PATIENCE_MS 1000

struct sink {
	int fd; /* -1 = unused */
	bool is_owned;
	bool is_socket;
	bool is_records; /* lines: a record that was cut is ended before the next */
	bool is_stuck;
	bool is_torn;
	bool is_console; /* of the log, too: each line is written while nobody else writes there */
	uint64_t dropped_bytes;
};

/**
 * @fd  borrowed; -1 makes an unused sink. A terminal, pipe or file is reopened where possible,
 * because O_NONBLOCK on @fd itself would change it for everyone who shares it. SIGPIPE must be
 * blocked in the writing thread.
 */
void sink_open(struct sink *s, int fd, bool is_records);
/** Blocks for at most SINK_PATIENCE_MS (a disk apart). */
void sink_write(struct sink *s, const void *data, size_t n);
void sink_close(struct sink *s);
