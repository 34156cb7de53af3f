/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a service of Google's that takes batches of entries by REST: a bounded queue, and a
 * thread that writes what is in it, as the machine's service account. Nobody waits for it: what
 * doesn't fit is dropped and counted, and what can't be written is tried again until the end, which
 * doesn't wait for a service that doesn't answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>
#include <teelaunch/error.h>

#include "cloud_entry.h"

struct cloud_writer_options {
	const char *url;           /* https URL of the service, without path */
	const char *roots;         /* PEM file; NULL: the system's trust store */
	const char *metadata_host; /* who tells project, instance and account */
};

struct cloud_writer_counts {
	uint64_t written, dropped; /* entries */
	uint64_t failures;         /* requests that did not end well */
};

struct cloud_writer;

/* What one service wants; static. All functions but @dropped are called by the writer's thread. */
struct cloud_service {
	const char *name;   /* of the service, for errors */
	const char *thread; /* at most 15 bytes */
	const char *event_writing, *event_failing;
	size_t batch_bytes_max;
	uint64_t flush_ms; /* for what is left at the end, by a service that is well */
	/* Path of the method, for the caller to free; NULL without memory. */
	char *(*path)(const struct cloud_place *place);
	/* A body: begun, entries appended, ended. 0 or a negative errno; @append leaves the buffer
	 * as it was when it fails, with -ENOBUFS for an entry that belongs into the next batch. */
	int (*begin)(const struct cloud_place *place, struct tl_buf *b);
	int (*append)(const struct cloud_place *place, const struct cloud_stamp *stamp,
		      const char *bytes, size_t n, bool is_first, struct tl_buf *b);
	int (*end)(struct tl_buf *b);
	/* So many were dropped since it was said, and there is a way again. */
	void (*dropped)(struct cloud_writer *w, uint64_t n);
};

/** Starts the thread; does no I/O in the caller's. @options: borrowed until cloud_writer_close().
 */
int cloud_writer_open(const struct cloud_service *service,
		      const struct cloud_writer_options *options, struct cloud_writer **ret,
		      struct tl_error *err);

/**
 * Queue a copy of @n bytes.
 * @severity       static
 * @queue_at_most  dropped if the queue would then hold more bytes than this
 * Never blocks; any thread.
 */
void cloud_writer_put(struct cloud_writer *w, const char *severity, const void *bytes, size_t n,
		      size_t queue_at_most);

/** Nothing more will come: write what is left. Doesn't wait for it. NULL is fine. */
void cloud_writer_finish(struct cloud_writer *w);

/**
 * Write what is left, end the thread, free. A service that took the last request, or that was not
 * asked yet, gets flush_ms; one that failed, one more try within a tenth of it. NULL is fine;
 * always returns NULL.
 */
struct cloud_writer *cloud_writer_close(struct cloud_writer *w, struct cloud_writer_counts *ret);
