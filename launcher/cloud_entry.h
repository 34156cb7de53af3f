/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the launcher says, as entries of Cloud Logging (REST API v2, LogEntry and entries.write).
 * Pure.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <teelaunch/buf.h>

/* entries.write takes 10 MB a request and 256 KB an entry ("Quotas and limits"). */
#define CLOUD_ENTRY_BYTES_MAX (200 * 1024)
#define CLOUD_BATCH_BYTES_MAX (1024 * 1024)

/* Where the entries belong: log name and monitored resource "gce_instance". Strings are borrowed.
 */
struct cloud_place {
	const char *project, *instance_id, *instance_name, *zone;
};

struct cloud_stamp {
	int64_t time_ms;      /* since the epoch */
	const char *severity; /* LogSeverity: "INFO", ... */
	uint64_t run;         /* random; one number a launch */
	uint64_t number;      /* counted in the launch: with @run it tells a repeated entry */
};

#define CLOUD_TIME_MAX 32
/** A time as Google's services take it: RFC 3339, in UTC, with milliseconds. */
void cloud_time_text(int64_t time_ms, char ret[CLOUD_TIME_MAX]);

/** LogSeverity of a syslog level. */
const char *cloud_severity(int level);

/**
 * The payload of a line of the log: MESSAGE with the line, "event", and each of its key=value pairs
 * as a member of its own, numbers as numbers.
 * @text  as tl_log_event() writes it, escaped
 * A string of JSON for the caller to free(); NULL without memory.
 */
char *cloud_payload_of_line(const char *event, const char *text);

/** Begin a request body; cloud_entry_append() appends entries, cloud_request_end() ends it. */
int cloud_request_begin(const struct cloud_place *place, struct tl_buf *b);
/**
 * @payload  a JSON object of @n bytes; gets "_HOSTNAME" as first member
 * @is_first in this request
 * Leaves room for the end of the request. 0, -ENOBUFS, -ENOMEM or -EINVAL for what is no object; @b
 * is unchanged on failure.
 */
int cloud_entry_append(const struct cloud_place *place, const struct cloud_stamp *stamp,
		       const char *payload, size_t n, bool is_first, struct tl_buf *b);
int cloud_request_end(struct tl_buf *b);
