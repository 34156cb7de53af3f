/* SPDX-License-Identifier: Apache-2.0 */
/* Samples as points of Cloud Monitoring: a cloud_writer. */
#pragma once

#include "launcher/cloud_writer.h"

#include "sample.h"

/** As cloud_writer_open(); cloud_writer_close() ends it. */
int cloud_monitoring_open(const struct cloud_writer_options *options, struct cloud_writer **ret,
			  struct tl_error *err);

/** Never blocks. */
void cloud_monitoring_put(struct cloud_writer *w, const struct sample *s);
