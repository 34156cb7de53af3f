/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sample as the time series that node-problem-detector writes on Google's images: metric types
 * compute.googleapis.com/guest/..., with its labels, of the monitored resource gce_instance (REST
 * API v3 of Cloud Monitoring, projects.timeSeries.create; node-problem-detector's system stats
 * monitor and stackdriver exporter for names, kinds, labels and units). Pure.
 */
#pragma once

#include <teelaunch/buf.h>

#include "launcher/cloud_entry.h"

#include "sample.h"

/* The service takes so many in one request. */
#define SERIES_MAX       200
#define SERIES_BYTES_MAX (256 * 1024)

/** "/v3/projects/PROJECT/timeSeries", for the caller to free(); NULL without memory. */
char *series_path(const struct cloud_place *place);

/* A request body. 0, -ENOBUFS or -ENOMEM; @b is unchanged on failure. */
int series_begin(const struct cloud_place *place, struct tl_buf *b);
/** One point of each series; once in a body. */
int series_append(const struct cloud_place *place, const struct sample *s, struct tl_buf *b);
int series_end(struct tl_buf *b);
