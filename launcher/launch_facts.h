/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was asked for and what was found to the facts that are measured. Pure: the launcher
 * measures with it, and `teelaunch measure` predicts with it.
 */
#pragma once

#include <teelaunch/launch_events.h>
#include <teelaunch/launch_spec.h>

struct launch_image_names {
	const char *digest; /* of what the reference stands for: the index, if there is one */
	const char *id;     /* digest of the configuration */
};

/** Everything is borrowed. @args, @env: of the workload's process (oci_process()). */
struct tl_launch_facts launch_facts_of(const struct tl_launch_spec *spec,
				       const struct launch_image_names *image,
				       const struct tl_strv *args, const struct tl_strv *env);
