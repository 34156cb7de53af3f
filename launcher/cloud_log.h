/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to Cloud Logging: a bounded queue, and the thread "tl-cloud-log" that writes its entries
 * in batches. Nobody waits for it: what doesn't fit is dropped and counted, and what can't be
 * written is tried again until the end, which doesn't wait for a service that doesn't answer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <teelaunch/error.h>

struct cloud_log_options {
	const char *url;           /* https URL of the service, without path */
	const char *roots;         /* PEM file; NULL: the system's trust store */
	const char *metadata_host; /* who tells project, instance and account */
};

struct cloud_log_counts {
	uint64_t written, dropped; /* entries */
	uint64_t failures;         /* requests that did not end well */
};

struct cloud_log;

/** Starts the thread; does no I/O in the caller's. @options: borrowed until cloud_log_close(). */
int cloud_log_open(const struct cloud_log_options *options, struct cloud_log **ret,
		   struct tl_error *err);

/** A line of the launcher's own log, as tl_log_sink of teelaunch/log.h. Never blocks; any thread.
 */
void cloud_log_line(void *c, int level, const char *event, const char *text);

/** A JSON object in @n bytes as it is. Never blocks; any thread. */
void cloud_log_object(struct cloud_log *c, int level, const char *object, size_t n);

/**
 * Records of the workload's output, one JSON object a line. They may fill three quarters of the
 * queue: the rest is the launcher's own. Never blocks; one thread.
 */
void cloud_log_records(void *c, int level, const char *lines, size_t n);

/**
 * Write what is left, end the thread, free. A service that took the last request, or that was not
 * asked yet, gets CLOUD_LOG_FLUSH_MS; one that failed, one more try within a tenth of it. NULL is
 * fine; always returns NULL.
 */
#define CLOUD_LOG_FLUSH_MS 5000
struct cloud_log *cloud_log_close(struct cloud_log *c, struct cloud_log_counts *ret);
