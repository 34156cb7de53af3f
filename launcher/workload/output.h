/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workload's output: two FIFOs that containerd's shim writes, and the thread "tl-output" that
 * relays them to the console (lines behind a prefix, or raw) and to the log collector (JSON lines).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <teelaunch/error.h>

/* Before each line on the console. No line of the launcher's begins like this (docs/operators.md).
 */
#define OUTPUT_PREFIX        "workload: "
#define OUTPUT_PREFIX_STDERR "workload(stderr): "

struct output_config {
	const char *dir;     /* private folder; a fresh 0700 folder is made in it */
	int console_fd;      /* borrowed until output_free(); -1 = none, as the next two */
	bool is_console_raw; /* bytes as they come; else lines behind a prefix (console_lines.h) */
	int stdout_fd;
	int stderr_fd;
	/* Where JSON lines go as well, of a syslog level; never blocks. NULL: nowhere. */
	void (*records)(void *ctx, int level, const char *lines, size_t n);
	void *records_ctx;
};

struct output_stats {
	uint64_t bytes;
	uint64_t lines; /* ends of lines in them */
	uint64_t dropped_bytes;
	bool is_cut; /* the deadline came before the end of the output */
};

struct output;

/**
 * Remove the folders with FIFOs that a launcher which was killed left in @parent: there is one
 * launcher to a folder. What can't be removed stays; nothing depends on it.
 */
void output_remove_earlier(const char *parent);
/** Make the FIFOs and open their read ends. TL_E_CONTAINER_OUTPUT. */
int output_open(const struct output_config *config, struct output **ret, struct tl_error *err);
const char *output_stdout_path(const struct output *o); /* borrowed; NULL for NULL */
const char *output_stderr_path(const struct output *o);
int output_start(struct output *o, struct tl_error *err);
/** Relay until both FIFOs are at their end, at most @drain_ms; ends the thread. */
void output_finish(struct output *o, uint64_t drain_ms, struct output_stats *ret);
/** Ends the thread at once, removes the FIFOs. NULL is fine; always returns NULL. */
struct output *output_free(struct output *o);
