/* SPDX-License-Identifier: Apache-2.0 */
/* The log and the workload's records as entries of Cloud Logging: a cloud_writer. */
#pragma once

#include "cloud_writer.h"

/** As cloud_writer_open(); cloud_writer_close() ends it. */
int cloud_log_open(const struct cloud_writer_options *options, struct cloud_writer **ret,
		   struct tl_error *err);

/** A line of the launcher's own log, as tl_log_sink of teelaunch/log.h. Never blocks; any thread.
 */
void cloud_log_line(void *w, int level, const char *event, const char *text);

/** A JSON object in @n bytes as it is. Never blocks; any thread. */
void cloud_log_object(struct cloud_writer *w, int level, const char *object, size_t n);

/**
 * Records of the workload's output, one JSON object a line. They may fill three quarters of the
 * queue: the rest is the launcher's own. Never blocks; one thread.
 */
void cloud_log_records(void *w, int level, const char *lines, size_t n);
