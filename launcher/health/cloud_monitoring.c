/* SPDX-License-Identifier: Apache-2.0 */
#include "cloud_monitoring.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include <teelaunch/log.h>

#include "series.h"

/* An hour of samples, one a minute, of a service that is away. */
#define QUEUE_BYTES_MAX (64 * 1024)

void cloud_monitoring_put(struct cloud_writer *w, const struct sample *s)
{
	cloud_writer_put(w, NULL, s, sizeof(*s), QUEUE_BYTES_MAX);
}

/* One request for each sample: a request has at most one point of each series. */
static int sample_append(const struct cloud_place *place, const struct cloud_stamp *stamp,
			 const char *bytes, size_t n, bool is_first, struct tl_buf *b)
{
	struct sample s;

	(void)stamp; /* a sample has its own time */
	if (!is_first)
		return -ENOBUFS;
	if (n != sizeof(s))
		return -EINVAL;
	memcpy(&s, bytes, n);
	return series_append(place, &s, b);
}

static void dropped_say(struct cloud_writer *w, uint64_t n)
{
	(void)w;
	tl_log_event(LOG_WARNING, "cloud_monitoring.dropped", "samples=%" PRIu64, n);
}

int cloud_monitoring_open(const struct cloud_writer_options *options, struct cloud_writer **ret,
			  struct tl_error *err)
{
	static const struct cloud_service service = {
		.name = "Cloud Monitoring",
		.thread = "tl-cloud-metric",
		.event_writing = "cloud_monitoring.writing",
		.event_failing = "cloud_monitoring.failing",
		.batch_bytes_max = SERIES_BYTES_MAX,
		.flush_ms = 2000,
		.path = series_path,
		.begin = series_begin,
		.append = sample_append,
		.end = series_end,
		.dropped = dropped_say,
	};

	return cloud_writer_open(&service, options, ret, err);
}
