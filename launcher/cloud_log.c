/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include <teelaunch/cleanup.h>

#define QUEUE_BYTES_MAX   (1024 * 1024)
#define RECORDS_BYTES_MAX (QUEUE_BYTES_MAX / 4 * 3)

static void enqueue(struct cloud_writer *w, const char *severity, const char *payload, size_t n,
		    size_t queue_at_most)
{
	/* What is too long is counted as dropped: as one that fits into no queue. */
	cloud_writer_put(w, severity, payload, n, n > CLOUD_ENTRY_BYTES_MAX ? 0 : queue_at_most);
}

void cloud_log_line(void *w, int level, const char *event, const char *text)
{
	auto_free char *payload = cloud_payload_of_line(event, text);

	if (payload)
		enqueue(w, cloud_severity(level), payload, strlen(payload), QUEUE_BYTES_MAX);
}

void cloud_log_object(struct cloud_writer *w, int level, const char *object, size_t n)
{
	enqueue(w, cloud_severity(level), object, n, QUEUE_BYTES_MAX);
}

void cloud_log_records(void *w, int level, const char *lines, size_t n)
{
	while (n > 0) {
		const char *end = memchr(lines, '\n', n);
		size_t line_n = end ? (size_t)(end - lines) : n;

		enqueue(w, cloud_severity(level), lines, line_n, RECORDS_BYTES_MAX);
		lines += end ? line_n + 1 : line_n;
		n -= end ? line_n + 1 : line_n;
	}
}

static char *path_make(const struct cloud_place *place)
{
	(void)place; /* it is in the body */
	return strdup("/v2/entries:write");
}

/* To where the others went; on the console nothing is missing. */
static void dropped_say(struct cloud_writer *w, uint64_t n)
{
	char text[64];

	snprintf(text, sizeof(text), "entries=%" PRIu64, n);
	cloud_log_line(w, LOG_WARNING, "cloud_log.dropped", text);
}

int cloud_log_open(const struct cloud_writer_options *options, struct cloud_writer **ret,
		   struct tl_error *err)
{
	static const struct cloud_service service = {
		.name = "Cloud Logging",
		.thread = "tl-cloud-log",
		.event_writing = "cloud_log.writing",
		.event_failing = "cloud_log.failing",
		.batch_bytes_max = CLOUD_BATCH_BYTES_MAX,
		.flush_ms = 5000,
		.path = path_make,
		.begin = cloud_request_begin,
		.append = cloud_entry_append,
		.end = cloud_request_end,
		.dropped = dropped_say,
	};

	return cloud_writer_open(&service, options, ret, err);
}
